"""Batches capped in padded seconds, bucketed by duration, shuffled by seed and epoch, shared among processes.

The order is a function of (seed, epoch) alone: a resumed run makes the same epoch and skips the batches that it has
done, and all processes make the same list and take every n-th batch of it. `DurationBatches` is for a list of
utterances, `BufferedBatches` for a stream, `plan_batches` for decoding. `evenly_spaced` chooses a few of many
utterances.
"""

import random
from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count, islice
from typing import Generic, TypeVar

from preprocessing.errors import InputError, UsageError

Item = TypeVar("Item")


class DurationBatches:
    """Batches of a list of utterances, each of them once an epoch.

    durations: seconds of each utterance, by index.
    max_seconds: cap on a batch's size times its longest duration, the padded seconds that a model computes on.
    bucket_share: relative difference of durations within which utterances are mixed before batching: 0 sorts strictly
        and pads least, with 0.1 durations 10 % apart change places, so that batches differ from epoch to epoch.
    repeats: mean number of times that each utterance is in an epoch: 2.5 is twice or three times, drawn again each
        epoch.

    Raises UsageError when an utterance is longer than the cap.

    >>> batches = DurationBatches([1.0, 2.0, 1.1, 2.1], max_seconds=4.2, seed=0)
    >>> sorted(sorted(batch) for batch in batches.epoch(0))
    [[0, 2], [1, 3]]
    """

    def __init__(
        self,
        durations: Sequence[float],
        *,
        max_seconds: float,
        seed: int = 0,
        bucket_share: float = 0.1,
        repeats: Sequence[float] | None = None,
    ) -> None:
        longest = max(durations, default=0.0)
        if longest > max_seconds:
            raise UsageError(
                f"max_batch_seconds is {max_seconds:g}, but an utterance lasts {longest:.2f} s; expected a limit of at "
                "least the longest utterance: raise max_batch_seconds or lower max_seconds"
            )
        self._durations = durations
        self._max_seconds = max_seconds
        self._seed = seed
        self._bucket_share = bucket_share
        self._repeats = repeats

    def epoch(self, number: int) -> list[list[int]]:
        """The batches of an epoch in training order: lists of indices."""
        generator = random.Random(f"{self._seed} {number}")
        chosen = list(range(len(self._durations)))
        if self._repeats is not None:  # 2.5 times: 2 and a half, rounded up by chance
            chosen = [i for i, mean in enumerate(self._repeats) for _ in range(int(mean + generator.random()))]
        jittered = [self._durations[i] * (1.0 + self._bucket_share * generator.random()) for i in chosen]
        batches = self._fill([chosen[place] for place in sorted(range(len(chosen)), key=jittered.__getitem__)])
        generator.shuffle(batches)
        return batches

    def stream(self, start: int = 0) -> Iterator[tuple[int, list[int]]]:
        """The batches of epoch 0, 1, 2, ... one after another without end, from the `start`-th on, each with its epoch.

        Any number of processes share it: of each round of n batches, process r takes the r-th.
        """
        if not self._durations:
            raise UsageError("there is no utterance to batch; expected one or more: name another corpus")
        for number in count():
            batches = self.epoch(number)
            for batch in batches[start:]:
                yield number, batch
            start = max(start - len(batches), 0)

    def in_order(self) -> list[list[int]]:
        """Batches for evaluation, the longest utterances first, so that a lack of memory shows at once."""
        order = sorted(range(len(self._durations)), key=self._durations.__getitem__, reverse=True)
        return self._fill(order)

    def _fill(self, order: Sequence[int]) -> list[list[int]]:
        batches: list[list[int]] = []
        batch: list[int] = []
        longest = 0.0
        for index in order:
            longest_with = max(longest, self._durations[index])
            if batch and longest_with * (len(batch) + 1) > self._max_seconds:
                batches.append(batch)
                batch, longest_with = [], self._durations[index]
            batch.append(index)
            longest = longest_with
        if batch:
            batches.append(batch)
        return batches


def evenly_spaced(elements: Sequence[Item], maximum: int) -> list[Item]:
    """At most `maximum` of the elements, evenly spaced, the first and the last among them.

    >>> evenly_spaced("abcdefg", 3)
    ['a', 'd', 'g']
    """
    count = len(elements)
    if count <= maximum:
        return list(elements)
    if maximum == 1:
        return [elements[count // 2]]
    return [elements[round(place * (count - 1) / (maximum - 1))] for place in range(maximum)]


def plan_batches(
    durations: Sequence[float], batch_seconds: float | None, longest_in_batch_seconds: float
) -> list[list[int]]:
    """Indices of durations in batches of at most `batch_seconds`, padding included, longest first.

    None for `batch_seconds` means one utterance at a time. What lasts longer than the cap, or than
    `longest_in_batch_seconds`, is alone in its batch.

    >>> plan_batches([1.0, 40.0, 2.0, 1.5], 4.0, 30.0)
    [[1], [2, 3], [0]]
    """
    order = sorted(range(len(durations)), key=durations.__getitem__, reverse=True)
    if batch_seconds is None:
        return [[index] for index in order]
    cap = min(batch_seconds, longest_in_batch_seconds)
    alone = [index for index in order if durations[index] > cap]
    rest = [index for index in order if durations[index] <= cap]
    planned = DurationBatches([durations[index] for index in rest], max_seconds=batch_seconds).in_order()
    return [[index] for index in alone] + [[rest[place] for place in batch] for batch in planned]


class BufferedBatches(Generic[Item]):
    """Batches of a stream, each item once an epoch.

    epoch: gives the items of an epoch in their order; they are read as they are needed and not kept.
    seconds: gives the duration of an item.
    max_seconds, bucket_share: as of `DurationBatches`.
    buffer: items that are held at once. A batch is a random one of them, the likelier the longer it is, and its nearest
        in duration. A larger buffer shuffles better and pads less.

    >>> batches = BufferedBatches(lambda epoch: iter([1.0, 2.0, 1.1, 2.1]), float, max_seconds=4.2, buffer=4, seed=1)
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

        The batches before are made and dropped, so the stream is read up to there again.
        Raises UsageError at an item that is longer than the cap, InputError when an epoch has no item.
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
            low, high = self._neighbours(held, self._choose(held, generator))
            yield [item for _, _, item in held[low:high]]
            del held[low:high]
        if place == 0:
            raise InputError("the stream has no utterance to train on; expected one or more: check its name")

    def _key(self, item: Item, generator: random.Random) -> float:
        seconds = self._seconds(item)
        if seconds > self._max_seconds:
            raise UsageError(
                f"max_batch_seconds is {self._max_seconds:g}, but an utterance lasts {seconds:.2f} s; expected a limit "
                "of at least the longest utterance: raise max_batch_seconds or lower max_seconds"
            )
        return seconds * (1.0 + self._bucket_share * generator.random())

    def _choose(self, held: list[tuple[float, int, Item]], generator: random.Random) -> int:
        """A random item, with a probability in proportion to its seconds. With the same for all it would be a short one
        too often, as a batch takes many of these: the buffer would fill with long ones, and an epoch end with them.
        """
        most = held[-1][0]  # no item is longer than this key
        while True:
            chosen = generator.randrange(len(held))
            if generator.random() * most <= self._seconds(held[chosen][2]):
                return chosen

    def _neighbours(self, held: list[tuple[float, int, Item]], chosen: int) -> tuple[int, int]:
        """The range around `chosen` that the cap has room for: its shorter neighbours first, then the longer."""
        low, high = chosen, chosen + 1
        longest = self._seconds(held[chosen][2])
        for step in (-1, 1):
            while low > 0 if step < 0 else high < len(held):
                longest_with = max(longest, self._seconds(held[low - 1 if step < 0 else high][2]))
                if longest_with * (high - low + 1) > self._max_seconds:
                    break
                low, high, longest = (low - 1, high, longest_with) if step < 0 else (low, high + 1, longest_with)
        return low, high
