"""Uploads a run to the Hugging Face Hub, its files and its model card in one commit, and explains what fails.

Called by `python -m finetune.hub push`, and by training at its end (`publish`) and before it begins (`check_access`).
"""

import json
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    ModelCardData,
    get_session,
    get_token,
)
from huggingface_hub.errors import OfflineModeIsEnabled, RevisionNotFoundError

from finetune.config import HubConfig, TrainConfig
from finetune.hub.card import TASK, CardOptions, model_card
from finetune.hub.folder import RunFolder, is_upload, open_run
from finetune.hub.results import read_benchmark
from finetune.models.about import hub_id
from preprocessing.errors import InputError

PAUSES_SECONDS = (1.0, 4.0, 16.0)  # before each retry
TRANSIENT_STATUSES = (408, 429, 500, 502, 503, 504)  # of HTTP
PROGRAMMING_ERRORS = (TypeError, AttributeError, LookupError, NameError, AssertionError)  # never explained away

Result = TypeVar("Result")


class UnreachableError(InputError):
    """The Hub could not be reached, or answered with a transient error: repeating the call later may succeed."""


@dataclass(frozen=True)
class Target:
    """The repository to push to. revision: a branch, created from main where it does not exist; None: main."""

    repo_id: str
    private: bool = False
    revision: str | None = None


@dataclass(frozen=True)
class Pushed:
    """The result of a push. changed: False where the repository had the same files already, and no commit was made."""

    url: str
    changed: bool


class Repository:
    """One repository of the Hub. Every failure is an InputError; UnreachableError where repeating may help.

    pauses: seconds before each retry of a call that failed by a transient error.
    """

    def __init__(self, target: Target, api: HfApi | None = None, pauses: Sequence[float] = PAUSES_SECONDS) -> None:
        self._target = target
        self._api = api or HfApi()
        self._pauses = pauses

    def open(self) -> None:
        """Creates the repository where it does not exist, and checks that the token may write to it."""
        self._check_token()
        self._with_retries(self._open)

    def check(self) -> bool:
        """Whether the repository exists; checks that the token may write to it, or create it, and creates nothing."""
        self._check_token()
        return self._with_retries(self._check)

    def validate(self, card: str) -> None:
        """Asks the Hub whether it takes the metadata of a model card. Raises InputError where it does not."""
        self._check_token()
        self._with_retries(lambda: self._validate(card))

    def commit(self, files: Mapping[str, Path | bytes], message: str) -> Pushed:
        """Uploads files, under their names in the repository, and removes what an earlier run left there (`is_upload`),
        in one commit; makes none where nothing changed.
        """
        before = self._with_retries(self._head)
        oid = self._with_retries(lambda: self._commit(files, message))
        tree = f"/tree/{self._target.revision}" if self._target.revision else ""
        return Pushed(f"{self._api.endpoint}/{self._target.repo_id}{tree}", oid != before)

    def _check_token(self) -> None:
        if not self._token():
            raise InputError(
                f"{self._target.repo_id}: no Hugging Face token found; expected one with write permission: "
                "run `hf auth login`, or set HF_TOKEN"
            )

    def _open(self) -> None:
        target = self._target
        if not self._api.repo_exists(target.repo_id):
            self._api.create_repo(target.repo_id, private=target.private or None, exist_ok=True)
        self._check_existing()

    def _check(self) -> bool:
        if self._api.repo_exists(self._target.repo_id):
            self._check_existing()
            return True
        owner = self._api.whoami()
        names = {owner["name"], *(organisation["name"] for organisation in owner.get("orgs") or ())}
        role = (owner["auth"].get("accessToken") or {}).get("role")
        if role == "read" or self._target.repo_id.partition("/")[0] not in names:
            raise InputError(self._no_permission())
        return False

    def _check_existing(self) -> None:
        target = self._target
        self._api.auth_check(target.repo_id, write=True)
        if target.private and not self._api.repo_info(target.repo_id).private:
            raise InputError(
                f"{target.repo_id}: is a public repository; expected a private one: change it in its settings on the "
                "Hub, or leave private out"
            )

    def _validate(self, card: str) -> None:
        asked = {"content": card, "repoType": "model"}
        headers = {"Authorization": f"Bearer {self._token()}"}
        response = get_session().post(f"{self._api.endpoint}/api/validate-yaml", json=asked, headers=headers)
        if response.status_code == 400:
            errors = response.json().get("errors", [])
            found = "; ".join(" ".join(str(error.get("message")).split()) for error in errors)
            raise InputError(
                f"{self._target.repo_id}: the Hub does not take the model card's metadata ({found}); expected keys "
                "that it knows: correct --hub_license, --hub_language or --model.base"
            )
        response.raise_for_status()

    def _head(self) -> str | None:
        """The id of the last commit on the branch, which is created where it does not exist."""
        target = self._target
        try:
            return self._api.repo_info(target.repo_id, revision=target.revision).sha
        except RevisionNotFoundError:
            self._api.create_branch(target.repo_id, branch=str(target.revision), exist_ok=True)
            return self._api.repo_info(target.repo_id, revision=target.revision).sha

    def _commit(self, files: Mapping[str, Path | bytes], message: str) -> str:
        """The id of the commit, or of the last one where the repository has the files already."""
        target = self._target
        there = self._api.model_info(target.repo_id, revision=target.revision).siblings or ()
        left = sorted({file.rfilename for file in there} - set(files))
        # new ones for each attempt: an operation keeps the state of its upload
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            CommitOperationAdd(name, content) for name, content in files.items()
        ]
        operations += [CommitOperationDelete(name) for name in left if is_upload(name)]
        commit = self._api.create_commit(target.repo_id, operations, commit_message=message, revision=target.revision)
        return commit.oid

    def _with_retries(self, call: Callable[[], Result]) -> Result:
        """The call's result; the call is repeated after each pause while it raises transient errors."""
        for pause in (*self._pauses, None):
            try:
                return call()
            except (InputError, *PROGRAMMING_ERRORS):
                raise
            except Exception as error:  # httpx's, the operating system's and hf_xet's have no common base
                if pause is None or not _is_transient(error):
                    raise self._as_input_error(error) from None
                time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _as_input_error(self, error: Exception) -> InputError:
        repo_id, status = self._target.repo_id, _status(error)
        if status == 401:
            return InputError(
                f"{repo_id}: the Hub refuses the token (401); expected a valid one with write permission: run "
                "`hf auth login`, or correct HF_TOKEN"
            )
        if status == 403:
            return InputError(self._no_permission(" (403)"))
        reason = " ".join(str(_root_cause(error)).split()) or type(error).__name__
        reason = reason.replace(self._token() or "\0", "[token]")
        if _is_transient(error) or isinstance(error, OfflineModeIsEnabled):
            return UnreachableError(
                f"{repo_id}: the Hub cannot be reached ({reason}); check the network and run the same command again"
            )
        return InputError(
            f"{repo_id}: the Hub refuses the request ({reason}); expected an accepted one: correct it and run the same "
            "command again"
        )

    def _no_permission(self, status: str = "") -> str:
        return (
            f"{self._target.repo_id}: the token may not write there{status}; expected one with write permission: "
            "choose another token, or a repository under your own name"
        )

    def _token(self) -> str | None:
        return self._api.token if isinstance(self._api.token, str) else get_token()


def _root_cause(error: BaseException) -> BaseException:
    """The error behind a RuntimeError of an upload."""
    return _root_cause(error.__cause__) if isinstance(error, RuntimeError) and error.__cause__ else error


def _status(error: BaseException) -> int | None:
    """The HTTP status of an error, None where it has none."""
    response: Any = getattr(_root_cause(error), "response", None)
    return getattr(response, "status_code", None)


def _is_transient(error: Exception) -> bool:
    status = _status(error)
    if status is not None:
        return status in TRANSIENT_STATUSES
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
    """Uploads the run in a folder, with its model card. The folder is only read.

    results: a benchmark's folder with this run among its systems, for the card. Raises InputError where the run cannot
    be read or the Hub refuses it, with the command that repeats the push.
    """
    run = open_run(path)
    check_trained(run)
    files = {"README.md": card_of(run, options, results).encode(), **run.uploads()}
    repository = repository or Repository(target)
    try:
        repository.open()
        return repository.commit(files, message or "Upload a trained model")
    except InputError as error:
        command = push_command(path, target, options, message, results)
        raise type(error)(f"{error}. The run in {path} is complete: `{command}` repeats the push") from None


def check_trained(run: RunFolder) -> None:
    """Raises InputError where a training was stopped before any evaluation was better than that before its first
    update.
    """
    if run.stopped is not None and run.is_untrained:
        raise InputError(
            f"{run.path}: {run.stopped}, and its best weights are those of step 0, before the first update; expected a "
            "trained model: start the training again, which goes on from its last checkpoint"
        )


def card_of(run: RunFolder, options: CardOptions, results: Path | None = None) -> str:
    """The model card of a run, with what its configuration says of licence and language where the options do not.

    results: as in `publish`. Raises InputError where they are none.
    """
    if results is not None:
        options = replace(options, benchmark=read_benchmark(results, run.path, options.repo_id))
    config = run.config
    if options.license is None:
        options = replace(
            options,
            license=config.get("hub_license"),
            license_name=config.get("hub_license_name"),
            license_link=config.get("hub_license_link"),
        )
    return model_card(run, replace(options, language=options.language or config.get("hub_language")))


def push_command(
    path: Path,
    target: Target,
    options: CardOptions | None = None,
    message: str | None = None,
    results: Path | None = None,
) -> str:
    """The command that pushes a run to a target, with what its card and commit were asked to say."""
    words = ["python", "-m", "finetune.hub", "push", str(path), target.repo_id]
    words += ["--private", "true"] if target.private else []
    given = {
        "revision": target.revision,
        "message": message,
        "results": results and str(results),
        "license": options and options.license,
        "license_name": options and options.license_name,
        "license_link": options and options.license_link,
        "language": options and options.language,
    }
    for name, value in given.items():
        words += [f"--{name}", value] if value else []
    return shlex.join(words)


def push_summary(pushed: Pushed) -> str:
    """One line for the terminal on what a push did."""
    return f"pushed: {pushed.url}" if pushed.changed else f"unchanged, so nothing was pushed: {pushed.url}"


def check_access(
    config: HubConfig, api: HfApi | None = None, *, only_check: bool = False
) -> tuple[str | None, str | None]:  # fmt: skip
    """(reason, note): why a push to --hub_model_id would be refused, or what to say where the Hub is out of reach;
    both None where the push is possible.

    Training calls it before its first update. The Hub is asked what it thinks of the card's metadata, too. It creates
    the repository where it does not exist; with `only_check` it creates nothing, and the note says what the push would
    be to.
    """
    assert config.hub_model_id is not None
    repository = Repository(Target(config.hub_model_id, config.hub_private_repo), api, pauses=())
    try:
        repository.validate(f"---\n{_planned_metadata(config).to_yaml()}\n---\n")
        if only_check:
            return None, _planned(config, exists=repository.check())
        repository.open()
    except UnreachableError as error:
        return None, f"NOTE: {error}; training continues, and the push is tried again at its end"
    except InputError as error:
        return str(error), None
    return None, None


def _planned_metadata(config: HubConfig) -> ModelCardData:
    """What the card's metadata will have of a training's configuration."""
    base = hub_id(config.model.base, config.model.family) if isinstance(config, TrainConfig) else None
    return ModelCardData(
        license=config.hub_license,
        license_name=config.hub_license_name,
        license_link=config.hub_license_link,
        language=config.hub_language,
        base_model=base,
        pipeline_tag=TASK,
    )


def _planned(config: HubConfig, *, exists: bool) -> str:
    """What a training with this configuration would push to, in a sentence."""
    if exists:
        return f"the trained model would be pushed to {config.hub_model_id}, where the token may write"
    kind = "a private repository" if config.hub_private_repo else "a repository"
    return f"the trained model would be pushed to {config.hub_model_id}, {kind} that training would create"
