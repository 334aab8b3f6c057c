"""Batches of a stream: each item once an epoch, under the cap, from a buffer that is never larger than it was told."""

import random
from collections import Counter
from collections.abc import Iterator
from itertools import islice, takewhile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing.batching import BufferedBatches
from preprocessing.errors import InputError, UsageError
from tests.preprocessing.test_batching import padding_share

Item = tuple[int, float]
DURATIONS = st.lists(st.floats(0.1, 20.0), min_size=1, max_size=60)


def over(durations: list[float], buffer: int, seed: int = 0, cap: float = 40.0) -> BufferedBatches[Item]:
    return BufferedBatches(
        lambda _: iter(list(enumerate(durations))), lambda item: item[1], max_seconds=cap, buffer=buffer, seed=seed
    )


def epochs(batches: BufferedBatches[Item], count: int) -> list[tuple[int, list[Item]]]:
    return list(takewhile(lambda entry: entry[0] < count, batches.stream()))


@settings(max_examples=50)
@given(DURATIONS, st.integers(1, 70), st.integers(0, 3))
def test_each_item_once_an_epoch_under_the_cap(durations: list[float], buffer: int, seed: int) -> None:
    told = epochs(over(durations, buffer, seed), 2)
    for number in (0, 1):
        items = Counter(item for epoch, batch in told for item in batch if epoch == number)
        assert items == Counter(enumerate(durations))
    assert all(len(batch) * max(seconds for _, seconds in batch) <= 40.0 for _, batch in told)


@settings(max_examples=30)
@given(DURATIONS, st.integers(1, 20), st.integers(0, 30))
def test_going_on_from_anywhere_is_never_having_stopped(durations: list[float], buffer: int, start: int) -> None:
    whole = list(islice(over(durations, buffer, 7).stream(), start + 5))
    assert list(islice(over(durations, buffer, 7).stream(start), 5)) == whole[start:]


def test_epochs_differ() -> None:
    told = epochs(over([1.0 + 0.01 * place for place in range(60)], 60, cap=20.0), 2)
    assert [batch for epoch, batch in told if epoch == 0] != [batch for epoch, batch in told if epoch == 1]


def test_the_cap_holds_where_neighbours_change_places() -> None:
    """With half of a duration for mixing, an item before the chosen one may be longer than it."""
    durations = [5.0 + 0.1 * (place * 37 % 50) for place in range(200)]
    batches = BufferedBatches(lambda _: iter(durations), float, max_seconds=40.0, buffer=100, bucket_share=0.5).stream()
    assert all(len(batch) * max(batch) <= 40.0 for _, batch in islice(batches, 40))


def test_an_epoch_has_long_and_short_batches_from_its_beginning_to_its_end() -> None:
    """A batch takes many short utterances: drawn as often as long ones, they would be used up first, and the last fifth
    of an epoch would last 1.6 times as long on average as the first.
    """
    draw = random.Random(0)
    durations = [min(max(draw.lognormvariate(1.5, 0.7), 1.0), 20.0) for _ in range(10_000)]
    stream = BufferedBatches(lambda _: iter(durations), float, max_seconds=80.0, buffer=1000).stream()
    batches = [batch for _, batch in takewhile(lambda told: told[0] == 0, stream)]
    parts = [batches[place * len(batches) // 5 : (place + 1) * len(batches) // 5] for place in range(5)]
    means = [sum(map(sum, part)) / sum(map(len, part)) for part in parts]
    assert max(means) < 1.2 * min(means)


def test_no_more_is_read_than_the_buffer_holds() -> None:
    read = given_out = most = 0

    def epoch(_: int) -> Iterator[float]:
        nonlocal read, most
        for place in range(500):
            read += 1
            most = max(most, read - given_out)
            yield 1.0 + place % 7

    for _, batch in islice(BufferedBatches(epoch, float, max_seconds=20.0, buffer=50).stream(), 60):
        given_out += len(batch)
    assert given_out > 150
    assert most == 50


def test_a_larger_buffer_pads_less_and_mixes() -> None:
    durations = [1.0 + (place * 7919 % 1000) / 60 for place in range(3000)]
    shares = []
    for buffer in (10, 1000):
        batches = [[seconds for _, seconds in batch] for _, batch in epochs(over(durations, buffer, cap=80.0), 1)]
        shares.append(padding_share(batches))
    assert shares[1] < 0.05 < shares[0]
    first = [place for _, batch in islice(over(durations, 1000, cap=80.0).stream(), 40) for place, _ in batch]
    assert min(first) < 100 < 900 < max(first)
    assert first != [
        place for _, batch in islice(over(durations, 1000, seed=1, cap=80.0).stream(), 40) for place, _ in batch
    ]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match=r"an utterance lasts 50\.00 s"):
        next(over([50.0], 1).stream())
    with pytest.raises(InputError, match="has no utterance to train on"):
        next(over([], 1).stream())
