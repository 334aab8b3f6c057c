"""What is trained: family, beginning, units, which weights move, masks."""

from dataclasses import dataclass
from typing import Any, Literal

from preprocessing.cli.errors import UsageError
from preprocessing.cli.options import check_counts, check_shares


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

    language: str | None = None
    """That a multilingual Whisper is trained on and asked for, such as de; an English-only one knows no other."""

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
    """Of hidden states, activations and what the output layer sees; of each layer's input (lstm)."""

    attention_dropout: float = 0.0
    """Of attention weights (wav2vec2). 0 as in the paper's recipe; above it, fast attention is lost on a CPU."""

    context_seconds: float = 30.0
    """Audio that Whisper's encoder sees at once; below 30 to train faster at first: the checkpoint keeps all positions,
    and has to meet the full window before it is used."""

    def check_origin(self) -> None:
        """Raises UsageError where it begins with nothing, or with both a checkpoint and a new model."""
        if (self.base is None) == (self.scratch is None):
            raise UsageError(
                f"--model.base is {self.base!r} and --model.scratch "
                f"{'unset' if self.scratch is None else 'set'}; expected exactly one of them: name a checkpoint, "
                "or describe a new model"
            )

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
        if self.language is not None and self.family != "whisper":
            raise UsageError(
                f"--model.language is {self.language}, but --model.family is {self.family}, whose units are all it "
                "knows of a language; expected whisper with it: leave it out"
            )
        if self.family != "wav2vec2":
            self._check_family_keys()

    def check_limits(self) -> None:
        """Raises UsageError naming the first number that cannot be."""
        check_counts(("--model.lora_rank", self.lora_rank, 0))
        check_shares(
            ("--model.dropout", self.dropout),
            ("--model.attention_dropout", self.attention_dropout),
            ("--model.mask_time_probability", self.mask_time_probability),
            ("--model.mask_channel_probability", self.mask_channel_probability),
        )

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
