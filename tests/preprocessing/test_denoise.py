"""Spectral gating against its definition in plain loops and on known noise; beside noisereduce: test_denoising."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing.audio import SAMPLE_RATE, quantise
from preprocessing.augment import denoise
from preprocessing.augment.denoise import SpectralGate
from preprocessing.errors import UsageError
from tests.known_sounds import chance, tone

STEP = 1 / 32768


def white(n_samples: int, level: float = 0.01, seed: int = 0) -> torch.Tensor:
    return quantise(level * torch.randn(n_samples, generator=chance(seed)))


def rms_db(waveform: torch.Tensor) -> float:
    return 10 * math.log10(waveform.double().square().mean() + 1e-20)


def gated_by_definition(waveform: np.ndarray) -> np.ndarray:
    """The gate at its defaults, frame by frame and bin by bin in double precision, as the class describes it."""
    window, hop, reach_time, reach_bins = 640, 160, 5, 10
    taper = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window))
    n_frames = -(-(waveform.size + window - hop) // hop)
    padded = np.zeros((n_frames - 1) * hop + window)
    padded[window - hop : window - hop + waveform.size] = waveform
    spectrum = np.array([np.fft.rfft(padded[t * hop : t * hop + window] * taper) for t in range(n_frames)])

    def smoothed(rows: np.ndarray, reach: int) -> np.ndarray:
        means = np.empty_like(rows)
        for i in range(len(rows)):
            near = [j for j in range(len(rows)) if abs(i - j) < reach]
            weights = np.array([reach - abs(i - j) for j in near])
            means[i] = weights @ rows[near] / weights.sum()
        return means

    power = np.abs(spectrum) ** 2
    smooth = smoothed(power, reach_time)
    asked = np.sort(smooth[::reach_time], axis=0)
    floor = asked[int(0.2 * (len(asked) - 1))] * 10**0.5 + 1e-10
    first = np.maximum(0, 1 - 1 / np.maximum(smoothed((smooth / floor).T, reach_bins).T, 1e-30))
    ratio = smoothed(first**2 * power / floor, 2)
    gain = 0.1 + 0.9 * ratio / (1 + ratio)
    out = np.zeros_like(padded)
    for t in range(n_frames):
        out[t * hop : t * hop + window] += np.fft.irfft(spectrum[t] * gain[t]) * taper / 2
    return out[window - hop : window - hop + waveform.size]


@pytest.mark.parametrize("n_samples", [1, 160, 700, 8003])
def test_the_gate_is_its_definition(n_samples: int) -> None:
    noisy = white(n_samples) + tone(700.0, n_samples) * (torch.arange(n_samples) % 4000 > 2000)
    expected = gated_by_definition(noisy.double().numpy())
    assert np.abs(SpectralGate()(noisy).double().numpy() - expected).max() < 0.51 * STEP + 1e-6


@pytest.mark.parametrize("n_samples", [1, 2, 159, 160, 161, 640, 16_001])
@pytest.mark.parametrize(("window_ms", "hop_ms"), [(40.0, 10.0), (20.0, 10.0), (30.0, 10.0), (32.0, 4.0)])
def test_with_no_attenuation_the_waveform_comes_back(n_samples: int, window_ms: float, hop_ms: float) -> None:
    noisy = white(n_samples, level=0.1)
    assert (SpectralGate(window_ms=window_ms, hop_ms=hop_ms, attenuation_db=0.0)(noisy) - noisy).abs().max() <= STEP


@pytest.mark.parametrize("attenuation_db", [6.0, 12.0, 20.0])
def test_steady_noise_goes_down_by_the_attenuation(attenuation_db: float) -> None:
    noise = white(4 * SAMPLE_RATE)
    left = rms_db(SpectralGate(attenuation_db=attenuation_db)(noise)) - rms_db(noise)
    assert left == pytest.approx(-attenuation_db, abs=1.0)


def test_a_tone_passes_and_the_noise_around_it_goes() -> None:
    burst = torch.zeros(3 * SAMPLE_RATE)
    burst[SAMPLE_RATE : 2 * SAMPLE_RATE] = tone(1000.0)
    noise = white(3 * SAMPLE_RATE)
    gated = SpectralGate()(burst + noise)
    inside, outside = slice(18_000, 30_000), slice(2000, 12_000)
    assert (gated - burst)[inside].abs().max() < 0.05
    assert rms_db(gated[outside]) - rms_db(noise[outside]) < -15
    assert rms_db((gated - burst)[inside]) - rms_db(noise[inside]) < -8


@settings(max_examples=25)
@given(st.lists(st.integers(1, 6000), min_size=1, max_size=4), st.integers(0, 3000), st.integers(0, 99))
def test_each_of_a_padded_batch_comes_out_as_it_would_alone(lengths: list[int], padding: int, seed: int) -> None:
    gate = SpectralGate()
    alone = [white(length, level=0.05, seed=seed + length) for length in lengths]
    batch = torch.full((len(lengths), max(lengths) + padding), 0.5)  # what lies in the padding must not matter
    for row, waveform in zip(batch, alone, strict=True):
        row[: waveform.numel()] = waveform
    before = batch.clone()
    together = gate(batch, torch.tensor(lengths))
    assert torch.equal(batch, before)
    for row, waveform in zip(together, alone, strict=True):
        assert (row[: waveform.numel()] - gate(waveform)).abs().max() <= STEP
        assert not row[waveform.numel() :].any()


@settings(max_examples=40)
@given(
    st.integers(1, 4000),
    st.sampled_from([0.0, STEP, 0.01, 1.0, 5.0]),
    st.floats(0, 60),
    st.floats(0, 120),
    st.floats(0, 1),
    st.floats(0, 1000),
    st.floats(0, 4000),
)
def test_any_waveform_and_setting_gives_finite_samples_on_the_grid(
    n_samples: int, level: float, threshold: float, attenuation: float, share: float, over_ms: float, over_hz: float
) -> None:
    gate = SpectralGate(
        threshold_db=threshold,
        attenuation_db=attenuation,
        quiet_share=share,
        smoothing_ms=over_ms,
        smoothing_hz=over_hz,
    )
    gated = gate(white(n_samples, level))
    assert gated.shape == (n_samples,) and gated.isfinite().all()
    assert torch.equal(gated, quantise(gated))
    if level == 0.0:
        assert not gated.any()


@pytest.mark.parametrize("block_frames", [1, 7, 50])
@pytest.mark.parametrize("n_samples", [1, 7 * 160, 7 * 160 + 1, 20_011])
def test_blocks_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch, block_frames: int, n_samples: int) -> None:
    noisy = torch.stack([white(n_samples), white(n_samples, level=0.1, seed=1) + tone(700.0, n_samples)])
    lengths, gate = torch.tensor([n_samples, max(n_samples // 3, 1)]), SpectralGate()
    whole = gate(noisy, lengths)
    monkeypatch.setattr(denoise, "BLOCK_FRAMES", block_frames)
    assert torch.equal(gate(noisy, lengths), whole)


def test_the_spectra_of_a_block_are_all_that_a_long_recording_takes_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    analysed, transform = [], torch.fft.rfft
    monkeypatch.setattr(torch.fft, "rfft", lambda frames: analysed.append(frames.shape[-2]) or transform(frames))  # type: ignore[func-returns-value]
    SpectralGate()(white(120 * SAMPLE_RATE))
    assert len(analysed) == 2 * 4 and max(analysed) < denoise.BLOCK_FRAMES + 20


def test_digital_silence_is_no_noise_floor() -> None:
    """Speech in a file that is mostly zeros: the floor is that of its noise, not zero."""
    noisy = torch.zeros(6 * SAMPLE_RATE)
    noisy[: 2 * SAMPLE_RATE] = white(2 * SAMPLE_RATE)
    assert rms_db(SpectralGate()(noisy)[4000:28_000]) - rms_db(noisy[4000:28_000]) < -15


@pytest.mark.parametrize(
    ("settings_", "said"),
    [
        ({"window_ms": 40.0, "hop_ms": 15.0}, "of hops, 2 or more"),
        ({"hop_ms": 0.0}, "of hops, 2 or more"),
        ({"threshold_db": -1.0}, "threshold_db"),
        ({"attenuation_db": math.nan}, "attenuation_db"),
        ({"quiet_share": 20.0}, "0 to 1"),
    ],
)
def test_wrong_settings_are_refused_with_a_sentence(settings_: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        SpectralGate(**settings_)
    assert said in str(refused.value)


def test_nothing_is_nothing_without_noise() -> None:
    for shape in ((0,), (2, 0)):
        assert SpectralGate()(torch.zeros(shape)).shape == shape
