"""Corpora that are folders: audiofolder, audio with .txt beside it, LibriSpeech, Common Voice, and Kaldi's data folder."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from preprocessing.cli.errors import InputError
from preprocessing.corpus.readers.manifest import read_manifest, table_rows
from preprocessing.corpus.readers.rows import AUDIO_SUFFIXES, Row, Rows, files_below, folders_in, text_lines

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
