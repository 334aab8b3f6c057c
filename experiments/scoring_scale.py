"""`python -m experiments.scoring_scale --utterances 100000`: seconds and memory that scoring takes.

Synthetic samples (random words, a share of them wrong) are written to a temporary folder; a process of its own reads
and scores them, so its peak memory is that of scoring alone. Reports are not made.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from preprocessing.cli.errors import InputError, UsageError
from preprocessing.cli.options import parse_command, run_command

if TYPE_CHECKING:
    from benchmark.results import Sample


DESCRIPTION = "How long scoring takes, and how much memory, by the number of utterances."
VOCABULARY = 5000
_CHILD = """
import sys, time
from pathlib import Path
began = time.perf_counter()
from benchmark.measure.memory import peak_memory_bytes
from benchmark.results import read_run, read_samples
from benchmark.scoring import summarise
folder = Path(sys.argv[1])
summary = summarise(read_run(folder / "run.json"), read_samples(folder / "samples.jsonl"), [], [])
print(time.perf_counter() - began, time.process_time(), peak_memory_bytes())
print(summary.systems[0].scores[summary.profiles[0].name].wer)
"""


@dataclass(frozen=True)
class ScaleConfig:
    """How many synthetic samples are scored."""

    utterances: int = 100_000
    """Of one system under one condition."""

    words: int = 20
    """In an utterance, about."""

    speakers: int = 0
    """Voices; 0: unknown, so that utterances are drawn."""

    errors: float = 0.1
    """Share of the words that are wrong."""

    profiles: list[str] = field(default_factory=lambda: ["librispeech", "whisper-english"])
    """Text profiles that errors are counted under."""

    seed: int = 0
    """Of the texts."""


@dataclass(frozen=True)
class Measured:
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    wer: str


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what scoring took. Raises UsageError for a count below 1."""
    config = parse_command(
        ScaleConfig, program="python -m experiments.scoring_scale", description=DESCRIPTION, arguments=arguments
    )
    if config.utterances < 1:
        raise UsageError(f"--utterances is {config.utterances}; expected 1 or more: raise it")
    found = measure(config)
    print(
        f"{config.utterances:,} utterances, {len(config.profiles)} profiles: {found.seconds:.1f} s "
        f"({found.cpu_seconds:.1f} s of them on the processor), peak {found.peak_bytes / 1e6:,.0f} MB; WER {found.wer}"
    )


def measure(config: ScaleConfig) -> Measured:
    """Write the samples, score them in a process of its own. Raises InputError with its words where it failed."""
    from benchmark.results import Run, SystemFacts, SystemRun, write_run, write_samples

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        system = SystemRun(SystemFacts("synthetic", "none", "none", 0))
        write_run(
            folder / "run.json",
            Run("2026-01-01T00:00:00+00:00", "", {}, "synthetic", [], config.profiles, config.seed, [], {}, [system]),
        )
        write_samples(folder / "samples.jsonl", _samples(config))
        ended = subprocess.run([sys.executable, "-c", _CHILD, name], capture_output=True, text=True, check=False)
    if ended.returncode:
        raise InputError(f"scoring failed: {ended.stderr.strip()}")
    figures, wer = ended.stdout.splitlines()
    seconds, cpu_seconds, peak = figures.split()
    return Measured(float(seconds), float(cpu_seconds), int(peak), wer)


def _samples(config: ScaleConfig) -> "Iterator[Sample]":
    import numpy as np

    from benchmark.results import Sample, StageSeconds

    generator = np.random.default_rng(config.seed)
    letters = np.array(list("etaoinshrdlu"))
    vocabulary = ["".join(generator.choice(letters, generator.integers(2, 9))) for _ in range(VOCABULARY)]
    seconds = StageSeconds(0.001, 0.001, 0.01, 0.001)
    for index in range(config.utterances):
        drawn = generator.integers(VOCABULARY, size=max(1, int(generator.poisson(config.words))))
        wrong = generator.random(len(drawn)) < config.errors
        heard = np.where(wrong, generator.integers(VOCABULARY, size=len(drawn)), drawn)
        kept = heard[~(wrong & (generator.random(len(drawn)) < 0.3))]
        yield Sample(
            "synthetic",
            f"u{index}",
            " ".join(vocabulary[word] for word in drawn),
            " ".join(vocabulary[word] for word in kept),
            0.4 * len(drawn),
            seconds,
            speaker=f"s{index % config.speakers}" if config.speakers else None,
            sex=("F", "M")[index % 2],
            domain=("read", "talk", "phone")[index % 3],
        )


if __name__ == "__main__":
    run_command(main)
