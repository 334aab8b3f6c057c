"""Waveforms with a known content, and what is measured of any."""

import math

import numpy as np
import torch

from preprocessing.audio import SAMPLE_RATE

HIGHEST = 32767 / 32768  # of a 16-bit sample


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tone(hertz: float, n_samples: int = SAMPLE_RATE, level: float = 0.25) -> torch.Tensor:
    return level * torch.sin(2 * math.pi * hertz * torch.arange(n_samples, dtype=torch.float64) / SAMPLE_RATE).float()


def voiced(f0: float, n_samples: int = SAMPLE_RATE) -> torch.Tensor:
    """Harmonics of `f0` up to 4 kHz, falling by 6 dB an octave."""
    return sum((tone(f0 * k, n_samples, 0.2 / k) for k in range(1, int(4000 / f0))), start=torch.zeros(n_samples))


def white(n_samples: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(n_samples, generator=chance(seed)).clamp(-3, 3)


def db(ratio: float) -> float:
    return 20 * math.log10(ratio)


def rms(waveform: torch.Tensor) -> float:
    return math.sqrt(waveform.double().square().mean())


def amplitude(waveform: torch.Tensor, hertz: float, margin: int = 2000) -> float:
    """Of the sine at `hertz` that fits the middle of the waveform best."""
    middle = waveform.double().numpy()[margin:-margin]
    phase = 2 * np.pi * hertz * np.arange(middle.size) / SAMPLE_RATE
    basis = np.stack([np.sin(phase), np.cos(phase)], axis=1)
    return float(np.hypot(*np.linalg.lstsq(basis, middle, rcond=None)[0]))


def fundamentals(waveform: torch.Tensor, voicing: float = 0.7) -> np.ndarray:
    """f0 each 25 ms where 50 ms are clearly voiced, NaN elsewhere.

    It is the first peak of the normalised autocorrelation, from 350 Hz down to 55 Hz, that comes within a tenth of the
    highest, interpolated by a parabola.
    """
    samples = waveform.double().numpy()
    shortest, longest, window = SAMPLE_RATE // 350, SAMPLE_RATE // 55, 800
    found = []
    for first in range(0, samples.size - window - longest - 1, 400):
        frame = samples[first : first + window]
        found.append(math.nan)
        if np.linalg.norm(frame) < 0.3:
            continue
        reach = samples[first : first + window + longest]
        energies = np.concatenate([[0.0], np.cumsum(reach**2)])
        norms = np.linalg.norm(frame) * np.sqrt(energies[window:] - energies[:-window])
        likeness = np.correlate(reach, frame) / (norms + 1e-9)
        inner = likeness[shortest:-1]
        peaks = (inner >= likeness[shortest - 1 : -2]) & (inner >= likeness[shortest + 1 :])
        high = peaks & (inner >= 0.9 * inner[peaks].max(initial=0.0)) & (inner >= voicing)
        if not high.any():
            continue
        best = shortest + int(high.argmax())
        below, at, above = likeness[best - 1 : best + 2]
        found[-1] = SAMPLE_RATE / (best + 0.5 * (below - above) / (below - 2 * at + above))
    return np.array(found)
