"""Files of a few kilobytes whose headers announce ten hours, and ten hours of silence in about a megabyte."""

import struct
from pathlib import Path

import numpy as np
import soundfile

from tests.known_audio import known_file

SECONDS = 36_000


def bombs() -> dict[str, bytes]:
    """A file of each container, by its name; every length in its header is ten hours."""
    return {
        "wav": _wav(),
        "flac": _flac(),
        "ogg": _ogg("ogg-vorbis", 44_100),
        "opus": _ogg("ogg-opus", 48_000),
        "mp3": _mp3(),
        "m4a": _m4a(),
        "m4a, many packets": _m4a(n_packets=1 << 30),
        "webm": _webm(),
    }


def silence(path: Path) -> int:
    """Write ten hours of digital silence at 8 kHz as FLAC. Returns its bytes, about a millionth of its seconds' PCM."""
    block = np.zeros(8_000 * 600, dtype=np.int16)
    with soundfile.SoundFile(path, "w", 8_000, 1, "PCM_16", format="FLAC") as file:
        for _ in range(SECONDS // 600):
            file.write(block)
    return path.stat().st_size


def _wav() -> bytes:
    content = bytearray(known_file("wav-16", 0.03)[:1024])
    content[4:8] = struct.pack("<I", SECONDS * 32_000 + 36)
    content[40:44] = struct.pack("<I", SECONDS * 32_000)
    return bytes(content)


def _flac() -> bytes:
    """36 bits of STREAMINFO count the samples, behind rate, channels and bits (RFC 9639, section 8.2)."""
    content = bytearray(known_file("flac", 0.05)[:1024])
    before = int.from_bytes(content[18:26], "big") >> 36 << 36
    content[18:26] = (before | SECONDS * 16_000).to_bytes(8, "big")
    return bytes(content)


def _ogg(name: str, rate: int) -> bytes:
    """The last page's granule position is the number of samples; its checksum is made right again."""
    content = bytearray(known_file(name, 0.05))
    at = content.rindex(b"OggS")
    content[at + 6 : at + 14] = struct.pack("<q", SECONDS * rate)
    content[at + 22 : at + 26] = bytes(4)
    content[at + 22 : at + 26] = struct.pack("<I", _ogg_checksum(content[at:]))
    return bytes(content)


def _ogg_checksum(page: bytes) -> int:
    """CRC-32 with the polynomial 0x04c11db7, neither reflected nor inverted (RFC 3533)."""
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7 if crc & 1 << 31 else crc << 1) & 0xFFFFFFFF
    return crc


def _mp3() -> bytes:
    content = bytearray(known_file("mp3", 0.1)[:1024])
    at = max(content.find(b"Xing"), content.find(b"Info"))
    content[at + 8 : at + 12] = struct.pack(">I", SECONDS * 44_100 // 1152)
    return bytes(content)


def _m4a(n_packets: int | None = None) -> bytes:
    content = bytearray(known_file("m4a", 0.05))
    for box, timescale_at in ((b"mvhd", 16), (b"mdhd", 16)):
        at = content.index(box)
        (timescale,) = struct.unpack_from(">I", content, at + timescale_at)
        struct.pack_into(">I", content, at + timescale_at + 4, SECONDS * timescale)
    at = content.index(b"stts")
    struct.pack_into(">II", content, at + 12, n_packets or 2, SECONDS * 16_000 // 2)
    if n_packets is not None:
        struct.pack_into(">I", content, content.index(b"stsz") + 12, n_packets)
    return bytes(content)


def _webm() -> bytes:
    """Duration (0x4489) of the segment, in milliseconds."""
    content = bytearray(known_file("webm-opus", 0.05))
    struct.pack_into(">d", content, content.index(b"\x44\x89\x88") + 3, SECONDS * 1000.0)
    return bytes(content)
