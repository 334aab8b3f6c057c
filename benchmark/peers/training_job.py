"""What both sides of the comparison of fine-tuning are given, and what each hands back of a round.

Both begin with the same random weights, saved as a transformers folder, and train on the same utterances with labels
that are normalised already.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.peers.config import TrainingPeersConfig
from preprocessing import corpus
from preprocessing.batching import DurationBatches
from preprocessing.corpus import Utterance
from preprocessing.errors import UsageError

SEED = 0
PEAK_LEARNING_RATE = 3e-4
WARM_UP_UPDATES = 1  # of every round, not measured
PROFILE = "librispeech"
MAX_SECONDS = {"cpu": 10.0, "cuda": 20.0}
HELD_OUT = 4  # utterances whose loss both sides are compared by
TINY: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


@dataclass(frozen=True)
class TrainingJob:
    """A round: which weights and utterances, how many updates of which size."""

    folder: Path  # holds model/, train.jsonl and validation.jsonl; contenders work in folders of their own beside them
    device: str  # "cpu" or "cuda"
    utterances_per_batch: int  # of the peer
    accumulate: int  # batches in an update of the peer
    batch_seconds: float  # cap on a batch of ours, padding included: as much audio as the peer's mean batch
    updates: int  # measured ones
    corpus_seconds: tuple[float, ...]  # the duration of every utterance that could have been chosen
    warm_up: int  # updates in which the learning rate rises to PEAK_LEARNING_RATE
    by_chance: bool  # whether anything is: dropout and masks at each side's defaults

    @property
    def all_updates(self) -> int:
        return WARM_UP_UPDATES + self.updates


@dataclass(frozen=True)
class Update:
    """One update of the weights. `loss` is for each label, `seconds` are wall-clock."""

    loss: float
    audio_seconds: float
    padded_seconds: float
    seconds: float


@dataclass(frozen=True)
class Trained:
    """A round, update by update from the first one, and what it took to prepare the input beforehand."""

    updates: tuple[Update, ...]
    held_out_loss: float  # for each label, after the last update, over the same utterances for all sides
    preparation_seconds: float = 0.0
    preparation_bytes: int = 0  # on the disk

    @property
    def rate(self) -> float:
        """Seconds of audio, padding left out, trained on in a second, over the measured updates."""
        measured = self.updates[WARM_UP_UPDATES:]
        return sum(update.audio_seconds for update in measured) / sum(update.seconds for update in measured)


def prepare(config: TrainingPeersConfig, device: str, folder: Path) -> TrainingJob:
    """Write the model and the manifests. Raises UsageError where there is no such speech."""
    size, accumulate = (config.batch or 4, 1) if device == "cpu" else (config.batch or 16, 2)
    listed = _listed(config, device)
    utterances = _spread(listed, config, size * accumulate * (WARM_UP_UPDATES + config.updates))
    heard = {utterance.id for utterance in utterances}
    held_out = [utterance for utterance in listed if utterance.id not in heard][:HELD_OUT] or utterances[:1]
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC, set_seed
    from transformers.utils import logging

    from finetune.models.ctc import vocabulary_sizes
    from preprocessing.text import profile
    from preprocessing.units import Vocabulary

    normalise = profile(PROFILE)
    for name, chosen in (("train", utterances), ("validation", held_out)):
        rows = [
            {"id": u.id, "audio": str(Path(str(u.audio)).resolve()), "text": normalise(u.text), "duration": u.duration}
            for u in chosen
        ]
        _write(folder / f"{name}.jsonl", rows)

    vocabulary = Vocabulary.of_characters(normalise(u.text) for u in [*utterances, *held_out])
    logging.disable_progress_bar()
    set_seed(SEED)
    shape = TINY if config.quick else {}
    model = Wav2Vec2ForCTC(Wav2Vec2Config(**shape, **vocabulary_sizes(vocabulary)))
    model.save_pretrained(folder / "model")
    vocabulary.save(folder / "model")
    Wav2Vec2FeatureExtractor(return_attention_mask=False).save_pretrained(folder / "model")

    return TrainingJob(
        folder=folder,
        device=device,
        utterances_per_batch=size,
        accumulate=accumulate,
        batch_seconds=_cap_for([u.duration for u in utterances], size),
        updates=config.updates,
        corpus_seconds=tuple(u.duration for u in listed),
        warm_up=config.warm_up,
        by_chance=not config.quick,
    )


def _cap_for(durations: Sequence[float], size: int) -> float:
    """The cap on a batch of ours with which its batches hold as much audio on average as `size` utterances do."""
    wanted = min(size, len(durations)) * sum(durations) / len(durations)
    cap = max(wanted, max(durations))
    while sum(durations) / len(DurationBatches(durations, max_seconds=cap, seed=SEED).epoch(0)) < wanted:
        cap *= 1.02
    return cap


def _listed(config: TrainingPeersConfig, device: str) -> list[Utterance]:
    max_seconds = MAX_SECONDS[device] if config.max_seconds is None else config.max_seconds
    folder = config.data or Path(os.environ.get("ASR_DATA_DIR", "../shared/data"))
    manifest = folder / "librispeech" / "train.jsonl"
    if not manifest.exists():
        raise UsageError(f"{manifest}: not there; expected speech: name its folder with --data")
    listed = [u for u in corpus.open_corpus(str(manifest)).utterances if u.duration <= max_seconds]
    if not listed or (config.utterances is not None and config.utterances < 1):
        raise UsageError(
            f"{manifest} holds {len(listed)} utterances of up to {max_seconds:g} s and --utterances is "
            f"{config.utterances}; expected 1 or more: raise --max_seconds or --utterances"
        )
    return listed


def _spread(listed: Sequence[Utterance], config: TrainingPeersConfig, heard: int) -> list[Utterance]:
    """heard: utterances that a round holds."""
    count = min(heard if config.utterances is None else config.utterances, len(listed))
    return [listed[index * len(listed) // count] for index in range(count)]


def _write(path: Path, rows: Sequence[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
