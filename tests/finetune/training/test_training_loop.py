"""The training loop: its steps, evaluations and checkpoints in order, the best weights, and averages of weights."""

import itertools
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import safetensors.torch
import torch
from accelerate import Accelerator
from torch import nn

from finetune.data.corpora import MAIN
from finetune.models.base import pad_batch
from finetune.training import loop as loop_module
from finetune.training.averaging import MovingAverage
from finetune.training.evaluation import Evaluation, Evaluator
from finetune.training.log import BEST
from finetune.training.loop import Best
from finetune.training.run_folder import RunWriter
from finetune.training.step import StepResult
from tests.finetune.training.small_loop import evaluation, loop_of


@pytest.mark.parametrize(("of_mean", "is_saved"), [(0.39, True), (0.4, False), (0.5, False)])
def test_a_run_saves_the_best_weights_and_at_its_end_their_mean_where_it_is_better(
    of_mean: float, is_saved: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Early stopping ends it at step 5. At each evaluation, a weight is set to the error rate."""
    loop = loop_of(tmp_path, average_best=2, early_stopping_patience=2, max_steps=100, eval_steps=1)
    rates = iter((0.9, 0.5, 0.7, 0.4, 0.6, 0.45, of_mean))
    saved_before, drawn, weights = [], [], list[float]()

    def saved() -> str | None:
        path = tmp_path / "samples.jsonl"
        return json.loads(path.read_text())["hypothesis"] if path.is_file() else None

    def run(_: Evaluator, __: Accelerator, module: nn.Module, *___: object, **____: object) -> Evaluation:
        rate, weight = next(rates), next(module.parameters())
        saved_before.append(saved())
        weights.append(float(weight.detach().mean()))
        nn.init.constant_(weight, rate)
        return evaluation(rate)

    monkeypatch.setattr(Evaluator, "run", run)
    monkeypatch.setattr(RunWriter, "draw_curve", lambda _: drawn.append(saved()))
    monkeypatch.setattr(loop, "_own_batches", lambda: itertools.repeat([]))
    assert loop.run()
    assert loop.early_end == "stopped at step 5 of 100: no better WER in 2 evaluations (--early_stopping_patience)"
    assert saved_before == [None, "0.9", "0.5", "0.5", "0.4", "0.4", "0.4"]
    assert weights[-1] == pytest.approx((0.4 + 0.45) / 2)
    expected = [([0], "wer", 0.9), ([1], "wer", 0.5), ([3], "wer", 0.4), *[([3, 5], "wer", of_mean)] * is_saved]
    lines = [line for line in RunWriter(tmp_path).read_log() if line["kind"] == BEST]
    assert [(line["steps"], line["metric"], line["wer"]) for line in lines] == expected
    best = Best("wer", of_mean, (3, 5)) if is_saved else Best("wer", 0.4, (3,))
    assert loop.best == best
    assert saved() == drawn[-1] == f"{best.rate}"


@pytest.mark.parametrize("lost_here", [True, False])
def test_the_mean_is_said_to_be_of_the_weights_that_are_there(
    lost_here: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the three best evaluations, at steps 2 to 4, the weights of step 3 are lost, to this process or another."""
    loop = loop_of(tmp_path, average_best=3, max_steps=4, eval_steps=1)
    rates, kept = iter((0.9, 0.8, 0.6, 0.5, 0.4, 0.3)), tmp_path / "checkpoints" / "best"
    average_best = loop._average_best
    monkeypatch.setattr(Evaluator, "run", lambda *_, **__: evaluation(next(rates)))
    monkeypatch.setattr(RunWriter, "draw_curve", lambda _: None)
    monkeypatch.setattr(loop, "_own_batches", lambda: itertools.repeat([]))

    def with_one_lost(*arguments: Any) -> None:
        names = {"1.safetensors", "2.safetensors", "3.safetensors", "4.safetensors"}
        assert {path.name for path in kept.iterdir()} == names, "the checkpoint before the last ranks step 1"
        if lost_here:
            (kept / "3.safetensors").unlink()
        else:
            monkeypatch.setattr(loop_module, "gather_object", lambda own: [*own, (4, 2)])
        average_best(*arguments)

    monkeypatch.setattr(loop, "_average_best", with_one_lost)
    assert loop.run() and loop.best == Best("wer", 0.3, (2, 4))
    said = capsys.readouterr().out
    assert "missing, at step 3: the mean is without" in said and "mean of steps 2, 4  WER 30.0 %" in said
    steps = [line["steps"] for line in loop._writer.read_log() if line["kind"] in ("average", BEST)]
    assert steps[-2:] == [[2, 4], [2, 4]]


def test_a_training_makes_its_steps_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluations and checkpoints each second step and at the end, the head alone at first, masks new at each step."""
    loop = loop_of(
        tmp_path, max_steps=5, eval_steps=2, logging_steps=2, head_only_steps=2, gradient_accumulation_steps=3
    )
    recogniser, only_head, evaluated, saved = loop._recogniser, [], [], []
    batch = pad_batch([recogniser.prepare(0, torch.randn(8_000), recogniser.encode("YES"))])
    monkeypatch.setattr(loop, "_own_batches", lambda: iter([[batch]] * 5))
    monkeypatch.setattr(recogniser, "train_head_only", only_head.append)
    monkeypatch.setattr(loop, "_evaluate", lambda *_: evaluated.append(loop._progress.step))
    monkeypatch.setattr(loop, "_save_checkpoint", lambda *_: saved.append(loop._progress.step))
    seeds = {loop._mask_generator(number).initial_seed() for number in range(3)}
    assert loop.run() and loop.early_end is None
    assert only_head == [True, True, False, False, False]
    assert (evaluated, saved) == ([0, 2, 4, 5], [2, 4, 5])
    assert (loop._progress.batches, loop._progress.audio_seconds) == (15, 2.5)
    assert len(seeds | {loop._mask_generator(number).initial_seed() for number in range(3)}) == 6


def test_the_moving_average_is_over_the_steps_that_change_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of five steps has no finite gradient, one no batch; a loop resumed before the last two has the same average
    as one that was not stopped.
    """
    settings = {"max_steps": 5, "eval_steps": 3, "logging_steps": 10, "learning_rate": 0.01, "ema_decay": 0.5}
    whole, resumed = loop_of(tmp_path / "whole", **settings), loop_of(tmp_path / "resumed", **settings)
    recogniser, count = whole._recogniser, whole._count
    good, bad = (
        pad_batch([recogniser.prepare(0, waveform, recogniser.encode("YES"))])
        for waveform in (torch.randn(8_000), torch.full((8_000,), math.nan))
    )
    batches = [[good], [bad], [good], [], [good]]
    trained = {name: weight for name, weight in recogniser.module.named_parameters() if weight.requires_grad}
    expected = {name: weight.detach().double() for name, weight in trained.items()}
    skipped, decays = [], iter((2 / 11, 3 / 12, 4 / 13))  # at first (1 + steps) / (10 + steps) instead of ema_decay

    def average(result: StepResult) -> None:
        skipped.append(result.skipped)
        if result.n_labels and not result.skipped:
            decay = next(decays)
            for name, weight in trained.items():
                expected[name] = decay * expected[name] + (1 - decay) * weight.detach().double()
        count(result)

    monkeypatch.setattr(whole, "_count", average)
    last = Path("checkpoints", "step-00000005", "average.safetensors")
    averages = []
    for loop in (whole, resumed):
        begun = loop.resume(tmp_path / "whole/checkpoints/step-00000003").step if loop is resumed else 0
        monkeypatch.setattr(loop, "_evaluate", lambda *_: None)
        monkeypatch.setattr(loop, "_own_batches", lambda begun=begun: iter(batches[begun:]))
        assert loop.run()
        averages.append(safetensors.torch.load_file(str(loop._writer.folder / last)))
    assert skipped == [False, True, False, False, False] and next(decays, None) is None
    for name in trained:
        torch.testing.assert_close(averages[0][name].double(), expected[name], rtol=1e-5, atol=1e-7)
        assert torch.equal(averages[1][name], averages[0][name])


def test_the_moving_average_is_what_is_evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, found = loop_of(tmp_path), []
    weight = next(loop._recogniser.module.parameters())
    loop._average = MovingAverage(loop._recogniser.module, 0.5)
    averaged = weight.detach().clone()
    nn.init.zeros_(weight)

    def run(_: Accelerator, module: nn.Module, *__: object) -> Evaluation:
        found.append(next(module.parameters()).detach().clone())
        return evaluation(0.5)

    monkeypatch.setattr(loop._evaluators[MAIN], "run", run)
    monkeypatch.setattr(loop, "_report", lambda *_: None)
    monkeypatch.setattr(loop, "_rank", lambda *_: None)
    loop._evaluate(loop._recogniser.module, SimpleNamespace(show_validating=print))  # type: ignore[arg-type]
    assert torch.equal(found[0], averaged) and not weight.any()
