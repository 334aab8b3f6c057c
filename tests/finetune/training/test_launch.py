"""The documented command greets nobody with warnings, and one process runs where it should."""

import logging
from pathlib import Path

import pytest
import torch
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_simple_launcher_cmd_env

from tests.commands import run
from tests.conftest import ROOT

ONE = ROOT / "configs" / "accelerate" / "one.yaml"


def test_the_documented_command_warns_of_nothing(tmp_path: Path) -> None:
    """Without a default configuration of the user's own, as on a new machine."""
    command = ("-m", "accelerate.commands.launch", "--config_file", ONE, "finetune/train.py", "--help")
    result = run(*command, HF_HOME=str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "--learning_rate" in result.stdout


@pytest.mark.parametrize("gpus", [0, 1, 8])
def test_one_process_whatever_the_machine_has(
    gpus: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """By accelerate's own reading of it: no warning, no GPU chosen for the user, and the CPU is not asked for."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,6")
    with caplog.at_level(logging.WARNING):
        options, *_ = _validate_launch_command(
            launch_command_parser().parse_args(["--config_file", str(ONE), "finetune/train.py"])
        )
    assert not caplog.records
    assert (options.num_processes, options.multi_gpu) == (1, False)
    _, environment = prepare_simple_launcher_cmd_env(options)
    assert environment["CUDA_VISIBLE_DEVICES"] == "5,6"
    assert environment["ACCELERATE_USE_CPU"] == "False"
