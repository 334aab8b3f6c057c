"""Levels, clipping and silence of utterances' audio, and a digest by which the same audio is found again.

Measured on the waveform that models are given (16 kHz, 16-bit values). Clipping before a resampling or a codec is
rounded off by it and can be missed. Levels are RMS and peak in dB of full scale, not loudness as of ITU-R BS.1770.
"""

import hashlib
import math
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from preprocessing import audio
from preprocessing.corpus.utterance import Utterance, load_part
from preprocessing.errors import InputError

FULL_SCALE = audio.PCM_STEPS - 1  # of 16 bits; converters end at either -32768 or -32767
CLIP_SAMPLES = 3  # in a row at one end: a peak that only just reaches it has fewer
FRAME_SAMPLES = 320  # 20 ms
SILENCE_DBFS = -60.0  # a frame below this RMS is silent; a quiet room's noise lies around it
UTTERANCES_PER_JOB = 16
JOBS_AHEAD = 4  # per worker


@dataclass(frozen=True, slots=True)
class AudioLevels:
    """Levels of one utterance's audio in dB of full scale (-inf for nothing but zeros), its clipping and silence."""

    seconds: float
    peak_dbfs: float
    rms_dbfs: float
    full_scale_samples: int
    longest_clip_samples: int  # in a row at the same end of the scale
    leading_silence_seconds: float
    trailing_silence_seconds: float
    silent: bool  # every frame is below SILENCE_DBFS
    digest: bytes  # of the samples: the same audio, whatever the file's format


def measure_levels(waveform: Tensor) -> AudioLevels:
    """The levels of a waveform: float32 [samples] at 16 kHz, one sample or more."""
    samples = (waveform * audio.PCM_STEPS).short().numpy()
    wide = samples.astype(np.int32)
    peak = int(np.abs(wide).max())
    leading, trailing, silent = _silence(wide)
    return AudioLevels(
        seconds=len(samples) / audio.SAMPLE_RATE,
        peak_dbfs=decibels(peak / audio.PCM_STEPS),
        rms_dbfs=decibels(math.sqrt(float(np.square(wide, dtype=np.float64).mean())) / audio.PCM_STEPS),
        full_scale_samples=int((np.abs(wide) >= FULL_SCALE).sum()),
        longest_clip_samples=max(_longest_run(wide >= FULL_SCALE), _longest_run(wide <= -FULL_SCALE)),
        leading_silence_seconds=leading,
        trailing_silence_seconds=trailing,
        silent=silent,
        digest=hashlib.blake2b(samples.tobytes(), digest_size=16).digest(),
    )


def measure_corpus(
    utterances: Sequence[Utterance], *, workers: int, progress: Callable[[int], None] = lambda done: None
) -> Iterator[AudioLevels | str]:
    """Yield each utterance's AudioLevels in order, or the reason why its audio cannot be decoded.

    workers: processes that decode; 0 decodes in this one.
    progress: called after every job with the number of utterances that were in it.
    Raises InputError naming an utterance near the file when a decoder takes its process down.
    """
    starts = range(0, len(utterances), UTTERANCES_PER_JOB)
    jobs = (list(utterances[start : start + UTTERANCES_PER_JOB]) for start in starts)
    if workers < 1:
        for job in jobs:
            yield from _measure_job(job)
            progress(len(job))
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # torch is imported once, not once for each worker
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        ahead: deque[tuple[list[Utterance], Future[list[AudioLevels | str]]]] = deque()
        try:
            for job in jobs:
                ahead.append((job, pool.submit(_measure_job, job)))
                if len(ahead) >= JOBS_AHEAD * workers:
                    yield from _collect(ahead, progress)
            while ahead:
                yield from _collect(ahead, progress)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def decibels(amplitude: float) -> float:
    """An amplitude (1.0 is full scale) in dB of full scale.

    >>> decibels(1.0), round(decibels(0.5), 2), decibels(0.0)
    (0.0, -6.02, -inf)
    """
    return 20.0 * math.log10(amplitude) if amplitude > 0.0 else -math.inf


def _longest_run(mask: NDArray[np.bool_]) -> int:
    edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def _silence(samples: NDArray[np.int32]) -> tuple[float, float, bool]:
    """Seconds of silent frames before the first and after the last loud one, and whether every frame is silent."""
    starts = np.arange(0, len(samples), FRAME_SAMPLES)
    lengths = np.diff(starts, append=len(samples))
    power = np.add.reduceat(np.square(samples, dtype=np.float64), starts) / lengths
    loud = np.flatnonzero(power >= (audio.PCM_STEPS * 10.0 ** (SILENCE_DBFS / 20.0)) ** 2)
    seconds = len(samples) / audio.SAMPLE_RATE
    if len(loud) == 0:
        return seconds, seconds, True
    leading = int(starts[loud[0]])
    trailing = len(samples) - int(starts[loud[-1]] + lengths[loud[-1]])
    return leading / audio.SAMPLE_RATE, trailing / audio.SAMPLE_RATE, False


def _collect(
    ahead: deque[tuple[list[Utterance], Future[list[AudioLevels | str]]]], progress: Callable[[int], None]
) -> list[AudioLevels | str]:
    job, future = ahead.popleft()
    try:
        levels = future.result()
    except BrokenProcessPool:
        raise InputError(
            f"a process that decoded audio died, at or soon after {job[0].id!r}; expected files that decoders survive: "
            "look with --workers 0, which dies at the same file"
        ) from None
    progress(len(job))
    return levels


def _measure_job(job: Sequence[Utterance]) -> list[AudioLevels | str]:
    levels: list[AudioLevels | str] = []
    for utterance in job:
        try:
            levels.append(measure_levels(load_part(utterance)))
        except InputError as error:
            levels.append(str(error))
    return levels
