"""Any audio file, bytes or open file as a mono float32 waveform at 16 kHz, with exactly the values of 16-bit PCM.

The one waveform contract of training and benchmark: 16,000 samples per second, one channel, every value k / 32768 with
k a 16-bit integer. soundfile (libsndfile) decodes WAV, FLAC, Ogg Vorbis, Ogg Opus, MP3 and AIFF; PyAV (FFmpeg's
libraries, inside its wheel) decodes the rest. Channels are averaged, then soxr's very high quality filter resamples,
then samples are rounded to 16 bits. No system package is needed. Cutting is in `preprocessing.segment`, augmentation
in `preprocessing.augment`.

contract: constants, sources, the decoder's interface   sndfile, ffmpeg: the two decoders
joined: several recordings in one file   waveform: load, stream, probe, transcode   parts: those of one file, in turn
pcm16: rounding, dither, save
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
    AudioSource,
    StoredAudio,
    describe_source,
)

if TYPE_CHECKING:
    from preprocessing.audio.parts import PartLoader
    from preprocessing.audio.pcm16 import quantise, save
    from preprocessing.audio.waveform import can_seek, load, probe, stream, transcode

__all__ = [
    "MAX_SAMPLE_RATE",
    "PCM_STEPS",
    "SAMPLE_RATE",
    "TAIL_SECONDS",
    "AudioError",
    "AudioInfo",
    "AudioSource",
    "PartLoader",
    "StoredAudio",
    "can_seek",
    "describe_source",
    "load",
    "probe",
    "quantise",
    "save",
    "stream",
    "transcode",
]

_HOMES = {
    "PartLoader": "parts",
    **dict.fromkeys(("can_seek", "load", "probe", "stream", "transcode"), "waveform"),
    **dict.fromkeys(("quantise", "save"), "pcm16"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    attribute = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = attribute
    return attribute
