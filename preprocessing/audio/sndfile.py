"""libsndfile's formats: WAV, AIFF, FLAC, Ogg Vorbis, Ogg Opus, MP3, CAF, AU.

Reads in one go from front to back: soundfile's own `read` seeks after each block, which resets an MP3 decoder.
"""

import io
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import soundfile

from preprocessing.audio.contract import TAIL_SECONDS, AudioError, AudioInfo, Opened, Samples, damaged, truncated

BLOCK_VALUES = 1 << 22  # samples times channels at a time: no header makes more be allocated
BYTES_EACH = {"PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8, "IMA_ADPCM": 0.5, "MS_ADPCM": 0.5}
MP3_BLOCK = 1152 * 64  # samples
ON_GRID = ("PCM_16", "PCM_S8", "PCM_U8")


class _FrontToBack(soundfile.SoundFile):  # type: ignore[misc]
    """Says that it cannot seek once it stands where reading begins, so that `read` leaves the decoder alone."""

    def seekable(self) -> bool:
        return False


def _content(given: str | BinaryIO) -> bytes:
    return Path(given).read_bytes() if isinstance(given, str) else given.read()


@contextmanager
def open_sndfile(opened: Opened) -> Iterator["SndfileDecoder | None"]:
    """The decoder, or None where libsndfile cannot read the file at all."""
    missing = missing_bytes(opened)  # first: an open file has one position, which libsndfile keeps from here on
    given = opened.reopened()
    if str(given if isinstance(given, str) else getattr(given, "name", "")).lower().endswith(".raw"):
        given = io.BytesIO(_content(given))  # soundfile takes a file of that name for headerless samples
    try:
        file = _FrontToBack(given)
    except (soundfile.LibsndfileError, RuntimeError, TypeError, OverflowError):
        yield None
        return
    with file:
        decoder = SndfileDecoder(opened, file)
        decoder.check_promise(missing)
        yield decoder


class SndfileDecoder:
    """One open file of libsndfile."""

    def __init__(self, opened: Opened, file: soundfile.SoundFile) -> None:
        self._opened, self._file = opened, file
        known = 0 <= file.frames < 1 << 62
        self.info = AudioInfo(
            file.samplerate, file.channels, file.frames if known else 0, f"{file.format} {file.subtype}"
        )
        self.on_grid = file.subtype in ON_GRID

    def check_promise(self, missing: int) -> None:
        """Raises AudioError when so many bytes are missing that a word could be."""
        a_second = BYTES_EACH.get(self._file.subtype, 1) * self._file.channels * self._file.samplerate
        if missing and self._file.format == "OGG":
            raise AudioError(
                f"{self._opened.name}: ends after {self.info.duration:.2f} s in the middle of an Ogg page; expected "
                "a whole file: fetch it again"
            )
        if missing > TAIL_SECONDS * a_second > 0:
            raise truncated(self._opened, self.info.duration, self.info.duration + missing / a_second)

    def blocks(self, first: int, last: int | None, n_samples: int) -> Iterator[Samples]:
        """See `Decoder.blocks`."""
        file, total = self._file, self.info.n_samples
        n_samples = max(1, min(n_samples, BLOCK_VALUES // file.channels))
        is_mp3 = file.format == "MP3"
        if is_mp3:  # where mpg123 gives up in a damaged file depends on how much is asked of it
            n_samples = MP3_BLOCK
        if total and not is_mp3:
            last = total if last is None else min(last, total)
            first = min(first, total)
        position = 0
        try:
            if first and not is_mp3:  # libsndfile seeks in MP3 by a table of percentages: not to the sample
                position = file.seek(first)
            while last is None or position < last:
                wanted = n_samples if last is None else min(n_samples, last - position)
                block = file.read(wanted, dtype="float32", always_2d=True)
                skipped = max(first - position, 0)
                position += len(block)
                if skipped < len(block):
                    yield block[skipped:] if skipped else block
                if len(block) < wanted:
                    break
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise damaged(self._opened, getattr(error, "error_string", error), position / file.samplerate) from None
        promised = total if last is None else min(last, total)
        if promised - position > TAIL_SECONDS * file.samplerate:
            raise truncated(self._opened, position / file.samplerate, total / file.samplerate)


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
