"""A condition of the audio, and those that change a waveform with the same words in it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from benchmark.results import ConditionUsed
from preprocessing.augment import Chain, generator_for
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
