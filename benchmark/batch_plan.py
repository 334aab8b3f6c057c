"""Which utterances are timed and how they are batched: pure functions of durations, the same in every run.

Nothing is measured here; `benchmark.runner` measures what these functions choose.
"""

import math
from collections.abc import Sequence
from typing import TypeVar

Element = TypeVar("Element")

CPU_BATCH_SECONDS = (20.0, 40.0, 80.0)
GPU_BATCH_SECONDS = (20.0, 40.0, 80.0, 160.0, 320.0, 640.0)
SMALL_BATCHES = (2, 4, 8)  # utterances, tried where the smallest cap above takes longer than ROUND_SECONDS
ROUND_SECONDS = 4.0  # of computing in a throughput round, by the speed at batch size 1
TRIAL_SECONDS = 1.5  # of computing when a batch size is tried
FEWEST_IN_ROUND = 10  # utterances, unless they take longer than LONGEST_ROUND_SECONDS
LONGEST_ROUND_SECONDS = 20.0  # of computing, two batches aside


def representative(durations: Sequence[float], count: int) -> list[int]:
    """Indices of `count` durations, or of all if they are fewer, from the shortest to the longest.

    The durations in their order are divided into so many shares of equal number, and each share is represented by the
    one next to its mean: of many durations, few have about the mean, and 50 the percentiles, of all. With the shortest
    and the longest of all among few, or the middle ones of skewed shares, a system that takes as long for any utterance
    would look faster or slower.

    >>> representative([5.0, 1.0, 9.0, 3.0, 7.0, 30.0], 3)
    [1, 0, 2]
    """
    in_order = sorted(range(len(durations)), key=durations.__getitem__)
    count = min(count, len(durations))
    chosen = []
    for place in range(count):
        share = in_order[place * len(in_order) // count : (place + 1) * len(in_order) // count]
        mean = sum(durations[index] for index in share) / len(share)
        chosen.append(min(share, key=lambda index: abs(durations[index] - mean)))
    return chosen


def representative_seconds(durations: Sequence[float], seconds: float) -> list[int]:
    """Indices as of `representative` that last about `seconds` together; at least one."""
    mean = sum(durations) / len(durations)
    return representative(durations, max(round(seconds / mean), 1) if mean > 0 else 1)


def seconds_of_round(durations: Sequence[float], single_rtfx: float, cap: float | None) -> float:
    """Seconds of audio in a throughput round: ROUND_SECONDS of computing, two batches and, where they take no longer
    than LONGEST_ROUND_SECONDS, FEWEST_IN_ROUND utterances at the least. single_rtfx: one utterance at a time.

    >>> seconds_of_round([0.5] * 100, 0.25, None), seconds_of_round([0.5] * 100, 50.0, 20.0)
    (5.0, 200.0)
    """
    several = min(FEWEST_IN_ROUND * sum(durations) / len(durations), single_rtfx * LONGEST_ROUND_SECONDS)
    return max(single_rtfx * ROUND_SECONDS, several, 2 * (cap or 0.0))


def rotated(elements: Sequence[Element], by: int) -> list[Element]:
    """The elements with another one first for every `by`: each system starts a round in turn, on a cool machine too.

    >>> rotated("abc", 4)
    ['b', 'c', 'a']
    """
    first = by % len(elements) if elements else 0
    return [*elements[first:], *elements[:first]]


def batch_seconds_to_try(
    device: str, durations: Sequence[float], single_rtfx: float, *, batched: bool
) -> tuple[float | None, ...]:
    """Caps on a batch's seconds that are worth a trial on the device, smallest first; None is one at a time.

    A cap that holds no two of the durations is none: padded, they take twice the longer one. A system that needs long
    for the smallest cap, as Whisper does for many short utterances that it pads to 30 s, has caps of few utterances of
    the longer ones (the 90th percentile of durations) before it.
    """
    if not batched or len(durations) < 2:
        return (None,)
    two = 2 * sorted(durations)[1]
    caps = GPU_BATCH_SECONDS if device.startswith("cuda") else CPU_BATCH_SECONDS
    if caps[0] > single_rtfx * ROUND_SECONDS:
        long = sorted(durations)[9 * (len(durations) - 1) // 10]
        caps = (*(cap for count in SMALL_BATCHES if (cap := math.ceil(10 * count * long) / 10) < caps[0]), *caps)
    return (None, *(cap for cap in caps if cap >= two))
