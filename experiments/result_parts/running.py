"""Running the parts of `experiments.results`: each once, again only where its command, its models or its data change.

Beside the results of a part, `part.json` says what they were made of: the command, and the SHA-256 of weights, manifest
and configuration. A part that was stopped goes on where it was.
"""

import json
import os
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from experiments.result_parts.corpora import build
from experiments.result_parts.parts import (
    Folders,
    Measured,
    Part,
    Training,
    command_of,
    executable,
    is_finished_run,
    reference,
    shown,
    systems_of,
)
from preprocessing.cli.atomic_write import write_text_atomically
from preprocessing.cli.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
STATE = "part.json"
Status = Literal["done", "done before", "made elsewhere", "failed", "not measured"]


@dataclass(frozen=True)
class State:
    """The content of part.json. inputs: SHA-256 by file. finished: UTC, None while the part is not."""

    command: list[str]
    inputs: dict[str, str]
    seconds: float = 0.0
    finished: str | None = None

    def is_of(self, other: "State") -> bool:
        """Whether both are of the same command and the same inputs."""
        return self.command == other.command and self.inputs == other.inputs


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
        usual = "seconds" if folders.quick else f"{part.minutes} min on 2 quiet cores"
        print(
            f"[{number}/{len(parts)}] {part.name}: {part.title}; {minutes:.0f} min so far, usually {usual}", flush=True
        )
        outcome = _run_part(part, folders, overwrite=overwrite)
        more = f": {outcome.reason}" if outcome.reason else ""
        print(f"[{number}/{len(parts)}] {part.name}: {outcome.status}{more}", flush=True)
        found.append(outcome)
    return found


def read_state(folder: Path) -> State | None:
    """The state of a part's folder; None where there is none that can be read."""
    try:
        return State(**json.loads((folder / STATE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def is_finished(part: Part, folders: Folders) -> bool:
    """Whether results of the part are there, of whatever command."""
    state = read_state(folders.result(part))
    return state is not None and state.finished is not None and _has_ended(part, folders)


def _has_ended(part: Part, folders: Folders) -> bool:
    if isinstance(part, Training):
        return is_finished_run(folders.training(part.config))
    return (folders.result(part) / "summary.json").is_file()


def _run_part(part: Part, folders: Folders, *, overwrite: bool) -> Outcome:
    missing: list[str] = []
    if isinstance(part, Measured):
        systems, without_run = systems_of(part, folders)
        missing = [f"{one.name} ({folders.run(one.checkpoint).name})" for one in without_run]
        if not systems:
            return Outcome(part, "not measured", 0.0, "none of its systems is there", missing)
        if part.data.startswith("built:"):
            name = part.data.removeprefix("built:")
            build(name, folders.data, folders.built(name))
    words = command_of(part, folders)
    wanted = State(words, inputs_of(part, folders))
    folder = folders.result(part)
    before = read_state(folder)
    same = before is not None and before.is_of(wanted)
    ended = _has_ended(part, folders)
    if isinstance(part, Training) and before is None and ended and not overwrite:
        return Outcome(part, "made elsewhere", 0.0, f"{folders.training(part.config)} is there already")
    if before is not None and same and before.finished is not None and ended and not overwrite:
        return Outcome(part, "done before", before.seconds, f"on {before.finished[:10]}", missing)
    if overwrite or not same or ended:  # a benchmark that ended without being finished is one of which a system failed
        words = [*words, "--overwrite", "true"]
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder, wanted)
    print(f"    {shown(words, folders)}", flush=True)
    began = time.monotonic()
    code = subprocess.run(executable(words), cwd=ROOT, check=False, env=_environment()).returncode
    seconds = time.monotonic() - began
    if code in (130, -2):
        raise KeyboardInterrupt
    if code != 0:
        return Outcome(part, "failed", seconds, f"exit code {code} of the command above", missing)
    finished = datetime.now(UTC).isoformat(timespec="seconds")
    _write(folder, State(wanted.command, wanted.inputs, seconds, finished))
    return Outcome(part, "done", seconds, f"in {seconds / 60:.1f} min", missing)


def inputs_of(part: Part, folders: Folders) -> dict[str, str]:
    """SHA-256 of the files that decide what comes out: weights, and a manifest or a configuration.

    Raises InputError naming a manifest that is not there.
    """
    from benchmark.systems.identity import sha256_of, weights_of

    if isinstance(part, Training):
        config = ROOT / "configs" / "finetune" / f"{part.config}.yaml"
        files = [config, folders.data / "digits" / "train.jsonl", *_weights_of_base(part, config, folders)]
    else:
        built = part.data.removeprefix("built:")
        files = [folders.built(built) if built != part.data else folders.data / part.data]
        for one in systems_of(part, folders)[0]:
            files += weights_of(one.family, reference(one, folders)) if one.source != "package" else []
    absent = [path for path in files if not path.is_file()]
    if absent:
        raise InputError(f"{absent[0]}: not there; expected a file of the data folder: name its folder with --data")
    return {str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path): sha256_of(path) for path in files}


def _weights_of_base(part: Training, config: Path, folders: Folders) -> list[Path]:
    """The weights that a training starts from, as far as they are on this machine."""
    import yaml

    from benchmark.systems.identity import weights_of

    if part.base is not None:
        return weights_of("whisper", part.base if folders.whisper is None else str(folders.whisper / f"{part.base}.pt"))
    base = yaml.safe_load(config.read_text(encoding="utf-8"))["model"].get("base")
    return [] if base is None else weights_of("wav2vec2", str(ROOT / base) if (ROOT / base).exists() else base)


def _environment() -> Mapping[str, str]:
    """That of this process with the repository on PYTHONPATH, as `accelerate launch` starts from a module."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _write(folder: Path, state: State) -> None:
    write_text_atomically(folder / STATE, json.dumps(asdict(state), indent=1, ensure_ascii=False) + "\n")


def command_line(part: Part, folders: Folders) -> str:
    """The part's command as one line to copy."""
    return shown(command_of(part, folders), folders)


def words_of_line(line: str) -> list[str]:
    """The words of a line that `command_line` made."""
    return shlex.split(line)
