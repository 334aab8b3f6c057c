"""Reverberation against a direct convolution."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from preprocessing.audio import SAMPLE_RATE
from preprocessing.augment import Reverb
from preprocessing.augment.reverb import read_response
from tests.known_sounds import chance, rms, white


@pytest.mark.parametrize("room", ["rir1.wav", "rir2.wav", "rir3.wav"])
def test_reverb_is_the_direct_convolution_at_the_same_energy(
    speech: Path, utterances: list[torch.Tensor], room: str
) -> None:
    response = read_response(speech / "rir" / room).astype(np.float64)
    direct = int(np.abs(response).argmax())
    for clean in (utterances[0][:20_000], utterances[1][:1000], white(1)):
        convolved = np.convolve(clean.double().numpy(), response)[direct : direct + clean.numel()]
        expected = convolved * rms(clean) / np.sqrt(np.mean(convolved**2))
        heard = Reverb(files=str(speech / "rir" / room))(clean, chance())
        assert np.abs(heard.double().numpy() - expected).max() < 1e-5 * max(1.0, np.abs(expected).max())
        assert rms(heard) == pytest.approx(rms(clean), rel=1e-5)


def test_the_direct_path_takes_no_time(tmp_path: Path) -> None:
    response = np.zeros(3000, dtype=np.float32)
    response[[700, 1200, 2500]] = [3.0, -1.0, 0.5]  # beyond full scale, as a measurement in floats may be
    soundfile.write(tmp_path / "room.wav", np.stack([response, response[::-1]], axis=1), SAMPLE_RATE, subtype="FLOAT")
    click = torch.zeros(5000)
    click[1000] = 0.5
    heard = Reverb(files=str(tmp_path / "room.wav"))(click, chance())
    heard = heard / heard[1000]
    assert heard[[1000, 1500, 2800]].tolist() == pytest.approx([1.0, -1 / 3, 1 / 6], abs=1e-5)
    assert heard.abs().gt(1e-5).sum() == 3


def test_a_response_at_another_rate_is_resampled(tmp_path: Path) -> None:
    clicks = np.zeros(9_000, dtype=np.float32)
    clicks[[2_100, 3_600]] = [0.9, 0.45]
    soundfile.write(tmp_path / "room.wav", clicks, 48_000, subtype="FLOAT")
    response = read_response(tmp_path / "room.wav")
    assert int(np.abs(response).argmax()) == 700
    assert response[1_200] / response[700] == pytest.approx(0.5, rel=1e-3)
