"""WER of the clean utterances that share a property: who spoke, where, how long and how fast."""

from collections.abc import Iterator, Sequence

import numpy as np

from benchmark.results import Sample, Slice
from benchmark.scoring.counts import Column, Counted
from finetune.significance import rate, resample

MOST_SPEAKERS = 50  # slices by speaker: those with most words
DURATION_BOUNDS = (5.0, 10.0, 20.0, 30.0)  # seconds
DURATIONS = ("0-5 s", "5-10 s", "10-20 s", "20-30 s", "over 30 s")


def slices(samples: Sequence[Sample], counted: Counted, seed: int) -> list[Slice]:
    """WER by domain, speaker, sex, language, duration and speaking rate.

    A property that has fewer than two values is left out, and so are samples without it. Each slice draws its own
    speakers where it has enough of them, its utterances elsewhere (so always where it is one speaker).
    """
    found = []
    for by, values, order in _properties(samples, counted):
        rows: dict[str, list[int]] = {}
        for row, value in enumerate(values):
            if value is not None:
                rows.setdefault(value, []).append(row)
        if len(rows) < 2:
            continue
        if by == "speaker":
            words = {value: int(counted.words[chosen].sum()) for value, chosen in rows.items()}
            order = sorted(rows, key=lambda value: (-words[value], value))[:MOST_SPEAKERS]
        for value in order if order is not None else sorted(rows):
            if value in rows:
                found.append(_slice(by, value, samples, counted, rows[value], seed))
    return found


def _slice(by: str, value: str, samples: Sequence[Sample], counted: Counted, rows: Sequence[int], seed: int) -> Slice:
    own = counted.of(rows)
    drawn = resample([samples[row].speaker for row in rows], seed=seed)
    wer = rate(own.errors.tolist(), own.words.tolist(), drawn)
    return Slice(by, value, len(rows), int(own.words.sum()), wer)


def _properties(
    samples: Sequence[Sample], counted: Counted
) -> Iterator[tuple[str, Sequence[str | None], Sequence[str] | None]]:
    """Name, value of each sample, and the values' order where it is not the alphabet's."""
    yield "domain", [sample.domain for sample in samples], None
    yield "speaker", [sample.speaker for sample in samples], None
    yield "sex", [sample.sex for sample in samples], None
    yield "language", [sample.language for sample in samples], None
    seconds = np.array([sample.audio_seconds for sample in samples])
    bins = np.searchsorted(DURATION_BOUNDS, seconds, side="right")
    yield "duration", [DURATIONS[index] for index in bins], DURATIONS
    yield "speaking rate", *_speaking_rates(seconds, counted.words)


def _speaking_rates(seconds: "np.typing.NDArray[np.float64]", words: Column) -> tuple[list[str | None], list[str]]:
    """Terciles of words a second, named by their bounds; utterances without words or length are in none."""
    spoken = (words > 0) & (seconds > 0)
    if not spoken.any():
        return [None] * len(words), []
    rates = words / np.where(spoken, seconds, 1.0)
    low, high = np.quantile(rates[spoken], [1 / 3, 2 / 3])
    names = [f"under {low:.2f} words/s", f"{low:.2f}-{high:.2f} words/s", f"over {high:.2f} words/s"]
    thirds = np.searchsorted([low, high], rates, side="right")
    return [names[third] if said else None for third, said in zip(thirds, spoken, strict=True)], names
