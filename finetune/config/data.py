"""What is trained on: corpora, validation, text, audio, batches."""

from dataclasses import dataclass, field
from typing import Any

from preprocessing.cli.errors import UsageError
from preprocessing.cli.options import check_counts, check_ranges


@dataclass(frozen=True)
class DataConfig:
    """What it is trained on."""

    train: list[str] = field(default_factory=list)
    """Corpora: manifests, folders with metadata.csv, or hf:DATASET[:CONFIG[:SPLIT[:COUNT]]]."""

    streaming: bool = False
    """Read the corpora of train as streams, for what fits on no disk: no utterance is listed first, none is kept."""

    shuffle_buffer: int = 1000
    """With streaming: utterances, with their encoded audio, that are held at once to be shuffled and put into batches
    of like durations."""

    streaming_first: int = 500
    """With streaming: so many utterances of each corpus are looked at before training, for new units, statistics, leaks
    and rejects."""

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
    """Cap on a batch's size times its longest utterance; to Whisper each of them costs a whole window."""

    workers: int | None = None
    """Processes that decode audio beside the training process; 0 decodes in it. By default 0 on a CPU, and beside a GPU
    one for each further core, up to 12."""

    strict: bool = False
    """Stop at the first unusable utterance instead of setting it aside in rejects.jsonl."""

    def check(self) -> None:
        """Raises UsageError naming the first contradiction between corpora, weights and what is held out."""
        if not self.train:
            raise UsageError("--data.train is empty; expected a corpus or more: name a manifest")
        if (self.validation is None) == (self.validation_share == 0.0):
            raise UsageError(
                f"--data.validation is {self.validation!r} and --data.validation_share "
                f"{self.validation_share:g}; expected exactly one of them: name a corpus, or hold out a share"
            )
        if self.weights and (len(self.weights) != len(self.train) or min(self.weights) <= 0.0):
            raise UsageError(
                f"--data.weights is {self.weights} for {len(self.train)} corpora in --data.train; expected a "
                "number over 0 for each: mend it"
            )
        if self.streaming and (self.validation_share > 0 or self.weights):
            key = "weights" if self.weights else "validation_share"
            raise UsageError(
                f"--data.{key} is {getattr(self, key)} and --data.streaming true, which lists no utterances to choose "
                "from; expected it unset: " + ("leave it out" if self.weights else "set --data.validation to a corpus")
            )
        if "validation" in self.also_validation:
            raise UsageError(
                "--data.also_validation names a corpus 'validation'; expected another name: that is --data.validation's"
            )
        if not 0.0 <= self.validation_share < 1.0:
            raise UsageError(
                f"--data.validation_share is {self.validation_share:g}; expected 0 or more, below 1: change it"
            )

    def check_limits(self) -> None:
        """Raises UsageError naming the first number that cannot be."""
        if self.max_seconds > self.max_batch_seconds:
            raise UsageError(
                f"--data.max_batch_seconds is {self.max_batch_seconds:g}, below --data.max_seconds "
                f"{self.max_seconds:g}; expected a cap that holds the longest: raise the one or lower the other"
            )
        if self.min_seconds >= self.max_seconds:
            raise UsageError(
                f"--data.min_seconds is {self.min_seconds:g} and --data.max_seconds {self.max_seconds:g}; expected "
                "room between them: lower the one or raise the other"
            )
        check_counts(
            ("--data.workers", self.workers or 0, 0),
            ("--data.shuffle_buffer", self.shuffle_buffer, 1),
            ("--data.streaming_first", self.streaming_first, 1),
        )
        check_ranges(("--data.min_seconds", self.min_seconds, "0 or more", self.min_seconds >= 0.0))
