"""A result beside an earlier one, its baseline: which figures changed, and whether chance explains it.

Systems are matched by name. WER, or the summary's metric, needs the same test set (as many reference words under the
same profile and version); where the samples of both runs are available, `paired_changes` compares the utterances of
both, and detects smaller changes than two intervals can. The tests of all rates are corrected together. Speed needs the
same machine, threads and test set, memory the same device and test set, throughput and memory the same batch size, a
condition the same description; `incomparable` says what is not compared, and `untested_rates` which systems' rates on
clean speech are not tested.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.special import stdtr, stdtrit

from benchmark.results import (
    CLEAN,
    Change,
    CorpusFacts,
    Metric,
    Sample,
    Speed,
    Spread,
    Summary,
    SystemSummary,
)
from benchmark.scoring.comparisons import FEWEST_COMPARED, ScoredCondition, paired_test
from benchmark.scoring.counts import Normaliser, count_errors
from benchmark.scoring.segments import UNIT, counts_by_segment, needs_segments
from finetune.metrics import LEVEL, Rate, holm, in_points, rate, resample
from preprocessing.errors import counted
from preprocessing.text import profile

MINIMUM_SPEED_CHANGE = 0.05  # a smaller one may be the machine's, whatever the rounds say
MINIMUM_MEMORY_CHANGE = 0.10

MACHINE = ("processor", "cores", "threads", "device")  # of Summary.machine: what speed depends on, versions left aside

Kind = Literal["better", "worse", "same"]
SystemCondition = tuple[str, str]


@dataclass(frozen=True)
class PairedChange:
    """WER, or another metric, over the utterances that both results have, `utterances` of them; difference: now minus
    before. p_value: None of too few. unit: what is paired, utterances or the segments of long recordings.
    """

    before: Rate
    now: Rate
    difference: Rate
    utterances: int
    p_value: float | None = None
    unit: str = "utterance"


def changes(
    baseline: Summary, now: Summary, *, paired: Mapping[SystemCondition, PairedChange] | None = None
) -> list[Change]:
    """A change for every figure that both summaries have, of every system that both have.

    paired: by system and condition, from `paired_changes`; where it is missing, the interval of the difference of two
    independent rates is made of the intervals of both (Zou & Donner 2008).
    `kind` is "same" wherever a change is not significant: WER where its p-value, corrected for all rates that are
    tested (Holm), is 0.05 or more or utterances are fewer than FEWEST_COMPARED, speed where rounds overlap, there is
    but one, or it is within 5 %, memory within 10 %.
    """
    before = _measured(baseline)
    found: list[Change] = []
    rates = {} if _why_no_rates(baseline, now) else _rate_changes(baseline, now, paired or {})
    for name, system in _measured(now).items():
        if name not in before:
            continue
        old = before[name]
        found += rates.get(name, [])
        if old.speed is not None and system.speed is not None and not _why_no_speed(baseline, now):
            found += _speed_changes(name, old.speed, system.speed)
        is_comparable = not _why_no_memory(baseline, now) and _batch_size(old) == _batch_size(system)
        if old.peak_memory_bytes and system.peak_memory_bytes and is_comparable:
            found.append(_memory_change(name, old.peak_memory_bytes, system.peak_memory_bytes))
    return found


def incomparable(baseline: Summary, now: Summary) -> list[str]:
    """A sentence for each kind of figure that both summaries have and `changes` does not compare."""
    found = []
    reason = _why_no_rates(baseline, now)
    if reason:
        found.append(f"Error rates are not compared with the earlier result: {reason}.")
    reason = _why_no_speed(baseline, now)
    if reason and any(system.speed is not None for system in baseline.systems):
        found.append(f"Speed is not compared with the earlier result: {reason}.")
    reason = _why_no_memory(baseline, now)
    if reason:
        found.append(f"Memory is not compared with the earlier result: {reason}.")
    found += [] if reason else _other_batch_sizes(baseline, now)
    other = _other_conditions(baseline, now)
    if other:
        found.append(
            f"Not compared with the earlier result, which defined these conditions differently: {', '.join(other)}."
        )
    return found


def untested_rates(baseline: Summary, now: Summary, found: Sequence[Change]) -> list[str]:
    """A sentence for each system that both summaries have and whose error rate on clean speech is not tested.

    found: what `changes` returned.
    """
    before = {one.facts.name for one in baseline.systems if one.failure is None and one.scores}
    tested = {one.system for one in found if one.figure == _figure(now, CLEAN) and one.tested}
    missing = [one.facts.name for one in now.systems if one.scores and one.facts.name in before - tested]
    reason = (
        _why_no_rates(baseline, now) or f"too few utterances have the same reference in both, under {FEWEST_COMPARED}"
    )
    return [f"{name}: its {now.metric.upper()} is not compared with the earlier result: {reason}" for name in missing]


def _figure(summary: Summary, condition: str) -> str:
    return f"{summary.metric.upper()}, {condition}"


def _why_no_rates(baseline: Summary, now: Summary) -> str:
    """Why no error rate compares; "" where those of the same utterances do."""
    if not baseline.profiles or not now.profiles:
        return "one of them has no text profile"
    was, is_now = (
        f"{one.metric.upper()} under {one.profiles[0].name}, version {one.profiles[0].version}"
        for one in (baseline, now)
    )
    return "" if was == is_now else f"it had the {was}, and this one has the {is_now}"


def _why_no_speed(baseline: Summary, now: Summary) -> str:
    return _other_machine(baseline, now, MACHINE) or _other_corpus(baseline, now)


def _why_no_memory(baseline: Summary, now: Summary) -> str:
    return _other_machine(baseline, now, ("device",)) or _other_corpus(baseline, now)


def _other_batch_sizes(baseline: Summary, now: Summary) -> list[str]:
    """A sentence for each system whose batches had another size, on which throughput and memory depend."""
    before = _measured(baseline)
    return [
        f"Throughput and memory of {name} are not compared with the earlier result: its batch size was {was} and is "
        f"now {is_now}; --batch_seconds sets it."
        for name, system in _measured(now).items()
        if name in before and (was := _batch_size(before[name])) != (is_now := _batch_size(system))
    ]


def _measured(summary: Summary) -> dict[str, SystemSummary]:
    """The systems that did not fail as a whole, by name."""
    return {system.facts.name: system for system in summary.systems if system.failure is None}


def _batch_size(system: SystemSummary) -> str:
    return (system.speed.batch_size if system.speed else "") or "not measured"


def _other_machine(baseline: Summary, now: Summary, topics: Sequence[str]) -> str:
    """The first of the topics in which the machines differ, as a reason; "" where none does."""
    for topic in topics:
        before, after = (_of_machine(one.machine, topic) for one in (baseline, now))
        if before != after:
            several = topic in ("cores", "threads")
            return f"its {topic} {'were' if several else 'was'} {before} and {'are' if several else 'is'} now {after}"
    return ""


def _of_machine(machine: Mapping[str, str], topic: str) -> str:
    """What a result says of its machine; the threads of an earlier version's are behind torch's version."""
    threads = re.search(r"(\d+) threads", machine.get("torch", ""))
    earlier = threads[1] if threads and topic == "threads" else "none"
    return machine.get(topic, earlier)


def _other_corpus(baseline: Summary, now: Summary) -> str:
    before, after = baseline.corpus, now.corpus
    is_same = before.utterances == after.utterances and abs(before.hours - after.hours) < 1e-6
    return "" if is_same else "its test set is different"


def _other_conditions(baseline: Summary, now: Summary) -> list[str]:
    """Names of conditions that are made in different ways, such as with other noises."""
    before = {one.name: one.description for one in baseline.conditions}
    return [one.name for one in now.conditions if before.get(one.name, one.description) != one.description]


def paired_changes(
    baseline: Iterable[Sample], now: Iterable[Sample], profile_name: str, *, seed: int, metric: Metric = "wer"
) -> dict[SystemCondition, PairedChange]:
    """The metric now and before by system and condition, over the utterances of both (same id, same normalised
    reference and segments); over the segments of recordings that are too few, as in a summary.
    """
    normaliser = Normaliser(profile(profile_name))
    old, new = _by_system_and_condition(baseline), _by_system_and_condition(now)
    found: dict[SystemCondition, PairedChange] = {}
    for key in new.keys() & old.keys():
        shared = [
            (sample, old[key][id])
            for id, sample in new[key].items()
            if id in old[key] and _is_same_test(old[key][id], sample, normaliser)
        ]
        after, before = (_scored([pair[side] for pair in shared], normaliser, metric) for side in (0, 1))
        tested = paired_test(after, before, seed)
        if tested is not None:
            difference, p_value = tested
            resampling = resample([sample.speaker for sample in after.samples], seed=seed)
            was, now_is = (
                rate(errors.tolist(), lengths.tolist(), resampling)
                for errors, lengths in (one.counts.of(metric) for one in (before, after))
            )
            unit = "utterance" if len(after.samples) == len(shared) else UNIT
            found[key] = PairedChange(
                before=was, now=now_is, difference=difference, utterances=len(after.samples), p_value=p_value, unit=unit
            )
    return found


def _is_same_test(before: Sample, now: Sample, normaliser: Normaliser) -> bool:
    return normaliser.reference(before) == normaliser.reference(now) and before.segments == now.segments


def _scored(samples: Sequence[Sample], normaliser: Normaliser, metric: Metric) -> ScoredCondition:
    """The counts of samples, or of their segments where the samples are too few."""
    if samples and needs_segments(samples):
        return ScoredCondition(*counts_by_segment(samples, normaliser, metric), metric)
    return ScoredCondition(samples, count_errors(map(normaliser.pair, samples), metric), metric)


def _by_system_and_condition(samples: Iterable[Sample]) -> dict[SystemCondition, dict[str, Sample]]:
    found: dict[SystemCondition, dict[str, Sample]] = {}
    for sample in samples:
        found.setdefault((sample.system, sample.condition), {})[sample.id] = sample
    return found


def _rate_changes(
    baseline: Summary, summary: Summary, paired: Mapping[SystemCondition, PairedChange]
) -> dict[str, list[Change]]:
    """Changes of the metric by system, of every condition that both summaries have; all tests corrected together."""
    before = _measured(baseline)
    found: dict[SystemCondition, PairedChange] = {}
    for name, system in _measured(summary).items():
        if name in before:
            found |= _compared_rates(baseline, summary, before[name], system, paired)
    tested = [key for key, change in found.items() if change.p_value is not None]
    corrected = dict(zip(tested, holm([found[key].p_value or 0.0 for key in tested]), strict=True))
    by_system: dict[str, list[Change]] = {}
    for (name, condition), change in found.items():
        of_both = f", of the {counted(change.utterances, change.unit)} of both," if (name, condition) in paired else ""
        adjusted_p = corrected.get((name, condition))
        one = _rate_change(name, _figure(summary, condition), of_both, change, adjusted_p, len(tested))
        by_system.setdefault(name, []).append(one)
    return by_system


def _compared_rates(
    baseline: Summary,
    summary: Summary,
    old: SystemSummary,
    new: SystemSummary,
    paired: Mapping[SystemCondition, PairedChange],
) -> dict[SystemCondition, PairedChange]:
    """The rates of one system under every condition that both summaries have."""
    profile_name, metric = summary.profiles[0].name, summary.metric
    other = _other_conditions(baseline, summary)
    found = {}
    for condition, by_profile in new.by_condition().items():
        old_by_profile = old.by_condition().get(condition, {})
        if profile_name not in by_profile or profile_name not in old_by_profile or condition in other:
            continue
        before, now = old_by_profile[profile_name], by_profile[profile_name]
        change = paired.get((new.facts.name, condition))
        if change is None:
            if before.words != now.words:  # another test set
                continue
            change = _independent_change(before.rate(metric), now.rate(metric), summary.corpus)
        found[new.facts.name, condition] = change
    return found


def _rate_change(
    system: str, figure: str, of_both: str, change: PairedChange, adjusted_p: float | None, n_tested: int
) -> Change:
    """adjusted_p: corrected for the `n_tested` rates that are tested; None where this one is not."""
    before, now, difference = change.before.value, change.now.value, change.difference
    significant = adjusted_p is not None and adjusted_p < 1.0 - LEVEL
    kind = _kind(significant, better=difference.value < 0)
    said = _in_words(kind)
    if adjusted_p is None:
        said = f"fewer than {FEWEST_COMPARED} {change.unit}s, so not tested"
    elif not significant and not difference.low <= 0 <= difference.high:
        said += f" after correction for {n_tested} comparisons"
    low, high = (in_points(end, signed=True) for end in (difference.low, difference.high))
    interval = f"95 % interval of the change {low} to {high} points"
    sentence = f"{system}: {figure}{of_both} was {before:.2%}, is {now:.2%}; {interval}: {said}."
    return Change(
        system=system,
        figure=figure,
        before=before,
        now=now,
        kind=kind,
        sentence=sentence,
        significant=significant,
        tested=adjusted_p is not None,
    )


def _independent_change(before: Rate, now: Rate, corpus: CorpusFacts) -> PairedChange:
    """Two rates of the same test set whose samples are not at hand, as if they were independent; the p-value is that of
    Student's distribution with the interval's end towards 0.
    """
    difference = _independent_difference(before, now)
    compared = corpus.utterances if corpus.compared is None else corpus.compared
    margin = difference.value - difference.low if difference.value > 0 else difference.high - difference.value
    p_value = None
    if compared >= FEWEST_COMPARED:
        freedom = max((corpus.speakers if corpus.resampling_unit == "speaker" else compared) - 1, 1)
        p_value = float(not difference.value)
        if margin:
            quantile = float(stdtrit(freedom, (1.0 + LEVEL) / 2.0))
            p_value = float(2.0 * stdtr(freedom, -quantile * abs(difference.value) / margin))
    unit = UNIT if corpus.resampling_unit == UNIT else "utterance"
    return PairedChange(before=before, now=now, difference=difference, utterances=compared, p_value=p_value, unit=unit)


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
        (lambda rtfx: f"{rtfx:.1f} x real time" if rtfx >= 0.9995 else f"{rtfx:#.3g} x real time")
        if more_is_better
        else lambda seconds: f"{1000 * seconds:.1f} ms"
    )
    rounds = f"rounds {shown(before.low)} to {shown(before.high)} before, {shown(now.low)} to {shown(now.high)} now"
    sentence = f"{system}: {figure} was {shown(before.median)}, is {shown(now.median)}; {rounds}: {_in_words(kind)}."
    return Change(
        system=system,
        figure=figure,
        before=before.median,
        now=now.median,
        kind=kind,
        sentence=sentence,
        significant=significant,
    )


def _memory_change(system: str, before: int, now: int) -> Change:
    significant = abs(now - before) > MINIMUM_MEMORY_CHANGE * before
    kind = _kind(significant, better=now < before)
    sentence = f"{system}: peak memory was {before / 1e6:.0f} MB, is {now / 1e6:.0f} MB: {_in_words(kind)}."
    return Change(
        system=system,
        figure="peak memory",
        before=float(before),
        now=float(now),
        kind=kind,
        sentence=sentence,
        significant=significant,
    )


def _kind(significant: bool, *, better: bool) -> Kind:
    return "same" if not significant else "better" if better else "worse"


def _in_words(kind: Kind) -> str:
    return "no significant change" if kind == "same" else kind
