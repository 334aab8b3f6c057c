"""A result beside an earlier one, its baseline: which figures changed, and whether chance explains it.

Systems are matched by name. WER, or the summary's metric, needs the same test set (as many reference words under the
same profile and version); where the samples of both runs are available, `paired_changes` compares the utterances of
both, and detects smaller changes than two intervals can. Speed needs the same machine and test set, a condition the
same description; `incomparable` says what is not compared.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmark.results import Change, Metric, ProfileUsed, Sample, Speed, Spread, Summary, SystemSummary
from benchmark.scoring.comparisons import FEWEST_COMPARED, ScoredCondition, paired_difference
from benchmark.scoring.counts import Normaliser, count_errors
from benchmark.scoring.segments import UNIT, counts_by_segment, needs_segments
from finetune.metrics import Rate, rate, resample
from preprocessing.cli.errors import counted
from preprocessing.text import profile

MINIMUM_SPEED_CHANGE = 0.05  # a smaller one may be the machine's, whatever the rounds say
MINIMUM_MEMORY_CHANGE = 0.10

MACHINE = ("processor", "cores", "device")  # of Summary.machine: what speed depends on, versions left aside

Kind = Literal["better", "worse", "same"]
SystemCondition = tuple[str, str]


@dataclass(frozen=True)
class PairedChange:
    """WER, or another metric, over the utterances that both results have, `utterances` of them; difference: now minus
    before. unit: what is paired, utterances or the segments of long recordings.
    """

    before: Rate
    now: Rate
    difference: Rate
    utterances: int
    unit: str = "utterance"


def changes(
    baseline: Summary, now: Summary, *, paired: Mapping[SystemCondition, PairedChange] | None = None
) -> list[Change]:
    """A change for every figure that both summaries have, of every system that both have.

    paired: by system and condition, from `paired_changes`; where it is missing, the interval of the difference of two
    independent rates is made of the intervals of both (Zou & Donner 2008).
    `kind` is "same" wherever a change is not significant: WER where the 95 % interval of the difference holds 0 or
    utterances are fewer than FEWEST_COMPARED, speed where rounds overlap, there is but one, or it is within 5 %, memory
    within 10 %.
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
            found += _rate_changes(baseline, now, old, system, paired or {})
        if old.speed is not None and system.speed is not None and not _why_no_speed(baseline, now):
            found += _speed_changes(system.facts.name, old.speed, system.speed)
        if old.peak_memory_bytes and system.peak_memory_bytes and _has_same_corpus(baseline, now):
            found.append(_memory_change(system.facts.name, old.peak_memory_bytes, system.peak_memory_bytes))
    return found


def incomparable(baseline: Summary, now: Summary) -> list[str]:
    """A sentence for each kind of figure that both summaries have and `changes` does not compare."""
    found = []
    reason = _why_no_speed(baseline, now)
    if reason and any(system.speed is not None for system in baseline.systems):
        found.append(f"Speed is not compared with the earlier result: {reason}.")
    if not _has_same_corpus(baseline, now):
        found.append("Memory is not compared with the earlier result: the test set differs.")
    other = _other_conditions(baseline, now)
    if other:
        found.append(
            f"Not compared with the earlier result, which defined these conditions differently: {', '.join(other)}."
        )
    return found


def _why_no_speed(baseline: Summary, now: Summary) -> str:
    for topic in MACHINE:
        before, after = (one.machine.get(topic, "none") for one in (baseline, now))
        if before != after:
            return f"its {topic} was {before} and is now {after}"
    return "" if _has_same_corpus(baseline, now) else "its test set is different"


def _has_same_corpus(baseline: Summary, now: Summary) -> bool:
    before, after = baseline.corpus, now.corpus
    return before.utterances == after.utterances and abs(before.hours - after.hours) < 1e-6


def _other_conditions(baseline: Summary, now: Summary) -> list[str]:
    """Names of conditions that are made in different ways, such as with other noises."""
    before = {one.name: one.description for one in baseline.conditions}
    return [one.name for one in now.conditions if before.get(one.name, one.description) != one.description]


def paired_changes(
    baseline: Iterable[Sample], now: Iterable[Sample], profile_name: str, *, seed: int, metric: Metric = "wer"
) -> dict[SystemCondition, PairedChange]:
    """The metric now and before by system and condition, over the utterances of both (same id, same reference and
    segments); over the segments of recordings that are too few, as in a summary.
    """
    normaliser = Normaliser(profile(profile_name))
    old, new = _by_system_and_condition(baseline), _by_system_and_condition(now)
    found: dict[SystemCondition, PairedChange] = {}
    for key in new.keys() & old.keys():
        shared = [
            (sample, old[key][id])
            for id, sample in new[key].items()
            if id in old[key] and _is_same_test(old[key][id], sample)
        ]
        after, before = (_scored([pair[side] for pair in shared], normaliser, metric) for side in (0, 1))
        difference = paired_difference(after, before, seed)
        if difference is not None:
            resampling = resample([sample.speaker for sample in after.samples], seed=seed)
            was, now_is = (
                rate(errors.tolist(), lengths.tolist(), resampling)
                for errors, lengths in (one.counts.of(metric) for one in (before, after))
            )
            unit = "utterance" if len(after.samples) == len(shared) else UNIT
            found[key] = PairedChange(was, now_is, difference, len(after.samples), unit)
    return found


def _is_same_test(before: Sample, now: Sample) -> bool:
    return before.reference == now.reference and before.segments == now.segments


def _scored(samples: Sequence[Sample], normaliser: Normaliser, metric: Metric) -> ScoredCondition:
    """The counts of samples, or of their segments where the samples are too few."""
    if samples and needs_segments(samples):
        return ScoredCondition(*counts_by_segment(samples, normaliser, metric), metric)
    return ScoredCondition(samples, count_errors(map(normaliser.pair, samples), metric), metric)


def _rules(used: ProfileUsed) -> tuple[str, int]:
    """What decides which words are equal; the rest of a profile describes it."""
    return used.name, used.version


def _by_system_and_condition(samples: Iterable[Sample]) -> dict[SystemCondition, dict[str, Sample]]:
    found: dict[SystemCondition, dict[str, Sample]] = {}
    for sample in samples:
        found.setdefault((sample.system, sample.condition), {})[sample.id] = sample
    return found


def _rate_changes(
    baseline: Summary,
    summary: Summary,
    old: SystemSummary,
    new: SystemSummary,
    paired: Mapping[SystemCondition, PairedChange],
) -> list[Change]:
    profile_name, metric = summary.profiles[0].name, summary.metric
    other = _other_conditions(baseline, summary)
    found = []
    for condition, by_profile in new.by_condition().items():
        old_by_profile = old.by_condition().get(condition, {})
        if profile_name not in by_profile or profile_name not in old_by_profile or condition in other:
            continue
        before, now = old_by_profile[profile_name], by_profile[profile_name]
        change = paired.get((new.facts.name, condition))
        of_both = "" if change is None else f", of the {counted(change.utterances, change.unit)} of both,"
        if change is None:
            if before.words != now.words:  # another test set
                continue
            rates = before.rate(metric), now.rate(metric)
            change = PairedChange(*rates, _independent_difference(*rates), summary.corpus.utterances)
        found.append(_rate_change(new.facts.name, f"{metric.upper()}, {condition}", of_both, change))
    return found


def _rate_change(system: str, figure: str, of_both: str, change: PairedChange) -> Change:
    before, now, difference = change.before.value, change.now.value, change.difference
    is_enough = change.utterances >= FEWEST_COMPARED
    significant = is_enough and (difference.low > 0 or difference.high < 0)
    kind = _kind(significant, better=difference.high < 0)
    said = _in_words(kind) if is_enough else f"fewer than {FEWEST_COMPARED} {change.unit}s, so not tested"
    interval = f"95 % interval of the change {100 * difference.low:+.2f} to {100 * difference.high:+.2f} points"
    sentence = f"{system}: {figure}{of_both} was {before:.2%}, is {now:.2%}; {interval}: {said}."
    return Change(system, figure, before, now, kind, sentence, significant)


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
    several = before.low < before.high and now.low < now.high  # one round says nothing of chance
    apart = several and (now.low > before.high or now.high < before.low)
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
    return "no significant change" if kind == "same" else kind
