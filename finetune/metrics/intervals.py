"""Bootstrap confidence intervals of error rates, over whole speakers or, where speakers are unknown, utterances.

Utterances of one speaker are not independent, so whole speakers are drawn; Bisani & Ney 2004 ("Bootstrap estimates for
confidence intervals in ASR performance evaluation") draw utterances. The interval is the studentised one, bootstrap-t
(Efron & Tibshirani 1993, section 12.5): with rate r, standard error s, and r*, s* those of a draw, it is

    [r - s * q(0.975), r - s * q(0.025)], q the quantiles of (r* - r) / s* over all draws.

Percentiles of the draws themselves are too narrow with few speakers and miss the skew that a few hard speakers cause.
Comparing two systems is in `paired_tests`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

DRAWS = 2000
LEVEL = 0.95
FEWEST_SPEAKERS = 5  # with fewer, utterances are drawn
FEWEST_GROUPS = 5  # with fewer, the interval is 0 to 1
MOST_GROUPS = 1000  # more speakers or utterances are divided at random into so many groups: it bounds time and memory
# Draws are clipped to this quantile of Student's t: a draw without any error has no standard error to divide by.
_CLIP_QUANTILE = 0.9995

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rate:
    """An error rate as a fraction (0.05 is 5 %) with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Resampling:
    """Bootstrap draws over the utterances of a corpus; every rate of a run is computed on the same ones.

    groups: the group of each utterance, 0 to n_groups - 1 [utterances]: its speaker, itself, or one of MOST_GROUPS
        random groups of whole speakers or of utterances.
    weights: how often each group is in each draw [draws, groups].
    unit: what a group is, "speaker" or "utterance".
    """

    groups: NDArray[np.intp]
    weights: Numbers
    unit: str

    @property
    def n_groups(self) -> int:
        """Number of groups that a draw draws, with replacement."""
        return int(self.weights.shape[1])

    def totals(self, *columns: ArrayLike) -> Numbers:
        """Sums over each group [groups, columns] of columns that hold a number for each utterance."""
        return np.stack([np.bincount(self.groups, np.asarray(column), self.n_groups) for column in columns], axis=1)


def resample(speakers: Sequence[str | None], *, seed: int, draws: int = DRAWS) -> Resampling:
    """The Resampling of a corpus, from the speaker of each utterance.

    Speakers are drawn where every utterance has one and there are at least FEWEST_SPEAKERS, else utterances.
    """
    named = set(speakers)
    generator = np.random.default_rng(seed)
    if None in named or len(named) < FEWEST_SPEAKERS:
        groups, unit = np.arange(len(speakers)), "utterance"
    else:
        groups, unit = np.unique(np.array(speakers, dtype=str), return_inverse=True)[1], "speaker"
    n_groups = int(groups.max()) + 1
    if n_groups > MOST_GROUPS:
        groups, n_groups = generator.permutation(n_groups)[groups] % MOST_GROUPS, MOST_GROUPS
    drawn = generator.integers(n_groups, size=(draws, n_groups)) + n_groups * np.arange(draws)[:, None]
    weights = np.bincount(drawn.ravel(), minlength=draws * n_groups).reshape(draws, n_groups)
    return Resampling(groups, weights.astype(np.float64), unit)


def rate(errors: Sequence[int], lengths: Sequence[int], resampling: Resampling) -> Rate:
    """The error rate of a corpus, sum of errors over sum of reference lengths, with its interval.

    errors, lengths: of each utterance, in the order that `resample` was given. Where all lengths are 0 the value is the
    number of errors.
    """
    return _studentised(resampling.totals(errors, lengths), resampling, _ratio)


def information_lost(
    hits: Sequence[int], reference_words: Sequence[int], hypothesis_words: Sequence[int], resampling: Resampling
) -> Rate:
    """Word information lost, 1 - hits^2 / (reference words * hypothesis words), over a corpus, with its interval.

    Morris, Maier & Green 2004, "From WER and RIL to MER and WIL". hits, reference_words, hypothesis_words: of each
    utterance. The value is 1 where only one side has words, 0 where neither has any.
    """
    totals = resampling.totals(hits, reference_words, hypothesis_words)
    if not totals[:, 1:].any():
        return Rate(0.0, 0.0, 0.0)
    lost = _studentised(totals, resampling, _information_lost)
    return Rate(lost.value, lost.low, min(lost.high, 1.0))


def _ratio(sums: Numbers) -> tuple[Numbers, Numbers]:
    """Errors over length, and its gradient by both. sums: [..., 2]."""
    errors, length = sums[..., 0], np.maximum(sums[..., 1], 1.0)
    return errors / length, np.stack([1.0 / length, -errors / length**2], axis=-1)


def _information_lost(sums: Numbers) -> tuple[Numbers, Numbers]:
    """Word information lost, and its gradient. sums: [..., 3], of hits, reference words and hypothesis words."""
    hits, (reference, hypothesis) = sums[..., 0], (np.maximum(sums[..., column], 1.0) for column in (1, 2))
    preserved = hits**2 / (reference * hypothesis)
    gradient = [-2.0 * hits / (reference * hypothesis), preserved / reference, preserved / hypothesis]
    return 1.0 - preserved, np.stack(gradient, axis=-1)


def linear_error(totals: Numbers, gradient: Numbers) -> float:
    """Standard error of a function of the totals summed over groups, by Taylor linearisation:

        sqrt(n / (n - 1) * sum over groups of (t_g . gradient)^2), t_g the totals of group g, n the number of groups.

    totals: [groups, columns]; gradient: of the function at the sums [columns]. For functions that do not change when
    all totals are doubled, such as rates: the groups' linear parts then have a mean of zero.
    """
    n_groups = len(totals)
    parts = totals @ gradient
    return float(np.sqrt(parts @ parts * n_groups / max(n_groups - 1, 1)))


def _studentised(
    totals: Numbers, resampling: Resampling, function: Callable[[Numbers], tuple[Numbers, Numbers]]
) -> Rate:
    """A function of the summed totals with its bootstrap-t interval (see the module's formula), never below 0.

    totals: [groups, columns]; function: of sums [..., columns], returns values [...] and gradients [..., columns].
    """
    n_groups, n_columns = totals.shape
    value, gradient = function(totals.sum(axis=0))
    estimate = float(value)
    if n_groups < FEWEST_GROUPS:
        return Rate(estimate, 0.0, max(estimate, 1.0))
    error = linear_error(totals, gradient)
    if error == 0.0:
        return Rate(estimate, estimate, estimate)
    products = (totals[:, :, None] * totals[:, None, :]).reshape(n_groups, n_columns**2)
    draw_values, draw_gradients = function(resampling.weights @ totals)
    squares = (resampling.weights @ products).reshape(-1, n_columns, n_columns)
    variances = np.einsum("di,dij,dj->d", draw_gradients, squares, draw_gradients) * n_groups / (n_groups - 1)
    draw_errors = np.sqrt(np.maximum(variances, 0.0))
    clip = float(stdtrit(n_groups - 1, _CLIP_QUANTILE))
    deviations = draw_values - estimate
    with np.errstate(divide="ignore", invalid="ignore"):
        studentised = np.where(draw_errors > 1e-9 * error, deviations / draw_errors, np.sign(deviations) * clip)
    tail = (1.0 - LEVEL) / 2.0
    lowest, highest = np.quantile(np.clip(studentised, -clip, clip), [tail, 1.0 - tail])
    low, high = estimate - error * max(float(highest), 0.0), estimate - error * min(float(lowest), 0.0)
    return Rate(estimate, max(low, 0.0), high)
