"""Former names of options, which are refused with the name that they have now."""

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
