"""Speed from timings and rounds, against numbers worked out by hand; and what a regression does to the exit code."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.results import Spread, StageSeconds, SystemFacts, SystemRun, Throughput, Timing
from benchmark.scoring.speed import speed_of

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
@given(st.lists(st.lists(st.floats(0.01, 100.0), min_size=4, max_size=4), min_size=1, max_size=4))
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
    speed = speed_of(
        TOLD, [timing("u", 0, 1.0)], [throughput(0, 2.0, 50.0), throughput(1, 4.0, 70.0), throughput(2, 5.0)]
    )
    assert speed is not None
    assert speed.throughput == Spread(25.0, 20.0, 50.0)
    assert speed.batch_seconds == 40.0
    assert speed.joules_per_audio_second == pytest.approx(0.6)


def test_what_was_never_timed_has_no_speed() -> None:
    assert speed_of(TOLD, [timing("u", 0, 1.0, "b")], []) is None
