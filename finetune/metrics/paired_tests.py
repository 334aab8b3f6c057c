"""Two systems on the same utterances: the difference of their error rates, whether chance explains it, and the smallest
difference that the test set could show.

All three rest on one standard error, clustered by speaker (`intervals.clustered_error`). Where all speakers have as
many words, the test is the matched-pairs test of Gillick & Cox 1989 ("Some statistical issues in the comparison of
speech recognition algorithms"; MAPSSWE in NIST's sclite) with whole speakers as segments. That test compares numbers of
errors; with uneven speakers, a difference in the rates makes more of them for those who speak more, which it takes for
chance.

Where two systems differ alike on all speakers, as over one word of a command set that all of them say, the rates have
no variance. So a difference's standard error is at least that of independent words (`at_least_independent`).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import stdtr

from finetune.metrics.intervals import LEVEL, Rate, Resampling, StandardError, at_least_independent, clustered_error

POWER = 0.8  # of `detectable`
# The run-to-run spread of `run_deviation`, and the number of seeds it was measured with: wav2vec2 on digits, 0.84
# points at a WER of 4.5 % (docs/studies/seeds.json). Of the four recipes with three seeds (units.json), a CTC head on
# German has as large a spread, 0.042, and the others half of it or less.
RUN_SPREAD = 0.040
RUN_SEEDS = 5


def difference(
    first_errors: Sequence[int], second_errors: Sequence[int], lengths: Sequence[int], resampling: Resampling
) -> Rate:
    """The first system's error rate minus the second's, with its interval: below zero, the first is better.

    first_errors, second_errors, lengths: of each utterance. The interval is d +- t * error, t the 0.975
    quantile of Student's distribution; it holds 0 exactly where `matched_pairs` is 0.05 or more. A paired difference is
    hardly skewed, so there is no bootstrap: of the resampling only the groups are used.
    """
    value = (sum(first_errors) - sum(second_errors)) / max(sum(lengths), 1)
    margin = float(_error(first_errors, second_errors, lengths, resampling).margin((1.0 + LEVEL) / 2.0))
    if not np.isfinite(margin):
        return Rate(value, min(value, -1.0), max(value, 1.0))
    return Rate(value, value - margin, value + margin)


def standard_error(
    first_errors: Sequence[int], second_errors: Sequence[int], lengths: Sequence[int], resampling: Resampling
) -> StandardError:
    """Standard error of the difference by speaker; of the first system's rate where `second_errors` are zeros."""
    differences = np.asarray(first_errors, dtype=np.int64) - np.asarray(second_errors, dtype=np.int64)
    totals = resampling.totals(differences, lengths)
    errors, n_words = totals.sum(axis=0)
    parts = (totals[:, 0] - errors / max(n_words, 1.0) * totals[:, 1]) / max(n_words, 1.0)
    return clustered_error(parts, totals[:, 1])


def _error(
    first_errors: Sequence[int], second_errors: Sequence[int], lengths: Sequence[int], resampling: Resampling
) -> StandardError:
    found = standard_error(first_errors, second_errors, lengths, resampling)
    return at_least_independent(found, sum(first_errors) - sum(second_errors), sum(lengths))


def run_deviation(error_rate: float) -> float:
    """Standard deviation of the error rates of runs of one recipe that differ only in their seed, as far as measured.

    RUN_SPREAD * sqrt(p (1 - p)), as of a proportion, with p the error rate, or 0.5 for higher ones. Every recipe has a
    spread of its own: `python -m experiments.seeds` measures it.

    >>> round(run_deviation(0.045), 4), run_deviation(0.66)
    (0.0083, 0.02)
    """
    p = min(error_rate, 0.5)
    return RUN_SPREAD * float((p * (1.0 - p)) ** 0.5)


def run_margin(deviation: float, seeds: int, n_trained: int = 2) -> float:
    """What the error rates of two runs of one recipe differ by at most, in 95 of 100 cases; with n_trained=1, what one
    run differs by from the mean of its recipe.

    t * deviation * sqrt(n_trained), with t the 0.975 quantile of Student's distribution with `seeds` - 1 degrees of
    freedom. deviation: between the runs of a recipe, measured with as many seeds.

    >>> round(run_margin(run_deviation(0.045), RUN_SEEDS), 4), round(run_margin(run_deviation(0.045), RUN_SEEDS, 1), 4)
    (0.0326, 0.023)
    """
    return float(StandardError(deviation * n_trained**0.5, seeds - 1).margin((1.0 + LEVEL) / 2.0))


def matched_pairs(
    first_errors: Sequence[int], second_errors: Sequence[int], lengths: Sequence[int], resampling: Resampling
) -> float:
    """Two-sided p-value of the hypothesis that both systems have the same error rate, by the error of `difference`.

    Pairs are the resampling's groups, which are independent as utterances of one speaker are not. 1.0 where the rates
    are equal or only one group has words.
    """
    error = _error(first_errors, second_errors, lengths, resampling)
    value = abs(sum(first_errors) - sum(second_errors)) / max(sum(lengths), 1)
    if not error.freedom or not value:
        return 1.0
    return float(2.0 * stdtr(error.freedom, -value / error.value))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for several comparisons (Holm 1979), in the order given; each is compared with 0.05 by itself.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def detectable(error: StandardError, comparisons: int = 1, n_words: Any = np.inf) -> Any:
    """The smallest true difference that `matched_pairs` finds at 5 % with a probability of 80 %, at most 1.0:

        max(error * q, q^2 / n_words), q = t(1 - 0.05 / (2 * comparisons)) + t(0.8), t the quantiles of Student's
        distribution: 2.8 errors for many groups, and 8 words.

    error: `standard_error` of the paired difference, or several. comparisons: that p-values are corrected for; Holm's
    correction asks as much of the first difference that it finds. n_words: of the references.
    """
    level = 1.0 - (1.0 - LEVEL) / (2.0 * comparisons)
    one = StandardError(1.0, np.maximum(error.freedom, 1.0))
    q = one.margin(level) + one.margin(POWER)
    found = np.minimum(np.maximum(error.value * q, q**2 / n_words), 1.0)
    return np.where(np.asarray(error.freedom) > 0, found, 1.0)


def in_points(fraction: float, *, signed: bool = False) -> str:
    """A share or a difference of two as percentage points for a sentence: one decimal, up to three where it were 0.0.

    >>> in_points(0.19424), in_points(0.0004), in_points(-0.0042, signed=True), in_points(0.0, signed=True)
    ('19.4', '0.04', '-0.4', '+0.0')
    """
    value = 100 * fraction
    digits = next((digits for digits in (1, 2, 3) if round(value, digits)), 1)
    return f"{round(value, digits) + 0.0:{'+' if signed else ''}.{digits}f}"


def verdict(
    first: str,
    second: str,
    paired: Rate,
    different: bool | None = None,
    metric: str = "WER",
) -> str:
    """The comparison as a sentence, in percentage points of the metric.

    paired: `difference` of first and second. different: whether the test, corrected for several comparisons, finds a
    difference; None: the interval alone decides.

    >>> verdict("tuned", "base", Rate(-0.135, -0.149, -0.121))
    'tuned is significantly better than base: its WER is 12.1 to 14.9 points lower (95 % CI).'
    >>> verdict("tuned", "base", Rate(0.001, -0.002, 0.004))
    'No significant difference between tuned and base: the WER of tuned is between 0.2 points lower and 0.4 points \
higher (95 % CI).'
    >>> verdict("tuned", "base", Rate(-0.02, -0.038, -0.002), different=False)
    'No significant difference between tuned and base after correction for several comparisons; on its own, the WER of \
tuned is 0.2 to 3.8 points lower (95 % CI).'
    >>> verdict("tuned", "base", Rate(-0.003, -0.0057, -0.0003))
    'tuned is significantly better than base: its WER is 0.03 to 0.57 points lower (95 % CI).'
    """
    if paired.low > 0:
        first, second, paired = second, first, Rate(-paired.value, -paired.high, -paired.low)
    lower, higher = 0.0 - 100 * paired.low, 100 * paired.high
    none = f"No significant difference between {first} and {second}"
    if paired.high >= 0:
        bounds = f"between {lower:.1f} points lower and {higher:.1f} points higher"
        return f"{none}: the {metric} of {first} is {bounds} (95 % CI)."
    digits = next((digits for digits in (1, 2, 3) if round(-higher, digits)), 4)  # an end above 0 is not written as 0
    bounds = f"{-higher:.{digits}f} to {lower:.{digits}f} points lower (95 % CI)"
    if different is False:
        correction = "after correction for several comparisons; on its own"
        return f"{none} {correction}, the {metric} of {first} is {bounds}."
    return f"{first} is significantly better than {second}: its {metric} is {bounds}."
