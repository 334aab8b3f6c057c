"""How far luck can carry a word error rate: bootstrap intervals and paired differences.

Utterances of one speaker are not independent, so whole speakers are drawn where a corpus names enough of them, single
utterances otherwise. Percentile bootstrap (Bisani & Ney 2004, "Bootstrap estimates for confidence intervals in ASR
performance evaluation"); both systems of a comparison are scored on the same draws.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
LEVEL = 0.95
FEWEST_SPEAKERS = 5  # below, a bootstrap over speakers has too few distinct draws to mean anything


@dataclass(frozen=True, slots=True)
class Rate:
    """An error rate as a fraction (0.05 is 5 %) with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Resampling:
    """The draws that every rate of a run is scored on.

    weights: how often each utterance is in each draw [draws, utterances].
    unit: "speaker" or "utterance".
    """

    weights: NDArray[np.int64]
    unit: str


def resample(speakers: Sequence[str | None], *, seed: int, draws: int = DRAWS) -> Resampling:
    """Draw with replacement: over speakers where every utterance has one and there are enough, else over utterances."""
    named = set(speakers)
    if None in named or len(named) < FEWEST_SPEAKERS:
        groups, unit = np.arange(len(speakers)), "utterance"
    else:
        groups, unit = np.unique(np.array(speakers, dtype=str), return_inverse=True)[1], "speaker"
    n_groups = int(groups.max()) + 1
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(n_groups, np.full(n_groups, 1.0 / n_groups), size=draws)
    return Resampling(drawn[:, groups], unit)


def rate(errors: Sequence[int], lengths: Sequence[int], resampling: Resampling) -> Rate:
    """Errors over reference units, with its interval.

    errors, lengths: of each utterance, in the order that `resample` was given.
    """
    value = _ratio(np.sum(errors), np.sum(lengths))
    drawn = _ratio(resampling.weights @ np.asarray(errors), resampling.weights @ np.asarray(lengths))
    return _interval(float(value), drawn)


def difference(
    first_errors: Sequence[int], second_errors: Sequence[int], lengths: Sequence[int], resampling: Resampling
) -> Rate:
    """First rate minus second, paired: below zero, the first is better."""
    gained = np.asarray(first_errors) - np.asarray(second_errors)
    value = _ratio(np.sum(gained), np.sum(lengths))
    return _interval(float(value), _ratio(resampling.weights @ gained, resampling.weights @ np.asarray(lengths)))


def verdict(first: str, second: str, paired: Rate) -> str:
    """The comparison as a sentence, in points of WER.

    >>> verdict("tuned", "base", Rate(-0.135, -0.149, -0.121))
    'tuned beats base: 12.1 to 14.9 points of WER better, 95 % interval.'
    >>> verdict("tuned", "base", Rate(0.001, -0.002, 0.004))
    'tuned and base cannot be told apart on this corpus: 0.2 points of WER better to 0.4 worse, 95 % interval.'
    """
    if paired.low > 0:
        first, second, paired = second, first, Rate(-paired.value, -paired.high, -paired.low)
    better, worse = -100 * paired.low, 100 * paired.high
    if paired.high < 0:
        return f"{first} beats {second}: {-worse:.1f} to {better:.1f} points of WER better, 95 % interval."
    return (
        f"{first} and {second} cannot be told apart on this corpus: {better:.1f} points of WER better to "
        f"{worse:.1f} worse, 95 % interval."
    )


def _ratio(errors: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """With no reference units at all, the number of errors itself: silence has no words to divide by."""
    return np.asarray(errors, dtype=np.float64) / np.maximum(lengths, 1)


def _interval(value: float, drawn: NDArray[np.float64]) -> Rate:
    tail = (1.0 - LEVEL) / 2.0
    low, high = np.quantile(drawn, [tail, 1.0 - tail])
    return Rate(value, float(low), float(high))
