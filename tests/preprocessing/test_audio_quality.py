"""Figures of the resampler before rounding, and of rounding with and without dither."""

import io
import math

import numpy as np
import pytest
import soundfile
import soxr

from preprocessing.audio.pcm16 import TriangularDither, to_pcm16
from preprocessing.audio.waveform import CODEC_BLOCKS, open_decoder, resampled


def at_16_khz(samples: np.ndarray, rate: int, block: int = CODEC_BLOCKS) -> np.ndarray:
    file = io.BytesIO()
    soundfile.write(file, samples.astype(np.float32), rate, format="WAV", subtype="FLOAT")
    with open_decoder(file) as decoder:
        return np.concatenate(list(resampled(file, decoder, 0.0, None, block)))


def tone(pitch: float, rate: int, seconds: float = 0.5) -> np.ndarray:
    return 0.9 * np.sin(2 * np.pi * pitch * np.arange(round(rate * seconds)) / rate)


def level_db(samples: np.ndarray) -> float:
    """Of the middle, beside a sine of amplitude 0.9."""
    middle = samples[1600:-1600].astype(np.float64)
    return 10 * math.log10(max(float(np.mean(middle**2)), 1e-30) / (0.9**2 / 2))


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_nothing_folds_back(rate: int) -> None:
    """Above 8 kHz plus the transition, tones and a sweep leave images below -100 dB."""
    for pitch in np.linspace(8_750, rate / 2 - 200, 24):
        assert level_db(at_16_khz(tone(pitch, rate), rate)) < -100, pitch
    time = np.arange(2 * rate) / rate
    rise = (rate / 2 - 200 - 8_750) / 2
    sweep = 0.9 * np.sin(2 * np.pi * (8_750 * time + rise / 2 * time**2))
    assert level_db(at_16_khz(sweep, rate)) < -100


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_the_passband_is_flat(rate: int) -> None:
    for pitch in np.linspace(100, min(7_200, 0.45 * rate), 16):
        assert abs(level_db(at_16_khz(tone(pitch, rate), rate))) < 0.01, pitch


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_soxr_in_one_shot_is_the_same_to_the_bit(rate: int) -> None:
    samples = np.random.default_rng(rate).uniform(-0.9, 0.9, rate).astype(np.float32)
    expected = soxr.resample(samples, rate, 16_000, quality="VHQ")
    assert np.array_equal(at_16_khz(samples, rate), expected)
    assert np.array_equal(at_16_khz(samples, rate, block=977), expected)


@pytest.mark.parametrize("pitch", [0.0, 100.0])
@pytest.mark.parametrize("level", [0.0, 0.3, 0.5, 1.7])
def test_dithered_error_has_no_mean_a_quarter_step_squared_and_nothing_of_the_signal(
    level: float, pitch: float
) -> None:
    """Lipshitz, Wannamaker & Vanderkooy 1992: 1/12 of rounding and 1/6 of the noise; four standard errors allowed."""
    n = 200_000
    steps = level * np.cos(2 * np.pi * pitch * np.arange(n) / 16_000)
    error = to_pcm16((steps / 32_768).astype(np.float32), TriangularDither(0)) - steps
    assert abs(error.mean()) < 4 * 0.5 / math.sqrt(n)
    assert abs(error.var() - 0.25) < 0.006
    if pitch and level:
        correlation = np.corrcoef(error, steps)[0, 1]
        assert abs(correlation) < 4 / math.sqrt(n)


def test_rounding_alone_loses_what_dither_keeps() -> None:
    constant = np.full(200_000, 0.3 / 32_768, dtype=np.float32)
    assert not to_pcm16(constant).any()
    assert abs(to_pcm16(constant, TriangularDither(1)).mean() - 0.3) < 0.005


def test_dither_is_the_seeds_whatever_the_blocks() -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 5000).astype(np.float32)
    whole, pieces = to_pcm16(samples, TriangularDither(3)), TriangularDither(3)
    assert np.array_equal(whole, np.concatenate([to_pcm16(part, pieces) for part in np.split(samples, [1, 700, 4000])]))
    assert not np.array_equal(whole, to_pcm16(samples, TriangularDither(4)))


def test_full_scale_is_clipped_not_wrapped() -> None:
    assert to_pcm16(np.array([1.0, 2.0, -2.0], dtype=np.float32)).tolist() == [32_767, 32_767, -32_768]
