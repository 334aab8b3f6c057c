"""A run published on the Hub: its files and its card in one commit, from the command or at the end of training."""

import json
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import CommitOperationAdd, HfApi, get_token
from huggingface_hub.errors import OfflineModeIsEnabled, RevisionNotFoundError

from finetune.config import HubConfig
from finetune.hub.card import CardOptions, model_card
from finetune.hub.folder import open_run
from finetune.hub.results import read_benchmark
from preprocessing.cli.errors import InputError

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


def publish(
    path: Path,
    target: Target,
    options: CardOptions,
    *,
    message: str | None = None,
    results: Path | None = None,
    repository: Repository | None = None,
) -> Pushed:
    """Upload a run. Raises InputError where the run cannot be read or the Hub does not take it; the run stays as it is.

    results: a benchmark's folder that has this run among its systems.
    """
    run = open_run(path)
    if results is not None:
        options = replace(options, benchmark=read_benchmark(results, path, target.repo_id))
    told, trained = run.config.get("hub") or {}, run.config.get("model") or {}
    language = options.language or told.get("language") or trained.get("language")
    options = replace(options, license=options.license or told.get("license"), language=language)
    files = {"README.md": model_card(run, options).encode(), **run.uploads()}
    repository = repository or Repository(target)
    try:
        repository.open()
        return repository.commit(files, message or "Upload a trained model")
    except InputError as error:
        raise type(error)(f"{error}. The run in {path} is whole: `{command(path, target)}` repeats the push") from None


def command(path: Path, target: Target) -> str:
    """The command that pushes a run to a target."""
    words = ["python", "-m", "finetune.hub", "push", str(path), target.repo_id]
    words += ["--private", "true"] if target.private else []
    words += ["--revision", target.revision] if target.revision else []
    return shlex.join(words)


def said(pushed: Pushed) -> str:
    return f"pushed: {pushed.url}" if pushed.changed else f"unchanged, so nothing was pushed: {pushed.url}"


def refusal(config: HubConfig, api: HfApi | None = None) -> tuple[str | None, str | None]:
    """Before training: why a push at its end would be refused, and what to note where that cannot be known yet."""
    assert config.repo_id is not None
    try:
        Repository(Target(config.repo_id, config.private), api, pauses=()).open()
    except UnreachableError as error:
        return None, f"NOTE: {error}; training goes on, and the push is tried at its end"
    except InputError as error:
        return str(error), None
    return None, None
