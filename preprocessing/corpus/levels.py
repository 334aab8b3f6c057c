"""What the samples of an utterance say: level, clipping, silence, and a digest that finds the same audio again.

Measured on the waveform that a recogniser is given (16 kHz, 16-bit grid). Clipping before a resampling or a codec is
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
from preprocessing.cli.errors import InputError
from preprocessing.corpus.utterance import Utterance

FULL_SCALE = audio.PCM_STEPS - 1  # of 16 bits; converters stop at either -32768 or -32767
CLIP_SAMPLES = 3  # in a row at one end: a peak that only just reaches it has fewer
FRAME_SAMPLES = 320  # 20 ms
SILENCE_DBFS = -60.0  # a frame below this RMS is silent; a quiet room's noise lies around it
UTTERANCES_PER_JOB = 16
JOBS_AHEAD = 4  # per worker


@dataclass(frozen=True, slots=True)
class Sound:
    """One utterance's measures. Levels are dB of full scale, -inf for nothing but zeros."""

    seconds: float
    peak_dbfs: float
    rms_dbfs: float
    full_scale_samples: int
    longest_clip_samples: int  # in a row at the same end of the scale
    leading_silence_seconds: float
    trailing_silence_seconds: float
    silent: bool  # every frame of it
    digest: bytes  # of the samples: the same audio, whatever the file's format


def measure(waveform: Tensor) -> Sound:
    """waveform: [samples] of the contract, one sample or more."""
    samples = (waveform * audio.PCM_STEPS).short().numpy()
    wide = samples.astype(np.int32)
    peak = int(np.abs(wide).max())
    leading, trailing, silent = _silence(wide)
    return Sound(
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


def decibels(amplitude: float) -> float:
    """dB of full scale.

    >>> decibels(1.0), round(decibels(0.5), 2), decibels(0.0)
    (0.0, -6.02, -inf)
    """
    return 20.0 * math.log10(amplitude) if amplitude > 0.0 else -math.inf


def _longest_run(hits: NDArray[np.bool_]) -> int:
    edges = np.flatnonzero(np.diff(hits.astype(np.int8), prepend=0, append=0))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def _silence(samples: NDArray[np.int32]) -> tuple[float, float, bool]:
    """Seconds of silent frames before the first and after the last that is not, and whether there is none such."""
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


def measure_all(
    utterances: Sequence[Utterance], *, workers: int, progress: Callable[[int], None] = lambda done: None
) -> Iterator[Sound | str]:
    """Each utterance's Sound in order, or the reason why its audio cannot be decoded.

    workers: processes; 0 decodes in this one. progress: told after every job how many utterances it held.
    Raises InputError naming the files at hand when a decoder takes its process down.
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
        ahead: deque[tuple[list[Utterance], Future[list[Sound | str]]]] = deque()
        try:
            for job in jobs:
                ahead.append((job, pool.submit(_measure_job, job)))
                if len(ahead) >= JOBS_AHEAD * workers:
                    yield from _collect(ahead, progress)
            while ahead:
                yield from _collect(ahead, progress)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _collect(
    ahead: deque[tuple[list[Utterance], Future[list[Sound | str]]]], progress: Callable[[int], None]
) -> list[Sound | str]:
    job, future = ahead.popleft()
    try:
        found = future.result()
    except BrokenProcessPool:
        raise InputError(
            f"a process that decoded audio died, at or soon after {job[0].id!r}; expected files that decoders survive: "
            "look with --workers 0, which dies at the same file"
        ) from None
    progress(len(job))
    return found


def _measure_job(job: Sequence[Utterance]) -> list[Sound | str]:
    found: list[Sound | str] = []
    for utterance in job:
        try:
            found.append(measure(audio.load(utterance.audio, start=utterance.start, stop=utterance.stop)))
        except InputError as error:
            found.append(str(error))
    return found
