"""Averages of weights against their definitions, written out."""

from pathlib import Path

import pytest
import torch
from torch import nn

from finetune.training.averaging import BestWeights, MovingAverage


def module(value: float) -> nn.Linear:
    layer = nn.Linear(2, 1)
    nn.init.constant_(layer.weight, value)
    layer.bias.requires_grad_(False)
    return layer


def test_the_moving_average_is_the_recursion() -> None:
    layer, expected = module(0.0), 0.0
    average = MovingAverage(layer, 0.5)
    for update, value in enumerate((1.0, 3.0, -2.0, 8.0), start=1):
        nn.init.constant_(layer.weight, value)
        average.update()
        decay = min(0.5, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * value
    with average.swapped_in():
        assert layer.weight.tolist() == [[pytest.approx(expected)] * 2]
    assert layer.weight.tolist() == [[8.0, 8.0]]


def test_it_goes_on_from_its_state() -> None:
    first, second = module(1.0), module(1.0)
    whole, resumed = MovingAverage(first, 0.9), MovingAverage(second, 0.9)
    for value in (2.0, 3.0):
        nn.init.constant_(first.weight, value)
        whole.update()
        if value == 2.0:
            resumed.load_state_dict({name: tensor.clone() for name, tensor in whole.state_dict().items()})
    nn.init.constant_(second.weight, 3.0)
    resumed.update()
    assert torch.equal(resumed.state_dict()["weight"], whole.state_dict()["weight"])


def test_the_best_weights_are_kept_and_averaged(tmp_path: Path) -> None:
    best = BestWeights(tmp_path)
    for step, value in enumerate([100.0, 1.0, 5.0, 3.0]):
        best.keep(module(value), step)
    best.delete_others({3, 1, 2})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.safetensors", "2.safetensors", "3.safetensors"]
    mean = module(0.0)
    best.mean_into(mean, [3, 1, 2])
    assert mean.weight.tolist() == [[3.0, 3.0]]
    (tmp_path / "1.safetensors").unlink()
    (tmp_path / "2.safetensors").write_bytes(b"cut")
    assert best.kept([3, 1, 2]) == (3,)
