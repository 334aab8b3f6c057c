"""Options of a fine-tuning run: one dataclass per topic, one doc per field, contradictions refused by flag name."""

from finetune.config.data import DataConfig
from finetune.config.model import ModelConfig
from finetune.config.renamed import OF_TRAINER, RENAMED, check_config_file
from finetune.config.training import HubConfig, OptimisationConfig, TrainConfig, check_repo_id

__all__ = [
    "OF_TRAINER",
    "RENAMED",
    "DataConfig",
    "HubConfig",
    "ModelConfig",
    "OptimisationConfig",
    "TrainConfig",
    "check_config_file",
    "check_repo_id",
]
