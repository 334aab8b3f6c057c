"""A room where no recording of one is given: noise that dies away exponentially behind the direct path.

Polack's statistical model of a late reverberation (1988): Gaussian noise under an envelope that falls by 60 dB within
the reverberation time. It has no early reflections, so it is a stand-in for measured rooms, not an equal.
"""

import math

import numpy as np
import torch

from preprocessing.audio import SAMPLE_RATE
from preprocessing.augment import Augmentation
from preprocessing.augment.base import Samples, rms
from preprocessing.augment.fir import FixedFilter

RT60_SECONDS = 0.6  # a furnished office
DIRECT_TO_REVERBERANT_DB = 0.0  # the speaker some two metres away
_SEED = 60


class GeneratedRoom(Augmentation):
    """The waveform as one generated room passes it on, with the energy of the input and its tail cut off."""

    name = "generated_room"

    def __init__(self) -> None:
        super().__init__()
        response = generated_response()
        self._filter = FixedFilter(response, delay=0)

    def transform(self, samples: Samples, generator: torch.Generator) -> Samples:
        reverberant = self._filter(samples)
        level = rms(reverberant)
        return samples.copy() if level == 0.0 else reverberant * np.float32(rms(samples) / level)


def generated_response() -> Samples:
    """The impulse response [taps]: 1 at time zero, then noise; always the same."""
    n_taps = round(RT60_SECONDS * SAMPLE_RATE)
    noise = np.random.default_rng(_SEED).standard_normal(n_taps)
    tail = noise * np.exp(-3.0 * math.log(10.0) * np.arange(n_taps) / n_taps)
    tail[0] = 0.0
    tail *= 10 ** (-DIRECT_TO_REVERBERANT_DB / 20) / np.linalg.norm(tail)
    tail[0] = 1.0
    response: Samples = tail.astype(np.float32)
    return response
