"""An update is the same however its labels come: in one batch, in several, in parts; and a bad one moves nothing."""

import warnings

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from finetune.config import OptimisationConfig
from finetune.models.base import Batch, Example, Recogniser, pad_batch
from finetune.training import step
from finetune.training.optimisation import make_optimiser, make_schedule
from finetune.training.step import Outcome, Stepper
from preprocessing.cli.errors import InputError


class Toy(Recogniser):
    """A summed squared error over labels, with as many labels as each example says."""

    def __init__(self) -> None:
        self.module = ToyModule()

    prepare = encode = fits = rejection_reason = check_labels = evaluate = save = None  # type: ignore[assignment]


Toy.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]


class ToyModule(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((1, 3), 0.5))
        self.fails = 0

    def forward(self, batch: Batch, generator: torch.Generator | None) -> torch.Tensor:
        if self.fails and len(batch.indices) > self.fails:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return ((batch.inputs @ self.weight[0]).square() * batch.label_lengths).sum()


def examples(n: int) -> list[Example]:
    generator = torch.Generator().manual_seed(0)
    return [Example(i, torch.randn(3, generator=generator), (5,) * (1 + i % 4), 16_000) for i in range(n)]


def updated(batches: list[list[Example]], *, fails: int = 0, value: float = 1.0) -> tuple[torch.Tensor, Outcome]:
    """Weights after two updates over the batches, and the second outcome."""
    toy = Toy()
    config = OptimisationConfig(max_steps=10, learning_rate=0.1, max_grad_norm=0.3)
    optimiser = make_optimiser(toy, config)
    stepper = Stepper(Accelerator(cpu=True), toy, optimiser, make_schedule(optimiser, config), config)
    toy.module.fails = fails
    padded = [pad_batch(batch) for batch in batches]
    padded[0].inputs.mul_(value)
    for _ in range(2):
        outcome = stepper.update(toy.module, padded, lambda number: torch.Generator().manual_seed(number))
    return toy.module.weight.detach(), outcome


def test_accumulated_batches_equal_the_large_one() -> None:
    """Batches with different numbers of labels: a mean of means would be off."""
    whole, told = updated([examples(12)])
    for cut in (1, 5, 11):
        parts, found = updated([examples(12)[:cut], examples(12)[cut:]])
        torch.testing.assert_close(parts, whole, atol=1e-6, rtol=1e-6)
        assert found.loss_sum == pytest.approx(told.loss_sum, rel=1e-5)
        assert found.n_labels == told.n_labels == sum(1 + i % 4 for i in range(12))
        assert found.gradient_norm == pytest.approx(told.gradient_norm, rel=1e-5)


def test_out_of_memory_cuts_batches_in_parts_with_the_same_result(capsys: pytest.CaptureFixture[str]) -> None:
    whole, _ = updated([examples(12)])
    parts, _ = updated([examples(12)], fails=3)
    torch.testing.assert_close(parts, whole, atol=1e-6, rtol=1e-6)
    assert "in 4 parts" in capsys.readouterr().out


def test_a_single_utterance_that_does_not_fit_is_said() -> None:
    class NeverFits(ToyModule):
        def forward(self, batch: Batch, generator: torch.Generator | None) -> torch.Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory")

    toy, config = Toy(), OptimisationConfig()
    toy.module = NeverFits()
    optimiser = make_optimiser(toy, config)
    stepper = Stepper(Accelerator(cpu=True), toy, optimiser, make_schedule(optimiser, config), config)
    with pytest.raises(InputError, match=r"4 utterances.*max_batch_seconds"):
        stepper.update(toy.module, [pad_batch(examples(4))], lambda _: torch.Generator())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_moves_nothing_and_is_counted(value: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch's schedules warn of steps that no optimiser made
        weights, outcome = updated([examples(3)], value=value)
    assert weights.tolist() == [[0.5] * 3]
    assert outcome.skipped


def test_a_run_that_never_has_a_finite_gradient_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "MOST_SKIPPED", 2)
    with pytest.raises(InputError, match=r"learning_rate"):
        updated([examples(3)], value=float("nan"))
