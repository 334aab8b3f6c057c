"""Error rates of speech recognition and their statistics: what is re-exported here, error counts and alignments.

- `error_rates`: substitutions, deletions and insertions of an utterance.
- `evaluate_metric`: WER and CER of a corpus as a metric of the `evaluate` library.
- `word_alignment`: two texts aligned word by word.
- `intervals`: bootstrap confidence intervals of a rate.
- `paired_tests`: two systems on the same utterances.

docs/statistics.md says which method is used where, and the coverage that a simulation finds.
"""

from finetune.metrics.intervals import (
    DRAWS,
    FEWEST_GROUPS,
    FEWEST_SPEAKERS,
    LEVEL,
    MOST_GROUPS,
    Rate,
    Resampling,
    StandardError,
    at_least_independent,
    information_lost,
    rate,
    resample,
)
from finetune.metrics.paired_tests import (
    RUN_SEEDS,
    detectable,
    difference,
    holm,
    in_points,
    matched_pairs,
    run_deviation,
    run_margin,
    standard_error,
    verdict,
)

__all__ = [
    "DRAWS",
    "FEWEST_GROUPS",
    "FEWEST_SPEAKERS",
    "LEVEL",
    "MOST_GROUPS",
    "RUN_SEEDS",
    "Rate",
    "Resampling",
    "StandardError",
    "at_least_independent",
    "detectable",
    "difference",
    "holm",
    "in_points",
    "information_lost",
    "matched_pairs",
    "rate",
    "resample",
    "run_deviation",
    "run_margin",
    "standard_error",
    "verdict",
]
