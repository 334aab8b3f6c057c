"""A run that is killed or stopped at any moment, saving included, goes on and ends with the same weights."""

import itertools
import json
import math
import multiprocessing
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from finetune import models
from finetune.config import DataConfig, ModelConfig, TrainConfig
from finetune.data.corpora import MAIN
from finetune.data.examples import Examples
from finetune.models import about
from finetune.models.base import pad_batch
from finetune.training import checkpoint
from finetune.training import evaluation as evaluation_module
from finetune.training.checkpoint import Progress, Ranked, States
from finetune.training.evaluation import Evaluator
from finetune.training.log import BEST
from finetune.training.loop import STOPPING, TrainingLoop
from finetune.training.optimisation import make_optimiser, make_schedule
from finetune.training.run_folder import RunWriter
from preprocessing import audio
from preprocessing.corpus import Utterance
from preprocessing.text import profile
from tests.attack import jobs
from tests.attack.interruptions import interrupted
from tests.attack.trials import Setting
from tests.finetune.runs import TINY
from tests.finetune.training.small_loop import evaluation, loop_of


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_stopped_at_four_random_moments_it_ends_with_the_same_weights(tmp_path: Path) -> None:
    """`python -m tests.attack --only interruptions` does so more often, to every command."""
    setting = Setting(rounds=2, seed=1, folder=tmp_path, say=print)
    trials = list(interrupted(jobs.train(tmp_path), setting, (signal.SIGKILL, signal.SIGINT)))
    jobs.close_forkers()
    assert sum(trial.times for trial in trials) == 4
    assert [trial.lost for trial in trials if trial.lost is not None] == []


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


def test_the_log_of_a_run_that_was_stopped_is_that_of_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines of three steps each, of which one has no finite gradient; stopped in each of these steps in turn, after a
    step or from a checkpoint's evaluation.
    """
    torch.manual_seed(0)
    recogniser = loop_of(tmp_path)._recogniser
    waveforms = [torch.randn(8_000 + 100 * place) for place in range(12)]
    waveforms[2] = torch.full((8_000,), math.nan)
    examples = [recogniser.prepare(place, one, recogniser.encode("YES")) for place, one in enumerate(waveforms)]
    batches = [[pad_batch(examples[place : place + 2])] for place in range(0, 12, 2)]
    monkeypatch.setattr(TrainingLoop, "_evaluate", lambda *_: None)

    def log_of(folder: Path, stops: Sequence[int]) -> list[dict[str, Any]]:
        folder.mkdir()
        begun = 0
        for stop in (*stops, None):
            loop = loop_of(folder, max_steps=6, eval_steps=5, logging_steps=3, learning_rate=0.01)
            torch.manual_seed(0)
            if begun:
                assert loop.resume(checkpoint.latest(folder / "checkpoints") or folder).step == begun

            def own_batches(loop: TrainingLoop = loop, begun: int = begun, stop: int | None = stop) -> Any:
                for step, batch in enumerate(batches[begun:], start=begun + 1):
                    loop._interrupted = stop is not None and step > stop
                    yield batch

            monkeypatch.setattr(loop, "_own_batches", own_batches)
            assert loop.run() == (stop is None)
            begun = 0 if stop is None else stop
        lines = loop._writer.read_log()
        for line in lines:
            del line["audio_seconds_per_second"], line["stall_share"]
        return lines

    whole = log_of(tmp_path / "whole", ())
    assert [(line["step"], line["skipped_steps"]) for line in whole] == [(3, 1), (6, 0)]
    for place, stops in enumerate(((1,), (2,), (3,), (4,), (5,), (1, 2, 5))):
        assert log_of(tmp_path / str(place), stops) == whole, stops


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
        monkeypatch.setattr(Evaluator, "run", lambda *_, **__: evaluation(rates[loop._progress.step]))
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
