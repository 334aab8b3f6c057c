"""Checkpoints of a run: written completely or not at all, and resumed exactly.

A checkpoint is a folder that is written under another name and renamed. It holds the weights (safetensors), optimiser,
learning-rate schedule, random states of every process and position in the data; loading runs no code from the file.
Where a disk has damaged the last one, the run is resumed from the one before.
"""

import contextlib
import json
import os
import pickle
import random
import shutil
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from finetune.training.averaging import MovingAverage
from finetune.training.step import IntervalSums
from preprocessing.errors import InputError, first_line
from preprocessing.storage.atomic_write import permit_readers

WEIGHTS, AVERAGE, STATES, PROGRESS = "weights.safetensors", "average.safetensors", "states.pt", "progress.json"
UNREADABLE = (
    *(OSError, EOFError, ValueError, TypeError, KeyError, RuntimeError),
    *(SafetensorError, zipfile.BadZipFile, zlib.error),
)


class Ranked(NamedTuple):
    """The rates of an evaluation, the one that decides first, and its step: of two, the lower is the better."""

    rate: float
    other_rate: float
    step: int

    @property
    def rates(self) -> tuple[float, float]:
        """As `Evaluation.rates`."""
        return self.rate, self.other_rate


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    batches: taken from the data by all processes together; ranking: the best evaluations, the best first; fingerprint:
    of corpus, units and batch settings, as a run with another one is not resumed; validation: digest of the evaluation
    set that the ranking is over. evaluation_due: the evaluation of this step was interrupted, and the resumed run
    begins with it. interval: of a checkpoint, the steps since the last line of the log.
    """

    step: int = 0
    batches: int = 0
    audio_seconds: float = 0.0
    ranking: tuple[Ranked, ...] = ()
    evaluations_since_best: int = 0
    fingerprint: str = ""
    validation: str = ""
    evaluation_due: bool = False
    interval: IntervalSums = field(default_factory=IntervalSums)

    def with_evaluation(self, rates: tuple[float, float], kept: int) -> "Progress":
        """The progress with an evaluation of this step, of these `Evaluation.rates`, in the ranking of the best `kept`.
        A step that is evaluated again, such as the first one of a run that was stopped in it, is ranked once.

        >>> evaluated = Progress(step=10).with_evaluation((0.4, 0.2), kept=2)
        >>> replace(evaluated, step=20).with_evaluation((0.3, 0.2), kept=2).ranking
        (Ranked(rate=0.3, other_rate=0.2, step=20), Ranked(rate=0.4, other_rate=0.2, step=10))
        """
        others = (one for one in self.ranking if one.step != self.step)
        ranking = sorted([*others, Ranked(*rates, self.step)])
        since_best = 0 if ranking[0].step == self.step else self.evaluations_since_best + 1
        return replace(self, ranking=tuple(ranking[:kept]), evaluations_since_best=since_best)

    def ranked_over(self, validation: str) -> "Progress":
        """The progress over the evaluation set with this digest: without the ranking of another set, whose error rates
        cannot be compared with this one's. A checkpoint without a digest keeps its ranking.
        """
        if self.validation in ("", validation):
            return replace(self, validation=validation)
        return replace(self, ranking=(), evaluations_since_best=0, validation=validation)


@dataclass(frozen=True)
class States:
    """State dicts of a checkpoint beside the weights, of plain values and tensors. random: one for each process.
    scaler: of the gradients in float16; else empty.
    """

    optimiser: Mapping[str, Any]
    schedule: Mapping[str, Any]
    random: Sequence[Mapping[str, Any]]
    scaler: Mapping[str, Any] = field(default_factory=dict)


def save(
    folder: Path,
    module: nn.Module,
    states: States,
    progress: Progress,
    average: MovingAverage | None = None,
    *,
    kept: int | None = None,
) -> Path:
    """Write folder/step-NNNNNNNN and delete all but the last `kept`; None deletes none. Returns the new checkpoint.
    Checkpoints of later steps, which were damaged where the run has resumed before them, are deleted too.

    Raises InputError if it cannot be written, such as on a full disk; earlier checkpoints stay as they are.
    """
    target = folder / f"step-{progress.step:08d}"
    partial = folder / f"{target.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _write_files(partial, module, states, progress, average)
    except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors wrap what the disk says
        shutil.rmtree(partial, ignore_errors=True)
        last = latest(folder)
        remains = f"the checkpoint {last} is complete" if last is not None else "there is no earlier one"
        raise InputError(
            f"{target}: cannot be written ({first_line(error)}); expected disk space for it: "
            f"{remains}; free some space and run the same command again"
        ) from error
    if target.exists():
        shutil.rmtree(target)
    os.rename(partial, target)
    for later in (path for path in _all(folder) if path.name > target.name):
        shutil.rmtree(later)
    for old in _all(folder)[:-kept] if kept is not None else ():
        shutil.rmtree(old)
    return target


def _write_files(
    partial: Path, module: nn.Module, states: States, progress: Progress, average: MovingAverage | None
) -> None:
    partial.mkdir(parents=True)
    safetensors.torch.save_model(module, str(partial / WEIGHTS))
    if average is not None:
        safetensors.torch.save_file(average.state_dict(), str(partial / AVERAGE))
    torch.save({one.name: getattr(states, one.name) for one in fields(states)}, partial / STATES)
    (partial / PROGRESS).write_text(json.dumps(asdict(progress)), encoding="utf-8")
    permit_readers(partial)
    for path in partial.iterdir():  # on the disk before the folder is renamed, in case of a power cut
        with path.open("rb") as file:
            os.fsync(file.fileno())


def latest(folder: Path) -> Path | None:
    """The newest complete checkpoint in a run's folder of checkpoints; None if there is none."""
    return next(iter(reversed(_all(folder))), None)


def newest_intact(folder: Path, note: Callable[[str], None]) -> Path | None:
    """The newest checkpoint in a run's folder of checkpoints that is not damaged; None if there is none at all.

    note: called with a sentence for each damaged one that is passed over. Raises InputError if all are damaged.
    """
    passed_over: list[str] = []
    for checkpoint in reversed(_all(folder)):
        harm = damage(checkpoint)
        if harm is None:
            for sentence in passed_over:
                note(f"{sentence}; the run is resumed from the checkpoint before it, {checkpoint.name}")
            return checkpoint
        passed_over.append(f"{checkpoint}: damaged ({harm})")
    if passed_over:
        raise InputError(
            f"{passed_over[0]}, and no earlier checkpoint is intact; expected one to resume from: copy one back, or "
            "start again with --overwrite true"
        )
    return None


def damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint's files, after a fault of the disk or an incomplete copy; None if nothing is.

    Weights are checked by their length alone, the other states also by their checksums.
    """
    name = PROGRESS
    try:
        read_progress(checkpoint)
        for name in (WEIGHTS, *([AVERAGE] if (checkpoint / AVERAGE).exists() else [])):
            with safe_open(str(checkpoint / name), framework="pt"):
                pass
        name = STATES
        with zipfile.ZipFile(checkpoint / STATES) as archive:
            part = archive.testzip()
    except UNREADABLE as error:
        return f"{name}: {first_line(error)}"
    return None if part is None else f"{STATES}: wrong checksum of {part}"


def read_progress(checkpoint: Path) -> Progress:
    """How far the run was at a checkpoint; one of an earlier version begins a line of the log."""
    content = json.loads((checkpoint / PROGRESS).read_text(encoding="utf-8"))
    ranking = tuple(Ranked(*ranked) for ranked in content["ranking"])
    interval = IntervalSums()
    if "interval" in content:
        sums = content["interval"]
        interval = IntervalSums(**sums | {"loss_sums": tuple(sums["loss_sums"])})
    return Progress(**content | {"ranking": ranking, "interval": interval})


def ranked_steps(folder: Path) -> set[int]:
    """The steps that any readable checkpoint in a run's folder of checkpoints has in its ranking."""
    steps = set[int]()
    for checkpoint in _all(folder):
        with contextlib.suppress(*UNREADABLE):
            steps |= {one.step for one in read_progress(checkpoint).ranking}
    return steps


def restore(
    checkpoint: Path,
    module: nn.Module,
    schedule: Any,
    restore_optimiser: Callable[[Mapping[str, Any]], None],
    process: int = 0,
    scaler: Any = None,
) -> dict[str, Tensor] | None:
    """Load weights, optimiser, schedule, the random states of `process` (a process that the run did not have keeps its
    own), and the gradient scaler's state where there is one. Returns the moving average's state dict; None without one.

    restore_optimiser: takes the optimiser's state dict. Raises InputError if the checkpoint is of another model.
    """
    try:
        safetensors.torch.load_model(module, str(checkpoint / WEIGHTS))
        states = torch.load(checkpoint / STATES, map_location="cpu", weights_only=True)
        restore_optimiser(states["optimiser"])
    except pickle.UnpicklingError:  # torch's message advises to open it nevertheless
        raise InputError(
            f"{checkpoint}: states.pt contains more than tensors and numbers, so it was not opened; expected a "
            "checkpoint written by training: start again with --overwrite true"
        ) from None
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        reason = first_line(error)
        raise InputError(
            f"{checkpoint}: does not fit this model ({reason}); expected a checkpoint of the same configuration: start "
            "again with --overwrite true"
        ) from error
    schedule.load_state_dict(states["schedule"])
    if scaler is not None and states.get("scaler"):
        scaler.load_state_dict(states["scaler"])
    if process < len(states["random"]):
        _set_random_states(states["random"][process])
    average = checkpoint / AVERAGE
    return safetensors.torch.load_file(str(average)) if average.exists() else None


def _all(folder: Path) -> list[Path]:
    """The checkpoints in a folder, the oldest first; no folder of another name, such as a copy that its user made."""
    return sorted(folder.glob(f"step-{8 * '[0-9]'}"))


def random_states() -> dict[str, Any]:
    """Random states of this process: Python's, NumPy's and torch's, in types that torch.load reads as weights_only."""
    version, numbers, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": [version, list(numbers), gauss],
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def _set_random_states(states: dict[str, Any]) -> None:
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])
