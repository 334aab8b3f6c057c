"""From a corpus to examples: which utterances can be trained on, and the dataset that decodes them when asked.

Durations are all that is kept of the audio, and batches are planned by them. What turns out to be unusable, before
training or when it is decoded, is a Reject with its reason. Training waveforms are augmented here, in whichever process
decodes them, by a chance that seed, epoch and utterance decide alone.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor
from torch.utils.data import Dataset

from finetune.config import DataConfig
from finetune.models.base import Batch, Example, Recogniser, pad_batch
from preprocessing import audio
from preprocessing.augment import Chain, generator_for
from preprocessing.corpus import Corpus, Reject, Utterance, load_waveform
from preprocessing.denoise import SpectralGate
from preprocessing.errors import InputError
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
        reason = _outside(utterance, config) or recogniser.unusable(
            round(utterance.duration * audio.SAMPLE_RATE), profile(utterance.text)
        )
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


def _outside(utterance: Utterance, config: DataConfig) -> str | None:
    if config.min_seconds <= utterance.duration <= config.max_seconds:
        return None
    return (
        f"lasts {utterance.duration:.3f} s; expected {config.min_seconds:g} to {config.max_seconds:g} s: cut it, or "
        "change --data.min_seconds or --data.max_seconds"
    )


class Visit(NamedTuple):
    """What a loader asks for: an utterance, in an epoch of training or, outside of training, in none."""

    utterance: int
    epoch: int | None = None


@dataclass(frozen=True)
class Examples(Dataset["Example | Reject"]):
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
        utterance = self.utterances[visit.utterance]
        try:
            waveform = self._waveform(utterance)
        except InputError as error:
            return Reject(utterance.id, str(error))
        labels = self.labels[visit.utterance]
        if self.augment is not None and visit.epoch is not None:
            changed = self.augment(waveform, generator_for(self.seed, visit.epoch, utterance.id))
            # speech made faster can leave CTC too few frames: then it is heard as it is
            waveform = changed if self.recogniser.fits(len(changed), labels) else waveform
        return self.recogniser.prepare(visit.utterance, waveform, labels)

    def _waveform(self, utterance: Utterance) -> Tensor:
        """The utterance's part of its audio, under the waveform contract [samples]."""
        waveform = load_waveform(utterance)
        return waveform if self.denoise is None else self.denoise(waveform)


@dataclass(frozen=True, slots=True)
class Collated:
    """What a loader hands over: the batch, None where every utterance of it failed, and those that did."""

    batch: Batch | None
    rejects: tuple[Reject, ...]


def collate(items: Sequence["Example | Reject"]) -> Collated:
    examples = [item for item in items if isinstance(item, Example)]
    rejects = tuple(item for item in items if isinstance(item, Reject))
    return Collated(pad_batch(examples) if examples else None, rejects)
