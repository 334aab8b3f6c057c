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
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Any

from preprocessing.cli.notes import note_once
from preprocessing.corpus.readers.rows import AUDIO_SUFFIXES, Row, Rows, files_below, text_lines
from preprocessing.errors import InputError

SUFFIXES = (".srt", ".vtt")
MIN_ROLLING_CUES = 2  # of the cues that repeat lines of the cue before and go on
_TIME = r"((?:\d+:)?\d+:\d+[.,]\d+)"
_CUE = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?", re.ASCII)
_MARKUP = re.compile(r"</?(?:b|i|u|c|v|font|lang|ruby|rt)(?:[\s.][^<>]*)?>|<\d[\d:.]*>|\{\\[^{}]*\}", re.IGNORECASE)
_VOICE = re.compile(r"<v(?:\.[^\s<>]*)?\s+([^<>]+)>")
_BLOCKS = re.compile(r"(?:WEBVTT|NOTE|STYLE|REGION)(?:\s|$)")
# A stem, language, script and region as in BCP 47, and the rest of a track's name of YouTube: en-orig, en-eEY6OEpapPo.
_LANGUAGE = re.compile(
    r"(.+)\.([a-z]{2,3}(?:-(?!orig)[a-z]{4})?(?:-(?:[a-z]{2}|\d{3}))?)(?:-[\w-]+)?", re.IGNORECASE | re.ASCII
)


def is_subtitled(path: str) -> bool:
    """Whether the path is a subtitle file, or a folder with subtitles beside an audio file, at any depth."""
    return is_beside_audio(path, SUFFIXES, with_language=True)


def read_subtitled(path: str) -> Rows:
    """The cues of a subtitle file, or of all in a folder; their audio has the same name and is beside them.

    talk.wav
    talk.srt            or talk.de-CH.srt, whose cues are of that language

    Markup is removed. A voice of WebVTT, `<v Ann>`, is the speaker. Where captions roll, as YouTube's do, the lines
    that a cue repeats from the one before are left out, and a note says so. Audio without subtitles, or with those of
    several languages, is set aside. Raises InputError when a subtitle file has no audio.
    """
    return read_beside_audio(path, SUFFIXES, _cue_rows, "its subtitles", with_language=True)


def _no_links(path: str) -> Sequence[str]:
    return ()


def is_beside_audio(
    path: str,
    suffixes: Sequence[str],
    *,
    with_language: bool = False,
    linked: Callable[[str], Sequence[str]] = _no_links,
) -> bool:
    """Whether the path is a file with one of the suffixes, or a folder with one beside an audio file, at any depth.

    with_language: whether a language tag may stand before the suffix. linked: names of the audio that a file says it
    belongs to, for one that has no audio of its own name.
    """
    if os.path.isdir(path):
        return any(beside for _, beside in _audio_in(path, suffixes, with_language, linked))
    return path.lower().endswith(tuple(map(str.lower, suffixes))) and os.path.isfile(path)


def read_beside_audio(
    path: str,
    suffixes: Sequence[str],
    rows_of: Callable[[str, str], Iterable[Row]],
    what: str,
    *,
    with_language: bool = False,
    linked: Callable[[str], Sequence[str]] = _no_links,
) -> Rows:
    """The rows of a file with the times of what was said, or of all in a folder, whose audio is beside them.

    rows_of: the rows of a file and its audio. what: such a file, as "its subtitles". with_language, linked: as above.
    Audio without a file is set aside. Raises InputError when a file has no audio.
    """
    if os.path.isdir(path):
        return Rows("", _folder_rows(path, suffixes, rows_of, what, with_language, linked))
    folder, name = os.path.split(os.path.splitext(path)[0])
    audio = {
        stem: stem + suffix
        for stem, suffix in map(os.path.splitext, sorted(os.listdir(folder or "."), reverse=True))
        if suffix.lower() in AUDIO_SUFFIXES
    }
    tagged = _LANGUAGE.fullmatch(name) if with_language else None
    found = audio.get(name) or (audio.get(tagged[1]) if tagged else None)
    if found is None:
        found = next((name for name in linked(path) if name in audio.values()), None)
    if found is None:
        raise InputError(f"{path}: no audio file of that name beside it; expected {name}.wav or the like: add it")
    return Rows("", iter(rows_of(path, os.path.join(folder, found))))


def _audio_in(
    folder: str, suffixes: Sequence[str], with_language: bool, linked: Callable[[str], Sequence[str]]
) -> Iterator[tuple[str, list[str]]]:
    """Each audio file below a folder with the files beside it that may be its: the one of its name; else those with a
    language tag behind it, one for each tag, and those that link it.
    """
    ranks = {suffix.lower(): rank for rank, suffix in enumerate(suffixes)}
    for _, paths in groupby(files_below(folder), key=os.path.dirname):
        audio: list[tuple[str, str]] = []
        own: dict[str, str] = {}
        for path in paths:
            stem, suffix = os.path.splitext(path)
            if suffix.lower() in AUDIO_SUFFIXES:
                audio.append((path, stem))
            elif suffix.lower() in ranks:
                own[stem] = min(own.get(stem, path), path, key=lambda one: ranks[os.path.splitext(one)[1].lower()])
        stems = {stem for _, stem in audio}
        others: dict[str, list[str]] = {}  # by the audio's stem, or its path
        for stem in own.keys() - stems:
            match = _LANGUAGE.fullmatch(stem) if with_language else None
            if match is not None:
                others.setdefault(match[1], []).append(own[stem])
            names = {os.path.join(os.path.dirname(stem), name) for name in linked(own[stem])}
            for path in [path for path, _ in audio if path in names][:1]:
                others.setdefault(path, []).append(own[stem])
        for path, stem in audio:
            yield path, [own[stem]] if stem in own else sorted(others.get(stem, []) + others.get(path, []))


def _folder_rows(
    folder: str,
    suffixes: Sequence[str],
    rows_of: Callable[[str, str], Iterable[Row]],
    what: str,
    with_language: bool,
    linked: Callable[[str], Sequence[str]],
) -> Iterator[Row]:
    for number, (audio, beside) in enumerate(_audio_in(folder, suffixes, with_language, linked), start=1):
        if not beside:
            yield Row(audio, number, f"no {' or '.join(suffixes)} of its name beside it; expected {what}: add them")
        elif len(beside) > 1:
            names = " and ".join(map(os.path.basename, beside))
            stem, suffix = os.path.splitext(os.path.basename(audio))[0], os.path.splitext(beside[0])[1]
            reason = f"{names} beside it; expected one of them: call the one to read {stem}{suffix}"
            yield Row(audio, number, reason)
        else:
            yield from rows_of(beside[0], audio)


@dataclass(frozen=True)
class _Cue:
    """A cue as it stands in its file: the number of its line with the times, these, and its lines of text.

    unreadable: the line that cannot be read, and why, as a row.
    """

    number: int
    start: str
    stop: str
    lines: list[str] = field(default_factory=list)
    unreadable: list[Row] = field(default_factory=list)


def _cue_rows(path: str, audio: str) -> Iterator[Row]:
    """A row for each cue, and one with the reason for each line that belongs to none."""
    is_vtt = path.lower().endswith(".vtt")
    fields = {"audio": audio}
    stem = os.path.splitext(path)[0]
    tagged = _LANGUAGE.fullmatch(stem)
    if tagged and stem != os.path.splitext(audio)[0]:
        fields["language"] = tagged[2]
    found = list(_cues(path, is_vtt))
    new_lines = _new_lines([one for one in found if isinstance(one, _Cue)], path)
    for one in found:
        if isinstance(one, Row):
            yield one
        elif one.unreadable:
            yield one.unreadable[0]
        elif (lines := new_lines[one.number]) is not None:
            yield Row(path, one.number, fields | _cue_fields(one, lines, is_vtt=is_vtt))


def _cues(path: str, is_vtt: bool) -> Iterator[_Cue | Row]:
    """The cues of a file, and a row with the reason for each line that belongs to none.

    An empty line ends a cue; one of white space is a line of it, as in WebVTT, section 4.1.
    """
    cue: _Cue | None = None
    name: int | None = None  # the line that may be the number or the name of the next cue
    is_passed_over = False
    for number, line, reason in text_lines(path, whole=True):
        times = _CUE.fullmatch(line)
        if cue is not None and (times or (not line and reason is None)):
            if times and cue.lines and cue.lines[-1].isdecimal():
                cue.lines.pop()  # the number of the cue that begins here, without a blank line before it
            yield cue
            cue = None
        if cue is not None:
            if reason is None:
                cue.lines.append(line.strip())
            else:
                cue.unreadable.append(Row(path, number, f"{reason} (without it, the whole cue is left out)"))
        elif reason is not None:
            yield Row(path, number, reason)
        elif times:
            cue, name, is_passed_over = _Cue(number, times[1], times[2]), None, False
        elif not line.strip():
            is_passed_over = is_passed_over and bool(line)
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
        yield cue
    if name is not None:
        yield _outside(path, name)


def _new_lines(cues: Sequence[_Cue], path: str) -> dict[int, list[str] | None]:
    """The lines of each cue, by its number, without those that it repeats; None where it has no others.

    Captions roll where most cues of several lines begin with lines that the cue before ends with: YouTube writes each
    line three times, as the lower one, for 10 ms alone, and as the upper one. Elsewhere nothing is left out.
    """
    new: dict[int, list[str] | None] = {cue.number: cue.lines for cue in cues}
    plain = [[" ".join(_MARKUP.sub("", line).split()) for line in cue.lines] for cue in cues]
    repeated = [0, *(_n_repeated(before, lines) for before, lines in pairwise(plain))]
    n_of_several = n_rolling = 0
    for lines, n_lines in zip(plain, repeated, strict=False):
        n_of_several += sum(map(bool, lines)) > 1
        n_rolling += n_lines > 0 and any(lines[n_lines:])
    if n_rolling < MIN_ROLLING_CUES or 2 * n_rolling <= n_of_several:
        return new
    note_once(
        "rolling captions",
        f"{path}: rolling captions, most of whose cues begin with the last line of the cue before; these repeated "
        "lines are left out, here and in other files of the kind",
    )
    for cue, lines, n_lines in zip(cues, plain, repeated, strict=True):
        if n_lines:
            new[cue.number] = cue.lines[n_lines:] if any(lines[n_lines:]) else None
    return new


def _n_repeated(before: Sequence[str], lines: Sequence[str]) -> int:
    """How many lines at the start are those that the cue before ends with; 0 where the first is blank.

    >>> _n_repeated(["one", "two", ""], ["two", "three"]), _n_repeated(["one"], ["", "one"])
    (1, 0)
    """
    end = len(before)
    while end and not before[end - 1]:
        end -= 1
    fitting = (n for n in range(min(end, len(lines)), 0, -1) if list(before[end - n : end]) == list(lines[:n]))
    return next(fitting, 0) if lines and lines[0] else 0


def _cue_fields(cue: _Cue, lines: Sequence[str], *, is_vtt: bool) -> dict[str, Any]:
    marked = " ".join(lines)
    text = _MARKUP.sub("", marked)
    fields: dict[str, Any] = {"start": cue.start, "stop": cue.stop}
    fields["text"] = " ".join((html.unescape(text) if is_vtt else text).split())
    voices = {html.unescape(voice).strip() for voice in _VOICE.findall(marked)} if is_vtt else set()
    return fields | ({"speaker": voices.pop()} if len(voices) == 1 else {})


def _outside(path: str, number: int) -> Row:
    reason = (
        "text without times; expected a line 'start --> stop' before it, and no blank line within a cue: correct it"
    )
    return Row(path, number, reason)
