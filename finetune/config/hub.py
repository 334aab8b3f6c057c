"""Where the trained model is published."""

import re
from dataclasses import dataclass

from preprocessing.errors import UsageError


@dataclass(frozen=True)
class HubConfig:
    """Where the trained model is published."""

    push: bool = False
    """Publish the best model on the Hugging Face Hub after training; `python -m finetune.hub push` does it later."""

    repo_id: str | None = None
    """Its repository: you/model. It is made where there is none."""

    private: bool = False
    """Only for those with access to your account; a public repository that is there already is refused."""

    license: str | None = None
    """The Hub's key of the licence that you give the weights, such as apache-2.0 or cc-by-4.0."""

    language: str | None = None
    """Of the speech, such as de; where the corpus does not say."""

    def check(self, prefix: str = "--hub.") -> None:
        """Raises UsageError naming the first contradiction, by its flag with the prefix."""
        if self.push and self.repo_id is None:
            raise UsageError("--hub.push is true without --hub.repo_id; expected a repository: name it, as you/model")
        if self.repo_id is not None:
            check_repo_id(self.repo_id, f"{prefix}repo_id")
        if self.license is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", self.license):
            raise UsageError(
                f"{prefix}license is {self.license!r}; expected a key of the Hub, in small letters: write apache-2.0, "
                "cc-by-4.0, or other"
            )
        if self.language is not None and not re.fullmatch(r"[a-z]{2,3}", self.language):
            raise UsageError(f"{prefix}language is {self.language!r}; expected an ISO 639 code: write en, de or yue")


def check_repo_id(repo_id: str, flag: str) -> None:
    """Raises UsageError where it is no NAMESPACE/NAME that the Hub takes."""
    names = repo_id.split("/")
    named = len(names) == 2 and all(re.fullmatch(r"\w([\w.-]*\w)?", name, re.ASCII) for name in names)
    if not named or len(repo_id) > 96 or "--" in repo_id or ".." in repo_id or repo_id.endswith(".git"):
        raise UsageError(
            f"{flag} is {repo_id!r}; expected you/model of letters, digits, '-', '_' and '.', without '--' and '..', "
            "96 characters at the most: change it"
        )
