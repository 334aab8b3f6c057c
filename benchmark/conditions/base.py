"""Conditions of the audio: as it is, changed with the same words in it, or with nothing said."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchmark.results import ConditionUsed
from preprocessing.audio import quantise
from preprocessing.augment import Chain, Noise, generator_for
from preprocessing.augment.base import rms
from preprocessing.corpus import Utterance


@dataclass(frozen=True)
class Condition(ABC):
    """Goes to every system's process as it is; what it makes of an utterance depends on nothing else."""

    used: ConditionUsed

    def utterances(self, corpus: Sequence[Utterance]) -> list[Utterance]:
        """What is transcribed under it, with the ids of the corpus."""
        return list(corpus)

    @abstractmethod
    def apply(self, waveform: Tensor, id: str) -> Tensor:
        """waveform [samples] under the waveform contract, of the utterance `id`. Returns [samples'], under it too."""


@dataclass(frozen=True)
class Clean(Condition):
    """The corpus as it is."""

    def apply(self, waveform: Tensor, id: str) -> Tensor:
        return waveform


@dataclass(frozen=True)
class Corrupted(Condition):
    """Augmentations of `preprocessing.augment`, whose chance comes from the seed and the utterance.

    chance: conditions that share it draw alike, such as one noise at several levels.
    """

    chain: Chain
    seed: int
    chance: str

    def apply(self, waveform: Tensor, id: str) -> Tensor:
        if waveform.numel() == 0:
            return waveform
        corrupted: Tensor = self.chain(waveform, generator_for(self.seed, 0, f"{self.chance}\0{id}"))
        return corrupted


MOST = 20  # utterances whose lengths are taken
NOISE_LEVEL_DB = -30.0  # root mean square below full scale, that of soft speech


@dataclass(frozen=True)
class Unspoken(Condition):
    """Recordings as long as utterances of the corpus, the shortest and the longest among them, without their words."""

    def utterances(self, corpus: Sequence[Utterance]) -> list[Utterance]:
        by_length = sorted(corpus, key=lambda utterance: (utterance.duration, utterance.id))
        count = min(MOST, len(by_length))
        places = {round(place * (len(by_length) - 1) / max(count - 1, 1)) for place in range(count)}
        return [replace(by_length[place], text="", segments=()) for place in sorted(places)]


@dataclass(frozen=True)
class Silence(Unspoken):
    """Digital silence."""

    def apply(self, waveform: Tensor, id: str) -> Tensor:
        return torch.zeros_like(waveform)


@dataclass(frozen=True)
class NoiseOnly(Unspoken):
    """A noise of those that noise:SNR adds, by itself, at NOISE_LEVEL_DB."""

    noise: Noise
    seed: int

    def apply(self, waveform: Tensor, id: str) -> Tensor:
        if waveform.numel() == 0:
            return waveform
        samples = self.noise.excerpt(waveform.numel(), generator_for(self.seed, 0, f"{self.used.name}\0{id}"))
        scaled = samples * (10 ** (NOISE_LEVEL_DB / 20) / rms(samples))
        return quantise(torch.from_numpy(scaled))


@dataclass(frozen=True)
class Empty(Unspoken):
    """No samples at all, as a cut-off recording leaves them."""

    def utterances(self, corpus: Sequence[Utterance]) -> list[Utterance]:
        return super().utterances(corpus)[:1]

    def apply(self, waveform: Tensor, id: str) -> Tensor:
        return waveform[:0]
