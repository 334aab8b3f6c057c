"""Every pair of systems on the same utterances: interval of the difference, matched-pairs test, and its correction.

The correction is over all comparisons of a summary: pairs of systems times conditions. Source: Holm 1979 (correction);
`finetune.metrics.paired_tests` (interval and test); docs/statistics.md.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np

from benchmark.results import CLEAN, Comparison, Metric, Sample
from benchmark.scoring.counts import Column, UtteranceCounts
from benchmark.scoring.influence import decisive, differences_without
from finetune.metrics import (
    LEVEL,
    Rate,
    Resampling,
    at_least_independent,
    detectable,
    difference,
    holm,
    matched_pairs,
    resample,
    standard_error,
    verdict,
)

# With fewer utterances (of long recordings: segments) that have reference words nothing is settled: with up to five,
# not even a system that is better on every one of them is significantly so (sign test), and Student's t needs more than
# a handful.
FEWEST_COMPARED = 10
RUINED = 0.75  # an utterance ruins a minimum detectable difference that is, without it, this share of it or less


@dataclass(frozen=True)
class ScoredCondition:
    """The samples of one system under one condition, and their counts under the first profile, in the same order.

    metric: that is compared. others: counts under the other profiles, by name.
    """

    samples: Sequence[Sample]
    counts: UtteranceCounts
    metric: Metric = "wer"
    others: Mapping[str, UtteranceCounts] = field(default_factory=dict)

    def without(self, ids: Iterable[str]) -> "ScoredCondition":
        """The same without the samples of some ids; under the first profile alone."""
        left_out = set(ids)
        rows = [row for row, sample in enumerate(self.samples) if sample.id not in left_out]
        return ScoredCondition([self.samples[row] for row in rows], self.counts.select(rows), self.metric)

    def decisive(self) -> list[str]:
        """Ids of the few utterances that make the rate (`benchmark.scoring.influence.decisive`)."""
        errors, lengths = self.counts.of(self.metric)
        if np.count_nonzero(lengths) < FEWEST_COMPARED:
            return []
        return [self.samples[row].id for row in decisive(errors, lengths)]


@dataclass(frozen=True)
class Detectable:
    """A minimum detectable difference, and what it is without the utterances that ruin it (None: none does)."""

    value: float | None
    without: float | None = None
    left_out: Sequence[str] = ()


def compare_pairs(systems: Mapping[str, ScoredCondition], condition: str, seed: int) -> list[Comparison]:
    """A comparison of every pair of systems, by name, over the utterances that both have; not corrected yet.

    Of clean speech also without the utterances that decide either rate, or whether the difference is significant.
    """
    found = []
    for first, second in combinations(systems, 2):
        paired = _paired(systems[first], systems[second], seed)
        if paired is None:
            continue
        one = Comparison(first, second, paired.difference, "", condition, paired.p_value)
        if condition == CLEAN and paired.p_value is not None:
            ids = [*systems[first].decisive(), *systems[second].decisive(), *paired.overturning()]
            left_out = list(dict.fromkeys(ids))
            rest = _paired(systems[first].without(left_out), systems[second].without(left_out), seed)
            if left_out and rest is not None and rest.p_value is not None:
                one = replace(one, left_out=left_out, without=rest.difference, p_value_without=rest.p_value)
        found.append(one)
    return found


def correct(comparisons: Sequence[Comparison], metric: Metric = "wer", unit: str = "utterance") -> list[Comparison]:
    """The comparisons of a summary with corrected p-values, verdicts, and sentences that say them.

    A comparison without a p-value is of too few utterances, or segments, and settles nothing. unit: which of the two.
    """
    tested = [place for place, one in enumerate(comparisons) if one.p_value is not None]
    p_values = [comparisons[place].p_value or 0.0 for place in tested]
    without = [comparisons[place].p_value_without for place in tested]
    adjusted_without = holm([p if other is None else other for p, other in zip(p_values, without, strict=True)])
    found = [_untested(one, metric, unit) for one in comparisons]
    for place, p_value, p_value_without in zip(tested, holm(p_values), adjusted_without, strict=True):
        found[place] = _tested(comparisons[place], p_value, p_value_without, metric)
    return found


def _untested(one: Comparison, metric: Metric, unit: str) -> Comparison:
    sentence = (
        f"{one.first} and {one.second}: fewer than {FEWEST_COMPARED} {unit}s settle nothing, whatever their "
        f"{metric.upper()}."
    )
    return replace(one, sentence=_under(one.condition, sentence))


def _tested(one: Comparison, adjusted_p: float, adjusted_p_without: float, metric: Metric) -> Comparison:
    different = adjusted_p < 1.0 - LEVEL
    sentence = verdict(one.first, one.second, one.difference, different, metric.upper())
    return replace(
        one,
        adjusted_p=adjusted_p,
        different=different,
        different_without=None if one.without is None else adjusted_p_without < 1.0 - LEVEL,
        sentence=_under(one.condition, sentence),
    )


def minimum_detectable_difference(
    systems: Mapping[str, ScoredCondition], seed: int, comparisons: int = 1
) -> Detectable:
    """The difference in the metric that this test set shows at 80 % power, for the pair of systems that needs most.

    comparisons: that the summary's p-values are corrected for.

    One system alone counts as if a second one were as uncertain and made its errors elsewhere: its own standard error
    times the square root of two, which is more than a pair usually needs. None without any system, of fewer than
    FEWEST_COMPARED utterances, and where no utterance differs from another, so that nothing can be estimated.
    """
    value, ruining = _detectable(systems, seed, comparisons)
    if value is None:
        return Detectable(None)
    left_out = list(dict.fromkeys([*ruining, *(id for own in systems.values() for id in own.decisive())]))
    rest = {name: own.without(left_out) for name, own in systems.items()}
    without, _ = _detectable(rest, seed, comparisons)
    if not left_out or without is None or without > RUINED * value:
        return Detectable(value)
    return Detectable(value, without, left_out)


def paired_difference(first: ScoredCondition, second: ScoredCondition, seed: int) -> Rate | None:
    """The first system's rate minus the second's over the utterances that both have; None where they share none."""
    paired = _paired(first, second, seed)
    return None if paired is None else paired.difference


def paired_test(first: ScoredCondition, second: ScoredCondition, seed: int) -> tuple[Rate, float | None] | None:
    """`paired_difference`, and the p-value of the matched-pairs test, which is None of too few utterances."""
    paired = _paired(first, second, seed)
    return None if paired is None else (paired.difference, paired.p_value)


@dataclass(frozen=True)
class _Paired:
    """Errors of two systems over the utterances that both have, and the length of their references."""

    ids: Sequence[str]
    first: Column
    second: Column
    lengths: Column
    resampling: Resampling

    @property
    def difference(self) -> Rate:
        return difference(self.first.tolist(), self.second.tolist(), self.lengths.tolist(), self.resampling)

    @property
    def are_enough(self) -> bool:
        """Whether FEWEST_COMPARED utterances or more have reference words."""
        return bool(np.count_nonzero(self.lengths) >= FEWEST_COMPARED)

    @property
    def p_value(self) -> float | None:
        """Of the matched-pairs test; None of too few utterances."""
        if not self.are_enough:
            return None
        return matched_pairs(self.first.tolist(), self.second.tolist(), self.lengths.tolist(), self.resampling)

    def overturning(self) -> list[str]:
        """The id of the utterance without which the interval of the difference holds 0, where it does not with it; of
        several, the one without which it holds 0 by most.
        """
        whole = self.difference
        if whole.low <= 0 <= whole.high:
            return []
        differences, n_words = self.first - self.second, self.lengths.sum() - self.lengths
        values, errors = differences_without(differences, self.lengths, self.resampling)
        margins = at_least_independent(errors, values * n_words, n_words).margin((1.0 + LEVEL) / 2.0)
        ends = values - margins if whole.low > 0 else -(values + margins)
        row = int(np.argmin(ends))
        return [self.ids[row]] if ends[row] <= 0 else []

    def detectable(self, comparisons: int) -> tuple[float, list[str]]:
        """The smallest difference that is found, and the id of the utterance that ruins it, if any."""
        error = standard_error(self.first.tolist(), self.second.tolist(), self.lengths.tolist(), self.resampling)
        if error.freedom and error.value == 0.0:  # all groups alike: nothing can be estimated
            return 0.0, []
        value = float(detectable(error, comparisons, self.lengths.sum()))
        _, errors = differences_without(self.first - self.second, self.lengths, self.resampling)
        without = detectable(errors, comparisons, self.lengths.sum() - self.lengths)
        row = int(np.argmin(without))
        return value, [self.ids[row]] if without[row] <= RUINED * value else []


def _detectable(systems: Mapping[str, ScoredCondition], seed: int, comparisons: int) -> tuple[float | None, list[str]]:
    """The largest minimum detectable difference of any pair, and the id of the utterance that ruins it, if any."""
    found = [
        paired.detectable(comparisons)
        for first, second in combinations(systems, 2)
        if (paired := _paired(systems[first], systems[second], seed)) is not None and paired.are_enough
    ]
    if len(systems) == 1:
        [only] = systems.values()
        errors, lengths = only.counts.of(only.metric)
        ids, speakers = [one.id for one in only.samples], [one.speaker for one in only.samples]
        own = _Paired(ids, errors, np.zeros_like(errors), lengths, resample(speakers, seed=seed, draws=1))
        if own.are_enough:
            value, ruining = own.detectable(comparisons)
            found.append((2.0**0.5 * value, ruining))
    largest, ruining = max(found, key=lambda one: one[0], default=(0.0, []))
    return largest or None, ruining


def _paired(first: ScoredCondition, second: ScoredCondition, seed: int) -> _Paired | None:
    rows = {sample.id: row for row, sample in enumerate(second.samples)}
    shared = [(row, rows[sample.id]) for row, sample in enumerate(first.samples) if sample.id in rows]
    if not shared:
        return None
    of_first, of_second = (list(column) for column in zip(*shared, strict=True))
    samples = [first.samples[row] for row in of_first]
    errors, lengths = first.counts.of(first.metric)
    second_errors, _ = second.counts.of(second.metric)
    return _Paired(
        [sample.id for sample in samples],
        errors[of_first],
        second_errors[of_second],
        lengths[of_first],
        resample([sample.speaker for sample in samples], seed=seed, draws=1),
    )


def _under(condition: str, sentence: str) -> str:
    return sentence if condition == CLEAN else f"{condition}: {sentence}"
