"""What CTC systems share: paths of best units become text, and utterances of like length go through the model together.

What makes frames of waveforms is each family's own.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmark.systems.base import System
from finetune.ctc.collapse import collapse
from preprocessing.units import Vocabulary

MOST_PADDING = {"cpu": 0.1, "cuda": 1.0}  # of a batch; a GPU is faster with more rows than without padding
AT_ONCE_SECONDS = {"cpu": 60.0, "cuda": 480.0}  # of audio and padding in a pass

NO_FRAMES = torch.empty(0, dtype=torch.long)


class CTCSystem(System):
    """Greedy CTC without a language model. An outcome is a list of paths, a unit a frame [frames], on the CPU."""

    batched = True
    longest_in_batch_seconds = 30.0
    _vocabulary: Vocabulary

    def text(self, outcome: Any) -> list[str]:
        return [self._vocabulary.decode(collapse(path, self._vocabulary.blank)) for path in outcome]


def alike(lengths: Sequence[int], *, most_padding: float, most: float) -> Iterator[list[int]]:
    """Indices of utterances that go together, longest first: little padding, no more than `most` with it.

    lengths: of the utterances, in any unit; most_padding: share of a batch; most: in the unit of lengths.

    >>> list(alike([100, 30, 96, 29], most_padding=0.1, most=1000))
    [[0, 2], [1, 3]]
    """
    together: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if together:
            padded = lengths[together[0]] * (len(together) + 1)
            filled = sum(lengths[i] for i in together) + lengths[index]
            if padded > most or padded - filled > most_padding * padded:
                yield together
                together = []
        together.append(index)
    if together:
        yield together


def valid_paths(best: Tensor, n_frames: Sequence[int]) -> list[Tensor]:
    """Best units [batch, frames] on any device -> each utterance's own [frames], on the CPU."""
    return [path[:n] for path, n in zip(best.cpu(), n_frames, strict=True)]
