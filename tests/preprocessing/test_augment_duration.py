"""Speed, tempo, pitch and time shift against closed forms, and fundamentals measured afresh."""

import math

import numpy as np
import pytest
import torch

from preprocessing.audio import SAMPLE_RATE
from preprocessing.augment import Pitch, Speed, Tempo, TimeShift, scaled_length
from preprocessing.augment.duration import HOP, SEARCH, stretch
from tests.known_sounds import amplitude, chance, fundamentals, tone, voiced, white


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.1, 0.5, 2.0])
@pytest.mark.parametrize("n_samples", [1, 2, 7, 399, 16_000, 16_001])
def test_durations_are_exact(factor: float, n_samples: int) -> None:
    expected = max(1, round(n_samples / factor))
    assert scaled_length(n_samples, factor) == expected
    waveform = white(n_samples)
    assert Speed(factors=[factor])(waveform, chance()).shape == (expected,)
    assert Tempo(factor=factor)(waveform, chance()).shape == (expected,)
    for kept in (Pitch(semitones=12 * math.log2(factor)), TimeShift(shift_seconds=factor)):
        assert kept(waveform, chance()).shape == (n_samples,)


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_speed_of_a_sine_is_the_sine_of_another_frequency(factor: float) -> None:
    quick = Speed(factors=[factor])(tone(1000.0), chance())
    expected = tone(1000.0 * factor, quick.numel())
    assert (quick - expected)[500:-500].abs().max() < 1e-4


def test_time_shift_moves_and_fills_with_silence() -> None:
    waveform = white(1000)
    later = TimeShift(shift_seconds=100 / SAMPLE_RATE)(waveform, chance())
    assert torch.equal(later[100:], waveform[:-100]) and not later[:100].any()
    earlier = TimeShift(shift_seconds=-100 / SAMPLE_RATE)(waveform, chance())
    assert torch.equal(earlier[:-100], waveform[100:]) and not earlier[-100:].any()
    assert not TimeShift(shift_seconds=1.0)(waveform, chance()).any()


@pytest.mark.parametrize("f0", [80.0, 130.0, 220.0])
@pytest.mark.parametrize("factor", [0.8, 0.95, 1.1, 1.25])
def test_tempo_keeps_the_pitch_of_a_tone_and_pitch_moves_it(f0: float, factor: float) -> None:
    voice = voiced(f0)
    assert np.nanmedian(fundamentals(voice)) == pytest.approx(f0, rel=0.005)  # the estimate itself
    slow = fundamentals(Tempo(factor=factor)(voice, chance()))
    assert np.nanmedian(slow) == pytest.approx(f0, rel=0.02) and np.isfinite(slow).mean() > 0.8
    high = fundamentals(Pitch(semitones=12 * math.log2(factor))(voice, chance()))
    assert np.nanmedian(high) == pytest.approx(f0 * factor, rel=0.02) and np.isfinite(high).mean() > 0.8


@pytest.mark.parametrize("semitones", [-3.0, -1.0, 2.0])
def test_pitch_of_real_voices_moves_by_the_semitones(utterances: list[torch.Tensor], semitones: float) -> None:
    for voice in utterances:
        ratios = fundamentals(Pitch(semitones=semitones)(voice, chance())) / fundamentals(voice)  # the same moments
        assert np.nanmedian(ratios) == pytest.approx(2 ** (semitones / 12), rel=0.02)
        assert np.isfinite(ratios).sum() > 20


@pytest.mark.parametrize("factor", [0.85, 1.2])
def test_tempo_of_real_voices_keeps_their_pitch(utterances: list[torch.Tensor], factor: float) -> None:
    for voice in utterances:
        paced = fundamentals(Tempo(factor=factor)(voice, chance()))
        assert np.nanmedian(paced) == pytest.approx(np.nanmedian(fundamentals(voice)), rel=0.02)


def test_tempo_keeps_events_at_their_scaled_times() -> None:
    """Bursts at known places turn up where the pace puts them, within the search range."""
    waveform, places = torch.zeros(SAMPLE_RATE), [2000, 6000, 11_000]
    for place in places:
        waveform[place : place + 800] = tone(500.0, 800)
    for factor in (0.8, 1.3):
        paced = Tempo(factor=factor)(waveform, chance()).abs()
        for place in places:
            expected = place / factor
            near = paced[int(expected) - 1000 : int(expected) + 1000]
            onset = int(expected) - 1000 + int((near > 0.05).nonzero()[0])
            assert abs(onset - expected) <= SEARCH + abs(1 - factor) * HOP / 2 + 32


def test_stretching_by_nothing_is_nothing_and_a_sine_stays_a_sine() -> None:
    waveform = white(5000).numpy()
    assert np.array_equal(stretch(waveform, 5000), waveform)
    paced = Tempo(factor=0.8)(tone(200.0, 2 * SAMPLE_RATE), chance())
    assert amplitude(paced, 200.0) == pytest.approx(0.25, rel=0.01)
    kept = paced[2000:-2000].double().square().mean()
    assert abs(kept - 0.25**2 / 2) < 0.01 * 0.25**2 / 2  # all its power is in the sine
