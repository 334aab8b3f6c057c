"""Rows of a corpus with their place, and their fields, however named -> an Utterance, or the reason why there is none."""

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from preprocessing.audio import StoredAudio
from preprocessing.cli.errors import InputError
from preprocessing.corpus.utterance import Segment, Utterance

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


TEXT_KEYS = ("text", "transcription", "transcript", "sentence", "normalized_text")  # as corpora name it, in this order
AUDIO_KEYS = ("audio", "file_name", "audio_filepath", "audio_path", "path", "file", "filename", "wav")
ID_KEYS = ("id", "utterance_id", "utt_id")
SPEAKER_KEYS = ("speaker", "speaker_id", "client_id")
SEX_KEYS = ("sex", "gender")
LANGUAGE_KEYS = ("language", "locale", "lang")
SEXES = {"f": "F", "female": "F", "female_feminine": "F", "woman": "F", "w": "F"} | {
    "m": "M",
    "male": "M",
    "male_masculine": "M",
    "man": "M",
}
DOMAIN_KEYS = ("domain",)
PATH_MAX = 4096  # bytes, of Linux
HUGE = 10**40  # no name has so many digits
LONGEST_SECONDS = 1e9  # thirty years
AGREES_SECONDS = 0.1  # how far start, stop and the length of the audio may lie apart


class Draft(NamedTuple):
    """An utterance whose duration is not known before its audio's header is read; `stated` is the manifest's."""

    utterance: Utterance
    stated: float | None


def read_fields(fields: dict[str, Any], folder: str) -> Utterance | Draft:
    """The utterance of a row, or its Draft where the row does not say how long it is. Opens no file.

    folder: what relative paths are relative to, with its separator at the end, or "".
    Raises InputError with the reason when the fields make no utterance.
    """
    get = fields.get
    text = get("text")
    if text.__class__ is not str:
        text = _text(fields)
    audio = get("audio")
    if audio.__class__ is not str or not 0 < len(audio) <= PATH_MAX or "\0" in audio:
        audio = find_audio(_first(fields, AUDIO_KEYS), fields, folder)
    elif folder and audio[0] != "/":
        audio = folder + audio
    stated = get("duration")
    if stated.__class__ is not float or not 0.0 < stated < LONGEST_SECONDS:
        stated = _stated(fields)
    if "start" in fields or "stop" in fields or "offset" in fields:
        start, stop = _part(fields, stated)
        duration = _duration(stated, start, stop)
    else:
        start, stop, duration = 0.0, None, stated
    utterance = Utterance(
        _id(fields, audio, start, stop),
        audio,
        text,
        duration or 0.0,
        _name(fields, SPEAKER_KEYS),
        _sex(fields),
        _name(fields, LANGUAGE_KEYS),
        _name(fields, DOMAIN_KEYS),
        start,
        stop,
    )
    segments = get("segments")
    if segments:
        utterance = replace(utterance, segments=read_segments(segments))
        return Draft(utterance, stated) if duration is None else within(utterance)
    return Draft(utterance, stated) if duration is None else utterance


def _text(fields: dict[str, Any]) -> str:
    text = _first(fields, TEXT_KEYS)
    if not isinstance(text, str):
        raise InputError(
            f"no 'text' among {_listed_segments(fields)}; expected what was said: add it, or '' for silence"
        )
    return text


def _stated(fields: dict[str, Any]) -> float | None:
    stated = _seconds(fields, "duration")
    if stated == 0.0:
        raise InputError("'duration' is 0; expected seconds above 0: mend it, or leave it out")
    return stated


def _part(fields: dict[str, Any], stated: float | None) -> tuple[float, float | None]:
    start, stop = _seconds(fields, "start"), _seconds(fields, "stop")
    offset = None if start is not None else _seconds(fields, "offset")
    if offset is not None:  # NeMo's manifests: `duration` seconds from `offset` on
        start, stop = offset, None if stated is None else offset + stated
    if stop is not None and (start or 0.0) >= stop:
        raise InputError(_backwards(start or 0.0, stop))
    return start or 0.0, stop


def settled_duration(draft: Draft, length: float) -> float:
    """Seconds of the draft's part in audio that lasts `length` seconds, 0 where its container does not say.

    Raises InputError when start and stop do not lie within it.
    """
    start, stop = draft.utterance.start, draft.utterance.stop
    length = length or draft.stated or 0.0
    if length == 0.0:
        raise InputError("its container does not say how long it is; expected 'duration' in the manifest: add it")
    if start >= (stop if stop is not None else length):
        raise InputError(_backwards(start, stop if stop is not None else length))
    if stop is not None and stop > length + AGREES_SECONDS:
        raise InputError(f"stop {stop:g} s lies beyond the audio's end at {length:.2f} s: mend stop")
    return (length if stop is None else min(stop, length)) - start


def find_audio(audio: Any, fields: dict[str, Any], folder: str) -> StoredAudio:
    """A path, or encoded bytes, or datasets' dict of both. Raises InputError on anything else."""
    if audio.__class__ is str and 0 < len(audio) <= PATH_MAX and "\0" not in audio:
        return audio if not folder or os.path.isabs(audio) else folder + audio
    if audio is None:
        raise InputError(f"no 'audio' among {_listed_segments(fields)}; expected the path of an audio file: add it")
    if isinstance(audio, bytes):
        return audio
    if isinstance(audio, dict) and audio.keys() >= {"bytes", "path"}:
        content = audio["bytes"]
        return content if isinstance(content, bytes) else find_audio(audio["path"], fields, folder)
    raise InputError(f"'audio' is {_shown(audio)}; expected a path: mend it")


def _first(fields: dict[str, Any], keys: tuple[str, ...]) -> Any:
    for key in keys:
        value = fields.get(key)
        if value is not None:
            return value
    return None


def _duration(stated: float | None, start: float, stop: float | None) -> float | None:
    """Of the part, where the row alone tells it: a stated duration may be the part's or the whole file's."""
    if stated is None or (stop is None and start > 0.0):
        return None
    if stop is None:
        return stated
    if abs(stated - (stop - start)) <= AGREES_SECONDS:
        return stop - start
    if stop > stated + AGREES_SECONDS:
        raise InputError(f"stop {stop:g} s lies beyond the audio's end at {stated:.2f} s: mend stop or duration")
    return min(stop, stated) - start


def _backwards(start: float, end: float) -> str:
    return f"start {start:g} s is not before its end at {end:g} s: mend start and stop"


def _listed_segments(fields: dict[str, Any]) -> str:
    return ", ".join(map(repr, list(fields)[:20])) or "no fields"


def _seconds(fields: dict[str, Any], key: str) -> float | None:
    value = fields.get(key)
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0.0 <= value < LONGEST_SECONDS:
        return float(value)
    raise InputError(f"{key!r} is {_shown(value)}; expected seconds from 0 up: mend it")


def _shown(value: Any) -> str:
    """A value as a sentence has room for it; str() of an integer of thousands of digits would raise."""
    return "a huge number" if isinstance(value, int) and abs(value) >= HUGE else repr(value)[:80]


def _id(fields: dict[str, Any], audio: StoredAudio, start: float, stop: float | None) -> str:
    """As given; else the file's name without suffix, with the part's milliseconds where it is a part."""
    given = fields.get("id")
    if given.__class__ is str and given:
        return given
    given = _name(fields, ID_KEYS)
    if given:
        return given
    named = audio if not isinstance(audio, bytes) else _name(fields, ("path",)) or ""
    stem = os.path.splitext(os.path.basename(os.fspath(named)))[0]
    if start == 0.0 and stop is None:
        return stem
    return f"{stem}-{round(start * 1000):07d}" + ("" if stop is None else f"-{round(stop * 1000):07d}")


def _name(fields: dict[str, Any], keys: tuple[str, ...]) -> str | None:
    """A name or number as a string; equal ones share one object, for a corpus repeats its few speakers a lot."""
    for key in keys:
        value = fields.get(key)
        if value.__class__ is str:
            if value:
                return sys.intern(value)
        elif value is not None:
            if not isinstance(value, int | float) or isinstance(value, bool) or abs(value) >= HUGE:
                raise InputError(f"{key!r} is {_shown(value)}; expected a name: mend it")
            return sys.intern(str(value))
    return None


def _sex(fields: dict[str, Any]) -> str | None:
    name = _name(fields, SEX_KEYS)
    return name if name is None or name in ("F", "M") else SEXES.get(name.lower(), name)


def read_segments(listed: Any) -> tuple[Segment, ...]:
    """In order of time; they may overlap and leave gaps.

    >>> read_segments([{"start": 0, "end": 1.5, "text": "ONE TWO"}])
    (Segment(start=0.0, stop=1.5, text='ONE TWO'),)

    Raises InputError naming the first that is none.
    """
    if not isinstance(listed, list):
        raise InputError(f"'segments' is {_shown(listed)}; expected a list of {{start, stop, text}}: mend it")
    found: list[Segment] = []
    for number, fields in enumerate(listed, start=1):
        segment = _segment(number, fields)
        if found and segment.start < found[-1].start:
            raise InputError(
                f"segment {number} starts at {segment.start:g} s, before segment {number - 1} at "
                f"{found[-1].start:g} s; expected them in order of time: sort them"
            )
        found.append(segment)
    return tuple(found)


def within(utterance: Utterance) -> Utterance:
    """Itself. Raises InputError where a segment lies outside of it."""
    first, last = utterance.start - AGREES_SECONDS, utterance.start + utterance.duration + AGREES_SECONDS
    for number, segment in enumerate(utterance.segments, start=1):
        if segment.start < first or segment.stop > last:
            raise InputError(
                f"segment {number}, {segment.start:g} to {segment.stop:g} s, lies outside of the recording's "
                f"{utterance.start:g} to {utterance.start + utterance.duration:.2f} s: mend it, or the duration"
            )
    return utterance


def _segment(number: int, fields: Any) -> Segment:
    if not isinstance(fields, dict):
        raise InputError(f"segment {number} is {_shown(fields)}; expected {{start, stop, text}}: mend it")
    stop_key = "end" if fields.get("stop") is None and "end" in fields else "stop"
    start, stop = _segment_seconds(number, fields, "start"), _segment_seconds(number, fields, stop_key)
    if start >= stop:
        raise InputError(f"segment {number} starts at {start:g} s, not before its {stop_key} at {stop:g} s: mend it")
    text = fields.get("text")
    if not isinstance(text, str):
        raise InputError(f"segment {number} has the text {_shown(text)}; expected what was said, or '': mend it")
    return Segment(start, stop, text)


def _segment_seconds(number: int, fields: dict[str, Any], key: str) -> float:
    value = fields.get(key)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9:
        return float(value)
    raise InputError(f"segment {number} has the {key} {_shown(value)}; expected seconds from 0 up: mend it")
