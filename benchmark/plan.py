"""Which utterances are timed and how they are put in batches: pure functions of durations, the same in every run."""

from collections.abc import Sequence
from typing import TypeVar

from preprocessing.batching import DurationBatches

Thing = TypeVar("Thing")

CPU_BATCH_SECONDS = (20.0, 40.0, 80.0)
GPU_BATCH_SECONDS = (20.0, 40.0, 80.0, 160.0, 320.0, 640.0)
ROUND_SECONDS = 4.0  # of computing in a throughput round, by the speed at batch 1
TRIAL_SECONDS = 1.5  # of computing when a batch size is tried


def spread(things: Sequence[Thing], most: int) -> list[Thing]:
    """At most so many, evenly spaced, first and last among them.

    >>> spread("abcdefg", 3)
    ['a', 'd', 'g']
    """
    count = len(things)
    if count <= most:
        return list(things)
    if most == 1:
        return [things[count // 2]]
    return [things[round(place * (count - 1) / (most - 1))] for place in range(most)]


def spread_by_duration(durations: Sequence[float], most: int) -> list[int]:
    """Indices of at most so many, evenly spaced in the order of durations, shortest and longest among them.

    >>> spread_by_duration([5.0, 1.0, 9.0, 3.0, 7.0], 3)
    [1, 0, 2]
    """
    return spread(sorted(range(len(durations)), key=durations.__getitem__), most)


def spread_to_seconds(durations: Sequence[float], seconds: float) -> list[int]:
    """Indices of so many, spread over durations, that they last about `seconds` together; at least one."""
    mean = sum(durations) / len(durations)
    return spread_by_duration(durations, max(round(seconds / mean), 1) if mean > 0 else 1)


def batches(durations: Sequence[float], batch_seconds: float | None, longest_in_batch: float) -> list[list[int]]:
    """Indices in batches whose padded seconds stay within `batch_seconds`, longest first; None: one at a time.

    What lasts longer than the cap, or than `longest_in_batch` seconds, comes alone.

    >>> batches([1.0, 40.0, 2.0, 1.5], 4.0, 30.0)
    [[1], [2, 3], [0]]
    """
    order = sorted(range(len(durations)), key=durations.__getitem__, reverse=True)
    if batch_seconds is None:
        return [[index] for index in order]
    cap = min(batch_seconds, longest_in_batch)
    alone = [index for index in order if durations[index] > cap]
    rest = [index for index in order if durations[index] <= cap]
    planned = DurationBatches([durations[index] for index in rest], max_seconds=batch_seconds).in_order()
    return [[index] for index in alone] + [[rest[place] for place in batch] for batch in planned]


def rotated(things: Sequence[Thing], by: int) -> list[Thing]:
    """Another one first in every round, so that none has the warm or the cool machine always.

    >>> rotated("abc", 4)
    ['b', 'c', 'a']
    """
    first = by % len(things) if things else 0
    return [*things[first:], *things[:first]]


def candidates(device: str, *, batched: bool) -> tuple[float | None, ...]:
    """Caps on a batch's seconds that are worth a trial, smallest first."""
    if not batched:
        return (None,)
    return (None, *(GPU_BATCH_SECONDS if device.startswith("cuda") else CPU_BATCH_SECONDS))
