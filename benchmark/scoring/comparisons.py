"""Every pair of systems on the same utterances: interval of the difference, matched-pair test, and its correction.

The correction is over all comparisons of a summary: pairs of systems times conditions. Source: Gillick & Cox 1989
(test), Holm 1979 (correction); docs/statistics.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from benchmark.results import CLEAN, Comparison, Sample
from benchmark.scoring.counts import UtteranceCounts
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


@dataclass(frozen=True)
class ScoredCondition:
    """The samples of one system under one condition, and their counts under the first profile, in the same order."""

    samples: Sequence[Sample]
    counts: UtteranceCounts


def compare_pairs(systems: Mapping[str, ScoredCondition], condition: str, seed: int) -> list[Comparison]:
    """A comparison of every pair of systems, by name, over the utterances that both have; not corrected yet."""
    found = []
    for first, second in combinations(systems, 2):
        paired = _paired(systems[first], systems[second], seed)
        if paired is not None:
            p_value = matched_pairs(paired.first.errors.tolist(), paired.second.errors.tolist(), paired.resampling)
            found.append(Comparison(first, second, paired.difference, "", condition, p_value))
    return found


def correct(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons of a summary with corrected p-values, verdicts, and sentences that say them.

    Two systems are different where the corrected test says so and the interval of the difference does not hold 0.
    """
    corrected = holm([1.0 if one.p_value is None else one.p_value for one in comparisons])
    found = []
    for one, adjusted in zip(comparisons, corrected, strict=True):
        without_zero = one.difference.low > 0 or one.difference.high < 0
        different = without_zero and adjusted < 1.0 - LEVEL
        sentence = verdict(one.first, one.second, one.difference, different)
        if one.condition != CLEAN:
            sentence = f"{one.condition}: {sentence}"
        found.append(replace(one, adjusted_p=adjusted, different=different, sentence=sentence))
    return found


def minimum_detectable_difference(systems: Mapping[str, ScoredCondition], seed: int) -> float | None:
    """The difference in WER that this test set shows at 80 % power, for the pair of systems that needs most.

    One system alone counts as if a second one were as uncertain and made its errors elsewhere: its own standard error
    times the square root of two, which is more than a pair usually needs. None without any system.
    """
    found = []
    for first, second in combinations(systems, 2):
        paired = _paired(systems[first], systems[second], seed)
        if paired is not None:
            first_errors, second_errors = paired.first.errors.tolist(), paired.second.errors.tolist()
            words = paired.first.reference_words.tolist()
            error = standard_error(first_errors, second_errors, words, paired.resampling)
            found.append(detectable(error, paired.resampling.n_groups))
    if len(systems) == 1:
        [only] = systems.values()
        resampling = resample([sample.speaker for sample in only.samples], seed=seed, draws=1)
        errors = only.counts.errors.tolist()
        error = standard_error(errors, [0] * len(errors), only.counts.reference_words.tolist(), resampling)
        found.append(detectable(2.0**0.5 * error, resampling.n_groups))
    return max(found, default=None)


def paired_difference(first: ScoredCondition, second: ScoredCondition, seed: int) -> Rate | None:
    """WER of the first minus WER of the second over the utterances that both have; None where they share none."""
    paired = _paired(first, second, seed)
    return None if paired is None else paired.difference


@dataclass(frozen=True)
class _Paired:
    """Counts of two systems over the utterances that both have; the reference words are the same in both."""

    first: UtteranceCounts
    second: UtteranceCounts
    resampling: Resampling

    @property
    def difference(self) -> Rate:
        words = self.first.reference_words.tolist()
        return difference(self.first.errors.tolist(), self.second.errors.tolist(), words, self.resampling)


def _paired(first: ScoredCondition, second: ScoredCondition, seed: int) -> _Paired | None:
    rows = {sample.id: row for row, sample in enumerate(second.samples)}
    shared = [(row, rows[sample.id]) for row, sample in enumerate(first.samples) if sample.id in rows]
    if not shared:
        return None
    of_first, of_second = (list(column) for column in zip(*shared, strict=True))
    resampling = resample([first.samples[row].speaker for row in of_first], seed=seed, draws=1)
    return _Paired(first.counts.select(of_first), second.counts.select(of_second), resampling)
