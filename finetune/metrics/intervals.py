"""Bootstrap confidence intervals of error rates, over whole speakers or, where speakers are unknown, utterances.

Utterances of one speaker are not independent, so whole speakers are drawn; Bisani & Ney 2004 ("Bootstrap estimates for
confidence intervals in ASR performance evaluation") draw utterances. The interval is the studentised one, bootstrap-t
(Efron & Tibshirani 1993, section 12.5): with rate r, standard error s, and r*, s* those of a draw, it is

    [r - c * s * q(0.975), r - c * s * q(0.025)], q the quantiles of (r* - r) / s* over all draws.

c is 1 where all speakers have equally many words. A few who have most of them leave fewer degrees of freedom f than the
n - 1 that n draws suggest: c = t(f) / t(n - 1), the 0.975 quantiles of Student's distribution (`StandardError`).
Percentiles of the draws themselves are too narrow with few speakers and miss the skew that a few hard speakers cause.

A draw holds no error that the test set lacks, so the upper end of a rate below 50 % is at least that of Korn & Graubard
1998 ("Confidence intervals for proportions with small expected number of positive counts estimated from survey data"):
Clopper and Pearson's exact interval of a proportion, of as many independent words as tell as much as these speakers'.
Of a rate above 50 %, where right words are the rare ones, the lower end is no higher than theirs. Insertions can make
speakers differ more than any proportion does; the draws then tell more than a proportion, and stand as they are.
A rate above 100 % is no proportion: its interval is at least Student's (`student_ends`).
Where speakers have nearly the same rate, which may be chance, draws hardly differ. So neither end is nearer to the rate
than that of as many independent words, with the same degrees of freedom.
Comparing two systems is in `paired_tests`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, stdtrit

DRAWS = 2000
LEVEL = 0.95
FEWEST_SPEAKERS = 5  # with fewer, utterances are drawn
FEWEST_GROUPS = 5  # with reference words; with fewer, the interval is 0 to 1
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

    Speakers are drawn where at least FEWEST_SPEAKERS are named, in half of the utterances or more, and with them each
    utterance without one, as if it had a speaker of its own; else utterances.
    """
    generator = np.random.default_rng(seed)
    if len(set(speakers) - {None}) < FEWEST_SPEAKERS or 2 * speakers.count(None) > len(speakers):
        groups, unit = np.arange(len(speakers)), "utterance"
    else:
        labels = [f"utterance {place}" if name is None else f"speaker {name}" for place, name in enumerate(speakers)]
        groups, unit = np.unique(np.array(labels), return_inverse=True)[1], "speaker"
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


class StandardError(NamedTuple):
    """Of a rate or a difference of two rates, and its degrees of freedom in Student's distribution; numbers or arrays.

    0 degrees of freedom: only one group has words, or none has any, and nothing can be estimated.
    """

    value: Any
    freedom: Any

    def margin(self, probability: float) -> Any:
        """The error times a quantile of Student's distribution; inf where nothing can be estimated."""
        quantile = stdtrit(np.maximum(self.freedom, 1.0), probability)
        return np.where(np.asarray(self.freedom) > 0, self.value * quantile, np.inf)


def clustered_error(parts: Numbers, lengths: Numbers) -> StandardError:
    """Standard error of a rate, from what each group adds to its deviation, and how many words each group has [groups].

    parts: the group's totals times the gradient of the rate at their sums, such as (errors_g - rate * w_g * N) / N,
    with w_g the group's share of all N words. With q_g = w_g^2 / (1 - w_g),

        error = sqrt(sum over g of part_g^2 / (1 - w_g)),
        degrees of freedom = 1 / (sum w_g^2 + (sum q_g)^2 - sum q_g^2):

    the bias-reduced error of Bell & McCaffrey 2002 ("Bias reduction in standard errors for linear regression with
    multi-stage samples"; CR2 in Pustejovsky & Tipton 2018) of a mean over words whose errors the groups correlate, with
    Satterthwaite's degrees of freedom. With n groups of equal length: the usual error of a mean of n rates, n - 1.
    """
    if np.count_nonzero(lengths) < 2:
        return StandardError(0.0, 0.0)
    shares = lengths / lengths.sum()
    q = shares**2 / (1.0 - shares)
    freedom = 1.0 / (np.sum(shares**2) + np.sum(q) ** 2 - np.sum(q**2))
    return StandardError(float(np.sqrt(np.sum(parts**2 / (1.0 - shares)))), float(freedom))


def _studentised(
    totals: Numbers, resampling: Resampling, function: Callable[[Numbers], tuple[Numbers, Numbers]]
) -> Rate:
    """A function of the summed totals with its bootstrap-t interval (see the module's formula), never below 0.

    totals: [groups, columns], the second of which are words; function: of sums [..., columns], returns values [...] and
    gradients [..., columns].
    """
    n_groups, n_columns = totals.shape
    value, gradient = function(totals.sum(axis=0))
    estimate = float(value)
    error, freedom = clustered_error(totals @ gradient, totals[:, 1])
    n_spoken = np.count_nonzero(totals[:, 1])
    if n_spoken < FEWEST_GROUPS or not freedom:
        return Rate(estimate, 0.0, max(estimate, 1.0))
    ends = exact_ends if estimate <= 1.0 else student_ends
    n_words = int(totals[:, 1].sum())
    least, most = ends(estimate, StandardError(error, freedom), n_words)
    if error < 1e-12:  # of groups with one rate, but for rounding
        return Rate(estimate, least, most)
    shares = totals[:, 1] / totals[:, 1].sum()
    products = (totals[:, :, None] * totals[:, None, :]).reshape(n_groups, n_columns**2) / (1.0 - shares)[:, None]
    draw_values, draw_gradients = function(resampling.weights @ totals)
    squares = (resampling.weights @ products).reshape(-1, n_columns, n_columns)
    variances = np.einsum("di,dij,dj->d", draw_gradients, squares, draw_gradients)
    draw_errors = np.sqrt(np.maximum(variances, 0.0))
    clip = float(stdtrit(n_spoken - 1, _CLIP_QUANTILE))
    deviations = draw_values - estimate
    with np.errstate(divide="ignore", invalid="ignore"):
        studentised = np.where(draw_errors > 1e-9 * error, deviations / draw_errors, np.sign(deviations) * clip)
    tail = (1.0 - LEVEL) / 2.0
    lowest, highest = np.quantile(np.clip(studentised, -clip, clip), [tail, 1.0 - tail])
    widened = error * float(stdtrit(freedom, 1.0 - tail) / stdtrit(n_spoken - 1, 1.0 - tail))
    low, high = estimate - widened * max(float(highest), 0.0), estimate - widened * min(float(lowest), 0.0)
    if estimate > 0.5:
        low = min(low, least)
    if estimate <= 0.5 or estimate > 1.0:
        high = max(high, most)
    independent_low, independent_high = ends(estimate, StandardError(0.0, freedom), n_words)
    low, high = min(low, independent_low), max(high, independent_high)
    return Rate(estimate, max(low, 0.0), high)


def exact_ends(estimate: float, error: StandardError, n_words: int) -> tuple[float, float]:
    """Korn & Graubard's interval of a rate of n_words, 0 to 1. The rate alone where it is above 50 % and its error
    larger than sqrt(r * (1 - r) / f), that of f + 1 groups whose rates are all 0 or 1.

    With the design effect d = max(error^2 * n / (r * (1 - r)), 1), 1 where r is 0 or 1, the words tell as much as
    n / d * (t(n - 1) / t(f))^2 independent ones, t the 0.975 quantiles of Student's distribution, f error's degrees of
    freedom.

    >>> low, high = exact_ends(0.0, StandardError(0.0, 5.0), 300)  # no errors in 300 words of six speakers
    >>> low, round(high, 4)
    (0.0, 0.0208)
    """
    tail = (1.0 - LEVEL) / 2.0
    if 0.5 < estimate < 1.0 and error.value**2 * error.freedom > estimate * (1.0 - estimate) * (1.0 + 1e-9):
        return estimate, estimate
    independent = estimate * (1.0 - estimate) / n_words
    design_effect = max(error.value**2 / independent, 1.0) if independent else 1.0
    n = (
        n_words
        / design_effect
        * float(stdtrit(max(n_words - 1, 1), 1.0 - tail) / stdtrit(error.freedom, 1.0 - tail)) ** 2
    )
    wrong, right = estimate * n, (1.0 - estimate) * n
    low = float(betaincinv(wrong, right + 1.0, tail)) if wrong else 0.0
    return low, float(betaincinv(wrong + 1.0, right, 1.0 - tail)) if right else 1.0


def student_ends(estimate: float, error: StandardError, n_words: int) -> tuple[float, float]:
    """Student's interval of a rate above 1 of n_words, with an error no smaller than the one of independent words that
    are all wrong: groups may agree by chance.

    >>> low, high = student_ends(2.0, StandardError(0.0, 5.0), 60)  # two errors for each of 60 words of six speakers
    >>> round(low, 3), round(high, 3)
    (1.929, 2.071)
    """
    margin = float(at_least_independent(error, n_words, n_words).margin((1.0 + LEVEL) / 2.0))
    return estimate - margin, estimate + margin


def at_least_independent(error: StandardError, differing: Any, n_words: Any) -> StandardError:
    """A standard error of a paired difference, no smaller than the one if all words were independent, and one system
    alone were right in as many as the systems differ by.

    It is Agresti & Min's 2005 ("Simple improved confidence intervals for comparing matched proportions"), with half a
    word added to each of the four cases: sqrt(k + 1 - k^2 / (n + 2)) / (n + 2), with k the errors that one system makes
    more in n words. error, differing, n_words: numbers or arrays of one shape.
    """
    n, k = n_words + 2.0, np.minimum(np.abs(differing), n_words)
    return error._replace(value=np.maximum(error.value, np.sqrt(k + 1.0 - k**2 / n) / n))
