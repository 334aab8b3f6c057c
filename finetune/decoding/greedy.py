"""Greedy CTC decoding (Graves et al. 2006, section 3.1): repeats are collapsed first, then blanks are dropped.

Dropping blanks first would make HELO of HELLO.
"""

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor


def collapse(path: Sequence[int] | Tensor, blank: int) -> list[int]:
    """The labels of a path, which is the best label of each frame [frames], a tensor or, more slowly, a sequence.

    >>> collapse([8, 8, 0, 5, 5, 12, 0, 12, 15, 0], blank=0)
    [8, 5, 12, 12, 15]
    """
    if isinstance(path, Tensor):
        labels = torch.unique_consecutive(path)
        return labels[labels != blank].tolist()  # type: ignore[no-any-return]
    return [label for label, _ in groupby(path) if label != blank]
