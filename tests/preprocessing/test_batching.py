"""The sampler's promises: every utterance once, the cap kept, the same order for a seed, resumable, shareable."""

from collections import Counter
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.batching import DurationBatches, evenly_spaced
from preprocessing.errors import UsageError


def padding_share(batches: list[list[float]]) -> float:
    """The share of padding in batches of durations."""
    padded = sum(len(batch) * max(batch) for batch in batches)
    return 1.0 - sum(map(sum, batches)) / padded


DURATIONS = st.lists(st.floats(0.1, 20.0), min_size=1, max_size=80)


@given(DURATIONS, st.integers(0, 3), st.integers(0, 5))
def test_every_utterance_once_within_the_cap(durations: list[float], seed: int, epoch: int) -> None:
    batches = DurationBatches(durations, max_seconds=40.0, seed=seed).epoch(epoch)
    assert sorted(index for batch in batches for index in batch) == list(range(len(durations)))
    assert all(len(batch) * max(durations[index] for index in batch) <= 40.0 for batch in batches)


@given(DURATIONS, st.integers(0, 3))
def test_order_is_a_function_of_seed_and_epoch(durations: list[float], seed: int) -> None:
    first, second = (DurationBatches(durations, max_seconds=40.0, seed=seed) for _ in range(2))
    assert first.epoch(1) == second.epoch(1)


@given(DURATIONS, st.floats(0.1, 3.0))
def test_weighted_utterances_come_as_often_as_told(durations: list[float], weight: float) -> None:
    repeats = [weight] * len(durations)
    batches = DurationBatches(durations, max_seconds=40.0, seed=5, repeats=repeats)
    heard = Counter(index for number in range(60) for batch in batches.epoch(number) for index in batch)
    assert all(int(weight) * 60 <= heard[index] <= (int(weight) + 1) * 60 for index in range(len(durations)))
    mean = heard.total() / (60 * len(durations))
    assert abs(mean - weight) < 6 * 0.5 / (60 * len(durations)) ** 0.5
    assert all(len(batch) * max(durations[i] for i in batch) <= 40.0 for batch in batches.epoch(0))


def test_epochs_and_seeds_differ() -> None:
    durations = [1.0 + 0.01 * i for i in range(100)]
    batches = DurationBatches(durations, max_seconds=20.0)
    assert batches.epoch(0) != batches.epoch(1)
    assert batches.epoch(0) != DurationBatches(durations, max_seconds=20.0, seed=1).epoch(0)
    assert {frozenset(b) for b in batches.epoch(0)} != {frozenset(b) for b in batches.epoch(1)}
    sorted_strictly = DurationBatches(durations, max_seconds=20.0, bucket_share=0.0).epoch(0)
    assert sorted_strictly not in (
        sorted(sorted_strictly),
        sorted(sorted_strictly, reverse=True),
    )  # short and long mixed


@given(DURATIONS, st.integers(0, 60))
def test_a_stream_resumed_goes_on_where_it_was(durations: list[float], start: int) -> None:
    batches = DurationBatches(durations, max_seconds=40.0, seed=7)
    whole = list(islice(batches.stream(), start + 10))
    assert list(islice(batches.stream(start), 10)) == whole[start:]
    first = len(batches.epoch(0))
    assert [epoch for epoch, _ in whole[: first + 1]] == [0] * min(first, len(whole)) + [1] * (len(whole) > first)


def test_in_order_is_longest_first_and_whole() -> None:
    durations = [3.0, 9.0, 1.0, 4.0]
    order = DurationBatches(durations, max_seconds=9.0).in_order()
    assert order[0] == [1]
    assert sorted(index for batch in order for index in batch) == [0, 1, 2, 3]
    assert DurationBatches([3.0, 3.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], max_seconds=6.0).in_order() == [
        [0, 1],
        [2, 3, 4, 5, 6, 7],
    ]


def test_padding_stays_small_on_librispeech_like_durations() -> None:
    durations = [1.5 + 14.0 * (i / 1999) ** 0.6 for i in range(2000)]
    batches = DurationBatches(durations, max_seconds=160.0).epoch(0)
    assert padding_share([[durations[index] for index in batch] for batch in batches]) <= 0.05


def test_an_utterance_over_the_cap_is_refused() -> None:
    with pytest.raises(UsageError, match=r"30\.50 s"):
        DurationBatches([1.0, 30.5], max_seconds=30.0)


def test_one_of_many_is_the_middle_one() -> None:
    assert evenly_spaced("abcde", 1) == ["c"]
