"""What a benchmark can be told: one doc a field."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class BenchmarkConfig:
    """One run over one corpus."""

    models: str = "wav2vec2,whisper"
    """Systems, separated by commas: wav2vec2, whisper, FAMILY=CHECKPOINT, or package.module:Class."""

    data: str | None = None
    """A manifest, a folder with metadata.csv, or hf:DATASET[:CONFIG[:SPLIT[:COUNT]]]; default test-clean."""

    limit: int | None = None
    """Only the first so many utterances."""

    output: Path | None = None
    """Folder for samples.jsonl, summary.json, summary.md and report.html; default runs/benchmark-DATE-TIME."""

    profiles: list[str] = field(default_factory=lambda: ["librispeech", "whisper-english"])
    """Text profiles that errors are counted under (`python -m preprocessing.text --list`); the first one decides."""

    language: str | None = None
    """Of the speech, such as de; a multilingual Whisper detects it where it is not given."""

    denoise: bool = False
    """Turn stationary noise down before any system hears it, as --data.denoise does in training; counts as decoding."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where models run."""

    seed: int = 0
    """Of the bootstrap's draws."""

    overwrite: bool = False
    """Replace the results in an output folder that holds some."""
