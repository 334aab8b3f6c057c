"""Manifests, one utterance a line: JSON Lines, CSV (RFC 4180), and tab-separated values as Common Voice writes them.

A TSV field is what stands between two tabs, quotes included; only a field that a CSV writer quoted (an outer pair,
every inner one doubled) loses its quotes.
"""

import csv
import json
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

from preprocessing.cli.errors import InputError
from preprocessing.corpus.readers.rows import AUDIO_KEYS, TEXT_KEYS, Row, Rows, byte_lines, folder_of, not_utf8

NUMBER_KEYS = ("start", "stop", "duration", "offset")
SUFFIXES = (".jsonl", ".json", ".ndjson", ".csv", ".tsv")
SNIFFED_BYTES = 4096
_decode = json.JSONDecoder().decode  # what json.loads calls after looking at its arguments
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def is_manifest(path: str) -> bool:
    """Whether the path is a file. What kind of manifest, or that it is none, `read_manifest` finds out."""
    return os.path.isfile(path)


def read_manifest(path: str) -> Rows:
    """The rows of a manifest: JSON Lines, CSV or TSV by its suffix, else by its first line.

        {"audio": "wav/1.flac", "text": "ONE TWO", "speaker": "ann", "duration": 1.52}

        path,sentence,client_id
        wav/1.flac,"one, two",ann

    Audio paths are relative to the manifest's folder. Raises InputError when the file is no text or its header names no
    audio or no text.
    """
    kind = os.path.splitext(path)[1].lower()
    try:
        if kind not in SUFFIXES:
            kind = _sniff(path)
        if kind not in (".csv", ".tsv"):
            return Rows(folder_of(path), _json_rows(path))
        return read_table(path, tabs=kind == ".tsv")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; expected a readable manifest: mend its permissions") from None


def read_table(path: str, *, tabs: bool) -> Rows:
    """The rows of a CSV or, with `tabs`, of a TSV. Raises InputError when its header names no audio or no text.

        path            sentence        client_id
        common_1.mp3    Guten Tag.      5f02

    A table of Common Voice (`client_id`, `path`) beside a folder clips/ has its audio in that.
    """
    overlong: list[tuple[int, str]] = []
    if tabs:
        reader = csv.reader(_decoded_lines(path, overlong), delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(_decoded_lines(path, overlong), strict=False)
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise InputError(f"{path}: its header cannot be read ({error}); expected column names: mend it") from None
    for keys, what in ((AUDIO_KEYS, "audio"), (TEXT_KEYS, "text")):
        if not set(keys) & set(header):
            columns = ", ".join(map(repr, header[:20])) or "none"
            raise InputError(
                f"{path}: columns {columns}; expected one with the {what}, named {', '.join(keys)}: add or rename one"
            )
    folder = folder_of(path)
    if "client_id" in header and "path" in header and os.path.isdir(os.path.join(folder, "clips")):
        folder = os.path.join(folder, "clips", "")  # Common Voice
    return Rows(folder, _table_rows(path, reader, header, overlong, tabs))


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


def _json_rows(path: str) -> Iterator[Row]:
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
        if "\\u" in text and _SURROGATE.search(text):
            # Half of a surrogate pair is no character, and could never be written again.
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


def _decoded_lines(path: str, overlong: list[tuple[int, str]]) -> Iterator[str]:
    """Lines for the csv module; a byte that is not UTF-8 becomes a lone surrogate, found again in its field."""
    for number, line in byte_lines(path):
        if isinstance(line, str):
            overlong.append((number, line))
        else:
            yield line.decode("utf-8", errors="surrogateescape").replace("\0", "\ufffd")


def _table_rows(
    path: str, reader: Any, header: Sequence[str], overlong: list[tuple[int, str]], tabs: bool
) -> Iterator[Row]:
    passed_over = 0  # overlong lines, which the csv module never sees
    ended = False
    while not ended:
        fields = None
        try:
            cells = next(reader)
            if cells:
                fields = _table_fields(header, cells, tabs)
        except StopIteration:
            ended = True
        except csv.Error as error:
            fields = f"cannot be read ({error}); expected closed quotes and short fields: mend the line"
        for number, reason in overlong:
            yield Row(path, number, reason)
        passed_over += len(overlong)
        overlong.clear()
        if fields is not None:
            yield Row(path, reader.line_num + passed_over, fields)


def _table_fields(header: Sequence[str], cells: list[str], tabs: bool) -> dict[str, Any] | str:
    if len(cells) > len(header):
        return f"{len(cells)} fields under {len(header)} columns; expected one each: quote what holds a separator"
    joined = "".join(cells)
    if not joined.isascii():
        try:
            joined.encode()
        except UnicodeEncodeError as error:
            return (
                f"not UTF-8 in {joined[max(error.start - 10, 0) : error.start]!r}...; expected UTF-8: convert the file"
            )
    if tabs and '""' in joined:
        cells = [cell[1:-1].replace('""', '"') if _is_quoted(cell) else cell for cell in cells]
    fields: dict[str, Any] = dict(zip(header, cells, strict=False))
    for key in AUDIO_KEYS:
        if fields.get(key) == "":
            fields[key] = None
    for key in NUMBER_KEYS:
        if key in fields:
            try:
                fields[key] = float(fields[key]) if fields[key] else None
            except ValueError:
                return f"{key!r} is {fields[key][:40]!r}; expected seconds: mend it"
    return fields


def _is_quoted(cell: str) -> bool:
    """Written by a CSV writer: an outer pair of quotes and every inner one doubled."""
    inner = cell[1:-1]
    return len(cell) > 3 and cell[0] == cell[-1] == '"' and '""' in inner and '"' not in inner.replace('""', "")
