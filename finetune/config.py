"""What a fine-tuning run can be told: one dataclass a topic, one doc a field, contradictions refused by flag name."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from finetune.limits import check_limits
from preprocessing.errors import UsageError


@dataclass(frozen=True)
class ModelConfig:
    """What is trained."""

    family: Literal["wav2vec2", "whisper", "lstm"] = "wav2vec2"
    """wav2vec2: any CTC model of transformers. whisper: openai-whisper's own module. lstm: an LSTM-CTC on log-mel."""

    base: str | None = None
    """Checkpoint to begin with: a folder or Hub id (wav2vec2, lstm), a .pt file or size such as base.en (whisper)."""

    scratch: dict[str, Any] | None = None
    """Instead of base, a new model with random weights: keys of Wav2Vec2Config, of Whisper's ModelDimensions, or of
    LSTMConfig in finetune/models/lstm_ctc.py, for which {} is enough."""

    vocabulary: Literal["keep", "extend", "new"] = "keep"
    """keep: the base's own units. extend: these, and the labels' characters that they lack, with fresh weights for the
    new ones. new: units made of the training labels, on a fresh output layer."""

    units: Literal["characters", "syllables", "bpe", "words"] = "characters"
    """What a new CTC vocabulary is made of; docs/units.md compares them."""

    units_size: int | None = None
    """How many units at the most; bpe needs it, for syllables and words it cuts those rarest in the labels."""

    units_language: str | None = None
    """Of the hyphenation that parts syllables: en_US, de_DE or another that pyphen has."""

    units_dictionary: str | None = None
    """CMUdict's file, plain or .gz: English syllables are then as many as it counts in a word."""

    freeze_feature_encoder: bool = True
    """Leave the base's convolutions as they are, as wav2vec 2.0 is fine-tuned."""

    adapters_only: bool = False
    """Train only the language adapters and the output layer of an MMS model; the rest stays for every language."""

    lora_rank: int = 0
    """Train matrices of this rank beside the attention's, and the output layer, instead of all weights (wav2vec2)."""

    lora_scale: float = 2.0
    """What those matrices are multiplied with (alpha over rank)."""

    gradient_checkpointing: bool = False
    """Compute activations twice instead of keeping them: less memory, a third slower (wav2vec2)."""

    attention: Literal["auto", "eager", "sdpa", "flash_attention_2"] = "auto"
    """How transformers computes attention (wav2vec2); flash_attention_2 needs its package and 16-bit arithmetic."""

    compile: bool = False
    """Compile the transformer with torch.compile (wav2vec2): minutes at the start, faster after."""

    mask_time_probability: float = 0.05
    """Share of latent frames masked while training (wav2vec2)."""

    mask_time_length: int = 10
    """Frames in a mask, 20 ms each; cut to short clips."""

    mask_channel_probability: float = 0.0
    """Share of latent channels masked while training, in every frame of an utterance (wav2vec2)."""

    mask_channel_length: int = 64
    """Channels in a mask."""

    spec_augment: Literal["none", "LB", "LD", "SM", "SS"] = "none"
    """SpecAugment's policy over features while training (whisper, lstm); wav2vec2 has its latent masks instead."""

    dropout: float = 0.1
    """Of attention, hidden states, activations and what the output layer sees; of each layer's input (lstm)."""

    context_seconds: float = 30.0
    """Audio that Whisper's encoder sees at once; below 30 only to train faster, the checkpoint keeps all positions."""

    def check_units(self) -> None:
        """Raises UsageError where what is said of the units does not go together."""
        if self.units != "characters":
            if self.family == "whisper":
                raise UsageError(
                    f"--model.units is {self.units} and --model.family whisper; expected wav2vec2 or lstm, as Whisper "
                    "keeps its own units: leave one of them out"
                )
            if self.vocabulary != "new" and self.scratch is None:
                raise UsageError(
                    f"--model.units is {self.units} and --model.vocabulary {self.vocabulary}; expected new, as the "
                    "base keeps its own units otherwise: set --model.vocabulary new"
                )
        elif self.units_size is not None:
            raise UsageError(
                "--model.units_size is set and --model.units is characters, which are never cut; expected syllables, "
                "bpe or words with it: leave one of them out"
            )
        if self.units == "bpe" and self.units_size is None:
            raise UsageError(
                "--model.units is bpe and --model.units_size unset; expected how many units to learn: set it, to 500 "
                "for example"
            )
        if (self.units == "syllables") != (self.units_language is not None):
            raise UsageError(
                f"--model.units is {self.units} and --model.units_language {self.units_language}; expected a language "
                "with syllables and with nothing else: name one such as en_US, or leave it out"
            )
        if self.units_dictionary is not None and not (self.units_language or "").startswith("en"):
            raise UsageError(
                f"--model.units_dictionary is set and --model.units_language {self.units_language}; expected English, "
                "which CMUdict is of: leave it out"
            )

    def check(self) -> None:
        """Raises UsageError where keys do not go with each other or with the family."""
        self.check_units()
        self._check_masks()
        if self.adapters_only and self.lora_rank > 0:
            raise UsageError(
                f"--model.adapters_only is true and --model.lora_rank {self.lora_rank}; expected one of the two: "
                "leave one out"
            )
        if self.family != "wav2vec2":
            self._check_family_keys()

    def _check_family_keys(self) -> None:
        """Raises UsageError naming the first key that only wav2vec2 knows and that was given."""
        given = {
            "adapters_only": self.adapters_only,
            "lora_rank": self.lora_rank > 0,
            "gradient_checkpointing": self.gradient_checkpointing,
            "attention": self.attention != "auto",
            "compile": self.compile,
            "mask_channel_probability": self.mask_channel_probability > 0,
        }
        for key, told in given.items():
            if told:
                raise UsageError(
                    f"--model.{key} is {getattr(self, key)}, but --model.family is {self.family}; expected "
                    "wav2vec2 with it: leave it out"
                )

    def _check_masks(self) -> None:
        """Raises UsageError where masks are asked for that the family does not have."""
        if self.family == "wav2vec2" and self.spec_augment != "none":
            raise UsageError(
                f"--model.spec_augment is {self.spec_augment}, but wav2vec2 has no log-mel features to mask; "
                "expected none: set --model.mask_time_probability and --model.mask_channel_probability instead"
            )
        if self.family == "wav2vec2":
            return
        for name in ("mask_time_probability", "mask_time_length", "mask_channel_probability", "mask_channel_length"):
            value = getattr(self, name)
            if value not in (0, getattr(ModelConfig, name)):  # the default says nothing: it is wav2vec2's
                raise UsageError(
                    f"--model.{name} is {value:g}, but {self.family} has none of wav2vec 2.0's latent masks; expected "
                    "it unset: set --model.spec_augment instead, to SM for short clips or LD for sentences"
                )


@dataclass(frozen=True)
class DataConfig:
    """What it is trained on."""

    train: list[str] = field(default_factory=list)
    """Corpora: manifests, folders with metadata.csv, or hf:DATASET[:CONFIG[:SPLIT[:COUNT]]]."""

    weights: list[float] = field(default_factory=list)
    """How often each corpus of train is heard in an epoch, in their order: 2 twice, 0.5 half of it; by default once."""

    validation: str | None = None
    """The corpus that WER is measured on while training, and the best weights are chosen by: never the test set."""

    validation_share: float = 0.0
    """Where there is no such corpus: hold this share of the training utterances out for it."""

    also_validation: dict[str, str] = field(default_factory=dict)
    """Further corpora to measure WER on, by a name of yours, such as {noisy: other.jsonl}; they choose nothing."""

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
        """Raises UsageError naming the first contradiction."""
        if (self.model.base is None) == (self.model.scratch is None):
            raise UsageError(
                f"--model.base is {self.model.base!r} and --model.scratch "
                f"{'unset' if self.model.scratch is None else 'set'}; expected exactly one of them: name a checkpoint, "
                "or describe a new model"
            )
        if not self.data.train:
            raise UsageError("--data.train is empty; expected a corpus or more: name a manifest")
        if (self.data.validation is None) == (self.data.validation_share == 0.0):
            raise UsageError(
                f"--data.validation is {self.data.validation!r} and --data.validation_share "
                f"{self.data.validation_share:g}; expected exactly one of them: name a corpus, or hold out a share"
            )
        if self.data.weights and (len(self.data.weights) != len(self.data.train) or min(self.data.weights) <= 0.0):
            raise UsageError(
                f"--data.weights is {self.data.weights} for {len(self.data.train)} corpora in --data.train; expected a "
                "number over 0 for each: mend it"
            )
        if "validation" in self.data.also_validation:
            raise UsageError(
                "--data.also_validation names a corpus 'validation'; expected another name: that is --data.validation's"
            )
        if not 0.0 <= self.data.validation_share < 1.0:
            raise UsageError(
                f"--data.validation_share is {self.data.validation_share:g}; expected 0 or more, below 1: change it"
            )
        self.model.check()
        self.hub.check()
        check_limits(self)
