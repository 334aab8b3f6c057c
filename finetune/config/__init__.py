"""What a fine-tuning run can be told: one dataclass a topic, one doc a field, contradictions refused by flag name."""

from finetune.config.data import DataConfig
from finetune.config.hub import HubConfig, check_repo_id
from finetune.config.model import ModelConfig
from finetune.config.optimisation import OptimisationConfig
from finetune.config.run import TrainConfig

__all__ = ["DataConfig", "HubConfig", "ModelConfig", "OptimisationConfig", "TrainConfig", "check_repo_id"]
