"""`python -m finetune.hub push RUN REPO`: publish a run's best model on the Hugging Face Hub, with its model card."""

import logging
import sys
from dataclasses import dataclass
from pathlib import Path

from finetune.config import HubConfig, check_repo_id
from preprocessing.cli.errors import UsageError
from preprocessing.cli.options import parse_command, run_command

DESCRIPTION = "Publish a run's best model on the Hugging Face Hub, with its model card, in one commit."
USAGE = "python -m finetune.hub push RUN REPO [options]; `python -m finetune.hub push --help` explains them"


@dataclass(frozen=True)
class PushConfig:
    """What is published, and where."""

    run: Path
    """Folder of a run: a training's --output."""

    repo: str
    """The repository: you/model. It is made where there is none."""

    private: bool = False
    """Only for those with access to your account; a public repository that is there already is refused."""

    revision: str | None = None
    """Branch, made where there is none; default main."""

    message: str | None = None
    """Of the commit."""

    results: Path | None = None
    """A benchmark's folder with this run among its systems: test figures and speed for the card."""

    license: str | None = None
    """The Hub's key of the licence that you give the weights, such as apache-2.0; default the run's hub.license."""

    language: str | None = None
    """Of the speech, such as de; default the run's hub.language, else what the corpus says."""


def main() -> None:
    words = sys.argv[1:]
    if words[:1] in (["--help"], ["-h"]):
        print(f"{DESCRIPTION}\nusage: {USAGE}")
        return
    if words[:1] != ["push"]:
        raise UsageError(f"{words[0] if words else 'nothing'!r} is no command of finetune.hub; expected push: {USAGE}")
    config = parse_command(
        PushConfig, program="finetune.hub push", description=DESCRIPTION, arguments=words[1:], positional=True
    )
    check_repo_id(config.repo, "REPO")
    HubConfig(license=config.license, language=config.language).check("--")
    from finetune.hub.card import CardOptions
    from finetune.hub.push import Target, publish, said

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # what it would warn of, we say
    target = Target(config.repo, config.private, config.revision)
    options = CardOptions(config.repo, config.license, config.language)
    print(said(publish(config.run, target, options, message=config.message, results=config.results)))


if __name__ == "__main__":
    run_command(main)
