"""Examples: utterances decoded, denoised, augmented and made into a model's input when a loader asks for them.

Batches are planned by duration, without decoding audio. An utterance whose audio turns out to be unusable becomes a
Reject. Augmentation depends on seed, epoch, utterance and its repeat in the epoch alone, so that it is the same in
whichever process decodes.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from torch.utils.data import Dataset

from finetune.models.base import Example, TrainableRecogniser
from preprocessing.audio import SAMPLE_RATE
from preprocessing.augment import Chain, seeded_generator
from preprocessing.augment.denoise import SpectralGate
from preprocessing.batching import DurationBatches
from preprocessing.corpus import Reject, Utterance, load_waveform
from preprocessing.errors import InputError, counted


class TrainingExamples(Dataset["Example | Reject"], ABC):
    """A dataset with an endless order of batches, which depends on the seed alone."""

    @abstractmethod
    def batches(self, max_seconds: float, start: int) -> Iterator[list[Any]]:
        """Keys of the examples of each batch, from the `start`-th batch on, without end; the same in every process.

        max_seconds: limit of a batch's size times its longest utterance.
        """


class ExampleKey(NamedTuple):
    """A key of `Examples`. epoch: of training, for augmentation; None leaves the audio as it is. repeat: how often the
    utterance was in the epoch before.
    """

    utterance: int
    epoch: int | None = None
    repeat: int = 0


@dataclass(frozen=True)
class Preparation:
    """Makes an Example of an utterance."""

    recogniser: TrainableRecogniser
    denoise: SpectralGate | None = None
    augment: Chain | None = None
    seed: int = 0

    def __call__(
        self,
        utterance: Utterance,
        labels: tuple[int, ...],
        *,
        index: int = 0,
        epoch: int | None = None,
        repeat: int = 0,
    ) -> "Example | Reject":
        """The example, or a Reject if the audio cannot be decoded, is not as long as its corpus says, or does not fit
        its labels: utterances are selected by their stated duration, which may be a tenth of a second off.

        index: the example's `index`. epoch, repeat: as of ExampleKey.
        """
        try:
            waveform = load_waveform(utterance)
        except InputError as error:
            return Reject(utterance.id, str(error))
        if not self.recogniser.fits(len(waveform), labels):
            return Reject(
                utterance.id,
                f"the audio holds {len(waveform) / SAMPLE_RATE:.3f} s, too long for the model or too short for its "
                f"{counted(len(labels), 'label')}; expected the {utterance.duration:.3f} s that its corpus states: "
                "leave 'duration' out to have it read and the reason given",
            )
        if self.augment is not None and epoch is not None:
            seed: list[int | str] = [self.seed, epoch, utterance.id, *([repeat] if repeat else [])]
            augmented = self.augment(waveform, seeded_generator(*seed))
            if not self.recogniser.fits(len(augmented), labels):
                # faster speech can have too few frames for its labels under CTC, slower speech exceed a window
                augmented = self.augment.keeping_duration()(waveform, seeded_generator(*seed))
            waveform = augmented
        if self.denoise is not None:  # of what was augmented: in use, noise is removed from what is heard
            waveform = self.denoise(waveform)
        return self.recogniser.prepare(index, waveform, labels)


@dataclass(frozen=True)
class Examples(TrainingExamples):
    """Examples of listed utterances, by ExampleKey, for training or validation.

    labels: of each utterance. repeats: how often each occurs in an epoch, on average; None is once each.
    """

    utterances: Sequence[Utterance]
    labels: Sequence[tuple[int, ...]]
    recogniser: TrainableRecogniser
    denoise: SpectralGate | None = None
    augment: Chain | None = None
    seed: int = 0
    repeats: Sequence[float] | None = None

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, key: ExampleKey) -> "Example | Reject":
        index, epoch, repeat = key
        prepare = Preparation(self.recogniser, self.denoise, self.augment, self.seed)
        return prepare(self.utterances[index], self.labels[index], index=index, epoch=epoch, repeat=repeat)

    def first_epoch(self, max_seconds: float) -> list[list[int]]:
        """The batches of the first epoch, as indices; later ones differ by a few."""
        return self._order(max_seconds).epoch(0)

    def computed_seconds(self, batch: Sequence[int]) -> float:
        """Seconds of audio that the model computes on for a batch of indices, padding included."""
        return len(batch) * self.recogniser.computed_seconds(max(self.utterances[index].duration for index in batch))

    def _order(self, max_seconds: float) -> DurationBatches:
        durations = [utterance.duration for utterance in self.utterances]
        return DurationBatches(durations, max_seconds=max_seconds, seed=self.seed, repeats=self.repeats)

    def batches(self, max_seconds: float, start: int) -> Iterator[list[ExampleKey]]:
        order = self._order(max_seconds)
        if self.repeats is None:
            for epoch, batch in order.stream(start):
                yield [ExampleKey(index, epoch) for index in batch]
        else:
            yield from islice(_with_repeats(order.stream()), start, None)


def _with_repeats(batches: Iterator[tuple[int, list[int]]]) -> Iterator[list[ExampleKey]]:
    """Keys of (epoch, indices) from the first batch on, with the repeats within each epoch counted."""
    current, seen = -1, Counter[int]()
    for epoch, batch in batches:
        if epoch != current:
            current, seen = epoch, Counter()
        keys = []
        for index in batch:
            keys.append(ExampleKey(index, epoch, seen[index]))
            seen[index] += 1
        yield keys
