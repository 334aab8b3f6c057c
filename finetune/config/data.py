"""Configuration of the data of a run: corpora, validation, text, audio, batches."""

from dataclasses import dataclass, field
from typing import Any, Literal

from preprocessing.cli.options import check_counts, check_ranges
from preprocessing.errors import UsageError


@dataclass(frozen=True)
class DataConfig:
    """Training and validation data."""

    train: list[str] = field(default_factory=list)
    """Training corpora, each a manifest (JSONL, CSV, TSV), a folder or file of any layout in docs/corpora.md, or
    hf:DATASET:CONFIG:SPLIT[:COUNT], where CONFIG may be empty, as in hf:NAME::train."""

    streaming: bool = False
    """Stream the training corpora, for data too large for a disk: utterances are neither listed nor stored."""

    shuffle_buffer: int = 1000
    """With streaming: number of utterances, with their encoded audio, kept in memory for shuffling and batching by
    duration."""

    streaming_first: int = 500
    """With streaming: number of utterances read from each corpus before training, for new units, statistics, leak
    checks and rejects."""

    weights: list[float] = field(default_factory=list)
    """How often an epoch repeats each corpus of train, in their order: 2 for twice, 0.5 for half of it. Default:
    once."""

    validation: str | None = None
    """Corpus that selects the best weights during training; never the test set."""

    validation_share: float = 0.0
    """Share of the training data held out for validation, if there is no validation corpus; by speaker where speakers
    are named and none has too large a share, else by recording, else by utterance, as the run says."""

    validation_by: Literal["speaker", "recording", "utterance"] | None = None
    """What is held out by validation_share: speakers, recordings or single utterances, whose speakers stay in training
    as well. Default: the first that is possible."""

    eval_sets: dict[str, str] = field(default_factory=dict)
    """Further corpora to evaluate, by name, such as {noisy: other.jsonl}; they do not select the best weights."""

    max_train_samples: int | None = None
    """Train on the first so many utterances of the training corpora, in the order of train and before unusable ones are
    rejected, as transformers' example scripts do; what is held out is taken from them."""

    max_eval_samples: int | None = None
    """Evaluate on the first so many utterances of validation and of each of eval_sets, likewise."""

    profile: str = "librispeech"
    """Text normalisation profile of labels and of WER: librispeech, basic:de, ctc:MODEL (`python -m preprocessing.text
    --list`)."""

    denoise: bool = False
    """Reduce stationary noise in all audio, after augmentation, also in validation; in use, the trained model gets
    denoised audio, too."""

    augment: list[dict[str, Any]] = field(default_factory=list)
    """Augmentations of training waveforms, in order, with new random draws each epoch, such as {name: speed, factors:
    [0.9, 1.0, 1.1]}."""

    min_seconds: float = 0.1
    """Shortest usable utterance, in seconds; the convolutions of wav2vec2 need 25 ms."""

    max_seconds: float = 20.0
    """Longest usable utterance, in seconds."""

    max_batch_seconds: float = 80.0
    """Largest batch in seconds: number of utterances times the duration of the longest. Whisper pads each one to its
    window, which does not count: with 80, sixteen utterances of 5 s are a batch, and 480 s to compute on."""

    strict: bool = False
    """Stop at the first unusable utterance instead of writing it to rejects.jsonl."""

    def check(self) -> None:
        """Raises UsageError naming the first contradiction between corpora, weights and what is held out."""
        if not self.train:
            raise UsageError("--data.train is empty; expected at least one corpus: name a manifest")
        for key, reference in [*(("train", one) for one in self.train), ("validation", self.validation or "")]:
            dataset, config, split = [*reference.split(":", 1)[-1].split(":"), "", ""][:3]
            if reference.startswith("hf:") and not split:
                raise UsageError(
                    f"--data.{key} {reference} names no split of the dataset; expected one, such as "
                    f"hf:{dataset}:{config}:{'train' if key == 'train' else 'validation'}: add it"
                )
        if (self.validation is None) == (self.validation_share == 0.0):
            raise UsageError(
                f"--data.validation is {self.validation!r} and --data.validation_share "
                f"{self.validation_share:g}; expected exactly one of them: name a corpus, or hold out a share"
            )
        if self.weights and (len(self.weights) != len(self.train) or min(self.weights) <= 0.0):
            raise UsageError(
                f"--data.weights is {self.weights} for {len(self.train)} corpora in --data.train; expected a "
                "number over 0 for each: change it"
            )
        if self.streaming and (self.validation_share > 0 or self.weights):
            key = "weights" if self.weights else "validation_share"
            raise UsageError(
                f"--data.{key} is {getattr(self, key)} and --data.streaming is true, where the number of utterances is "
                "unknown; expected it unset: "
                + ("leave it out" if self.weights else "set --data.validation to a corpus")
            )
        if self.streaming and self.max_train_samples is not None:
            raise UsageError(
                f"--data.max_train_samples is {self.max_train_samples} and --data.streaming is true; expected it "
                "unset: leave it out, and limit a corpus of the Hub as hf:DATASET:CONFIG:SPLIT:COUNT"
            )
        if self.validation_share > 0 and self.max_eval_samples is not None:
            raise UsageError(
                f"--data.max_eval_samples is {self.max_eval_samples} and --data.validation_share "
                f"{self.validation_share:g}; expected only the share, as it says how much is held out: leave the first "
                "out, and lower the share"
            )
        if self.validation_by is not None and self.validation_share == 0.0:
            raise UsageError(
                f"--data.validation_by is {self.validation_by} and --data.validation_share 0; expected a share to hold "
                "out: set it, or leave --data.validation_by out"
            )
        if "validation" in self.eval_sets:
            raise UsageError(
                "--data.eval_sets names a corpus 'validation'; expected another name, as this one belongs to "
                "--data.validation: rename it"
            )
        if not 0.0 <= self.validation_share < 1.0:
            raise UsageError(
                f"--data.validation_share is {self.validation_share:g}; expected 0 or more, below 1: change it"
            )

    def check_limits(self) -> None:
        """Raises UsageError naming the first number that is out of range."""
        if self.max_seconds > self.max_batch_seconds:
            raise UsageError(
                f"--data.max_batch_seconds is {self.max_batch_seconds:g}, below --data.max_seconds "
                f"{self.max_seconds:g}; expected at least the longest utterance: raise the first or lower the second"
            )
        if self.min_seconds >= self.max_seconds:
            raise UsageError(
                f"--data.min_seconds is {self.min_seconds:g} and --data.max_seconds {self.max_seconds:g}; expected the "
                "first to be lower: lower the first or raise the second"
            )
        check_counts(
            ("--data.max_train_samples", self.max_train_samples, 1),
            ("--data.max_eval_samples", self.max_eval_samples, 1),
            ("--data.shuffle_buffer", self.shuffle_buffer, 1),
            ("--data.streaming_first", self.streaming_first, 1),
        )
        check_ranges(("--data.min_seconds", self.min_seconds, "0 or more", self.min_seconds >= 0.0))
