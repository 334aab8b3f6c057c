"""16-bit PCM at 16 kHz, mono, as WAV or FLAC: written beside and renamed, so whole or not at all."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile
from torch import Tensor

from preprocessing.audio.contract import SAMPLE_RATE, AudioError
from preprocessing.audio.decode import open_decoder
from preprocessing.audio.grid import TriangularDither, to_pcm16
from preprocessing.audio.source import AudioSource
from preprocessing.audio.waveform import resampled
from preprocessing.whole import whole_file

FORMATS = {".wav": "WAV", ".flac": "FLAC"}
BLOCK_SECONDS = 10


def save(path: Path, waveform: Tensor) -> None:
    """Write a waveform [samples] as 16-bit PCM at 16 kHz, whole or not at all; WAV or FLAC by the path's suffix."""
    with _writing(path) as file:
        file.write(to_pcm16(waveform.numpy()))


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
    with open_decoder(source) as decoder, _writing(path) as file:
        for block in resampled(source, decoder, 0.0, None, BLOCK_SECONDS * decoder.info.sample_rate):
            file.write(to_pcm16(np.ascontiguousarray(block), dither))
            n_written += len(block)
            if on_progress is not None:
                on_progress(n_written / SAMPLE_RATE)
    return n_written


@contextmanager
def _writing(path: Path) -> Iterator[soundfile.SoundFile]:
    if path.suffix.lower() not in FORMATS:
        raise AudioError(f"{path}: suffix {path.suffix!r}; expected .wav or .flac: choose one of them")
    try:
        with (
            whole_file(path) as beside,
            soundfile.SoundFile(beside, "w", SAMPLE_RATE, 1, "PCM_16", format=FORMATS[path.suffix.lower()]) as file,
        ):
            yield file
    except (soundfile.LibsndfileError, OSError) as error:
        reason = getattr(error, "error_string", None) or getattr(error, "strerror", None) or error
        raise AudioError(f"{path}: cannot be written ({reason}); expected a writable folder: choose another") from None
