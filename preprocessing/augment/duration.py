"""Augmentations of time: shift, speed (pitch goes along), tempo (pitch stays), pitch (duration stays).

Lengths are exact. With n samples in: shift and pitch give n, speed and tempo give `scaled_length(n, factor)`.
"""

import numpy as np
import soxr
import torch

from preprocessing.audio import SAMPLE_RATE
from preprocessing.augment.base import Augmentation, Range, Samples, checked_range, draw, draw_index
from preprocessing.augment.wsola import stretch
from preprocessing.errors import UsageError


def scaled_length(n_samples: int, factor: float) -> int:
    """Samples that `n_samples` last when played `factor` times as fast: n / factor, rounded (half to even), at least 1.

    >>> scaled_length(16_000, 1.1), scaled_length(1, 2.0)
    (14545, 1)
    """
    return max(1, round(n_samples / factor))


class TimeShift(Augmentation):
    """The waveform later or earlier in its own duration, silence moving in behind it.

    shift_seconds: positive is later. What moves out is lost: stay within the silence around your utterances.
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

    def __init__(self, factor: Range = (0.9, 1.1), probability: float = 1.0) -> None:
        super().__init__(probability)
        self.factor = checked_range(self.name, "factor", factor, 0.5, 2.0)

    def transform(self, samples: Samples, generator: torch.Generator) -> Samples:
        return stretch(samples, scaled_length(samples.size, draw(generator, *self.factor)))


class Pitch(Augmentation):
    """Higher or lower, formants too, in the same duration: stretched by WSOLA, then resampled to the old length.

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


def _resample(samples: Samples, rate_in: float, rate_out: float, n_out: int) -> Samples:
    """soxr's high quality; the last sample that its rounding lacks is zero, one too many is cut."""
    if rate_in == rate_out:
        return samples.copy()
    resampled = soxr.resample(samples, rate_in, rate_out, quality="HQ")[:n_out]
    return np.pad(resampled, (0, n_out - resampled.size))
