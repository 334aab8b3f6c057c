"""Kaldi's data folder: wav.scp and text, with segments, utt2spk, spk2gender and utt2dur where they are there.

Each line is a key, white space and a value. A wav.scp line that is a command (it ends in |) is refused, never run.
"""

import os
import re
from collections.abc import Iterator
from typing import Any

from preprocessing.corpus.rows import Row, Rows, text_lines
from preprocessing.errors import InputError

_ARCHIVE = re.compile(r"\.ark:\d+$")


def is_kaldi(folder: str) -> bool:
    return os.path.isfile(os.path.join(folder, "wav.scp"))


def read_kaldi(folder: str) -> Rows:
    """Raises InputError when `text` is missing. Relative audio paths are tried in the folder, then as they stand."""
    if not os.path.isfile(os.path.join(folder, "text")):
        raise InputError(f"{folder}: wav.scp without text; expected a file 'text', an utterance a line: add it")
    return Rows("", _rows(folder))


def _rows(folder: str) -> Iterator[Row]:
    recordings, rejects = _table(folder, "wav.scp")
    texts, more = _table(folder, "text")
    rejects += more
    segments, more = _table(folder, "segments")
    rejects += more
    speakers, sexes, languages, durations = (
        _table(folder, name)[0] for name in ("utt2spk", "spk2gender", "utt2lang", "utt2dur")
    )
    path = os.path.join(folder, "text")
    for name, (number, text) in texts.items():
        speaker = _value(speakers, name)
        fields: dict[str, Any] = {
            "id": name,
            "text": text,
            "speaker": speaker,
            "sex": _value(sexes, speaker),
            "language": _value(languages, name),
        }
        try:
            if segments:
                fields |= _segment(folder, segments, recordings, name)
            else:
                fields["audio"] = _audio(folder, recordings, name)
                fields["duration"] = _number(_value(durations, name), "utt2dur")
        except InputError as error:
            yield Row(path, number, str(error))
        else:
            yield Row(path, number, fields)
    for name, (number, _) in (segments or recordings).items():
        if name not in texts:
            source = os.path.join(folder, "segments" if segments else "wav.scp")
            yield Row(source, number, f"{name!r} has no line in text; expected what was said in it: add it")
    yield from rejects


def _table(folder: str, name: str) -> tuple[dict[str, tuple[int, str]], list[Row]]:
    """Key -> line and value, {} where there is no such file; and the lines that could not be read or came twice."""
    path = os.path.join(folder, name)
    found: dict[str, tuple[int, str]] = {}
    rejects: list[Row] = []
    if not os.path.isfile(path):
        return found, rejects
    for number, line, reason in text_lines(path):
        key, value = (*line.split(maxsplit=1), "", "")[:2]
        if reason is None and key in found:
            reason = f"{key!r} occurs before, in line {found[key][0]}; expected each once: remove one of them"
        if reason is not None:
            rejects.append(Row(path, number, reason))
        else:
            found[key] = (number, value)
    return found, rejects


def _value(table: dict[str, tuple[int, str]], key: str | None) -> str | None:
    return table[key][1] if key is not None and key in table else None


def _number(value: str | None, where: str) -> float | None:
    try:
        return None if value is None else float(value)
    except ValueError:
        raise InputError(f"{where} says {value!r:.40}; expected seconds: mend it") from None


def _segment(
    folder: str, segments: dict[str, tuple[int, str]], recordings: dict[str, tuple[int, str]], name: str
) -> dict[str, Any]:
    """`utterance recording start stop`, seconds; a stop of -1 is the recording's end."""
    parts = (_value(segments, name) or "").split()
    if len(parts) != 3:
        raise InputError(f"{name!r} has no line 'recording start stop' in segments; expected one: add or mend it")
    start, stop = (_number(part, "segments") for part in parts[1:])
    assert start is not None and stop is not None
    fields: dict[str, Any] = {"audio": _audio(folder, recordings, parts[0]), "start": start}
    return fields if stop == -1.0 else fields | {"stop": stop, "duration": stop - start if stop > start else None}


def _audio(folder: str, recordings: dict[str, tuple[int, str]], name: str) -> str:
    path = _value(recordings, name)
    if not path:
        raise InputError(f"recording {name!r} has no line in wav.scp; expected its audio file: add it")
    if path.endswith("|"):
        raise InputError(
            f"recording {name!r} in wav.scp is a command ({path[:60]!r}); expected a path, for commands are never run: "
            "write the audio to files"
        )
    if _ARCHIVE.search(path):
        raise InputError(f"recording {name!r} in wav.scp is in an archive ({path[:60]!r}); expected a file: extract it")
    within = os.path.join(folder, path)
    return within if os.path.exists(within) or os.path.isabs(path) else path if os.path.exists(path) else within
