"""Features against the libraries whose conventions they follow, and padded batches against utterances on their own."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import whisper
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchaudio.compliance import kaldi

from preprocessing import audio
from preprocessing.features import (
    FeatureExtractor,
    Features,
    KaldiFbank,
    KaldiMfcc,
    LogMel,
    normalise_waveform,
    slaney_mels,
)
from preprocessing.features.base import BLOCK_FRAMES, cheapest_cut
from tests.conftest import DEMO, DEVICES, read_manifest

EXTRACTORS: dict[str, Callable[[], FeatureExtractor]] = {
    "whisper-80": LogMel,
    "whisper-128": lambda: LogMel(128),
    "kaldi-fbank": KaldiFbank,
    "kaldi-mfcc": KaldiMfcc,
}
LENGTHS = (400, 401, 559, 560, 16_000, 16_159, 160 * BLOCK_FRAMES + 200, 160 * (2 * BLOCK_FRAMES + 1))
each_extractor = pytest.mark.parametrize("name", EXTRACTORS)


def noise(*shape: int, seed: int = 0, loudness: float = 0.1) -> Tensor:
    """Noise whose level rises and falls, so that an utterance has frames on both sides of every floor."""
    white = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    swell = torch.sin(torch.linspace(0.0, 9.0, shape[-1])).abs() ** 6
    return audio.quantise(loudness * swell * white)


def distance(ours: Tensor, theirs: Tensor | np.ndarray) -> float:
    theirs = torch.as_tensor(theirs)
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max())


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    """Equal up to the order in which float32 was summed up."""
    torch.testing.assert_close(ours, theirs, atol=5e-5, rtol=2e-6)


# Parity with the reference libraries


def whisper_oracle(waveform: Tensor, n_mels: int = 80) -> Tensor:
    return whisper.log_mel_spectrogram(waveform, n_mels)


def fbank_oracle(waveform: Tensor, n_mels: int = 80, **options: float) -> Tensor:
    return kaldi.fbank(waveform[None], num_mel_bins=n_mels, dither=0.0, **options).T


def mfcc_oracle(waveform: Tensor, **options: float) -> Tensor:
    return kaldi.mfcc(waveform[None], dither=0.0, **options).T


@pytest.mark.parametrize("n_mels", [80, 128])
@pytest.mark.parametrize("n_samples", [201, 320, *LENGTHS])
def test_log_mel_is_whispers(n_samples: int, n_mels: int) -> None:
    waveform = noise(n_samples)
    assert distance(LogMel(n_mels)(waveform), whisper_oracle(waveform, n_mels)) < 1e-4


def test_the_dynamic_range_is_each_utterances_own() -> None:
    """A loud neighbour does not lift a quiet one's floor."""
    waveform = noise(16_000)
    both = LogMel()(torch.stack([waveform, 1e-3 * waveform]))
    assert distance(both[1], whisper_oracle(1e-3 * waveform)) < 1e-4


@pytest.mark.parametrize("n_samples", LENGTHS)
def test_kaldi_features_are_torchaudios(n_samples: int) -> None:
    waveform = noise(n_samples)
    assert distance(KaldiFbank()(waveform), fbank_oracle(waveform)) < 1e-4
    assert distance(KaldiMfcc()(waveform), mfcc_oracle(waveform)) < 1e-4


def test_kaldi_options_are_torchaudios() -> None:
    waveform = noise(8_000)
    band = {"low_freq": 100.0, "high_freq": 7_600.0}
    assert distance(KaldiFbank(40, low_hz=100, high_hz=7_600)(waveform), fbank_oracle(waveform, 40, **band)) < 1e-4
    assert distance(KaldiMfcc(low_hz=100, high_hz=7_600)(waveform), mfcc_oracle(waveform, **band)) < 1e-4
    as_integers = fbank_oracle(waveform * 32_768)
    assert distance(KaldiFbank(full_scale=32_768.0)(waveform), as_integers) < 1e-4
    as_integers = mfcc_oracle(waveform * 32_768)
    assert distance(KaldiMfcc(full_scale=32_768.0)(waveform), as_integers) < 1e-3
    ours = KaldiMfcc(20, 40, lifter=0.0)(waveform)
    assert distance(ours, mfcc_oracle(waveform, num_ceps=20, num_mel_bins=40, cepstral_lifter=0.0)) < 1e-4


def sparse_waveforms() -> dict[str, Tensor]:
    click = torch.zeros(16_000)
    click[8_000] = 0.5
    return {
        "silence": torch.zeros(16_000),
        "click": click,
        "half silent": torch.cat([noise(8_000), torch.zeros(8_000)]),
    }


@pytest.mark.parametrize("name", sparse_waveforms())
def test_silence_is_the_references_silence(name: str) -> None:
    waveform = sparse_waveforms()[name]
    assert distance(LogMel()(waveform), whisper_oracle(waveform)) < 1e-4
    assert distance(KaldiFbank()(waveform), fbank_oracle(waveform)) < 1e-4
    assert distance(KaldiMfcc()(waveform), mfcc_oracle(waveform)) < 1e-4


def test_real_speech_has_the_references_features(speech: Path) -> None:
    """Read books, prompts, German, digits, a radio recording: one utterance of each."""
    for source in ("librispeech/test-other", "ljspeech/test", "arctic-prompts/test", "german/test", "digits/test",
                   "clips/test"):  # fmt: skip
        manifest = speech / f"{source}.jsonl"
        waveform = audio.load(manifest.parent / read_manifest(manifest)[0]["audio"])
        assert distance(LogMel()(waveform), whisper_oracle(waveform)) < 1e-4
        assert distance(KaldiFbank()(waveform), fbank_oracle(waveform)) < 1e-4
        assert distance(KaldiMfcc()(waveform), mfcc_oracle(waveform)) < 1e-4


def test_the_demos_speech_has_the_references_features() -> None:
    corpus = DEMO / "corpus"
    waveform = audio.load(corpus / read_manifest(corpus / "test.jsonl")[0]["audio"])
    assert distance(LogMel()(waveform), whisper_oracle(waveform)) < 1e-4
    assert distance(KaldiFbank()(waveform), fbank_oracle(waveform)) < 1e-4
    assert distance(KaldiMfcc()(waveform), mfcc_oracle(waveform)) < 1e-4


def test_normalise_waveform_is_the_wav2vec2_feature_extractors() -> None:
    from transformers import Wav2Vec2FeatureExtractor

    for waveform in (noise(16_000) + 0.01, *sparse_waveforms().values()):
        theirs = Wav2Vec2FeatureExtractor()(waveform.numpy(), sampling_rate=16_000).input_values[0]
        assert distance(normalise_waveform(waveform), theirs) < 1e-4
    quiet = noise(16_000, loudness=1e-3)  # where the 1e-7 under the root is a tenth of the variance
    theirs = Wav2Vec2FeatureExtractor()(quiet.numpy(), sampling_rate=16_000).input_values[0]
    assert distance(normalise_waveform(quiet), theirs) < 1e-4
    assert distance(normalise_waveform(quiet.requires_grad_()).detach(), theirs) < 1e-4


def test_slaney_mels_are_librosas() -> None:
    import librosa  # loads numba: seconds

    for frequency_hz in (0.0, 60.0, 999.0, 1_000.0, 1_001.0, 4_321.0, 8_000.0):
        assert slaney_mels(frequency_hz) == pytest.approx(librosa.hz_to_mel(frequency_hz), rel=1e-12)


# Batches


@each_extractor
@pytest.mark.parametrize("device", DEVICES)
def test_a_padded_batch_gives_each_utterance_its_own_features(name: str, device: str) -> None:
    extractor, n_samples = EXTRACTORS[name]().to(device), torch.tensor([16_000, 400, 9_999, 5_280])
    waveforms = 30.0 * noise(4, 16_000, seed=1)  # padding louder than any utterance, so that it would shift the floors
    for row, n in enumerate(n_samples.tolist()):
        waveforms[row, :n] = noise(n, seed=2 + row, loudness=0.001 * 10**row)
    features = extractor.batch(waveforms.to(device), n_samples).to("cpu")
    for row, n in enumerate(n_samples.tolist()):
        alone = extractor(waveforms[row, :n].to(device)).cpu()
        assert int(features.n_frames[row]) == alone.shape[-1]
        assert_same(features.utterance(row), alone)
        assert not features.values[row, :, alone.shape[-1] :].any()


@settings(max_examples=20)
@given(st.sampled_from(sorted(EXTRACTORS)), st.lists(st.integers(400, 2_000), min_size=1, max_size=4))
def test_any_batch_gives_each_utterance_its_own_features(name: str, lengths: list[int]) -> None:
    extractor, waveforms = EXTRACTORS[name](), noise(len(lengths), max(lengths), seed=len(lengths))
    features = extractor.batch(waveforms, torch.tensor(lengths))
    for row, n in enumerate(lengths):
        assert_same(features.utterance(row), extractor(waveforms[row, :n]))


@each_extractor
def test_leading_dimensions_are_kept(name: str) -> None:
    extractor, waveforms = EXTRACTORS[name](), noise(2, 3, 2_000)
    values = extractor(waveforms)
    assert values.shape[:3] == (2, 3, extractor.n_bins)
    assert_same(values[1, 2], extractor(waveforms[1, 2]))


@each_extractor
def test_features_have_the_precision_of_the_module(name: str) -> None:
    extractor, waveform = EXTRACTORS[name](), noise(4_000)
    assert torch.equal(extractor(waveform.double()), extractor(waveform))
    assert extractor.double()(waveform).dtype == torch.float64


@each_extractor
@pytest.mark.parametrize("device", DEVICES)
def test_autocast_does_not_coarsen_features(name: str, device: str) -> None:
    extractor, waveform = EXTRACTORS[name]().to(device), noise(4_000).to(device)
    with torch.autocast(device, dtype=torch.bfloat16):
        inside = extractor(waveform)
    assert torch.equal(inside, extractor(waveform))


@each_extractor
def test_gradients_are_the_numerical_ones(name: str) -> None:
    extractor = EXTRACTORS[name]().double()
    waveform = noise(1_000).double().requires_grad_()
    assert torch.autograd.gradcheck(extractor, waveform, eps=1e-7, atol=1e-3, fast_mode=True)


@each_extractor
def test_padding_gets_no_gradient(name: str) -> None:
    waveforms = noise(2, 2_000).requires_grad_()
    EXTRACTORS[name]().batch(waveforms, torch.tensor([2_000, 1_000])).values.square().sum().backward()
    assert waveforms.grad is not None
    assert waveforms.grad[1, :1_000].any()
    assert not waveforms.grad[1, 1_000:].any()


def test_wrong_calls_say_what_to_do() -> None:
    extractor, waveforms = LogMel(), noise(2, 2_000)
    with pytest.raises(ValueError, match="200 samples; LogMel needs 201 or more"):
        extractor(noise(200))
    with pytest.raises(TypeError, match=r"torch\.int16; expected floating-point"):
        extractor(torch.zeros(1_000, dtype=torch.int16))
    with pytest.raises(ValueError, match="utterances of 100 to 2000 samples in a batch of 2000; expected 201 to 2000"):
        extractor.batch(waveforms, torch.tensor([2_000, 100]))
    with pytest.raises(ValueError, match="1500 to 2001 samples"):
        extractor.batch(waveforms, torch.tensor([1_500, 2_001]))
    with pytest.raises(ValueError, match=r"waveforms \[2000\] with n_samples \[1\]"):
        extractor.batch(waveforms[0], torch.tensor([2_000]))
    with pytest.raises(ValueError, match=r"values \[2, 3\] with n_frames \[2\]"):
        Features(torch.zeros(2, 3), torch.tensor([3, 3]))
    with pytest.raises(ValueError, match="20 coefficients of 10 filters"):
        KaldiMfcc(20, 10)
    with pytest.raises(ValueError, match="9000 Hz"):
        KaldiFbank(high_hz=9_000)


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5)), min_size=1, max_size=8))
def test_the_filters_cut_loses_nothing_and_costs_least(spans: list[tuple[int, int]]) -> None:
    filters = torch.zeros(len(spans), 15)
    for row, (start, width) in enumerate(sorted(spans)):
        filters[row, start : start + width] = 1.0
    cut, stop, start = cheapest_cut(filters)
    assert not filters[:cut, stop:].any()
    assert not filters[cut:, :start].any()

    def cost(at: int) -> int:
        low, high = filters[:at].any(dim=0).nonzero(), filters[at:].any(dim=0).nonzero()
        n_low, n_high = int(low.max()) + 1 if len(low) else 0, 15 - int(high.min()) if len(high) else 0
        return at * n_low + (len(filters) - at) * n_high

    assert cut * stop + (len(filters) - cut) * (15 - start) == min(cost(at) for at in range(1, len(filters) + 1))
