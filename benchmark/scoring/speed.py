"""The speed of a system from its timings and rounds of batches: latency percentiles, RTFx, and what one call costs."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmark.results import (
    CallCost,
    Speed,
    Spread,
    StageSeconds,
    SystemRun,
    SystemSummary,
    Throughput,
    Timing,
)
from benchmark.results.summary import FEWEST_TIMED
from finetune.metrics import Rate
from preprocessing.batching import evenly_spaced

STAGES = ("decode", "features", "forward", "text")

LONGEST_FITTED_SECONDS = 30.0  # a window of Whisper's; a longer recording is several calls
FEWEST_FITTED = 10  # utterances
LEAST_RANGE_SECONDS, LEAST_RATIO = 1.0, 1.5  # between the 10th and the 90th percentile of durations
MOST_FITTED = 150  # utterances, evenly spaced by duration: the slopes between all pairs grow with the square
DRAWS = 500

Seconds = NDArray[np.float64]


def speed_of(
    system: SystemRun, timings: Iterable[Timing], throughputs: Iterable[Throughput], seed: int = 0
) -> Speed | None:
    """The speed of one system; records of others are passed over. None where it was never timed.

    Percentiles and RTFx are those of the median round, so they lie between the least and the greatest, which the
    spreads hold. A stage is the mean over utterances of each one's median over rounds. seed: of the bootstrap.
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
        p95_spread=p95 if len(by_id) >= FEWEST_TIMED else None,
        p99_spread=p99 if len(by_id) >= FEWEST_TIMED else None,
        rtfx_spread=single_rtfx,
        throughput=spread_of([one.audio_seconds / one.wall_seconds for one in batches]) if batches else None,
        batch_seconds=batches[0].batch_seconds if batches else None,
        joules_per_audio_second=float(np.median(joules)) if joules else None,
        call_cost=call_cost(
            [(one[0].audio_seconds, float(np.median([each.seconds.total for each in one]))) for one in by_id.values()],
            seed,
        ),
        timed=len(by_id),
    )


def call_cost(points: Sequence[tuple[float, float]], seed: int = 0) -> CallCost:
    """The fixed cost of a call and the cost of each second of audio, from (duration, latency) of utterances in seconds.

    A line by Theil and Sen: the slope is the median of the slopes between all pairs of utterances, so that up to 29 %
    of them may be slow by accident (Sen 1968). Neither cost is below 0: where one would be, it is 0 and the other is
    fitted alone. Intervals are percentiles of bootstrap draws of utterances. Only utterances of up to
    LONGEST_FITTED_SECONDS count; of too few or too similar ones there is a reason instead.

    >>> cost = call_cost([(seconds, 2.0 + 0.1 * seconds) for seconds in range(1, 13)])
    >>> round(cost.per_call.value, 6), round(cost.per_audio_second.value, 6)
    (2.0, 0.1)
    """
    kept = sorted(point for point in points if point[0] <= LONGEST_FITTED_SECONDS)
    shortest, longest = (float(kept[0][0]), float(kept[-1][0])) if kept else (0.0, 0.0)
    reason = None
    if len(kept) < FEWEST_FITTED:
        reason = f"only {len(kept)} of up to {LONGEST_FITTED_SECONDS:g} s were timed, and {FEWEST_FITTED} are needed"
    else:
        low, high = np.percentile([duration for duration, _ in kept], [10, 90])
        if high - low < LEAST_RANGE_SECONDS or high < LEAST_RATIO * low:
            reason = f"most timed utterances last {low:.1f} to {high:.1f} s, too similar to separate the two (see p50)"
    if reason is not None:
        return CallCost(
            per_call=None,
            per_audio_second=None,
            utterances=len(kept),
            shortest=shortest,
            longest=longest,
            reason=reason,
        )
    durations, latencies = np.array(evenly_spaced(kept, MOST_FITTED), dtype=np.float64).T
    n_fitted = len(durations)
    fixed, slope = _theil_sen(durations, latencies)
    generator = np.random.default_rng(seed)
    draws: list[tuple[float, float]] = []
    while len(draws) < DRAWS:
        rows = generator.integers(0, n_fitted, n_fitted)
        if np.ptp(durations[rows]) > 0:
            draws.append(_theil_sen(durations[rows], latencies[rows]))
    lows, highs = np.percentile(np.array(draws), [2.5, 97.5], axis=0)
    return CallCost(
        per_call=Rate(fixed, float(min(lows[0], fixed)), float(max(highs[0], fixed))),
        per_audio_second=Rate(slope, float(min(lows[1], slope)), float(max(highs[1], slope))),
        utterances=n_fitted,
        shortest=shortest,
        longest=longest,
    )


def call_cost_sentences(systems: Sequence[SystemSummary]) -> list[str]:
    """What a user of short utterances must know, in a sentence or two; none where no system was timed.

    "whisper base has a per-call overhead of 2.9 s, plus 0.05 s per second of audio; wav2vec2: 0.01 s and 0.02 s." Where
    nothing can be fitted, why.
    """
    costs = [(one.facts.name, one.speed.call_cost) for one in systems if one.speed and one.speed.call_cost]
    fitted = [
        (name, _as_text(cost.per_call), _as_text(cost.per_audio_second))
        for name, cost in costs
        if cost.per_call is not None and cost.per_audio_second is not None
    ]
    found = []
    if fitted:
        (name, fixed, slope), *others = fitted
        first = f"{name} has a per-call overhead of {fixed}, plus {slope} per second of audio"
        found.append("; ".join([first, *(f"{name}: {fixed} and {slope}" for name, fixed, slope in others)]) + ".")
    reasons: dict[str, list[str]] = {}
    for name, cost in costs:
        if cost.reason is not None:
            reasons.setdefault(cost.reason, []).append(name)
    for reason, names in reasons.items():
        whose = "" if len(names) == len(costs) else f" of {', '.join(names)}"
        found.append(f"The per-call overhead{whose} cannot be separated from the time per second of audio: {reason}.")
    return found


def _as_text(cost: Rate) -> str:
    """Two digits; of a cost that is not above 0, what it is at most.

    >>> _as_text(Rate(2.91, 2.8, 3.0)), _as_text(Rate(0.0031, 0.0, 0.004)), _as_text(Rate(0.0, 0.0, 0.0999))
    ('2.9 s', '3.1 ms', 'at most 0.1 s')
    """
    seconds = cost.value or cost.high
    text = f"{seconds:.2g} s" if seconds >= 0.01 or not seconds else f"{1000 * seconds:.2g} ms"
    return text if cost.value else f"at most {text}"


def _theil_sen(durations: Seconds, latencies: Seconds) -> tuple[float, float]:
    """Fixed cost and cost per second, neither below 0."""
    one, other = np.triu_indices(len(durations), 1)
    steps = durations[other] - durations[one]
    differ = steps != 0
    slope = float(np.median((latencies[other] - latencies[one])[differ] / steps[differ]))
    fixed = float(np.median(latencies - slope * durations))
    if slope < 0:
        return float(np.median(latencies)), 0.0
    if fixed < 0:
        return 0.0, float(np.median(latencies / durations))
    return fixed, slope


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
    """p50, p95 and p99, where each latency stands in the middle of its share of all: the greatest of 50 is p99."""
    p50, p95, p99 = (float(value) for value in np.percentile(seconds, [50, 95, 99], method="hazen"))
    return p50, p95, p99


def _mean_stage(by_id: Iterable[Sequence[Timing]], stage: str) -> float:
    return float(np.mean([np.median([getattr(one.seconds, stage) for one in rounds]) for rounds in by_id]))
