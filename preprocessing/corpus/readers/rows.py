"""What every corpus reader is made of: `Reader`, `Rows`, and the way from a row's fields to an `Utterance`.

A reader gives rows: a dict of fields under the names that corpora use, or the reason why a line has none. `read_fields`
makes an utterance of the dict, whatever its keys are called. The lower half reads lines, one at a time, and lists
folders. No audio is opened here.
"""

import io
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, NamedTuple

from preprocessing.audio import StoredAudio
from preprocessing.cli.errors import InputError
from preprocessing.corpus.utterance import Segment, Utterance

# Names that corpora use, the first that a row has a value under counts.
TEXT_KEYS = ("text", "transcription", "transcript", "sentence", "normalized_text")
AUDIO_KEYS = ("audio", "file_name", "audio_filepath", "audio_path", "path", "file", "filename", "wav")
ID_KEYS = ("id", "utterance_id", "utt_id")
SPEAKER_KEYS = ("speaker", "speaker_id", "client_id")
SEX_KEYS = ("sex", "gender")
LANGUAGE_KEYS = ("language", "locale", "lang")
DOMAIN_KEYS = ("domain",)
SEXES = {
    **dict.fromkeys(("f", "female", "female_feminine", "woman", "w"), "F"),
    **dict.fromkeys(("m", "male", "male_masculine", "man"), "M"),
}
AUDIO_SUFFIXES = frozenset(
    (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".aiff", ".aif", ".webm", ".wma", ".mp4", ".sph",
     ".w64", ".au", ".caf", ".amr", ".3gp", ".mka", ".mkv", ".mov", ".m4b", ".ac3", ".wv", ".ape", ".tta", ".mp2")
)  # fmt: skip
MAX_LINE_BYTES = 2**20  # a manifest's line; an hour's transcript is about 50 kB
MAX_PATH_BYTES = 4096  # PATH_MAX of Linux
MAX_SECONDS = 1e9  # thirty years
MAX_NAME_NUMBER = 10**40  # no id or speaker has so many digits
TOLERANCE_SECONDS = 0.1  # how far start, stop, segments and the length of the audio may lie apart


class Row(NamedTuple):
    """One line of a corpus: its fields by name, or the reason (a sentence) why it has none.

    source: the file or `hf:` reference it is in. number: the line, from 1, or the index in a dataset, from 0.
    """

    source: str
    number: int
    fields: dict[str, Any] | str


class Rows(NamedTuple):
    """The rows of a corpus in their order. Relative audio paths are relative to `folder`."""

    folder: str  # with its separator at the end, or ""
    rows: Iterator[Row]


def _no_splits(folder: str) -> list[str]:
    return []


@dataclass(frozen=True)
class Reader:
    """One layout of a corpus: how it is recognised and read. Registered in `preprocessing.corpus.readers.READERS`.

    name: what messages call the layout: "a Kaldi data folder (wav.scp)".
    detects: whether a reference (a path, existing or not, or `hf:...`) has this layout.
    read: the rows of a reference that it detects.
    splits: names of the folders inside a folder that are corpora of this layout, as train/ and test/ are. A folder with
        one is read as that one; a folder with several is refused.
    is_fallback: asked only about what no other reader detects.
    """

    name: str
    detects: Callable[[str], bool]
    read: Callable[[str], Rows]
    splits: Callable[[str], list[str]] = _no_splits
    is_fallback: bool = False


class Draft(NamedTuple):
    """An utterance whose duration is not known before its audio's header is read (`duration_of_part`)."""

    utterance: Utterance
    stated_seconds: float | None  # by the row, of the part or of the whole file


def read_fields(fields: dict[str, Any], folder: str) -> Utterance | Draft:
    """The utterance of a row, or its Draft where the row does not say how long it is. Opens no file.

    folder: what relative paths are relative to, with its separator at the end, or "".
    Raises InputError with the reason when the fields make no utterance.
    """
    # The usual keys and types are tried first: a million rows pass here.
    get = fields.get
    text = get("text")
    if text.__class__ is not str:
        text = _text(fields)
    audio = get("audio")
    if audio.__class__ is not str or not 0 < len(audio) <= MAX_PATH_BYTES or "\0" in audio:
        audio = _audio(_first_value(fields, AUDIO_KEYS), fields, folder)
    elif folder and audio[0] != "/":
        audio = folder + audio
    stated = get("duration")
    if stated.__class__ is not float or not 0.0 < stated < MAX_SECONDS:
        stated = _stated_seconds(fields)
    if "start" in fields or "stop" in fields or "offset" in fields:
        start, stop = _start_and_stop(fields, stated)
        duration = _duration(stated, start, stop)
    else:
        start, stop, duration = 0.0, None, stated
    channel = _channel(fields["channel"]) if "channel" in fields else None
    utterance = Utterance(
        _id(fields, audio, start, stop, channel),
        audio,
        text,
        duration or 0.0,
        _name(fields, SPEAKER_KEYS),
        _sex(fields),
        _name(fields, LANGUAGE_KEYS),
        _name(fields, DOMAIN_KEYS),
        start,
        stop,
        channel=channel,
    )
    segments = get("segments")
    if segments:
        utterance = replace(utterance, segments=read_segments(segments))
    words = get("words")
    if words.__class__ is list and words and words[0].__class__ is dict:  # a list of strings is another field
        utterance = replace(utterance, words=read_words(words, utterance.text))
    if utterance.segments or utterance.words:
        return Draft(utterance, stated) if duration is None else with_checked_segments(utterance)
    return Draft(utterance, stated) if duration is None else utterance


def duration_of_part(draft: Draft, audio_seconds: float) -> float:
    """Seconds between the draft's start and stop in audio of `audio_seconds`.

    Raises InputError when start and stop do not lie within the audio, or it holds nothing.
    """
    start, stop = draft.utterance.start, draft.utterance.stop
    total = audio_seconds or draft.stated_seconds or 0.0
    if total == 0.0:
        raise InputError("its audio holds no samples; expected at least one: record or export it again")
    if start >= (stop if stop is not None else total):
        raise InputError(_start_after_end(start, stop if stop is not None else total))
    if stop is not None and stop > total + TOLERANCE_SECONDS:
        raise InputError(f"stop {stop:g} s lies beyond the audio's end at {total:.2f} s: correct stop")
    return (total if stop is None else min(stop, total)) - start


def read_segments(listed: Any) -> tuple[Segment, ...]:
    """The segments of a `segments` field, in order of time; they may overlap and leave gaps.

    >>> read_segments([{"start": 0, "end": 1.5, "text": "ONE TWO"}])
    (Segment(start=0.0, stop=1.5, text='ONE TWO'),)

    Raises InputError naming the first that is none.
    """
    if not isinstance(listed, list):
        raise InputError(f"'segments' is {_short(listed)}; expected a list of {{start, stop, text}}: fix it")
    return _in_order(listed, "segment", "text")


def read_words(listed: list[Any], text: str) -> tuple[Segment, ...]:
    """The words of a `words` field with their true times; one without letters, as for a pause, is left out.

    >>> read_words([{"word": "One", "start": 0, "end": 0.4}, {"word": "two", "start": 0.5, "end": 1}], "One, two.")
    (Segment(start=0.0, stop=0.4, text='One'), Segment(start=0.5, stop=1.0, text='two'))

    Raises InputError naming the first that is none, and where the words have other letters than `text`.
    """
    words = tuple(word for word in _in_order(listed, "word", "word") if _letters(word.text))
    spelled = "".join(_letters(word.text) for word in words)
    if spelled != _letters(text):
        raise InputError(
            f"'words' spell {_short(' '.join(word.text.strip() for word in words))}, the text is {_short(text)}; "
            "expected the same letters in both: correct one of them, or leave 'words' out"
        )
    return words


def with_checked_segments(utterance: Utterance) -> Utterance:
    """The utterance itself. Raises InputError where a segment or a word lies outside of it."""
    first, last = utterance.start - TOLERANCE_SECONDS, utterance.start + utterance.duration + TOLERANCE_SECONDS
    for kind, parts in (("segment", utterance.segments), ("word", utterance.words)):
        for number, part in enumerate(parts, start=1):
            if part.start < first or part.stop > last:
                raise InputError(
                    f"{kind} {number}, {part.start:g} to {part.stop:g} s, lies outside of the recording's "
                    f"{utterance.start:g} to {utterance.start + utterance.duration:.2f} s: fix it, or the duration"
                )
    return utterance


def _first_value(fields: dict[str, Any], keys: tuple[str, ...]) -> Any:
    for key in keys:
        value = fields.get(key)
        if value is not None:
            return value
    return None


def _text(fields: dict[str, Any]) -> str:
    text = _first_value(fields, TEXT_KEYS)
    if not isinstance(text, str):
        raise InputError(f"no 'text' among {_field_names(fields)}; expected what was said: add it, or '' for silence")
    return text


def _audio(audio: Any, fields: dict[str, Any], folder: str) -> StoredAudio:
    """A path, or encoded bytes, or datasets' dict of both. Raises InputError on anything else."""
    if audio.__class__ is str and 0 < len(audio) <= MAX_PATH_BYTES and "\0" not in audio:
        return audio if not folder or os.path.isabs(audio) else folder + audio
    if audio is None:
        raise InputError(f"no 'audio' among {_field_names(fields)}; expected the path of an audio file: add it")
    if isinstance(audio, bytes):
        return audio
    if isinstance(audio, dict) and audio.keys() >= {"bytes", "path"}:
        content = audio["bytes"]
        return content if isinstance(content, bytes) else _audio(audio["path"], fields, folder)
    raise InputError(f"'audio' is {_short(audio)}; expected a path: fix it")


def _stated_seconds(fields: dict[str, Any]) -> float | None:
    stated = _seconds(fields, "duration")
    if stated == 0.0:
        raise InputError("'duration' is 0; expected seconds above 0: fix it, or leave it out")
    return stated


def _start_and_stop(fields: dict[str, Any], stated: float | None) -> tuple[float, float | None]:
    start, stop = _seconds(fields, "start"), _seconds(fields, "stop")
    offset = None if start is not None else _seconds(fields, "offset")
    if offset is not None:  # NeMo's manifests: `duration` seconds from `offset` on
        start, stop = offset, None if stated is None else offset + stated
    if stop is not None and (start or 0.0) >= stop:
        raise InputError(_start_after_end(start or 0.0, stop))
    return start or 0.0, stop


def _duration(stated: float | None, start: float, stop: float | None) -> float | None:
    """Of the part, where the row alone gives it: a stated duration may be the part's or the whole file's."""
    if stated is None or (stop is None and start > 0.0):
        return None
    if stop is None:
        return stated
    if abs(stated - (stop - start)) <= TOLERANCE_SECONDS:
        return stop - start
    if stop > stated + TOLERANCE_SECONDS:
        raise InputError(f"stop {stop:g} s lies beyond the audio's end at {stated:.2f} s: correct stop or duration")
    return min(stop, stated) - start


def _start_after_end(start: float, end: float) -> str:
    return f"start {start:g} s is not before its end at {end:g} s: correct start and stop"


def _channel(value: Any) -> int | None:
    """A channel's number, from 0; None of anything else, as "channel" may also say how a call came in."""
    if isinstance(value, str):
        value = int(value) if value.isdecimal() and len(value) < 4 else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _id(fields: dict[str, Any], audio: StoredAudio, start: float, stop: float | None, channel: int | None) -> str:
    """As given; else the file's name without suffix, with its channel and the part's milliseconds where it has them."""
    given = fields.get("id")
    if given.__class__ is str and given:
        return given
    given = _name(fields, ID_KEYS)
    if given:
        return given
    named = audio if not isinstance(audio, bytes) else _name(fields, ("path",)) or ""
    stem = os.path.splitext(os.path.basename(os.fspath(named)))[0]
    stem = stem if channel is None else f"{stem}-{channel}"
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
            if not isinstance(value, int | float) or isinstance(value, bool) or abs(value) >= MAX_NAME_NUMBER:
                raise InputError(f"{key!r} is {_short(value)}; expected a name: fix it")
            return sys.intern(str(value))
    return None


def _sex(fields: dict[str, Any]) -> str | None:
    name = _name(fields, SEX_KEYS)
    return name if name is None or name in ("F", "M") else SEXES.get(name.lower(), name)


def _in_order(listed: list[Any], kind: str, text_key: str) -> tuple[Segment, ...]:
    """Segments or words, each a dict. Raises InputError naming the first that is none, or out of order."""
    parts: list[Segment] = []
    for number, fields in enumerate(listed, start=1):
        part = _segment(kind, number, fields, text_key)
        if parts and part.start < parts[-1].start:
            raise InputError(
                f"{kind} {number} starts at {part.start:g} s, before {kind} {number - 1} at {parts[-1].start:g} s; "
                "expected them in order of time: sort them"
            )
        parts.append(part)
    return tuple(parts)


def _segment(kind: str, number: int, fields: Any, text_key: str) -> Segment:
    if not isinstance(fields, dict):
        raise InputError(f"{kind} {number} is {_short(fields)}; expected {{start, stop, {text_key}}}: fix it")
    stop_key = "end" if fields.get("stop") is None and "end" in fields else "stop"
    for key in ("start", stop_key):
        if not _is_seconds(fields.get(key)):
            raise InputError(
                f"{kind} {number} has the {key} {_short(fields.get(key))}; expected seconds from 0 up: fix it"
            )
    start, stop, text = float(fields["start"]), float(fields[stop_key]), fields.get(text_key)
    if start >= stop:
        raise InputError(f"{kind} {number} starts at {start:g} s, not before its {stop_key} at {stop:g} s: fix it")
    if not isinstance(text, str):
        raise InputError(f"{kind} {number} has the {text_key} {_short(text)}; expected what was said, or '': fix it")
    return Segment(start, stop, text)


def _letters(text: str) -> str:
    """What two spellings of a text share: its letters and figures in one case, without spaces and punctuation."""
    return "".join(symbol for symbol in text.casefold() if symbol.isalnum())


def _seconds(fields: dict[str, Any], key: str) -> float | None:
    value = fields.get(key)
    if value is None:
        return None
    if not _is_seconds(value):
        raise InputError(f"{key!r} is {_short(value)}; expected seconds from 0 up: fix it")
    return float(value)


def _is_seconds(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0.0 <= value < MAX_SECONDS


def _field_names(fields: dict[str, Any]) -> str:
    return ", ".join(map(repr, list(fields)[:20])) or "no fields"


def _short(value: Any) -> str:
    """A value as a message has room for it; str() of an integer of thousands of digits would raise."""
    return "a huge number" if isinstance(value, int) and abs(value) >= MAX_NAME_NUMBER else repr(value)[:80]


def folder_of(path: str) -> str:
    """The folder that a file is in, as `Rows.folder` wants it.

    >>> folder_of("corpus/train.jsonl"), folder_of("train.jsonl"), folder_of("/train.jsonl")
    ('corpus/', '', '/')
    """
    return os.path.join(os.path.dirname(path), "")


def byte_lines(path: str) -> Iterator[tuple[int, bytes | str]]:
    """The lines of a file in UTF-8 with their numbers from 1; a reason instead of a line longer than MAX_LINE_BYTES.

    A byte-order mark is removed; a file marked as UTF-16 is converted. Memory stays that of one line, whatever the file
    is.
    """
    with open(path, "rb") as binary:
        file: Any = Utf16Lines(binary) if is_utf16(binary.peek(4)) else binary
        number = 0
        while line := file.readline(MAX_LINE_BYTES):
            number += 1
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if len(line) >= MAX_LINE_BYTES and not line.endswith(b"\n"):
                while (more := file.readline(MAX_LINE_BYTES)) and not more.endswith(b"\n"):
                    pass
                yield (
                    number,
                    f"a line of over {MAX_LINE_BYTES // 2**20} MiB; expected one utterance: correct the line",
                )
            else:
                yield number, line


def is_utf16(head: bytes) -> bool:
    """Whether the first bytes of a file are the byte-order mark of UTF-16 (and not of UTF-32)."""
    return head[:2] in (b"\xff\xfe", b"\xfe\xff") and head[2:4] != b"\0\0"


class Utf16Lines:
    """A binary file that begins with a byte-order mark of UTF-16, read line by line as UTF-8 without the mark.

    Half a surrogate pair, and a last character that is cut, become bytes that are not UTF-8.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = io.TextIOWrapper(file, encoding="utf-16", errors="surrogatepass", newline="\n")

    def readline(self, limit: int) -> bytes:
        """The next line in UTF-8, of at most `limit` characters; b"" after the last."""
        try:
            return self._file.readline(limit).encode("utf-8", errors="surrogatepass")
        except UnicodeDecodeError:
            self._file.detach().read()  # nothing is left
            self._file = io.TextIOWrapper(io.BytesIO())
            return b"\xff"


def text_lines(path: str) -> Iterator[tuple[int, str, str | None]]:
    """Number, text, and None; or number, "" and the reason why the line cannot be read. Blank lines are left out."""
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
    """The reason of a reject whose line is not UTF-8."""
    return f"not UTF-8 at byte {error.start}; expected UTF-8: convert the file"


def folders_in(folder: str) -> list[str]:
    """Paths of the folders in a folder, sorted; [] where it is none. A link onto itself is no folder."""
    return [path for path, is_folder in _entries(folder) if is_folder] if os.path.isdir(folder) else []


def files_below(folder: str) -> Iterator[str]:
    """Every file below a folder in sorted order; links are followed, and one that leads back is entered once."""
    entered: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        try:
            status = os.stat(here)
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            entries = _entries(here)
        except OSError as error:
            raise InputError(f"{here}: {error.strerror}; expected a readable folder: fix its permissions") from None
        yield from (path for path, is_folder in entries if not is_folder)
        waiting += [path for path, is_folder in reversed(entries) if is_folder]


def _entries(folder: str) -> list[tuple[str, bool]]:
    """Paths of the files and folders in a folder, sorted, each with whether it is a folder."""
    entries = []
    with os.scandir(folder) as scanned:
        for entry in scanned:
            try:
                is_folder = entry.is_dir()
                if is_folder or entry.is_file():
                    entries.append((entry.path, is_folder))
            except OSError:  # a link onto itself
                continue
    return sorted(entries)
