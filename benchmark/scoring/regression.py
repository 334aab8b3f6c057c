"""A result beside an earlier one, its baseline: which figures changed, and whether chance explains it.

Systems are matched by name. WER, or the summary's metric, needs the same test set (as many reference words under the
same profile and version); where the samples of both runs are available, `paired_changes` detects smaller changes than
two intervals can.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from benchmark.results import CLEAN, Change, Metric, ProfileUsed, Sample, Speed, Spread, Summary, SystemSummary
from benchmark.scoring.comparisons import ScoredCondition, paired_difference
from benchmark.scoring.counts import Normaliser, count_errors
from finetune.metrics import Rate
from preprocessing.text import profile

MINIMUM_SPEED_CHANGE = 0.05  # a smaller one may be the machine's, whatever the rounds say
MINIMUM_MEMORY_CHANGE = 0.10

Kind = Literal["better", "worse", "same"]
SystemCondition = tuple[str, str]


def changes(baseline: Summary, now: Summary, *, paired: Mapping[SystemCondition, Rate] | None = None) -> list[Change]:
    """A change for every figure that both summaries have, of every system that both have.

    paired: WER now minus WER before by system and condition, from `paired_changes`; where it is missing, the interval
    of the difference of two independent rates is made of the intervals of both (Zou & Donner 2008).
    `kind` is "same" wherever a change is not significant: WER where the 95 % interval of the difference holds 0, speed
    where rounds overlap or it is within 5 %, memory within 10 %.
    """
    before = {system.facts.name: system for system in baseline.systems if system.failure is None}
    same_profile = bool(baseline.profiles and now.profiles) and _rules(baseline.profiles[0]) == _rules(now.profiles[0])
    comparable = same_profile and baseline.metric == now.metric
    found: list[Change] = []
    for system in now.systems:
        old = before.get(system.facts.name)
        if old is None or system.failure is not None:
            continue
        if comparable:
            found += _rate_changes(old, system, now.profiles[0].name, paired or {}, now.metric)
        if old.speed is not None and system.speed is not None:
            found += _speed_changes(system.facts.name, old.speed, system.speed)
        if old.peak_memory_bytes and system.peak_memory_bytes:
            found.append(_memory_change(system.facts.name, old.peak_memory_bytes, system.peak_memory_bytes))
    return found


def paired_changes(
    baseline: Iterable[Sample], now: Iterable[Sample], profile_name: str, *, seed: int
) -> dict[SystemCondition, Rate]:
    """WER now minus WER before by system and condition, over the utterances of both (same id, same reference)."""
    normaliser = Normaliser(profile(profile_name))
    old, new = _by_system_and_condition(baseline), _by_system_and_condition(now)
    found: dict[SystemCondition, Rate] = {}
    for key in new.keys() & old.keys():
        shared = [
            (sample, old[key][id])
            for id, sample in new[key].items()
            if id in old[key] and old[key][id].reference == sample.reference
        ]
        new_samples, old_samples = ([pair[side] for pair in shared] for side in (0, 1))
        after, before = (
            ScoredCondition(samples, count_errors(map(normaliser.pair, samples)))
            for samples in (new_samples, old_samples)
        )
        difference = paired_difference(after, before, seed)
        if difference is not None:
            found[key] = difference
    return found


def _rules(used: ProfileUsed) -> tuple[str, int]:
    """What decides which words are equal; the rest of a profile describes it."""
    return used.name, used.version


def _by_system_and_condition(samples: Iterable[Sample]) -> dict[SystemCondition, dict[str, Sample]]:
    found: dict[SystemCondition, dict[str, Sample]] = {}
    for sample in samples:
        found.setdefault((sample.system, sample.condition), {})[sample.id] = sample
    return found


def _rate_changes(
    old: SystemSummary,
    new: SystemSummary,
    profile_name: str,
    paired: Mapping[SystemCondition, Rate],
    metric: Metric,
) -> list[Change]:
    found = []
    for condition, by_profile in {CLEAN: new.scores, **new.conditions}.items():
        old_by_profile = old.scores if condition == CLEAN else old.conditions.get(condition, {})
        if profile_name not in by_profile or profile_name not in old_by_profile:
            continue
        before, now = old_by_profile[profile_name], by_profile[profile_name]
        difference = paired.get((new.facts.name, condition))
        if difference is None and before.words != now.words:  # another test set
            continue
        figure = f"{metric.upper()}, {condition}"
        found.append(_rate_change(new.facts.name, figure, before.rate(metric), now.rate(metric), difference))
    return found


def _rate_change(system: str, figure: str, before: Rate, now: Rate, paired: Rate | None) -> Change:
    difference = paired or _independent_difference(before, now)
    significant = difference.low > 0 or difference.high < 0
    kind = _kind(significant, better=difference.high < 0)
    interval = f"95 % interval of the change {100 * difference.low:+.2f} to {100 * difference.high:+.2f} points"
    sentence = f"{system}: {figure} was {before.value:.2%}, is {now.value:.2%}; {interval}: {_in_words(kind)}."
    return Change(system, figure, before.value, now.value, kind, sentence, significant)


def _independent_difference(before: Rate, now: Rate) -> Rate:
    """Now minus before, from the intervals of two independent rates (Zou & Donner 2008, MOVER)."""
    value = now.value - before.value
    below = ((now.value - now.low) ** 2 + (before.high - before.value) ** 2) ** 0.5
    above = ((now.high - now.value) ** 2 + (before.value - before.low) ** 2) ** 0.5
    return Rate(value, value - below, value + above)


def _speed_changes(system: str, old: Speed, new: Speed) -> list[Change]:
    """Latencies (less is better) and throughput (more is better), each with its spread over rounds."""
    figures = [
        ("latency p50", old.p50_spread, new.p50_spread, False),
        ("latency p95", old.p95_spread, new.p95_spread, False),
    ]
    if old.batch_seconds == new.batch_seconds:
        figures.append(("throughput", old.throughput, new.throughput, True))
    return [
        _speed_change(system, figure, before, now, more_is_better)
        for figure, before, now, more_is_better in figures
        if before is not None and now is not None
    ]


def _speed_change(system: str, figure: str, before: Spread, now: Spread, more_is_better: bool) -> Change:
    apart = now.low > before.high or now.high < before.low
    significant = apart and abs(now.median - before.median) > MINIMUM_SPEED_CHANGE * before.median
    kind = _kind(significant, better=(now.median > before.median) == more_is_better)
    shown: Callable[[float], str] = (
        "{:.1f} x real time".format if more_is_better else lambda seconds: f"{1000 * seconds:.1f} ms"
    )
    rounds = f"rounds {shown(before.low)} to {shown(before.high)} before, {shown(now.low)} to {shown(now.high)} now"
    sentence = f"{system}: {figure} was {shown(before.median)}, is {shown(now.median)}; {rounds}: {_in_words(kind)}."
    return Change(system, figure, before.median, now.median, kind, sentence, significant)


def _memory_change(system: str, before: int, now: int) -> Change:
    significant = abs(now - before) > MINIMUM_MEMORY_CHANGE * before
    kind = _kind(significant, better=now < before)
    sentence = f"{system}: peak memory was {before / 1e6:.0f} MB, is {now / 1e6:.0f} MB: {_in_words(kind)}."
    return Change(system, "peak memory", float(before), float(now), kind, sentence, significant)


def _kind(significant: bool, *, better: bool) -> Kind:
    return "same" if not significant else "better" if better else "worse"


def _in_words(kind: Kind) -> str:
    return "no change beyond chance" if kind == "same" else kind
