"""A run published: its files and its card into one commit, from the command or at the end of training."""

import shlex
from dataclasses import replace
from pathlib import Path

from huggingface_hub import HfApi

from finetune.config import HubConfig
from finetune.hub.card import CardOptions, model_card
from finetune.hub.folder import open_run
from finetune.hub.measured import read_benchmark
from finetune.hub.push import Pushed, Repository, Target, UnreachableError
from preprocessing.errors import InputError


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
