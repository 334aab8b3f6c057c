"""Any audio file, bytes or open file -> mono float32 at 16 kHz, exactly as 16-bit PCM holds it.

The one waveform contract of training and benchmark: 16,000 samples per second, one channel, every value k / 32768 with
k a 16-bit integer. soundfile (libsndfile) decodes WAV, FLAC, Ogg Vorbis, Ogg Opus, MP3 and AIFF; PyAV (FFmpeg's
libraries, inside its wheel) decodes the rest. Channels are averaged, then soxr's very high quality filter resamples,
then samples are rounded to the 16-bit grid. No system package is needed. Cutting and augmenting live elsewhere.

contract: the numbers   source, promise: what is given   sndfile, ffmpeg, decode: samples as they are stored
waveform: load, stream, probe   grid: the 16-bit grid, dither   write: save, transcode
The names below are imported when first used, so that a command's --help does not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from preprocessing.audio.contract import (
    MAX_SAMPLE_RATE,
    PCM_STEPS,
    SAMPLE_RATE,
    TAIL_SECONDS,
    AudioError,
    AudioInfo,
)

if TYPE_CHECKING:
    from preprocessing.audio.grid import quantise
    from preprocessing.audio.source import AudioSource, StoredAudio, describe_source
    from preprocessing.audio.waveform import load, probe, stream
    from preprocessing.audio.write import save, transcode

__all__ = [
    "MAX_SAMPLE_RATE",
    "PCM_STEPS",
    "SAMPLE_RATE",
    "TAIL_SECONDS",
    "AudioError",
    "AudioInfo",
    "AudioSource",
    "StoredAudio",
    "describe_source",
    "load",
    "probe",
    "quantise",
    "save",
    "stream",
    "transcode",
]

_HOMES = {
    **dict.fromkeys(("load", "probe", "stream"), "waveform"),
    **dict.fromkeys(("save", "transcode"), "write"),
    **dict.fromkeys(("AudioSource", "StoredAudio", "describe_source"), "source"),
    "quantise": "grid",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    attribute = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = attribute
    return attribute
