"""A model in shards over two processes (FSDP 2) learns as one process does; what it leaves behind is whole."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from accelerate import Accelerator
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import launch_command_parser
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from torch import nn
from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy

from finetune.config import DataConfig, ModelConfig, TrainConfig
from finetune.training.distributed import Sharded, attention_layer_classes, check_launch, check_sharding
from finetune.training.log import read_log
from preprocessing.errors import UsageError
from tests.commands import run, run_ranks
from tests.conftest import DEMO, ROOT, absolute, read_manifest, write_manifest


def options(output: Path, train: Path, accumulate: int) -> tuple[str | Path, ...]:
    """Of a run of four updates, each of two batches, without dropout and masks."""
    return (
        *("--config", "configs/finetune/demo.yaml", "--output_dir", output, "--report_to", "none"),
        *("--data.train", f"[{train}]", "--data.max_batch_seconds", "12", "--data.max_seconds", "12"),
        *("--data.validation_share", "0.2", "--model.dropout", "0", "--model.mask_time_prob", "0"),
        *("--gradient_accumulation_steps", str(accumulate), "--max_steps", "4"),
        *("--eval_steps", "2", "--logging_steps", "1", "--mixed_precision", "no"),
    )


def sharded(output: Path, train: Path) -> str:
    """What such a run says, in shards over two processes."""
    result = run_ranks("-m", "tests.finetune.training.sharded_train", *options(output, train, 1), timeout=500)
    assert result.returncode == 0, result.stderr
    return result.stdout


def log(output: Path) -> list[dict[str, Any]]:
    lines = read_log(output)
    return [line for line in lines if "loss" in line]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_shards_learn_as_the_whole_and_resume(tmp_path: Path) -> None:
    from transformers import AutoModelForCTC

    train = write_manifest(tmp_path / "train.jsonl", absolute(DEMO / "corpus" / "train.jsonl", 45))
    one, two = tmp_path / "one", tmp_path / "two"
    alone = run("finetune/train.py", *options(one, train, 2))
    assert alone.returncode == 0, alone.stderr
    assert "resumed" not in sharded(two, train)
    assert len(log(one)) == len(log(two))
    for mine, theirs in zip(log(one), log(two), strict=True):
        assert theirs["loss"] == pytest.approx(mine["loss"], rel=1e-5)
        if mine["kind"] == "train":
            assert theirs["grad_norm"] == pytest.approx(mine["grad_norm"], rel=1e-4)
    heard = [read_manifest(folder / "samples.jsonl") for folder in (one, two)]
    assert [row["id"] for row in heard[0]] == [row["id"] for row in heard[1]]
    models = [AutoModelForCTC.from_pretrained(folder).state_dict() for folder in (one, two)]
    assert models[0].keys() == models[1].keys()
    for name, weight in models[0].items():
        torch.testing.assert_close(models[1][name], weight, rtol=1e-3, atol=1e-4)

    last = two / "checkpoints" / "step-00000004"
    before = safetensors.torch.load_file(last / "weights.safetensors")
    shutil.rmtree(last)
    assert "resumed at step 2 of 4" in sharded(two, train)
    after = safetensors.torch.load_file(last / "weights.safetensors")
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    states = torch.load(last / "states.pt", weights_only=True)
    assert len(states["random"]) == 2
    moments = states["optimiser"]["state"]["model.lm_head.weight"]
    assert moments["exp_avg"].shape == before["model.lm_head.weight"].shape
    assert float(moments["step"]) == 4


def sharded_accelerator() -> Accelerator:
    class Stub:
        distributed_type = DistributedType.FSDP
        is_fsdp2 = True

    return Stub()  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("flag", "optimisation", "model"),
    [
        ("--ema_decay", {"ema_decay": 0.9}, {}),
        ("--average_best", {"average_best": 3}, {}),
        ("--torch_compile", {"torch_compile": True}, {}),
        ("--model.family", {}, {"family": "lstm"}),
    ],
)
def test_what_shards_do_not_go_with_is_refused(flag: str, optimisation: Any, model: Any) -> None:
    plain = TrainConfig(output_dir=Path("x"), model=ModelConfig(scratch={}), data=DataConfig(train=["x"]))
    check_sharding(sharded_accelerator(), plain)
    config = replace(plain, model=ModelConfig(scratch={}, **model), **optimisation)
    with pytest.raises(UsageError, match=rf"{flag} is .* sharded \(FSDP\)"):
        check_sharding(sharded_accelerator(), config)


@pytest.mark.parametrize(
    ("variable", "remedy"), [("ACCELERATE_USE_DEEPSPEED", r"zero2\.yaml"), ("ACCELERATE_USE_FSDP", r"cpu-2\.yaml")]
)
def test_a_launch_that_cannot_be_run_is_refused(variable: str, remedy: str) -> None:
    check_launch({variable: "false"}, on_cpu=True)
    with pytest.raises(UsageError, match=remedy):
        check_launch({variable: "true"}, on_cpu=True)


@pytest.mark.parametrize(("name", "reshard"), [("fsdp.yaml", True), ("zero2.yaml", False)])
def test_accelerate_takes_the_configuration(name: str, reshard: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its own loader and its own options, as `accelerate launch` hands them over."""
    config = load_config_from_file(str(ROOT / "configs" / "accelerate" / name))
    assert config.distributed_type == DistributedType.FSDP
    options = launch_command_parser()._option_string_actions
    for key, value in config.fsdp_config.items():
        assert f"--{key}" in options
        monkeypatch.setenv(key.upper(), str(value))
    plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2
    assert plugin.reshard_after_forward is reshard
    assert plugin.auto_wrap_policy is transformer_auto_wrap_policy
    assert not plugin.cpu_ram_efficient_loading


def test_transformer_layers_are_found_by_their_attention() -> None:
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC
    from whisper.model import ModelDimensions, Whisper

    from tests.finetune.runs import TINY, TINY_WHISPER

    assert attention_layer_classes(Wav2Vec2ForCTC(Wav2Vec2Config(**TINY))) == ["Wav2Vec2EncoderLayer"]
    stable = Wav2Vec2Config(**TINY, do_stable_layer_norm=True)
    assert attention_layer_classes(Wav2Vec2ForCTC(stable)) == ["Wav2Vec2EncoderLayerStableLayerNorm"]
    assert attention_layer_classes(Whisper(ModelDimensions(**TINY_WHISPER))) == ["ResidualAttentionBlock"]
    assert attention_layer_classes(nn.Sequential(nn.LSTM(2, 2), nn.Linear(2, 2))) == []


def test_a_checkpoint_of_a_whole_run_does_not_fit_shards() -> None:
    module = nn.Linear(2, 2)
    optimiser = torch.optim.AdamW(module.parameters())
    module(torch.ones(2)).sum().backward()
    optimiser.step()
    with pytest.raises(ValueError, match="was not sharded"):
        Sharded(sharded_accelerator()).restore_optimiser(optimiser, optimiser.state_dict())
