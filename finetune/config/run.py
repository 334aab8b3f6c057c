"""A run as a whole: every topic's keys and its own."""

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from finetune.config.data import DataConfig
from finetune.config.hub import HubConfig
from finetune.config.limits import check_counts
from finetune.config.model import ModelConfig
from finetune.config.optimisation import OptimisationConfig
from preprocessing.errors import UsageError


@dataclass(frozen=True)
class TrainConfig:
    """Everything of a run; config.yaml in its output folder holds it as it was resolved."""

    output: Path
    """Folder of the run: the best model, checkpoints, log.jsonl, curve.png, rejects.jsonl, about.json."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optimisation: OptimisationConfig = field(default_factory=OptimisationConfig)
    hub: HubConfig = field(default_factory=HubConfig)

    seed: int = 0
    """Of initial weights, order, masks and dropout."""

    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = "auto"
    """Arithmetic of the forward pass; the loss is float32 always. auto: the fastest that the device does well."""

    evaluate_every: int = 100
    """Updates between evaluations; a checkpoint is saved at each."""

    patience: int | None = None
    """Stop after so many evaluations without a better WER, or CER at the same WER."""

    log_every: int = 10
    """Updates between lines of log.jsonl."""

    tracker: Literal["tensorboard", "trackio", "wandb", "none"] = "tensorboard"
    """Where figures are logged beside log.jsonl; trackio and wandb need their package."""

    overwrite: bool = False
    """Begin anew in an output folder that holds a run; otherwise the run is resumed."""

    dry_run: bool = False
    """Say what would be trained on what, and what it would cost, by one batch; write nothing."""

    overfit_batch: bool = False
    """Learn one small batch by heart, up to so many updates, and say what is wrong where that fails; write nothing."""

    def check(self) -> None:
        """Raises UsageError naming the first contradiction: what is trained on what, the rest, numbers last."""
        self.model.check_origin()
        self.data.check()
        self.model.check()
        self.hub.check()
        for part in (self.data, self.optimisation, self.model):
            part.check_limits()
        self._check_own()

    def _check_own(self) -> None:
        check_counts(
            ("--evaluate_every", self.evaluate_every, 1),
            ("--log_every", self.log_every, 1),
            ("--patience", 1 if self.patience is None else self.patience, 1),
        )
        if self.dry_run and self.overfit_batch:
            raise UsageError("--dry_run and --overfit_batch are both true; expected one of them: leave one out")
        if self.optimisation.head_only_updates > 0 and self.model.family == "whisper":
            raise UsageError(
                f"--optimisation.head_only_updates is {self.optimisation.head_only_updates}, but --model.family is "
                "whisper, which has no output layer of its own; expected 0: leave it out"
            )
        if self.tracker in ("trackio", "wandb") and find_spec(self.tracker) is None:
            raise UsageError(
                f"--tracker is {self.tracker}, but its package is not installed; expected it, or another of "
                f"tensorboard, trackio, wandb and none: pip install {self.tracker}"
            )
