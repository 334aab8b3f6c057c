"""Folders of audio: Hugging Face's audiofolder (metadata.csv or .jsonl), and a bare one, a .txt beside each file."""

import os
from collections.abc import Iterator

from preprocessing.corpus.manifest import read_manifest
from preprocessing.corpus.rows import AUDIO_SUFFIXES, Row, Rows, files_below
from preprocessing.errors import InputError

METADATA = ("metadata.csv", "metadata.jsonl")


def metadata_file(folder: str) -> str | None:
    """The folder's metadata. Raises InputError when there are two."""
    found = [name for name in METADATA if os.path.isfile(os.path.join(folder, name))]
    if len(found) > 1:
        raise InputError(f"{folder}: holds both {found[0]} and {found[1]}; expected one: name one of the two files")
    return os.path.join(folder, found[0]) if found else None


def read_audiofolder(folder: str) -> Rows:
    """`file_name`, relative to the folder of the metadata, and any of the known columns."""
    path = metadata_file(folder)
    assert path is not None, "only called on a folder with metadata"
    return read_manifest(path)


def has_text_beside_audio(folder: str) -> bool:
    return next(_pairs(folder), None) is not None


def read_text_beside_audio(folder: str) -> Rows:
    """`a/b.wav` said what `a/b.txt` holds; its id is `a/b`. Audio without a text is set aside."""
    return Rows("", _beside_rows(folder))


def _pairs(folder: str) -> Iterator[tuple[str, str]]:
    for path in files_below(folder):
        stem, suffix = os.path.splitext(path)
        if suffix.lower() in AUDIO_SUFFIXES and os.path.isfile(f"{stem}.txt"):
            yield path, f"{stem}.txt"


def _beside_rows(folder: str) -> Iterator[Row]:
    number = 0
    for path in files_below(folder):
        stem, suffix = os.path.splitext(path)
        if suffix.lower() not in AUDIO_SUFFIXES:
            continue
        number += 1
        try:
            with open(f"{stem}.txt", encoding="utf-8-sig") as file:
                text = " ".join(file.read(2**20).split())
        except FileNotFoundError:
            reason = f"no {os.path.basename(stem)}.txt beside it; expected what was said in it: add it"
            yield Row(path, number, reason)
        except (OSError, UnicodeDecodeError) as error:
            yield Row(path, number, f"{os.path.basename(stem)}.txt cannot be read ({error}); expected UTF-8: mend it")
        else:
            name = os.path.relpath(stem, folder).replace(os.sep, "/")
            yield Row(path, number, {"audio": path, "text": text, "id": name})
