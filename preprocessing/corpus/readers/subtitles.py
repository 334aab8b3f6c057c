"""Recordings with subtitles beside them, SubRip (.srt) or WebVTT (.vtt): each cue is an utterance, a part of its file.

    1
    00:00:02,500 --> 00:00:04,000
    Good morning.

Sources: https://www.w3.org/TR/webvtt1/ (blocks, cue text, voices); SubRip has no standard, its markup is HTML's b, i, u
and font and, from other programs, {\\an8}.
"""

import html
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from preprocessing.cli.errors import InputError
from preprocessing.corpus.readers.rows import AUDIO_SUFFIXES, Row, Rows, files_below, text_lines

SUFFIXES = (".srt", ".vtt")
_TIME = r"((?:\d+:)?\d+:\d+[.,]\d+)"
_CUE = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?", re.ASCII)
_MARKUP = re.compile(r"</?(?:b|i|u|c|v|font|lang|ruby|rt)(?:[\s.][^<>]*)?>|<\d[\d:.]*>|\{\\[^{}]*\}", re.IGNORECASE)
_VOICE = re.compile(r"<v(?:\.[^\s<>]*)?\s+([^<>]+)>")
_BLOCKS = re.compile(r"(?:WEBVTT|NOTE|STYLE|REGION)(?:\s|$)")


def is_subtitled(path: str) -> bool:
    """Whether the path is a subtitle file, or a folder with subtitles beside an audio file, at any depth."""
    return is_beside_audio(path, SUFFIXES)


def read_subtitled(path: str) -> Rows:
    """The cues of a subtitle file, or of all in a folder; their audio has the same name and is beside them.

    talk.wav
    talk.srt

    Markup is removed. A voice of WebVTT, `<v Ann>`, is the speaker. Audio without subtitles is set aside. Raises
    InputError when a subtitle file has no audio.
    """
    return read_beside_audio(path, SUFFIXES, _cue_rows, "its subtitles")


def is_beside_audio(path: str, suffixes: Sequence[str]) -> bool:
    """Whether the path is a file with one of the suffixes, or a folder with one beside an audio file, at any depth."""
    if os.path.isdir(path):
        return any(_beside(audio, suffixes) is not None for audio in _audio_files(path))
    return path.lower().endswith(tuple(map(str.lower, suffixes))) and os.path.isfile(path)


def read_beside_audio(
    path: str, suffixes: Sequence[str], rows_of: Callable[[str, str], Iterable[Row]], what: str
) -> Rows:
    """The rows of a file with the times of what was said, or of all in a folder, whose audio is beside them.

    rows_of: the rows of a file and its audio. what: such a file, as "its subtitles".
    Audio without a file is set aside. Raises InputError when a file has no audio.
    """
    if os.path.isdir(path):
        return Rows("", _folder_rows(path, suffixes, rows_of, what))
    stem = os.path.splitext(path)[0]
    name, folder = os.path.basename(stem), os.path.dirname(path)
    beside = (os.path.splitext(file) for file in sorted(os.listdir(folder or ".")))
    audio = next((one + suffix for one, suffix in beside if one == name and suffix.lower() in AUDIO_SUFFIXES), None)
    if audio is None:
        raise InputError(f"{path}: no audio file of that name beside it; expected {name}.wav or the like: add it")
    return Rows("", iter(rows_of(path, os.path.join(folder, audio))))


def _audio_files(folder: str) -> Iterator[str]:
    return (path for path in files_below(folder) if os.path.splitext(path)[1].lower() in AUDIO_SUFFIXES)


def _beside(audio: str, suffixes: Sequence[str]) -> str | None:
    stem = os.path.splitext(audio)[0]
    names = (stem + spelled for suffix in suffixes for spelled in dict.fromkeys((suffix, suffix.lower())))
    return next(filter(os.path.isfile, names), None)


def _folder_rows(
    folder: str, suffixes: Sequence[str], rows_of: Callable[[str, str], Iterable[Row]], what: str
) -> Iterator[Row]:
    for number, audio in enumerate(_audio_files(folder), start=1):
        path = _beside(audio, suffixes)
        if path is None:
            yield Row(audio, number, f"no {' or '.join(suffixes)} of its name beside it; expected {what}: add them")
        else:
            yield from rows_of(path, audio)


def _cue_rows(path: str, audio: str) -> Iterator[Row]:
    """A row for each cue, and one with the reason for each line that belongs to none."""
    is_vtt = path.lower().endswith(".vtt")
    cue: tuple[int, str, str, list[str]] | None = None  # its line, start, stop, and lines of text
    name: int | None = None  # the line that may be the number or the name of the next cue
    is_passed_over = False
    for number, line, reason in text_lines(path, keep_blank=True):
        times = _CUE.fullmatch(line)
        if cue is not None and (times or not line):
            if times and cue[3] and cue[3][-1].isdecimal():
                cue[3].pop()  # the number of the cue that begins here, without a blank line before it
            yield _row(path, audio, *cue, is_vtt=is_vtt)
            cue = None
        if reason is not None:
            yield Row(path, number, reason)
        elif times:
            cue, name, is_passed_over = (number, times[1], times[2], []), None, False
        elif cue is not None:
            cue[3].append(line)
        elif not line:
            is_passed_over = False
        elif is_passed_over or (is_vtt and name is None and _BLOCKS.match(line)):
            is_passed_over = True
            continue
        else:
            if name is not None:
                yield _outside(path, name)
            name = number
            continue
        if name is not None:
            yield _outside(path, name)
            name = None
    if cue is not None:
        yield _row(path, audio, *cue, is_vtt=is_vtt)
    if name is not None:
        yield _outside(path, name)


def _row(path: str, audio: str, number: int, start: str, stop: str, lines: list[str], *, is_vtt: bool) -> Row:
    marked = " ".join(lines)
    text = _MARKUP.sub("", marked)
    fields: dict[str, Any] = {"audio": audio, "start": start, "stop": stop}
    fields["text"] = " ".join((html.unescape(text) if is_vtt else text).split())
    voices = {html.unescape(voice).strip() for voice in _VOICE.findall(marked)} if is_vtt else set()
    return Row(path, number, fields | ({"speaker": voices.pop()} if len(voices) == 1 else {}))


def _outside(path: str, number: int) -> Row:
    reason = (
        "text without times; expected a line 'start --> stop' before it, and no blank line within a cue: correct it"
    )
    return Row(path, number, reason)
