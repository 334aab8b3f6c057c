"""`finetune/train.py` with the lstm family, end to end on the demo: the loss falls, a killed run resumes exactly."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from finetune.config import TrainConfig
from finetune.systems.registry import parse_models
from finetune.training.log import read_log
from finetune.training_run import train
from preprocessing.cli.options import parse_command
from preprocessing.errors import UsageError
from tests.commands import run
from tests.conftest import DEMO, ROOT, absolute, write_manifest

pytestmark = pytest.mark.timeout(1200)  # a busy machine is slow, not wrong
UPDATES = 30


def arguments(output: Path, manifest: Path) -> list[str]:
    options = {
        "output_dir": output,
        "model.scratch.normalisation": "global",
        "model.scratch.hidden_size": 32,
        "data.train": f"[{manifest}]",
        "data.validation_share": 0.1,
        "data.max_seconds": 10,
        "max_steps": UPDATES,
        "eval_steps": 10,
        "logging_steps": 1,
    }
    config = ROOT / "configs" / "finetune" / "digits-lstm.yaml"
    return ["--config", str(config), *(part for key, value in options.items() for part in (f"--{key}", str(value)))]


@pytest.fixture(scope="module", autouse=True)
def one_core() -> Iterator[None]:
    """Commands started here inherit it: on a busy machine threads wait for each other at every step of an LSTM."""
    cores, threads = os.sched_getaffinity(0), torch.get_num_threads()
    os.sched_setaffinity(0, {max(cores)})
    torch.set_num_threads(1)
    yield
    os.sched_setaffinity(0, cores)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_manifest(
        tmp_path_factory.mktemp("corpus") / "train.jsonl", absolute(DEMO / "corpus" / "train.jsonl", 60)
    )


@pytest.fixture(scope="module")
def trained(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "trained"
    result = run("finetune/train.py", *arguments(output, manifest))
    assert result.returncode == 0, result.stderr
    return output


@pytest.mark.slow
def test_the_loss_falls(trained: Path) -> None:
    lines = read_log(trained)
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    assert len(losses) == UPDATES
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    config = json.loads((trained / "config.json").read_text())
    assert (config["model_type"], config["features"], config["sampling_rate"]) == ("lstm-ctc", "log_mel", 16_000)


@pytest.mark.slow
def test_a_run_resumes_to_the_same_weights(
    trained: Path, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its last checkpoint but one, as if it had been killed after it; statistics come from there too."""
    output = tmp_path / "killed"
    shutil.copytree(trained, output)
    last = f"checkpoints/step-{UPDATES:08d}"
    shutil.rmtree(output / last)
    monkeypatch.chdir(ROOT)
    config = parse_command(TrainConfig, program="x", description="x", arguments=arguments(output, manifest))
    train(config)
    assert (output / last / "weights.safetensors").read_bytes() == (trained / last / "weights.safetensors").read_bytes()


def test_there_is_no_default_to_benchmark() -> None:
    with pytest.raises(UsageError, match=r"lstm has no published default; expected lstm=FOLDER.*lstm=runs/lstm"):
        parse_models("lstm")
