"""How much time and memory does scoring take, by the number of utterances?

Synthetic samples (random words, a share of them wrong) are written to a temporary folder; a separate process reads and
scores them, so that its peak memory is that of scoring alone. No report is written.
"""

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from experiments.harness.command import ExperimentOptions, run_experiment
from experiments.harness.figures import Findings, Table
from experiments.harness.rounds import call_apart
from preprocessing.cli.options import check_counts, check_ranges, run_command

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from benchmark.results import Sample

DURATION = "2 minutes"
VOCABULARY = 5000  # different words
DELETED = 0.3  # share of the wrong words that are missing rather than replaced
QUICK_UTTERANCES = 2000


@dataclass(frozen=True)
class Config(ExperimentOptions):
    """How many synthetic samples are scored."""

    renamed: ClassVar[Mapping[str, str]] = {"errors": "wer"}

    utterances: int = 100_000
    """Number of utterances of one system under one condition; a tenth of them is scored as well. With --quick at most
    2,000."""

    words: int = 20
    """Average number of words per utterance."""

    speakers: int = 0
    """Number of speakers; 0 for unknown speakers, so that the bootstrap resamples utterances."""

    wer: float = 0.1
    """WER of the texts, up to chance: the share of the words that are wrong."""

    profiles: list[str] = field(default_factory=lambda: ["librispeech", "whisper-english"])
    """Text normalisation profiles for scoring."""

    seed: int = 0
    """Seed of the texts."""


@dataclass(frozen=True)
class Cost:
    """What scoring took, reading included: wall-clock and processor seconds, peak of memory in bytes; its WER."""

    utterances: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    wer: float


def run(config: Config) -> Findings:
    """Score a tenth of the utterances, then all. Raises UsageError for a number out of range."""
    check_counts(
        ("--utterances", config.utterances, 1), ("--words", config.words, 1), ("--speakers", config.speakers, 0)
    )
    check_ranges(("--wer", config.wer, "0 to 1", 0 <= config.wer <= 1))
    most = min(config.utterances, QUICK_UTTERANCES) if config.quick else config.utterances
    costs = [measure(config, count) for count in sorted({max(most // 10, 1), most})]
    headings = ("utterances", "seconds", "of them on the processor", "peak of memory, MB", "WER")
    rows = [
        (
            f"{one.utterances:,}",
            f"{one.seconds:.1f}",
            f"{one.cpu_seconds:.1f}",
            f"{one.peak_bytes / 1e6:,.0f}",
            f"{one.wer:.1%}",
        )
        for one in costs
    ]
    return Findings(
        "Cost of scoring",
        f"text profiles {', '.join(config.profiles)}; {config.words} words in an utterance, {config.wer:.0%} wrong",
        tables=[Table(headings, rows)],
        details={"costs": [asdict(one) for one in costs]},
        draw=lambda axes: _draw(axes, costs),
    )


def measure(config: Config, utterances: int) -> Cost:
    """Write so many samples and score them in a process of their own. Raises UserError when that fails."""
    from benchmark.results import Run, SystemFacts, SystemRun, write_run, write_samples

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        system = SystemRun(SystemFacts("synthetic", "none", "none", 0))
        write_run(
            folder / "run.json",
            Run("2026-01-01T00:00:00+00:00", "", {}, "synthetic", [], config.profiles, config.seed, [], {}, [system]),
        )
        write_samples(folder / "samples.jsonl", _samples(config, utterances))
        return call_apart(f"scoring {utterances:,} utterances", score, folder, utterances)


def score(folder: Path, utterances: int) -> Cost:
    """Score the samples of a folder in this process, which should be a new one; imports count."""
    began = time.perf_counter()
    from benchmark.results.folder import ResultsFolder
    from benchmark.scoring import summarise
    from benchmark.worker.resources import peak_memory_bytes

    results = ResultsFolder(folder)
    summary = summarise(results.read_run(), results.read_samples(), [], [])
    seconds = time.perf_counter() - began
    wer = summary.systems[0].scores[summary.profiles[0].name].wer
    return Cost(utterances, seconds, time.process_time(), peak_memory_bytes(), wer.value)


def _samples(config: Config, utterances: int) -> "Iterator[Sample]":
    import numpy as np

    from benchmark.results import Sample, StageSeconds

    generator = np.random.default_rng(config.seed)
    letters = np.array(list("etaoinshrdlu"))
    vocabulary = ["".join(generator.choice(letters, generator.integers(2, 9))) for _ in range(VOCABULARY)]
    seconds = StageSeconds(0.001, 0.001, 0.01, 0.001)
    for index in range(utterances):
        spoken = generator.integers(VOCABULARY, size=max(1, int(generator.poisson(config.words))))
        wrong = generator.random(len(spoken)) < config.wer
        recognised = np.where(wrong, generator.integers(VOCABULARY, size=len(spoken)), spoken)
        recognised = recognised[~(wrong & (generator.random(len(spoken)) < DELETED))]
        yield Sample(
            "synthetic",
            f"u{index}",
            " ".join(vocabulary[word] for word in spoken),
            " ".join(vocabulary[word] for word in recognised),
            0.4 * len(spoken),
            seconds,
            speaker=f"s{index % config.speakers}" if config.speakers else None,
            sex=("F", "M")[index % 2],
            domain=("read", "talk", "phone")[index % 3],
        )


def _draw(axes: "Axes", costs: Sequence[Cost]) -> None:
    """Processor seconds by the number of utterances."""
    from preprocessing.plot_style import PALETTE

    axes.plot([one.utterances for one in costs], [one.cpu_seconds for one in costs], color=PALETTE.main, marker="o")
    axes.set(xlabel="utterances", ylabel="seconds on the processor", xlim=(0, None), ylim=(0, None))


def main(arguments: Sequence[str] | None = None) -> None:
    run_experiment(Config, run, __doc__, __file__, arguments)


if __name__ == "__main__":
    run_command(main)
