"""Decoding by libsndfile: WAV, AIFF, FLAC, Ogg Vorbis, Ogg Opus, MP3, CAF, AU, NIST SPHERE.

Files are read in one pass from front to back: soundfile's own `read` seeks after each block, which resets an MP3
decoder. libsndfile takes a truncated RIFF, AIFF, Ogg or SPHERE file for a shorter complete one, so `stated_length`
compares the lengths that the container states with the file's size first. FFmpeg reads those that state none: written
to a pipe, or MP3 without a Xing header, of which libsndfile guesses the length and goes no further.
"""

import io
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import soundfile

from preprocessing.audio.contract import (
    TAIL_SECONDS,
    AudioError,
    AudioInfo,
    OpenedSource,
    Samples,
    damage_error,
    truncation_error,
)
from preprocessing.audio.joined import LAST_PAGE_BYTES, is_mp3_without_length

BLOCK_VALUES = 1 << 22  # samples times channels in a block: no header makes more memory be allocated
MP3_BLOCK = 1152 * 64  # samples
BYTES_PER_SAMPLE = {"PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8, "GSM610": 65 / 320} | dict.fromkeys(
    ("IMA_ADPCM", "MS_ADPCM", "G721_32", "NMS_ADPCM_32"), 0.5
)
PCM16_SUBTYPES = ("PCM_16", "PCM_S8", "PCM_U8")

PADDING_BYTES = 1 << 16  # looked at on either side of what may be padding
MAX_CHUNKS = 1000  # of a RIFF or AIFF file, looked at before the samples
# Written as length by programs that cannot seek back to correct it: sox (AIFF, WAV) and espeak-ng, libraries that take
# the largest signed number, arecord, ffmpeg. Some subtract their header, some round down to whole samples. 0 is left by
# programs that were killed.
STREAMED_LENGTHS = (0x7F000000, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
CHUNKED = (b"RIFF", b"RIFX", b"FORM")
SPHERE_HEADER_BYTES = 1 << 16  # in which its text ends; most have 1024


@contextmanager
def open_sndfile(opened: OpenedSource, missing: int) -> Iterator["SndfileDecoder | None"]:
    """Yield the decoder, or None where libsndfile cannot read the file at all.

    missing: its `StatedLength.missing_bytes`; they are looked for before, as an open file has one position, which
    libsndfile keeps from here on.
    Raises AudioError when the file is truncated.
    """
    file = opened.rewound()
    if str(file if isinstance(file, str) else getattr(file, "name", "")).lower().endswith(".raw"):
        file = io.BytesIO(_content(file))  # soundfile takes a file of that name for headerless samples
    if isinstance(file, str):
        file = os.fsencode(file)  # type: ignore[assignment]  # a name that is not UTF-8, too
    try:
        sound_file = _SequentialFile(_in_memory(file) if isinstance(file, io.BytesIO) else file)
    except (soundfile.LibsndfileError, RuntimeError, TypeError, OverflowError):
        yield None
        return
    with sound_file:
        decoder = SndfileDecoder(opened, sound_file)
        decoder.check_truncation(missing)
        yield decoder


class SndfileDecoder:
    """The `Decoder` of a file that libsndfile has open."""

    def __init__(self, opened: OpenedSource, file: soundfile.SoundFile) -> None:
        self._opened, self._file = opened, file
        known = 0 <= file.frames < 1 << 62
        self.info = AudioInfo(
            file.samplerate, file.channels, file.frames if known else 0, f"{file.format} {file.subtype}"
        )
        self.is_pcm16 = file.subtype in PCM16_SUBTYPES

    @property
    def can_seek(self) -> bool:
        """See `Decoder.can_seek`: not in MP3, where libsndfile seeks by a table of percentages, not to the sample."""
        return bool(self._file.format != "MP3" and self._file.finds_samples())

    def check_truncation(self, missing: int) -> None:
        """Raises AudioError when `missing` bytes hold more than TAIL_SECONDS, or an Ogg page is cut."""
        bytes_per_second = BYTES_PER_SAMPLE.get(self._file.subtype, 1) * self._file.channels * self._file.samplerate
        if missing and self._file.format == "OGG":
            raise AudioError(
                f"{self._opened.name}: ends after {self.info.duration:.2f} s in the middle of an Ogg page; expected "
                "a complete file: fetch it again"
            )
        if missing > TAIL_SECONDS * bytes_per_second > 0:
            raise truncation_error(self._opened, self.info.duration, self.info.duration + missing / bytes_per_second)

    def blocks(self, first: int, last: int | None, n_samples: int) -> Iterator[Samples]:
        """See `Decoder.blocks`."""
        file, total = self._file, self.info.n_samples
        n_samples = max(1, min(n_samples, BLOCK_VALUES // file.channels))
        is_mp3 = file.format == "MP3"
        if is_mp3:  # the place at which mpg123 stops in a damaged file depends on the size of the blocks
            n_samples = MP3_BLOCK
        if total and not is_mp3:
            last = total if last is None else min(last, total)
            first = min(first, total)
        position = 0
        try:
            if first and self.can_seek:
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
            raise damage_error(self._opened, error, position / file.samplerate) from None
        expected = total if last is None else min(last, total)
        if expected - position > TAIL_SECONDS * file.samplerate:
            raise truncation_error(self._opened, position / file.samplerate, total / file.samplerate)

    def count_samples(self) -> int:
        """See `Decoder.count_samples`."""
        return sum(len(block) for block in self.blocks(0, None, BLOCK_VALUES))


class StatedLength(NamedTuple):
    """What a container says of its own length.

    is_streamed: it was written without its true length being known, so that its samples go on to the file's end.
    missing_bytes: by which the file is shorter than stated; for Ogg, 1 when its last page is cut. 0 for a complete
        file, and for formats that state no length in bytes.
    """

    is_streamed: bool
    missing_bytes: int


def stated_length(opened: OpenedSource) -> StatedLength:
    """The length by the header of a RIFF, AIFF, Ogg, SPHERE or MP3 file."""
    if not opened.may_be_mp3 and opened.head[:4] not in (*CHUNKED, b"OggS", b"NIST"):
        return StatedLength(False, 0)
    with opened.binary() as file:
        if opened.may_be_mp3:
            return StatedLength(is_mp3_without_length(file), 0)
        size = file.seek(0, os.SEEK_END)
        if opened.head[:4] == b"NIST":
            return StatedLength(False, max(_sphere_bytes(file) - size, 0))
        if opened.head[:4] == b"OggS":
            return StatedLength(False, int(_last_page_is_cut(file, size)))
        byte_order = "<" if opened.head[:4] == b"RIFF" else ">"
        chunk = _sample_chunk(file, byte_order, size)
        if chunk is None:
            return StatedLength(False, 0)
        if _is_streamed(file, byte_order, chunk, size):
            return StatedLength(True, 0)
        return StatedLength(False, max(chunk.start + chunk.length - size, 0))


class SampleChunk(NamedTuple):
    """The chunk of samples of a RIFF or AIFF file, by its own header; bytes."""

    start: int  # of its content
    length: int  # as stated
    block_bytes: int  # of one sample of all channels, or one block of a codec; 1 where it is not stated before
    bytes_per_second: int  # 0 in AIFF, which does not state it


class _SequentialFile(soundfile.SoundFile):  # type: ignore[misc]
    """A sound file that calls itself unseekable, so that soundfile's `read` does not seek after each block."""

    def seekable(self) -> bool:
        return False

    def finds_samples(self) -> bool:
        """Whether libsndfile can seek: not in GSM 6.10, G.721 and NMS ADPCM."""
        return bool(super().seekable())


def _in_memory(file: io.BytesIO) -> int | io.BytesIO:
    """The bytes as a file of the kernel's, by its descriptor, where it has such (Linux); else as they are.

    libsndfile reads a Python object by callbacks, which are slower, and in which a Ctrl-C is printed and lost.
    """
    if not hasattr(os, "memfd_create"):
        return file
    descriptor = os.memfd_create("audio")
    with os.fdopen(descriptor, "wb", closefd=False) as copy:
        copy.write(file.getbuffer())
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _content(file: str | BinaryIO) -> bytes:
    return Path(file).read_bytes() if isinstance(file, str) else file.read()


def _sample_chunk(file: BinaryIO, byte_order: str, size: int) -> SampleChunk | None:
    """The chunk of samples, None where there is none."""
    position, block_bytes, bytes_per_second = 12, 1, 0
    for _ in range(MAX_CHUNKS):
        file.seek(position)
        header = file.read(8)
        if len(header) < 8:
            return None
        name, length = struct.unpack(byte_order + "4sI", header)
        if name in (b"data", b"SSND"):
            return SampleChunk(position + 8, length, block_bytes, bytes_per_second)
        if name == b"fmt " and len(form := file.read(14)) == 14:
            bytes_per_second, block_bytes = (n or 1 for n in struct.unpack(byte_order + "8xIH", form))
        position += 8 + length + length % 2
        if position >= size:
            return None
    return None


def _sphere_bytes(file: BinaryIO) -> int:
    """The bytes of a NIST SPHERE file by its header: lines of name, type and value; 0 where one is missing."""
    file.seek(0)
    lines = [line.split(maxsplit=2) for line in file.read(SPHERE_HEADER_BYTES).split(b"end_head")[0].splitlines()]
    stated = {
        line[0]: int(line[2]) for line in lines if len(line) == 3 and line[1] == b"-i" and line[2].strip().isdigit()
    }
    if len(lines) < 2 or len(lines[1]) != 1 or not lines[1][0].isdigit():
        return 0
    n_samples, n_channels, n_bytes = (
        stated.get(name, 0) for name in (b"sample_count", b"channel_count", b"sample_n_bytes")
    )
    return int(lines[1][0]) + n_samples * n_channels * n_bytes


def _is_streamed(file: BinaryIO, byte_order: str, chunk: SampleChunk, size: int) -> bool:
    """Whether the stated length cannot be meant: one of STREAMED_LENGTHS, 0 before samples, or less than the samples
    that follow, as after 4 GiB, where it begins again at 0, or where a recorder was killed that corrects it at times.

    A length that the file is shorter than is none of them: that file is truncated.
    """
    if size - chunk.start < chunk.block_bytes:
        return False
    end = chunk.start + chunk.length
    if chunk.length != 0:
        near = (0, -8, 36, 44, chunk.start - 8, chunk.start)  # AIFF counts 8 bytes more
        known = {length - less for length in STREAMED_LENGTHS for less in near}
        if chunk.length not in known | {length - length % chunk.block_bytes for length in known}:
            return _are_samples(file, byte_order, end, size, chunk.bytes_per_second)
    return end >= size or not _is_chunks(file, byte_order, end + end % 2, size)


def _are_samples(file: BinaryIO, byte_order: str, position: int, size: int, bytes_per_second: int) -> bool:
    """Whether TAIL_SECONDS or more follow a position that are neither chunks nor zeros, by which files are padded."""
    if not bytes_per_second or size - position < TAIL_SECONDS * bytes_per_second:
        return False
    starts = (position, position + 1)  # a chunk of an odd length is padded, or should be
    if any(_is_chunks(file, byte_order, start, size) for start in starts):
        return False
    if size - position >= 1 << 32:
        return True
    file.seek(position)
    begin = file.read(PADDING_BYTES)
    file.seek(max(size - PADDING_BYTES, position))
    return any(begin) or any(file.read(PADDING_BYTES))


def _is_chunks(file: BinaryIO, byte_order: str, position: int, size: int) -> bool:
    """Whether nothing but whole chunks stand between a position and the end of the file."""
    for _ in range(MAX_CHUNKS):
        if position >= size:
            return position <= size + 1  # the last one's pad byte may be missing
        file.seek(position)
        header = file.read(8)
        if len(header) < 8 or not header[:4].isascii() or not header[:4].decode().isprintable():
            return False
        length = struct.unpack(byte_order + "4xI", header)[0]
        position += 8 + length + length % 2
    return False


def _last_page_is_cut(file: BinaryIO, size: int) -> bool:
    """Whether the last Ogg page is shorter than its table of segments says (RFC 3533, section 6)."""
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
