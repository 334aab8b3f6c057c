"""Every pair of systems on the same utterances: interval of the difference, matched-pairs test, and its correction.

The correction is over all comparisons of a summary: pairs of systems times conditions; where a baseline system is
named, over its pairs on clean speech, and over all others. Source: Holm 1979 (correction);
`finetune.metrics.paired_tests` (interval and test); docs/statistics.md.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np

from benchmark.results import CLEAN, Comparison, DetectableDifference, Family, Metric, Sample
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
from preprocessing.errors import UsageError

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


def compare_pairs(systems: Mapping[str, ScoredCondition], condition: str, seed: int) -> list[Comparison]:
    """A comparison of every pair of systems, by name, over the utterances that both have; not corrected yet.

    Of clean speech also without the utterances that decide either rate, or whether the difference is significant.
    """
    found = []
    for first, second in combinations(systems, 2):
        paired = _paired(systems[first], systems[second], seed)
        if paired is None:
            continue
        one = Comparison(
            first=first,
            second=second,
            difference=paired.difference,
            sentence="",
            condition=condition,
            p_value=paired.p_value,
        )
        if condition == CLEAN and paired.p_value is not None:
            ids = [*systems[first].decisive(), *systems[second].decisive(), *paired.overturning()]
            left_out = list(dict.fromkeys(ids))
            rest = _paired(systems[first].without(left_out), systems[second].without(left_out), seed)
            if left_out and rest is not None and rest.p_value is not None:
                one = replace(one, left_out=left_out, without=rest.difference, p_value_without=rest.p_value)
        found.append(one)
    return found


def correct(
    comparisons: Sequence[Comparison], metric: Metric = "wer", unit: str = "utterance", baseline: str | None = None
) -> list[Comparison]:
    """The comparisons of a summary with corrected p-values, verdicts, and sentences that say them.

    A comparison without a p-value is of too few utterances, or segments, and settles nothing. unit: which of the two.
    baseline: the system whose comparisons on clean speech are corrected by themselves; None: all are together.
    """
    placed = [replace(one, family=_family(one.first, one.second, one.condition, baseline)) for one in comparisons]
    found = [_untested(one, metric, unit) for one in placed]
    for family in dict.fromkeys(one.family for one in placed):
        tested = [place for place, one in enumerate(placed) if one.p_value is not None and one.family == family]
        p_values = [placed[place].p_value or 0.0 for place in tested]
        without = [placed[place].p_value_without for place in tested]
        adjusted_without = holm([p if other is None else other for p, other in zip(p_values, without, strict=True)])
        for place, p_value, p_value_without in zip(tested, holm(p_values), adjusted_without, strict=True):
            found[place] = _tested(placed[place], p_value, p_value_without, metric)
    return found


def check_baseline_system(name: str, systems: Sequence[str]) -> None:
    """Raises UsageError where the baseline system is none of the systems, or there is no other."""
    if name not in systems:
        raise UsageError(
            f"--baseline_system {name} is none of the systems {', '.join(systems)}; expected one of these: name it so"
        )
    if len(systems) < 2:
        raise UsageError(
            f"--baseline_system {name} is the only system; expected another one to compare it with: add one, or leave "
            "it out"
        )


def family_sizes(comparisons: Iterable[Comparison]) -> Counter[Family]:
    """How many comparisons of each family have been tested, which is what their p-values are corrected for."""
    return Counter(one.family for one in comparisons if one.p_value is not None)


def _family(first: str, second: str, condition: str, baseline: str | None) -> Family:
    if baseline is None:
        return "all"
    return "baseline" if condition == CLEAN and baseline in (first, second) else "other"


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


def detectable_differences(
    systems: Mapping[str, ScoredCondition],
    seed: int,
    sizes: Mapping[Family, int] | None = None,
    baseline: str | None = None,
) -> list[DetectableDifference]:
    """The difference in the metric that this test set shows at 80 % power, for each pair of systems.

    sizes: how many p-values each family is corrected for, 1 where it is not in it. baseline: as in `correct`.

    One system alone counts as a pair with a second one, without a name, that is as uncertain and makes its errors
    elsewhere: its own standard error times the square root of two, which is more than a pair usually needs. No pair of
    fewer than FEWEST_COMPARED utterances has one, and none where no utterance differs from another, so that nothing can
    be estimated.
    """
    pairs = list(combinations(systems, 2)) or [(name, "") for name in systems]
    decided = {name: own.decisive() for name, own in systems.items()}
    found = []
    for first, second in pairs:
        own = [systems[name] for name in (first, second) if name]
        n_tested = max((sizes or {}).get(_family(first, second, CLEAN, baseline), 1), 1)
        value, ruining = _detectable(own, seed, n_tested)
        if value is None:
            continue
        one = DetectableDifference(first=first, second=second, value=value, comparisons=n_tested)
        left_out = list(dict.fromkeys([*ruining, *decided[first], *decided.get(second, ())]))
        without, _ = _detectable([system.without(left_out) for system in own], seed, n_tested)
        if left_out and without is not None and without <= RUINED * value:
            one = replace(one, without=without, left_out=left_out)
        found.append(one)
    return found


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


def _detectable(own: Sequence[ScoredCondition], seed: int, comparisons: int) -> tuple[float | None, list[str]]:
    """The minimum detectable difference of two systems, or of one alone, and the id of the utterance that ruins it, if
    any.
    """
    paired = _paired(own[0], own[-1], seed)
    if paired is not None and len(own) == 1:
        paired = replace(paired, second=np.zeros_like(paired.first))
    if paired is None or not paired.are_enough:
        return None, []
    value, ruining = paired.detectable(comparisons)
    return (2.0**0.5 if len(own) == 1 else 1.0) * value or None, ruining


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
