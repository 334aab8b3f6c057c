"""Two processes over gloo are one process with the same global batch, and every utterance is evaluated once."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from finetune.config import DataConfig, ModelConfig, TrainConfig
from finetune.training.distributed import threads_per_process
from finetune.training.log import read_log
from finetune.training.setup import set_up
from tests.commands import run
from tests.conftest import DEMO, absolute, read_manifest, write_manifest
from tests.finetune.runs import TINY

pytestmark = pytest.mark.timeout(1200)  # a busy machine is slow, not wrong
UPDATES = 3


def trained(output: Path, train: Path, processes: int) -> list[dict[str, Any]]:
    """Log of a run without dropout, whose updates hold two batches, however many processes share them."""
    launcher = ("-m", "accelerate.commands.launch", "--config_file", "configs/accelerate/cpu-2.yaml")
    result = run(
        *(launcher if processes == 2 else ()),
        *("finetune/train.py", "--config", "configs/finetune/demo.yaml", "--output_dir", output),
        *("--data.train", f"[{train}]", "--data.max_batch_seconds", "12", "--data.max_seconds", "12"),
        *("--data.validation_share", "0.2"),
        *("--model.dropout", "0", "--model.mask_time_prob", "0.2"),
        *("--gradient_accumulation_steps", str(2 // processes), "--max_steps", UPDATES),
        *("--eval_steps", "2", "--logging_steps", "1", "--mixed_precision", "no"),
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("done:") == 1
    return [line for line in read_log(output) if "loss" in line]


@pytest.mark.slow
def test_two_processes_are_one_with_the_same_batch(tmp_path: Path) -> None:
    train = write_manifest(tmp_path / "train.jsonl", absolute(DEMO / "corpus" / "train.jsonl", 45))
    one, two = trained(tmp_path / "one", train, 1), trained(tmp_path / "two", train, 2)
    assert [(line["kind"], line["step"]) for line in two] == [(line["kind"], line["step"]) for line in one]
    for mine, theirs in zip(one, two, strict=True):
        assert theirs["loss"] == pytest.approx(mine["loss"], rel=1e-5)
        assert theirs["audio_seconds"] == mine["audio_seconds"]
        if mine["kind"] == "train":
            assert theirs["grad_norm"] == pytest.approx(mine["grad_norm"], rel=1e-4)
    heard = [read_manifest(tmp_path / name / "samples.jsonl") for name in ("one", "two")]
    assert [row["id"] for row in heard[0]] == [row["id"] for row in heard[1]]
    assert len({row["id"] for row in heard[1]}) == len(heard[1]) == 9
    shutil.rmtree(tmp_path / "two" / "checkpoints" / "step-00000003")
    resumed = trained(tmp_path / "two", train, 1)  # the last step again, its two batches in one process
    assert [(line["kind"], line["step"]) for line in resumed] == [(line["kind"], line["step"]) for line in two]
    for line, before in zip(resumed, two, strict=True):
        assert line["loss"] == pytest.approx(before["loss"], rel=1e-5)
        assert line["audio_seconds"] == before["audio_seconds"]


@pytest.mark.parametrize(
    ("environment", "threads"),
    [
        ({}, 8),
        ({"OMP_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "1"}, 1),
        ({"OMP_NUM_THREADS": "4,2"}, 4),
        ({"OMP_NUM_THREADS": "99"}, 8),
        ({"OMP_NUM_THREADS": "many"}, 8),
        ({"OMP_NUM_THREADS": "1", "ACCELERATE_MIXED_PRECISION": "no"}, 8),  # accelerate's own default
        ({"OMP_NUM_THREADS": "2", "ACCELERATE_MIXED_PRECISION": "no"}, 2),
        ({"OMP_NUM_THREADS": "1", "ACCELERATE_MIXED_PRECISION": "no", "LOCAL_WORLD_SIZE": "2"}, 4),
        ({"LOCAL_WORLD_SIZE": "16"}, 1),
    ],
)
def test_a_process_has_its_share_of_the_cores_or_what_the_user_says(environment: dict[str, str], threads: int) -> None:
    assert threads_per_process(environment, 8) == threads


def test_each_process_begins_with_the_same_weights_and_draws_its_own_dropout(tmp_path: Path) -> None:
    train = write_manifest(tmp_path / "train.jsonl", absolute(DEMO / "corpus" / "train.jsonl", 6))
    config = TrainConfig(
        output_dir=tmp_path / "run",
        model=ModelConfig(scratch=TINY),
        data=DataConfig(train=[str(train)], validation_share=0.2),
    )
    weights, draws = [], []
    for process in (0, 1):
        accelerator: Any = SimpleNamespace(process_index=process, print=lambda _: None)
        setup = set_up(config, accelerator)
        draws.append(torch.rand(8))
        weights.append(torch.cat([parameter.flatten() for parameter in setup.recogniser.module.parameters()]))
    assert torch.equal(*weights)
    assert not torch.isin(draws[1], draws[0]).any()
