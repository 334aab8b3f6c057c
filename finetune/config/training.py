"""How a run trains, evaluates, logs and publishes: keys named as TrainingArguments where it has them."""

import re
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from finetune.config.data import DataConfig
from finetune.config.model import ModelConfig
from preprocessing.cli.errors import UsageError
from preprocessing.cli.options import check_counts, check_ranges, check_shares


@dataclass(frozen=True)
class OptimisationConfig:
    """How weights move: AdamW under a schedule that rises, holds and falls."""

    updates: int = 1000
    """Optimiser steps."""

    learning_rate: float = 3e-4
    """At its peak."""

    schedule: Literal["tri-stage", "linear", "cosine"] = "tri-stage"
    """How the learning rate falls: tri-stage exponentially to 5 %, as wav2vec 2.0 is fine-tuned; the others to 0."""

    rise: float = 0.1
    """Share of updates in which the learning rate rises from 0."""

    hold: float = 0.4
    """Share of updates at the peak; in the rest it falls."""

    layer_decay: float = 1.0
    """A layer's learning rate over that of the layer above it; 0.9 leaves the lower ones nearly as they were."""

    head_only_updates: int = 0
    """Updates at the start in which only the output layer learns, as wav2vec 2.0 is fine-tuned on little data."""

    weight_decay: float = 0.01
    """On matrices; biases and normalisation are left out."""

    accumulate: int = 1
    """Batches in an update, weighted by labels, for each process."""

    max_gradient_norm: float = 1.0
    """Gradients are scaled down to this norm."""

    ema_decay: float = 0.0
    """Evaluate and keep an exponential moving average of the weights: 0.999 averages about 1,000 updates; 0: none."""

    average_best: int = 1
    """At the end, try the mean of the weights of so many of the best evaluations, and keep it where it is better."""

    def check_limits(self) -> None:
        """Raises UsageError naming the first number that cannot be."""
        if self.rise + self.hold > 1:
            raise UsageError("--optimisation.rise and --optimisation.hold add up to over 1: lower one of them")
        check_counts(
            ("--optimisation.updates", self.updates, 1),
            ("--optimisation.accumulate", self.accumulate, 1),
            ("--optimisation.average_best", self.average_best, 1),
            ("--optimisation.head_only_updates", self.head_only_updates, 0),
        )
        check_shares(("--optimisation.ema_decay", self.ema_decay))
        check_ranges(
            ("--optimisation.learning_rate", self.learning_rate, "over 0", self.learning_rate > 0.0),
            ("--optimisation.weight_decay", self.weight_decay, "0 or more", self.weight_decay >= 0.0),
            ("--optimisation.max_gradient_norm", self.max_gradient_norm, "over 0", self.max_gradient_norm > 0.0),
            ("--optimisation.layer_decay", self.layer_decay, "over 0, up to 1", 0.0 < self.layer_decay <= 1.0),
            ("--optimisation.rise", self.rise, "0 to 1", 0.0 <= self.rise <= 1.0),
            ("--optimisation.hold", self.hold, "0 to 1", 0.0 <= self.hold <= 1.0),
        )


@dataclass(frozen=True)
class HubConfig:
    """Where the trained model is published."""

    push: bool = False
    """Publish the best model on the Hugging Face Hub after training; `python -m finetune.hub push` does it later."""

    repo_id: str | None = None
    """Its repository: you/model. It is made where there is none."""

    private: bool = False
    """Only for those with access to your account; a public repository that is there already is refused."""

    license: str | None = None
    """The Hub's key of the licence that you give the weights, such as apache-2.0 or cc-by-4.0."""

    language: str | None = None
    """Of the speech, such as de; where the corpus does not say."""

    def check(self, prefix: str = "--hub.") -> None:
        """Raises UsageError naming the first contradiction, by its flag with the prefix."""
        if self.push and self.repo_id is None:
            raise UsageError("--hub.push is true without --hub.repo_id; expected a repository: name it, as you/model")
        if self.repo_id is not None:
            check_repo_id(self.repo_id, f"{prefix}repo_id")
        if self.license is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", self.license):
            raise UsageError(
                f"{prefix}license is {self.license!r}; expected a key of the Hub, in small letters: write apache-2.0, "
                "cc-by-4.0, or other"
            )
        if self.language is not None and not re.fullmatch(r"[a-z]{2,3}", self.language):
            raise UsageError(f"{prefix}language is {self.language!r}; expected an ISO 639 code: write en, de or yue")


def check_repo_id(repo_id: str, flag: str) -> None:
    """Raises UsageError where it is no NAMESPACE/NAME that the Hub takes."""
    names = repo_id.split("/")
    named = len(names) == 2 and all(re.fullmatch(r"\w([\w.-]*\w)?", name, re.ASCII) for name in names)
    if not named or len(repo_id) > 96 or "--" in repo_id or ".." in repo_id or repo_id.endswith(".git"):
        raise UsageError(
            f"{flag} is {repo_id!r}; expected you/model of letters, digits, '-', '_' and '.', without '--' and '..', "
            "96 characters at the most: change it"
        )


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
