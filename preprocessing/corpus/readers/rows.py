"""What every corpus reader is made of: `Reader`, `Rows`, and the way from a row's fields to an `Utterance`.

A reader gives rows: a dict of fields under the names that corpora use, or the reason why a line has none. `read_fields`
makes an utterance of the dict, whatever its keys are called. The lower half reads lines, one at a time, and lists
folders. No audio is opened here.
"""

import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, NamedTuple
from unicodedata import normalize

from preprocessing.audio import StoredAudio
from preprocessing.cli.notes import note_once
from preprocessing.corpus.readers.times import (
    MAX_NUMBER,
    MAX_SECONDS,
    Draft,
    names_time,
    read_segments,
    read_times,
    read_words,
    shortened,
    stated_seconds,
    with_checked_segments,
)
from preprocessing.corpus.utterance import Utterance
from preprocessing.errors import InputError

# Names that corpora use, the first that a row has a value under counts.
TEXT_KEYS = ("text", "transcription", "transcript", "sentence", "normalized_text")
AUDIO_KEYS = ("audio", "file_name", "audio_filepath", "audio_path", "path", "file", "filename", "wav")
ID_KEYS = ("id", "utterance_id", "utt_id")
SPEAKER_KEYS = ("speaker", "speaker_id", "client_id")
SEX_KEYS = ("sex", "gender")
LANGUAGE_KEYS = ("language", "locale", "lang")
DOMAIN_KEYS = ("domain",)
RECORDING_KEYS = ("recording_id",)
READ_KEYS = frozenset(
    (
        *TEXT_KEYS,
        *AUDIO_KEYS,
        *ID_KEYS,
        *SPEAKER_KEYS,
        *SEX_KEYS,
        *LANGUAGE_KEYS,
        *DOMAIN_KEYS,
        *RECORDING_KEYS,
        "channel",
    )
) | {"segments", "words"}  # beside the names of times
SEXES = {
    **dict.fromkeys(("f", "female", "female_feminine", "woman", "w"), "F"),
    **dict.fromkeys(("m", "male", "male_masculine", "man"), "M"),
}
SIDES = {"left": 0, "right": 1}  # channels of a WAV file
AUDIO_SUFFIXES = frozenset(
    (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".aiff", ".aif", ".webm", ".wma", ".mp4", ".sph",
     ".w64", ".au", ".caf", ".amr", ".3gp", ".mka", ".mkv", ".mov", ".m4b", ".ac3", ".wv", ".ape", ".tta", ".mp2")
)  # fmt: skip
MAX_LINE_BYTES = 2**20  # a manifest's line; an hour's transcript is about 50 kB
MAX_PATH_BYTES = 4096  # PATH_MAX of Linux
MAX_CHANNELS = 1000


class Row(NamedTuple):
    """One line of a corpus: its fields by name, or the reason (a sentence) why it has none.

    source: the file or `hf:` reference it is in. number: the line, from 1, or the index in a dataset, from 0.
    """

    source: str
    number: int
    fields: dict[str, Any] | str


class Rows(NamedTuple):
    """The rows of a corpus in their order. Relative audio paths are relative to `folder`.

    of_dataset: each row may hold its audio, so that reading all takes long, and several may have one id, that of a
    sentence: `open_corpus` numbers the others.
    """

    folder: str  # with its separator at the end, or ""
    rows: Iterator[Row]
    of_dataset: bool = False


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
        stated = stated_seconds(fields)
    start, stop, duration, unread_start = read_times(fields, stated)
    channel = _channel(fields["channel"]) if "channel" in fields else None
    utterance = Utterance(
        _id(fields, audio, start, stop, channel),
        audio,
        text,
        duration or 0.0,
        _speaker(fields),
        _sex(fields),
        _name(fields, LANGUAGE_KEYS),
        _name(fields, DOMAIN_KEYS),
        start,
        stop,
        channel=channel,
        recording_id=_composed(_name(fields, RECORDING_KEYS)) if "recording_id" in fields else None,
    )
    segments = get("segments")
    if segments:
        utterance = replace(utterance, segments=read_segments(segments))
    words = get("words")
    if words.__class__ is list and words and words[0].__class__ is dict:  # a list of strings is another field
        utterance = replace(utterance, words=read_words(words, utterance.text))
    if duration is None:
        return Draft(utterance, stated, unread_start)
    return with_checked_segments(utterance) if utterance.segments or utterance.words else utterance


def with_columns(parsed: Utterance | Draft, fields: dict[str, Any], names: Sequence[str] | None) -> Utterance | Draft:
    """The utterance or draft of a row with the values of some of its columns; one without a value is left out.

    names: None takes all columns that are not read into another field.
    """
    if names is None:
        names = [name for name in fields if name not in READ_KEYS and not names_time(name)]
    values = ((name, _column(fields.get(name))) for name in names)
    columns = tuple((name, value) for name, value in values if value)
    if isinstance(parsed, Draft):
        return parsed._replace(utterance=replace(parsed.utterance, columns=columns))
    return replace(parsed, columns=columns)


def _column(value: Any) -> str:
    """A value as text; "" where there is none, or it is no text or number.

    >>> _column(" Bavarian "), _column(23.0), _column(True), _column(float("nan")), _column(None)
    ('Bavarian', '23', 'true', '', '')
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return sys.intern(value.strip())
    if not isinstance(value, int | float) or value != value:
        return ""
    return str(int(value) if abs(value) < MAX_NUMBER and value == int(value) else value)


def _first_value(fields: dict[str, Any], keys: tuple[str, ...]) -> Any:
    for key in keys:
        value = fields.get(key)
        if value is not None:
            return value
    return None


def _text(fields: dict[str, Any]) -> str:
    text = _first_value(fields, TEXT_KEYS)
    if text is None and fields.get("segments"):
        raise InputError(
            f"'segments' without a 'text' among {_field_names(fields)}; expected the text of all of them, or each "
            "segment on a line of its own with 'audio', 'start' and 'stop': add the text, or write the lines"
        )
    if text is None:
        raise InputError(f"no 'text' among {_field_names(fields)}; expected what was said: add it, or '' for silence")
    if isinstance(text, int) and not isinstance(text, bool) and abs(text) < MAX_NUMBER:
        return str(text)  # a number that was said, as pandas writes it
    if not isinstance(text, str):
        raise InputError(f"the text is {shortened(text)}; expected a string, '' for silence: write what was said")
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
    raise InputError(f"'audio' is {shortened(audio)}; expected a path: fix it")


def _channel(value: Any) -> int | None:
    """A channel's number, from 0; None where "channel" says something else in words, as how a call came in.

    Raises InputError on a number that no channel has: all channels would be mixed instead.
    """
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        value = value.strip().lower()
        if value in SIDES:
            return SIDES[value]
        try:
            value = float(value)
        except ValueError:
            note = (
                f"'channel' is {value[:80]!r}, neither a number from 0 nor left or right: all channels are mixed there"
            )
            if value:
                note_once("channel in words", note)
            return None
    if value is None or isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return None
    if not 0 <= value < MAX_CHANNELS or value != int(value):
        raise InputError(f"'channel' is {shortened(value)}; expected its number, from 0: fix it, or leave it out")
    return int(value)


def _id(fields: dict[str, Any], audio: StoredAudio, start: float, stop: float | None, channel: int | None) -> str:
    """As given; else the file's name without suffix, with its channel and the part's milliseconds where it has them."""
    given = _name(fields, ID_KEYS, interned=False)
    if given:
        return given
    named = audio if not isinstance(audio, bytes) else _name(fields, ("path",)) or ""
    stem = os.path.splitext(os.path.basename(os.fspath(named)))[0]
    stem = stem if channel is None else f"{stem}-{channel}"
    if start == 0.0 and stop is None:
        return stem
    return f"{stem}-{round(start * 1000):07d}" + ("" if stop is None else f"-{round(stop * 1000):07d}")


def has_id(fields: dict[str, Any]) -> bool:
    """Whether a row gives an id; what it gives may still be no name."""
    for key in ID_KEYS:
        value = fields.get(key)
        if value is not None and (value.__class__ is not str or value.strip()):
            return True
    return False


def _name(fields: dict[str, Any], keys: tuple[str, ...], *, interned: bool = True) -> str | None:
    """A name or number as a string, without white space around it; None of an empty one, and of NaN, as pandas marks
    what is missing. A whole number is written without a point: it becomes one with a point where others are missing.

    interned: equal names share one object, for a corpus repeats its few speakers a lot.
    """
    for key in keys:
        value = fields.get(key)
        if value.__class__ is str:
            name = value.strip()
            if not name:
                continue
        elif value is None or value != value:
            continue
        elif not isinstance(value, int | float) or isinstance(value, bool) or abs(value) >= MAX_NUMBER:
            raise InputError(f"{key!r} is {shortened(value)}; expected a name: fix it")
        else:
            name = str(int(value) if value == int(value) else value)
        return sys.intern(name) if interned else name
    return None


def _speaker(fields: dict[str, Any]) -> str | None:
    name = _name(fields, SPEAKER_KEYS)
    if name is not None and name.endswith(".0") and name[:-2].isdecimal():  # as pandas writes a column with gaps
        return sys.intern(name[:-2])
    return _composed(name)


def _composed(name: str | None) -> str | None:
    """A name in one form (Unicode's NFC): é may be one code or e with an accent, and a name in both would be two."""
    return name if name is None or name.isascii() else sys.intern(normalize("NFC", name))


def _sex(fields: dict[str, Any]) -> str | None:
    name = _name(fields, SEX_KEYS)
    return name if name is None or name in ("F", "M") else SEXES.get(name.lower(), name)


def _field_names(fields: dict[str, Any]) -> str:
    return ", ".join(map(repr, list(fields)[:20])) or "no fields"


def folder_of(path: str) -> str:
    """The folder that a file is in, as `Rows.folder` wants it.

    >>> folder_of("corpus/train.jsonl"), folder_of("train.jsonl"), folder_of("/train.jsonl")
    ('corpus/', '', '/')
    """
    return os.path.join(os.path.dirname(path), "")


def byte_lines(path: str) -> Iterator[tuple[int, bytes | str]]:
    """The lines of a file in UTF-8 with their numbers from 1; a reason instead of a line longer than MAX_LINE_BYTES.

    A byte-order mark is removed; a file marked as UTF-16 is converted; a file whose first line ends in CR alone, as of
    an old Mac, has lines that end so. Memory stays that of one line, whatever the file is.
    """
    with open(path, "rb") as binary:
        file: Any = _lines_of(binary)
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


def _lines_of(binary: io.BufferedReader) -> "io.BufferedReader | TranscodedLines":
    """The file to read line by line: itself where it is UTF-8 whose lines end in LF."""
    is_16 = is_utf16(binary.peek(4))
    transcoded = TranscodedLines(binary, "utf-16", "\n") if is_16 else None
    first = (transcoded or binary).readline(MAX_LINE_BYTES)
    if transcoded is not None:
        transcoded.detach()
    ends_in_cr = b"\r" in first and not first.endswith(b"\n")
    binary.seek(0)
    if is_16 or ends_in_cr:
        return TranscodedLines(binary, "utf-16" if is_16 else "utf-8", "\r" if ends_in_cr else "\n")
    return binary


class TranscodedLines:
    """A binary file read line by line as UTF-8, each line but the last with "\\n" at its end.

    encoding: utf-16, whose byte-order mark is left out, or utf-8. newline: how lines end in the file, "\\n" or "\\r".
    Half a surrogate pair, and a last character that is cut, become bytes that are not UTF-8.
    """

    def __init__(self, binary: BinaryIO, encoding: str, newline: str) -> None:
        # What is no text of the encoding has to come through, as bytes that are not UTF-8.
        self._errors = "surrogatepass" if encoding == "utf-16" else "surrogateescape"
        self._newline = newline
        self._file = io.TextIOWrapper(binary, encoding=encoding, errors=self._errors, newline=newline)

    def readline(self, limit: int) -> bytes:
        """The next line in UTF-8, of at most `limit` characters; b"" after the last."""
        try:
            line = self._file.readline(limit)
        except UnicodeDecodeError:
            self._file.detach().read()  # nothing is left
            self._file = io.TextIOWrapper(io.BytesIO())
            return b"\xff"
        if line.endswith(self._newline):
            line = line[:-1] + "\n"
        return line.encode("utf-8", errors=self._errors)

    def detach(self) -> None:
        """Leave the binary file open, somewhere beyond the lines that were read."""
        self._file.detach()


def text_lines(path: str, *, whole: bool = False) -> Iterator[tuple[int, str, str | None]]:
    """Number, text without white space at its ends, and None; or number, "" and the reason why the line cannot be read.

    Blank lines are left out. whole: they are not, and of a line only its end is removed.
    """
    for number, line in byte_lines(path):
        if isinstance(line, str):
            yield number, "", line
            continue
        try:
            text = line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            yield number, "", not_utf8(error)
        else:
            if whole or (text := text.strip()):
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
