"""How long does training take to its first step, and how much memory does it need, by the number of manifest lines?

Manifests of --lines lines, and of a tenth of them, repeat the recordings of the embedded corpus under new ids, with
their durations. `finetune/train.py` trains on each from the embedded model, and its memory is measured from outside.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.harness.command import ExperimentOptions, run_experiment
from experiments.harness.figures import Findings, Table
from experiments.harness.rounds import call_apart
from finetune.training.log import read_log
from preprocessing.cli.options import check_counts, run_command
from preprocessing.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DURATION = "5 minutes"
QUICK_LINES, QUICK_STEPS = 10_000, 2
SPEAKERS = 2000
ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Config(ExperimentOptions):
    """How many lines, and how many steps are made on them."""

    lines: int = 1_000_000
    """Lines of the larger manifest; with --quick at most 10,000."""

    steps: int = 100
    """Optimiser steps of each training; with --quick at most 2."""


@dataclass(frozen=True)
class Cost:
    """Of one training: seconds from its command to its first step, the first evaluation included, and on the processor;
    bytes of memory then and after the last step; seconds of speech trained on in a second, with the last evaluation.
    """

    lines: int
    hours: float
    start_seconds: float
    start_cpu_seconds: float
    first_bytes: int
    last_bytes: int
    speed: float


def run(config: Config) -> Findings:
    """Train on both manifests. Raises UsageError for a count that is too low."""
    check_counts(("--lines", config.lines, 1000), ("--steps", config.steps, 2))
    lines = min(config.lines, QUICK_LINES) if config.quick else config.lines
    steps = min(config.steps, QUICK_STEPS) if config.quick else config.steps
    costs = []
    with tempfile.TemporaryDirectory() as folder:
        for count in (lines // 10, lines):
            hours = write_manifest(Path(folder) / "train.jsonl", count)
            costs.append(call_apart(f"training on {count:,} lines", train_once, Path(folder), count, hours, steps))
    headings = (
        "lines",
        "hours of speech",
        "seconds to the first step",
        "of them on the processor",
        "MB before it",
        f"MB after {steps} steps",
        "seconds of speech a second",
    )
    rows = [
        (
            f"{one.lines:,}",
            f"{one.hours:,.1f}",
            f"{one.start_seconds:.1f}",
            f"{one.start_cpu_seconds:.1f}",
            f"{one.first_bytes / 1e6:,.0f}",
            f"{one.last_bytes / 1e6:,.0f}",
            f"{one.speed:.0f}",
        )
        for one in costs
    ]
    return Findings(
        "Training on a large manifest",
        "the embedded model and its recordings, under new ids, batches of 40 s; imports and the first evaluation count",
        tables=[Table(headings, rows)],
        details={"costs": [asdict(one) for one in costs]},
        draw=lambda axes: _draw(axes, costs),
    )


def write_manifest(path: Path, lines: int) -> float:
    """A manifest that repeats the embedded training corpus. Returns its hours."""
    from benchmark.offline import DEMO_CORPUS
    from preprocessing.corpus import open_corpus

    train = DEMO_CORPUS.parent / "train.jsonl"
    utterances = open_corpus(str(train)).utterances
    with path.open("w", encoding="utf-8") as file:
        for number in range(lines):
            one = utterances[number % len(utterances)]
            row = {"id": f"u{number}", "audio": str(one.audio), "text": one.text, "speaker": f"s{number % SPEAKERS}"}
            file.write(json.dumps(row | {"duration": round(one.duration, 3)}, ensure_ascii=False) + "\n")
    return sum(utterances[number % len(utterances)].duration for number in range(lines)) / 3600


def train_once(folder: Path, lines: int, hours: float, steps: int) -> Cost:
    """Train on the folder's manifest with `finetune/train.py`. Raises InputError where it fails."""
    import psutil

    from benchmark.offline import DEMO_CORPUS
    from preprocessing.storage.data_folder import DEMO

    output = folder / f"run-{lines}"
    words = [sys.executable, str(ROOT / "finetune" / "train.py"), "--output_dir", str(output), "--report_to", "none"]
    words += ["--model.base", str(DEMO / "wav2vec2"), "--data.profile", "librispeech", "--data.max_batch_seconds", "40"]
    words += ["--data.train", f"[{folder / 'train.jsonl'}]", "--data.validation", str(DEMO_CORPUS)]
    words += ["--max_steps", str(steps), "--eval_steps", str(steps), "--logging_steps", str(steps)]
    began = time.perf_counter()
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as training:
        own, seen, said = psutil.Process(training.pid), {}, ""
        assert training.stdout is not None
        for line in training.stdout:
            said += line
            if line.startswith(("step 0/", f"step {steps}/")):
                times, memory = own.cpu_times(), own.memory_info().rss
                seen[line.split("/")[0]] = (time.perf_counter() - began, times.user + times.system, memory)
    if training.returncode:
        raise InputError(f"training on {lines:,} lines ended with {training.returncode}: {said.strip()[-300:]}")
    start, last = seen["step 0"], seen[f"step {steps}"]
    log = read_log(output)
    return Cost(lines, hours, start[0], start[1], start[2], last[2], audio_seconds(log) / (last[0] - start[0]))


def audio_seconds(log: Sequence[Mapping[str, Any]]) -> float:
    """Seconds of audio that a run has trained on, by the lines of its log, some of which do not say.

    >>> audio_seconds([{"kind": "validation", "audio_seconds": 39.5}, {"kind": "best", "steps": [10]}])
    39.5
    """
    return max(float(line.get("audio_seconds", 0.0)) for line in log)


def _draw(axes: "Axes", costs: Sequence[Cost]) -> None:
    """Seconds to the first step by the number of lines."""
    from preprocessing.plot_style import PALETTE

    axes.plot([one.lines for one in costs], [one.start_seconds for one in costs], color=PALETTE.main, marker="o")
    axes.set(xlabel="lines", ylabel="seconds to the first step", xlim=(0, None), ylim=(0, None))


def main(arguments: Sequence[str] | None = None) -> None:
    run_experiment(Config, run, __doc__, __file__, arguments)


if __name__ == "__main__":
    run_command(main)
