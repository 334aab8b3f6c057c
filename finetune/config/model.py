"""Configuration of the model: family, origin, output units, which weights are trained, masks and dropout."""

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from finetune.config.families import FAMILIES, OWN_KEYS, TrainableFamily, families_with
from preprocessing.cli.options import check_counts, check_ranges, check_shares
from preprocessing.errors import UsageError
from preprocessing.storage.model_file import HUB_ID


@dataclass(frozen=True)
class ModelConfig:
    """Model."""

    family: Literal["wav2vec2", "whisper", "whisper-ctc", "lstm"] = "wav2vec2"
    """wav2vec2: any CTC model of transformers. whisper: openai-whisper's own module. whisper-ctc: Whisper's encoder
    with a CTC head. lstm: an LSTM-CTC on log-mel features."""

    base: str | None = None
    """Checkpoint to fine-tune: a folder or Hub id; for whisper and whisper-ctc also an OpenAI .pt file or a size such
    as base.en."""

    scratch: dict[str, Any] | None = None
    """Train from scratch instead of from base: keys of Wav2Vec2Config, of Whisper's ModelDimensions, of LSTMConfig in
    finetune/models/lstm_ctc.py ({} takes its defaults, as does an lstm without base), or of WhisperCTCConfig."""

    vocabulary: Literal["keep", "extend", "new"] = "keep"
    """keep: the vocabulary of base. extend: also the characters of the labels that it lacks, with new weights. new: a
    vocabulary built from the training labels, with a new output layer, unless base has the same units in the same
    order: then their weights are kept."""

    units: Literal["characters", "syllables", "bpe", "words"] = "characters"
    """Units of a new CTC vocabulary; docs/units.md compares them."""

    units_size: int | None = None
    """Vocabulary size; required for bpe, optional for syllables and words, which drop the rarest units."""

    units_language: str | None = None
    """Hyphenation language that splits words into syllables: en_US, de_DE or another language of pyphen."""

    units_dictionary: str | None = None
    """CMUdict file, plain or .gz, for the number of syllables of English words."""

    language: str | None = None
    """Language token of a multilingual Whisper, such as de. Default: the language given by all training utterances. For
    an MMS model (wav2vec2): the language whose adapter is trained together with the output layer, such as deu; nothing
    else is trained."""

    freeze_feature_encoder: bool = True
    """Freeze the convolutional feature encoder of a base, as usual when fine-tuning wav2vec 2.0 (wav2vec2, whisper,
    whisper-ctc). An lstm's convolutions are always trained."""

    trained_layers: int | None = None
    """Number of top encoder blocks of Whisper that are trained; 0 trains only the decoder (whisper), or only the head
    and the encoder's final layer norm (whisper-ctc). Default: all."""

    head: dict[str, Any] = field(default_factory=dict)
    """CTC head (whisper-ctc): keys head, head_layers, head_size and mixed_layers of WhisperCTCConfig in
    finetune/models/whisper_ctc_model.py."""

    feature_cache: Path | None = None
    """Folder that caches the output of the blocks frozen by trained_layers for each utterance, so that a CPU computes
    it once; runs may share it. A GPU recomputes it, which is faster."""

    feature_cache_gib: float = 10.0
    """Largest size of that folder, in GiB. Whisper base needs about 0.2 GiB per hour of speech (whisper-ctc), or 1.5
    MiB per utterance, as each is padded to 30 s (whisper)."""

    adapters_only: bool = False
    """Train only the language adapters and the output layer of an MMS model; other languages are unaffected."""

    lora_rank: int = 0
    """Rank of LoRA on the attention projections, which are trained with the output layer instead of all weights; 0
    trains all weights (wav2vec2; whisper-ctc with its whole head; whisper in the decoder and in the trained_layers of
    the encoder)."""

    lora_alpha: int | None = None
    """LoRA scaling as in peft: updates are multiplied by lora_alpha / lora_rank. Default: twice lora_rank."""

    timestamp_share: float = 0.0
    """Share of the utterances trained with start and end timestamps (whisper); 0.5 preserves the timestamps that
    long-form transcription needs. Only for audio that is cut close to the speech."""

    label_smoothing_factor: float = 0.0
    """Label smoothing of the cross-entropy (whisper); 0.1 suits little or noisy text."""

    attn_implementation: Literal["auto", "eager", "sdpa", "flash_attention_2"] = "auto"
    """Attention implementation of transformers (wav2vec2); flash_attention_2 needs its package and 16-bit precision.
    auto is that of transformers, on a GPU in 16 bits flash attention without padding where the architecture allows."""

    mask_time_prob: float = 0.05
    """Share of latent frames masked in training (wav2vec2), in short clips as well: there is no least number of masks,
    which transformers sets to 2 (mask_time_min_masks)."""

    mask_time_length: int = 10
    """Length of a time mask in frames of 20 ms; a clip no longer than one stays unmasked."""

    mask_feature_prob: float = 0.0
    """Share of latent channels masked in training, in all frames of an utterance (wav2vec2)."""

    mask_feature_length: int = 64
    """Width of a channel mask."""

    spec_augment: Literal["none", "LB", "LD", "SM", "SS"] = "none"
    """SpecAugment policy in training (whisper, whisper-ctc, lstm); wav2vec2 masks latent frames instead."""

    dropout: float = 0.1
    """Dropout of hidden states, activations and the output layer's input (wav2vec2), of each layer's input (lstm,
    whisper-ctc), or of LoRA's input (whisper, which has no other)."""

    attention_dropout: float = 0.0
    """Dropout of attention weights (wav2vec2). 0 as in the paper's recipe; above 0, fast attention is unavailable on a
    CPU."""

    context_seconds: float = 30.0
    """Window of Whisper's encoder, in seconds. Below 30, training is faster, but openai-whisper always uses 30: finish
    with a short run at 30."""

    @property
    def traits(self) -> TrainableFamily:
        """What the family has."""
        return FAMILIES[self.family]

    def with_language(self, language: str | None) -> "ModelConfig":
        """The configuration with the language of a corpus where the family takes one and none is set."""
        takes_it = self.traits.language == "token" and self.language is None
        return replace(self, language=language) if takes_it else self

    def with_origin(self) -> "ModelConfig":
        """The configuration with scratch for an lstm that has neither base nor scratch: a new one, of default size."""
        is_new = self.traits.is_new_by_default and self.base is None and self.scratch is None
        return replace(self, scratch={}) if is_new else self

    def check_origin(self) -> None:
        """Raises UsageError unless exactly one of base and scratch is given; an lstm needs neither."""
        origin = self.with_origin()
        if (origin.base is None) == (origin.scratch is None):
            raise UsageError(
                f"--model.base is {self.base!r} and --model.scratch "
                f"{'unset' if self.scratch is None else 'set'}; expected exactly one of them: name a checkpoint, "
                "or describe a new model"
            )

    def check_units(self) -> None:
        """Raises UsageError naming the first contradiction between the keys of the units."""
        if self.units != "characters":
            if self.traits.has_own_tokens:
                raise UsageError(
                    f"--model.units is {self.units} and --model.family {self.family}; expected a CTC family, as "
                    "Whisper keeps its own units: leave one of them out"
                )
            if self.vocabulary != "new" and self.with_origin().scratch is None:
                raise UsageError(
                    f"--model.units is {self.units} and --model.vocabulary {self.vocabulary}; expected new, as other "
                    "settings keep the base's units: set --model.vocabulary new"
                )
        elif self.units_size is not None:
            raise UsageError(
                "--model.units_size is set and --model.units is characters, whose number is fixed; expected syllables, "
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
                "exactly when --model.units is syllables: name one such as en_US, or leave it out"
            )
        if self.units_dictionary is not None and not (self.units_language or "").startswith("en"):
            raise UsageError(
                f"--model.units_dictionary is set and --model.units_language {self.units_language}; expected English, "
                "the language of CMUdict: leave it out"
            )

    def check(self) -> None:
        """Raises UsageError naming the first key that contradicts another one or the family."""
        self.check_units()
        self._check_masks()
        if self.adapters_only and self.lora_rank > 0:
            raise UsageError(
                f"--model.adapters_only is true and --model.lora_rank {self.lora_rank}; expected one of the two: "
                "leave one out"
            )
        if self.lora_alpha is not None and self.lora_rank == 0:
            raise UsageError(
                f"--model.lora_alpha is {self.lora_alpha} and --model.lora_rank 0, which adds no LoRA matrices; "
                "expected a rank with it: set --model.lora_rank, or leave it out"
            )
        if self.language is not None and self.traits.language is None:
            raise UsageError(
                f"--model.language is {self.language}, but --model.family is {self.family}, which has no language "
                "setting besides its units; expected whisper, or wav2vec2 with an MMS model: leave it out"
            )
        is_adapter = self.language is not None and self.traits.language == "adapter"
        if is_adapter and (self.lora_rank > 0 or self.scratch is not None):
            other = "scratch" if self.scratch is not None else "lora_rank"
            raise UsageError(
                f"--model.language is {self.language}, which trains the adapter of an MMS model, and --model.{other} "
                "is set; expected one of the two: leave one out"
            )
        self._check_family_keys()
        self._check_whispers()
        self._check_base()

    def check_limits(self) -> None:
        """Raises UsageError naming the first number that is out of range."""
        check_counts(
            ("--model.lora_rank", self.lora_rank, 0),
            ("--model.trained_layers", self.trained_layers, 0),
            ("--model.lora_alpha", self.lora_alpha, 1),
            ("--model.mask_time_length", self.mask_time_length, 1),
            ("--model.mask_feature_length", self.mask_feature_length, 1),
        )
        check_ranges(
            ("--model.feature_cache_gib", self.feature_cache_gib, "over 0", self.feature_cache_gib > 0.0),
            ("--model.timestamp_share", self.timestamp_share, "0 to 1", 0.0 <= self.timestamp_share <= 1.0),
        )
        check_shares(
            ("--model.dropout", self.dropout),
            ("--model.attention_dropout", self.attention_dropout),
            ("--model.mask_time_prob", self.mask_time_prob),
            ("--model.mask_feature_prob", self.mask_feature_prob),
            ("--model.label_smoothing_factor", self.label_smoothing_factor),
        )

    def _check_base(self) -> None:
        """Raises UsageError where a base that is not on this machine is of another family by its name alone."""
        if self.base is None or Path(self.base).exists():
            return
        owner = self.base.partition("/")[0] if HUB_ID.fullmatch(self.base) else None
        is_size = self.traits.base_is_run and "/" not in self.base  # of Whisper, or its .pt file
        is_others = any(owner in family.owners for family in FAMILIES.values()) and owner not in self.traits.owners
        if is_size or is_others:
            raise UsageError(
                f"--model.base is {self.base}, which is no folder or file here and by its name no model of "
                f"--model.family {self.family}; expected {self.traits.base}, or correct the path"
            )

    def _check_family_keys(self) -> None:
        """Raises UsageError naming the first key that is given, and that the family does not have."""
        for key in (one.name for one in fields(self) if one.name in OWN_KEYS):
            value = getattr(self, key)
            if value != getattr(ModelConfig(), key) and key not in self.traits.keys:
                raise UsageError(
                    f"--model.{key} is {value}, but --model.family is {self.family}; expected {families_with(key)} "
                    "with it: leave it out"
                )

    def _check_whispers(self) -> None:
        """Raises UsageError naming the first conflict between keys that Whisper's families have, or lack."""
        if self.traits.has_own_tokens and self.vocabulary != ModelConfig.vocabulary:
            raise UsageError(
                f"--model.vocabulary is {self.vocabulary}, but --model.family is {self.family}, which keeps its own "
                "tokens; expected a CTC family with it: leave it out"
            )
        if not self.traits.has_dropout and self.lora_rank == 0 and self.dropout not in (0.0, ModelConfig.dropout):
            raise UsageError(
                f"--model.dropout is {self.dropout:g}, but Whisper has no dropout except on LoRA's input; expected "
                "--model.lora_rank with it: leave it out"
            )
        if self.trained_layers is not None and self.scratch is not None:
            raise UsageError(
                f"--model.trained_layers is {self.trained_layers}, but --model.scratch starts from random weights, of "
                "which all are trained; expected --model.base with it: leave one of the two out"
            )
        has_both = self.trained_layers is not None and self.lora_rank > 0
        if has_both and not self.traits.has_lora_in_trained_layers:
            raise UsageError(
                f"--model.trained_layers is {self.trained_layers} and --model.lora_rank {self.lora_rank}; expected one "
                "of the two: leave one out"
            )

    def _check_masks(self) -> None:
        """Raises UsageError naming the first mask that the family does not have."""
        if self.traits.has_latent_masks and self.spec_augment != "none":
            raise UsageError(
                f"--model.spec_augment is {self.spec_augment}, but {self.family} has no log-mel features to mask; "
                "expected none: set --model.mask_time_prob and --model.mask_feature_prob instead"
            )
        if self.traits.has_latent_masks:
            return
        for name in ("mask_time_prob", "mask_time_length", "mask_feature_prob", "mask_feature_length"):
            value = getattr(self, name)
            if value not in (0, getattr(ModelConfig, name)):  # the default says nothing: it is wav2vec2's
                raise UsageError(
                    f"--model.{name} is {value:g}, but {self.family} has none of wav2vec 2.0's latent masks; expected "
                    "it unset: set --model.spec_augment instead, to SM for short clips or LD for sentences"
                )
