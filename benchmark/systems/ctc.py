"""What CTC systems share: paths of best units become text, and utterances of like length go through the model together.

What makes frames of waveforms is each family's own.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from benchmark.systems.base import System
from finetune.ctc.collapse import collapse
from preprocessing.units import Vocabulary

A_PASS_COSTS = {"cpu": 5.0, "cuda": 100.0}  # seconds of audio, however little is in it
AT_ONCE_SECONDS = {"cpu": 60.0, "cuda": 480.0}  # of audio and padding in a pass

NO_FRAMES = torch.empty(0, dtype=torch.long)


class CTCSystem(System):
    """Greedy CTC without a language model. An outcome is a list of paths, a unit a frame [frames], on the CPU."""

    batched = True
    longest_in_batch_seconds = 30.0
    _vocabulary: Vocabulary

    def text(self, outcome: Any) -> list[str]:
        return [self._vocabulary.decode(collapse(path, self._vocabulary.blank)) for path in outcome]


def alike(lengths: Sequence[int], *, a_pass_costs: float, most: float) -> list[list[int]]:
    """Indices of utterances that go together, longest first: the division that costs least of all.

    A pass costs what it pads its utterances to and `a_pass_costs`, and holds no more than `most`, padding included, or
    one utterance; all in the unit of lengths. Takes time with the square of their number.

    >>> alike([100, 30, 96, 29], a_pass_costs=10, most=1000)
    [[0, 2], [1, 3]]
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    costs, begins = [0.0], [0]  # of the best division of the first so many, and where its last pass begins
    for end in range(1, len(order) + 1):
        found = []
        for begin in range(end - 1, -1, -1):
            padded = lengths[order[begin]] * (end - begin)
            if padded > most and begin < end - 1:
                break
            found.append((costs[begin] + a_pass_costs + padded, begin))
        cost, begin = min(found)
        costs.append(cost)
        begins.append(begin)
    passes = []
    while order:
        begin = begins[len(order)]
        passes.append(order[begin:])
        order = order[:begin]
    return passes[::-1]


def valid_paths(best: Tensor, n_frames: Sequence[int]) -> list[Tensor]:
    """Best units [batch, frames] on any device -> each utterance's own [frames], on the CPU."""
    return [path[:n] for path, n in zip(best.cpu(), n_frames, strict=True)]
