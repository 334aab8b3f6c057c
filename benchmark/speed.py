"""How fast a system is, from its timings and its rounds of batches: percentiles, RTFx, and how far rounds differ."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from benchmark.results import Speed, Spread, StageSeconds, SystemRun, Throughput, Timing

STAGES = ("decode", "features", "forward", "text")


def speed_of(told: SystemRun, timings: Iterable[Timing], throughputs: Iterable[Throughput]) -> Speed | None:
    """Of the system that `told` is of; lines of others are passed over. None where it was never timed.

    Percentiles, RTFx and stages are of each utterance's median over rounds, so that one slow moment of the machine is
    no slow utterance; spreads are over rounds.
    """
    name = told.facts.name
    mine = [timing for timing in timings if timing.system == name]
    if not mine:
        return None
    by_id: dict[str, list[Timing]] = defaultdict(list)
    by_round: dict[int, list[Timing]] = defaultdict(list)
    for timing in mine:
        by_id[timing.id].append(timing)
        by_round[timing.round].append(timing)
    latencies = [float(np.median([timing.seconds.total for timing in rounds])) for rounds in by_id.values()]
    audio_seconds = sum(rounds[0].audio_seconds for rounds in by_id.values())
    p50, p95, p99 = percentiles(latencies)
    rounds = [percentiles([timing.seconds.total for timing in one]) for _, one in sorted(by_round.items())]
    batches = [one for one in throughputs if one.system == name]
    joules = [one.joules / one.audio_seconds for one in batches if one.joules is not None and one.audio_seconds > 0]
    return Speed(
        load=told.load_seconds,
        first_call=told.first_call_seconds,
        p50=p50,
        p95=p95,
        p99=p99,
        rtfx=audio_seconds / sum(latencies),
        stages=StageSeconds(*(_stage(by_id.values(), stage) for stage in STAGES)),
        p50_spread=spread([one[0] for one in rounds]),
        p95_spread=spread([one[1] for one in rounds]),
        p99_spread=spread([one[2] for one in rounds]),
        rtfx_spread=spread([rtfx(one) for one in by_round.values()]),
        throughput=spread([one.audio_seconds / one.wall_seconds for one in batches]) if batches else None,
        batch_seconds=batches[0].batch_seconds if batches else None,
        joules_per_audio_second=float(np.median(joules)) if joules else None,
    )


def rtfx(timings: Iterable[Timing]) -> float:
    """Seconds of audio done in one second, one utterance at a time."""
    timings = list(timings)
    return sum(one.audio_seconds for one in timings) / sum(one.seconds.total for one in timings)


def percentiles(seconds: Sequence[float]) -> tuple[float, float, float]:
    """p50, p95 and p99, interpolated."""
    p50, p95, p99 = (float(value) for value in np.percentile(seconds, [50, 95, 99]))
    return p50, p95, p99


def spread(values: Sequence[float]) -> Spread:
    """
    >>> spread([3.0, 1.0, 2.0])
    Spread(median=2.0, low=1.0, high=3.0)
    """
    return Spread(float(np.median(values)), float(min(values)), float(max(values)))


def _stage(by_id: Iterable[Sequence[Timing]], stage: str) -> float:
    """Mean over utterances of the median over rounds."""
    return float(np.mean([np.median([getattr(one.seconds, stage) for one in rounds]) for rounds in by_id]))
