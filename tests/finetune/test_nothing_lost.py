"""A run killed at random moments, saving included, ends with the same weights; a full disk leaves what was saved."""

import itertools
import json
import math
import multiprocessing
import random
import resource
import signal
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from accelerate import Accelerator
from torch import nn

from finetune import models, training_run
from finetune.config import DataConfig, ModelConfig, TrainConfig
from finetune.data.corpora import MAIN
from finetune.data.examples import Examples
from finetune.models import about
from finetune.models.base import Batch, EvaluationOutput, Hypothesis, pad_batch
from finetune.training import checkpoint
from finetune.training import evaluation as evaluation_module
from finetune.training import loop as loop_module
from finetune.training.averaging import MovingAverage
from finetune.training.checkpoint import Progress, Ranked, States
from finetune.training.evaluation import Evaluation, Evaluator, ValidationSample
from finetune.training.log import BEST
from finetune.training.loop import STOPPING, Best, TrainingLoop
from finetune.training.optimisation import make_optimiser, make_schedule
from finetune.training.run_folder import RunWriter
from finetune.training.step import StepResult
from preprocessing import audio
from preprocessing.corpus import Utterance
from preprocessing.errors import InputError
from preprocessing.text import profile
from tests.attack import jobs
from tests.attack.interruptions import interrupted
from tests.attack.trials import Setting
from tests.finetune.runs import TINY


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_stopped_at_four_random_moments_it_ends_with_the_same_weights(tmp_path: Path) -> None:
    """`python -m tests.attack --only interruptions` does so more often, to every command."""
    setting = Setting(rounds=2, seed=1, folder=tmp_path, say=print)
    trials = list(interrupted(jobs.train(tmp_path), setting, (signal.SIGKILL, signal.SIGINT)))
    jobs.close_forkers()
    assert sum(trial.times for trial in trials) == 4
    assert [trial.lost for trial in trials if trial.lost is not None] == []


@pytest.fixture
def parts() -> tuple[nn.Module, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    module = nn.Linear(300, 300)
    optimiser = torch.optim.AdamW(module.parameters())
    return module, optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, lambda _: 1.0)


def test_a_full_disk_leaves_the_last_checkpoint_and_says_so(
    parts: tuple[nn.Module, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler], tmp_path: Path
) -> None:
    """A limit on the size of files stands for the disk: the kernel refuses the write in the same way."""
    module, optimiser, schedule = parts
    states = States(optimiser.state_dict(), schedule.state_dict(), [checkpoint.random_states()])
    whole = checkpoint.save(tmp_path, module, states, Progress(step=1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(InputError, match=r"step-00000002: cannot be written.*step-00000001 is complete"):
            checkpoint.save(tmp_path, module, states, Progress(step=2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    before = module.weight.detach().clone()
    nn.init.zeros_(module.weight)
    checkpoint.restore(whole, module, schedule, optimiser.load_state_dict)
    assert torch.equal(module.weight, before)


@pytest.mark.parametrize(("kept", "left"), [(1, [4]), (3, [2, 3, 4]), (None, [1, 2, 3, 4])])
def test_as_many_checkpoints_are_kept_as_asked_for(
    kept: int | None,
    left: list[int],
    parts: tuple[nn.Module, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler],
    tmp_path: Path,
) -> None:
    module, optimiser, schedule = parts
    states = States(optimiser.state_dict(), schedule.state_dict(), [checkpoint.random_states()])
    for step in range(1, 5):
        checkpoint.save(tmp_path, module, states, Progress(step=step), kept=kept)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"step-{step:08d}" for step in left]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    """One bit in the middle, as of a disk that has lost it."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("progress.json", lambda path: path.write_text("")),
        ("progress.json", lambda path: path.write_text("[]")),
        ("progress.json", Path.unlink),
        ("weights.safetensors", cut),
        ("average.safetensors", cut),
        ("states.pt", cut),
        ("states.pt", flip),
        ("states.pt", lambda path: path.write_bytes(b"")),
    ],
)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    name: str,
    harm: Callable[[Path], object],
    parts: tuple[nn.Module, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    module, optimiser, schedule = parts
    states = States(optimiser.state_dict(), schedule.state_dict(), [checkpoint.random_states()])
    average = MovingAverage(module, 0.5)
    folder = tmp_path / "checkpoints"
    saved = [checkpoint.save(folder, module, states, Progress(step=step), average) for step in (10, 20)]
    config = TrainConfig(output_dir=tmp_path, data=DataConfig(train=["train.jsonl"]))
    assert training_run._resolve(config)[1] == saved[1] and capsys.readouterr().out == ""
    harm(saved[1] / name)
    assert training_run._resolve(config)[1] == saved[0]
    said = capsys.readouterr().out
    assert said.startswith(f"{saved[1]}: damaged ({name}: ") and said.endswith("before it, step-00000010\n")
    (folder / "step-00000020.copy").mkdir()  # of the user
    checkpoint.save(folder, module, states, Progress(step=15), average, kept=2)
    left = ["step-00000010", "step-00000015", "step-00000020.copy"]
    assert [path.name for path in sorted(folder.iterdir())] == left
    assert training_run._resolve(config)[1] == folder / "step-00000015"


def test_where_all_checkpoints_are_damaged_the_run_is_begun_again(tmp_path: Path) -> None:
    for step in (1, 2):
        (tmp_path / f"step-{step:08d}").mkdir()
    with pytest.raises(InputError, match=r"step-00000002: damaged \(progress.*no earlier .* intact.*--overwrite true"):
        checkpoint.newest_intact(tmp_path, print)
    assert checkpoint.newest_intact(tmp_path / "none", print) is None


def test_processes_that_find_different_checkpoints_do_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training_run._check_same_checkpoint(tmp_path, None)
    monkeypatch.setattr(training_run, "gather_object", lambda own: [*own, "step-00000010"])
    training_run._check_same_checkpoint(tmp_path, tmp_path / "step-00000010")
    for found in (None, tmp_path / "step-00000020"):
        with pytest.raises(InputError, match=r"different checkpoints to resume from \((none|step-00000020), step-0"):
            training_run._check_same_checkpoint(tmp_path, found)


def test_from_an_earlier_checkpoint_the_run_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"max_steps": 4, "eval_steps": 2, "logging_steps": 1, "learning_rate": 0.01, "ema_decay": 0.5}
    last, notes, ends = tmp_path / "checkpoints" / "step-00000004", list[str](), []
    recogniser = loop_of(tmp_path)._recogniser
    batches = [[pad_batch([recogniser.prepare(0, torch.randn(8_000), recogniser.encode("YES"))])] for _ in range(4)]
    for begun in (0, 2):
        loop = loop_of(tmp_path, **settings)
        if begun:
            cut(last / "states.pt")
            found = checkpoint.newest_intact(tmp_path / "checkpoints", notes.append)
            assert found is not None and loop.resume(found).step == begun
        config = TrainConfig(output_dir=tmp_path, data=DataConfig(train=["train.jsonl"]))
        made_of = about.describe(config, parameters=1, training=[], validation=[], text_profile=profile("basic"))
        loop._writer.begin(config, made_of, [], step=begun)
        monkeypatch.setattr(Evaluator, "run", lambda *_: evaluation(0.5))
        monkeypatch.setattr(RunWriter, "draw_curve", lambda _: None)
        monkeypatch.setattr(loop, "_own_batches", lambda begun=begun: iter(batches[begun:]))
        assert loop.run()
        weights = [(last / name).read_bytes() for name in ("weights.safetensors", "average.safetensors")]
        steps = [(line["kind"], line["step"], line.get("loss")) for line in loop._writer.read_log()]
        ends.append((weights, steps))
    assert ends[0] == ends[1]
    assert len(notes) == 1 and "step-00000004: damaged" in notes[0]


def test_the_scale_of_float16_gradients_goes_on(
    parts: tuple[nn.Module, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler], tmp_path: Path
) -> None:
    module, optimiser, schedule = parts
    lowered, fresh = (torch.amp.GradScaler("cpu", init_scale=scale) for scale in (512.0, 65536.0))
    states = States(optimiser.state_dict(), schedule.state_dict(), [checkpoint.random_states()], lowered.state_dict())
    saved = checkpoint.save(tmp_path, module, states, Progress(step=1))
    checkpoint.restore(saved, module, schedule, optimiser.load_state_dict, scaler=fresh)
    assert fresh.get_scale() == 512.0


def test_what_is_drawn_after_a_checkpoint_is_drawn_again_after_it_is_restored(
    parts: tuple[nn.Module, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler], tmp_path: Path
) -> None:
    module, optimiser, schedule = parts

    def drawn() -> list[float]:
        return [random.random(), np.random.rand(), float(torch.rand(1))]

    other = checkpoint.random_states()
    drawn()
    states = States(optimiser.state_dict(), schedule.state_dict(), [other, checkpoint.random_states()])
    saved = checkpoint.save(tmp_path, module, states, Progress(step=1))
    expected = drawn()
    drawn()
    checkpoint.restore(saved, module, schedule, optimiser.load_state_dict, process=1)
    assert drawn() == expected


@pytest.mark.parametrize(
    ("name", "texts", "language", "expected"),
    [
        ("basic", ["今天天气很好", "我们去公园"], None, (0.25, 1.0)),
        ("basic:th", ["one two", "three"], None, (0.25, 1.0)),
        ("basic", ["one two", "three"], "Japanese", (0.25, 1.0)),
        ("basic:de", ["today", "tomorrow"], None, (1.0, 0.25)),
    ],
)
def test_characters_decide_where_words_have_no_spaces(
    name: str, texts: list[str], language: str | None, expected: tuple[float, float]
) -> None:
    """There, a sentence is one word, and a WER of 100 % ranks nothing."""
    recogniser = models.build(ModelConfig(scratch=TINY, dropout=0.0), texts, seed=0)
    utterances = [Utterance(f"u{n}", "a.wav", text, 1.0, language=language) for n, text in enumerate(texts)]
    examples = Examples(utterances, [recogniser.encode(text) for text in texts], recogniser)
    evaluator = Evaluator(examples, profile(name), recogniser, max_batch_seconds=80.0)
    assert Evaluation(1.0, 1.0, 0.25, 1, 0, 0, None, (), evaluator.metric).rates == expected


@pytest.mark.parametrize(("name", "expected"), [("basic:zh", 0.0), ("basic:de", 2 / 5)])
def test_spaces_count_in_validation_where_words_have_them(
    name: str, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    recogniser = models.build(ModelConfig(scratch=TINY, dropout=0.0), ["打 开 灯", "打开灯"], seed=0)
    utterance = Utterance("u", "a.wav", "打 开 灯", 1.0)
    evaluator = Evaluator(Examples([utterance], [[1]], recogniser), profile(name), recogniser, max_batch_seconds=80.0)
    monkeypatch.setattr("finetune.training.evaluation.load_batches", lambda *_, **__: [None])
    heard = [evaluator._transcript("u", "打开灯", None)]
    monkeypatch.setattr(Evaluator, "_evaluate_batch", lambda *_: (heard, 0.0, 1))
    assert evaluator.run(Accelerator(cpu=True), nn.Linear(1, 1)).cer == expected


def loop_of(folder: Path, **settings: Any) -> TrainingLoop:
    """A loop over one utterance, with a small model."""
    config = TrainConfig(
        output_dir=folder,
        model=ModelConfig(scratch=TINY, dropout=0.0),
        data=DataConfig(train=["train.jsonl"], validation="dev.jsonl"),
        **settings,
    )
    recogniser = models.build(config.model, ["YES"], seed=0)
    examples = Examples([Utterance("u", "a.wav", "YES", 1.0)], [recogniser.encode("YES")], recogniser)
    evaluator = Evaluator(examples, profile("librispeech"), recogniser, max_batch_seconds=80.0)
    return TrainingLoop(
        config, Accelerator(cpu=True), recogniser, examples, {MAIN: evaluator}, RunWriter(folder), "run"
    )


def test_a_resumed_run_goes_on_with_the_batch_after_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, starts = loop_of(tmp_path), list[int]()
    states = States(loop._optimiser.state_dict(), loop._schedule.state_dict(), [checkpoint.random_states()])
    saved = checkpoint.save(tmp_path, loop._recogniser.module, states, Progress(step=3, batches=7))
    monkeypatch.setattr(Examples, "batches", lambda _, __, start: (starts.append(start), iter(()))[1])
    for resume in (False, True):
        if resume:
            loop.resume(saved)
        assert next(loop._own_batches()) == []
    assert starts == [0, 7]


def evaluation(wer: float) -> Evaluation:
    return Evaluation(1.0, wer, 0.25, 1, 0, 0, None, (ValidationSample("u", "YES", f"{wer}", None),))


def test_a_step_that_is_evaluated_again_is_ranked_once() -> None:
    """A run that is stopped before its first step evaluates it anew when resumed: its weights are averaged once."""
    once = Progress().with_evaluation((0.5, 0.25), kept=3)
    assert once == once.with_evaluation((0.5, 0.25), kept=3) == Progress(ranking=(Ranked(0.5, 0.25, 0),))


def test_the_lowest_rate_is_the_best_and_patience_counts_from_it() -> None:
    progress, since_best = Progress(), []
    for place, wer in enumerate((0.9, 0.5, 0.7, 0.4, 0.6, 0.45)):
        progress = replace(progress, step=10 * place).with_evaluation((wer, 0.25), kept=2)
        since_best.append(progress.evaluations_since_best)
    assert since_best == [0, 0, 1, 0, 1, 2]
    assert progress.ranking == (Ranked(0.4, 0.25, 30), Ranked(0.45, 0.25, 50))
    last = replace(progress, step=60)
    for rates, steps, since in (((0.4, 0.25), (30, 60), 3), ((0.4, 0.2), (60, 30), 0), ((0.5, 0.0), (30, 50), 3)):
        ranked = last.with_evaluation(rates, kept=2)
        assert (tuple(one.step for one in ranked.ranking), ranked.evaluations_since_best) == (steps, since)


def test_the_progress_of_a_checkpoint_is_read_as_it_is_written(tmp_path: Path) -> None:
    """A ranking is a list of lists in the file; one of an earlier version has no evaluation that is due."""
    content = {
        "step": 20, "batches": 40, "audio_seconds": 60.5, "ranking": [[0.4, 0.25, 10], [0.5, 0.25, 20]],
        "evaluations_since_best": 1, "fingerprint": "run", "validation": "dev",
    }  # fmt: skip
    (tmp_path / "progress.json").write_text(json.dumps(content))
    progress = checkpoint.read_progress(tmp_path)
    assert [one.step for one in progress.ranking] == [10, 20] and progress.ranking[0].rates == (0.4, 0.25)
    assert json.loads(json.dumps(asdict(progress))) == content | {"evaluation_due": False}


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

    def run(_: Evaluator, __: Accelerator, module: nn.Module, *___: object) -> Evaluation:
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


@pytest.mark.parametrize("killed_in", ["save", "place_model"])
def test_a_kill_between_checkpoint_and_model_leaves_what_the_log_says(
    killed_in: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At step 2 the second best evaluation is killed: before its checkpoint, or before its model is in its place."""
    folder = tmp_path / "run"
    killed_of: Any = checkpoint if killed_in == "save" else RunWriter
    original, config = getattr(killed_of, killed_in), TrainConfig(output_dir=folder, data=DataConfig(train=["a.jsonl"]))
    monkeypatch.setattr(RunWriter, "draw_curve", lambda _: None)

    def loop_at(step: int) -> TrainingLoop:
        loop, rates = loop_of(folder, max_steps=3, eval_steps=1), {0: 0.9, 1: 0.6, 2: 0.4, 3: 0.5}
        if step:
            assert loop.resume(checkpoint.latest(folder / "checkpoints") or folder).step == step
        made_of = about.describe(config, parameters=1, training=[], validation=[], text_profile=profile("basic"))
        loop._writer.begin(config, made_of, [], step=step)
        monkeypatch.setattr(loop, "_own_batches", lambda: itertools.repeat([]))
        monkeypatch.setattr(Evaluator, "run", lambda *_: evaluation(rates[loop._progress.step]))
        return loop

    def found() -> tuple[str, list[list[int]]]:
        logged = [line["steps"] for line in RunWriter(folder).read_log() if line["kind"] == BEST]
        return json.loads((folder / "samples.jsonl").read_text())["hypothesis"], logged

    def kill(*arguments: Any, **options: Any) -> Any:
        if loop._progress.step == 2:
            raise KeyboardInterrupt
        return original(*arguments, **options)

    loop = loop_at(0)
    monkeypatch.setattr(killed_of, killed_in, kill)
    with pytest.raises(KeyboardInterrupt):
        loop.run()
    monkeypatch.setattr(killed_of, killed_in, original)
    assert found()[0] == "0.6"
    resumed = loop_at(1 if killed_in == "save" else 2)
    monkeypatch.setattr(resumed, "_train", lambda *_: None)
    assert resumed.run()
    assert found() == (("0.6", [[0], [1]]) if killed_in == "save" else ("0.4", [[0], [1], [2]]))
    assert not list(folder.glob("best*"))
    assert loop_at(resumed._progress.step).run() and found() == ("0.4", [[0], [1], [2]])


@pytest.mark.parametrize("lost_here", [True, False])
def test_the_mean_is_said_to_be_of_the_weights_that_are_there(
    lost_here: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the three best evaluations, at steps 2 to 4, the weights of step 3 are lost, to this process or another."""
    loop = loop_of(tmp_path, average_best=3, max_steps=4, eval_steps=1)
    rates, kept = iter((0.9, 0.8, 0.6, 0.5, 0.4, 0.3)), tmp_path / "checkpoints" / "best"
    average_best = loop._average_best
    monkeypatch.setattr(Evaluator, "run", lambda *_: evaluation(next(rates)))
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

    def run(_: Accelerator, module: nn.Module, __: object) -> Evaluation:
        found.append(next(module.parameters()).detach().clone())
        return evaluation(0.5)

    monkeypatch.setattr(loop._evaluators[MAIN], "run", run)
    monkeypatch.setattr(loop, "_report", lambda *_: None)
    monkeypatch.setattr(loop, "_rank", lambda *_: None)
    loop._evaluate(loop._recogniser.module, SimpleNamespace())  # type: ignore[arg-type]
    assert torch.equal(found[0], averaged) and not weight.any()


def test_an_evaluation_counts_every_utterance_and_every_label_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two batches of one and two words and an utterance without audio, whose words are deleted."""
    texts, modes = ["YES", "NO YES", "NO"], []
    recogniser = models.build(ModelConfig(scratch=TINY, dropout=0.0), texts, seed=0)
    for n, seconds in enumerate((1.0, 2.0)):
        audio.save(tmp_path / f"{n}.wav", 0.1 * torch.randn(round(16_000 * seconds)))
    utterances = [Utterance(f"u{n}", str(tmp_path / f"{n}.wav"), text, 1.0 + n) for n, text in enumerate(texts)]
    examples = Examples(utterances, [recogniser.encode(text) for text in texts], recogniser)
    evaluator = Evaluator(examples, profile("librispeech"), recogniser, max_batch_seconds=3.0)

    def evaluate(module: nn.Module, batch: Batch) -> EvaluationOutput:
        modes.append(module.training)
        hypotheses = [Hypothesis(f"{texts[index].lower()}.", 0.5 * index) for index in batch.indices]
        return EvaluationOutput(18.0, hypotheses)

    monkeypatch.setattr(recogniser, "evaluate", evaluate)
    found = evaluator.run(Accelerator(cpu=True), recogniser.module.train())
    assert modes == [False, False] and recogniser.module.training
    assert [(one.id, one.hypothesis) for one in found.transcripts] == [("u0", "YES"), ("u1", "NO YES"), ("u2", "")]
    assert (found.wer, found.deletions, found.blank_ratio) == (0.25, 1, 0.25)
    assert found.loss == 36.0 / (len("YES") + len("NO YES"))


def test_an_evaluation_that_does_not_fit_into_memory_is_computed_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same figures, from parts of what fits: at most `room` utterances."""
    texts = ["YES", "NO YES", "NO", "YES NO", "NO NO"]
    recogniser = models.build(ModelConfig(scratch=TINY, dropout=0.0), texts, seed=0)
    for n in range(5):
        audio.save(tmp_path / f"{n}.wav", 0.1 * torch.randn(16_000 + 900 * n))
    utterances = [
        Utterance(f"u{n}", str(tmp_path / f"{n}.wav"), text, 1.0 + 900 * n / 16_000) for n, text in enumerate(texts)
    ]
    examples = Examples(utterances, [recogniser.encode(text) for text in texts], recogniser)
    evaluate, sizes = recogniser.evaluate, list[int]()

    def evaluated(room: int) -> Evaluation:
        def limited(module: nn.Module, batch: Batch) -> EvaluationOutput:
            sizes.append(len(batch.indices))
            if len(batch.indices) > room:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return evaluate(module, batch)

        monkeypatch.setattr(recogniser, "evaluate", limited)
        evaluator = Evaluator(examples, profile("librispeech"), recogniser, max_batch_seconds=80.0)
        return evaluator.run(Accelerator(cpu=True), recogniser.module)

    whole = evaluated(room=5)
    assert sizes == [5] and capsys.readouterr().out == ""
    found = evaluated(room=2)
    assert sizes[1:] == [5, 3, 2, 2, 1]
    assert found.loss == pytest.approx(whole.loss, rel=1e-5)
    assert replace(found, loss=whole.loss) == whole
    assert "computed in 4 parts" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"5 utterances, 6 s with padding, does not fit.*max_batch_seconds"):
        evaluated(room=0)


def test_a_run_that_is_stopped_during_an_evaluation_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """SIGTERM comes in the evaluation of step 2: with the first batch of the second set, after the whole of the main
    one. The resumed run ends with the weights and the log of one that was not stopped.
    """
    audio.save(tmp_path / "a.wav", 0.1 * torch.randn(8_000))
    utterance, settings = Utterance("u", str(tmp_path / "a.wav"), "YES", 0.5), {"learning_rate": 0.01, "ema_decay": 0.5}
    monkeypatch.setattr(RunWriter, "draw_curve", lambda _: None)
    own_signals = {which: signal.getsignal(which) for which in STOPPING}

    def begun(folder: Path) -> TrainingLoop:
        folder.mkdir(exist_ok=True)
        loop = loop_of(folder, max_steps=4, eval_steps=2, logging_steps=1, **settings)
        examples = Examples([utterance], [loop._recogniser.encode("YES")], loop._recogniser)
        loop._evaluators = {
            name: Evaluator(examples, profile("librispeech"), loop._recogniser, max_batch_seconds=80.0)
            for name in (MAIN, "calls")
        }
        torch.manual_seed(0)
        return loop

    def to_its_end(loop: TrainingLoop, step: int) -> bool:
        monkeypatch.setattr(loop, "_own_batches", lambda: iter(batches[step:]))
        return loop.run()

    recogniser = loop_of(tmp_path)._recogniser
    batches = [[pad_batch([recogniser.prepare(0, torch.randn(8_000), recogniser.encode("YES"))])] for _ in range(4)]
    assert to_its_end(begun(tmp_path / "whole"), 0)
    stopped = begun(tmp_path / "stopped")
    second, load = stopped._evaluators["calls"], evaluation_module.load_batches

    def interrupted(examples: Any, *more: Any, **options: Any) -> Any:
        for loaded in load(examples, *more, **options):
            if examples is second._examples and stopped._progress.step == 2:
                signal.raise_signal(signal.SIGTERM)
            yield loaded

    monkeypatch.setattr(evaluation_module, "load_batches", interrupted)
    assert not to_its_end(stopped, 0)
    assert capfd.readouterr().err.count("Ctrl-C again ends at once without saving") == 1
    assert {which: signal.getsignal(which) for which in STOPPING} == own_signals
    kinds = [(line["kind"], line["step"]) for line in stopped._writer.read_log()]
    assert ("train", 2) in kinds and ("validation", 2) not in kinds
    resumed = begun(tmp_path / "stopped")
    progress = resumed.resume(checkpoint.latest(tmp_path / "stopped" / "checkpoints") or tmp_path)
    assert (progress.step, progress.evaluation_due) == (2, True)
    assert to_its_end(resumed, 2)
    ends = []
    for folder in (tmp_path / "whole", tmp_path / "stopped"):
        last = folder / "checkpoints" / "step-00000004"
        files = [*last.glob("*.safetensors"), last / "progress.json", folder / "model.safetensors"]
        keys = ("kind", "step", "steps", "loss", "wer", "samples")
        log = [{key: line.get(key) for key in keys} for line in RunWriter(folder).read_log()]
        ends.append((log, {path.name: path.read_bytes() for path in files}))
    assert ends[0] == ends[1]


def test_a_stop_is_said_once_beside_processes_that_load_data(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C in a terminal goes to all of them."""
    with loop_of(tmp_path)._catch_interrupt():
        loading = multiprocessing.get_context("fork").Process(target=signal.raise_signal, args=(signal.SIGINT,))
        loading.start()
        loading.join()
        assert loading.exitcode == 0 and capfd.readouterr().err == ""
        signal.raise_signal(signal.SIGINT)
    assert capfd.readouterr().err.count("stopping after this step") == 1


def test_error_rates_of_another_validation_set_rank_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = TrainConfig(
        output_dir=tmp_path,
        model=ModelConfig(scratch=TINY, dropout=0.0),
        data=DataConfig(train=["train.jsonl"], validation="dev.jsonl"),
    )
    recogniser = models.build(config.model, ["YES", "NO"], seed=0)

    def loop_over(*texts: str) -> TrainingLoop:
        utterances = [Utterance(f"u{number}", "a.wav", text, 1.0) for number, text in enumerate(texts)]
        examples = Examples(utterances, [recogniser.encode(text) for text in texts], recogniser)
        evaluator = Evaluator(examples, profile("librispeech"), recogniser, max_batch_seconds=80.0)
        accelerator, writer = Accelerator(cpu=True), RunWriter(tmp_path)
        return TrainingLoop(config, accelerator, recogniser, examples, {MAIN: evaluator}, writer, "run")

    optimiser = make_optimiser(recogniser, config)
    states = States(optimiser.state_dict(), make_schedule(optimiser, config).state_dict(), [checkpoint.random_states()])
    ranking = (Ranked(0.1, 0.05, 10), Ranked(0.2, 0.1, 20))
    ranked = Progress(step=20, ranking=ranking, evaluations_since_best=1, fingerprint="run")
    before_digests = checkpoint.save(tmp_path / "old", recogniser.module, states, ranked)
    resumed = loop_over("YES", "NO").resume(before_digests)
    assert (resumed.ranking, resumed.evaluations_since_best) == (ranked.ranking, 1)
    saved = checkpoint.save(tmp_path / "new", recogniser.module, states, resumed)
    assert loop_over("YES", "NO").resume(saved) == resumed
    assert capsys.readouterr().out == ""
    other = loop_over("YES", "NO", "NO").resume(saved)
    assert (other.step, other.ranking, other.evaluations_since_best) == (20, (), 0)
    assert "the validation set has changed: the best weights are chosen anew" in capsys.readouterr().out
