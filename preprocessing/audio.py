"""Any audio file or bytes -> mono float32 at 16 kHz, exactly as 16-bit PCM holds it.

The one waveform contract of training and benchmark: 16,000 samples per second, one channel, every value k / 32768 with
k a 16-bit integer. soundfile (libsndfile) decodes WAV, FLAC, Ogg Vorbis, Ogg Opus, MP3 and AIFF; PyAV (FFmpeg's
libraries, inside its wheel) decodes the rest. Channels are averaged, then soxr's very high quality filter resamples,
then samples are rounded to the 16-bit grid. No system package is needed. Cutting and augmenting live elsewhere.
"""

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from preprocessing.errors import InputError

SAMPLE_RATE = 16_000  # samples per second: what wav2vec 2.0 and Whisper were trained on
PCM_STEPS = 32_768  # 16-bit PCM: a sample is k / 32768 with k in [-32768, 32767]
MAX_SAMPLE_RATE = 384_000  # the highest rate of any converter sold; above it, a header lies

AudioSource: TypeAlias = str | os.PathLike[str] | bytes

_NO_FRAMES = "holds no audio samples; expected at least one: record or export it again"


class AudioError(InputError):
    """Audio that cannot be used: one sentence naming the file, what was found, what was expected, what to do."""


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What a file's header says, before any decoding."""

    sample_rate: int  # samples per second and channel
    n_channels: int
    n_samples: int  # per channel; 0 where the container does not say
    codec: str

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.n_samples / self.sample_rate


def describe_source(source: AudioSource) -> str:
    """How messages name a source: its path, or its size when it is bytes."""
    return f"<{len(source)} bytes of audio>" if isinstance(source, bytes) else repr(os.fspath(source))[1:-1]


def probe(source: AudioSource) -> AudioInfo:
    """Read the header alone. Raises AudioError where `load` would fail for the same reason."""
    opened = _open(source)
    try:
        header = soundfile.info(opened)
        info = AudioInfo(header.samplerate, header.channels, header.frames, f"{header.format} {header.subtype}")
    except soundfile.LibsndfileError as error:
        info = _probe_with_av(source, error)
    _check_header(source, info)
    return info


def load(source: AudioSource, *, start: float = 0.0, stop: float | None = None) -> Tensor:
    """Decode to the waveform contract.

    start, stop: seconds into the source; the part before `start` is skipped where the format can seek, `stop=None` is
    the end.
    Returns a float32 tensor [samples] at 16 kHz with values on the 16-bit grid in [-1, 1).
    Raises AudioError when the source is missing, is no audio, holds no samples, or holds NaN or infinite samples.
    """
    if start < 0 or (stop is not None and stop <= start):
        raise AudioError(
            f"{describe_source(source)}: start {start} s, stop {stop} s; expected 0 <= start < stop: mend the two"
        )
    channels, sample_rate = _decode(source, start, stop)
    if channels.shape[0] == 0:
        raise AudioError(f"{describe_source(source)}: {_NO_FRAMES}")
    mono = channels[:, 0] if channels.shape[1] == 1 else channels.mean(axis=1, dtype=np.float32)
    if not np.isfinite(mono).all():
        raise AudioError(
            f"{describe_source(source)}: holds NaN or infinite samples; expected finite ones: export again"
        )
    if sample_rate != SAMPLE_RATE:
        mono = soxr.resample(mono, sample_rate, SAMPLE_RATE, quality="VHQ")
        if mono.size == 0:
            raise AudioError(f"{describe_source(source)}: {_NO_FRAMES}")
    return quantise(torch.from_numpy(mono))


def quantise(waveform: Tensor) -> Tensor:
    """Round to the nearest of the 65,536 values that 16-bit PCM holds (ties to even), clipping at full scale.

    waveform: float32, any shape. Returns the same shape; applying it again changes nothing.

    >>> quantise(torch.tensor([0.5, 1.0, -1.5, 1 / 65536])).tolist()
    [0.5, 0.999969482421875, -1.0, 0.0]
    """
    return (waveform * PCM_STEPS).round().clamp(-PCM_STEPS, PCM_STEPS - 1) / PCM_STEPS


def save(path: Path, waveform: Tensor) -> None:
    """Write a waveform [samples] as 16-bit PCM at 16 kHz, whole or not at all; WAV or FLAC by the path's suffix."""
    formats = {".wav": "WAV", ".flac": "FLAC"}
    if path.suffix.lower() not in formats:
        raise AudioError(f"{path}: suffix {path.suffix!r}; expected .wav or .flac: choose one of them")
    integers = (quantise(waveform) * PCM_STEPS).to(torch.int16).numpy()
    beside = path.with_name(path.name + ".partial")
    soundfile.write(beside, integers, SAMPLE_RATE, format=formats[path.suffix.lower()], subtype="PCM_16")
    os.replace(beside, path)


def _open(source: AudioSource) -> str | io.BytesIO:
    """What the decoders take, after the checks whose own messages are poor."""
    name = describe_source(source)
    if isinstance(source, bytes):
        if not source:
            raise AudioError(f"{name}: empty; expected an audio file: fetch it again")
        return io.BytesIO(source)
    path = os.fspath(source)
    if os.path.isdir(path):
        raise AudioError(f"{name}: is a folder; expected an audio file: name a file in it")
    try:
        size = os.stat(path).st_size
        with open(path, "rb"):
            pass
    except FileNotFoundError:
        raise AudioError(f"{name}: no such file; expected an audio file: mend the path") from None
    except OSError as error:
        raise AudioError(f"{name}: {error.strerror}; expected a readable audio file: mend its permissions") from None
    if size == 0:
        raise AudioError(f"{name}: empty file; expected audio: fetch it again")
    return path


def _check_header(source: AudioSource, info: AudioInfo) -> None:
    if not 0 < info.sample_rate <= MAX_SAMPLE_RATE or info.n_channels < 1:
        raise AudioError(
            f"{describe_source(source)}: header says {info.sample_rate} Hz, {info.n_channels} channels; expected 1 to "
            f"{MAX_SAMPLE_RATE} Hz and a channel or more: export it again"
        )


def _decode(source: AudioSource, start: float, stop: float | None) -> tuple[NDArray[np.float32], int]:
    """Samples [samples, channels] float32 between `start` and `stop` seconds, and their rate."""
    opened = _open(source)
    try:
        with soundfile.SoundFile(opened) as file:
            info = AudioInfo(file.samplerate, file.channels, file.frames, file.format)
            _check_header(source, info)
            first = min(round(start * file.samplerate), file.frames)
            last = file.frames if stop is None else min(round(stop * file.samplerate), file.frames)
            if first:
                file.seek(first)
            return file.read(last - first, dtype="float32", always_2d=True), file.samplerate
    except soundfile.LibsndfileError as error:
        return _decode_with_av(source, start, stop, error)


def _not_audio(source: AudioSource, reason: object) -> AudioError:
    return AudioError(
        f"{describe_source(source)}: not audio that can be decoded ({str(reason).strip().rstrip('.')}); expected WAV, "
        "FLAC, Ogg, MP3, AIFF, M4A, WebM or the like: convert or remove it"
    )


def _av_container(source: AudioSource, sndfile_error: soundfile.LibsndfileError) -> Any:
    import av

    opened = _open(source)
    try:
        container = av.open(opened, metadata_errors="ignore")
    except (av.FFmpegError, ValueError):
        raise _not_audio(source, sndfile_error.error_string) from None
    if not container.streams.audio:
        container.close()
        raise _not_audio(source, "it has no audio track")
    return container


def _probe_with_av(source: AudioSource, sndfile_error: soundfile.LibsndfileError) -> AudioInfo:
    with _av_container(source, sndfile_error) as container:
        stream = container.streams.audio[0]
        seconds = 0.0
        if stream.duration is not None:
            seconds = float(stream.duration * stream.time_base)
        elif container.duration is not None:
            seconds = container.duration / 1_000_000  # FFmpeg's AV_TIME_BASE: microseconds
        return AudioInfo(stream.rate, stream.channels, round(seconds * stream.rate), stream.codec_context.name)


def _decode_with_av(
    source: AudioSource, start: float, stop: float | None, sndfile_error: soundfile.LibsndfileError
) -> tuple[NDArray[np.float32], int]:
    import av

    with _av_container(source, sndfile_error) as container:
        stream = container.streams.audio[0]
        try:
            blocks = list(_av_blocks(container, stream))
        except av.FFmpegError as error:
            raise _not_audio(source, error) from None
        rate = stream.rate
    if not blocks:
        raise AudioError(f"{describe_source(source)}: {_NO_FRAMES}")
    samples = np.concatenate(blocks)
    return samples[round(start * rate) : None if stop is None else round(stop * rate)], rate


def _av_blocks(container: Any, stream: Any) -> Iterator[NDArray[np.float32]]:
    """Blocks [samples, channels] float32; FFmpeg converts every sample format to planar float at full scale 1."""
    import av

    to_float = av.AudioResampler(format="fltp")
    for frame in container.decode(stream):
        for converted in to_float.resample(frame):
            yield converted.to_ndarray().T
    for converted in to_float.resample(None):
        yield converted.to_ndarray().T
