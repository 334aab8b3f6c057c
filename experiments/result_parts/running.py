"""Running the parts of `experiments.results`: each once, again only where its command, its models or its data change.

Beside the results of a part, `part.json` says what they were made of: the command, and the SHA-256 of weights, manifest
and configuration. A part that was stopped goes on where it was. Where only systems have changed, as when one more has
been trained, the transcripts of the others stay, except where speed is what is measured.
"""

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from experiments.harness.trainings import (
    ROOT,
    State,
    content_sha256,
    environment,
    executable,
    read_state,
    write_state,
)
from experiments.result_parts.corpora import build
from experiments.result_parts.kinds import Folders, Part, command_line
from preprocessing.cli.processes import end_with_parent
from preprocessing.errors import InputError, UserError

STATE = "part.json"
Status = Literal["done", "done before", "made elsewhere", "failed", "not measured"]


@dataclass(frozen=True)
class Outcome:
    """What became of a part. missing: the runs that were not there to be measured."""

    part: Part
    status: Status
    seconds: float = 0.0
    reason: str = ""
    missing: Sequence[str] = field(default_factory=tuple)


def run_parts(parts: Sequence[Part], folders: Folders, *, overwrite: bool) -> list[Outcome]:
    """Run one part after the other; one that fails does not stop the others. Ctrl-C passes through."""
    found = []
    began = time.monotonic()
    for number, part in enumerate(parts, start=1):
        minutes = (time.monotonic() - began) / 60
        before = state_of(part, folders)
        takes = "--quick" if folders.quick else f"takes about {part.minutes} min on 2 quiet cores"
        if before is not None and before.finished is not None:
            takes = f"took {before.seconds / 60:.0f} min last time"
        print(f"[{number}/{len(parts)}] {part.name}: {part.title}; {minutes:.0f} min so far; {takes}", flush=True)
        try:
            outcome = _run_part(part, folders, overwrite=overwrite)
        except UserError as error:
            outcome = Outcome(part, "failed", 0.0, f"as {error}")
        print(f"[{number}/{len(parts)}] {part.name}: {outcome.status} {outcome.reason}".rstrip(), flush=True)
        found.append(outcome)
    return found


def state_of(part: Part, folders: Folders) -> State | None:
    """The state of a part; None where there is none that can be read."""
    return read_state(folders.result(part) / STATE)


def is_finished(part: Part, folders: Folders) -> bool:
    """Whether results of the part are there, of whatever command."""
    state = state_of(part, folders)
    return state is not None and state.finished is not None and part.has_ended(folders)


def _run_part(part: Part, folders: Folders, *, overwrite: bool) -> Outcome:
    """Run the part's command unless its results are there, made by the same command from the same inputs."""
    missing = part.missing(folders)
    if (obstacle := part.obstacle(folders)) is not None:
        return Outcome(part, "not measured", 0.0, f"as {obstacle}", missing)
    for corpus in part.used_corpora:
        if corpus.startswith("built:"):
            build(corpus.removeprefix("built:"), folders.data, folders.manifest(corpus))
    words = part.command(folders)
    wanted = State(words, inputs_of(part, folders), part.identities(folders))
    folder = folders.result(part)
    before = read_state(folder / STATE)
    same = before is not None and before.is_of(wanted)
    ended = part.has_ended(folders)
    begun_elsewhere = part.may_begin_elsewhere and before is None
    if begun_elsewhere and ended and not overwrite:
        return Outcome(part, "made elsewhere", 0.0, f"as {part.output(folders)}")
    if before is not None and same and before.finished is not None and ended and not overwrite:
        return Outcome(part, "done before", before.seconds, f"on {before.finished[:10]}", missing)
    kept: list[str] = []
    if part.keeps_records and before is not None and not overwrite:
        kept = _keep(folder, kept_systems(before, wanted), words)
    if kept:
        print(f"    kept from before: {', '.join(kept)}", flush=True)
    # A benchmark that ended without being finished had a system that failed; a training that was begun by hand goes on.
    elif part.takes_overwrite and (overwrite or ended or not (same or begun_elsewhere)):
        words = [*words, "--overwrite", "true"]
    folder.mkdir(parents=True, exist_ok=True)
    write_state(folder / STATE, wanted)
    code, seconds = _execute(words, folders)
    if code != 0:
        return Outcome(part, "failed", seconds, f"with exit code {code} of the command above", missing)
    write_state(folder / STATE, _with_fetched(wanted, part, folders).ended(seconds))
    return Outcome(part, "done", seconds, f"in {seconds / 60:.1f} min", missing)


def _execute(words: Sequence[str], folders: Folders) -> tuple[int, float]:
    """Print a command and run it: its exit code and its seconds. Raises KeyboardInterrupt where Ctrl-C ended it."""
    print(f"    {command_line(words, folders)}", flush=True)
    began = time.monotonic()
    code = subprocess.run(
        executable(words), cwd=ROOT, check=False, env=environment(), preexec_fn=end_with_parent
    ).returncode
    if code in (130, -2):
        raise KeyboardInterrupt
    return code, time.monotonic() - began


def _with_fetched(state: State, part: Part, folders: Folders) -> State:
    """The state with the SHA-256 of weights that the command itself has fetched and the next start will find."""
    now = part.identities(folders)
    fetched = {name: now[name] for name, what in state.systems.items() if now.get(name, "").startswith(what)}
    return replace(state, inputs=inputs_of(part, folders) | state.inputs, systems=state.systems | fetched)


def _keep(folder: Path, names: Sequence[str], words: Sequence[str]) -> list[str]:
    """Turn the results in the folder into an unfinished run of the command that has the records of some systems.

    names: systems that have not changed. Returns those that have records, and did not fail; [] leaves all as it is.
    """
    from benchmark.config import BenchmarkConfig
    from benchmark.results import RUN, SystemRun, read_run
    from benchmark.results.store import begin_with_records
    from finetune.systems.registry import parse_models
    from finetune.systems.search_options import SEARCH_FLAGS
    from preprocessing.cli.options import parse_command

    if not names or not (folder / RUN).is_file():
        return []
    before = read_run(folder / RUN)
    config = parse_command(BenchmarkConfig, program=words[1], description="", arguments=words[2:])
    of_systems = {"models", "system_options", *SEARCH_FLAGS}
    settings = {name: value for name, value in before.settings.items() if name not in of_systems}
    settings |= {name: value for name, value in config.settings().items() if name in of_systems}
    systems = [SystemRun(one.facts(parameters=0, settings={})) for one in parse_models(config.models)]
    return begin_with_records(folder, replace(before, settings=settings, systems=systems), names)


def kept_systems(before: State, wanted: State) -> list[str]:
    """The systems whose transcripts hold in another state: none where anything but systems has changed."""
    if before.inputs != wanted.inputs or _but_systems(before.command) != _but_systems(wanted.command):
        return []
    return [name for name, what in wanted.systems.items() if before.systems.get(name) == what]


def _but_systems(command: Sequence[str]) -> list[str]:
    """The words of a command without its systems and their options."""
    flags = {place for place, word in enumerate(command) if word.partition(".")[0] in ("--models", "--system_options")}
    return [word for place, word in enumerate(command) if place not in flags and place - 1 not in flags]


def inputs_of(part: Part, folders: Folders) -> dict[str, str]:
    """SHA-256 of the files that decide what comes out, beside the systems: a manifest, or a configuration and its base.

    Raises InputError naming one that is not there.
    """
    files = part.input_files(folders)
    absent = [path for path in files if not path.is_file()]
    if absent:
        raise InputError(
            f"{absent[0]}: no such file; expected a file of the data folder, or the output of an earlier part or "
            "training: name the folders with --data_dir and --runs, or run that first"
        )
    return {str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path): content_sha256(path) for path in files}
