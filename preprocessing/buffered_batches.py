"""Batches of a stream whose length nobody knows: shuffled in a buffer, of like durations, capped in padded seconds.

The counterpart of `preprocessing.batching` where a corpus is too large to be listed first. The order is a pure function
of the stream and the seed, so that a position in it is one number, and any number of processes deals it out.
"""

import random
from bisect import insort
from collections.abc import Callable, Iterable, Iterator
from itertools import count, islice
from typing import Generic, TypeVar

from preprocessing.errors import InputError, UsageError

Item = TypeVar("Item")


class BufferedBatches(Generic[Item]):
    """Every item of an epoch once, in batches whose longest duration times size stays within the cap.

    epoch: the items of an epoch in their order, read as they are needed and not kept beyond the buffer.
    seconds: duration of an item.
    max_seconds: cap on size times longest, the padded seconds that a model computes on.
    buffer: items that are held at once. A batch is one of them by chance and its nearest in duration, so that a larger
        buffer shuffles better and pads less.
    bucket_share: how far (relative) neighbours in duration are mixed, as in `DurationBatches`.

    >>> batches = BufferedBatches(lambda epoch: iter([1.0, 2.0, 1.1, 2.1]), float, max_seconds=4.2, buffer=4)
    >>> sorted(sorted(batch) for _, batch in islice(batches.stream(), 2))
    [[1.0, 1.1], [2.0, 2.1]]
    """

    def __init__(
        self,
        epoch: Callable[[int], Iterable[Item]],
        seconds: Callable[[Item], float],
        *,
        max_seconds: float,
        buffer: int,
        seed: int = 0,
        bucket_share: float = 0.1,
    ) -> None:
        self._epoch = epoch
        self._seconds = seconds
        self._max_seconds = max_seconds
        self._buffer = buffer
        self._seed = seed
        self._bucket_share = bucket_share

    def stream(self, start: int = 0) -> Iterator[tuple[int, list[Item]]]:
        """The batches of epoch 0, 1, 2, ... without end, from the `start`-th on, each with its epoch.

        The batches before are made and dropped: what they cost is reading the stream again up to there.
        Raises UsageError at an item that is longer than the cap, InputError when an epoch holds nothing.
        """
        return islice(((number, batch) for number in count() for batch in self._batches(number)), start, None)

    def _batches(self, number: int) -> Iterator[list[Item]]:
        generator = random.Random(f"{self._seed} {number}")
        waiting = iter(self._epoch(number))
        held: list[tuple[float, int, Item]] = []  # by duration, changed a little, and by place
        place = 0
        while True:
            for item in islice(waiting, self._buffer - len(held)):
                insort(held, (self._key(item, generator), place, item), key=lambda entry: entry[:2])
                place += 1
            if not held:
                break
            low, high = self._like(held, generator.randrange(len(held)))
            yield [item for _, _, item in held[low:high]]
            del held[low:high]
        if place == 0:
            raise InputError("the stream holds nothing to train on; expected an utterance or more: check its name")

    def _key(self, item: Item, generator: random.Random) -> float:
        seconds = self._seconds(item)
        if seconds > self._max_seconds:
            raise UsageError(
                f"max_batch_seconds is {self._max_seconds:g}, but an utterance lasts {seconds:.2f} s; expected a cap "
                "that holds the longest: raise max_batch_seconds or lower max_seconds"
            )
        return seconds * (1.0 + self._bucket_share * generator.random())

    def _like(self, held: list[tuple[float, int, Item]], chosen: int) -> tuple[int, int]:
        """The stretch around one place that the cap has room for: the shorter neighbours first, then the longer."""
        low, high = chosen, chosen + 1
        longest = self._seconds(held[chosen][2])
        for step in (-1, 1):
            while low > 0 if step < 0 else high < len(held):
                longest_with = max(longest, self._seconds(held[low - 1 if step < 0 else high][2]))
                if longest_with * (high - low + 1) > self._max_seconds:
                    break
                low, high, longest = (low - 1, high, longest_with) if step < 0 else (low, high + 1, longest_with)
        return low, high
