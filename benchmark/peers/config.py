"""What a comparison with peers can be told: one doc a field."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class PeersConfig:
    """What to measure on, and where the figures go."""

    data: Path | None = None
    """Folder with librispeech/test-other.jsonl, noise/*.ogg and rir/; default $ASR_DATA_DIR, else ../shared/data."""

    utterances: int = 20
    """How many, spread over the manifest."""

    json: Path | None = None
    """File for the figures."""


@dataclass(frozen=True)
class TrainingPeersConfig:
    """How long to train beside the peer, on what, and where the figures go."""

    data: Path | None = None
    """Folder with librispeech/train.jsonl; default $ASR_DATA_DIR, else ../shared/data."""

    utterances: int | None = None
    """How many, spread over those of the manifest that are short enough; default what a round's updates hold, so that
    both sides hear the same audio, long and short, each in its own order."""

    max_seconds: float | None = None
    """Longer utterances are left out; default 20 as in the example, but 10 on a CPU, where updates are to be short."""

    batch: int | None = None
    """Utterances in an update of the peer, and as much audio in one of ours; default 4, on a GPU 16 twice."""

    updates: int = 7
    """Updates of a round that are measured, after one that warms up."""

    rounds: int = 3
    """Rounds of each side, taking turns; each begins with the same weights."""

    warm_up: int = 500
    """Updates in which both learning rates rise to 3e-4."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: the GPU where there is one."""

    quick: bool = False
    """A tiny model instead of wav2vec2-base, to try the command; nothing is demanded of its figures."""

    json: Path | None = None
    """File for the figures."""

    plot: Path | None = None
    """PNG for both losses over the audio seen."""
