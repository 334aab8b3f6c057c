"""Conditions of the audio: as the corpus has it, corrupted with its words still in it, or without speech."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchmark.results import ConditionUsed
from preprocessing.audio import quantise
from preprocessing.augment import Chain, Noise, seeded_generator
from preprocessing.augment.base import rms
from preprocessing.batching import evenly_spaced
from preprocessing.corpus import Utterance

MAX_NO_SPEECH_UTTERANCES = 20  # recordings of a condition without speech
NOISE_LEVEL_DB = -30.0  # root mean square relative to full scale, that of soft speech


@dataclass(frozen=True)
class Condition(ABC):
    """A change of the audio, pickled to every system's process. What `apply` returns depends on its fields and its
    arguments only, so it is the same in all processes.

    used: its name and description, for the results.
    """

    used: ConditionUsed

    def utterances(self, corpus: Sequence[Utterance]) -> list[Utterance]:
        """The utterances that are transcribed under the condition; their ids are those of the corpus."""
        return list(corpus)

    @property
    def recordings_key(self) -> str | None:
        """What decides, with the utterance's id, which recordings are drawn; None of a condition that needs none."""
        return None

    @abstractmethod
    def apply(self, waveform: Tensor, id: str) -> Tensor:
        """The waveform [samples] of the utterance `id` under the condition, [samples'].

        Both are float32 at 16 kHz in [-1, 1), on the 16-bit grid.
        """


@dataclass(frozen=True)
class Clean(Condition):
    """The corpus as it is."""

    def apply(self, waveform: Tensor, id: str) -> Tensor:
        """Returns the waveform unchanged."""
        return waveform


@dataclass(frozen=True)
class Corrupted(Condition):
    """Augmentations of `preprocessing.augment`, with a random generator seeded by seed, draw_key and utterance.

    draw_key: conditions that share it draw the same, as one noise at several levels. speed: by what factor the audio is
    played faster.
    """

    chain: Chain
    seed: int
    draw_key: str
    speed: float = 1.0

    def utterances(self, corpus: Sequence[Utterance]) -> list[Utterance]:
        """The utterances, as long as they are at this speed."""
        return [replace(one, duration=one.duration / self.speed) for one in corpus]

    @property
    def recordings_key(self) -> str | None:
        """The draw_key of noises and rooms from files."""
        return self.draw_key if any(getattr(one, "files", None) for one in self.chain.augmentations) else None

    def apply(self, waveform: Tensor, id: str) -> Tensor:
        """The augmented waveform; an empty one stays empty."""
        if waveform.numel() == 0:
            return waveform
        corrupted: Tensor = self.chain(waveform, seeded_generator(self.seed, 0, f"{self.draw_key}\0{id}"))
        return corrupted


@dataclass(frozen=True)
class NoSpeech(Condition):
    """Recordings without speech, as long as utterances of the corpus, the shortest and the longest among them."""

    def utterances(self, corpus: Sequence[Utterance]) -> list[Utterance]:
        """At most MAX_NO_SPEECH_UTTERANCES of the corpus, evenly spaced by duration, with empty references."""
        by_length = sorted(corpus, key=lambda utterance: (utterance.duration, utterance.id))
        chosen = evenly_spaced(by_length, MAX_NO_SPEECH_UTTERANCES)
        return [replace(one, text="", segments=(), words=()) for one in chosen]


@dataclass(frozen=True)
class Silence(NoSpeech):
    """Replaces the audio by digital silence, to count hallucinated words."""

    def apply(self, waveform: Tensor, id: str) -> Tensor:
        """Zeros, as many as the waveform has samples."""
        return torch.zeros_like(waveform)


@dataclass(frozen=True)
class NoiseOnly(NoSpeech):
    """One of the noises that noise:SNR adds, without the speech, at NOISE_LEVEL_DB."""

    noise: Noise
    seed: int

    @property
    def recordings_key(self) -> str | None:
        """The condition's name, where the noise is from files."""
        return self.used.name if self.noise.files else None

    def apply(self, waveform: Tensor, id: str) -> Tensor:
        """Noise, as long as the waveform."""
        if waveform.numel() == 0:
            return waveform
        samples = self.noise.excerpt(waveform.numel(), seeded_generator(self.seed, 0, f"{self.used.name}\0{id}"))
        scaled = samples * (10 ** (NOISE_LEVEL_DB / 20) / rms(samples))
        return quantise(torch.from_numpy(scaled))


@dataclass(frozen=True)
class Empty(NoSpeech):
    """No samples at all, as of a recording that was cut off."""

    def utterances(self, corpus: Sequence[Utterance]) -> list[Utterance]:
        """One utterance of no duration: no second one would differ from it."""
        return [replace(one, duration=0.0) for one in super().utterances(corpus)[:1]]

    def apply(self, waveform: Tensor, id: str) -> Tensor:
        """A waveform of no samples."""
        return waveform[:0]
