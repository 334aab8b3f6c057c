"""Every pair of systems on the same utterances: interval, matched-pair test, correction, and what to say of it.

The correction is over all comparisons of a summary: pairs times conditions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from benchmark.results import Comparison, Sample
from benchmark.scoring.counts import Counted
from finetune.metrics import (
    LEVEL,
    Rate,
    Resampling,
    detectable,
    difference,
    holm,
    matched_pairs,
    resample,
    standard_error,
    verdict,
)

CLEAN = "clean"


@dataclass(frozen=True)
class Heard:
    """One system under one condition: its samples, and their counts under the first profile in the same order."""

    samples: Sequence[Sample]
    counted: Counted


def pairs(heard: Mapping[str, Heard], condition: str, seed: int) -> list[Comparison]:
    """Every pair of systems under one condition, over the utterances that both have; not corrected yet."""
    found = []
    for first, second in combinations(heard, 2):
        both = _paired(heard[first], heard[second])
        if both is not None:
            one, two, speakers = both
            drawn = resample(speakers, seed=seed, draws=1)
            found.append(replace(_compared(first, second, one, two, drawn), condition=condition))
    return found


def decided(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The same with corrected p-values, verdicts and sentences that agree with them.

    Systems are different where the corrected test says so and the interval has no zero in it.
    """
    corrected = holm([1.0 if one.p_value is None else one.p_value for one in comparisons])
    found = []
    for one, adjusted in zip(comparisons, corrected, strict=True):
        clear = one.difference.low > 0 or one.difference.high < 0
        different = clear and adjusted < 1.0 - LEVEL
        sentence = verdict(one.first, one.second, one.difference, different)
        if one.condition != CLEAN:
            sentence = f"{one.condition}: {sentence}"
        found.append(replace(one, adjusted_p=adjusted, different=different, sentence=sentence))
    return found


def minimum_detectable(heard: Mapping[str, Heard], seed: int) -> float | None:
    """Difference in WER that this test set shows at 80 % power, for the pair of systems that needs most.

    One system alone: as if a second one were as uncertain and made its errors elsewhere (its own standard error times
    the square root of two), which is more than a pair usually needs.
    """
    needed = []
    for first, second in combinations(heard, 2):
        both = _paired(heard[first], heard[second])
        if both is not None:
            one, two, speakers = both
            drawn = resample(speakers, seed=seed, draws=1)
            error = standard_error(one.errors.tolist(), two.errors.tolist(), one.words.tolist(), drawn)
            needed.append(detectable(error, drawn.n_groups))
    if len(heard) == 1:
        [only] = heard.values()
        drawn = resample([sample.speaker for sample in only.samples], seed=seed, draws=1)
        errors = only.counted.errors.tolist()
        error = standard_error(errors, [0] * len(errors), only.counted.words.tolist(), drawn)
        needed.append(detectable(2.0**0.5 * error, drawn.n_groups))
    return max(needed, default=None)


def paired_difference(first: Heard, second: Heard, seed: int) -> Rate | None:
    """First WER minus second over the utterances that both have; None where they share none."""
    both = _paired(first, second)
    if both is None:
        return None
    one, two, speakers = both
    drawn = resample(speakers, seed=seed, draws=1)
    return difference(one.errors.tolist(), two.errors.tolist(), one.words.tolist(), drawn)


def _paired(first: Heard, second: Heard) -> tuple[Counted, Counted, list[str | None]] | None:
    """Counts of both over the utterances that both have, and who spoke; the same reference words in both."""
    rows = {sample.id: row for row, sample in enumerate(second.samples)}
    shared = [(row, rows[sample.id]) for row, sample in enumerate(first.samples) if sample.id in rows]
    if not shared:
        return None
    one, two = (list(column) for column in zip(*shared, strict=True))
    return first.counted.of(one), second.counted.of(two), [first.samples[row].speaker for row in one]


def _compared(first: str, second: str, one: Counted, two: Counted, drawn: Resampling) -> Comparison:
    paired = difference(one.errors.tolist(), two.errors.tolist(), one.words.tolist(), drawn)
    return Comparison(first, second, paired, "", p_value=matched_pairs(one.errors.tolist(), two.errors.tolist(), drawn))
