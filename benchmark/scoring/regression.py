"""A result beside an earlier one: which figures changed, and whether chance explains it.

Systems are matched by name. WER needs the same test set (as many reference words under the same profile, same version);
where both runs' samples are at hand, `paired_changes` sees smaller changes than two intervals can.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

from benchmark.results import Change, Sample, Scores, Speed, Spread, Summary, SystemSummary
from benchmark.scoring.comparisons import CLEAN, Heard, paired_difference
from benchmark.scoring.counts import Normaliser, count
from finetune.metrics import Rate
from preprocessing.text import profile

LEAST_SPEED_CHANGE = 0.05  # less may be the machine's mood, whatever the rounds say
LEAST_MEMORY_CHANGE = 0.10


def changes(before: Summary, now: Summary, *, paired: Mapping[tuple[str, str], Rate] | None = None) -> list[Change]:
    """Every figure that both summaries have, for every system that both have.

    paired: now minus before by system and condition, from `paired_changes`; where it is missing, the interval of a
    difference of two independent rates is made of both rates' intervals (Zou & Donner 2008).
    `kind` is "same" wherever a change is not significant: WER where the 95 % interval of the difference holds 0, speed
    where rounds overlap or it is within 5 %, memory within 10 %.
    """
    earlier = {one.facts.name: one for one in before.systems if one.failure is None}
    same_profile = bool(before.profiles and now.profiles) and before.profiles[0] == now.profiles[0]
    found: list[Change] = []
    for one in now.systems:
        old = earlier.get(one.facts.name)
        if old is None or one.failure is not None:
            continue
        if same_profile:
            found += _rates(old, one, now.profiles[0].name, paired or {})
        if old.speed is not None and one.speed is not None:
            found += _speeds(one.facts.name, old.speed, one.speed)
        if old.peak_memory_bytes and one.peak_memory_bytes:
            found.append(_memory(one.facts.name, old.peak_memory_bytes, one.peak_memory_bytes))
    return found


def paired_changes(
    before: Iterable[Sample], now: Iterable[Sample], profile_name: str, *, seed: int
) -> dict[tuple[str, str], Rate]:
    """WER now minus WER before by system and condition, over the utterances of both (same id, same reference)."""
    normaliser = Normaliser(profile(profile_name))
    old, new = _grouped(before), _grouped(now)
    found: dict[tuple[str, str], Rate] = {}
    for key in new.keys() & old.keys():
        shared = [
            (sample, old[key][id])
            for id, sample in new[key].items()
            if id in old[key] and old[key][id].reference == sample.reference
        ]
        first, second = ([pair[side] for pair in shared] for side in (0, 1))
        one = Heard(first, count(map(normaliser.pair, first)))
        difference = paired_difference(one, Heard(second, count(map(normaliser.pair, second))), seed)
        if difference is not None:
            found[key] = difference
    return found


def _grouped(samples: Iterable[Sample]) -> dict[tuple[str, str], dict[str, Sample]]:
    found: dict[tuple[str, str], dict[str, Sample]] = {}
    for sample in samples:
        found.setdefault((sample.system, sample.condition), {})[sample.id] = sample
    return found


def _rates(
    old: SystemSummary, new: SystemSummary, profile_name: str, paired: Mapping[tuple[str, str], Rate]
) -> list[Change]:
    found = []
    for condition, now in {CLEAN: new.scores, **new.conditions}.items():
        then = old.scores if condition == CLEAN else old.conditions.get(condition, {})
        if profile_name not in now or profile_name not in then:
            continue
        one, two = then[profile_name], now[profile_name]
        given = paired.get((new.facts.name, condition))
        if given is None and one.words != two.words:  # another test set
            continue
        found.append(_rate(new.facts.name, condition, one, two, given))
    return found


def _rate(system: str, condition: str, then: Scores, now: Scores, paired: Rate | None) -> Change:
    apart = paired or _independent(then.wer, now.wer)
    significant = apart.low > 0 or apart.high < 0
    kind: Literal["better", "worse", "same"] = "same" if not significant else "worse" if apart.low > 0 else "better"
    figure = f"WER, {condition}"
    interval = f"95 % interval of the change {100 * apart.low:+.2f} to {100 * apart.high:+.2f} points"
    told = f"{system}: {figure} was {then.wer.value:.2%}, is {now.wer.value:.2%}; {interval}: {_told(kind)}."
    return Change(system, figure, then.wer.value, now.wer.value, kind, told, significant)


def _independent(then: Rate, now: Rate) -> Rate:
    """Now minus then, from the intervals of two independent rates (Zou & Donner 2008, MOVER)."""
    value = now.value - then.value
    below = ((now.value - now.low) ** 2 + (then.high - then.value) ** 2) ** 0.5
    above = ((now.high - now.value) ** 2 + (then.value - then.low) ** 2) ** 0.5
    return Rate(value, value - below, value + above)


def _speeds(system: str, old: Speed, new: Speed) -> list[Change]:
    """Latencies (less is better) and throughput (more is better), each with its spread over rounds."""
    figures = [
        ("latency p50", old.p50_spread, new.p50_spread, False),
        ("latency p95", old.p95_spread, new.p95_spread, False),
    ]
    if old.batch_seconds == new.batch_seconds:
        figures.append(("throughput", old.throughput, new.throughput, True))
    return [
        _speed(system, figure, then, now, more_is_better)
        for figure, then, now, more_is_better in figures
        if then is not None and now is not None
    ]


def _speed(system: str, figure: str, then: Spread, now: Spread, more_is_better: bool) -> Change:
    apart = now.low > then.high or now.high < then.low
    significant = apart and abs(now.median - then.median) > LEAST_SPEED_CHANGE * then.median
    kind = _kind(significant, (now.median > then.median) == more_is_better)
    written = "{:.1f} x real time".format if more_is_better else lambda seconds: f"{1000 * seconds:.1f} ms"
    rounds = f"rounds {written(then.low)} to {written(then.high)} before, {written(now.low)} to {written(now.high)} now"
    told = f"{system}: {figure} was {written(then.median)}, is {written(now.median)}; {rounds}: {_told(kind)}."
    return Change(system, figure, then.median, now.median, kind, told, significant)


def _memory(system: str, then: int, now: int) -> Change:
    significant = abs(now - then) > LEAST_MEMORY_CHANGE * then
    kind = _kind(significant, now < then)
    told = f"{system}: peak memory was {then / 1e6:.0f} MB, is {now / 1e6:.0f} MB: {_told(kind)}."
    return Change(system, "peak memory", float(then), float(now), kind, told, significant)


def _kind(significant: bool, better: bool) -> Literal["better", "worse", "same"]:
    return "same" if not significant else "better" if better else "worse"


def _told(kind: str) -> str:
    return "no change beyond chance" if kind == "same" else kind
