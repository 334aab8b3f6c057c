"""Manifests, one utterance a line: JSON Lines, CSV, and tab-separated as Common Voice writes it.

CSV follows RFC 4180. A TSV field is what stands between two tabs; doubled quotes inside an outer pair are undone.
"""

import csv
import json
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

from preprocessing.cli.errors import InputError
from preprocessing.corpus.readers.rows import AUDIO_KEYS, TEXT_KEYS, Row, Rows, beside, byte_lines, not_utf8

NUMBERS = ("start", "stop", "duration", "offset")
SNIFFED_BYTES = 4096
_decode = json.JSONDecoder().decode  # what json.loads calls after looking at its arguments
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read_manifest(path: str) -> Rows:
    """By its suffix, else by its first line. Raises InputError when the file is none or lacks the columns needed."""
    kind = os.path.splitext(path)[1].lower()
    try:
        if kind not in (".jsonl", ".json", ".ndjson", ".csv", ".tsv"):
            kind = _sniff(path)
        if kind not in (".csv", ".tsv"):
            return Rows(beside(path), json_rows(path))
        return table_rows(path, tabs=kind == ".tsv")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; expected a readable manifest: mend its permissions") from None


def _sniff(path: str) -> str:
    with open(path, "rb") as file:
        head = file.read(SNIFFED_BYTES)
    if b"\0" in head:
        raise InputError(
            f"{path}: not text; expected a manifest (JSONL, CSV or TSV), not audio itself: list the audio in one"
        )
    first = head.removeprefix(b"\xef\xbb\xbf").lstrip().split(b"\n", 1)[0]
    if first.startswith((b"{", b"[")) or (b"\t" not in first and b"," not in first):
        return ".jsonl"
    return ".tsv" if b"\t" in first else ".csv"


def json_rows(path: str) -> Iterator[Row]:
    """One JSON object a line; blank lines are passed over."""
    for number, line in byte_lines(path):
        if isinstance(line, str):
            yield Row(path, number, line)
        elif not line.isspace():
            yield Row(path, number, _json_fields(line))


def _json_fields(line: bytes) -> dict[str, Any] | str:
    try:
        text = line.decode("utf-8")
        fields = _decode(text)
        if "\\u" in text and _SURROGATE.search(
            text
        ):  # half of a surrogate pair is no character, and could never be written again
            json.dumps(fields, ensure_ascii=False).encode()
    except UnicodeDecodeError as error:
        return not_utf8(error)
    except UnicodeEncodeError:
        return "an escape \\ud800 to \\udfff without its other half; expected whole characters: mend the line"
    except (ValueError, RecursionError) as error:  # ValueError: JSONDecodeError, and integers of thousands of digits
        return f"not JSON ({error}); expected one JSON object a line: mend the line"
    if isinstance(fields, dict):
        return fields
    return f"a JSON {type(fields).__name__}; expected an object with 'audio' and 'text': mend it"


def table_rows(path: str, *, tabs: bool) -> Rows:
    """A CSV or TSV with a header. Raises InputError when the header names no audio or no text."""
    overlong: list[tuple[int, str]] = []
    if tabs:
        reader = csv.reader(_decoded(path, overlong), delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(_decoded(path, overlong), strict=False)
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise InputError(f"{path}: its header cannot be read ({error}); expected column names: mend it") from None
    for keys, what in ((AUDIO_KEYS, "audio"), (TEXT_KEYS, "text")):
        if not set(keys) & set(header):
            found = ", ".join(map(repr, header[:20])) or "none"
            raise InputError(
                f"{path}: columns {found}; expected one with the {what}, named {', '.join(keys)}: add or rename one"
            )
    folder = beside(path)
    if "client_id" in header and "path" in header and os.path.isdir(os.path.join(folder, "clips")):
        folder = os.path.join(folder, "clips", "")  # Common Voice
    return Rows(folder, _table_fields(path, reader, header, overlong, tabs))


def _decoded(path: str, overlong: list[tuple[int, str]]) -> Iterator[str]:
    """Lines for the csv module; a byte that is not UTF-8 becomes a lone surrogate, found again in its field."""
    for number, line in byte_lines(path):
        if isinstance(line, str):
            overlong.append((number, line))
        else:
            yield line.decode("utf-8", errors="surrogateescape").replace("\0", "\ufffd")


def _table_fields(
    path: str, reader: Any, header: Sequence[str], overlong: list[tuple[int, str]], tabs: bool
) -> Iterator[Row]:
    passed_over = 0  # overlong lines, which the csv module never sees
    ended = False
    while not ended:
        row = None
        try:
            cells = next(reader)
            if cells:
                row = _table_row(header, cells, tabs)
        except StopIteration:
            ended = True
        except csv.Error as error:
            row = f"cannot be read ({error}); expected closed quotes and short fields: mend the line"
        for number, reason in overlong:
            yield Row(path, number, reason)
        passed_over += len(overlong)
        overlong.clear()
        if row is not None:
            yield Row(path, reader.line_num + passed_over, row)


def _table_row(header: Sequence[str], cells: list[str], tabs: bool) -> dict[str, Any] | str:
    if len(cells) > len(header):
        return f"{len(cells)} fields under {len(header)} columns; expected one each: quote what holds a separator"
    whole = "".join(cells)
    if not whole.isascii():
        try:
            whole.encode()
        except UnicodeEncodeError as error:
            return (
                f"not UTF-8 in {whole[max(error.start - 10, 0) : error.start]!r}...; expected UTF-8: convert the file"
            )
    if tabs and '""' in whole:
        cells = [cell[1:-1].replace('""', '"') if _is_quoted(cell) else cell for cell in cells]
    row: dict[str, Any] = dict(zip(header, cells, strict=False))
    for key in AUDIO_KEYS:
        if row.get(key) == "":
            row[key] = None
    for key in NUMBERS:
        if key in row:
            try:
                row[key] = float(row[key]) if row[key] else None
            except ValueError:
                return f"{key!r} is {row[key][:40]!r}; expected seconds: mend it"
    return row


def _is_quoted(cell: str) -> bool:
    """Written by a CSV writer: an outer pair of quotes and every inner one doubled."""
    inner = cell[1:-1]
    return len(cell) > 3 and cell[0] == cell[-1] == '"' and '""' in inner and '"' not in inner.replace('""', "")
