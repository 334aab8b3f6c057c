"""Which utterances are timed and how they are batched: pure functions of durations, the same in every run.

Nothing is measured here; `benchmark.runner` measures what these functions choose.
"""

from collections.abc import Sequence
from typing import TypeVar

from preprocessing.batching import evenly_spaced

Element = TypeVar("Element")

CPU_BATCH_SECONDS = (20.0, 40.0, 80.0)
GPU_BATCH_SECONDS = (20.0, 40.0, 80.0, 160.0, 320.0, 640.0)
ROUND_SECONDS = 4.0  # of computing in a throughput round, by the speed at batch size 1
TRIAL_SECONDS = 1.5  # of computing when a batch size is tried


def spaced_by_duration(durations: Sequence[float], maximum: int) -> list[int]:
    """Indices of at most `maximum` durations, evenly spaced in their order, the shortest and the longest among them.

    >>> spaced_by_duration([5.0, 1.0, 9.0, 3.0, 7.0], 3)
    [1, 0, 2]
    """
    return evenly_spaced(sorted(range(len(durations)), key=durations.__getitem__), maximum)


def spaced_to_seconds(durations: Sequence[float], seconds: float) -> list[int]:
    """Indices of durations that last about `seconds` together, in their order; at least one index.

    Each stands in the middle of its share of the durations: with the shortest and the longest among few, these would
    be longer on average than all are, and a system that takes as long for any of them would look faster.

    >>> spaced_to_seconds([5.0, 1.0, 9.0, 3.0, 7.0, 30.0], 28.0)
    [1, 0, 2]
    """
    count, mean = len(durations), sum(durations) / len(durations)
    wanted = min(max(round(seconds / mean), 1) if mean > 0 else 1, count)
    in_order = sorted(range(count), key=durations.__getitem__)
    return [in_order[round((place + 0.5) * count / wanted - 0.5)] for place in range(wanted)]


def rotated(elements: Sequence[Element], by: int) -> list[Element]:
    """The elements with another one first for every `by`: each system starts a round in turn, on a cool machine too.

    >>> rotated("abc", 4)
    ['b', 'c', 'a']
    """
    first = by % len(elements) if elements else 0
    return [*elements[first:], *elements[:first]]


def batch_seconds_to_try(device: str, durations: Sequence[float], *, batched: bool) -> tuple[float | None, ...]:
    """Caps on a batch's seconds that are worth a trial on the device, smallest first; None is one at a time.

    A cap that holds no two of the durations is none: padded, they take twice the longer one.
    """
    if not batched or len(durations) < 2:
        return (None,)
    two = 2 * sorted(durations)[1]
    caps = GPU_BATCH_SECONDS if device.startswith("cuda") else CPU_BATCH_SECONDS
    return (None, *(cap for cap in caps if cap >= two))
