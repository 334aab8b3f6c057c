"""What is timed and batched: everything once, nothing over its cap, short and long alike."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from benchmark import batch_plan
from benchmark.runner import BenchmarkRunner, RunState
from benchmark.scoring.speed import _percentiles
from preprocessing.batching import plan_batches
from preprocessing.cli.progress import Steps

DURATIONS = st.lists(st.floats(0.05, 90.0), min_size=1, max_size=60)


@given(DURATIONS, st.sampled_from([None, 20.0, 40.0, 80.0]), st.sampled_from([30.0, 60.0]))
def test_batches_hold_everything_once_within_the_cap(
    durations: list[float], cap: float | None, longest_in_batch: float
) -> None:
    batches = plan_batches(durations, cap, longest_in_batch)
    assert sorted(index for batch in batches for index in batch) == list(range(len(durations)))
    for batch in batches:
        if len(batch) > 1:
            longest = max(durations[index] for index in batch)
            assert cap is not None
            assert longest * len(batch) <= cap + 1e-9
            assert longest <= longest_in_batch


def test_short_utterances_fill_a_batch_beyond_the_longest_that_is_batched() -> None:
    """The longest in a batch bounds an utterance, not the batch: 80 s hold 26 of 3 s."""
    assert [len(batch) for batch in plan_batches([3.0] * 30, 80.0, 30.0)] == [26, 4]


@given(DURATIONS, st.integers(1, 70))
def test_representatives_are_different_and_in_order(durations: list[float], most: int) -> None:
    chosen = batch_plan.representative(durations, most)
    assert len(chosen) == len(set(chosen)) == min(most, len(durations))
    assert [durations[index] for index in chosen] == sorted(durations[index] for index in chosen)


@pytest.mark.parametrize("sigma", [0.5, 0.8])
def test_few_representatives_last_as_long_on_average_as_all_and_have_their_percentiles(sigma: float) -> None:
    """Of skewed durations. The RTFx of a system that takes as long for any utterance is proportional to their mean."""
    durations = np.random.default_rng(0).lognormal(1.5, sigma, 3000).tolist()
    mean = np.mean(durations)
    for count in (1, 2, 4, 10, 50):
        chosen = [durations[index] for index in batch_plan.representative(durations, count)]
        assert np.mean(chosen) == pytest.approx(mean, rel=0.02), count
    *_, p99 = _percentiles(chosen)
    assert p99 == pytest.approx(float(np.percentile(durations, 99)), rel=0.1)


def test_seconds_asked_for_are_had() -> None:
    durations = [1.0 + place % 7 for place in range(700)]
    total = sum(durations[index] for index in batch_plan.representative_seconds(durations, 400.0))
    assert total == pytest.approx(400.0, rel=0.05)


def test_everyone_is_first_in_turn() -> None:
    assert {batch_plan.rotated("abc", number)[0] for number in range(3)} == set("abc")


def test_caps_that_hold_no_two_utterances_are_not_tried() -> None:
    assert batch_plan.batch_seconds_to_try("cpu", [1560.0], 9.0, batched=True) == (None,)
    assert batch_plan.batch_seconds_to_try("cpu", [9.0, 25.0, 30.0], 9.0, batched=True) == (None, 80.0)
    assert batch_plan.batch_seconds_to_try("cpu", [2.0, 3.0, 30.0], 9.0, batched=True) == (None, 20.0, 40.0, 80.0)
    assert batch_plan.batch_seconds_to_try("cpu", [2.0, 3.0], 9.0, batched=False) == (None,)


def test_a_slow_system_tries_batches_of_a_few_short_utterances() -> None:
    """Whisper base at RTFx 0.2 on digits of half a second: 20 s are 45 utterances and 100 s of computing."""
    durations = [0.3 + 0.01 * (place % 30) for place in range(300)]
    none, *caps = batch_plan.batch_seconds_to_try("cpu", durations, 0.2, batched=True)
    assert none is None and caps[3:] == [20.0, 40.0, 80.0]
    for count, cap in zip((2, 4, 8), caps[:3], strict=True):
        sizes = [len(batch) for batch in plan_batches(durations, cap, 30.0)]
        assert count <= sorted(sizes)[len(sizes) // 2] <= 2 * count
    assert batch_plan.batch_seconds_to_try("cpu", [7.5] * 300, 0.2, batched=True) == (None, 15.0, 20.0, 40.0, 80.0)


@pytest.mark.parametrize(("single_rtfx", "n_utterances"), [(0.02, 1), (0.2, 8), (1.0, 10), (50.0, 400)])
def test_a_round_has_ten_utterances_unless_they_take_long(single_rtfx: float, n_utterances: int) -> None:
    durations = [0.5] * 1000
    seconds = batch_plan.seconds_of_round(durations, single_rtfx, None)
    assert len(batch_plan.representative_seconds(durations, seconds)) == n_utterances


def searched(monkeypatch: pytest.MonkeyPatch, trials: dict[float | None, float], **rest: Any) -> float | None:
    """The cap that is chosen of a system whose trials have these RTFx, by cap."""
    system = SimpleNamespace(
        name="a", device="cpu", loaded=SimpleNamespace(batched=True), record=SimpleNamespace(failure=None),
        start=lambda: None, close=lambda: None,
    )  # fmt: skip
    evaluation_set = SimpleNamespace(clean_durations=[2.0] * 100)
    store, steps = SimpleNamespace(throughput=[]), Steps(Console(quiet=True), 1)
    runner = BenchmarkRunner(
        *cast(Any, ([system], evaluation_set, store, steps)),
        rounds=0,
        latency_utterances=1,
        save=lambda _: None,
        **rest,
    )
    monkeypatch.setattr(BenchmarkRunner, "_rtfx_one_at_a_time", lambda *_: 9.0)
    monkeypatch.setattr(BenchmarkRunner, "_try_batch_seconds", lambda _, system, items, cap: trials[cap])
    return runner.measure_throughput(RunState()).batch_seconds["a"]


def test_a_larger_batch_is_chosen_where_it_is_clearly_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    assert searched(monkeypatch, {None: 9.0, 20.0: 12.0, 40.0: 12.4, 80.0: 12.5}) == 20.0
    assert searched(monkeypatch, {None: 9.0, 20.0: 12.0, 40.0: 12.4, 80.0: 15.0}) == 80.0
    assert searched(monkeypatch, {None: 9.0, 20.0: 9.1, 40.0: 8.8, 80.0: 8.7}) is None


@pytest.mark.parametrize("fixed", [None, 40.0])
def test_a_given_batch_size_is_not_searched(monkeypatch: pytest.MonkeyPatch, fixed: float | None) -> None:
    assert searched(monkeypatch, {}, fixed_batch_seconds={"a": fixed}) == fixed
