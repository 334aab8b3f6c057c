"""16-bit PCM: rounding with or without triangular dither, and writing WAV and FLAC.

Dither keeps the part of a signal that lies below a step (Lipshitz, Wannamaker & Vanderkooy 1992, Quantization and
Dither: A Theoretical Survey, J. Audio Eng. Soc. 40(5)): noise with a triangular density two steps wide, added before
rounding, makes the error's mean zero and its variance a quarter of a squared step, whatever the signal.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from torch import Tensor

from preprocessing.audio.contract import PCM_STEPS, SAMPLE_RATE, AudioError, one_line
from preprocessing.storage.atomic_write import atomic_file

FORMATS = {".wav": "WAV", ".flac": "FLAC"}  # by suffix
SYSTEM_ERROR = 2  # of libsndfile: SF_ERR_SYSTEM


def quantise(waveform: Tensor) -> Tensor:
    """The waveform rounded to the nearest of the 65,536 values of 16-bit PCM (ties to even), clipped at full scale.

    waveform: float32 of any shape, full scale being 1. Returns the same shape; applied again, it changes nothing.

    >>> import torch
    >>> quantise(torch.tensor([0.5, 1.0, -1.5, 1 / 65536])).tolist()
    [0.5, 0.999969482421875, -1.0, 0.0]
    """
    return quantise_(waveform.clone())


def quantise_(waveform: Tensor) -> Tensor:
    """`quantise` in the waveform's own memory."""
    return waveform.mul_(PCM_STEPS).round_().clamp_(-PCM_STEPS, PCM_STEPS - 1).div_(PCM_STEPS)


class TriangularDither:
    """Noise of triangular density on (-1, 1) steps, by seed; the same samples in whatever blocks they are drawn.

    >>> whole, halves = TriangularDither(0), TriangularDither(0)
    >>> bool((whole.draw(4) == np.concatenate([halves.draw(2), halves.draw(2)])).all())
    True
    """

    def __init__(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)

    def draw(self, n_samples: int) -> NDArray[np.float64]:
        """The next noise [n_samples], in steps of 1 / 32768."""
        uniform = self._generator.random((n_samples, 2))
        noise: NDArray[np.float64] = uniform[:, 0] - uniform[:, 1]
        return noise


def to_pcm16(waveform: NDArray[np.float32], dither: TriangularDither | None = None) -> NDArray[np.int16]:
    """The integers of 16-bit PCM [samples] for a waveform [samples] at full scale 1, dithered before rounding."""
    steps = waveform.astype(np.float64) * PCM_STEPS
    if dither is not None:
        steps += dither.draw(len(steps))
    return np.rint(steps, out=steps).clip(-PCM_STEPS, PCM_STEPS - 1).astype(np.int16)


def save(path: Path, waveform: Tensor) -> None:
    """Write a waveform [samples] as 16-bit PCM at 16 kHz, complete or not at all; WAV or FLAC by the path's suffix.

    Raises AudioError on another suffix, and where the file cannot be written.
    """
    with pcm16_file(path) as file:
        file.write(to_pcm16(waveform.numpy()))


@contextmanager
def pcm16_file(path: Path) -> Iterator[soundfile.SoundFile]:
    """Yield a file to write 16-bit samples at 16 kHz to; it appears at `path` when the block ends without an error."""
    if path.suffix.lower() not in FORMATS:
        raise AudioError(f"{path}: suffix {path.suffix!r}; expected .wav or .flac: choose one of them")
    try:
        with atomic_file(path) as temporary:
            temporary.touch()  # raises OSError with its reason, where libsndfile has but "System error"
            with pcm16_writer(temporary, FORMATS[path.suffix.lower()]) as file:
                yield file
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioError(
            f"{path}: cannot be written ({one_line(error)}); expected a writable folder with free space: choose "
            "another, or free some space"
        ) from None


@contextmanager
def pcm16_writer(path: Path, file_format: str) -> Iterator[soundfile.SoundFile]:
    """Yield a file to write 16-bit samples at 16 kHz to, "WAV" or "FLAC".

    Raises soundfile.LibsndfileError where not all of them are in it at the end. libsndfile itself does not, where a
    full disk takes no more on closing, when the last samples of a FLAC are written: they are read again.
    """
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, "PCM_16", format=file_format) as file:
        yield file
    if file.frames:
        with soundfile.SoundFile(path) as written:
            written.seek(file.frames - 1)
            if len(written.read()) != 1:
                raise soundfile.LibsndfileError(SYSTEM_ERROR)
