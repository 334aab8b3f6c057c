"""Every figure of a report by its name: drawn into the page by its templates, and into figures/ as files.

intervals: rates, differences, slices   errors: distribution   tradeoff: WER and speed   robustness: noise
latency: percentiles, against duration   along_time: long recordings   style: what they share
"""

from collections.abc import Mapping, Sequence

from benchmark.report.figures import accuracy as along_time
from benchmark.report.figures import accuracy as errors
from benchmark.report.figures import accuracy as intervals
from benchmark.report.figures import robustness
from benchmark.report.figures import speed as latency
from benchmark.report.figures import speed as tradeoff
from benchmark.report.figures.style import NARROW, Plot, is_finite
from benchmark.report.utterances import CLEAN, Recording, Utterance
from benchmark.report.verdict import best_system, to_best
from benchmark.results import Spread, Summary, SystemSummary
from finetune.metrics import Rate


def plots(
    summary: Summary,
    utterances: Sequence[Utterance],
    latencies: Mapping[str, Sequence[latency.Point]],
    recordings: Sequence[Recording] = (),
) -> dict[str, Plot]:
    """The figures that the results have content for. `latencies`: (duration, latency) in seconds, by system."""
    profile = summary.profiles[0].name
    names = [system.facts.name for system in summary.systems]
    clean = {name: _clean_wer(system, profile) for name, system in zip(names, summary.systems, strict=True)}
    wers = [
        [row.outcomes[name].alignment.wer for row in utterances if row.condition == CLEAN and name in row.outcomes]
        for name in names
    ]
    found = {
        "forest": Plot(lambda width, ink: intervals.forest(list(clean.items()), profile, width, ink)),
        "tradeoff": Plot(lambda width, ink: tradeoff.tradeoff(_places(summary), width, ink)),
        "latency": Plot(
            lambda width, ink: latency.against_duration([(n, latencies.get(n, ())) for n in names], width, ink)
        ),
        "percentiles": Plot(
            lambda width, ink: latency.percentiles(
                [(at, n, s.speed) for at, (n, s) in enumerate(zip(names, summary.systems, strict=True)) if s.speed],
                width,
                ink,
            )
        ),
    }
    best = best_system(summary)
    if best is not None:
        found["differences"] = Plot(lambda width, ink: intervals.differences(best, to_best(summary), width, ink))
    tallest = max((share for own in wers for share in errors.shares(own)), default=0) or 1
    for index, (name, own) in enumerate(zip(names, wers, strict=True)):
        if own:
            found[f"errors-{index}"] = Plot(
                lambda _, ink, index=index, name=name, own=own: errors.error_distribution(  # type: ignore[misc]
                    index, name, own, tallest, ink
                ),
                (NARROW,),
            )
    for number, recording in enumerate(recordings):
        found[f"along-time-{number}"] = Plot(
            lambda width, ink, number=number, recording=recording: along_time.along_time(  # type: ignore[misc]
                recording, names, number, width, ink
            )
        )
    return found | _slices(summary) | _noises(summary, clean, profile)


def properties(summary: Summary) -> list[str]:
    """What the results are sliced by, in their order."""
    return list(dict.fromkeys(one.by for system in summary.systems for one in system.slices))


def _clean_wer(system: SystemSummary, profile: str) -> Rate | None:
    scores = system.scores.get(profile)
    return scores.wer if scores else None


def _places(summary: Summary) -> list[tradeoff.Place]:
    profile = summary.profiles[0].name
    return [
        tradeoff.Place(
            index,
            system.facts.name,
            system.scores[profile].wer,
            system.speed.rtfx_spread or Spread(system.speed.rtfx, system.speed.rtfx, system.speed.rtfx),
        )
        for index, system in enumerate(summary.systems)
        if system.speed and profile in system.scores
    ]


def _slices(summary: Summary) -> dict[str, Plot]:
    systems = [(system.facts.name, system.slices) for system in summary.systems]
    return {
        f"slices-{number}": Plot(
            lambda width, ink, by=by: intervals.slices(systems, by, width, ink),  # type: ignore[misc]
            (NARROW,),
        )
        for number, by in enumerate(properties(summary))
    }


def _noises(summary: Summary, clean: Mapping[str, Rate | None], profile: str) -> dict[str, Plot]:
    kinds = robustness.noises(summary.conditions)
    systems = [
        (
            system.facts.name,
            clean[system.facts.name],
            {name: scores[profile].wer for name, scores in system.conditions.items() if profile in scores},
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
            lambda width, ink, kind=kind, number=number: robustness.against_snr(  # type: ignore[misc]
                kind, systems, highest, number, width, ink
            ),
            (NARROW,),
        )
        for number, kind in enumerate(kinds)
        if any(name in by_condition for _, _, by_condition in systems for _, name in kind.levels)
    }
