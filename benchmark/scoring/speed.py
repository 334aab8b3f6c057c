"""The speed of a system from its timings and rounds of batches: latency percentiles, RTFx, and their spread."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from benchmark.results import Speed, Spread, StageSeconds, SystemRun, Throughput, Timing

STAGES = ("decode", "features", "forward", "text")


def speed_of(system: SystemRun, timings: Iterable[Timing], throughputs: Iterable[Throughput]) -> Speed | None:
    """The speed of one system; records of others are passed over. None where it was never timed.

    Percentiles and RTFx are those of the median round, so they lie between the least and the greatest, which the
    spreads hold. A stage is the mean over utterances of each one's median over rounds.
    """
    own = [timing for timing in timings if timing.system == system.facts.name]
    if not own:
        return None
    by_id: dict[str, list[Timing]] = defaultdict(list)
    by_round: dict[int, list[Timing]] = defaultdict(list)
    for timing in own:
        by_id[timing.id].append(timing)
        by_round[timing.round].append(timing)
    rounds = [_percentiles([timing.seconds.total for timing in one]) for _, one in sorted(by_round.items())]
    p50, p95, p99 = (spread_of(values) for values in zip(*rounds, strict=True))
    single_rtfx = spread_of([rtfx(one) for one in by_round.values()])
    batches = [one for one in throughputs if one.system == system.facts.name]
    joules = [one.joules / one.audio_seconds for one in batches if one.joules is not None and one.audio_seconds > 0]
    return Speed(
        load=system.load_seconds,
        first_call=system.first_call_seconds,
        p50=p50.median,
        p95=p95.median,
        p99=p99.median,
        rtfx=single_rtfx.median,
        stages=StageSeconds(*(_mean_stage(by_id.values(), stage) for stage in STAGES)),
        p50_spread=p50,
        p95_spread=p95,
        p99_spread=p99,
        rtfx_spread=single_rtfx,
        throughput=spread_of([one.audio_seconds / one.wall_seconds for one in batches]) if batches else None,
        batch_seconds=batches[0].batch_seconds if batches else None,
        joules_per_audio_second=float(np.median(joules)) if joules else None,
    )


def rtfx(timings: Iterable[Timing]) -> float:
    """RTFx of utterances one at a time: their seconds of audio over the seconds that they took."""
    timings = list(timings)
    return sum(one.audio_seconds for one in timings) / sum(one.seconds.total for one in timings)


def spread_of(values: Sequence[float]) -> Spread:
    """The median of the values, the least and the greatest.

    >>> spread_of([3.0, 1.0, 2.0])
    Spread(median=2.0, low=1.0, high=3.0)
    """
    return Spread(float(np.median(values)), float(min(values)), float(max(values)))


def _percentiles(seconds: Sequence[float]) -> tuple[float, float, float]:
    """p50, p95 and p99, interpolated."""
    p50, p95, p99 = (float(value) for value in np.percentile(seconds, [50, 95, 99]))
    return p50, p95, p99


def _mean_stage(by_id: Iterable[Sequence[Timing]], stage: str) -> float:
    return float(np.mean([np.median([getattr(one.seconds, stage) for one in rounds]) for rounds in by_id]))
