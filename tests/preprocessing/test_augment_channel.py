"""Gain, clipping and the telephone against closed forms and libsndfile's mu-law."""

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from preprocessing.audio import SAMPLE_RATE
from preprocessing.augment import Clipping, Gain, Telephone
from preprocessing.augment.channel import mu_law_levels
from tests.known_sounds import amplitude, chance, db, rms, tone, white


@pytest.mark.parametrize("gain_db", [-20.0, 6.0])
def test_gain_is_in_decibels(gain_db: float) -> None:
    waveform = white(1000)
    assert torch.allclose(Gain(gain_db=gain_db)(waveform, chance()), waveform * 10 ** (gain_db / 20), rtol=1e-6)


def test_clipping_cuts_at_its_depth_below_the_peak() -> None:
    for waveform in (white(1000), -white(1000)):  # of one of the two the peak is below zero
        limit = waveform.abs().max() * 10 ** (-6 / 20)
        assert torch.allclose(Clipping(depth_db=6.0)(waveform, chance()), waveform.clamp(-limit, limit), atol=1e-7)


def test_mu_law_is_libsndfiles(tmp_path: Path) -> None:
    every = np.arange(-32768, 32768).astype(np.int16)
    soundfile.write(tmp_path / "all.wav", every, 8000, subtype="ULAW")
    decoded = soundfile.read(tmp_path / "all.wav", dtype="int16")[0]
    assert np.array_equal(mu_law_levels(), (decoded / 32768).astype(np.float32))


@pytest.mark.parametrize("hertz", [300.0, 440.0, 1000.0, 2500.0, 3400.0])
def test_telephone_passes_its_band(hertz: float) -> None:
    assert abs(db(amplitude(Telephone()(tone(hertz), chance()), hertz) / 0.25)) < 0.25


@pytest.mark.parametrize("hertz", [50.0, 100.0, 180.0, 3550.0, 4600.0, 6000.0, 7900.0])
def test_telephone_stops_the_rest(hertz: float) -> None:
    """Nothing of the tone, and nothing of its image at 8 kHz less, comes through."""
    heard = Telephone()(tone(hertz), chance())
    assert db(rms(heard[2000:-2000]) / rms(tone(hertz)) + 1e-12) < -50


def test_telephone_adds_the_noise_of_eight_bits_alone() -> None:
    """Mu-law's signal-to-noise ratio is about 38 dB over a wide range of levels (Rabiner & Schafer, section 11.4.3)."""
    for level in (0.5, 0.1, 0.02):
        heard = Telephone()(tone(1010.0, 4 * SAMPLE_RATE, level), chance()).double()[4000:-4000]
        power, carried = heard.square().mean(), amplitude(heard.float(), 1010.0, margin=1) ** 2 / 2
        assert 32 < 10 * math.log10(carried / (power - carried)) < 45


def test_telephone_is_aligned_and_codes_what_is_too_loud_without_clipping_it() -> None:
    waveform = Telephone()(tone(1000.0, level=2.0), chance())
    assert (waveform - tone(1000.0, level=2.0))[2000:-2000].abs().max() < 0.1
