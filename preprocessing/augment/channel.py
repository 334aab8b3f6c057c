"""Augmentations of the recording channel: level, clipping, telephone."""

import functools
import math

import numpy as np
import torch

from preprocessing.audio import PCM_STEPS, SAMPLE_RATE
from preprocessing.augment.base import (
    Augmentation,
    FixedFilter,
    Range,
    Samples,
    amplitude_ratio,
    checked_range,
    draw,
    peak,
)

TELEPHONE_BAND_HZ = (300.0, 3400.0)  # the voice-frequency band of ITU-T G.712
_STOP_DB = 60.0  # attenuation of the telephone's filters beyond their band
_N_TAPS = 511


class Gain(Augmentation):
    """A change of level.

    gain_db: 6 dB is twice the amplitude.
    """

    name = "gain"

    def __init__(self, gain_db: Range = (-10.0, 6.0), probability: float = 1.0) -> None:
        super().__init__(probability)
        self.gain_db = checked_range(self.name, "gain_db", gain_db, -60.0, 60.0, "dB")

    def transform(self, samples: Samples, generator: torch.Generator) -> Samples:
        return samples * np.float32(amplitude_ratio(draw(generator, *self.gain_db)))


class Clipping(Augmentation):
    """Clipped peaks, as of an overdriven recorder.

    depth_db: of the clipping level below the waveform's own peak.
    """

    name = "clipping"

    def __init__(self, depth_db: Range = (3.0, 15.0), probability: float = 1.0) -> None:
        super().__init__(probability)
        self.depth_db = checked_range(self.name, "depth_db", depth_db, 0.0, 60.0, "dB")

    def transform(self, samples: Samples, generator: torch.Generator) -> Samples:
        limit = np.float32(peak(samples) * amplitude_ratio(-draw(generator, *self.depth_db)))
        return samples.clip(-limit, limit)


class Telephone(Augmentation):
    """A fixed-line telephone: 300 to 3400 Hz, 8,000 samples per second, 8-bit mu-law (ITU-T G.711), back at 16 kHz.

    The band-pass acts before the codec and after it, without delay. Of both together: within 0.1 dB from 300 to 3400
    Hz, over 100 dB down below 185 Hz and above 3515 Hz, where the codec's own noise is left. A waveform beyond full
    scale is coded at full scale and scaled back afterwards.
    """

    name = "telephone"

    def transform(self, samples: Samples, generator: torch.Generator) -> Samples:
        band = _telephone_filter()
        sent = band(samples)[::2]
        level = max(1.0, peak(sent) * PCM_STEPS / (PCM_STEPS - 1))
        steps = np.round(sent * np.float32(PCM_STEPS / level)).astype(np.int32)
        received = np.zeros_like(samples)
        received[::2] = mu_law_levels()[steps + PCM_STEPS] * np.float32(2.0 * level)  # 2: every other sample is zero
        return band(received)


@functools.cache
def mu_law_levels() -> Samples:
    """The value after 8-bit mu-law coding of each 16-bit sample k = -32768 ... 32767: [65536], in [-1, 1).

    ITU-T G.711, section 3.2: 14 bits; eight segments, each twice as coarse as the one below, of 16 levels.
    """
    k = np.arange(-PCM_STEPS, PCM_STEPS)
    biased = np.minimum((np.abs(k) >> 2) + 33, 8191)
    segment = np.log2(biased).astype(np.int64) - 5
    step = (biased >> (segment + 1)) & 15
    level = (((2 * step + 33) << segment) - 33) << 2
    levels: Samples = (np.where(k < 0, -level, level) / PCM_STEPS).astype(np.float32)
    return levels


@functools.cache
def _telephone_filter() -> FixedFilter:
    """A linear-phase band-pass by Kaiser's window method, half its transition band beyond each edge of the band."""
    transition_hz = (_STOP_DB - 8.0) / (2.285 * 2.0 * math.pi * (_N_TAPS - 1)) * SAMPLE_RATE
    edges_hz = TELEPHONE_BAND_HZ[0] - transition_hz / 2, TELEPHONE_BAND_HZ[1] + transition_hz / 2
    middle = _N_TAPS // 2
    place = np.arange(_N_TAPS) - middle
    low, high = (2.0 * hz / SAMPLE_RATE * np.sinc(2.0 * hz / SAMPLE_RATE * place) for hz in edges_hz)
    window = np.kaiser(_N_TAPS, 0.1102 * (_STOP_DB - 8.7))
    return FixedFilter(((high - low) * window).astype(np.float32), delay=middle)
