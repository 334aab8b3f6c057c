"""The real speech, noise and rooms that comparisons with peers are made on."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from preprocessing import audio, corpus
from preprocessing.errors import UsageError

HELD_OUT = re.compile(r"_[45]-")  # ESC-10's folds 4 and 5: no default of ours was chosen on them


@dataclass(frozen=True)
class Material:
    """Speech of hard speakers, noise recordings and room impulse responses."""

    utterances: list[Tensor]  # [samples] each
    noises: list[Path]
    rooms: Path


def find_material(folder: Path | None, count: int) -> Material:
    """`count` utterances spread over the folder's LibriSpeech test-other, its held-out noises and its rooms.

    folder: None is $ASR_DATA_DIR, else ../shared/data. Raises UsageError where there is none.
    """
    folder = folder or Path(os.environ.get("ASR_DATA_DIR", "../shared/data"))
    manifest, noises, rooms = folder / "librispeech" / "test-other.jsonl", folder / "noise", folder / "rir"
    for needed in (manifest, noises, rooms):
        if not needed.exists():
            raise UsageError(f"{needed}: not there; expected speech, noise and rooms: name their folder with --data")
    listed = corpus.open_corpus(str(manifest)).utterances
    if not 1 <= count <= len(listed):
        raise UsageError(f"utterances is {count}; expected 1 to {len(listed)}, as in {manifest}: mend it")
    chosen = [listed[index * len(listed) // count] for index in range(count)]
    held_out = [path for path in sorted(noises.glob("*.ogg")) if HELD_OUT.search(path.name)]
    return Material([audio.load(utterance.audio) for utterance in chosen], held_out, rooms)
