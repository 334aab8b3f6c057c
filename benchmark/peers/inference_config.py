"""What the comparison of transcribing can be told: one doc a field."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class InferencePeersConfig:
    """What to transcribe with, and where the figures go."""

    data: Path | None = None
    """Folder with librispeech/test-other.jsonl; default $ASR_DATA_DIR, else ../shared/data."""

    utterances: int = 16
    """How many, spread over the manifest."""

    model: str | None = None
    """CTC checkpoint to compare words with, on the same utterances; default the embedded demo, on its own test corpus.
    Speed is of random weights."""

    rounds: int = 3
    """Rounds of each contender, taking turns, after one that warms up."""

    threads: int = 1
    """Of torch, in each contender's process."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: the GPU where there is one."""

    whisper: bool = False
    """Whisper instead: openai-whisper called directly beside ours, of the embedded demo or a checkpoint in model."""

    quick: bool = False
    """A tiny model instead of wav2vec2-base, to try the command; nothing is demanded of its figures."""

    json: Path | None = None
    """File for the figures."""
