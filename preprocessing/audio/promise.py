"""Does a file hold as many bytes as its header promises? libsndfile itself shortens the promise without a word.

RIFF (WAV), AIFF and Ogg alone; the other formats are counted while they are decoded. A WAV whose length field is 0 or
all ones was written to a pipe and promises nothing.
"""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from preprocessing.audio.source import Opened

MAX_CHUNKS = 1000  # chunks looked at before the samples
LAST_PAGE_BYTES = 65_307  # the largest Ogg page (RFC 3533)
UNKNOWN = (0, 0xFFFFFFFF)


def missing_bytes(opened: Opened) -> int:
    """Bytes promised beyond the file's end; 0 for a whole file and where the format makes no promise."""
    if opened.head[:4] not in (b"RIFF", b"RIFX", b"FORM", b"OggS"):
        return 0
    with _file(opened) as file:
        size = file.seek(0, os.SEEK_END)
        if opened.head[:4] == b"OggS":
            return int(_last_page_is_cut(file, size))
        return max(_chunk_end(file, ">" if opened.head[:4] in (b"RIFX", b"FORM") else "<", size) - size, 0)


@contextmanager
def _file(opened: Opened) -> Iterator[BinaryIO]:
    if isinstance(opened.file, str):
        with open(opened.file, "rb", buffering=0) as file:
            yield file
    else:
        yield opened.file
        opened.file.seek(0)


def _chunk_end(file: BinaryIO, order: str, size: int) -> int:
    """Where the chunk of samples ends by its own header; 0 where there is none or it does not say."""
    position = 12
    for _ in range(MAX_CHUNKS):
        file.seek(position)
        header = file.read(8)
        if len(header) < 8:
            return 0
        name, length = struct.unpack(order + "4sI", header)
        if name in (b"data", b"SSND"):
            return 0 if length in UNKNOWN else position + 8 + length
        position += 8 + length + length % 2
        if position >= size:
            return 0
    return 0


def _last_page_is_cut(file: BinaryIO, size: int) -> bool:
    """An Ogg page says in its table how long it is."""
    file.seek(max(size - LAST_PAGE_BYTES, 0))
    tail = file.read(LAST_PAGE_BYTES)
    at = tail.rfind(b"OggS")
    if at < 0:
        return True
    page = tail[at:]
    if len(page) < 27:
        return True
    table = page[27 : 27 + page[26]]
    return len(page) < 27 + page[26] + sum(table)
