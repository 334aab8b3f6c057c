"""What the training loop asks of a model, whatever its family; batches and outcomes that travel between the two."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from preprocessing.audio import SAMPLE_RATE
from preprocessing.cli.errors import UsageError


@dataclass(frozen=True, slots=True)
class Example:
    """One utterance ready to batch."""

    index: int  # into the corpus
    inputs: Tensor  # what the model eats: [samples] or [n_mels, frames]
    labels: tuple[int, ...]
    n_samples: int  # of the waveform that it was made of


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples padded to one shape."""

    indices: tuple[int, ...]
    inputs: Tensor  # [batch, ...], zeros after each utterance's length along the last axis
    lengths: Tensor  # valid length of each input along its last axis [batch]
    labels: Tensor  # [batch, longest], padded with -100
    label_lengths: Tensor  # [batch]
    n_samples: tuple[int, ...]  # of each waveform

    def to(self, device: torch.device) -> "Batch":
        """All but `label_lengths`, which are counted, and wanted by the CTC loss, on the CPU."""
        tensors = (self.inputs, self.lengths, self.labels)
        inputs, lengths, labels = (tensor.to(device, non_blocking=True) for tensor in tensors)
        return replace(self, inputs=inputs, lengths=lengths, labels=labels)

    def pin_memory(self) -> "Batch":
        inputs, lengths, labels = (tensor.pin_memory() for tensor in (self.inputs, self.lengths, self.labels))
        return replace(self, inputs=inputs, lengths=lengths, labels=labels)

    @property
    def seconds(self) -> tuple[float, float]:
        """Seconds of audio, and seconds with padding."""
        return sum(self.n_samples) / SAMPLE_RATE, len(self.n_samples) * max(self.n_samples) / SAMPLE_RATE

    def split(self, parts: int) -> list["Batch"]:
        """At most so many batches of neighbouring rows, of the same padded shape, together all rows in order."""
        rows = -(-len(self.indices) // parts)
        starts = range(0, len(self.indices), rows)
        return [self._rows(slice(start, start + rows)) for start in starts] if parts > 1 else [self]

    def _rows(self, rows: slice) -> "Batch":
        return Batch(
            self.indices[rows],
            self.inputs[rows],
            self.lengths[rows],
            self.labels[rows],
            self.label_lengths[rows],
            self.n_samples[rows],
        )


@dataclass(frozen=True, slots=True)
class Heard:
    """What a model made of one utterance. `blank_ratio` is the share of frames that are blank; None without CTC."""

    text: str
    blank_ratio: float | None


@dataclass(frozen=True, slots=True)
class Judged:
    """A validation batch: its loss, summed over labels, and what was heard in each utterance."""

    loss: float
    heard: list[Heard]


IGNORED_LABEL = -100  # where a label row is padding


def pad_batch(examples: Sequence[Example]) -> Batch:
    """Zero-pad inputs along their last axis and labels with IGNORED_LABEL."""
    lengths = torch.tensor([example.inputs.shape[-1] for example in examples])
    inputs = examples[0].inputs.new_zeros((len(examples), *examples[0].inputs.shape[:-1], int(lengths.max())))
    label_lengths = torch.tensor([len(example.labels) for example in examples])
    labels = torch.full((len(examples), max(int(label_lengths.max()), 1)), IGNORED_LABEL)
    for row, example in enumerate(examples):
        inputs[row, ..., : lengths[row]] = example.inputs
        labels[row, : label_lengths[row]] = torch.tensor(example.labels, dtype=torch.long)
    indices = tuple(example.index for example in examples)
    return Batch(indices, inputs, lengths, labels, label_lengths, tuple(example.n_samples for example in examples))


class Recogniser(ABC):
    """A trainable speech recogniser.

    `module(batch, generator)` is its training pass: the sum of the losses over all labels of the batch, a float32
    scalar, so that the loop can weight by labels over any number of batches and processes.
    """

    module: nn.Module

    @abstractmethod
    def prepare(self, index: int, waveform: Tensor, labels: tuple[int, ...]) -> Example:
        """Waveform [samples] under the waveform contract -> an Example."""

    @abstractmethod
    def encode(self, text: str) -> tuple[int, ...]:
        """Labels of a normalised text."""

    @abstractmethod
    def fits(self, n_samples: int, labels: Sequence[int]) -> bool:
        """Whether a waveform of that length has room for the labels, and the model for the waveform."""

    @abstractmethod
    def unusable(self, n_samples: int, text: str) -> str | None:
        """Why an utterance of that length and normalised text cannot be trained on, in one sentence; None if it can."""

    @abstractmethod
    def check_labels(self, texts: Sequence[str]) -> None:
        """Raises UsageError when the units do not hold the texts, with the characters and their counts."""

    def outside(self, texts: Sequence[str]) -> Counter[str]:
        """What of normalised texts the units cannot write, with counts; nothing where they write everything."""
        return Counter()

    def describe_labels(self, texts: Sequence[str]) -> str:
        """What the units are and how many labels they cannot write, in one line; empty where they are the family's."""
        return ""

    def fit_statistics(self, examples: Iterable[Example]) -> None:
        """Before the first update of a new run: what the model keeps of its training audio, heard as it is, other than
        by learning. Most keep nothing, and decode none of the examples.
        """
        return

    @abstractmethod
    def judge(self, module: nn.Module, batch: Batch) -> Judged:
        """The loss without masks, and greedy transcripts, of one pass through the encoder; `module` is this
        recogniser's, evaluating, perhaps wrapped for several devices.
        """

    @abstractmethod
    def save(self, folder: Path, module: nn.Module) -> None:
        """Write a folder (or in it a file) that the family's own library loads without this project."""

    def layers_above(self, parameter: str) -> int:
        """Layers between a parameter, by its name in `module`, and the output: for layer-wise learning rates."""
        return 0

    def train_head_only(self, only: bool) -> None:
        """While `only`, no gradient flows below the output layer. Raises UsageError where a family has none."""
        if only:
            raise UsageError(
                "--optimisation.head_only_updates is set, but this family has no output layer of its own; expected 0: "
                "set --optimisation.layer_decay below 1 to keep lower layers near what they were"
            )

    def count_labels(self, batch: Batch) -> int:
        """Labels that the loss of a batch is a sum over."""
        return int(batch.label_lengths.sum())
