"""`load`, `stream`, `probe` and `transcode`: decoded blocks, mixed to one channel or of the one asked for, at 16 kHz,
rounded to 16-bit PCM.

All of them go the same way, block by block. soxr's stream gives the result of its one-shot function to the bit,
whatever the blocks, so `load` needs no way of its own.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeAlias

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
    OpenedSource,
    Samples,
    describe_source,
    filter_margin,
    gathered,
    open_source,
)
from preprocessing.audio.joined import JoinedDecoder, beginnings
from preprocessing.audio.pcm16 import TriangularDither, pcm16_file, quantise, quantise_, to_pcm16
from preprocessing.audio.sndfile import open_sndfile, stated_length
from preprocessing.cli.notes import note_once

MAX_AMPLITUDE = 16.0  # times full scale, 24 dB over it: beyond are integers that were stored as floats
CLIPPED_AMPLITUDE = 10 ** (1 / 20)  # times full scale, 1 dB over it: of floats, from where clipping is worth a note
FLOAT_CODECS = ("FLOAT", "DOUBLE", "pcm_f16le", "pcm_f24le", "pcm_f32be", "pcm_f32le", "pcm_f64be", "pcm_f64le")
CANCELLED_POWER = 0.01  # of the mean of the channels, beside their own: independent ones leave 1 / channels
CANCELLED_SAMPLES = 4000  # of the shortest block in which that is no accident
CODEC_BLOCKS = 1 << 62  # samples of a block: as many as the decoder gives at a time
TRANSCODE_BLOCK_SECONDS = 10
SNDFILE_MAGIC = (b"RIFF", b"RIFX", b"RF64", b"FORM", b"fLaC", b"OggS", b"caff", b".snd", b"riff", b"NIST")
MAYBE_JOINED = (b"RIFF", b"OggS", b"fLaC")

Mono: TypeAlias = NDArray[np.float32]  # [samples]


def probe(source: AudioSource) -> AudioInfo:
    """The facts in the header, without decoding; where it does not say how long it is, as of a browser's recording, the
    samples are counted, for which the file is read to its end.

    Raises AudioError where `load` would fail for the same reason.
    """
    with open_decoder(source) as decoder:
        return decoder.info if decoder.info.n_samples else replace(decoder.info, n_samples=decoder.count_samples())


def load(source: AudioSource, *, start: float = 0.0, stop: float | None = None, channel: int | None = None) -> Tensor:
    """The waveform of a source: float32 [samples] at 16 kHz, every value k / 32768 in [-1, 1).

    start, stop: seconds into the source; the part before `start` is skipped where the format can seek, `stop=None` is
    the end. channel: the one to take, from 0, such as that of the agent in a recorded call; None is the mean of all.
    Raises AudioError when the source is missing, is no audio, is damaged or ends before the length in its header, holds
    no samples, has no such channel, or holds NaN or infinite samples.
    """
    check_window(source, start, stop)
    with open_decoder(source, stop) as decoder:
        return decoded(source, decoder, start, stop, channel)


def decoded(source: AudioSource, decoder: Decoder, start: float, stop: float | None, channel: int | None) -> Tensor:
    """`load` of a part of a source by its opened decoder."""
    blocks = resampled(source, decoder, start, stop, CODEC_BLOCKS, channel)
    waveform = torch.from_numpy(_concatenated(list(blocks)))
    return waveform if _is_contract(decoder) else quantise_(waveform)


def stream(
    source: AudioSource,
    *,
    block_seconds: float = 30.0,
    start: float = 0.0,
    stop: float | None = None,
    channel: int | None = None,
) -> Iterator[Tensor]:
    """The waveform of `load` in blocks [samples] of `block_seconds`, the last one shorter; memory does not grow.

    The blocks together are `load`'s result to the bit. Raises AudioError like `load`; on damage when it is reached.
    """
    check_window(source, start, stop)
    if not 0.001 <= block_seconds <= 86_400:
        raise AudioError(f"block_seconds {block_seconds}; expected 0.001 s to 86400 s: choose another")
    return _stream(source, block_seconds, start, stop, channel)


def can_seek(source: AudioSource) -> bool:
    """Whether `load` of a part decodes about that part alone: not in MP3, GSM 6.10 or raw AAC, which it decodes from
    their beginning. Raises AudioError like `load`, on what the header tells.
    """
    with open_decoder(source) as decoder:
        return decoder.can_seek


def transcode(
    source: AudioSource,
    path: Path,
    *,
    dither: TriangularDither | None = None,
    on_progress: Callable[[float], None] | None = None,
    channel: int | None = None,
) -> int:
    """Write the waveform of a source to a WAV or FLAC file, by streaming. Returns the number of samples written.

    dither: noise added before rounding; without it the file holds what `load` returns.
    on_progress: called with the seconds written since the last call. channel: as of `load`.
    Raises AudioError like `load`; nothing is left at `path` then.
    """
    n_written = 0
    with open_decoder(source) as decoder, pcm16_file(path) as file:
        n_samples = TRANSCODE_BLOCK_SECONDS * decoder.info.sample_rate
        for block in resampled(source, decoder, 0.0, None, n_samples, channel):
            file.write(to_pcm16(np.ascontiguousarray(block), dither))
            n_written += len(block)
            if on_progress is not None:
                on_progress(len(block) / SAMPLE_RATE)
    return n_written


@contextmanager
def open_decoder(source: AudioSource, stop: float | None = None) -> Iterator[Decoder]:
    """Yield the decoder of a source: libsndfile's for the formats that it knows, else FFmpeg's; of a file that holds
    several recordings one after another, that of all of them, or of the first where it holds all samples wanted.

    stop: seconds up to which samples are wanted; None is the end.
    Raises AudioError when neither can read the source, or its header is implausible.
    """
    opened = open_source(source)
    begins = [0]
    if opened.may_be_mp3 or opened.head.startswith(MAYBE_JOINED):
        begins = beginnings(opened, stop)
    if len(begins) > 1:
        yield JoinedDecoder(opened, begins, _open_one)
        return
    with _open_one(opened) as decoder:
        yield decoder


@contextmanager
def _open_one(opened: OpenedSource) -> Iterator[Decoder]:
    is_streamed = False
    if opened.may_be_mp3 or opened.head.startswith(SNDFILE_MAGIC):
        is_streamed, missing_bytes = stated_length(opened)
        if is_streamed and not opened.may_be_mp3:
            note_once(
                "no length in a header",
                f"{opened.name}: its header does not state its length, as when a recording is written to a pipe, is "
                "longer than 4 GiB, or its recorder is killed; the file is read to its end. This note is shown once",
            )
        if not is_streamed:
            with open_sndfile(opened, missing_bytes) as decoder:
                if decoder is not None:
                    _check_header(opened, decoder.info)
                    yield decoder
                    return
    from preprocessing.audio.ffmpeg import open_ffmpeg  # imported here as PyAV takes a while, and few files need it

    with open_ffmpeg(opened, to_the_end=is_streamed) as other:
        _check_header(opened, other.info)
        yield other


def resampled(
    source: AudioSource,
    decoder: Decoder,
    start: float,
    stop: float | None,
    n_samples: int,
    channel: int | None = None,
) -> Iterator[Mono]:
    """Yield blocks [samples] at 16 kHz, not yet rounded to 16 bits, none of them empty.

    start, stop: seconds into the source; between them are the samples that the whole has there, as the resampling
    filter is given what lies on either side. n_samples: of the decoder's blocks. channel: None mixes all.
    Raises AudioError when there are no samples there, and no such channel.
    """
    rate, n_channels = decoder.info.sample_rate, decoder.info.n_channels
    if channel is not None and not 0 <= channel < n_channels:
        known = "0 alone" if n_channels == 1 else f"0 to {n_channels - 1}"
        raise AudioError(f"{describe_source(source)}: has no channel {channel}; expected {known}: correct the number")
    is_float = decoder.info.codec.endswith(FLOAT_CODECS)
    window = _Window.of(start, stop, rate)
    monos = (
        _mix(source, block if channel is None else block[:, channel : channel + 1], is_float)
        for block in decoder.blocks(window.first, window.last, n_samples)
    )
    position, is_empty = 0, True
    for block in monos if rate == SAMPLE_RATE else _at_16_khz(monos, rate):
        kept = block[max(window.begin - position, 0) : None if window.end is None else max(window.end - position, 0)]
        position += len(block)
        if len(kept):
            is_empty = False
            yield kept
    if is_empty and start:
        end = "on" if stop is None else f"to {stop:g} s"
        raise AudioError(
            f"{describe_source(source)}: holds no audio samples from {start:g} s {end}; expected at least one: correct "
            "start and stop"
        )
    if is_empty:
        raise AudioError(
            f"{describe_source(source)}: holds no audio samples; expected at least one: record or export it again"
        )


class _Window(NamedTuple):
    """The samples to decode, and which to keep of what they are at 16 kHz."""

    first: int  # of the source
    last: int | None  # the one after the last; None: to the end
    begin: int  # at 16 kHz, counted from `first`
    end: int | None  # the one after the last, likewise

    @classmethod
    def of(cls, start: float, stop: float | None, rate: int) -> "_Window":
        """For seconds of a source: with what the filter needs on either side, from a time on at which the whole has a
        sample at 16 kHz, too.
        """
        wanted, wanted_end = round(start * rate), None if stop is None else round(stop * rate)
        margin = filter_margin(rate)
        common = rate // math.gcd(rate, SAMPLE_RATE)
        first = max(wanted - margin, 0) // common * common

        def nearest(sample: int) -> int:
            return (2 * (sample - first) * SAMPLE_RATE + rate) // (2 * rate)

        if wanted_end is None:
            return cls(first, None, nearest(wanted), None)
        return cls(first, wanted_end + margin, nearest(wanted), nearest(wanted_end))


def _at_16_khz(blocks: Iterator[Mono], rate: int) -> Iterator[Mono]:
    resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, "float32", "VHQ")
    for block in blocks:
        yield resampler.resample_chunk(block)
    yield resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True)


def _stream(
    source: AudioSource, block_seconds: float, start: float, stop: float | None, channel: int | None
) -> Iterator[Tensor]:
    length = round(block_seconds * SAMPLE_RATE)
    with open_decoder(source, stop) as decoder:
        n_samples = max(round(block_seconds * decoder.info.sample_rate), 1)
        for block in _regrouped(resampled(source, decoder, start, stop, n_samples, channel), length):
            yield quantise(torch.from_numpy(block))


def _concatenated(blocks: list[Mono]) -> Mono:
    """The blocks [samples] one after another. Each is freed once copied: hours are not held twice."""
    if len(blocks) == 1:
        return blocks[0]
    waveform = np.empty(sum(map(len, blocks)), np.float32)
    at = 0
    blocks.reverse()
    while blocks:
        block = blocks.pop()
        waveform[at : at + len(block)] = block
        at += len(block)
    return waveform


def _regrouped(blocks: Iterator[Mono], length: int) -> Iterator[Mono]:
    """The same samples in blocks of `length`, the last one shorter."""
    rest = np.zeros(0, np.float32)
    for block in gathered(blocks, length):
        joined = np.concatenate([rest, block])
        complete = len(joined) - len(joined) % length
        for at in range(0, complete, length):
            yield joined[at : at + length]
        rest = joined[complete:].copy()
    if len(rest):
        yield rest


def _mix(source: AudioSource, block: Samples, is_float: bool) -> Mono:
    """The mean of the channels [samples, channels] -> [samples].

    is_float: the source can hold more than full scale. Raises AudioError on what is not finite or far beyond it.
    """
    mono: Mono = np.ascontiguousarray(block[:, 0])
    if block.shape[1] > 1:
        mono = mono.copy()
        for channel in range(1, block.shape[1]):
            mono += block[:, channel]
        mono /= block.shape[1]
    largest = max(float(mono.max()), -float(mono.min()))
    if not np.isfinite(largest):
        raise AudioError(
            f"{describe_source(source)}: holds NaN or infinite samples; expected finite ones: export it again"
        )
    if largest > MAX_AMPLITUDE:
        raise AudioError(
            f"{describe_source(source)}: samples reach {largest:.3g} times full scale; expected about 1: divide by the "
            "scale of their integers, or export as 16-bit PCM"
        )
    if is_float and largest > CLIPPED_AMPLITUDE:
        note_once(
            "clipped floats",
            f"{describe_source(source)}: its floats reach {largest:.3g} times full scale and are clipped to it, which "
            "distorts; expected at most 1: lower the level where the file is made. This note is shown once",
        )
    if block.shape[1] > 1 and len(mono) >= CANCELLED_SAMPLES:
        _note_if_cancelled(source, block, mono)
    return mono


def _note_if_cancelled(source: AudioSource, block: Samples, mono: Mono) -> None:
    """Note channels [samples, channels] whose mean [samples] is all but silent beside them."""
    # In the order of memory: a copy in another one takes as long as resampling.
    values = block.ravel(order="K")
    if np.dot(mono, mono) * block.shape[1] < CANCELLED_POWER * np.dot(values, values):
        note_once(
            "channels in antiphase",
            f"{describe_source(source)}: its channels cancel each other, as where one is wired in antiphase, so that "
            "their mean is all but silent; expected channels in phase: choose one by --channel, or by the field "
            "channel of a manifest. This note is shown once",
        )


def check_window(source: AudioSource, start: float, stop: float | None) -> None:
    """Raises AudioError where no part can lie between two seconds."""
    if not 0 <= start < float("inf") or not (stop is None or start < stop < float("inf")):
        raise AudioError(
            f"{describe_source(source)}: start {start} s, stop {stop} s; expected 0 <= start < stop: change them"
        )


def _is_contract(decoder: Decoder) -> bool:
    return decoder.is_pcm16 and decoder.info.n_channels == 1 and decoder.info.sample_rate == SAMPLE_RATE


def _check_header(opened: OpenedSource, info: AudioInfo) -> None:
    if not 0 < info.sample_rate <= MAX_SAMPLE_RATE or info.n_channels < 1:
        raise AudioError(
            f"{opened.name}: header says {info.sample_rate} Hz, {info.n_channels} channels; expected 1 to "
            f"{MAX_SAMPLE_RATE} Hz and a channel or more: export it again"
        )
