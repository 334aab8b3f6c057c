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
    is_finished_run,
    read_state,
    write_state,
)
from experiments.result_parts.corpora import build
from experiments.result_parts.parts import (
    LANGUAGE_MODEL,
    Command,
    Folders,
    Measured,
    Part,
    Training,
    command_of,
    reference,
    shown,
    systems_of,
)
from preprocessing.cli.atomic_write import write_text_atomically
from preprocessing.cli.errors import InputError, UserError
from preprocessing.cli.processes import end_with_parent

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
    return state is not None and state.finished is not None and _has_ended(part, folders)


def _has_ended(part: Part, folders: Folders) -> bool:
    if isinstance(part, Training):
        return is_finished_run(folders.training(part.folder))
    if isinstance(part, Command):
        return Path(folders.named(part.makes)).exists()
    return (folders.result(part) / "summary.json").is_file()


def _run_part(part: Part, folders: Folders, *, overwrite: bool) -> Outcome:
    """Run the part's command unless its results are there, made by the same command from the same inputs."""
    missing: list[str] = []
    if isinstance(part, Command) and folders.quick:
        return Outcome(part, "not measured", 0.0, "as --quick trains nothing that it could use")
    if isinstance(part, Measured):
        systems, without_run = systems_of(part, folders)
        missing = [f"{one.name} ({folders.run(one.checkpoint).name})" for one in without_run]
        if not systems:
            return Outcome(part, "not measured", 0.0, "as none of its systems is there", missing)
    for corpus in _corpora(part):
        if corpus.startswith("built:"):
            build(corpus.removeprefix("built:"), folders.data, folders.manifest(corpus))
    words = command_of(part, folders)
    wanted = State(words, inputs_of(part, folders), _systems(part, folders))
    folder = folders.result(part)
    before = read_state(folder / STATE)
    same = before is not None and before.is_of(wanted)
    ended = _has_ended(part, folders)
    if isinstance(part, Training) and before is None and ended and not overwrite:
        return Outcome(part, "made elsewhere", 0.0, f"as {folders.training(part.folder)}")
    if before is not None and same and before.finished is not None and ended and not overwrite:
        return Outcome(part, "done before", before.seconds, f"on {before.finished[:10]}", missing)
    kept: list[str] = []
    if isinstance(part, Measured) and before is not None and not part.timed and not overwrite:
        kept = _keep(folder, kept_systems(before, wanted), words)
    if kept:
        print(f"    kept from before: {', '.join(kept)}", flush=True)
    # A benchmark that ended without being finished had a system that failed; a training that was begun by hand goes on.
    elif not isinstance(part, Command) and (
        overwrite or ended or not (same or (isinstance(part, Training) and before is None))
    ):
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
    print(f"    {shown(words, folders)}", flush=True)
    began = time.monotonic()
    code = subprocess.run(
        executable(words), cwd=ROOT, check=False, env=environment(), preexec_fn=end_with_parent
    ).returncode
    if code in (130, -2):
        raise KeyboardInterrupt
    return code, time.monotonic() - began


def _with_fetched(state: State, part: Part, folders: Folders) -> State:
    """The state with the SHA-256 of weights that the command itself has fetched and the next start will find."""
    now = _systems(part, folders)
    fetched = {name: now[name] for name, what in state.systems.items() if now.get(name, "").startswith(what)}
    return replace(state, inputs=inputs_of(part, folders) | state.inputs, systems=state.systems | fetched)


def _keep(folder: Path, names: Sequence[str], words: Sequence[str]) -> list[str]:
    """Turn the results in the folder into an unfinished run of the command that has the records of some systems.

    names: systems that have not changed. Returns those that have records, and did not fail; [] leaves all as it is.
    """
    from benchmark.config import LANGUAGE_MODEL_FLAGS, BenchmarkConfig
    from benchmark.results import (
        RUN,
        SAMPLES,
        SUMMARY,
        THROUGHPUT,
        TIMINGS,
        SystemFacts,
        SystemRun,
        json_line,
        read_run,
        read_samples,
        read_throughput,
        read_timings,
        write_run,
        write_samples,
    )
    from benchmark.results.store import drop_torn_line
    from finetune.systems.registry import parse_models
    from preprocessing.cli.options import parse_command

    if not names or not (folder / RUN).is_file() or not (folder / SAMPLES).is_file():
        return []
    for name in (SAMPLES, TIMINGS, THROUGHPUT):
        drop_torn_line(folder / name)  # of a benchmark that was killed
    before = read_run(folder / RUN)
    samples = list(read_samples(folder / SAMPLES))
    timings = list(read_timings(folder / TIMINGS)) if (folder / TIMINGS).is_file() else []
    throughputs = list(read_throughput(folder / THROUGHPUT)) if (folder / THROUGHPUT).is_file() else []
    known = {one.facts.name: one for one in before.systems if one.failure is None and one.facts.name in names}
    have = [name for name in names if name in known and any(one.system == name for one in samples)]
    if not have:
        return []
    config = parse_command(BenchmarkConfig, program=words[1], description="", arguments=words[2:])
    of_systems = {"models", "system_options", *LANGUAGE_MODEL_FLAGS}
    settings = {name: value for name, value in before.settings.items() if name not in of_systems}
    settings |= {name: value for name, value in config.settings().items() if name in of_systems}
    systems = [
        known.get(one.name, SystemRun(SystemFacts(one.name, one.family, one.checkpoint, 0)))
        for one in parse_models(config.models)
    ]
    write_samples(folder / SAMPLES, [one for one in samples if one.system in have and one.error is None])
    for name, records in ((TIMINGS, timings), (THROUGHPUT, throughputs)):
        write_text_atomically(folder / name, "".join(json_line(one) for one in records if one.system in have))
    write_run(folder / RUN, replace(before, settings=settings, systems=systems))
    (folder / SUMMARY).unlink(missing_ok=True)
    return have


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
    files = [folders.manifest(corpus) for corpus in _corpora(part)]
    if isinstance(part, Command):
        files = [Path(folders.named(path)) for path in part.inputs]
    if isinstance(part, Training):
        config = ROOT / "configs" / "finetune" / f"{part.config}.yaml"
        files += [config, *_weights_of_base(part, config, folders)]
    absent = [path for path in files if not path.is_file()]
    if absent:
        raise InputError(
            f"{absent[0]}: no such file; expected a file of the data folder, or the output of an earlier part or "
            "training: name the folders with --data_dir and --runs, or run that first"
        )
    return {str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path): content_sha256(path) for path in files}


def _corpora(part: Part) -> Sequence[str]:
    if isinstance(part, Command):
        return ()
    return part.corpora if isinstance(part, Training) else (part.data,)


def _systems(part: Part, folders: Folders) -> dict[str, str]:
    """What each system of a benchmark is: checkpoint, options and SHA-256 of its weights."""
    from finetune.systems.identity import sha256_of, weights_of

    if not isinstance(part, Measured):
        return {}
    found = {}
    for one in systems_of(part, folders)[0]:
        checkpoint = reference(one, folders)
        weights = weights_of(one.family, checkpoint) if one.source != "package" else []
        if one.family.endswith("+lm"):
            weights += sorted(path for path in (Path(checkpoint) / LANGUAGE_MODEL).iterdir() if path.is_file())
        found[one.name] = " ".join([one.family, checkpoint, *map("=".join, one.options), *map(sha256_of, weights)])
    return found


def _weights_of_base(part: Training, config: Path, folders: Folders) -> list[Path]:
    """The weights that a training starts from, as far as they are on this machine."""
    import yaml

    from finetune.systems.identity import weights_of

    if part.base is not None:
        return weights_of("whisper", part.base if folders.whisper is None else str(folders.whisper / f"{part.base}.pt"))
    base = yaml.safe_load(config.read_text(encoding="utf-8"))["model"].get("base")
    return [] if base is None else weights_of("wav2vec2", str(ROOT / base) if (ROOT / base).exists() else base)
