"""From a corpus to examples: which utterances can be trained on, and the dataset that decodes them when asked.

Durations are all that is kept of the audio, and batches are planned by them. What turns out to be
unusable, before training or when it is decoded, is a Reject with its reason.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.utils.data import Dataset

from finetune.config import DataConfig
from finetune.models.base import Batch, Example, Recogniser, pad_batch
from preprocessing import audio
from preprocessing.corpus import DURATION_SECONDS, DURATION_SHARE, Corpus, Reject, Utterance
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


def load_waveform(utterance: Utterance) -> Tensor:
    """The utterance's part of its audio, under the waveform contract [samples].

    Raises InputError when it is not as long as the utterance says: batches were planned by that, and memory with them.
    """
    waveform = audio.load(utterance.audio, start=utterance.start, stop=utterance.stop)
    seconds = len(waveform) / audio.SAMPLE_RATE
    if not utterance.lasts(seconds):
        raise InputError(
            f"manifest says {utterance.duration:.2f} s, the audio holds {seconds:.2f} s; expected the two within "
            f"{DURATION_SECONDS:g} s or {DURATION_SHARE:.0%}: mend 'duration', or leave it out to have it read"
        )
    return waveform


@dataclass(frozen=True)
class Examples(Dataset["Example | Reject"]):
    """Utterances decoded and prepared on demand; the index is into `utterances`."""

    utterances: Sequence[Utterance]
    labels: Sequence[tuple[int, ...]]
    prepare: Callable[[int, Tensor, tuple[int, ...]], Example]

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> "Example | Reject":
        utterance = self.utterances[index]
        try:
            return self.prepare(index, load_waveform(utterance), self.labels[index])
        except InputError as error:
            return Reject(utterance.id, str(error))


@dataclass(frozen=True, slots=True)
class Collated:
    """What a loader hands over: the batch, None where every utterance of it failed, and those that did."""

    batch: Batch | None
    rejects: tuple[Reject, ...]


def collate(items: Sequence["Example | Reject"]) -> Collated:
    examples = [item for item in items if isinstance(item, Example)]
    rejects = tuple(item for item in items if isinstance(item, Reject))
    return Collated(pad_batch(examples) if examples else None, rejects)
