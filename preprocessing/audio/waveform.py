"""`load`, `stream` and `probe`: decoded blocks -> one channel -> 16 kHz -> the 16-bit grid.

`load` runs over the same path as `stream`. soxr's stream gives its one-shot result to the bit, whatever the blocks, so
there is nothing to gain from a second path.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from preprocessing.audio.contract import (
    MAX_SAMPLE_RATE,
    SAMPLE_RATE,
    AudioError,
    AudioInfo,
    AudioSource,
    Decoder,
    Opened,
    Samples,
    describe_source,
    open_source,
)
from preprocessing.audio.pcm16 import TriangularDither, pcm16_file, quantise, to_pcm16

Mono = NDArray[np.float32]

LARGEST = 256.0  # times full scale, 48 dB over it: no recording, but integers stored as floats
WHOLE = 1 << 62  # samples a block: as many as the decoder gives at a time


def probe(source: AudioSource) -> AudioInfo:
    """Read the header alone. Raises AudioError where `load` would fail for the same reason."""
    with open_decoder(source) as decoder:
        return decoder.info


def load(source: AudioSource, *, start: float = 0.0, stop: float | None = None) -> Tensor:
    """Decode to the waveform contract.

    start, stop: seconds into the source; the part before `start` is skipped where the format can seek, `stop=None` is
    the end.
    Returns a float32 tensor [samples] at 16 kHz with values on the 16-bit grid in [-1, 1).
    Raises AudioError when the source is missing, is no audio, is damaged or ends before its header says, holds no
    samples, or holds NaN or infinite samples.
    """
    _check_window(source, start, stop)
    with open_decoder(source) as decoder:
        waveforms = map(torch.from_numpy, resampled(source, decoder, start, stop, WHOLE))
        return _joined(list(waveforms if _is_on_grid(decoder) else map(quantise, waveforms)))


def stream(
    source: AudioSource, *, block_seconds: float = 30.0, start: float = 0.0, stop: float | None = None
) -> Iterator[Tensor]:
    """The waveform of `load` in blocks of `block_seconds`, the last one shorter, in memory that does not grow.

    The blocks together are `load`'s result to the bit. Raises AudioError like `load`: damage, when it is reached.
    """
    _check_window(source, start, stop)
    if not 0.001 <= block_seconds <= 86_400:
        raise AudioError(f"block_seconds {block_seconds}; expected 0.001 s to 86400 s: choose another")
    return _stream(source, block_seconds, start, stop)


def _stream(source: AudioSource, block_seconds: float, start: float, stop: float | None) -> Iterator[Tensor]:
    length = round(block_seconds * SAMPLE_RATE)
    with open_decoder(source) as decoder:
        n_samples = max(round(block_seconds * decoder.info.sample_rate), 1)
        for block in _even(resampled(source, decoder, start, stop, n_samples), length):
            yield quantise(torch.from_numpy(block))


def _joined(blocks: list[Tensor]) -> Tensor:
    """The blocks [samples] one after another. Each is let go once copied: hours are not held twice."""
    if len(blocks) == 1:
        return blocks[0]
    whole = torch.empty(sum(map(len, blocks)))
    at = 0
    blocks.reverse()
    while blocks:
        block = blocks.pop()
        whole[at : at + len(block)] = block
        at += len(block)
    return whole


def _check_window(source: AudioSource, start: float, stop: float | None) -> None:
    if not 0 <= start < float("inf") or not (stop is None or start < stop < float("inf")):
        raise AudioError(
            f"{describe_source(source)}: start {start} s, stop {stop} s; expected 0 <= start < stop: mend the two"
        )


def _is_on_grid(decoder: Decoder) -> bool:
    return decoder.on_grid and decoder.info.n_channels == 1 and decoder.info.sample_rate == SAMPLE_RATE


def resampled(
    source: AudioSource, decoder: Decoder, start: float, stop: float | None, n_samples: int
) -> Iterator[Mono]:
    """Blocks at 16 kHz before rounding to the grid, none of them empty. Raises AudioError when there would be none."""
    rate = decoder.info.sample_rate
    resampler = None if rate == SAMPLE_RATE else soxr.ResampleStream(rate, SAMPLE_RATE, 1, "float32", "VHQ")
    is_empty = True
    for block in decoder.blocks(round(start * rate), None if stop is None else round(stop * rate), n_samples):
        mono = _mix(source, block)
        if resampler is not None:
            mono = resampler.resample_chunk(mono)
        if len(mono):
            is_empty = False
            yield mono
    if resampler is not None:
        mono = resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True)
        if len(mono):
            is_empty = False
            yield mono
    if is_empty:
        raise AudioError(
            f"{describe_source(source)}: holds no audio samples{' there' if start else ''}; expected at least one: "
            "record or export it again"
        )


def _mix(source: AudioSource, block: Samples) -> Mono:
    """The mean of the channels [samples, channels] -> [samples]."""
    mono: Mono = np.ascontiguousarray(block[:, 0])
    if block.shape[1] > 1:
        mono = mono.copy()
        for channel in range(1, block.shape[1]):
            mono += block[:, channel]
        mono /= block.shape[1]
    largest = max(float(mono.max()), -float(mono.min()))
    if not np.isfinite(largest):
        raise AudioError(
            f"{describe_source(source)}: holds NaN or infinite samples; expected finite ones: export again"
        )
    if largest > LARGEST:
        raise AudioError(
            f"{describe_source(source)}: samples reach {largest:.3g} times full scale; expected about 1: divide by the "
            "scale of their integers, or export as 16-bit PCM"
        )
    return mono


def _even(blocks: Iterator[Mono], length: int) -> Iterator[Mono]:
    """The same samples in blocks of `length`."""
    held: list[Mono] = []
    n_held = 0
    for block in blocks:
        held.append(block)
        n_held += len(block)
        if n_held >= length:
            joined = np.concatenate(held)
            whole = n_held - n_held % length
            for at in range(0, whole, length):
                yield joined[at : at + length]
            held, n_held = [joined[whole:].copy()], n_held - whole
    if n_held:
        yield np.concatenate(held)


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


TRANSCODE_BLOCK_SECONDS = 10


def transcode(
    source: AudioSource,
    path: Path,
    *,
    dither: TriangularDither | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> int:
    """Decode a source and write it, by streaming. Returns the number of samples written.

    on_progress: called with the seconds written so far.
    Raises AudioError like `load`; nothing is left at `path` then.
    """
    n_written = 0
    with open_decoder(source) as decoder, pcm16_file(path) as file:
        for block in resampled(source, decoder, 0.0, None, TRANSCODE_BLOCK_SECONDS * decoder.info.sample_rate):
            file.write(to_pcm16(np.ascontiguousarray(block), dither))
            n_written += len(block)
            if on_progress is not None:
                on_progress(n_written / SAMPLE_RATE)
    return n_written
