"""What a comparison with peers can be told: one doc a field."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PeersConfig:
    """What to measure on, and where the figures go."""

    data: Path | None = None
    """Folder with librispeech/test-other.jsonl, noise/*.ogg and rir/; default $ASR_DATA_DIR, else ../shared/data."""

    utterances: int = 20
    """How many, spread over the manifest."""

    json: Path | None = None
    """File for the figures."""
