"""Speed from timings and rounds, against numbers worked out by hand; what a call costs, against scipy."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import theilslopes

from benchmark.results import Spread, StageSeconds, SystemFacts, SystemRun, SystemSummary, Throughput, Timing
from benchmark.scoring.speed import call_cost, call_cost_sentences, speed_of

TOLD = SystemRun(SystemFacts("a", "f", "c", 0), load_seconds=3.0, first_call_seconds=2.0)


def timing(id: str, round: int, forward: float, system: str = "a") -> Timing:
    return Timing(system, id, round, 10.0, StageSeconds(0.1, 0.2, forward, 0.0))


def throughput(round: int, wall_seconds: float, joules: float | None = None) -> Throughput:
    return Throughput("a", round, 40.0, 100.0, wall_seconds, StageSeconds(1.0, 1.0, 1.0, 1.0), joules)


def test_one_slow_moment_is_no_slow_utterance() -> None:
    timings = [timing("u", 0, 0.7), timing("u", 1, 99.7), timing("u", 2, 0.9)]
    timings += [timing("v", round, 1.7) for round in range(3)]
    speed = speed_of(TOLD, [*timings, timing("u", 0, 50.0, "b")], [])
    assert speed is not None
    assert (speed.load, speed.first_call) == (3.0, 2.0)
    assert speed.p50 == pytest.approx((1.2 + 2.0) / 2)
    assert speed.p99 == pytest.approx(2.0, abs=0.01)
    assert speed.rtfx == pytest.approx(20.0 / (1.2 + 2.0))
    assert speed.stages.forward == pytest.approx((0.9 + 1.7) / 2)
    assert speed.p50_spread is not None and speed.rtfx_spread is not None
    assert (speed.p50_spread.low, speed.p50_spread.high) == pytest.approx((1.5, 51.0))
    assert speed.rtfx_spread.high == pytest.approx(20.0 / 3.0)
    assert speed.throughput is None and speed.batch_seconds is None


@settings(max_examples=50)
@given(st.lists(st.lists(st.floats(0.01, 100.0), min_size=10, max_size=10), min_size=1, max_size=4))
def test_what_is_shown_lies_between_the_rounds(rounds: list[list[float]]) -> None:
    """Whichever utterance was slow in which of them."""
    timings = [timing(f"u{at}", number, forward) for number, one in enumerate(rounds) for at, forward in enumerate(one)]
    speed = speed_of(TOLD, timings, [])
    assert speed is not None
    told = ((speed.p50, speed.p50_spread), (speed.p99, speed.p99_spread), (speed.rtfx, speed.rtfx_spread))
    for value, between in told:
        assert between is not None
        assert between.low <= value <= between.high


def test_throughput_is_of_the_wall_clock() -> None:
    measured = [throughput(0, 2.0, 50.0), throughput(1, 4.0, 70.0), throughput(2, 5.0)]
    other = dataclasses.replace(throughput(0, 0.1, 900.0), system="b")
    speed = speed_of(TOLD, [timing("u", 0, 1.0)], [other, *measured])
    assert speed is not None
    assert speed.throughput == Spread(25.0, 20.0, 50.0)
    assert speed.batch_seconds == 40.0
    assert speed.joules_per_audio_second == pytest.approx(0.6)
    warm = speed_of(TOLD, [timing("u", 0, 1.0)], [throughput(n, 2.0, joules) for n, joules in enumerate((50, 60, 400))])
    assert warm is not None and warm.joules_per_audio_second == pytest.approx(0.6)


def test_percentiles_are_of_the_utterances_of_a_round() -> None:
    """0.01 to 1.01 s in steps of 0.01: the n-th least is the percentile 100 * (n - 0.5) / 101."""
    timings = [timing(f"u{n}", 0, 0.01 * n + 0.01 - 0.3) for n in range(101)]
    speed = speed_of(TOLD, timings, [])
    assert speed is not None
    assert (speed.p50, speed.p95, speed.p99) == pytest.approx((0.51, 0.9645, 1.0049))
    assert speed.p95_spread == Spread(speed.p95, speed.p95, speed.p95)


@pytest.mark.parametrize(("n_timed", "shown"), [(9, False), (10, True)])
def test_the_slowest_of_a_few_utterances_is_no_95th_percentile(n_timed: int, shown: bool) -> None:
    speed = speed_of(TOLD, [timing(f"u{n}", 0, 0.1 * n + 0.1) for n in range(n_timed)], [])
    assert speed is not None and (speed.timed, speed.has_percentiles) == (n_timed, shown)
    assert (speed.p95_spread is not None) == shown, "what a comparison with an earlier result looks at"


def test_a_call_costs_what_the_median_round_took() -> None:
    """One slow round of three, in every utterance."""
    timings = [
        Timing("a", f"u{n}", number, float(n), StageSeconds(0.0, 0.0, slow * (2.0 + 0.1 * n), 0.0))
        for n in range(1, 13)
        for number, slow in enumerate((1.0, 1.0, 9.0))
    ]
    speed = speed_of(TOLD, timings, [])
    assert speed is not None and speed.call_cost is not None and speed.call_cost.per_call is not None
    assert speed.call_cost.per_call.value == pytest.approx(2.0)


def test_what_was_never_timed_has_no_speed() -> None:
    assert speed_of(TOLD, [timing("u", 0, 1.0, "b")], []) is None


def points(n: int, fixed: float, slope: float, noise: float, seed: int, slow: int = 0) -> list[tuple[float, float]]:
    """(duration, latency) of 1 to 12 s; `slow` of them take four times as long as they should."""
    generator = np.random.default_rng(seed)
    durations = generator.uniform(1.0, 12.0, n)
    latencies = (fixed + slope * durations) * generator.lognormal(0.0, noise, n)
    latencies[:slow] *= 4
    return list(zip(durations.tolist(), latencies.tolist(), strict=True))


def test_a_call_costs_what_scipy_says() -> None:
    own = points(40, 2.0, 0.1, 0.1, seed=1)
    cost = call_cost(own)
    expected = theilslopes([latency for _, latency in own], [duration for duration, _ in own], method="joint")
    assert cost.per_call is not None and cost.per_audio_second is not None
    assert cost.per_audio_second.value == pytest.approx(expected.slope)
    assert cost.per_call.value == pytest.approx(expected.intercept)
    assert (cost.utterances, cost.shortest) == (40, min(duration for duration, _ in own))


def test_intervals_hold_the_true_costs_and_slow_moments_do_not_move_them_far() -> None:
    costs = [call_cost(points(40, 2.0, 0.1, 0.05, seed, slow=6), seed) for seed in range(20)]
    found = [(cost.per_call, cost.per_audio_second) for cost in costs]
    assert sum(one is not None and one.low <= 2.0 <= one.high for one, _ in found) >= 17
    assert sum(one is not None and one.low <= 0.1 <= one.high for _, one in found) >= 17
    assert all(one is not None and 1.7 < one.value < 2.5 for one, _ in found)


def test_no_cost_is_below_0() -> None:
    """Of a system whose time grows faster than the audio, and of one that gets faster by chance."""
    faster = call_cost([(seconds, 0.01 * seconds**2) for seconds in range(1, 20)])
    slower = call_cost([(seconds, 3.0 - 0.01 * seconds) for seconds in range(1, 20)])
    assert faster.per_call is not None and faster.per_call.value == 0.0 == faster.per_call.low
    durations = [*range(1, 11), 25, 26]
    uneven = call_cost([(seconds, 0.01 * seconds**2) for seconds in durations])
    assert uneven.per_call is not None and uneven.per_call.value == 0.0 and uneven.per_audio_second is not None
    assert uneven.per_audio_second.value == pytest.approx(0.065)  # the median of 0.01 * seconds
    assert slower.per_audio_second is not None and slower.per_audio_second.value == 0.0 == slower.per_audio_second.low
    assert slower.per_call is not None and slower.per_call.value == pytest.approx(2.9)


@pytest.mark.parametrize(
    ("durations", "reason"),
    [
        ([1.0, 5.0, 9.0], "only 3 of up to 30 s were timed, and 10 are needed"),
        (
            [0.3 + 0.01 * n for n in range(40)],
            "most timed utterances last 0.3 to 0.7 s, too similar to separate the two (see p50)",
        ),
        (
            [20.0 + 0.1 * n for n in range(40)],
            "most timed utterances last 20.4 to 23.5 s, too similar to separate the two (see p50)",
        ),
        ([60.0 + n for n in range(40)], "only 0 of up to 30 s were timed, and 10 are needed"),
    ],
)
def test_durations_that_do_not_tell_get_a_reason_and_no_number(durations: list[float], reason: str) -> None:
    cost = call_cost([(duration, 1.0 + duration) for duration in durations])
    assert (cost.per_call, cost.per_audio_second, cost.reason) == (None, None, reason)


def test_the_sentence_names_every_system_and_why_one_is_missing() -> None:
    def system(name: str, own: list[tuple[float, float]]) -> SystemSummary:
        timings = [
            Timing(name, f"u{at}", 0, duration, StageSeconds(0.0, 0.0, latency, 0.0))
            for at, (duration, latency) in enumerate(own)
        ]
        run = SystemRun(SystemFacts(name, "f", "c", 0))
        return SystemSummary(run.facts, {}, speed_of(run, timings, []), None, None, 0)

    whisper = system("whisper base", [(float(n), 2.9 + 0.05 * n) for n in range(1, 15)])
    wav2vec2 = system("wav2vec2", [(float(n), 0.01 + 0.004 * n) for n in range(1, 15)])
    few = system("few", [(1.0, 1.0)])
    assert call_cost_sentences([whisper, wav2vec2, few]) == [
        "whisper base has a per-call overhead of 2.9 s, plus 0.05 s per second of audio; wav2vec2: 0.01 s and 4 ms.",
        "The per-call overhead of few cannot be separated from the time per second of audio: only 1 of up to 30 s "
        "were timed, and 10 are needed.",
    ]
    assert call_cost_sentences([few])[0].startswith("The per-call overhead cannot")
    assert call_cost_sentences([dataclasses.replace(few, speed=None)]) == []
