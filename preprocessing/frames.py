"""Frames of a model: the samples that each one sees, how many wav2vec 2.0 makes, and how many CTC needs for a text.

Imports nothing heavy, so that a command's --help does not wait for torch.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod


@dataclass(frozen=True, slots=True)
class FrameGrid:
    """The samples that frame i is made of: [i * stride, i * stride + receptive_field).

    >>> FrameGrid(320, 400) == WAV2VEC2_GRID == FrameGrid.of_convolutions((10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2))
    True
    """

    stride: int
    receptive_field: int

    def __post_init__(self) -> None:
        if self.stride < 1 or self.receptive_field < 1:
            raise ValueError(f"stride {self.stride}, receptive field {self.receptive_field}; expected 1 or more")

    @classmethod
    def of_convolutions(cls, kernels: Sequence[int], strides: Sequence[int]) -> "FrameGrid":
        """The grid of a stack of unpadded 1-D convolutions, the first one first."""
        before = [prod(strides[:layer]) for layer in range(len(strides))]
        reach = sum((kernel - 1) * step for kernel, step in zip(kernels, before, strict=True))
        return cls(prod(strides), 1 + reach)

    def frames(self, n_samples: int) -> int:
        """The number of frames of `n_samples` samples; 0 below the receptive field.

        >>> WAV2VEC2_GRID.frames(16_000), WAV2VEC2_GRID.frames(399)
        (49, 0)
        """
        return max(0, (n_samples - self.receptive_field) // self.stride + 1)


WAV2VEC2_GRID = FrameGrid(stride=320, receptive_field=400)  # Baevski et al. 2020, section 4.2: 20 ms and 25 ms


def frames_in(seconds: float) -> int:
    """The number of frames that wav2vec 2.0 makes of so many seconds at 16 kHz; 0 below its window of 25 ms.

    >>> frames_in(1.0)
    49
    """
    from preprocessing.audio import SAMPLE_RATE  # which imports torch

    return WAV2VEC2_GRID.frames(round(seconds * SAMPLE_RATE))


def frames_needed(labels: Sequence[Hashable]) -> int:
    """The fewest frames of a CTC path for the labels: one each, and a blank between equal neighbours (Graves et al.
    2006, section 3).

    labels: unit ids, or a text of characters.

    >>> frames_needed([8, 5, 12, 12, 15]), frames_needed("HELLO")
    (6, 6)
    """
    repeats = sum(first == second for first, second in pairwise(labels))
    return len(labels) + repeats
