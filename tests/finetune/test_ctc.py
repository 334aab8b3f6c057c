"""Collapse and feasibility against brute force over every short path."""

from itertools import product

import torch

from finetune.decoding.greedy import collapse
from preprocessing.units import frames_needed

UNITS = 3  # blank and two letters


def by_definition(path: tuple[int, ...]) -> list[int]:
    """B of Graves et al. 2006, written out: a unit is kept where the frame before holds another one."""
    return [unit for frame, unit in enumerate(path) if unit and (frame == 0 or path[frame - 1] != unit)]


def test_collapse_over_all_short_paths() -> None:
    for length in range(8):
        for path in product(range(UNITS), repeat=length):
            assert collapse(path, blank=0) == by_definition(path)


def test_frames_needed_is_the_shortest_path_there_is() -> None:
    shortest: dict[tuple[int, ...], int] = {}
    for length in range(8):
        for path in product(range(UNITS), repeat=length):
            shortest.setdefault(tuple(collapse(path, blank=0)), length)
    for labels, length in shortest.items():
        assert frames_needed(labels) == length


def test_the_loss_is_infinite_exactly_below_frames_needed() -> None:
    for labels in ([1], [1, 1], [1, 2], [1, 1, 2, 2]):
        for frames in range(1, 8):
            log_probs = torch.full((frames, 1, UNITS), 1 / UNITS).log()
            loss = torch.nn.functional.ctc_loss(
                log_probs, torch.tensor([labels]), torch.tensor([frames]), torch.tensor([len(labels)]), reduction="sum"
            )
            assert torch.isinf(loss) == (frames < frames_needed(labels))
