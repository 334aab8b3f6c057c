"""From raw samples and timings to what a benchmark says: no model, no audio.

`summarise` makes the whole summary, `changes` holds it beside an earlier one; `python -m benchmark.scoring RESULTS`
scores a folder again. docs/statistics.md says which methods are behind the figures.
"""

from benchmark.scoring.comparisons import Heard, decided, pairs
from benchmark.scoring.counts import Counted, Normaliser, count, scores_of
from benchmark.scoring.regression import changes, paired_changes
from benchmark.scoring.summary import summarise

__all__ = [
    "Counted",
    "Heard",
    "Normaliser",
    "changes",
    "count",
    "decided",
    "paired_changes",
    "pairs",
    "scores_of",
    "summarise",
]
