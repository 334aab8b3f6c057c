"""How fast a system is, from its timings and its rounds of batches: percentiles, RTFx, and how far rounds differ."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from benchmark.results import Speed, Spread, StageSeconds, SystemRun, Throughput, Timing

STAGES = ("decode", "features", "forward", "text")


def speed_of(told: SystemRun, timings: Iterable[Timing], throughputs: Iterable[Throughput]) -> Speed | None:
    """Of the system that `told` is of; lines of others are passed over. None where it was never timed.

    Percentiles and RTFx are of the median round, and lie between the least and the greatest, which the spreads tell.
    Stages are of each utterance's median over rounds.
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
    rounds = [percentiles([timing.seconds.total for timing in one]) for _, one in sorted(by_round.items())]
    p50, p95, p99 = (spread(values) for values in zip(*rounds, strict=True))
    speed = spread([rtfx(one) for one in by_round.values()])
    batches = [one for one in throughputs if one.system == name]
    joules = [one.joules / one.audio_seconds for one in batches if one.joules is not None and one.audio_seconds > 0]
    return Speed(
        load=told.load_seconds,
        first_call=told.first_call_seconds,
        p50=p50.median,
        p95=p95.median,
        p99=p99.median,
        rtfx=speed.median,
        stages=StageSeconds(*(_stage(by_id.values(), stage) for stage in STAGES)),
        p50_spread=p50,
        p95_spread=p95,
        p99_spread=p99,
        rtfx_spread=speed,
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
