"""The real speech, noises and rooms that experiments measure on: the data folder that $ASR_DATA_DIR names.

It holds manifests such as librispeech/test-other.jsonl, recordings of noise (noise/*.ogg, ESC-10) and room impulse
responses (rir/). `python -m preprocessing.fetch` fills it; nothing is downloaded here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from experiments.harness.command import ExperimentOptions
from preprocessing.errors import UsageError
from preprocessing.storage.data_folder import data_folder as default_folder
from preprocessing.storage.data_folder import missing_data_hint

if TYPE_CHECKING:
    from torch import Tensor

    from preprocessing.corpus import Utterance

HELD_OUT = re.compile(r"_[45]-")  # ESC-10's folds 4 and 5: none of this project's defaults was chosen on them
TEST_MANIFEST, TRAIN_MANIFEST = "librispeech/test-other.jsonl", "librispeech/train.jsonl"


@dataclass(frozen=True, kw_only=True)
class SpeechOptions(ExperimentOptions):
    """Data to measure on, and where the figures go."""

    renamed: ClassVar[Mapping[str, str]] = {"data": "data_dir"}

    data_dir: Path | None = None
    """Folder with librispeech/test-other.jsonl, noise/*.ogg and rir/. Default: $ASR_DATA_DIR, else data."""

    utterances: int = 20
    """Number of utterances, spread over the manifest; with --quick at most 4."""

    @property
    def count(self) -> int:
        """Utterances to measure on."""
        return min(self.utterances, 4) if self.quick else self.utterances


@dataclass(frozen=True)
class SpeechSamples:
    """Waveforms [samples] of hard speakers, recordings of noise, and the folder of room impulse responses."""

    waveforms: "list[Tensor]"
    noises: list[Path]
    rooms: Path


def data_folder(folder: Path | None) -> Path:
    """The folder itself; None is $ASR_DATA_DIR, else data (`preprocessing.storage.data_folder`)."""
    return folder or default_folder()


def require(path: Path, expected: str) -> Path:
    """The path. Raises UsageError naming --data_dir when it does not exist."""
    if not path.exists():
        raise UsageError(
            f"{path}: no such file; expected {expected}: name its folder with --data_dir{missing_data_hint(str(path))}"
        )
    return path


def load_samples(folder: Path | None, count: int) -> SpeechSamples:
    """`count` utterances spread over LibriSpeech test-other, the held-out noises and the rooms of a data folder.

    Raises UsageError where one of them is not there or `count` is out of range.
    """
    from preprocessing import audio

    folder = data_folder(folder)
    noises, rooms = (require(folder / name, "noise and rooms") for name in ("noise", "rir"))
    held_out = [path for path in sorted(noises.glob("*.ogg")) if HELD_OUT.search(path.name)]
    return SpeechSamples([audio.load(path) for path in utterance_paths(folder, count)], held_out, rooms)


def utterance_paths(folder: Path | None, count: int) -> list[Path]:
    """Audio files of `count` utterances spread over the data folder's LibriSpeech test-other. Raises UsageError."""
    from preprocessing.batching import evenly_spaced

    manifest = data_folder(folder) / TEST_MANIFEST
    listed = read_utterances(manifest)
    if not 1 <= count <= len(listed):
        raise UsageError(f"--utterances is {count}; expected 1 to {len(listed)}, as in {manifest}: change it")
    return [Path(str(utterance.audio)) for utterance in evenly_spaced(listed, count)]


def read_utterances(manifest: Path) -> "list[Utterance]":
    """The utterances of a manifest in the data folder. Raises UsageError where it is not there."""
    from preprocessing.corpus import open_corpus

    return list(open_corpus(str(require(manifest, "speech"))).utterances)
