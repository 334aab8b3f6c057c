"""What a fine-tuning run can be told: one dataclass a topic, one doc a field, contradictions refused by flag name."""

from finetune.config.data import DataConfig
from finetune.config.model import ModelConfig
from finetune.config.training import HubConfig, OptimisationConfig, TrainConfig, check_repo_id

__all__ = ["DataConfig", "HubConfig", "ModelConfig", "OptimisationConfig", "TrainConfig", "check_repo_id"]
