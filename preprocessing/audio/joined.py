"""Recordings put one after another in one file: `cat 1.mp3 2.mp3`, a podcast with an advertisement before it, a radio
stream in chained Ogg (RFC 3533, section 4).

Decoders stop at the length that the first recording states. Here the beginning of each is found by its bytes, and each
is decoded by itself, without its encoder's padding. Looked for in Ogg, in WAV, in MP3 with a Xing or Info header, and
in FLAC, which states no length in bytes, so that the whole file is searched, unless the first recording holds all that
is asked for.
"""

import io
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from typing import BinaryIO, NamedTuple

from preprocessing.audio.contract import (
    HEAD_BYTES,
    TAIL_SECONDS,
    AudioError,
    AudioInfo,
    Decoder,
    OpenedSource,
    Samples,
    filter_margin,
)

LAST_PAGE_BYTES = 65_307  # the largest Ogg page (RFC 3533)
PAGE_HEADER_BYTES = 27 + 255
BEGINS_STREAM = 0x02  # in the flags of an Ogg page
SEARCHED_BYTES = 4096  # in which the first frame of an MP3 begins, padding before it included
LONGEST_FRAME = 1441
# A FLAC stream's magic and the header of its STREAMINFO (RFC 9639, section 8), which may be its only metadata.
FLAC_BEGINNINGS = (b"fLaC\x00\x00\x00\x22", b"fLaC\x80\x00\x00\x22")
FLAC_HEADER_BYTES = 42  # magic and STREAMINFO
FLAC_SEARCHED_BYTES = 1 << 16  # at a time: larger reads take longer, for the memory that they are given
XING_PLACES = (13, 21, 36)  # of the header in its frame: after the side information, by version and channels
MP3_KBITS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)  # of MPEG 1, layer III
MP3_KBITS_LOW_RATE = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)  # of MPEG 2 and 2.5
MP3_RATES = (44_100, 48_000, 32_000)
VERSION_SHIFT = {3: 0, 2: 1, 0: 2}  # MPEG 1, 2, 2.5: the latter have half and a quarter of the rates

Opener = Callable[[OpenedSource], AbstractContextManager[Decoder]]


class JoinedDecoder:
    """The `Decoder` of several recordings in one file, of one sampling rate."""

    def __init__(self, opened: OpenedSource, begins: Sequence[int], open_one: Opener) -> None:
        """begins: of the recordings in the file, from `beginnings`. open_one: opens a recording's decoder.

        Raises AudioError where one cannot be opened, or their rates differ.
        """
        self._opened, self._open_one = opened, open_one
        with opened.binary() as file:
            self._bounds = tuple(pairwise([*begins, file.seek(0, os.SEEK_END)]))
        infos, self.is_pcm16, self.can_seek = [], True, False
        for begin, end in self._bounds:
            with self._open(begin, end) as decoder:
                infos.append(decoder.info)
                self.is_pcm16 &= decoder.is_pcm16
        rates = sorted({info.sample_rate for info in infos})
        if len(rates) > 1:
            raise AudioError(
                f"{opened.name}: holds {len(infos)} recordings one after another, at {' and '.join(map(str, rates))} "
                "Hz; expected one sampling rate: cut the file into its recordings"
            )
        n_samples = [info.n_samples for info in infos]
        self.info = AudioInfo(
            rates[0], min(info.n_channels for info in infos), sum(n_samples) if all(n_samples) else 0, infos[0].codec
        )

    def blocks(self, first: int, last: int | None, n_samples: int) -> Iterator[Samples]:
        """See `Decoder.blocks`; those before `first` are decoded, too."""
        position = 0
        for begin, end in self._bounds:
            with self._open(begin, end) as decoder:
                for block in decoder.blocks(0, None, n_samples):
                    kept = block[max(first - position, 0) : None if last is None else max(last - position, 0)]
                    position += len(block)
                    if len(kept):
                        yield kept
                    if last is not None and position >= last:
                        return

    def count_samples(self) -> int:
        """See `Decoder.count_samples`."""
        return sum(len(block) for block in self.blocks(0, None, 1 << 20))

    def _open(self, begin: int, end: int) -> AbstractContextManager[Decoder]:
        with self._opened.binary() as file:
            file.seek(begin)
            content = file.read(end - begin)
        return self._open_one(OpenedSource(self._opened.name, io.BytesIO(content), content[:HEAD_BYTES]))


def beginnings(opened: OpenedSource, stop: float | None = None) -> list[int]:
    """The bytes at which the recordings of an Ogg, WAV, FLAC or MP3 file begin: 0 alone for all but a few.

    stop: seconds up to which they are wanted; None is the end of the last. Later ones may be left out.
    """
    with opened.binary() as file:
        size = file.seek(0, os.SEEK_END)
        if opened.head[:4] == b"OggS":
            return _of_ogg(file, size)
        if opened.head[:4] == b"RIFF":
            return _of_wav(file, size)
        at = 0 if opened.head[:4] == b"fLaC" else _after_id3(file, 0)
        return _of_flac(file, at, stop) if _read(file, at, 4) == b"fLaC" else _of_mp3(file, size)


class Page(NamedTuple):
    """The header of an Ogg page."""

    flags: int
    serial: bytes
    n_bytes: int  # with its content


def _of_ogg(file: BinaryIO, size: int) -> list[int]:
    """Where first pages follow others: each chained stream begins with those of its logical streams.

    All pages are looked at only where the last one belongs to none of the first streams.
    """
    at, first_serials = 0, set()
    while (page := _page(_read(file, at, PAGE_HEADER_BYTES))) and page.flags & BEGINS_STREAM:
        first_serials.add(page.serial)
        at += page.n_bytes
    tail = _read(file, max(size - LAST_PAGE_BYTES, 0), LAST_PAGE_BYTES)
    last = _page(tail[max(tail.rfind(b"OggS"), 0) :][:PAGE_HEADER_BYTES])
    begins = [0]
    if last is None or last.serial in first_serials:
        return begins
    were_first = False
    while page := _page(_read(file, at, PAGE_HEADER_BYTES)):
        are_first = bool(page.flags & BEGINS_STREAM)
        if are_first and not were_first:
            begins.append(at)
        were_first = are_first
        at += page.n_bytes
    return begins


def _page(header: bytes) -> Page | None:
    if len(header) < 27 or header[:4] != b"OggS":
        return None
    n_segments = header[26]
    return Page(header[5], header[14:18], 27 + n_segments + sum(header[27 : 27 + n_segments]))


def _of_wav(file: BinaryIO, size: int) -> list[int]:
    """Where a RIFF file is followed by another."""
    begins = [0]
    while True:
        n_bytes = int.from_bytes(_read(file, begins[-1] + 4, 4), "little")
        at = begins[-1] + 8 + n_bytes + n_bytes % 2
        header = _read(file, at, 12) if at < size else b""
        if header[:4] != b"RIFF" or header[8:] != b"WAVE":
            return begins
        begins.append(at)


def _of_flac(file: BinaryIO, at: int, stop: float | None) -> list[int]:
    """Where other streams begin after the metadata, such as pictures, of the first one, which begins at byte `at`.

    Not looked for where the first one is long enough for the samples up to `stop` seconds and their resampling.
    """
    begins = [0]
    if stop is not None:
        rate, n_samples = _flac_length(_read(file, at, FLAC_HEADER_BYTES))
        if stop * rate + filter_margin(rate) <= n_samples:
            return begins
    is_last, at = False, at + 4
    while not is_last and len(header := _read(file, at, 4)) == 4:
        is_last = header[0] >= 0x80
        at += 4 + int.from_bytes(header[1:], "big")
    overlap = len(FLAC_BEGINNINGS[0]) - 1
    while len(content := _read(file, at, FLAC_SEARCHED_BYTES + overlap)) > overlap:
        place = content.find(b"fL")  # in a quarter of the time of a longer word
        while 0 <= place < FLAC_SEARCHED_BYTES:
            if content.startswith(FLAC_BEGINNINGS, place):
                begins.append(at + place)
            place = content.find(b"fL", place + 1)
        at += FLAC_SEARCHED_BYTES
    return begins


def _flac_length(header: bytes) -> tuple[int, int]:
    """Sampling rate and number of samples by STREAMINFO (RFC 9639, section 8.2); 0 samples where it states none."""
    packed = int.from_bytes(header[18:26], "big")  # 20 bits of rate, 3 of channels, 5 of sample size, 36 of number
    return packed >> 44, packed & (1 << 36) - 1


class Frame(NamedTuple):
    """A frame of MPEG layer III."""

    at: int  # in the file
    n_bytes: int
    bytes_per_second: int
    kind: tuple[int, int]  # version and rate, the same of all frames of a recording


def _of_mp3(file: BinaryIO, size: int) -> list[int]:
    """Where more frames follow than the Xing header counts the bytes of, tags passed over."""
    begins = [0]
    while True:
        frame = _first_frame(file, begins[-1])
        n_bytes = None if frame is None else _stated_bytes(_read(file, frame.at, frame.n_bytes))
        if frame is None or n_bytes is None:
            return begins
        at = _after_tags(file, frame.at + n_bytes)
        following = _first_frame(file, at) if at < size else None
        if following is None or size - following.at <= TAIL_SECONDS * following.bytes_per_second:
            return begins
        begins.append(at)


def is_mp3_without_length(file: BinaryIO) -> bool:
    """Whether what begins with a frame of MPEG layer III or an ID3v2 tag states no number of its frames and bytes, so
    that a decoder can but guess them from the bit rate of its beginning.
    """
    at = _after_id3(file, 0)
    if _read(file, at, 4) == b"fLaC":
        return False
    frame = _first_frame(file, at)
    return frame is None or _stated_bytes(_read(file, frame.at, frame.n_bytes)) is None


def _stated_bytes(frame: bytes) -> int | None:
    """The bytes from this frame to the recording's last by its Xing or Info header; None where it does not state them
    and the number of frames.
    """
    for place in XING_PLACES:
        if frame[place : place + 4] in (b"Xing", b"Info") and len(frame) >= place + 16:
            flags, n_frames, n_bytes = struct.unpack(">3I", frame[place + 4 : place + 16])
            return n_bytes or None if flags & 3 == 3 and n_frames else None
    return None


def _after_tags(file: BinaryIO, at: int) -> int:
    """The byte after the tags that end a recording: ID3v1 and APE."""
    while True:
        tag = _read(file, at, 32)
        if tag[:3] == b"TAG":
            at += 128
        elif tag[:8] == b"APETAGEX":
            at += 32 + int.from_bytes(tag[12:16], "little")
        else:
            return at


def _after_id3(file: BinaryIO, at: int) -> int:
    """The byte after the ID3v2 tags that begin at a byte."""
    while (tag := _read(file, at, 10))[:3] == b"ID3" and len(tag) == 10:
        a, b, c, d = (part & 0x7F for part in tag[6:])
        at += 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if tag[5] & 0x10 else 0)
    return at


def _first_frame(file: BinaryIO, at: int) -> Frame | None:
    """The first frame from a byte on, ID3v2 tags passed over, that two more follow."""
    at = _after_id3(file, at)
    content = _read(file, at, SEARCHED_BYTES + 3 * LONGEST_FRAME)
    place = content.find(b"\xff", 0, SEARCHED_BYTES)
    while place >= 0:
        frame = _frame(content, place, at)
        second = frame and _frame(content, place + frame.n_bytes, at)
        third = second and _frame(content, second.at - at + second.n_bytes, at)
        if frame and second and third and frame.kind == second.kind == third.kind:
            return frame
        place = content.find(b"\xff", place + 1, SEARCHED_BYTES)
    return None


def _frame(content: bytes, place: int, offset: int) -> Frame | None:
    """The frame whose header is at a place of the content, which begins at byte `offset` of the file."""
    header = content[place : place + 4]
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return None
    version, kbits_index, rate_index = header[1] >> 3 & 3, header[2] >> 4, header[2] >> 2 & 3
    if version not in VERSION_SHIFT or not 1 <= kbits_index <= 14 or rate_index == 3:
        return None
    rate = MP3_RATES[rate_index] >> VERSION_SHIFT[version]
    kbits, samples_in_bytes = (MP3_KBITS, 144) if version == 3 else (MP3_KBITS_LOW_RATE, 72)
    n_bytes = samples_in_bytes * 1000 * kbits[kbits_index - 1] // rate + (header[2] >> 1 & 1)
    return Frame(offset + place, n_bytes, 125 * kbits[kbits_index - 1], (version, rate))


def _read(file: BinaryIO, at: int, n_bytes: int) -> bytes:
    file.seek(at)
    return file.read(n_bytes)
