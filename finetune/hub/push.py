"""The way to a repository on the Hub: may we write there, and one commit with a run's files.

Nothing in the run's folder is written, so a push that fails can be repeated. The token is huggingface_hub's business:
HF_TOKEN, or `hf auth login`; it is in no message of ours.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import CommitOperationAdd, HfApi, get_token
from huggingface_hub.errors import OfflineModeIsEnabled, RevisionNotFoundError

from preprocessing.errors import InputError

PAUSES_SECONDS = (1.0, 4.0, 16.0)  # before each repetition of what the Hub or the network failed at
TRANSIENT = (408, 429, 500, 502, 503, 504)
OURS = (TypeError, AttributeError, LookupError, NameError, AssertionError)  # defects: they keep their traceback

Result = TypeVar("Result")


class UnreachableError(InputError):
    """The Hub did not answer, or not yet: another attempt may succeed."""


@dataclass(frozen=True)
class Target:
    """Where to. `revision` is a branch, made from main where there is none; None is main."""

    repo_id: str
    private: bool = False
    revision: str | None = None


@dataclass(frozen=True)
class Pushed:
    url: str
    changed: bool  # False where the repository held the same files already, and no commit was made


class Repository:
    """One repository of the Hub. What fails is an InputError, UnreachableError where repeating may help."""

    def __init__(self, target: Target, api: HfApi | None = None, pauses: Sequence[float] = PAUSES_SECONDS) -> None:
        self._target = target
        self._api = api or HfApi()
        self._pauses = pauses

    def open(self) -> None:
        """Make the repository where there is none, and see that the token may write to it."""
        if not self._token():
            raise InputError(
                f"{self._target.repo_id}: no Hugging Face token found; expected one with write permission: "
                "run `hf auth login`, or set HF_TOKEN"
            )
        self._patiently(self._open)

    def commit(self, files: Mapping[str, Path | bytes], message: str) -> Pushed:
        """Put files, by their names in the repository, into one commit; none is made where nothing changed."""
        before = self._patiently(self._head)
        oid = self._patiently(lambda: self._commit(files, message))
        tree = f"/tree/{self._target.revision}" if self._target.revision else ""
        return Pushed(f"{self._api.endpoint}/{self._target.repo_id}{tree}", oid != before)

    def _open(self) -> None:
        target = self._target
        if not self._api.repo_exists(target.repo_id):
            self._api.create_repo(target.repo_id, private=target.private or None, exist_ok=True)
        self._api.auth_check(target.repo_id, write=True)
        if target.private and not self._api.repo_info(target.repo_id).private:
            raise InputError(
                f"{target.repo_id}: is a public repository; expected a private one: change it in its settings on the "
                "Hub, or leave private out"
            )

    def _head(self) -> str | None:
        """The id of the last commit on the branch, which is made where there is none."""
        target = self._target
        try:
            return self._api.repo_info(target.repo_id, revision=target.revision).sha
        except RevisionNotFoundError:
            self._api.create_branch(target.repo_id, branch=str(target.revision), exist_ok=True)
            return self._api.repo_info(target.repo_id, revision=target.revision).sha

    def _commit(self, files: Mapping[str, Path | bytes], message: str) -> str:
        """The id of the commit, or of the last one where the files are there already."""
        target = self._target
        # made anew for each attempt: an operation remembers how far it came
        operations = [CommitOperationAdd(name, content) for name, content in files.items()]
        commit = self._api.create_commit(target.repo_id, operations, commit_message=message, revision=target.revision)
        return commit.oid

    def _patiently(self, call: Callable[[], Result]) -> Result:
        """The call's result, repeated after each pause while what it raises may pass."""
        for pause in (*self._pauses, None):
            try:
                return call()
            except (InputError, *OURS):
                raise
            except Exception as error:  # of httpx, of the operating system, of hf_xet: no common base
                if pause is None or not _may_pass(error):
                    raise self._explained(error) from None
                time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _explained(self, error: Exception) -> InputError:
        repo_id, status = self._target.repo_id, _status(error)
        if status == 401:
            return InputError(
                f"{repo_id}: the Hub refuses the token (401); expected a valid one with write permission: run "
                "`hf auth login`, or mend HF_TOKEN"
            )
        if status == 403:
            return InputError(
                f"{repo_id}: the token may not write there (403); expected one with write permission: choose another "
                "token, or a repository under your own name"
            )
        reason = " ".join(str(_root(error)).split()) or type(error).__name__
        reason = reason.replace(self._token() or "\0", "[token]")
        if _may_pass(error) or isinstance(error, OfflineModeIsEnabled):
            return UnreachableError(f"{repo_id}: the Hub cannot be reached ({reason}); check the network, then repeat")
        return InputError(f"{repo_id}: the Hub refuses it ({reason}); expected what it accepts: mend that, then repeat")

    def _token(self) -> str | None:
        return self._api.token if isinstance(self._api.token, str) else get_token()


def _root(error: BaseException) -> BaseException:
    """What an upload's error came from, where it says so."""
    return _root(error.__cause__) if isinstance(error, RuntimeError) and error.__cause__ else error


def _status(error: BaseException) -> int | None:
    """The HTTP status that an error speaks of, if any."""
    response: Any = getattr(_root(error), "response", None)
    return getattr(response, "status_code", None)


def _may_pass(error: Exception) -> bool:
    status = _status(error)
    if status is not None:
        return status in TRANSIENT
    if isinstance(error, json.JSONDecodeError):  # a server's error page where JSON was expected
        return True
    return not isinstance(error, ValueError | OfflineModeIsEnabled)
