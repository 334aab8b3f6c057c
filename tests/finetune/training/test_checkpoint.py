"""Checkpoints: a full disk and damaged files cost none but the last, and what is restored is what was saved."""

import json
import random
import resource
import signal
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from finetune import training_run
from finetune.config import DataConfig, TrainConfig
from finetune.models import about
from finetune.models.base import pad_batch
from finetune.training import checkpoint
from finetune.training.averaging import MovingAverage
from finetune.training.checkpoint import Progress, Ranked, States
from finetune.training.evaluation import Evaluator
from finetune.training.run_folder import RunWriter
from finetune.training.step import IntervalSums
from preprocessing.errors import InputError
from preprocessing.text import profile
from tests.finetune.training.small_loop import evaluation, loop_of

Parts = tuple[nn.Module, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]


@pytest.fixture
def parts() -> Parts:
    module = nn.Linear(300, 300)
    optimiser = torch.optim.AdamW(module.parameters())
    return module, optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, lambda _: 1.0)


def test_a_full_disk_leaves_the_last_checkpoint_and_says_so(parts: Parts, tmp_path: Path) -> None:
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
    parts: Parts,
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
    parts: Parts,
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
        monkeypatch.setattr(Evaluator, "run", lambda *_, **__: evaluation(0.5))
        monkeypatch.setattr(RunWriter, "draw_curve", lambda _: None)
        monkeypatch.setattr(loop, "_own_batches", lambda begun=begun: iter(batches[begun:]))
        assert loop.run()
        weights = [(last / name).read_bytes() for name in ("weights.safetensors", "average.safetensors")]
        steps = [(line["kind"], line["step"], line.get("loss")) for line in loop._writer.read_log()]
        ends.append((weights, steps))
    assert ends[0] == ends[1]
    assert len(notes) == 1 and "step-00000004: damaged" in notes[0]


def test_the_scale_of_float16_gradients_goes_on(parts: Parts, tmp_path: Path) -> None:
    module, optimiser, schedule = parts
    lowered, fresh = (torch.amp.GradScaler("cpu", init_scale=scale) for scale in (512.0, 65536.0))
    states = States(optimiser.state_dict(), schedule.state_dict(), [checkpoint.random_states()], lowered.state_dict())
    saved = checkpoint.save(tmp_path, module, states, Progress(step=1))
    checkpoint.restore(saved, module, schedule, optimiser.load_state_dict, scaler=fresh)
    assert fresh.get_scale() == 512.0


def test_what_is_drawn_after_a_checkpoint_is_drawn_again_after_it_is_restored(parts: Parts, tmp_path: Path) -> None:
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
    """A ranking is a list of lists in the file; one of an earlier version has no evaluation that is due, and no sums of
    the log's next line.
    """
    content = {
        "step": 20, "batches": 40, "audio_seconds": 60.5, "ranking": [[0.4, 0.25, 10], [0.5, 0.25, 20]],
        "evaluations_since_best": 1, "fingerprint": "run", "validation": "dev",
    }  # fmt: skip
    (tmp_path / "progress.json").write_text(json.dumps(content))
    progress = checkpoint.read_progress(tmp_path)
    assert [one.step for one in progress.ranking] == [10, 20] and progress.ranking[0].rates == (0.4, 0.25)
    none = {
        "loss_sums": [],
        "n_labels": 0,
        "audio_seconds": 0.0,
        "padded_seconds": 0.0,
        "skipped": 0,
        "grad_norm": None,
    }
    assert json.loads(json.dumps(asdict(progress))) == content | {"evaluation_due": False, "interval": none}
    assert progress.interval == IntervalSums()
    sums = {"loss_sums": [3.5, 0.1], "n_labels": 7, "audio_seconds": 4.0, "padded_seconds": 5.0, "skipped": 1}
    content |= {"evaluation_due": True, "interval": sums | {"grad_norm": 0.3}}
    (tmp_path / "progress.json").write_text(json.dumps(content))
    progress = checkpoint.read_progress(tmp_path)
    assert progress.interval == IntervalSums((3.5, 0.1), 7, 4.0, 5.0, 1, 0.3)
    assert json.loads(json.dumps(asdict(progress))) == content
