"""A dry run and an overfitted batch of the families beside wav2vec2."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from finetune.config import DataConfig, ModelConfig, TrainConfig
from finetune.training_run import train
from preprocessing.errors import InputError
from tests.conftest import DEMO, absolute, write_manifest

pytestmark = pytest.mark.timeout(1200)  # a busy machine is slow, not wrong

LSTM = ModelConfig(family="lstm", scratch={"hidden_size": 64, "num_layers": 1})
WHISPER = ModelConfig(family="whisper", base=str(DEMO / "whisper" / "whisper.pt"), context_seconds=4.0)


def config(folder: Path, model: ModelConfig, updates: int) -> TrainConfig:
    manifest = write_manifest(folder / "train.jsonl", absolute(DEMO / "corpus" / "train.jsonl", 16))
    found = TrainConfig(
        output_dir=folder / "run",
        model=model,
        data=DataConfig(train=[str(manifest)], validation_share=0.2, max_seconds=4.0, max_batch_seconds=12.0),
        max_steps=updates,
        learning_rate=2e-3,
        mixed_precision="no",
    )
    found.check()
    return found


@pytest.mark.parametrize(
    ("model", "modules"), [(LSTM, ("lm_head", "24 units")), (WHISPER, ("encoder.blocks", "family's own units"))]
)
def test_a_dry_run_says_what_is_trained_and_writes_nothing(
    model: ModelConfig, modules: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(replace(config(tmp_path, model, 40), dry_run=True))
    told = capsys.readouterr().out
    written = "nothing was trained or written"
    for expected in (*modules, "optimiser states", "forward and backward in", "40 steps of", written):
        assert expected in told
    assert not (tmp_path / "run").exists()


def test_a_dry_run_counts_what_the_feature_cache_saves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The frozen blocks run in the first epoch alone: many steps take less than as many times the first one."""
    model = ModelConfig(
        family="whisper-ctc",
        base=str(DEMO / "whisper" / "whisper.pt"),
        vocabulary="new",
        trained_layers=0,
        feature_cache=tmp_path / "cache",
    )
    train(replace(config(tmp_path, model, 20_000), eval_steps=20_000, dry_run=True))
    told = capsys.readouterr().out
    step = re.search(r"20,000 steps of ([\d.]+) s", told)
    whole = re.search(r"in all about ([\d.]+) (min|h)", told)
    assert step and whole
    assert {"min": 60, "h": 3600}[whole[2]] * float(whole[1]) < 20_000 * float(step[1])
    assert "the feature cache is filled in the first epoch" in told
    assert not (tmp_path / "cache").exists()


@pytest.mark.slow
def test_an_lstm_learns_a_batch_by_heart_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(replace(config(tmp_path, LSTM, 300), overfit_batch=True))
    assert "overfitted after" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


def test_a_whisper_that_is_not_given_time_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not learnt in 2 steps"):
        train(replace(config(tmp_path, WHISPER, 2), overfit_batch=True))
    assert not (tmp_path / "run").exists()
