"""What a label sequence asks of a model's frames: how many CTC needs, and how many wav2vec 2.0 gives."""

from collections.abc import Sequence
from itertools import pairwise

STRIDE, RECEPTIVE_FIELD = 320, 400  # samples of wav2vec 2.0's convolutions: 20 ms and 25 ms (Baevski et al. 2020, 4.2)


def frames_needed(labels: Sequence[int]) -> int:
    """Fewest frames that a CTC path for the labels takes: one each, and a blank between equal neighbours.

    >>> frames_needed([8, 5, 12, 12, 15])
    6
    """
    repeats = sum(first == second for first, second in pairwise(labels))
    return len(labels) + repeats


def frames_in(seconds: float) -> int:
    """Frames of 20 ms that wav2vec 2.0 makes of audio at 16 kHz; none below its 25 ms window.

    >>> frames_in(1.0)
    49
    """
    from preprocessing.audio import SAMPLE_RATE  # torch comes with it

    return max((round(seconds * SAMPLE_RATE) - RECEPTIVE_FIELD) // STRIDE + 1, 0)
