"""Augmentations of time: shift, speed (changes the pitch too), tempo (keeps the pitch), pitch (keeps the duration).

Tempo and pitch stretch by WSOLA, waveform-similarity overlap-add (Verhelst and Roelands 1993, ICASSP). Lengths are
exact: of n samples, shift and pitch give n, speed and tempo `scaled_length(n, factor)`.
"""

import math

import numpy as np
import soxr
import torch
from numpy.lib.stride_tricks import sliding_window_view

from preprocessing.audio import SAMPLE_RATE
from preprocessing.augment.base import Augmentation, Range, Samples, checked_range, draw, draw_index
from preprocessing.errors import UsageError

HOP = 400  # samples of the output from one segment to the next: 25 ms
OVERLAP = 200  # samples of a cross-fade, and of the comparison: 12.5 ms
SEARCH = 120  # samples on either side of the nominal place: 15 ms in all, a period of the lowest voices (67 Hz)
_FADE_IN = (0.5 - 0.5 * np.cos(np.pi * (np.arange(OVERLAP) + 0.5) / OVERLAP)).astype(np.float32)
_MIN_ENERGY = 1e-9 * OVERLAP  # of a candidate: a 16-bit recording below is silent


def scaled_length(n_samples: int, factor: float) -> int:
    """The length of `n_samples` played `factor` times as fast: n / factor, rounded (half to even), at least 1.

    >>> scaled_length(16_000, 1.1), scaled_length(1, 2.0)
    (14545, 1)
    """
    return max(1, round(n_samples / factor))


class TimeShift(Augmentation):
    """A shift of the waveform within its own duration, with silence in its place.

    shift_seconds: positive is later. Samples shifted out are lost: stay within the silence around your utterances.
    """

    name = "time_shift"

    def __init__(self, shift_seconds: Range = (-0.05, 0.05), probability: float = 1.0) -> None:
        super().__init__(probability)
        self.shift_seconds = checked_range(self.name, "shift_seconds", shift_seconds, -10.0, 10.0, "s")

    def transform(self, samples: Samples, generator: torch.Generator) -> Samples:
        shift = round(draw(generator, *self.shift_seconds) * SAMPLE_RATE)
        shift = min(max(shift, -samples.size), samples.size)
        shifted = np.zeros_like(samples)
        shifted[max(shift, 0) : samples.size + shift] = samples[max(-shift, 0) : samples.size - shift]
        return shifted


class Speed(Augmentation):
    """Faster or slower playing: duration, pitch and formants change together (Ko et al. 2015, Interspeech; Kaldi).

    factors: one is drawn; 1.1 plays 10 % faster and 1.65 semitones higher.
    """

    name = "speed"
    changes_duration = True

    def __init__(self, factors: Range = (0.9, 1.0, 1.1), probability: float = 1.0) -> None:
        super().__init__(probability)
        listed = tuple(factors) if isinstance(factors, (list, tuple)) else (factors,)
        if not listed:
            raise UsageError(f"augmentation {self.name}: factors is {factors!r}; expected at least one: list one")
        self.factors = tuple(checked_range(self.name, "factors", factor, 0.5, 2.0)[0] for factor in listed)

    def transform(self, samples: Samples, generator: torch.Generator) -> Samples:
        factor = self.factors[draw_index(generator, len(self.factors))]
        return _resample(samples, SAMPLE_RATE * factor, SAMPLE_RATE, scaled_length(samples.size, factor))


class Tempo(Augmentation):
    """Faster or slower speech at the same pitch, by WSOLA.

    factor: 1.1 lasts 1 / 1.1 as long.
    """

    name = "tempo"
    changes_duration = True

    def __init__(self, factor: Range = (0.9, 1.1), probability: float = 1.0) -> None:
        super().__init__(probability)
        self.factor = checked_range(self.name, "factor", factor, 0.5, 2.0)

    def transform(self, samples: Samples, generator: torch.Generator) -> Samples:
        return stretch(samples, scaled_length(samples.size, draw(generator, *self.factor)))


class Pitch(Augmentation):
    """Higher or lower voice, formants included, in the same duration: stretched by WSOLA, then resampled.

    semitones: twelfths of an octave, as in f0 * 2 ** (semitones / 12).
    """

    name = "pitch"

    def __init__(self, semitones: Range = (-2.0, 2.0), probability: float = 1.0) -> None:
        super().__init__(probability)
        self.semitones = checked_range(self.name, "semitones", semitones, -12.0, 12.0, "semitones")

    def transform(self, samples: Samples, generator: torch.Generator) -> Samples:
        ratio = 2.0 ** (draw(generator, *self.semitones) / 12.0)
        stretched = stretch(samples, scaled_length(samples.size, 1.0 / ratio))
        return _resample(stretched, stretched.size, samples.size, samples.size)


def stretch(samples: Samples, n_out: int) -> Samples:
    """`samples` [n] at the same pitch in the length [n_out], by WSOLA.

    The sample at time t goes to t * n_out / n, within the search range of 7.5 ms. With n_out equal to n, a copy.
    """
    if n_out == samples.size:
        return samples.copy()
    pace = samples.size / n_out
    n_segments = math.ceil(n_out / HOP)
    middles = (np.arange(n_segments) + 0.5) * HOP
    dues = np.round(middles * pace - 0.5 * HOP).astype(np.int64).clip(min=0)
    dues[0] = 0
    padded = np.zeros(SEARCH + max(int(dues[-1]) + SEARCH, samples.size) + 2 * HOP + OVERLAP, dtype=np.float32)
    padded[SEARCH : SEARCH + samples.size] = samples
    segments = sliding_window_view(padded, HOP + OVERLAP)[_places(padded, (dues + SEARCH).tolist())]
    laid = segments[:, :HOP]
    laid[1:, :OVERLAP] *= _FADE_IN
    laid[1:, :OVERLAP] += segments[:-1, HOP:] * (1.0 - _FADE_IN)
    return laid.reshape(-1)[:n_out].copy()


def _resample(samples: Samples, rate_in: float, rate_out: float, n_out: int) -> Samples:
    """[n_out] by soxr's high quality; where its rounding gives one sample less, a zero is appended, one more is cut."""
    if rate_in == rate_out:
        return samples.copy()
    resampled = soxr.resample(samples, rate_in, rate_out, quality="HQ")[:n_out]
    return np.pad(resampled, (0, n_out - resampled.size))


def _places(padded: Samples, dues: list[int]) -> list[int]:
    """The begin of each segment: within SEARCH of `dues`, where it is most similar to the previous one's continuation.

    Similarity is the correlation over the root energy of the candidate; the other energy is the same for all of them.
    """
    energies = np.concatenate([[0.0], np.cumsum(np.square(padded, dtype=np.float64))])
    weights = ((energies[OVERLAP:] - energies[:-OVERLAP]).clip(min=_MIN_ENERGY) ** -0.5).astype(np.float32)
    places = dues[:1]
    for due in dues[1:]:
        continued = places[-1] + HOP
        reach = due - SEARCH
        similarity = np.correlate(padded[reach : due + SEARCH + OVERLAP], padded[continued : continued + OVERLAP])
        similarity *= weights[reach : due + SEARCH + 1]
        best = int(similarity.argmax())
        places.append(reach + best if similarity[best] > 0.0 else due)
    return places
