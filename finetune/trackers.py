"""Where figures go beside log.jsonl: TensorBoard, trackio or Weights & Biases, through accelerate."""

from typing import Any

from accelerate import Accelerator

from finetune.config import TrainConfig
from finetune.record import plain

PROJECT = "finetune"  # under which trackio and wandb gather runs; a run has its folder's name


def begin(accelerator: Accelerator, config: TrainConfig) -> None:
    """Start the tracker that accelerate was told of; TensorBoard writes into the run's folder."""
    if config.tracker == "none":
        return
    if config.tracker == "tensorboard":
        accelerator.init_trackers("tensorboard")  # the name of its folder
        return
    own: dict[str, Any] = {"name": config.output.name}
    if config.tracker == "wandb":
        own["dir"] = str(config.output)
    accelerator.init_trackers(PROJECT, config=plain(config), init_kwargs={config.tracker: own})
