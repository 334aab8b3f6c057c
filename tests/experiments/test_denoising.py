"""Noise removal on real speech with recorded noise, and beside noisereduce."""

import sys
from pathlib import Path

import pytest

from experiments import denoising
from experiments.denoising import compare, load_peers, si_sdr
from experiments.harness.speech import SpeechSamples, load_samples
from preprocessing.augment import Noise
from preprocessing.augment.denoise import SpectralGate
from preprocessing.errors import UsageError
from tests.known_sounds import chance, tone


@pytest.fixture(scope="session")
def samples(speech: Path) -> SpeechSamples:
    return load_samples(speech, count=4)


def test_si_sdr_is_the_ratio_of_known_parts_at_any_scale() -> None:
    """Of a sine and another one orthogonal to it, the ratio of their powers."""
    clean, error = tone(400.0), tone(900.0, level=0.025)
    for scale in (1.0, 0.01, -3.0):
        assert si_sdr(scale * (clean + error) + 0.1, clean) == pytest.approx(20.0, abs=0.01)


def test_rain_over_real_speech_goes(samples: SpeechSamples) -> None:
    rain = next(path for path in samples.noises if path.name.startswith("rain"))
    for clean in samples.waveforms[:2]:
        noisy = Noise(snr_db=5.0, files=rain)(clean, chance())
        assert si_sdr(SpectralGate()(noisy), clean) - si_sdr(noisy, clean) > 3.0


def test_beside_noisereduce_on_real_speech_with_recorded_noise(samples: SpeechSamples) -> None:
    pytest.importorskip("noisereduce", reason="noisereduce is not installed: pip install noisereduce")
    theirs, missing = load_peers()
    figures = compare(samples, theirs)
    improved = [figure for figure in figures if figure.unit == "dB" and figure.peer != denoising.NO_REMOVAL]
    assert len(improved) == 8 and not missing
    assert all(figure.advantage >= 0.0 for figure in improved)
    times = [figure for figure in figures if figure.unit == "ms"]
    assert len(times) == 2 and all(figure.advantage > 2.0 for figure in times)  # 3 by the command, on a quiet machine


def test_the_comparison_names_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "noisereduce", None)
    theirs, missing = load_peers()
    assert theirs == {} and "install it" in missing["noisereduce"]
    with pytest.raises(UsageError, match="--data_dir"):
        load_samples(tmp_path, 1)
