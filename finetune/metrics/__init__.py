"""How far luck can carry an error rate: intervals, paired tests and what a test set can tell apart.

intervals.py draws and gives rates their intervals, paired.py compares two systems. docs/statistics.md says which method
is where and what coverage a simulation finds.
"""

from finetune.metrics.intervals import (
    DRAWS,
    FEWEST_GROUPS,
    FEWEST_SPEAKERS,
    LEVEL,
    MOST_GROUPS,
    Rate,
    Resampling,
    information_lost,
    rate,
    resample,
)
from finetune.metrics.paired_tests import detectable, difference, holm, matched_pairs, standard_error, verdict

__all__ = [
    "DRAWS",
    "FEWEST_GROUPS",
    "FEWEST_SPEAKERS",
    "LEVEL",
    "MOST_GROUPS",
    "Rate",
    "Resampling",
    "detectable",
    "difference",
    "holm",
    "information_lost",
    "matched_pairs",
    "rate",
    "resample",
    "standard_error",
    "verdict",
]
