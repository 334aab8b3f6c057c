"""What a reader hands over: rows of fields with their place, or the reason why there are none; and folders walked."""

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from preprocessing.errors import InputError

MAX_LINE_BYTES = 2**20  # a manifest's line; an hour's transcript is about 50 kB
AUDIO_SUFFIXES = frozenset(
    (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".aiff", ".aif", ".webm", ".wma", ".mp4", ".sph")
)


class Row(NamedTuple):
    """Fields by their name, or the reason why there are none; `number` is the line, from 1, or the dataset's index."""

    source: str
    number: int
    fields: dict[str, Any] | str


class Rows(NamedTuple):
    """A corpus's rows in their order. Relative audio paths are relative to `folder`."""

    folder: str  # with its separator at the end, or ""
    rows: Iterator[Row]


def beside(path: str) -> str:
    """The folder of a file as `Rows.folder` wants it.

    >>> beside("corpus/train.jsonl"), beside("train.jsonl"), beside("/train.jsonl")
    ('corpus/', '', '/')
    """
    return os.path.join(os.path.dirname(path), "")


def byte_lines(path: str) -> Iterator[tuple[int, bytes | str]]:
    """The numbered lines of a file without a byte-order mark; a reason for one that is longer than any transcript.

    Memory stays that of one short line, whatever the file is.
    """
    with open(path, "rb") as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES):
            number += 1
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
                while (more := file.readline(MAX_LINE_BYTES)) and not more.endswith(b"\n"):
                    pass
                yield (
                    number,
                    f"a line of over {MAX_LINE_BYTES // 2**20} MiB; expected one utterance: mend the line",
                )
            else:
                yield number, line


def text_lines(path: str) -> Iterator[tuple[int, str, str | None]]:
    """Number, text and, instead of a text, the reason why a line has none. Blank lines are left out."""
    for number, line in byte_lines(path):
        if isinstance(line, str):
            yield number, "", line
            continue
        try:
            text = line.decode("utf-8").strip()
        except UnicodeDecodeError as error:
            yield number, "", not_utf8(error)
        else:
            if text:
                yield number, text, None


def not_utf8(error: UnicodeDecodeError) -> str:
    return f"not UTF-8 at byte {error.start}; expected UTF-8: convert the file"


def folders_in(folder: str) -> list[str]:
    """Paths of the folders in a folder, sorted; a link onto itself is none."""
    return [path for path, is_folder in _listed(folder) if is_folder]


def files_below(folder: str) -> Iterator[str]:
    """Every file below a folder in sorted order; links are followed, and one that leads back is entered once."""
    entered: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        try:
            facts = os.stat(here)
            if (facts.st_dev, facts.st_ino) in entered:
                continue
            entered.add((facts.st_dev, facts.st_ino))
            found = _listed(here)
        except OSError as error:
            raise InputError(f"{here}: {error.strerror}; expected a readable folder: mend its permissions") from None
        yield from (path for path, is_folder in found if not is_folder)
        waiting += [path for path, is_folder in reversed(found) if is_folder]


def _listed(folder: str) -> list[tuple[str, bool]]:
    """Paths in a folder, sorted, and whether each is a folder; the system tells of most without being asked again."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                is_folder = entry.is_dir()
                if is_folder or entry.is_file():
                    found.append((entry.path, is_folder))
            except OSError:  # a link onto itself
                continue
    return sorted(found)
