"""From raw samples and timings to what a benchmark says: no model, no audio.

`summarise` makes the whole summary, `changes` holds it beside an earlier one; `python -m benchmark.scoring RESULTS`
scores a folder again. docs/statistics.md says which methods are behind the figures.
"""

from benchmark.scoring.comparing import compare
from benchmark.scoring.counts import Counted, count
from benchmark.scoring.earlier import changes, paired_changes
from benchmark.scoring.rates import score, scores_of
from benchmark.scoring.summing import summarise

__all__ = ["Counted", "changes", "compare", "count", "paired_changes", "score", "scores_of", "summarise"]
