"""Every figure of a report by its name, drawn into the page by its templates and into figures/ as files.

accuracy.py: intervals, paired differences, slices, errors by utterance and over time. speed.py: latency, WER against
RTFx. robustness.py: WER against noise. words.py: confidence. style.py: what they share.
"""

from collections.abc import Mapping, Sequence
from functools import partial

from benchmark.report.fairness import best_system
from benchmark.report.figures import accuracy, robustness, speed, words
from benchmark.report.figures.style import NARROW, Plot, is_finite
from benchmark.report.utterances import ComparedUtterance, WerOverTime
from benchmark.report.verdict import differences_to_best
from benchmark.results import CLEAN, Metric, Spread, Summary, SystemSummary
from finetune.metrics import Rate


def plots(
    summary: Summary,
    utterances: Sequence[ComparedUtterance],
    latencies: Mapping[str, Sequence[speed.Point]],
    recordings: Sequence[WerOverTime] = (),
) -> dict[str, Plot]:
    """Every figure that these results may have content for, by name; a Plot draws nothing where there is none.

    latencies: (duration, latency) in seconds, by system.
    """
    profile, metric = summary.profiles[0].name, summary.metric
    names = [system.facts.name for system in summary.systems]
    clean = {name: _clean_rate(system, profile, metric) for name, system in zip(names, summary.systems, strict=True)}
    by_duration = [(name, latencies.get(name, ())) for name in names]
    costs = [one.speed.call_cost if one.speed else None for one in summary.systems]
    timed = [(index, one.facts.name, one.speed) for index, one in enumerate(summary.systems) if one.speed]
    found = {
        "forest": Plot(partial(accuracy.forest, list(clean.items()), profile, metric=metric)),
        "tradeoff": Plot(partial(speed.wer_against_rtfx, _operating_points(summary), metric=metric)),
        "latency": Plot(partial(speed.latency_against_duration, by_duration, costs=costs)),
        "percentiles": Plot(partial(speed.latency_percentiles, timed)),
    }
    best = best_system(summary)
    if best is not None:
        others = differences_to_best(summary)
        found["differences"] = Plot(partial(accuracy.differences_to_best, best, others, metric=metric))
    for number, recording in enumerate(recordings):
        draw = partial(accuracy.wer_over_time, recording, names, number, metric=metric)
        found[f"along-time-{number}"] = Plot(draw)
    found |= _error_distributions(names, utterances, metric) | _slices(summary) | _noises(summary, clean, profile)
    return found | _reliabilities(summary)


def sliced_properties(summary: Summary) -> list[str]:
    """The properties that the results are sliced by, such as "speaker", in their order."""
    return list(dict.fromkeys(one.by for system in summary.systems for one in system.slices))


def _clean_rate(system: SystemSummary, profile: str, metric: Metric) -> Rate | None:
    scores = system.scores.get(profile)
    return scores.rate(metric) if scores else None


def _operating_points(summary: Summary) -> list[speed.OperatingPoint]:
    profile = summary.profiles[0].name
    return [
        speed.OperatingPoint(
            index,
            system.facts.name,
            system.scores[profile].rate(summary.metric),
            system.speed.rtfx_spread or Spread(system.speed.rtfx, system.speed.rtfx, system.speed.rtfx),
        )
        for index, system in enumerate(summary.systems)
        if system.speed and profile in system.scores
    ]


def _error_distributions(
    names: Sequence[str], utterances: Sequence[ComparedUtterance], metric: Metric
) -> dict[str, Plot]:
    wers = [
        [
            one.by_system[name].alignment.counts.rate
            for one in utterances
            if one.condition == CLEAN and name in one.by_system
        ]
        for name in names
    ]
    highest = max((share for own in wers for share in accuracy.bin_shares(own)), default=0) or 1
    return {
        f"errors-{index}": Plot(
            partial(accuracy.error_distribution, index, name, own, highest, metric=metric), (NARROW,)
        )
        for index, (name, own) in enumerate(zip(names, wers, strict=True))
        if own
    }


def _slices(summary: Summary) -> dict[str, Plot]:
    systems = [(system.facts.name, system.slices) for system in summary.systems]
    return {
        f"slices-{number}": Plot(partial(accuracy.wer_by_slice, systems, by, metric=summary.metric), (NARROW,))
        for number, by in enumerate(sliced_properties(summary))
    }


def _reliabilities(summary: Summary) -> dict[str, Plot]:
    return {
        f"reliability-{index}": Plot(partial(words.reliability, index, one.facts.name, one.words), (NARROW,))
        for index, one in enumerate(summary.systems)
        if one.words is not None and one.words.reliability
    }


def _noises(summary: Summary, clean: Mapping[str, Rate | None], profile: str) -> dict[str, Plot]:
    """A panel for each kind of noise, with clean speech of the same utterances."""
    kinds = robustness.noise_kinds(summary.conditions)
    systems = [
        (
            system.facts.name,
            clean[system.facts.name]
            if system.clean_of_conditions is None
            else system.clean_of_conditions.rate(summary.metric),
            {
                name: scores[profile].rate(summary.metric)
                for name, scores in system.conditions.items()
                if profile in scores
            },
        )
        for system in summary.systems
    ]
    levels = {name for kind in kinds for _, name in kind.levels}
    tops = [
        rate.high
        for _, own, by_condition in systems
        for rate in [own, *(rate for name, rate in by_condition.items() if name in levels)]
        if rate is not None and is_finite(rate)
    ]
    highest = max(tops, default=0.0) or 1.0
    return {
        f"snr-{number}": Plot(
            partial(robustness.wer_against_snr, kind, systems, highest, number, metric=summary.metric), (NARROW,)
        )
        for number, kind in enumerate(kinds)
        if any(name in by_condition for _, _, by_condition in systems for _, name in kind.levels)
    }
