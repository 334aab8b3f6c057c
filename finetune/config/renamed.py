"""Names that options formerly had or have in transformers' Trainer, which are refused with what to write instead."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from preprocessing.errors import UsageError

RENAMED = {
    "output": "output_dir",
    "optimisation.updates": "max_steps",
    "optimisation.learning_rate": "learning_rate",
    "optimisation.schedule": "lr_scheduler_type",
    "optimisation.rise": "warmup_ratio",
    "optimisation.hold": "hold_ratio",
    "optimisation.layer_decay": "layer_decay",
    "optimisation.head_only_updates": "head_only_steps",
    "optimisation.weight_decay": "weight_decay",
    "optimisation.accumulate": "gradient_accumulation_steps",
    "optimisation.max_gradient_norm": "max_grad_norm",
    "optimisation.ema_decay": "ema_decay",
    "optimisation.average_best": "average_best",
    "evaluate_every": "eval_steps",
    "patience": "early_stopping_patience",
    "log_every": "logging_steps",
    "tracker": "report_to",
    "hub.push": "push_to_hub",
    "hub.repo_id": "hub_model_id",
    "hub.private": "hub_private_repo",
    "hub.license": "hub_license",
    "hub.language": "hub_language",
    "data.workers": "dataloader_num_workers",
    "data.also_validation": "data.eval_sets",
    "model.gradient_checkpointing": "gradient_checkpointing",
    "model.compile": "torch_compile",
    "model.attention": "model.attn_implementation",
    "model.mask_time_probability": "model.mask_time_prob",
    "model.mask_channel_probability": "model.mask_feature_prob",
    "model.mask_channel_length": "model.mask_feature_length",
    "model.lora_scale": "model.lora_alpha (lora_scale times lora_rank)",
}

BATCH_SIZE = "a batch is bounded by its seconds of audio, not by a number: set --data.max_batch_seconds"
BEST = "the model that is saved is that of the best evaluation, by WER and then CER: leave it out"
CHECKPOINTS = "each evaluation saves a checkpoint: set --eval_steps"
ADAMW = "the optimiser is AdamW with betas of 0.9 and 0.98, as in wav2vec 2.0: leave it out"
# Keys of transformers' TrainingArguments, present or former, that mean what is done in another way here.
OF_TRAINER = {
    "bf16": "write --mixed_precision bf16",
    "fp16": "write --mixed_precision fp16",
    "per_device_train_batch_size": BATCH_SIZE,
    "per_device_eval_batch_size": BATCH_SIZE,
    "group_by_length": "batches are always of utterances of similar durations: leave it out",
    "load_best_model_at_end": BEST,
    "metric_for_best_model": BEST,
    "greater_is_better": BEST,
    "resume_from_checkpoint": "a run in --output_dir is resumed from its last checkpoint: run the same command again",
    "overwrite_output_dir": "write --overwrite true",
    "eval_strategy": "evaluations are a number of steps apart: set --eval_steps",
    "evaluation_strategy": "evaluations are a number of steps apart: set --eval_steps",
    "save_strategy": CHECKPOINTS,
    "save_steps": CHECKPOINTS,
    "warmup_steps": "the warm-up is a share of the steps: set --warmup_ratio",
    "run_name": "a run has the name of its folder: set --output_dir",
    "optim": ADAMW,
    "adam_beta1": ADAMW,
    "adam_beta2": ADAMW,
    "do_train": "training includes its evaluations: leave it out",
    "do_eval": "training includes its evaluations: leave it out",
}


def check_config_file(path: Path) -> None:
    """Raises UsageError if the config.yaml of an earlier run has a key that was renamed since.

    The options of such a run, and the fields of its log.jsonl, have other names than now. A file that is absent or not
    readable is left to whoever needs it.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return
    for old, new in RENAMED.items():
        if _holds(config, old.split(".")):
            raise UsageError(
                f"{path}: '{old}' is now {new}: the run was made by an earlier version of this project; expected one "
                "of this version: begin a new run in another folder, or continue with the version that made it"
            )


def _holds(config: Any, keys: list[str]) -> bool:
    """Whether nested mappings hold a value under the keys, one below the other."""
    for key in keys:
        if not isinstance(config, Mapping) or key not in config:
            return False
        config = config[key]
    return True
