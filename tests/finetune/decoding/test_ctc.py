"""Collapse, feasibility and loss against brute force over every short path."""

from itertools import product

import pytest
import torch
from torch import Tensor, nn

from finetune.decoding.greedy import collapse
from finetune.models.base import Batch, Example, pad_batch
from finetune.models.ctc import CTCModule
from preprocessing.units import frames_needed

UNITS = 3  # blank and two letters


def by_definition(path: tuple[int, ...], blank: int = 0) -> list[int]:
    """B of Graves et al. 2006, written out: a unit is kept where the frame before holds another one."""
    return [unit for frame, unit in enumerate(path) if unit != blank and (frame == 0 or path[frame - 1] != unit)]


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


class Frames(CTCModule):
    """A module of which the loss alone is used."""

    def hidden(self, batch: Batch, generator: torch.Generator | None) -> Tensor:
        return batch.inputs

    def frames(self, n_samples: Tensor) -> Tensor:
        return n_samples


@pytest.mark.parametrize("blank", range(UNITS))
def test_the_loss_is_that_of_all_paths_whichever_unit_is_the_blank(blank: int) -> None:
    one, other = (unit for unit in range(UNITS) if unit != blank)
    labels, frames = [[one, other], [other]], [6, 4]
    log_probs = torch.randn(2, 6, UNITS, generator=torch.Generator().manual_seed(0)).log_softmax(dim=-1)
    batch = pad_batch([Example(row, torch.zeros(n), tuple(labels[row]), n) for row, n in enumerate(frames)])
    expected = 0.0
    for row, length in enumerate(frames):
        paths = [path for path in product(range(UNITS), repeat=length) if by_definition(path, blank) == labels[row]]
        chosen = [log_probs[row, range(length), list(path)].double().sum() for path in paths]
        expected -= float(torch.stack(chosen).logsumexp(dim=0))
    found = Frames(nn.Identity(), blank=blank).loss(batch, log_probs, torch.tensor(frames))
    assert float(found) == pytest.approx(expected, rel=1e-5)
