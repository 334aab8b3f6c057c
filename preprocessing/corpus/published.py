"""Corpora as they are published: LibriSpeech's tree and Common Voice.

LibriSpeech: subset/speaker/chapter/speaker-chapter.trans.txt, a line `id TEXT`, audio beside it; SPEAKERS.TXT above.
Common Voice: tables validated.tsv, train.tsv, ... with path, sentence, client_id, gender, locale; audio in clips/.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from preprocessing.corpus.manifest import table_rows
from preprocessing.corpus.rows import Row, Rows, files_below, folders_in, text_lines
from preprocessing.errors import InputError

TRANSCRIPTS = ".trans.txt"
AUDIO = (".flac", ".wav", ".opus", ".ogg", ".mp3")  # LibriSpeech is FLAC; people convert it
LEVELS_ABOVE = 3  # chapter -> speaker -> subset -> corpus, where SPEAKERS.TXT stands


def is_librispeech(folder: str) -> bool:
    """Transcripts no deeper than corpus/subset/speaker/chapter."""
    return next(_transcripts(folder, 4), None) is not None


def librispeech_subsets(folder: str) -> list[str]:
    """Names of the sub-folders that are subsets when `folder` is the corpus's own: train-clean-100, test-other, ..."""
    return [
        os.path.basename(below)
        for below in folders_in(folder)
        if next(_transcripts(below, 2), None) is None and next(_transcripts(below, 3), None) is not None
    ]


def _transcripts(folder: str, levels: int) -> Iterator[str]:
    yield from (os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(TRANSCRIPTS))
    if levels > 1:
        for below in folders_in(folder):
            yield from _transcripts(below, levels - 1)


def read_librispeech(folder: str) -> Rows:
    """A corpus, a subset, a speaker or a chapter."""
    return Rows("", _librispeech_rows(folder))


def _librispeech_rows(folder: str) -> Iterator[Row]:
    sexes = _sexes(folder)
    for path in files_below(folder):
        if not path.endswith(TRANSCRIPTS):
            continue
        beside = os.path.dirname(path)
        for number, line, reason in text_lines(path):
            if reason is not None:
                yield Row(path, number, reason)
                continue
            name, _, text = line.partition(" ")
            speaker = name.split("-")[0]
            stem = os.path.join(beside, name)
            audio = next((stem + suffix for suffix in AUDIO if os.path.isfile(stem + suffix)), stem + AUDIO[0])
            yield Row(
                path,
                number,
                {"id": name, "audio": audio, "text": text, "speaker": speaker, "sex": sexes.get(speaker)},
            )


def _sexes(folder: str) -> dict[str, str]:
    """Speaker -> F or M of SPEAKERS.TXT, in the folder or above it: `14 | F | train-clean-360 | 25.03 | name`."""
    above = os.path.abspath(folder)
    for _ in range(LEVELS_ABOVE + 1):
        path = os.path.join(above, "SPEAKERS.TXT")
        if os.path.isfile(path):
            with open(path, encoding="utf-8", errors="replace") as file:
                rows = [line.split("|") for line in file if not line.startswith(";")]
            return {row[0].strip(): row[1].strip() for row in rows if len(row) > 1}
        above = os.path.dirname(above)
    return {}


@dataclass(frozen=True)
class CommonVoice:
    """A release's folder: its tables of clips, by name."""

    folder: str
    tables: tuple[str, ...]


def find_common_voice(folder: str) -> CommonVoice | None:
    """None where the folder has no clips/ with tables beside it."""
    if not os.path.isdir(os.path.join(folder, "clips")):
        return None
    names = sorted(name for name in os.listdir(folder) if name.endswith(".tsv"))
    tables = tuple(name for name in names if _is_clip_table(os.path.join(folder, name)))
    return CommonVoice(folder, tables) if tables else None


def _is_clip_table(path: str) -> bool:
    _, header, _ = next(text_lines(path) if os.path.isfile(path) else iter(()), (0, "", None))
    return {"path", "sentence"} <= set(header.split("\t"))


def read_common_voice(release: CommonVoice) -> Rows:
    """The one table there is. Raises InputError where there are several: they overlap, and one holds the test set."""
    if len(release.tables) > 1:
        raise InputError(
            f"{release.folder}: holds the tables {', '.join(release.tables)}; expected one: name it, as in "
            f"{os.path.join(release.folder, release.tables[0])}"
        )
    return table_rows(os.path.join(release.folder, release.tables[0]), tabs=True)
