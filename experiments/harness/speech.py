"""The real speech, noise and rooms that comparisons with peers are made on."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from preprocessing import audio, corpus
from preprocessing.cli.errors import UsageError

HELD_OUT = re.compile(r"_[45]-")  # ESC-10's folds 4 and 5: no default of ours was chosen on them


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
class Material:
    """Speech of hard speakers, noise recordings and room impulse responses."""

    utterances: list[Tensor]  # [samples] each
    noises: list[Path]
    rooms: Path


def manifest_paths(folder: Path | None, count: int) -> list[Path]:
    """Audio files of `count` utterances spread over the folder's LibriSpeech test-other. Raises UsageError."""
    return [Path(str(utterance.audio)) for utterance in _chosen(_folder(folder), count)]


def find_material(folder: Path | None, count: int) -> Material:
    """`count` utterances spread over the folder's LibriSpeech test-other, its held-out noises and its rooms.

    folder: None is $ASR_DATA_DIR, else ../shared/data. Raises UsageError where there is none.
    """
    folder = _folder(folder)
    noises, rooms = folder / "noise", folder / "rir"
    for needed in (noises, rooms):
        if not needed.exists():
            raise UsageError(f"{needed}: not there; expected noise and rooms: name their folder with --data")
    held_out = [path for path in sorted(noises.glob("*.ogg")) if HELD_OUT.search(path.name)]
    return Material([audio.load(utterance.audio) for utterance in _chosen(folder, count)], held_out, rooms)


def _folder(folder: Path | None) -> Path:
    return folder or Path(os.environ.get("ASR_DATA_DIR", "../shared/data"))


def _chosen(folder: Path, count: int) -> list[corpus.Utterance]:
    manifest = folder / "librispeech" / "test-other.jsonl"
    if not manifest.exists():
        raise UsageError(f"{manifest}: not there; expected speech: name its folder with --data")
    listed = corpus.open_corpus(str(manifest)).utterances
    if not 1 <= count <= len(listed):
        raise UsageError(f"utterances is {count}; expected 1 to {len(listed)}, as in {manifest}: mend it")
    return [listed[index * len(listed) // count] for index in range(count)]
