"""Bootstrap intervals of error rates over whole speakers, or over utterances where speakers are unknown.

Utterances of one speaker are not independent, so whole speakers are drawn (Bisani & Ney 2004, "Bootstrap estimates for
confidence intervals in ASR performance evaluation", draw utterances). The interval is the studentised one, bootstrap-t
(Efron & Tibshirani 1993, section 12.5): percentiles of the draws are too narrow with few speakers and blind to the skew
that a few hard speakers give. Nothing is compared here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

DRAWS = 2000
LEVEL = 0.95
FEWEST_SPEAKERS = 5  # below, speakers vary too little among the draws to mean anything
FEWEST_GROUPS = 5  # utterances, where there are no speakers to draw; below, an interval would be a guess
MOST_GROUPS = 1000  # more utterances than this are dealt into so many groups: a draw of 100,000 costs no more
# Quantile of Student's t that no studentised draw goes beyond: a draw without any error has no spread to divide by.
_FARTHEST = 0.9995

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rate:
    """An error rate as a fraction (0.05 is 5 %) with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Resampling:
    """The draws that every rate of a run is scored on.

    groups: the group of each utterance, 0 to n_groups - 1 [utterances]; a speaker, an utterance, or utterances dealt
    together at random where there are more than MOST_GROUPS.
    weights: how often each group is in each draw [draws, groups].
    unit: "speaker" or "utterance".
    """

    groups: NDArray[np.intp]
    weights: Numbers
    unit: str

    @property
    def n_groups(self) -> int:
        return int(self.weights.shape[1])

    def totals(self, *columns: ArrayLike) -> Numbers:
        """Sums of each column (one number an utterance) over each group [groups, columns]."""
        return np.stack([np.bincount(self.groups, np.asarray(one), self.n_groups) for one in columns], axis=1)


def resample(speakers: Sequence[str | None], *, seed: int, draws: int = DRAWS) -> Resampling:
    """Draw with replacement: over speakers where every utterance has one and there are enough, else over utterances."""
    named = set(speakers)
    generator = np.random.default_rng(seed)
    if None in named or len(named) < FEWEST_SPEAKERS:
        groups, unit = np.arange(len(speakers)), "utterance"
        if len(speakers) > MOST_GROUPS:
            groups = generator.permutation(len(speakers)) % MOST_GROUPS
    else:
        groups, unit = np.unique(np.array(speakers, dtype=str), return_inverse=True)[1], "speaker"
    n_groups = int(groups.max()) + 1
    drawn = generator.integers(n_groups, size=(draws, n_groups)) + n_groups * np.arange(draws)[:, None]
    weights = np.bincount(drawn.ravel(), minlength=draws * n_groups).reshape(draws, n_groups)
    return Resampling(groups, weights.astype(np.float64), unit)


def rate(errors: Sequence[int], lengths: Sequence[int], resampling: Resampling) -> Rate:
    """Errors over reference units, with its interval; with no reference units at all, the number of errors itself.

    errors, lengths: of each utterance, in the order that `resample` was given.
    """
    return _studentised(resampling.totals(errors, lengths), resampling, _ratio)


def information_lost(
    hits: Sequence[int], reference_words: Sequence[int], hypothesis_words: Sequence[int], resampling: Resampling
) -> Rate:
    """Word information lost, 1 - hits^2 / (reference words x hypothesis words), with its interval.

    Morris, Maier & Green 2004, "From WER and RIL to MER and WIL". 1 where either side has no words, 0 where both have
    none.
    """
    totals = resampling.totals(hits, reference_words, hypothesis_words)
    if not totals[:, 1:].any():
        return Rate(0.0, 0.0, 0.0)
    found = _studentised(totals, resampling, _lost)
    return Rate(found.value, found.low, min(found.high, 1.0))


def _ratio(sums: Numbers) -> tuple[Numbers, Numbers]:
    """Errors over units, and its gradient; `sums` [..., 2]."""
    errors, units = sums[..., 0], np.maximum(sums[..., 1], 1.0)
    return errors / units, np.stack([1.0 / units, -errors / units**2], axis=-1)


def _lost(sums: Numbers) -> tuple[Numbers, Numbers]:
    """Word information lost, and its gradient; `sums` [..., 3]: hits, words of the reference, of the hypothesis."""
    hits, (said, heard) = sums[..., 0], (np.maximum(sums[..., column], 1.0) for column in (1, 2))
    kept = hits**2 / (said * heard)
    return 1.0 - kept, np.stack([-2.0 * hits / (said * heard), kept / said, kept / heard], axis=-1)


def linear_error(totals: Numbers, gradient: Numbers) -> float:
    """Standard error of a function of the groups' summed totals, by its linear part (Taylor linearisation).

    For functions that doubling all totals leaves as they are: the groups' linear parts then add up to zero by
    themselves.
    """
    n_groups = len(totals)
    parts = totals @ gradient
    return float(np.sqrt(parts @ parts * n_groups / max(n_groups - 1, 1)))


def _studentised(
    totals: Numbers, resampling: Resampling, function: Callable[[Numbers], tuple[Numbers, Numbers]]
) -> Rate:
    """The function of all totals [groups, columns], between the 2.5th and 97.5th percentile of studentised draws."""
    n_groups, n_columns = totals.shape
    value, gradient = function(totals.sum(axis=0))
    found = float(value)
    if n_groups < FEWEST_GROUPS:  # too few to tell how another one would differ
        return Rate(found, 0.0, max(found, 1.0))
    error = linear_error(totals, gradient)
    if error == 0.0:
        return Rate(found, found, found)
    products = (totals[:, :, None] * totals[:, None, :]).reshape(n_groups, n_columns**2)
    drawn, gradients = function(resampling.weights @ totals)
    squares = (resampling.weights @ products).reshape(-1, n_columns, n_columns)
    variances = np.einsum("di,dij,dj->d", gradients, squares, gradients) * n_groups / (n_groups - 1)
    spread = np.sqrt(np.maximum(variances, 0.0))
    farthest = float(stdtrit(n_groups - 1, _FARTHEST))
    with np.errstate(divide="ignore", invalid="ignore"):
        deviations = np.where(spread > 1e-9 * error, (drawn - found) / spread, np.sign(drawn - found) * farthest)
    deviations = np.clip(deviations, -farthest, farthest)
    tail = (1.0 - LEVEL) / 2.0
    least, greatest = np.quantile(deviations, [tail, 1.0 - tail])
    low, high = found - error * max(float(greatest), 0.0), found - error * min(float(least), 0.0)
    return Rate(found, max(low, 0.0), high)
