"""Kaldi's data folders: wav.scp and text, with or without segments.

Sources: https://kaldi-asr.org/doc/data_prep.html; extract-segments.cc, whose lines of `segments` may name a channel.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from preprocessing.audio import AudioError, probe
from preprocessing.corpus.readers.rows import Row, Rows, text_lines
from preprocessing.errors import InputError

Table = dict[str, tuple[int, str]]
"""Key -> line and value of a file."""

_ARCHIVE = re.compile(r"\.ark:\d+$")
_SIDES = {"A": 0, "B": 1, "1": 0, "2": 1}  # channels in reco2file_and_channel


def is_kaldi(path: str) -> bool:
    """Whether the path is a folder with wav.scp, or that file."""
    return os.path.isfile(_wav_scp(path))


def read_kaldi(path: str) -> Rows:
    """The rows of a Kaldi data folder; also `segments`, `utt2spk`, `spk2gender`, `utt2lang`, `utt2dur` and, of files
    with several channels, `reco2file_and_channel`.

        wav.scp             ann-1 audio/ann-1.wav
        text                ann-1 ONE TWO
        utt2spk             ann-1 ann

    Relative audio paths are tried in the folder, then as they stand. A command in wav.scp is never run: its utterances
    are set aside, as are those of several channels of which none is named, unless one utterance is the whole file. The
    header of each file that has segments, several recordings or a line in `reco2file_and_channel` is read. Raises
    InputError when `text` is missing.
    """
    folder = os.path.dirname(_wav_scp(path))
    if not os.path.isfile(os.path.join(folder, "text")):
        raise InputError(f"{folder}: wav.scp without text; expected a file 'text', an utterance a line: add it")
    return Rows("", _rows(folder))


def _wav_scp(path: str) -> str:
    return path if os.path.basename(path) == "wav.scp" else os.path.join(path, "wav.scp")


def _rows(folder: str) -> Iterator[Row]:
    recordings, rejects = _table(folder, "wav.scp")
    texts, more = _table(folder, "text")
    rejects += more
    segments, more = _table(folder, "segments")
    rejects += more
    speakers, sexes, languages, durations, sides = (
        _table(folder, name)[0] for name in ("utt2spk", "spk2gender", "utt2lang", "utt2dur", "reco2file_and_channel")
    )
    audio = _Recordings(folder, recordings, sides)
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
                fields |= _segment(segments, audio, name)
            else:
                fields |= audio.fields(name, None, has_segments=False)
                fields["duration"] = _number(_value(durations, name), "utt2dur")
        except InputError as error:
            yield Row(path, number, str(error))
        else:
            yield Row(path, number, fields)
    for name, (number, _) in (segments or recordings).items():
        if name not in texts:
            source = os.path.join(folder, "segments" if segments else "wav.scp")
            yield Row(source, number, f"{name!r} has no line in text; expected its transcript: add it")
    yield from rejects


def _table(folder: str, name: str) -> tuple[Table, list[Row]]:
    """A file's table, {} where there is no such file; and the lines that could not be read or came twice."""
    path = os.path.join(folder, name)
    table: Table = {}
    rejects: list[Row] = []
    if not os.path.isfile(path):
        return table, rejects
    for number, line, reason in text_lines(path):
        key, value = (*line.split(maxsplit=1), "", "")[:2]
        if reason is None and key in table:
            reason = f"{key!r} occurs before, in line {table[key][0]}; expected each once: remove one of them"
        if reason is not None:
            rejects.append(Row(path, number, reason))
        else:
            table[key] = (number, value)
    return table, rejects


def _value(table: Table, key: str | None) -> str | None:
    return table[key][1] if key is not None and key in table else None


def _number(value: str | None, where: str) -> float | None:
    try:
        return None if value is None else float(value)
    except ValueError:
        raise InputError(f"{where} says {value!r:.40}; expected seconds: fix it") from None


def _segment(segments: Table, audio: "_Recordings", name: str) -> dict[str, Any]:
    """`utterance recording start stop [channel]`, seconds; a stop of -1 is the recording's end, channels are from 0."""
    parts = (_value(segments, name) or "").split()
    if not 3 <= len(parts) <= 4:
        raise InputError(
            f"{name!r} has no line 'recording start stop' in segments, with or without a channel; expected one: add or "
            "correct it"
        )
    start, stop = (_number(part, "segments") for part in parts[1:3])
    assert start is not None and stop is not None
    fields = audio.fields(parts[0], None if parts[3:] in ([], ["-1"]) else parts[3], has_segments=True)
    fields["start"] = start
    return fields if stop == -1.0 else fields | {"stop": stop, "duration": stop - start if stop > start else None}


class _Recordings:
    """The recordings of wav.scp, with their sides in reco2file_and_channel."""

    def __init__(self, folder: str, recordings: Table, sides: Table) -> None:
        self._folder, self._recordings, self._sides = folder, recordings, sides
        self._n_sharing = Counter(path for _, path in recordings.values())
        self._n_channels: dict[str, int] = {}

    def fields(self, name: str, channel: str | None, *, has_segments: bool) -> dict[str, Any]:
        """The audio of a recording and, where one is named and the file has several, its channel.

        channel: as `segments` names it. Raises InputError where a file of several channels has none named, unless the
        recording is one utterance, the only one of its file: its channels are mixed.
        """
        path = self._path(name)
        if channel is not None:
            if not channel.isdecimal():
                raise InputError(f"segments names the channel {channel!r:.40}; expected its number, from 0: fix it")
            return {"audio": path, "channel": int(channel)}
        is_utterance = not has_segments and self._n_sharing[self._recordings[name][1]] == 1
        if is_utterance and name not in self._sides:
            return {"audio": path}
        if path not in self._n_channels:
            self._n_channels[path] = 1
            with suppress(AudioError):  # which is said of every utterance of the file
                self._n_channels[path] = probe(path).n_channels
        if self._n_channels[path] == 1:
            return {"audio": path}
        side = (_value(self._sides, name) or "").upper().split()[-1:]
        if side and side[0] in _SIDES:
            return {"audio": path, "channel": _SIDES[side[0]]}
        if not is_utterance:
            raise InputError(
                f"recording {name!r} has {self._n_channels[path]} channels; expected the one of each utterance: name "
                "it, from 0, behind the stop in segments, or as A or B in reco2file_and_channel, or mix the file to one"
            )
        return {"audio": path}

    def _path(self, name: str) -> str:
        path = _value(self._recordings, name)
        if not path:
            raise InputError(f"recording {name!r} has no line in wav.scp; expected its audio file: add it")
        if path.endswith("|"):
            raise InputError(
                f"recording {name!r} in wav.scp is a command ({path[:60]!r}); expected a path, as commands are never "
                "run: write the audio to files"
            )
        if _ARCHIVE.search(path):
            raise InputError(
                f"recording {name!r} in wav.scp is in an archive ({path[:60]!r}); expected a file: extract it"
            )
        inside = os.path.join(self._folder, path)
        return inside if os.path.exists(inside) or os.path.isabs(path) or not os.path.exists(path) else path
