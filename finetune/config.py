"""What a fine-tuning run can be told: one dataclass a topic, one doc a field, contradictions refused by flag name."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from preprocessing.errors import UsageError


@dataclass(frozen=True)
class ModelConfig:
    """What is trained."""

    family: Literal["wav2vec2", "whisper"] = "wav2vec2"
    """wav2vec2: any CTC model of transformers. whisper: openai-whisper's own module."""

    base: str | None = None
    """Checkpoint to begin with: a folder or Hub id (wav2vec2), a .pt file or size such as base.en (whisper)."""

    scratch: dict[str, Any] | None = None
    """Instead of base, a new model with random weights: keys of Wav2Vec2Config, or of Whisper's ModelDimensions."""

    vocabulary: Literal["keep", "new"] = "keep"
    """keep: the base's own units. new: the characters of the training labels, on a fresh output layer."""

    freeze_feature_encoder: bool = True
    """Leave the convolutions as they are, as wav2vec 2.0 is fine-tuned."""

    mask_time_probability: float = 0.05
    """Share of latent frames masked while training (wav2vec2)."""

    mask_time_length: int = 10
    """Frames in a mask, 20 ms each; cut to short clips."""

    mask_channel_probability: float = 0.0
    """Share of latent channels masked while training, in every frame of an utterance (wav2vec2)."""

    mask_channel_length: int = 64
    """Channels in a mask."""

    spec_augment: Literal["none", "LB", "LD", "SM", "SS"] = "none"
    """SpecAugment's policy over log-mel features while training (whisper); wav2vec2 has its latent masks instead."""

    dropout: float = 0.1
    """Of attention and hidden activations alike."""

    context_seconds: float = 30.0
    """Audio that Whisper's encoder sees at once; below 30 only to train faster, the checkpoint keeps all positions."""


@dataclass(frozen=True)
class DataConfig:
    """What it is trained on."""

    train: list[str] = field(default_factory=list)
    """Corpora: manifests, folders with metadata.csv, or hf:DATASET[:CONFIG[:SPLIT[:COUNT]]]."""

    validation: str | None = None
    """The corpus that WER is measured on while training, and the best weights are chosen by: never the test set."""

    validation_share: float = 0.0
    """Where there is no such corpus: hold this share of the training utterances out for it."""

    profile: str = "librispeech"
    """Text profile of labels and of WER: librispeech, basic:de, ctc:MODEL (`python -m preprocessing.text --list`)"""

    denoise: bool = False
    """Turn stationary noise down in all audio, validation too; benchmark the model with --denoise true then."""

    augment: list[dict[str, Any]] = field(default_factory=list)
    """Changes of training waveforms in order, drawn anew each epoch, as {name: speed, factors: [0.9, 1.0, 1.1]}."""

    min_seconds: float = 0.1
    """Shorter utterances are set aside; 25 ms is what the convolutions need."""

    max_seconds: float = 20.0
    """Longer utterances are set aside."""

    max_batch_seconds: float = 80.0
    """Cap on a batch's size times its longest utterance."""

    workers: int = 0
    """Processes that decode audio beside the training process; 0 decodes in it."""

    strict: bool = False
    """Stop at the first unusable utterance instead of setting it aside in rejects.jsonl."""


@dataclass(frozen=True)
class OptimisationConfig:
    """How weights move: AdamW under a tri-stage schedule (rise, hold, decay), as wav2vec 2.0 is fine-tuned."""

    updates: int = 1000
    """Optimiser steps."""

    learning_rate: float = 3e-4
    """At its peak."""

    rise: float = 0.1
    """Share of updates in which the learning rate rises from 0."""

    hold: float = 0.4
    """Share of updates at the peak; the rest decays to 5 % of it."""

    weight_decay: float = 0.01
    """On matrices; biases and normalisation are left out."""

    accumulate: int = 1
    """Batches in an update, weighted by labels, for each process."""

    max_gradient_norm: float = 1.0
    """Gradients are scaled down to this norm."""


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

    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    """Arithmetic of the forward pass; the loss is float32 always."""

    evaluate_every: int = 100
    """Updates between evaluations; a checkpoint is saved at each."""

    log_every: int = 10
    """Updates between lines of log.jsonl."""

    overwrite: bool = False
    """Begin anew in an output folder that holds a run; otherwise the run is resumed."""

    def check(self) -> None:
        """Raises UsageError naming the first contradiction."""
        if (self.model.base is None) == (self.model.scratch is None):
            raise UsageError(
                f"--model.base is {self.model.base!r} and --model.scratch {'set' if self.model.scratch else 'unset'}; "
                "expected exactly one of them: name a checkpoint, or describe a new model"
            )
        if not self.data.train:
            raise UsageError("--data.train is empty; expected a corpus or more: name a manifest")
        if (self.data.validation is None) == (self.data.validation_share == 0.0):
            raise UsageError(
                f"--data.validation is {self.data.validation!r} and --data.validation_share "
                f"{self.data.validation_share:g}; expected exactly one of them: name a corpus, or hold out a share"
            )
        if not 0.0 <= self.data.validation_share < 1.0:
            raise UsageError(
                f"--data.validation_share is {self.data.validation_share:g}; expected 0 or more, below 1: change it"
            )
        if self.model.family == "wav2vec2" and self.model.spec_augment != "none":
            raise UsageError(
                f"--model.spec_augment is {self.model.spec_augment}, but wav2vec2 has no log-mel features to mask; "
                "expected none: set --model.mask_time_probability and --model.mask_channel_probability instead"
            )
        if self.data.max_seconds > self.data.max_batch_seconds:
            raise UsageError(
                f"--data.max_batch_seconds is {self.data.max_batch_seconds:g}, below --data.max_seconds "
                f"{self.data.max_seconds:g}; expected a cap that holds the longest: raise the one or lower the other"
            )
        self.hub.check()
        if self.optimisation.rise + self.optimisation.hold > 1:
            raise UsageError("--optimisation.rise and --optimisation.hold add up to over 1: lower one of them")
        for flag, value in (
            ("--optimisation.updates", self.optimisation.updates),
            ("--optimisation.accumulate", self.optimisation.accumulate),
            ("--evaluate_every", self.evaluate_every),
            ("--log_every", self.log_every),
        ):
            if value < 1:
                raise UsageError(f"{flag} is {value}; expected 1 or more: raise it")
