"""Manifests, one utterance a line: JSON Lines, CSV (RFC 4180), and tab-separated values as Common Voice writes them.

JSON whose first line is no whole object is read as a whole: an array of objects, or objects written over several lines.

A CSV may be separated by commas, semicolons or tabs, as Excel writes it by country, and be UTF-8 or UTF-16. A field may
go on over several lines; a quote that is never closed costs its own line and no other. A TSV field is what stands
between two tabs, quotes included; only a field that a CSV writer quoted (an outer pair, every inner one doubled) loses
its quotes.
"""

import csv
import json
import os
import re
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from preprocessing.corpus.readers.rows import (
    AUDIO_KEYS,
    AUDIO_SUFFIXES,
    READ_KEYS,
    TEXT_KEYS,
    Row,
    Rows,
    byte_lines,
    folder_of,
    is_utf16,
    not_utf8,
)
from preprocessing.corpus.readers.times import NUMBER_KEYS
from preprocessing.errors import InputError

KNOWN_KEYS = READ_KEYS - {"segments", "words"} | {*NUMBER_KEYS}  # a table holds no lists
SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
MAX_RECORD_LINES = 1000  # of one row whose quoted field goes on over lines
SUFFIXES = (".jsonl", ".json", ".ndjson", ".csv", ".tsv")
SNIFFED_BYTES = 4096
_decode = json.JSONDecoder().decode  # what json.loads calls after looking at its arguments
_decode_from = json.JSONDecoder().raw_decode
_BLANKS = re.compile(r"[ \t\r\n]*")
_LINE_END = re.compile(r"\r\n?|\n")
ONE_OBJECT = "expected an array of objects, or one object a line: fix the file"
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def is_manifest(path: str) -> bool:
    """Whether the path is a file. What kind of manifest, or that it is none, `read_manifest` finds out."""
    return os.path.isfile(path)


def read_manifest(path: str) -> Rows:
    """The rows of a manifest: JSON Lines, CSV or TSV by its suffix, else by its first line.

        {"audio": "wav/1.flac", "text": "ONE TWO", "speaker": "ann", "duration": 1.52}

        [{"audio": "wav/1.flac", "text": "ONE TWO"},
         {"audio": "wav/2.flac", "text": ""}]

        path,sentence,client_id
        wav/1.flac,"one, two",ann

    Column names of a table may have capitals and spaces, and rows of empty cells are passed over. Audio paths are
    relative to the manifest's folder. Raises InputError when the file is no text or its header names no audio or no
    text.
    """
    try:
        kind = _kind(path)
        return Rows(folder_of(path), _json_rows(path)) if kind == ".jsonl" else read_table(path, tabs=kind == ".tsv")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; expected a readable manifest: fix its permissions") from None


def read_rows(path: str) -> Iterator[Row]:
    """The rows of a file in the formats of `read_manifest`, whatever fields they have.

    Raises OSError when the file cannot be read, InputError when it is no text or its header cannot be read.
    """
    kind = _kind(path)
    if kind == ".jsonl":
        return _json_rows(path)
    lines = _Lines(path)
    header, separator = _header(path, lines, "\t" if kind == ".tsv" else None)
    return _table_rows(path, lines, header, separator, separator != "\t" or kind == ".csv" or lines.is_utf16)


def read_table(path: str, *, tabs: bool) -> Rows:
    """The rows of a CSV or, with `tabs`, of a TSV. Raises InputError when its header names no audio or no text.

        path            sentence        client_id
        common_1.mp3    Guten Tag.      5f02

    A table of Common Voice (`client_id`, `path`) beside a folder clips/ has its audio in that.
    """
    lines = _Lines(path)
    written, separator = _header(path, lines, "\t" if tabs else None)
    header = _column_names(written)
    quoted = separator != "\t" or not tabs or lines.is_utf16  # Excel's "Unicode Text" quotes, Common Voice does not
    for keys, what in ((AUDIO_KEYS, "audio"), (TEXT_KEYS, "text")):
        if not set(keys) & set(header):
            columns = ", ".join(map(repr, written[:20])) or "none"
            raise InputError(
                f"{path}: columns {columns}, separated by {SEPARATORS[separator]}s; expected one with the {what}, "
                f"named {', '.join(keys)}: add or rename one"
            )
    twice = [name for name in dict.fromkeys(header) if name in KNOWN_KEYS and header.count(name) > 1]
    if twice:
        raise InputError(f"{path}: has {header.count(twice[0])} columns {twice[0]!r}; expected one: rename the others")
    folder = folder_of(path)
    if "client_id" in header and "path" in header and os.path.isdir(os.path.join(folder, "clips")):
        folder = os.path.join(folder, "clips", "")  # Common Voice
    return Rows(folder, _table_rows(path, lines, header, separator, quoted))


def _kind(path: str) -> str:
    """.jsonl, .csv or .tsv: by the suffix, else by the first line."""
    suffix = os.path.splitext(path)[1].lower()
    kind = suffix if suffix in SUFFIXES else _sniff(path)
    return kind if kind in (".csv", ".tsv") else ".jsonl"


def _sniff(path: str) -> str:
    first = _first_line(path)
    if first.startswith(b"PK\3\4"):
        raise InputError(
            f"{path}: a ZIP archive, as an Excel workbook (.xlsx) is one; expected a manifest (JSONL, CSV or TSV): in "
            "Excel, save it as 'CSV UTF-8'"
        )
    if first.startswith(b"\x1f\x8b"):
        raise InputError(f"{path}: gzipped; expected a manifest (JSONL, CSV or TSV) as it is: gunzip it")
    if b"\0" in first:
        raise InputError(
            f"{path}: not text; expected a manifest (JSONL, CSV or TSV), not audio itself: list the audio in one"
        )
    if first.startswith((b"{", b"[")) or not any(separator.encode() in first for separator in SEPARATORS):
        return ".jsonl"
    return ".tsv" if b"\t" in first else ".csv"


def _first_line(path: str) -> bytes:
    """The first line that is not blank in UTF-8, as far as it lies in the first SNIFFED_BYTES; all these with a NUL."""
    with open(path, "rb") as file:
        head = file.read(SNIFFED_BYTES)
    if is_utf16(head):
        head = head[: len(head) // 2 * 2].decode("utf-16", errors="replace").encode("utf-8", errors="replace")
    lines = head.removeprefix(b"\xef\xbb\xbf").strip().splitlines()
    return head if b"\0" in head else next(iter(lines), b"")


def _json_rows(path: str) -> Iterator[Row]:
    """One JSON object a line; blank lines are passed over. Or the objects of an array, or written over lines."""
    if _is_over_lines(path):
        yield from _rows_over_lines(path)
        return
    for number, line in byte_lines(path):
        if isinstance(line, str):
            yield Row(path, number, line)
        elif not line.isspace():
            yield Row(path, number, _json_fields(line))


def _json_fields(line: bytes) -> dict[str, Any] | str:
    try:
        text = line.decode("utf-8")
        return _checked(_decode(text), text)
    except UnicodeDecodeError as error:
        return not_utf8(error)
    except (ValueError, RecursionError) as error:  # ValueError: JSONDecodeError, and integers of thousands of digits
        return f"not JSON ({error}); expected one JSON object a line: correct the line"


def _checked(fields: Any, text: str) -> dict[str, Any] | str:
    """The fields, or the reason why `text` is none of a row."""
    if "\\u" in text and _SURROGATE.search(text):
        try:  # Half of a surrogate pair is no character, and could never be written again.
            json.dumps(fields, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return "an escape \\ud800 to \\udfff without its other half; expected whole characters: correct the line"
    if isinstance(fields, dict):
        return fields
    return f"a JSON {type(fields).__name__}; expected an object with 'audio' and 'text': fix it"


def _is_over_lines(path: str) -> bool:
    """Whether the file is an array, on one line or several, or begins with an object that goes on after its line."""
    begins = _first_line(path).rstrip()
    if not begins.startswith(b"[") and begins != b"{":
        return False
    lines = (line for _, line in byte_lines(path) if isinstance(line, str) or not line.isspace())
    first, second = next(lines, b""), next(lines, b"")
    if begins == b"{":
        return isinstance(second, bytes) and second.lstrip().startswith((b'"', b"}"))
    if not second or isinstance(first, str):
        return True
    read = _json_fields(first)
    return isinstance(read, str) and read.startswith("not JSON")


def _rows_over_lines(path: str) -> Iterator[Row]:
    """The objects of an array, or of a file of objects, each numbered by the line that it begins in.

    Raises InputError where the file is not UTF-8, or no JSON from some place on.
    """
    with open(path, "rb") as file:
        content = file.read()
    try:
        text = content.decode("utf-16" if is_utf16(content) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: {not_utf8(error)}") from None
    begin = _after_blanks(text, 0)
    is_array = text.startswith("[", begin)
    place, counted, number = _after_blanks(text, begin + is_array), 0, 1
    while place < len(text) and not (is_array and text[place] == "]"):
        number += len(_LINE_END.findall(text, counted, place))
        counted = place
        try:
            fields, end = _decode_from(text, place)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else error
            raise InputError(f"{path}: not JSON in the object of line {number} ({reason}); {ONE_OBJECT}") from None
        yield Row(path, number, _checked(fields, text[place:end]))
        place = _after_blanks(text, end)
        if is_array and text[place : place + 1] == ",":
            place = _after_blanks(text, place + 1)
        elif is_array and text[place : place + 1] != "]":
            raise InputError(f"{path}: neither ',' nor ']' after the object of line {number}; {ONE_OBJECT}")
    if is_array and text[place:].strip() != "]":
        raise InputError(f"{path}: more than one array, or one that is not closed; {ONE_OBJECT}")


def _after_blanks(text: str, place: int) -> int:
    blanks = _BLANKS.match(text, place)
    return place if blanks is None else blanks.end()


class _Lines(Iterator["tuple[int, str, str | None]"]):
    """The lines of a table: number, text, and the reason instead where it cannot be read. Lines can be put back.

    A byte that is not UTF-8 becomes a lone surrogate, found again in its field.
    """

    def __init__(self, path: str) -> None:
        with open(path, "rb") as file:
            self.is_utf16 = is_utf16(file.read(4))
        self._lines = byte_lines(path)
        self._waiting: deque[tuple[int, str, str | None]] = deque()

    def __next__(self) -> tuple[int, str, str | None]:
        if self._waiting:
            return self._waiting.popleft()
        number, line = next(self._lines)
        if isinstance(line, str):
            return number, "", line
        return number, line.decode("utf-8", errors="surrogateescape"), None

    def put_back(self, lines: Sequence[tuple[int, str, str | None]]) -> None:
        self._waiting.extendleft(reversed(lines))


class _QuoteNotClosedError(Exception):
    """A quoted field goes on after its line, where it cannot be meant to."""


def _header(path: str, lines: _Lines, separator: str | None) -> tuple[list[str], str]:
    """The column names, and what separates them: `separator`, else the one under which audio and text are named.

    Raises InputError where the first line cannot be read.
    """
    _, line, reason = next(lines, (1, "", None))
    if line[:4].lower() == "sep=" and len(line.strip()) == 5:  # Excel's own way of telling
        separator = line.strip()[4]
        _, line, reason = next(lines, (2, "", None))
        if separator not in SEPARATORS:
            raise InputError(f"{path}: separated by {separator!r}; expected {_enumerated()}: save it again")
    if "\0" in line:
        raise InputError(
            f"{path}: its header holds NUL bytes, as UTF-16 without a byte-order mark does; expected UTF-8, or UTF-16 "
            "with a mark: save it as UTF-8"
        )
    found: dict[str, list[str]] = {}
    for candidate in SEPARATORS if separator is None else (separator, *SEPARATORS):
        try:
            line.encode()
            if reason is None:
                found[candidate] = [name.strip() for name in _fields_of_line(line, candidate, quoted=True)]
        except _QuoteNotClosedError:
            reason = "a quote is not closed"
        except UnicodeEncodeError as error:
            reason = f"byte {error.start} is not UTF-8: convert the file"
        except csv.Error as error:
            reason = _why_unreadable(error)
    if not found:
        raise InputError(f"{path}: its header cannot be read ({reason}); expected column names: fix it")
    known = {key: set(_column_names(names)) for key, names in found.items()}
    named = [key for key, names in known.items() if {*AUDIO_KEYS} & names and {*TEXT_KEYS} & names]
    chosen = (named or sorted(found, key=lambda key: -len(found[key])))[0]
    return found[chosen], chosen


def _column_names(names: Sequence[str]) -> list[str]:
    """The names of a corpus's columns; known ones in lower case, with underscores for spaces, unless there is such a
    column, too.

    >>> _column_names(["Audio", "Text", "text", "Speaker ID", "Client ID", "Client_ID", "Accent"])
    ['audio', 'Text', 'text', 'speaker_id', 'Client ID', 'client_id', 'Accent']
    """
    lower = [name.lower() for name in names]
    keys = ["_".join(name.split()) for name in lower]
    return [
        key if key in KNOWN_KEYS and key not in names and (key == own or key not in lower) else name
        for key, own, name in zip(keys, lower, names, strict=True)
    ]


def _why_unreadable(error: csv.Error) -> str:
    return "a carriage return within a field" if "new-line" in str(error) else str(error)


def _enumerated() -> str:
    return ", ".join(f"a {name}" for name in SEPARATORS.values())


def _fields_of_line(line: str, separator: str, *, quoted: bool) -> list[str]:
    """The fields of a line that is a row of its own; quotes within one are read as leniently as Excel does.

    Raises _QuoteNotClosedError where a quoted field does not end in it, csv.Error where it cannot be read.
    """
    bare = line.rstrip("\r\n")
    if ('"' not in bare or not quoted) and "\r" not in bare:
        return bare.split(separator) if bare else []

    def alone() -> Iterator[str]:
        yield line
        raise _QuoteNotClosedError

    quoting: Any = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    return next(csv.reader(alone(), delimiter=separator, quoting=quoting))


def _fields_of_lines(lines: _Lines, first: str, header: Sequence[str], separator: str) -> list[str] | None:
    """The fields of a row that begins with the line `first` and goes on over further lines; None where a quote in
    `first` is not closed: the lines after it are then still to be read.

    A quote counts as closed where what follows it is a separator or the end of the line (RFC 4180) and no line in
    between is a row of its own.
    """
    taken: list[tuple[int, str, str | None]] = []

    def following() -> Iterator[str]:
        yield first
        for number, line, reason in lines:
            taken.append((number, line, reason))
            if reason is not None or len(taken) > MAX_RECORD_LINES or _is_row(line, header, separator):
                raise _QuoteNotClosedError
            yield line

    try:
        return next(csv.reader(following(), delimiter=separator, strict=True))
    except (csv.Error, _QuoteNotClosedError):
        lines.put_back(taken)
        return None


def _is_row(line: str, header: Sequence[str], separator: str) -> bool:
    """Whether a line has an audio and a text of its own, the audio named as audio files are."""
    try:
        cells = _fields_of_line(line, separator, quoted=True)
    except (csv.Error, _QuoteNotClosedError):
        cells = line.split(separator)
    named = dict(zip(header, cells, strict=False))
    suffixes = (os.path.splitext(named[key].strip('"\r\n'))[1].lower() for key in AUDIO_KEYS if key in named)
    return any(key in named for key in TEXT_KEYS) and any(suffix in AUDIO_SUFFIXES for suffix in suffixes)


def _table_rows(path: str, lines: _Lines, header: Sequence[str], separator: str, quoted: bool) -> Iterator[Row]:
    for number, line, reason in lines:
        if reason is not None:
            yield Row(path, number, reason)
            continue
        cells: list[str] | None
        try:
            cells = _fields_of_line(line, separator, quoted=quoted)
        except _QuoteNotClosedError:
            cells = _fields_of_lines(lines, line, header, separator)
            if cells is None:
                yield Row(path, number, 'quote not closed; expected one after the field: close it, or double it ("")')
                continue
        except csv.Error as error:
            why = _why_unreadable(error)
            yield Row(
                path, number, f"cannot be read ({why}); expected closed quotes and short fields: correct the line"
            )
            continue
        if any(map(str.strip, cells)):
            yield Row(path, number, _table_fields(header, cells, separator, quoted))


def _table_fields(header: Sequence[str], cells: list[str], separator: str, quoted: bool) -> dict[str, Any] | str:
    if len(cells) > len(header):
        return f"{len(cells)} fields under {len(header)} columns; expected one each: quote what holds a separator"
    joined = "".join(cells)
    if "\0" in joined:
        return "holds a NUL byte; expected text: remove it"
    if not joined.isascii():
        try:
            joined.encode()
        except UnicodeEncodeError as error:
            return (
                f"not UTF-8 in {joined[max(error.start - 10, 0) : error.start]!r}...; expected UTF-8: convert the file "
                "(in Excel, save as 'CSV UTF-8')"
            )
    if not quoted and '""' in joined:
        cells = [cell[1:-1].replace('""', '"') if _is_quoted(cell) else cell for cell in cells]
    fields: dict[str, Any] = dict(zip(header, cells, strict=False))
    for key in AUDIO_KEYS:
        if key in fields:
            fields[key] = fields[key].strip() or None
    if separator != ",":
        for key in NUMBER_KEYS:
            if key in fields:
                fields[key] = fields[key].replace(",", ".")  # 1,5
    return fields


def _is_quoted(cell: str) -> bool:
    """Written by a CSV writer: an outer pair of quotes and every inner one doubled."""
    inner = cell[1:-1]
    return len(cell) > 3 and cell[0] == cell[-1] == '"' and '""' in inner and '"' not in inner.replace('""', "")
