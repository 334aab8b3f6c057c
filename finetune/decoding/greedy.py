"""Greedy CTC decoding: the best unit of each frame, repeats collapsed, then blanks dropped, in this order.

Graves et al. 2006, section 3.1. The order matters: dropping blanks first would make HELO of HELLO.
"""

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor


def collapse(path: Sequence[int] | Tensor, blank: int) -> list[int]:
    """Labels of a frame path [frames]: each run of equal units once, then no blanks. A tensor is faster.

    >>> collapse([8, 8, 0, 5, 5, 12, 0, 12, 15, 0], blank=0)
    [8, 5, 12, 12, 15]
    """
    if isinstance(path, Tensor):
        units = torch.unique_consecutive(path)
        return units[units != blank].tolist()  # type: ignore[no-any-return]
    return [unit for unit, _ in groupby(path) if unit != blank]
