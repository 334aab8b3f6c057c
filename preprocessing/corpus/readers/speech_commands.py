"""Speech Commands (Warden 2018, section 6): a folder for each word, a clip named by its speaker, and lists of clips.

yes/0a7c2a8d_nohash_0.wav
_background_noise_/rain.wav
validation_list.txt             yes/0a7c2a8d_nohash_0.wav
testing_list.txt
"""

import os
import re
from collections.abc import Iterator

from preprocessing.cli.notes import note_once
from preprocessing.corpus.readers.rows import AUDIO_SUFFIXES, Row, Rows, files_below, folder_of, folders_in, text_lines
from preprocessing.errors import counted

LISTS = ("validation_list.txt", "testing_list.txt")
SILENCE, BACKGROUND = "_silence_", "_background_noise_"
_CLIP = re.compile(r"(.+)_nohash_\d+")


def is_speech_commands(path: str) -> bool:
    """Whether the path is a folder of folders of clips, or one of the lists in it."""
    if os.path.basename(path) in LISTS:
        return os.path.isfile(path) and is_speech_commands(os.path.dirname(path) or ".")
    return any(_speaker(name) is not None for word in folders_in(path) for name in os.listdir(word))


def read_speech_commands(path: str) -> Rows:
    """The clips of a list, or of a folder without those in its lists, as training uses them.

    The text is the name of the clip's folder without underscores, and empty for _silence_. Background noise is no clip.
    """
    if os.path.basename(path) in LISTS:
        return Rows("", _listed_rows(path))
    return Rows("", _folder_rows(path))


def _listed_rows(path: str) -> Iterator[Row]:
    for number, line, reason in text_lines(path):
        yield Row(path, number, reason or _clip(folder_of(path) + line))


def _folder_rows(folder: str) -> Iterator[Row]:
    listed = {
        os.path.normpath(os.path.join(folder, line))
        for name in LISTS
        if os.path.isfile(os.path.join(folder, name))
        for _, line, _ in text_lines(os.path.join(folder, name))
    }
    if listed:
        note_once(
            f"lists of {folder}",
            f"{folder}: without the {counted(len(listed), 'clip')} of {' and '.join(LISTS)}; name a list to read it",
        )
    number = 0
    for word in folders_in(folder):
        if os.path.basename(word) == BACKGROUND:
            continue
        for path in files_below(word):
            if os.path.splitext(path)[1].lower() in AUDIO_SUFFIXES and os.path.normpath(path) not in listed:
                number += 1
                yield Row(path, number, _clip(path))


def _clip(path: str) -> dict[str, str | None]:
    word = os.path.basename(os.path.dirname(path))
    name = os.path.basename(path)
    text = "" if word == SILENCE else " ".join(word.replace("_", " ").split())
    return {"audio": path, "text": text, "id": f"{word}/{os.path.splitext(name)[0]}", "speaker": _speaker(name)}


def _speaker(name: str) -> str | None:
    stem, suffix = os.path.splitext(name)
    found = _CLIP.fullmatch(stem)
    return found[1] if found and suffix.lower() in AUDIO_SUFFIXES else None
