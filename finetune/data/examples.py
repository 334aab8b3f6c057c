"""From a corpus to examples: which utterances can be trained on, and the dataset that decodes them when asked.

Durations are all that is kept of the audio, and batches are planned by them. What turns out to be unusable, before
training or when it is decoded, is a Reject with its reason. Training waveforms are augmented here, in whichever process
decodes them, by a chance that seed, epoch and utterance decide alone.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils.data import Dataset

from finetune.config import DataConfig
from finetune.models.base import Batch, Example, Recogniser, pad_batch
from preprocessing import audio
from preprocessing.augment import Chain, generator_for
from preprocessing.augment.denoise import SpectralGate
from preprocessing.batching import DurationBatches
from preprocessing.cli.errors import InputError
from preprocessing.corpus import Corpus, Reject, Utterance, load_waveform
from preprocessing.text import Profile


def usable(
    corpus: Corpus, recogniser: Recogniser, profile: Profile, config: DataConfig
) -> tuple[list[Utterance], list[Reject]]:
    """Split a corpus into what can be trained on and what cannot, before the first step.

    Raises InputError at the first reject under `strict`, and when nothing usable is left.
    """
    kept: list[Utterance] = []
    rejects = list(corpus.rejects)
    for utterance in corpus.utterances:
        reason = reason_against(utterance, recogniser, profile, config)
        if reason is None:
            kept.append(utterance)
        else:
            rejects.append(Reject(utterance.id, reason))
    if rejects and (config.strict or not kept):
        more = f" ({len(rejects) - 1} more like it)" if len(rejects) > 1 else ""
        nothing = "" if kept else f"; nothing usable is left in {corpus.reference}"
        raise InputError(f"{rejects[0].where}: {rejects[0].reason}{more}{nothing}")
    return kept, rejects


def hold_out(utterances: Sequence[Utterance], share: float) -> tuple[list[Utterance], list[Utterance]]:
    """Split into what is trained on and `share` of it (one at least) for validation; the same for the same ids."""
    ranked = sorted(utterances, key=lambda utterance: hashlib.sha256(utterance.id.encode()).digest())
    held = {utterance.id for utterance in ranked[: max(round(share * len(ranked)), 1)]}
    return [u for u in utterances if u.id not in held], [u for u in utterances if u.id in held]


def reason_against(utterance: Utterance, recogniser: Recogniser, profile: Profile, config: DataConfig) -> str | None:
    """Why an utterance cannot be trained on, in one sentence; None if it can."""
    n_samples = round(utterance.duration * audio.SAMPLE_RATE)
    return _outside(utterance, config) or recogniser.rejection_reason(n_samples, profile(utterance.text))


def _outside(utterance: Utterance, config: DataConfig) -> str | None:
    if config.min_seconds <= utterance.duration <= config.max_seconds:
        return None
    return (
        f"lasts {utterance.duration:.3f} s; expected {config.min_seconds:g} to {config.max_seconds:g} s: cut it, or "
        "change --data.min_seconds or --data.max_seconds"
    )


class TrainingExamples(Dataset["Example | Reject"], ABC):
    """What the loop trains on: a dataset whose keys come in batches, in an order that is a function of the seed."""

    @abstractmethod
    def batches(self, max_seconds: float, start: int) -> Iterator[list[Any]]:
        """Keys in batches without end, from the `start`-th on; every process deals the same list out."""


class Visit(NamedTuple):
    """What a loader asks for: an utterance, in an epoch of training or, outside of training, in none."""

    utterance: int
    epoch: int | None = None


@dataclass(frozen=True)
class Preparation:
    """From an utterance to an example: decoded, denoised, in training augmented, and made what the model eats."""

    recogniser: Recogniser
    denoise: SpectralGate | None = None
    augment: Chain | None = None
    seed: int = 0

    def __call__(
        self, utterance: Utterance, labels: tuple[int, ...], *, index: int = 0, epoch: int | None = None
    ) -> "Example | Reject":
        """epoch: of training, which changes the waveform; None leaves it as it is."""
        try:
            waveform = self._waveform(utterance)
        except InputError as error:
            return Reject(utterance.id, str(error))
        if self.augment is not None and epoch is not None:
            changed = self.augment(waveform, generator_for(self.seed, epoch, utterance.id))
            # speech made faster can leave CTC too few frames: then it is heard as it is
            waveform = changed if self.recogniser.fits(len(changed), labels) else waveform
        return self.recogniser.prepare(index, waveform, labels)

    def _waveform(self, utterance: Utterance) -> Tensor:
        """The utterance's part of its audio, under the waveform contract [samples]."""
        waveform = load_waveform(utterance)
        return waveform if self.denoise is None else self.denoise(waveform)


@dataclass(frozen=True)
class Examples(TrainingExamples):
    """Utterances decoded and prepared on demand; a Visit names one by its place in `utterances`."""

    utterances: Sequence[Utterance]
    labels: Sequence[tuple[int, ...]]
    recogniser: Recogniser
    denoise: SpectralGate | None = None
    augment: Chain | None = None
    seed: int = 0
    repeats: Sequence[float] | None = None  # how often each is heard in an epoch, on average

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, visit: Visit) -> "Example | Reject":
        place, epoch = visit
        prepare = Preparation(self.recogniser, self.denoise, self.augment, self.seed)
        return prepare(self.utterances[place], self.labels[place], index=place, epoch=epoch)

    def batches(self, max_seconds: float, start: int) -> Iterator[list[Visit]]:
        """Of training, without end, from the `start`-th on; every process deals the same list out."""
        durations = [utterance.duration for utterance in self.utterances]
        order = DurationBatches(durations, max_seconds=max_seconds, seed=self.seed, repeats=self.repeats)
        for epoch, batch in order.stream(start):
            yield [Visit(index, epoch) for index in batch]


@dataclass(frozen=True, slots=True)
class Collated:
    """What a loader hands over: the batch, None where every utterance of it failed, and those that did."""

    batch: Batch | None
    rejects: tuple[Reject, ...]

    def pin_memory(self) -> "Collated":
        """As DataLoader asks for what goes to a GPU."""
        return self if self.batch is None else Collated(self.batch.pin_memory(), self.rejects)


def collate(items: Sequence["Example | Reject"]) -> Collated:
    examples = [item for item in items if isinstance(item, Example)]
    rejects = tuple(item for item in items if isinstance(item, Reject))
    return Collated(pad_batch(examples) if examples else None, rejects)
