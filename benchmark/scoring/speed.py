"""Speed of one warm system from its timings: percentiles over all rounds, and how far the rounds lie apart."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import fields

import numpy as np

from benchmark.results import Speed, Spread, StageSeconds, SystemRun, Throughput, Timing


def speed(system_run: SystemRun, timings: Sequence[Timing], throughputs: Sequence[Throughput]) -> Speed | None:
    """None where the system was not timed. Records of other systems are passed over.

    throughput: of the batched rounds where there are any, of the largest batches; else of rounds without batches.
    """
    name = system_run.facts.name
    own = [timing for timing in timings if timing.system == name]
    if not own:
        return None
    rounds: dict[int, list[Timing]] = defaultdict(list)
    for timing in own:
        rounds[timing.round].append(timing)
    p50, p95, p99 = (_percentile(own, percent) for percent in (50, 95, 99))
    batches = [one for one in throughputs if one.system == name and one.wall_seconds > 0]
    largest = max((one.batch_seconds or 0.0 for one in batches), default=0.0)
    batches = [one for one in batches if (one.batch_seconds or 0.0) == largest]
    counted = [one for one in batches if one.joules is not None]
    audio = sum(one.audio_seconds for one in counted)
    return Speed(
        load=system_run.load_seconds,
        first_call=system_run.first_call_seconds,
        p50=p50,
        p95=p95,
        p99=p99,
        rtfx=_rtfx(own),
        stages=StageSeconds(
            **{
                stage.name: float(np.mean([getattr(timing.seconds, stage.name) for timing in own]))
                for stage in fields(StageSeconds)
            }
        ),
        p50_spread=_over_rounds(rounds, lambda one: _percentile(one, 50)),
        p95_spread=_over_rounds(rounds, lambda one: _percentile(one, 95)),
        p99_spread=_over_rounds(rounds, lambda one: _percentile(one, 99)),
        rtfx_spread=_over_rounds(rounds, _rtfx),
        throughput=_spread([one.audio_seconds / one.wall_seconds for one in batches]) if batches else None,
        batch_seconds=batches[0].batch_seconds if batches else None,
        joules_per_audio_second=sum(one.joules or 0.0 for one in counted) / audio if audio else None,
    )


def _over_rounds(rounds: dict[int, list[Timing]], figure: Callable[[list[Timing]], float]) -> Spread:
    return _spread([figure(one) for one in rounds.values()])


def _spread(figures: Sequence[float]) -> Spread:
    return Spread(float(np.median(figures)), min(figures), max(figures))


def _percentile(timings: Sequence[Timing], percent: float) -> float:
    return float(np.percentile([timing.seconds.total for timing in timings], percent))


def _rtfx(timings: Sequence[Timing]) -> float:
    spent = sum(timing.seconds.total for timing in timings)
    return sum(timing.audio_seconds for timing in timings) / spent if spent else 0.0
