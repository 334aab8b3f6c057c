"""Configuration of a fine-tuning run: steps, evaluation, logging and publishing.

A key that means what a key of transformers' TrainingArguments means has its name. Wrong values and contradictions are
refused by flag name before anything is loaded.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Literal

from finetune.config.data import DataConfig
from finetune.config.families import families_with
from finetune.config.model import ModelConfig
from finetune.config.renamed import OF_TRAINER, RENAMED
from preprocessing.cli.options import check_counts, check_ranges, check_shares
from preprocessing.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class OptimisationConfig:
    """How the weights are updated: AdamW under a learning rate that warms up, holds and decays."""

    max_steps: int = 1000
    """Optimiser steps of the run; num_train_epochs takes its place."""

    num_train_epochs: float | None = None
    """Passes over the training data, instead of max_steps; config.yaml records the steps. Where a file sets max_steps,
    --max_steps -1 takes it back."""

    learning_rate: float = 3e-4
    """Peak learning rate."""

    lr_scheduler_type: Literal["tri-stage", "linear", "cosine"] = "tri-stage"
    """Decay of the learning rate: tri-stage exponentially to 5 % of the peak (wav2vec 2.0's recipe), linear and cosine
    to 0."""

    warmup_ratio: float = 0.1
    """Share of the steps for the warm-up from 0 to the peak."""

    hold_ratio: float | None = None
    """Share of the steps at the peak; the rest is decay. Default: 0.4 with tri-stage, and 0 with linear and cosine, as
    in transformers' schedules of these names."""

    layer_decay: float = 1.0
    """Ratio of a layer's learning rate to that of the layer above it; 0.9 nearly freezes the lowest layers."""

    head_only_steps: int = 0
    """Initial steps, fewer than max_steps, that train only the head (wav2vec 2.0's recipe for little data): the output
    layer, for whisper-ctc also the layers of `model.head`."""

    weight_decay: float = 0.01
    """AdamW's weight decay on matrices; biases and normalisation layers have none."""

    gradient_accumulation_steps: int = 1
    """Batches per step and process; gradients are weighted by the number of labels."""

    max_grad_norm: float = 1.0
    """Gradient clipping norm."""

    ema_decay: float = 0.0
    """Decay of an exponential moving average of the weights, which is evaluated and saved instead of the weights: 0.999
    averages about 1,000 steps; 0 disables it."""

    average_best: int = 1
    """At the end, average the weights of this many best evaluations, and keep the average if its WER is lower."""

    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass instead of storing them: less memory, a third slower (wav2vec2,
    whisper, whisper-ctc)."""

    torch_compile: bool = False
    """Compile the transformer's layers with torch.compile: the first step takes half a minute or more, then steps are
    faster on a GPU that is busy (wav2vec2)."""

    @property
    def held_share(self) -> float:
        """`hold_ratio`, or its default under this schedule."""
        if self.hold_ratio is not None:
            return self.hold_ratio
        return min(0.4, 1.0 - self.warmup_ratio) if self.lr_scheduler_type == "tri-stage" else 0.0

    def check_optimisation(self) -> None:
        """Raises UsageError naming the first value that is out of range."""
        if self.warmup_ratio + (self.hold_ratio or 0.0) > 1:
            raise UsageError("--warmup_ratio and --hold_ratio add up to over 1; expected 1 at most: lower one of them")
        self._check_length()
        check_counts(
            ("--gradient_accumulation_steps", self.gradient_accumulation_steps, 1),
            ("--average_best", self.average_best, 1),
            ("--head_only_steps", self.head_only_steps, 0),
        )
        check_shares(("--ema_decay", self.ema_decay))
        check_ranges(
            ("--learning_rate", self.learning_rate, "over 0", self.learning_rate > 0.0),
            ("--weight_decay", self.weight_decay, "0 or more", self.weight_decay >= 0.0),
            ("--max_grad_norm", self.max_grad_norm, "over 0", self.max_grad_norm > 0.0),
            ("--layer_decay", self.layer_decay, "over 0, up to 1", 0.0 < self.layer_decay <= 1.0),
            ("--warmup_ratio", self.warmup_ratio, "0 to 1", 0.0 <= self.warmup_ratio <= 1.0),
            ("--hold_ratio", self.held_share, "0 to 1", 0.0 <= self.held_share <= 1.0),
        )

    def _check_length(self) -> None:
        """Raises UsageError unless one of steps and epochs is given; max_steps at its default counts as not given."""
        if self.num_train_epochs is None:
            check_counts(("--max_steps", self.max_steps, 1))
            return
        check_ranges(("--num_train_epochs", self.num_train_epochs, "over 0", self.num_train_epochs > 0.0))
        if self.max_steps not in (-1, OptimisationConfig.max_steps):
            raise UsageError(
                f"--num_train_epochs is {self.num_train_epochs:g} and --max_steps {self.max_steps}; expected one of "
                "them: leave one out, or set --max_steps -1 where a file sets it"
            )


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """When a run is evaluated, saved and logged."""

    eval_steps: int = 100
    """Steps between evaluations; each evaluation saves a checkpoint."""

    save_total_limit: int | None = 2
    """Number of last checkpoints that are kept, the one before the last in case the disk loses that; null keeps all.
    The best model is beside them."""

    early_stopping_patience: int | None = None
    """Stop after this many evaluations without a lower WER, or a lower CER at the same WER. In languages written
    without spaces, the CER comes first."""

    logging_steps: int = 10
    """Steps between lines in log.jsonl."""

    report_to: Literal["tensorboard", "trackio", "wandb", "none"] = "tensorboard"
    """Experiment tracker that also receives the values of log.jsonl; trackio and wandb need their package."""

    def check_evaluation(self) -> None:
        """Raises UsageError naming the first value that is out of range, or a tracker that is not installed."""
        check_counts(
            ("--eval_steps", self.eval_steps, 1),
            ("--logging_steps", self.logging_steps, 1),
            ("--early_stopping_patience", self.early_stopping_patience, 1),
            ("--save_total_limit", self.save_total_limit, 1),
        )
        if self.report_to in ("trackio", "wandb") and find_spec(self.report_to) is None:
            raise UsageError(
                f"--report_to is {self.report_to}, but its package is not installed; expected it, or another of "
                f"tensorboard, trackio, wandb and none: pip install {self.report_to}"
            )


@dataclass(frozen=True, kw_only=True)
class HubConfig:
    """Where the trained model is published."""

    push_to_hub: bool = False
    """Publish the best model on the Hugging Face Hub after training; `python -m finetune.hub push` does it later."""

    hub_model_id: str | None = None
    """Repository to push to, as you/model; it is created if it does not exist."""

    hub_private_repo: bool = False
    """Push to a private repository; an existing public one is refused."""

    hub_license: str | None = None
    """Licence of the weights, as a key of the Hub such as apache-2.0 or cc-by-4.0; other for one that it has no key
    of."""

    hub_license_name: str | None = None
    """Name of the licence, with hub_license other."""

    hub_license_link: str | None = None
    """Where the text of that licence is: an address, or a file of the repository such as LICENSE."""

    hub_language: str | None = None
    """Language of the speech, such as de, if the corpus does not name it."""

    def check_hub(self, prefix: str = "--hub_") -> None:
        """Raises UsageError naming the first contradiction. prefix: of the flags in messages about licence and
        language, which `python -m finetune.hub push` has under shorter names.
        """
        if self.push_to_hub and self.hub_model_id is None:
            raise UsageError(
                "--push_to_hub is true without --hub_model_id; expected a repository: name it, as you/model"
            )
        if self.hub_model_id is not None:
            check_repo_id(self.hub_model_id, "--hub_model_id")
        if self.hub_license is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", self.hub_license):
            raise UsageError(
                f"{prefix}license is {self.hub_license!r}; expected a key of the Hub, in small letters: write "
                "apache-2.0, cc-by-4.0, or other"
            )
        self._check_other_license(prefix)
        if self.hub_language is not None and not re.fullmatch(r"[a-z]{2,3}", self.hub_language):
            raise UsageError(
                f"{prefix}language is {self.hub_language!r}; expected an ISO 639 code: write en, de or yue"
            )

    def _check_other_license(self, prefix: str) -> None:
        """Raises UsageError where the licence `other` has no name, or another one has."""
        if self.hub_license == "other" and self.hub_license_name is None:
            raise UsageError(
                f"{prefix}license is other without {prefix}license_name; expected a name for what the Hub has no key "
                f"of: name the licence, and where its text is with {prefix}license_link"
            )
        for name in ("license_name", "license_link"):
            if getattr(self, f"hub_{name}") is not None and self.hub_license != "other":
                raise UsageError(
                    f"{prefix}{name} is set and {prefix}license is {self.hub_license or 'not'}; expected other with "
                    f"it: set {prefix}license other, or leave {prefix}{name} out"
                )


def check_repo_id(repo_id: str, flag: str) -> None:
    """Raises UsageError, naming the flag, if `repo_id` is no NAMESPACE/NAME that the Hub accepts."""
    names = repo_id.split("/")
    named = len(names) == 2 and all(re.fullmatch(r"\w([\w.-]*\w)?", name, re.ASCII) for name in names)
    if not named or len(repo_id) > 96 or "--" in repo_id or ".." in repo_id or repo_id.endswith(".git"):
        raise UsageError(
            f"{flag} is {repo_id!r}; expected you/model of letters, digits, '-', '_' and '.', without '--' and '..', "
            "96 characters at the most: change it"
        )


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What is trained on what, into which folder, and how a command is run."""

    output_dir: Path
    """Folder of the run: the best model, checkpoints, log.jsonl, curve.png, rejects.jsonl, about.json."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)

    seed: int = 0
    """Seed of initial weights, data order, augmentation, masks and dropout."""

    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = "auto"
    """Precision of the forward pass; the loss is always float32. auto: the fastest one that the device supports
    well."""

    dataloader_num_workers: int | None = None
    """Number of processes that decode audio; 0 decodes in the training process. Default: 0 on a CPU; on a GPU one for
    each further core, up to 12."""

    overwrite: bool = False
    """Delete the run in output_dir and start again. Default: resume it; a model that has no checkpoint to resume is not
    replaced."""

    dry_run: bool = False
    """Show the model, the data, and the time and memory measured on a few batches; train and write nothing."""

    overfit_batch: bool = False
    """Overfit one small batch in up to max_steps steps, and diagnose the cause if that fails; write nothing."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig(HubConfig, EvaluationConfig, OptimisationConfig, RunConfig):
    """Options of a run; config.yaml in output_dir records them with their resolved values."""

    renamed: ClassVar[Mapping[str, str]] = RENAMED
    instead: ClassVar[Mapping[str, str]] = OF_TRAINER

    def check(self) -> None:
        """Raises UsageError naming the first contradiction: origin of the model and data first, numbers last."""
        self.model.check_origin()
        self.data.check()
        self.model.check()
        self.check_hub()
        self.data.check_limits()
        self.check_optimisation()
        self.model.check_limits()
        self.check_evaluation()
        check_counts(("--dataloader_num_workers", self.dataloader_num_workers, 0))
        check_ranges(("--seed", self.seed, "0 to 4294967295", 0 <= self.seed < 2**32))
        if self.dry_run and self.overfit_batch:
            raise UsageError("--dry_run and --overfit_batch are both true; expected one of them: leave one out")
        if self.num_train_epochs is not None and self.data.streaming:
            raise UsageError(
                f"--num_train_epochs is {self.num_train_epochs:g} and --data.streaming is true, where the length of an "
                "epoch is unknown; expected a number of steps: set --max_steps instead"
            )
        if self.num_train_epochs is None and not self.overfit_batch:  # which trains all from the first step
            self.check_head_only_steps()
        self._check_family()

    def check_head_only_steps(self) -> None:
        """Raises UsageError if all of the steps train the head alone."""
        if self.head_only_steps >= self.max_steps:
            raise UsageError(
                f"--head_only_steps is {self.head_only_steps} and --max_steps {self.max_steps}, so only the head would "
                "be trained; expected fewer steps of the head alone: lower --head_only_steps"
            )

    def _check_family(self) -> None:
        """Raises UsageError naming the first key that the family of the model does not have."""
        if self.head_only_steps > 0 and not self.model.traits.has_output_layer:
            raise UsageError(
                f"--head_only_steps is {self.head_only_steps}, but --model.family is {self.model.family}, which has no "
                "output layer of its own; expected 0: take head_only_steps out of the configuration, or set it to 0"
            )
        for key in ("gradient_checkpointing", "torch_compile"):
            if getattr(self, key) and key not in self.model.traits.keys:
                raise UsageError(
                    f"--{key} is true, but --model.family is {self.model.family}; expected {families_with(key)} with "
                    "it: leave it out"
                )
        if self.model.feature_cache is not None and self.data.augment:
            raise UsageError(
                "--model.feature_cache and --data.augment are both set, but augmentation changes the waveform in each "
                "epoch; expected one of them: leave one out"
            )
