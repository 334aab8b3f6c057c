"""From raw samples and timings to a summary, without any model or audio.

`summarise` makes the whole summary, `changes` compares it with an earlier one; `python -m benchmark.scoring RESULTS`
scores a folder again. docs/statistics.md describes the methods.
"""

from benchmark.scoring.comparisons import ScoredCondition, compare_pairs, correct
from benchmark.scoring.counts import Normaliser, UtteranceCounts, count_errors, scores_of
from benchmark.scoring.regression import PairedChange, changes, incomparable, paired_changes, untested_rates
from benchmark.scoring.summary import signature, summarise

__all__ = [
    "Normaliser",
    "PairedChange",
    "ScoredCondition",
    "UtteranceCounts",
    "changes",
    "compare_pairs",
    "correct",
    "count_errors",
    "incomparable",
    "paired_changes",
    "scores_of",
    "signature",
    "summarise",
    "untested_rates",
]
