"""Two systems on the same utterances: the difference of their error rates, whether chance explains it, and the smallest
difference that the test set could show.

The matched-pairs test is Gillick & Cox 1989 ("Some statistical issues in the comparison of speech recognition
algorithms"), MAPSSWE in NIST's sclite, with whole speakers as segments where the corpus names them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from finetune.metrics.intervals import LEVEL, Rate, Resampling, linear_error

POWER = 0.8  # of `detectable`
# The largest run-to-run spread measured here, of `run_deviation`: 0.044 for CTC heads on German (2.1 points at a WER of
# 66.0 %, three seeds; docs/studies/units.json), 0.040 for wav2vec2 on digits (0.8 at 4.5 %, five seeds; seeds.json).
RUN_SPREAD = 0.044


def difference(
    first_errors: Sequence[int], second_errors: Sequence[int], lengths: Sequence[int], resampling: Resampling
) -> Rate:
    """The first system's error rate minus the second's, with its interval: below zero, the first is better.

    first_errors, second_errors, lengths: of each utterance. The interval is d +- t * `standard_error`, t the 0.975
    quantile of Student's distribution with groups - 1 degrees of freedom. A paired difference is hardly skewed, so
    there is no bootstrap: of the resampling only the groups are used. The interval agrees with `matched_pairs`.
    """
    differences = np.asarray(first_errors, dtype=np.int64) - np.asarray(second_errors, dtype=np.int64)
    value = float(differences.sum() / max(np.sum(lengths), 1))
    n_groups = resampling.n_groups
    if n_groups == 1:  # no variance can be estimated
        return Rate(value, min(value, -1.0), max(value, 1.0))
    margin = float(stdtrit(n_groups - 1, (1.0 + LEVEL) / 2.0)) * standard_error(
        first_errors, second_errors, lengths, resampling
    )
    return Rate(value, value - margin, value + margin)


def standard_error(
    first_errors: Sequence[int], second_errors: Sequence[int], lengths: Sequence[int], resampling: Resampling
) -> float:
    """Standard error of `difference`, by `linear_error`; of the first system's rate where `second_errors` are zeros."""
    differences = np.asarray(first_errors, dtype=np.int64) - np.asarray(second_errors, dtype=np.int64)
    length = float(max(np.sum(lengths), 1))
    gradient = np.array([1.0 / length, -float(differences.sum()) / length**2])
    return linear_error(resampling.totals(differences, lengths), gradient)


def run_deviation(error_rate: float) -> float:
    """Standard deviation of the error rates of runs of one recipe that differ only in their seed, as far as measured.

    RUN_SPREAD * sqrt(p (1 - p)), as of a proportion, with p the error rate, or 0.5 for higher ones. Every recipe has a
    spread of its own: `python -m experiments.seeds` measures it.

    >>> round(run_deviation(0.045), 4), run_deviation(0.66)
    (0.0091, 0.022)
    """
    p = min(error_rate, 0.5)
    return RUN_SPREAD * float((p * (1.0 - p)) ** 0.5)


def matched_pairs(first_errors: Sequence[int], second_errors: Sequence[int], resampling: Resampling) -> float:
    """Two-sided p-value of the hypothesis that both systems make equally many errors.

    Segments are the resampling's groups: Gillick & Cox ask for independent segments, which utterances of one speaker
    are not. With z_i the difference in errors of segment i of n, the statistic is mean(z) / (std(z) / sqrt(n)), by
    Student's t with n - 1 degrees of freedom (for some hundred segments and more the normal distribution of the paper).
    1.0 where no segment differs or there is one segment, 0.0 where all differ by the same number.
    """
    differences = resampling.totals(
        np.asarray(first_errors, dtype=np.int64) - np.asarray(second_errors, dtype=np.int64)
    )
    n_segments = len(differences)
    if n_segments < 2 or not differences.any():
        return 1.0
    error = float(np.std(differences, ddof=1)) / n_segments**0.5
    mean = float(np.mean(differences))
    if error == 0.0:
        return 0.0
    return float(2.0 * stdtr(n_segments - 1, -abs(mean) / error))


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


def errors_detectable(n_groups: int | NDArray[np.int64], comparisons: int = 1, variation: float = 0.0) -> Any:
    """The smallest true difference that `matched_pairs` finds at 5 % with a probability of 80 %, in standard errors:

        k / sqrt(1 - k^2 variation^2 / n_groups), k = t(1 - 0.05 / (2 * comparisons)) + t(0.8),

    t the quantiles of Student's distribution with n_groups - 1 degrees of freedom (at least 1): 2.8 for many groups.
    comparisons: that p-values are corrected for; Holm's correction asks as much of the first difference that it finds.
    variation: `length_variation`. The test compares numbers of errors, and a difference in the rates makes more of them
    in a long group than in a short one: it adds to their variance. inf where that hides a difference of any size.
    """
    freedom = np.maximum(n_groups - 1, 1)
    k: Any = stdtrit(freedom, 1.0 - (1.0 - LEVEL) / (2.0 * comparisons)) + stdtrit(freedom, POWER)
    rest = np.maximum(1.0 - (k * variation) ** 2 / n_groups, 0.0)
    with np.errstate(divide="ignore"):
        return k / np.sqrt(rest)


def length_variation(lengths: Sequence[int], resampling: Resampling) -> float:
    """Coefficient of variation of the groups' lengths: 0 where all are as long, 1 and more where a few have most."""
    each = resampling.totals(lengths)[:, 0]
    return float(np.std(each, ddof=1)) / max(float(np.mean(each)), 1.0) if len(each) > 1 else 0.0


def detectable(error: float, n_groups: int, comparisons: int = 1, variation: float = 0.0) -> float:
    """The smallest true difference that is found with a probability of 80 % (`errors_detectable`).

    error: `standard_error` of the paired difference. 1.0 where none is: for a single group, or very different ones.
    """
    needed = float(errors_detectable(n_groups, comparisons, variation))
    return error * needed if n_groups >= 2 and np.isfinite(needed) else 1.0


def verdict(
    first: str,
    second: str,
    paired: Rate,
    different: bool | None = None,
    metric: str = "WER",
    *,
    p_value: float | None = None,
) -> str:
    """The comparison as a sentence, in percentage points of the metric.

    paired: `difference` of first and second. different: whether the test, corrected for several comparisons, finds a
    difference; None: the interval alone decides. p_value: of the test before the correction, where it is not that of
    the interval: with speakers of very different amounts of speech, `matched_pairs` may find no difference although
    the interval excludes 0.

    >>> verdict("tuned", "base", Rate(-0.135, -0.149, -0.121))
    'tuned is significantly better than base: its WER is 12.1 to 14.9 points lower (95 % CI).'
    >>> verdict("tuned", "base", Rate(0.001, -0.002, 0.004))
    'No significant difference between tuned and base: the WER of tuned is between 0.2 points lower and 0.4 points \
higher (95 % CI).'
    >>> verdict("tuned", "base", Rate(-0.02, -0.038, -0.002), different=False)
    'No significant difference between tuned and base after correction for several comparisons; on its own, the WER of \
tuned is 0.2 to 3.8 points lower (95 % CI).'
    >>> verdict("tuned", "base", Rate(-0.02, -0.038, -0.002), different=False, p_value=0.09)
    'No significant difference between tuned and base by the matched-pairs test (p = 0.09), although the interval \
excludes 0: the WER of tuned is 0.2 to 3.8 points lower (95 % CI).'
    """
    if paired.low > 0:
        first, second, paired = second, first, Rate(-paired.value, -paired.high, -paired.low)
    lower, higher = 0.0 - 100 * paired.low, 100 * paired.high
    none = f"No significant difference between {first} and {second}"
    if paired.high >= 0:
        bounds = f"between {lower:.1f} points lower and {higher:.1f} points higher"
        return f"{none}: the {metric} of {first} is {bounds} (95 % CI)."
    bounds = f"{-higher:.1f} to {lower:.1f} points lower (95 % CI)"
    if different is False and p_value is not None and p_value >= 1.0 - LEVEL:
        test = f"by the matched-pairs test (p = {p_value:.2g}), although the interval excludes 0"
        return f"{none} {test}: the {metric} of {first} is {bounds}."
    if different is False:
        correction = "after correction for several comparisons; on its own"
        return f"{none} {correction}, the {metric} of {first} is {bounds}."
    return f"{first} is significantly better than {second}: its {metric} is {bounds}."
