"""log.jsonl as a run writes it, read back line by line."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from finetune import training_run
from finetune.config import DataConfig, ModelConfig, TrainConfig
from finetune.models import about
from finetune.training.log import BEST, LOG
from finetune.training.loop import Best
from finetune.training.run_folder import RunWriter
from preprocessing.errors import UsageError
from tests.finetune.runs import tiny_run


def test_a_transcript_may_hold_any_line_separator(tmp_path: Path) -> None:
    samples = [["A\u2028B", "A\x85B\x0bC\rD"]]
    writer = RunWriter(tmp_path)
    writer.log(kind="validation", step=1, samples=samples)
    assert [line["samples"] for line in writer.read_log()] == [samples]


def test_a_number_that_is_not_finite_is_null_and_its_run_can_be_drawn(tmp_path: Path) -> None:
    """As of a skipped step and an exploded loss: strict readers take no Infinity and no NaN."""
    writer = RunWriter(tmp_path)
    writer.log(kind="train", step=1, loss=math.nan, grad_norm=math.inf, learning_rate=1e-3)
    writer.log(kind="validation", step=1, loss=-math.inf, wer=1.0, cer=1.0)
    assert [(line["loss"], line.get("grad_norm")) for line in writer.read_log()] == [(None, None), (None, None)]
    writer.draw_curve()


def test_a_line_that_a_kill_cut_off_is_left_out(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path)
    writer.log(kind="train", step=1)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"kind": "train", "st')
    assert [line["step"] for line in writer.read_log()] == [1]


def test_a_finished_run_that_is_started_again_logs_its_average_once(tmp_path: Path) -> None:
    writer = RunWriter(tiny_run(tmp_path))
    before = writer.read_log()
    writer.log(kind="average", step=20, loss=1.0, wer=0.3, cer=0.3)
    writer.log(kind=BEST, step=20, steps=[10, 20], metric="wer", wer=0.3, cer=0.3)
    config = TrainConfig(output_dir=tmp_path, data=DataConfig(train=["train.jsonl"]))
    description = about.from_json((tmp_path / about.NAME).read_text())
    writer.begin(config, description, [], step=20)
    assert writer.read_log() == before


def test_overwriting_leaves_nothing_of_another_model(tmp_path: Path) -> None:
    ours = ("whisper.pt", "generation_config.json", "adapter.deu.safetensors", "model.safetensors", "confidence.json")
    theirs = ("notes.txt", "rejects.csv", "more/model.safetensors", "language_model/mine.txt")
    tuning = ("language_model_tuning.png", "language_model_tuning_not_stored.json")
    for name in (*ours, *theirs, *tuning, "language_model/words.arpa", "checkpoints/step-1/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    training_run._clear(tmp_path, overwrite=False)
    assert all((tmp_path / name).is_file() for name in ours) and not (tmp_path / "checkpoints").exists()
    training_run._clear(tmp_path, overwrite=True)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == set(theirs)


@pytest.mark.parametrize(
    ("best", "said"),
    [
        (Best("wer", 0.31, (100,)), "best: step 100, WER 31.0 % on validation"),
        (
            Best("cer", 0.48, (0,)),
            "best: step 0, CER 48.0 % on validation: no evaluation of the trained model was better",
        ),
        (Best("wer", 0.3, (5, 20)), "best: the mean of the weights at steps 5, 20, WER 30.0 % on validation"),
    ],
)
def test_the_end_says_which_weights_are_kept(best: Best, said: str) -> None:
    assert training_run.described(best).startswith(said)


@pytest.mark.parametrize(
    ("languages", "profile", "given", "steps", "finished", "rival"),
    [
        ((), "librispeech", None, (100,), True, "whisper"),
        (("en",), "verbatim", None, (100,), True, "whisper"),
        (("de",), "librispeech", None, (5, 20), True, "whisper=base"),
        ((), "basic:tr", None, (100,), True, "whisper=base"),
        ((), "librispeech", "deu", (100,), True, "whisper=base"),
        ((), "librispeech", None, (0,), True, None),
        ((), "librispeech", None, (100,), False, None),
    ],
)
def test_the_end_says_what_comes_next(
    languages: tuple[str, ...],
    profile: str,
    given: str | None,
    steps: tuple[int, ...],
    finished: bool,
    rival: str | None,
    tmp_path: Path,
) -> None:
    run = tmp_path / "my run"
    run.mkdir()
    (run / about.NAME).write_text(json.dumps({"training": {"languages": languages}}))
    config = TrainConfig(
        output_dir=run,
        data=DataConfig(train=["train.jsonl"], profile=profile),
        model=ModelConfig(family="whisper-ctc", language=given),
    )
    printed: list[str] = []
    accelerator: Any = SimpleNamespace(is_main_process=False, print=printed.append)
    loop: Any = SimpleNamespace(early_end=None, best=Best("wer", 0.31, steps))
    training_run._report_end(config, accelerator, RunWriter(run), loop, finished=finished)
    expected = [
        f"next: python -m finetune.transcribe '{run}' FILE",
        f"next: python benchmark/run.py --models 'whisper-ctc={run},{rival}' --data YOUR_TEST",
    ]
    assert [line for line in printed if line.startswith("next: ")] == (expected if rival else [])


def test_a_base_is_not_overwritten_by_what_is_trained_from_it(tmp_path: Path) -> None:
    for base in (tmp_path, tmp_path / "whisper.pt"):
        config = TrainConfig(output_dir=tmp_path, model=ModelConfig(base=str(base)), overwrite=True)
        with pytest.raises(UsageError, match=r"lies in --output_dir .* expected another folder"):
            training_run._resolve(config)


@pytest.mark.parametrize("is_run", [True, False])
def test_a_model_without_a_checkpoint_is_not_replaced(is_run: bool, tmp_path: Path) -> None:
    """A trained run whose checkpoints were deleted to save space, and a model that was made elsewhere."""
    shutil.rmtree(tiny_run(tmp_path) / "checkpoints")
    if not is_run:
        (tmp_path / LOG).unlink()
    config = TrainConfig(output_dir=tmp_path, model=ModelConfig(base="demo/wav2vec2"))
    with pytest.raises(
        UsageError, match=r"holds a model \(model\.safetensors\) without a checkpoint .* --overwrite true"
    ):
        training_run._resolve(config)
    for changes in ({"overwrite": True}, {"dry_run": True}, {"overfit_batch": True}):
        assert training_run._resolve(replace(config, **changes))[1] is None


def test_a_run_that_was_killed_before_its_first_checkpoint_is_begun_again(tmp_path: Path) -> None:
    """Also where it was killed once more, before its first evaluation."""
    shutil.rmtree(tiny_run(tmp_path) / "checkpoints")
    config = TrainConfig(output_dir=tmp_path, model=ModelConfig(base="demo/wav2vec2"))
    untrained = {"kind": BEST, "step": 0, "steps": [0], "metric": "wer", "wer": 1.0, "cer": 1.0}
    for log in (json.dumps(untrained) + "\n", ""):
        (tmp_path / LOG).write_text(log)
        assert training_run._resolve(config)[1] is None
