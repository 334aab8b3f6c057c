"""LogMel against openai-whisper, the waveform against Wav2Vec2FeatureExtractor: the parity contract, 1e-4."""

from pathlib import Path

import pytest
import torch
import whisper
from transformers import Wav2Vec2FeatureExtractor

from preprocessing import audio
from preprocessing.features import LogMel, normalise_waveform
from tests.conftest import DEMO, read_manifest


def waveforms() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    corpus = DEMO / "corpus"
    return {
        "noise": audio.quantise(0.1 * torch.randn(24_000, generator=generator)),
        "silence": torch.zeros(16_000),
        "click": torch.nn.functional.pad(torch.tensor([0.5]), (8_000, 8_000)),
        "speech": audio.load(corpus / read_manifest(corpus / "test.jsonl")[0]["audio"]),
    }


@pytest.mark.parametrize("n_mels", [80, 128])
@pytest.mark.parametrize("name", ["noise", "silence", "click", "speech"])
def test_log_mel_equals_openai_whisper(name: str, n_mels: int) -> None:
    waveform = waveforms()[name]
    expected = whisper.log_mel_spectrogram(waveform, n_mels=n_mels)
    torch.testing.assert_close(LogMel(n_mels)(waveform), expected, atol=1e-4, rtol=0)


def test_log_mel_of_a_batch_is_that_of_each() -> None:
    """The dynamic range is each utterance's own: a loud neighbour does not lift a quiet one's floor."""
    waveform = waveforms()["noise"]
    log_mel = LogMel()
    batch = log_mel(torch.stack([waveform, 1e-3 * waveform]))
    torch.testing.assert_close(batch[1], log_mel(1e-3 * waveform))


def test_log_mel_names_what_is_too_short() -> None:
    with pytest.raises(ValueError, match="200 samples"):
        LogMel()(torch.zeros(200))


@pytest.mark.parametrize("name", ["noise", "silence", "click", "speech"])
def test_model_input_equals_the_feature_extractor(name: str) -> None:
    waveform = waveforms()[name]
    extractor = Wav2Vec2FeatureExtractor()
    expected = torch.tensor(extractor(waveform.numpy(), sampling_rate=16_000).input_values[0])
    torch.testing.assert_close(normalise_waveform(waveform), expected, atol=1e-4, rtol=0)


def test_parity_on_real_speech(speech: Path) -> None:
    manifest = speech / "librispeech" / "test-other.jsonl"
    log_mel, extractor = LogMel(), Wav2Vec2FeatureExtractor()
    for row in read_manifest(manifest)[:5]:
        waveform = audio.load(manifest.parent / row["audio"])
        torch.testing.assert_close(log_mel(waveform), whisper.log_mel_spectrogram(waveform), atol=1e-4, rtol=0)
        expected = torch.tensor(extractor(waveform.numpy(), sampling_rate=16_000).input_values[0])
        torch.testing.assert_close(normalise_waveform(waveform), expected, atol=1e-4, rtol=0)
