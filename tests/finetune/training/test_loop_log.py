"""What the training loop writes to the log: rates of training alone, the output layer's learning rate, samples."""

from dataclasses import replace
from itertools import repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from finetune.models.base import pad_batch
from finetune.training import loop as loop_module
from finetune.training.display import Display
from finetune.training.evaluation import ValidationSample
from finetune.training.loop import TrainingLoop
from finetune.training.step import LogInterval
from tests.finetune.training.small_loop import evaluation, loop_of


def four_steps(folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> TrainingLoop:
    """A loop with a line of the log each second step, which saves and evaluates nothing."""
    loop = loop_of(folder, max_steps=4, logging_steps=2, **settings)
    recogniser = loop._recogniser
    batch = pad_batch([recogniser.prepare(0, torch.randn(8_000), recogniser.encode("YES"))])
    monkeypatch.setattr(loop, "_own_batches", lambda: repeat([batch]))
    monkeypatch.setattr(loop, "_save_checkpoint", lambda _: None)
    monkeypatch.setattr(loop, "_evaluate", lambda *_: None)
    return loop


def test_the_time_of_a_line_is_without_the_evaluation_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, clock, paused = four_steps(tmp_path, monkeypatch, eval_steps=2), [0.0], list[float]()

    def evaluate(*_: object) -> None:
        clock[0] += 60.0

    monkeypatch.setattr(loop_module, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(loop, "_evaluate", evaluate)
    monkeypatch.setattr(LogInterval, "values", lambda interval: paused.append(interval.paused) or {"loss": 1.0})
    monkeypatch.setattr(Display, "show_training", lambda *_: None)
    assert loop.run()
    assert paused == [0.0, 60.0]


def test_the_learning_rate_of_a_line_is_the_output_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers below it learn the slower."""
    schedule = {"lr_scheduler_type": "linear", "warmup_ratio": 0.0, "hold_ratio": 0.0}
    loop, rates = four_steps(tmp_path, monkeypatch, layer_decay=0.5, learning_rate=0.01, **schedule), list[float]()
    monkeypatch.setattr(loop, "_log", lambda _, values: rates.append(values["learning_rate"]))
    assert loop.run()
    assert rates == pytest.approx([0.005, 0.0])


def test_the_samples_of_an_evaluation_are_spread_over_its_utterances() -> None:
    transcripts = tuple(ValidationSample(f"u{n}", "", "", None) for n in range(10))
    assert [one.id for one in replace(evaluation(0.5), transcripts=transcripts).samples] == ["u0", "u3", "u6"]
