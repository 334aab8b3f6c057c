"""How many processes decode by default, and that batches are the same whichever process made them."""

import pytest
import torch
from torch.utils.data import Dataset

from finetune.data import loading
from finetune.data.loading import default_workers, load_batches
from finetune.models.base import Example


class Counting(Dataset[Example]):
    """Utterances whose samples are their number."""

    def __getitem__(self, number: int) -> Example:
        return Example(number, torch.full((number + 1,), float(number)), (1,) * (number + 1), number + 1)


@pytest.mark.parametrize(("cores", "processes", "workers"), [(16, 1, 12), (8, 1, 7), (8, 4, 1), (2, 2, 0), (1, 1, 0)])
def test_beside_a_gpu_one_for_each_further_core(
    monkeypatch: pytest.MonkeyPatch, cores: int, processes: int, workers: int
) -> None:
    monkeypatch.setattr(loading, "usable_cores", lambda: cores)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert default_workers(torch.device("cuda")) == workers
    assert default_workers(torch.device("cpu")) == 0


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_come_in_the_order_of_their_keys(workers: int) -> None:
    keys = [[0, 3], [2], [5, 1, 4]]
    loaded = list(load_batches(Counting(), iter(keys), torch.device("cpu"), workers=workers))
    batches = [one.batch for one in loaded]
    assert [list(batch.indices) for batch in batches if batch is not None] == keys
    assert batches[0] is not None
    assert batches[0].inputs.tolist() == [[0.0, 0.0, 0.0, 0.0], [3.0, 3.0, 3.0, 3.0]]
    assert batches[0].label_lengths.tolist() == [1, 4]


def test_drawing_nothing_from_the_state_that_dropout_draws_from() -> None:
    before = torch.get_rng_state()
    assert len(list(load_batches(Counting(), iter([[0]]), torch.device("cpu"), workers=0))) == 1
    assert torch.equal(before, torch.get_rng_state())
