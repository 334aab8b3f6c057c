"""An update is the same however its labels come: in one batch, in several, in parts; and a bad one moves nothing."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from finetune import models
from finetune.config import ModelConfig, OptimisationConfig
from finetune.models.base import Batch, EvaluationOutput, Example, Hypothesis, TrainableRecogniser, pad_batch
from finetune.training import step
from finetune.training.optimisation import make_optimiser, make_schedule
from finetune.training.step import LogInterval, Stepper, StepResult
from preprocessing.errors import InputError
from tests.finetune.runs import TINY, TINY_WHISPER


class Toy(TrainableRecogniser):
    """A summed squared error over labels, with as many labels as each example says."""

    def __init__(self) -> None:
        self.module = ToyModule()

    def prepare(self, index: int, waveform: torch.Tensor, labels: tuple[int, ...]) -> Example:
        return Example(index, waveform[:3], labels, len(waveform))

    def encode(self, text: str) -> tuple[int, ...]:
        return tuple(map(ord, text))

    def fits(self, n_samples: int, labels: Sequence[int]) -> bool:
        return True

    def rejection_reason(self, n_samples: int, text: str, *, is_silence: bool = False) -> str | None:
        return None

    def check_labels(self, texts: Sequence[str]) -> None:
        """Anything is a label."""

    def evaluate(self, module: nn.Module, batch: Batch) -> EvaluationOutput:
        return EvaluationOutput(float(module(batch, None)), [Hypothesis("", None) for _ in batch.indices])

    def save(self, folder: Path, module: nn.Module) -> None:
        torch.save(module.state_dict(), folder / "toy.pt")


class ToyModule(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((1, 3), 0.5))
        self.fails = 0
        self.seeds: list[int] = []

    def forward(self, batch: Batch, generator: torch.Generator | None) -> torch.Tensor:
        self.seeds += [generator.initial_seed()] if generator is not None else []
        if self.fails and len(batch.indices) > self.fails:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return ((batch.inputs @ self.weight[0]).square() * batch.label_lengths).sum()


def examples(n: int) -> list[Example]:
    generator = torch.Generator().manual_seed(0)
    return [Example(i, torch.randn(3, generator=generator), (5,) * (1 + i % 4), 16_000) for i in range(n)]


def updated(batches: list[list[Example]], *, fails: int = 0, value: float = 1.0) -> tuple[torch.Tensor, StepResult]:
    """Weights after two updates over the batches, and the second outcome."""
    toy = Toy()
    config = OptimisationConfig(max_steps=10, learning_rate=0.1, max_grad_norm=0.3)
    optimiser = make_optimiser(toy, config)
    stepper = Stepper(Accelerator(cpu=True), toy, optimiser, make_schedule(optimiser, config), config)
    toy.module.fails = fails
    padded = [pad_batch(batch) for batch in batches]
    padded[0].inputs.mul_(value)
    for _ in range(2):
        outcome = stepper.step(toy.module, padded, lambda number: torch.Generator().manual_seed(number))
    return toy.module.weight.detach(), outcome


def test_accumulated_batches_equal_the_large_one() -> None:
    """Batches with different numbers of labels: a mean of means would be off."""
    whole, told = updated([examples(12)])
    for cut in (1, 5, 11):
        parts, found = updated([examples(12)[:cut], examples(12)[cut:]])
        torch.testing.assert_close(parts, whole, atol=1e-6, rtol=1e-6)
        assert found.loss_sum == pytest.approx(told.loss_sum, rel=1e-5)
        assert found.n_labels == told.n_labels == sum(1 + i % 4 for i in range(12))
        assert found.grad_norm == pytest.approx(told.grad_norm, rel=1e-5)


def test_steps_are_those_of_a_plain_loop() -> None:
    """Four in a row: no gradient of an earlier one, the norm cut to its maximum, the rate of the schedule."""
    toy = Toy()
    config = OptimisationConfig(
        max_steps=4, max_grad_norm=0.8, lr_scheduler_type="linear", warmup_ratio=0.0, hold_ratio=0.0
    )
    optimiser = torch.optim.SGD(toy.module.parameters(), lr=0.3)
    stepper = Stepper(Accelerator(cpu=True), toy, optimiser, make_schedule(optimiser, config), config)
    batches = [pad_batch(examples(12)[:5]), pad_batch(examples(12)[5:])]
    inputs, n_labels = (torch.cat([getattr(one, name) for one in batches]) for name in ("inputs", "label_lengths"))
    weight, norms = torch.full((3,), 0.5), []
    for number in range(4):
        outcome = stepper.step(toy.module, batches, lambda number: torch.Generator().manual_seed(number))
        gradient = 2.0 * ((inputs @ weight) * n_labels) @ inputs / n_labels.sum()
        norms.append(float(gradient.norm()))
        assert outcome.grad_norm == pytest.approx(norms[-1], rel=1e-4)
        weight = weight - 0.3 * (1.0 - number / 4) * gradient * min(1.0, 0.8 / norms[-1])
        torch.testing.assert_close(toy.module.weight.detach()[0], weight, atol=1e-5, rtol=1e-4)
    assert norms[0] > 0.8 > norms[-1]


def test_each_batch_has_masks_of_its_own_whatever_its_parts() -> None:
    toy, config = Toy(), OptimisationConfig(max_steps=10)
    optimiser = make_optimiser(toy, config)
    stepper = Stepper(Accelerator(cpu=True), toy, optimiser, make_schedule(optimiser, config), config)
    for parts, seeds in ((1, [7, 8]), (2, [7, 7, 8, 8])):
        toy.module.seeds, stepper.parts = [], parts
        batches = [pad_batch(examples(4)), pad_batch(examples(4))]
        stepper.step(toy.module, batches, lambda number: torch.Generator().manual_seed(7 + number))
        assert toy.module.seeds == seeds


def test_a_line_of_the_log_is_of_all_steps_since_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "time", SimpleNamespace(perf_counter=lambda: 110.0))
    interval = LogInterval(waiting=4.0, paused=2.0, _began=100.0)
    interval.add(StepResult(6.0, 4, 30.0, 40.0, 1.0, False))
    interval.add(StepResult(2.0, 4, 10.0, 10.0, 3.0, False))
    assert interval.values() == pytest.approx(
        {
            "loss": 1.0,
            "grad_norm": 3.0,
            "audio_seconds_per_second": 5.0,
            "padding_share": 0.2,
            "stall_share": 0.5,
            "skipped_steps": 0,
        }
    )


def test_a_resumed_line_sums_the_losses_of_all_processes_that_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process goes on with its own; the rates are of the steps since."""
    monkeypatch.setattr(step, "time", SimpleNamespace(perf_counter=lambda: 110.0))
    sums = LogInterval(n_labels=4, audio_seconds=30.0, padded_seconds=40.0, skipped=1).sums([0.5, 1.0, 2.0, 4.0])
    for n_processes, losses in ((4, [0.5, 1.0, 2.0, 4.0]), (2, [2.5, 5.0]), (1, [7.5]), (5, [0.5, 1.0, 2.0, 4.0, 0.0])):
        intervals = [LogInterval.resumed(sums, process, n_processes) for process in range(n_processes)]
        assert [one.loss_sum for one in intervals] == losses
    interval = replace(LogInterval.resumed(sums), _began=105.0)
    interval.add(StepResult(2.5, 1, 10.0, 10.0, 1.0, False))
    values = interval.values()
    assert (values["loss"], values["padding_share"], values["skipped_steps"]) == (2.0, pytest.approx(0.2), 1)
    assert values["audio_seconds_per_second"] == 2.0


def test_the_loss_and_norm_of_the_log_are_of_the_steps_that_counted() -> None:
    interval, skipped = LogInterval(), StepResult(float("inf"), 10, 1.0, 1.0, float("nan"), True)
    for result in (StepResult(20.0, 10, 1.0, 1.0, 1.5, False), skipped, StepResult(40.0, 5, 1.0, 1.0, 2.5, False)):
        interval.add(result)
    interval.add(skipped)
    interval.add(StepResult(0.0, 0, 0.0, 0.0, 0.0, False))  # no process had a batch
    values = interval.values()
    assert (values["loss"], values["grad_norm"], values["skipped_steps"]) == (4.0, 2.5, 2)
    none = LogInterval()
    none.add(skipped)
    assert math.isnan(none.values()["loss"]) and math.isnan(none.values()["grad_norm"])


def test_a_recogniser_learns_the_same_however_its_batch_is_cut() -> None:
    """A real one: wav2vec2 in small, waveforms of several lengths, in one batch, in two, and in parts of a batch."""
    weights, outcomes = [], []
    for cuts, parts in (((0, 6), 1), ((0, 2, 6), 1), ((0, 6), 4)):
        config = ModelConfig(scratch=TINY, dropout=0.0, attention_dropout=0.0, mask_time_prob=0.0)
        recogniser = models.build(config, ["stop", "go", "yes"], seed=0)
        generator = torch.Generator().manual_seed(0)
        heard = [
            recogniser.prepare(n, 0.1 * torch.randn(8000 + 900 * n, generator=generator), recogniser.encode(text))
            for n, text in enumerate(("stop", "go", "yes") * 2)
        ]
        settings = OptimisationConfig(max_steps=10)
        optimiser = torch.optim.SGD(recogniser.module.parameters(), lr=1.0)  # Adam makes steps of rounding errors
        stepper = Stepper(Accelerator(cpu=True), recogniser, optimiser, make_schedule(optimiser, settings), settings)
        stepper.parts = parts
        batches = [pad_batch(heard[low:high]) for low, high in pairwise(cuts)]
        before = torch.nn.utils.parameters_to_vector(recogniser.module.parameters()).detach().clone()
        outcomes.append(stepper.step(recogniser.module, batches, lambda n: torch.Generator().manual_seed(n)))
        weights.append(torch.nn.utils.parameters_to_vector(recogniser.module.parameters()).detach())
        assert not torch.equal(weights[-1], before)
        assert outcomes[-1].n_labels == sum(map(recogniser.count_labels, batches)) == 18
    for found, outcome in zip(weights[1:], outcomes[1:], strict=True):
        torch.testing.assert_close(found, weights[0], atol=1e-6, rtol=1e-5)
        assert outcome.loss_sum == pytest.approx(outcomes[0].loss_sum, rel=1e-5)
        assert outcome.grad_norm == pytest.approx(outcomes[0].grad_norm, rel=1e-4)


@pytest.mark.parametrize(("family", "scratch"), [("wav2vec2", TINY), ("whisper", TINY_WHISPER), ("lstm", {})])
def test_a_pass_over_the_idle_batch_reaches_every_weight_and_moves_none(family: Any, scratch: dict[str, Any]) -> None:
    """Processes that share gradients wait for one of each weight."""
    config = ModelConfig(family=family, scratch=scratch, spec_augment="LB" if family != "wav2vec2" else "none")
    recogniser = models.build(config, ["stop", "go"], seed=0)
    loss = recogniser.module.train()(recogniser.idle_batch(), torch.Generator().manual_seed(0))
    assert loss.isfinite()
    (loss * 0.0).backward()
    gradients = [parameter.grad for parameter in recogniser.module.parameters() if parameter.requires_grad]
    assert gradients
    assert all(gradient is not None and not gradient.any() for gradient in gradients)


def test_an_update_without_a_batch_moves_nothing_and_many_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "MAX_SKIPPED", 3)
    toy, config = Toy(), OptimisationConfig(max_steps=10)
    optimiser = make_optimiser(toy, config)
    stepper = Stepper(Accelerator(cpu=True), toy, optimiser, make_schedule(optimiser, config), config)

    def update(batches: list[Batch]) -> StepResult:
        return stepper.step(toy.module, batches, lambda number: torch.Generator().manual_seed(number))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outcomes = [update([]), update([])]
    assert toy.module.weight.tolist() == [[0.5] * 3]
    assert [(outcome.n_labels, outcome.audio_seconds, outcome.skipped) for outcome in outcomes] == [(0, 0.0, False)] * 2
    update([pad_batch(examples(3))])
    update([])
    update([])
    with pytest.raises(InputError, match=r"no utterance could be decoded in 3 consecutive steps.*rejects\.jsonl"):
        update([])


def test_the_schedule_goes_on_at_steps_that_move_nothing() -> None:
    """One without a finite gradient, one without a batch: a run ends at the rate of its last step."""
    toy, config = Toy(), OptimisationConfig(max_steps=10)
    optimiser = make_optimiser(toy, config)
    schedule = make_schedule(optimiser, config)
    stepper = Stepper(Accelerator(cpu=True), toy, optimiser, schedule, config)
    good, bad = pad_batch(examples(3)), pad_batch(examples(3))
    bad.inputs.fill_(math.nan)
    for batches in ([bad], [], [good]):
        stepper.step(toy.module, batches, lambda _: torch.Generator())
    assert schedule.last_epoch == 3


def test_out_of_memory_cuts_batches_in_parts_with_the_same_result(capsys: pytest.CaptureFixture[str]) -> None:
    whole, _ = updated([examples(12)])
    parts, _ = updated([examples(12)], fails=3)
    torch.testing.assert_close(parts, whole, atol=1e-6, rtol=1e-6)
    assert "in 4 parts" in capsys.readouterr().out
    parts, _ = updated([examples(12)[:2], examples(12)[2:]], fails=3)  # after the first has its gradients
    torch.testing.assert_close(parts, whole, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    ("recomputes", "remedy"),
    [(False, "resume with --gradient_checkpointing true, or begin a new run"), (True, "begin a new run")],
)
def test_a_single_utterance_that_does_not_fit_is_said(recomputes: bool, remedy: str) -> None:
    class NeverFits(ToyModule):
        def forward(self, batch: Batch, generator: torch.Generator | None) -> torch.Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory")

    toy, config = Toy(), OptimisationConfig(gradient_checkpointing=recomputes)
    toy.module = NeverFits()
    optimiser = make_optimiser(toy, config)
    stepper = Stepper(Accelerator(cpu=True), toy, optimiser, make_schedule(optimiser, config), config)
    with pytest.raises(InputError, match=rf"4 utterances.*smaller one: {remedy} with a lower --data.max_batch_seconds"):
        stepper.step(toy.module, [pad_batch(examples(4))], lambda _: torch.Generator())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_moves_nothing_and_is_counted(value: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch's schedules warn of steps that no optimiser made
        weights, outcome = updated([examples(3)], value=value)
    assert weights.tolist() == [[0.5] * 3]
    assert outcome.skipped


def test_a_run_that_never_has_a_finite_gradient_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "MAX_SKIPPED", 2)
    with pytest.raises(InputError, match=r"new run with a lower --learning_rate"):
        updated([examples(3)], value=float("nan"))
    toy, config = Toy(), OptimisationConfig(max_steps=10)
    optimiser = make_optimiser(toy, config)
    stepper = Stepper(Accelerator(cpu=True), toy, optimiser, make_schedule(optimiser, config), config)
    good, bad = pad_batch(examples(3)), pad_batch(examples(3))
    bad.inputs.fill_(float("nan"))
    skipped = [stepper.step(toy.module, [one], lambda _: torch.Generator()).skipped for one in (bad, good, bad, good)]
    assert skipped == [True, False, True, False]  # a finite one in between begins the count anew
