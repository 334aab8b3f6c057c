"""Two systems on the same utterances: how far apart, whether luck explains it, and what could have been seen at all.

The matched-pair test of Gillick & Cox 1989 ("Some statistical issues in the comparison of speech recognition
algorithms"), which NIST's sclite has as MAPSSWE, with whole speakers as segments where the corpus names them.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import stdtr, stdtrit

from finetune.metrics.intervals import LEVEL, Rate, Resampling, linear_error

POWER = 0.8


def difference(
    first_errors: Sequence[int], second_errors: Sequence[int], lengths: Sequence[int], resampling: Resampling
) -> Rate:
    """First rate minus second, paired: below zero, the first is better.

    The interval is Student's, over the groups (speakers or utterances) of the resampling. A difference has little skew
    for a bootstrap to find, and the interval goes with the test below. Only the groups are used, not the draws.
    """
    gained = np.asarray(first_errors, dtype=np.int64) - np.asarray(second_errors, dtype=np.int64)
    value = float(gained.sum() / max(np.sum(lengths), 1))
    n_groups = resampling.n_groups
    if n_groups == 1:  # nothing tells how another one would differ
        return Rate(value, min(value, -1.0), max(value, 1.0))
    reach = float(stdtrit(n_groups - 1, (1.0 + LEVEL) / 2.0)) * standard_error(
        first_errors, second_errors, lengths, resampling
    )
    return Rate(value, value - reach, value + reach)


def standard_error(
    first_errors: Sequence[int], second_errors: Sequence[int], lengths: Sequence[int], resampling: Resampling
) -> float:
    """Of the paired difference of two rates; of a single rate where `second_errors` are zeros."""
    gained = np.asarray(first_errors, dtype=np.int64) - np.asarray(second_errors, dtype=np.int64)
    units = float(max(np.sum(lengths), 1))
    gradient = np.array([1.0 / units, -float(gained.sum()) / units**2])
    return linear_error(resampling.totals(gained, lengths), gradient)


def matched_pairs(first_errors: Sequence[int], second_errors: Sequence[int], resampling: Resampling) -> float:
    """Two-sided p-value that both systems make as many errors: mean difference of a segment over its standard error.

    Segments are the resampling's groups. Where these are speakers the variance is a clustered one: Gillick & Cox ask
    for segments that are independent, which utterances of one voice are not. Student's t with segments - 1 degrees of
    freedom; from some hundred segments on, their z. 1.0 where nothing differs, or there is one segment.
    """
    gained = resampling.totals(np.asarray(first_errors, dtype=np.int64) - np.asarray(second_errors, dtype=np.int64))
    n_segments = len(gained)
    if n_segments < 2 or not gained.any():
        return 1.0
    error = float(np.std(gained, ddof=1)) / n_segments**0.5
    mean = float(np.mean(gained))
    if error == 0.0:
        return 0.0
    return float(2.0 * stdtr(n_segments - 1, -abs(mean) / error))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for being several, in the order given (Holm 1979): each may be held against 0.05 by itself.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def detectable(error: float, n_groups: int) -> float:
    """The true difference that a two-sided 5 % test finds in 80 of 100 test sets like this one.

    error: standard error of the paired difference. (1.96 + 0.84) times it, by Student's t with n_groups - 1 degrees of
    freedom.
    """
    if n_groups < 2:
        return 1.0
    return error * float(stdtrit(n_groups - 1, (1.0 + LEVEL) / 2.0) + stdtrit(n_groups - 1, POWER))


def verdict(first: str, second: str, paired: Rate, different: bool | None = None) -> str:
    """The comparison as a sentence, in points of WER.

    different: the test's word after correction for several comparisons; None: the interval alone decides.

    >>> verdict("tuned", "base", Rate(-0.135, -0.149, -0.121))
    'tuned beats base: 12.1 to 14.9 points of WER better, 95 % interval.'
    >>> verdict("tuned", "base", Rate(0.001, -0.002, 0.004))
    'tuned and base cannot be told apart on this corpus: 0.2 points of WER better to 0.4 worse, 95 % interval.'
    >>> verdict("tuned", "base", Rate(-0.02, -0.038, -0.002), different=False)
    'tuned and base cannot be told apart on this corpus: tuned is 0.2 to 3.8 points of WER better, 95 % interval, but \
not after correction for several comparisons.'
    """
    if paired.low > 0:
        first, second, paired = second, first, Rate(-paired.value, -paired.high, -paired.low)
    better, worse = -100 * paired.low, 100 * paired.high
    if paired.high < 0 and different is not False:
        return f"{first} beats {second}: {-worse:.1f} to {better:.1f} points of WER better, 95 % interval."
    undecided = f"{first} and {second} cannot be told apart on this corpus: "
    if paired.high < 0:
        return (
            f"{undecided}{first} is {-worse:.1f} to {better:.1f} points of WER better, 95 % interval, but not after "
            "correction for several comparisons."
        )
    return f"{undecided}{better:.1f} points of WER better to {worse:.1f} worse, 95 % interval."
