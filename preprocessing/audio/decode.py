"""Samples as a file stores them: which decoder, at its own rate, all channels, block by block.

libsndfile is tried where a file begins as one of its formats does, FFmpeg otherwise and where libsndfile refuses.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from preprocessing.audio.contract import MAX_SAMPLE_RATE, AudioError, AudioInfo
from preprocessing.audio.decoder import Decoder
from preprocessing.audio.source import AudioSource, Opened, open_source

MAGIC = (b"RIFF", b"RIFX", b"RF64", b"FORM", b"fLaC", b"OggS", b"ID3", b"caff", b".snd", b"riff")


@contextmanager
def open_decoder(source: AudioSource) -> Iterator[Decoder]:
    """The decoder of a source, its header read and plausible. Raises AudioError."""
    opened = open_source(source)
    if opened.head.startswith(MAGIC) or _is_mpeg_audio(opened.head):
        from preprocessing.audio.sndfile import open_sndfile

        with open_sndfile(opened) as decoder:
            if decoder is not None:
                _check_header(opened, decoder.info)
                yield decoder
                return
    from preprocessing.audio.ffmpeg import open_ffmpeg

    with open_ffmpeg(opened) as other:
        _check_header(opened, other.info)
        yield other


def _is_mpeg_audio(head: bytes) -> bool:
    """An MPEG layer III frame header: eleven bits of sync, then a version and layer that exist (ADTS has layer 0)."""
    return len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2


def _check_header(opened: Opened, info: AudioInfo) -> None:
    if not 0 < info.sample_rate <= MAX_SAMPLE_RATE or info.n_channels < 1:
        raise AudioError(
            f"{opened.name}: header says {info.sample_rate} Hz, {info.n_channels} channels; expected 1 to "
            f"{MAX_SAMPLE_RATE} Hz and a channel or more: export it again"
        )
