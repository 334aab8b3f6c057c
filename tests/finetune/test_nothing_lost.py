"""A run killed at random moments, saving included, ends with the same weights; a full disk leaves what was saved."""

import resource
import signal
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from finetune import models
from finetune.config import DataConfig, ModelConfig, TrainConfig
from finetune.data.corpora import MAIN
from finetune.data.examples import Examples
from finetune.training import checkpoint
from finetune.training.checkpoint import Progress, States
from finetune.training.evaluation import Evaluation, Evaluator
from finetune.training.loop import TrainingLoop
from finetune.training.optimisation import make_optimiser, make_schedule
from finetune.training.run_folder import RunWriter
from preprocessing.cli.errors import InputError
from preprocessing.corpus import Utterance
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


def test_the_scale_of_float16_gradients_goes_on(
    parts: tuple[nn.Module, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler], tmp_path: Path
) -> None:
    module, optimiser, schedule = parts
    lowered, fresh = (torch.amp.GradScaler("cpu", init_scale=scale) for scale in (512.0, 65536.0))
    states = States(optimiser.state_dict(), schedule.state_dict(), [checkpoint.random_states()], lowered.state_dict())
    saved = checkpoint.save(tmp_path, module, states, Progress(step=1))
    checkpoint.restore(saved, module, schedule, optimiser.load_state_dict, scaler=fresh)
    assert fresh.get_scale() == 512.0


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


def test_a_step_that_is_evaluated_again_is_ranked_once(tmp_path: Path) -> None:
    """A run that is stopped before its first step evaluates it anew when resumed: its weights are averaged once."""
    config = TrainConfig(
        output_dir=tmp_path,
        model=ModelConfig(scratch=TINY, dropout=0.0),
        data=DataConfig(train=["train.jsonl"], validation="dev.jsonl"),
        average_best=3,
    )
    recogniser = models.build(config.model, ["YES"], seed=0)
    examples = Examples([Utterance("u", "a.wav", "YES", 1.0)], [recogniser.encode("YES")], recogniser)
    evaluator = Evaluator(examples, profile("librispeech"), recogniser, max_batch_seconds=80.0)
    loop = TrainingLoop(
        config, Accelerator(cpu=True), recogniser, examples, {MAIN: evaluator}, RunWriter(tmp_path), "run"
    )
    for _ in range(2):
        loop._rank(recogniser.module, Evaluation(1.0, 0.5, 0.25, 1, 0, 0, None, ()))
    assert loop._progress.ranking == ((0.5, 0.25, 0),)
    assert loop._progress.evaluations_since_best == 0


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
    ranked = Progress(step=20, ranking=((0.1, 0.05, 10), (0.2, 0.1, 20)), evaluations_since_best=1, fingerprint="run")
    before_digests = checkpoint.save(tmp_path / "old", recogniser.module, states, ranked)
    resumed = loop_over("YES", "NO").resume(before_digests)
    assert (resumed.ranking, resumed.evaluations_since_best) == (ranked.ranking, 1)
    saved = checkpoint.save(tmp_path / "new", recogniser.module, states, resumed)
    assert loop_over("YES", "NO").resume(saved) == resumed
    assert capsys.readouterr().out == ""
    other = loop_over("YES", "NO", "NO").resume(saved)
    assert (other.step, other.ranking, other.evaluations_since_best) == (20, (), 0)
    assert "the validation set has changed: the best weights are chosen anew" in capsys.readouterr().out
