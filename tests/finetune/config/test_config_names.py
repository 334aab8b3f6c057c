"""Keys that mean what a key of transformers' TrainingArguments means have its name, and former names are refused."""

import dataclasses
import re
from pathlib import Path

import pytest
import yaml

from finetune.config import OF_TRAINER, RENAMED, DataConfig, ModelConfig, TrainConfig, check_config_file
from preprocessing.cli.options import parse_command
from preprocessing.cli.refused_options import option_names
from preprocessing.errors import UsageError, UserError

OF_TRAINING_ARGUMENTS = {
    *(
        "output_dir",
        "seed",
        "max_steps",
        "num_train_epochs",
        "learning_rate",
        "lr_scheduler_type",
        "weight_decay",
        "max_grad_norm",
    ),
    *("gradient_accumulation_steps", "gradient_checkpointing", "torch_compile", "eval_steps", "logging_steps"),
    *("save_total_limit", "report_to", "push_to_hub", "hub_model_id", "hub_private_repo", "dataloader_num_workers"),
}
OF_FORMER_TRAINING_ARGUMENTS = {"warmup_ratio"}  # transformers 5 takes a ratio in warmup_steps
OURS = {
    *("model", "data", "mixed_precision", "overwrite", "dry_run", "overfit_batch", "hold_ratio", "layer_decay"),
    *("head_only_steps", "ema_decay", "average_best", "early_stopping_patience", "hub_license", "hub_language"),
    *("hub_license_name", "hub_license_link"),
}


def test_every_key_with_the_meaning_of_a_training_argument_has_its_name() -> None:
    from transformers import TrainingArguments

    theirs = {field.name for field in dataclasses.fields(TrainingArguments)}
    names = {field.name for field in dataclasses.fields(TrainConfig)}
    assert names & theirs == OF_TRAINING_ARGUMENTS
    assert names - theirs == OURS | OF_FORMER_TRAINING_ARGUMENTS


def test_keys_of_the_model_have_the_names_of_its_own_libraries() -> None:
    from peft import LoraConfig
    from transformers import Wav2Vec2Config

    names = {name.removeprefix("model.") for name in option_names(TrainConfig) if name.startswith("model.")}
    theirs = {field.name for field in dataclasses.fields(LoraConfig)} | set(vars(Wav2Vec2Config()))
    assert names & theirs == {
        *("lora_alpha", "attention_dropout"),
        *("mask_time_prob", "mask_time_length", "mask_feature_prob", "mask_feature_length"),
    }


def test_former_names_are_gone_and_lead_to_names_that_exist() -> None:
    names = set(option_names(TrainConfig))
    assert not names & RENAMED.keys()
    assert {new.split(" ")[0] for new in RENAMED.values()} <= names


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_a_former_key_is_refused_with_its_new_name(old: str, new: str, tmp_path: Path) -> None:
    required = [] if old == "output" else ["--output_dir", "x"]
    with pytest.raises(UsageError, match="^" + f"--{old} is now --{new}".replace("(", r"\(").replace(")", r"\)")):
        parse_command(TrainConfig, program="train", description="", arguments=[f"--{old}", "1", *required])
    group, _, key = old.rpartition(".")
    file = tmp_path / "old.yaml"
    file.write_text(yaml.safe_dump({group: {key: 1}} if group else {key: 1}))
    with pytest.raises(UsageError) as caught:
        parse_command(TrainConfig, program="train", description="", arguments=["--config", str(file), *required])
    assert str(caught.value).startswith(f"{file}: '{old}' is now {new}")


@pytest.mark.parametrize(("key", "instead"), OF_TRAINER.items())
def test_a_key_of_trainer_is_refused_with_what_to_do_instead(key: str, instead: str, tmp_path: Path) -> None:
    file = tmp_path / "trainer.yaml"
    file.write_text(yaml.safe_dump({"output_dir": "x", key: 1}))
    words = ["--output_dir", "x"]
    for given, name in (
        ([f"--{key}", "1", *words], f"--{key}"),
        ([*words, f"--{key.replace('_', '-')}"], f"--{key.replace('_', '-')}"),
        (["--config", str(file)], f"{file}: '{key}'"),
    ):
        with pytest.raises(UsageError) as caught:
            parse_command(TrainConfig, program="train", description="", arguments=given)
        assert str(caught.value) == f"{name} is not an option: {instead}; see `train --help` for the options"


def test_keys_of_trainer_are_its_own_and_lead_to_options_that_exist() -> None:
    from transformers import TrainingArguments

    names = set(option_names(TrainConfig))
    assert not names & OF_TRAINER.keys()
    former = {"evaluation_strategy", "overwrite_output_dir", "group_by_length"}
    assert OF_TRAINER.keys() - {field.name for field in dataclasses.fields(TrainingArguments)} <= former
    assert set(re.findall(r"--([\w.]+)", " ".join(OF_TRAINER.values()))) <= names


def test_a_run_of_the_former_names_is_neither_resumed_nor_published(tmp_path: Path) -> None:
    from finetune.hub.folder import open_run
    from finetune.training_run import train

    check_config_file(tmp_path / "config.yaml")  # a new run
    (tmp_path / "config.yaml").write_text("output: runs/x\noptimisation: {updates: 3}\nseed: 0\n")
    config = TrainConfig(
        output_dir=tmp_path, model=ModelConfig(base="x"), data=DataConfig(["nowhere.jsonl"], validation="nowhere.jsonl")
    )
    for use in (lambda: train(config), lambda: open_run(tmp_path)):
        with pytest.raises(UsageError, match=r"config\.yaml: 'output' is now output_dir.*earlier version"):
            use()
    with pytest.raises(UserError, match=r"nowhere\.jsonl"):  # and not of the run that is there
        train(dataclasses.replace(config, overwrite=True))
