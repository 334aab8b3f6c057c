"""The models that alignment takes: where their frames are in the audio, also in chunks, and what is refused."""

import json
import shutil
from typing import Any

import pytest
import torch
from torch import Tensor

from finetune import align as command
from finetune.alignment.confidence import DEFAULT, Calibration
from finetune.systems.ctc_model import load_ctc
from preprocessing.audio import save
from preprocessing.errors import InputError
from preprocessing.units import Vocabulary

VOCABULARY = Vocabulary.of_characters(["ABC"])  # <pad> <s> </s> <unk> | A B C


def tiny_models() -> dict[str, tuple[torch.nn.Module, str]]:
    """A model of each family with random weights, and the name of what makes frames of audio."""
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    from finetune.models.lstm_ctc import LSTMConfig, LSTMForCTC
    from finetune.models.whisper_ctc_model import WhisperCTCConfig, WhisperForCTC

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    conv = {
        "conv_dim": [8] * 7,
        "feat_extract_norm": "layer",
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 2,
        "vocab_size": 8,
    }
    lstm = {"hidden_size": 8, "num_layers": 1, "conv_channels": 4, "vocab_size": 8, "normalisation": "global"}
    models: dict[str, torch.nn.Module] = {
        "wav2vec2": Wav2Vec2ForCTC(Wav2Vec2Config(**sizes, **conv)),
        "whisper-ctc": WhisperForCTC(
            WhisperCTCConfig(d_model=16, encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=16,
                             max_source_positions=100, head="linear", vocab_size=8)
        ),
    }  # fmt: skip
    for features, subsampling, factor in [("log_mel", "conv", 4), ("mfcc", "conv", 2), ("mfcc", "stack", 4)]:
        config = LSTMConfig(features=features, subsampling=subsampling, subsampling_factor=factor, **lstm)
        models[f"lstm {features} {subsampling} {factor}"] = LSTMForCTC(config)
    return models


@pytest.fixture(scope="module")
def saved_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The folders of tiny_models, by name."""
    from transformers import Wav2Vec2FeatureExtractor

    folders = {}
    for name, model in tiny_models().items():
        folder = tmp_path_factory.mktemp(name.replace(" ", "-"))
        model.save_pretrained(folder)
        VOCABULARY.save(folder)
        if name == "wav2vec2":
            Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(folder)
        folders[name] = str(folder)
    return folders


def convolved(encoder: torch.nn.Module, log_mel: Tensor) -> Tensor:
    """What Whisper's convolutions make of a log-mel [1, bins, frames]: [frames, channels]."""
    return encoder.conv2(torch.nn.functional.gelu(encoder.conv1(log_mel)))[0].T


def local_frames(model: torch.nn.Module, waveform: Tensor) -> Tensor:
    """What the model's frames are made of, before anything that looks at the whole recording: [frames, channels]."""
    kind = type(model).__name__
    if kind == "Wav2Vec2ForCTC":
        return model.wav2vec2.feature_extractor(waveform[None])[0].T
    n_samples = torch.tensor([len(waveform)])
    if kind == "WhisperForCTC":
        return convolved(model.encoder, model.features(waveform[None], n_samples).values)
    return model.subsampling(model.features(waveform[None], n_samples))[0][0]


def test_a_frames_time_is_the_middle_of_the_samples_that_it_is_made_of(saved_models: dict[str, str]) -> None:
    from transformers import AutoModelForCTC

    waveform = 0.1 * torch.randn(8_000, generator=torch.Generator().manual_seed(0))
    for name, folder in saved_models.items():
        loaded = load_ctc(folder)
        n_frames = len(loaded.log_probs(waveform))
        model = AutoModelForCTC.from_pretrained(folder).eval()  # with gradients, unlike the one loaded for inference
        assert n_frames == len(local_frames(model, waveform)), name
        for frame in (n_frames // 2, n_frames // 2 + 1):
            samples = waveform.clone().requires_grad_(True)
            local_frames(model, samples)[frame].square().sum().backward()
            seen = samples.grad.abs().nonzero().flatten()
            middle = (int(seen[0]) + int(seen[-1])) / 2
            expected = loaded.times.first + frame * loaded.times.stride
            assert abs(middle - expected) <= 16, (name, frame, middle, expected)  # a window's outermost samples weigh 0
            assert loaded.times.start(frame) * 16_000 == pytest.approx(expected - loaded.times.stride / 2)


@pytest.mark.parametrize("name", ["wav2vec2", "whisper-ctc"])
def test_long_recordings_have_the_frames_of_the_whole(saved_models: dict[str, str], name: str) -> None:
    from finetune.models.frame_geometry import LongForm
    from preprocessing.segment import Chunking

    loaded = load_ctc(saved_models[name])
    system: Any = loaded.system
    waveform = 0.1 * torch.randn(30_000, generator=torch.Generator().manual_seed(0))
    plain = system.long_form
    in_chunks = LongForm(Chunking(keep=9_600, context=6_400, grid=plain.chunking.grid), 16_000)

    def log_probs(long_form: LongForm) -> tuple[torch.Tensor, list[float]]:
        seconds: list[float] = []
        system.long_form = long_form
        return loaded.log_probs(waveform, seconds.append), seconds

    (whole, at_once), (joined, seconds) = log_probs(plain), log_probs(in_chunks)
    assert joined.shape == whole.shape
    assert [sum(at_once), sum(seconds)] == pytest.approx([30_000 / 16_000] * 2)

    def local(row: Tensor) -> Tensor:
        """Log-probabilities without attention, which sees the whole recording."""
        model = system._model
        frames = local_frames(model, row) if name == "wav2vec2" else convolved(model.encoder, row[None])
        return frames.log_softmax(-1)

    def compute(rows: list[Tensor]) -> tuple[Tensor, list[int]]:
        frames = [local(row) for row in rows]
        return torch.nn.utils.rnn.pad_sequence(frames, batch_first=True), [len(one) for one in frames]

    system._compute = compute
    (whole, _), (joined, _) = log_probs(plain), log_probs(in_chunks)
    assert torch.allclose(joined, whole, atol=1e-4)
    assert not torch.allclose(joined[1:], whole[:-1], atol=1e-2)


def test_whisper_is_refused_by_name(tmp_path) -> None:
    (tmp_path / "tiny.pt").touch()
    for reference in ("whisper=base", "base.en", str(tmp_path / "tiny.pt"), str(tmp_path)):
        with pytest.raises(InputError, match="is a Whisper, whose decoder has no frame-level posteriors"):
            load_ctc(reference)
    (tmp_path / "whisper").mkdir()
    (tmp_path / "whisper" / "config.json").write_text('{"model_type": "whisper"}')
    with pytest.raises(InputError, match="is a Whisper, whose decoder has no frame-level posteriors"):
        load_ctc(str(tmp_path / "whisper"))


@pytest.mark.parametrize("family", ["wav2vec2", "lstm"])
def test_logits_that_are_not_numbers_are_one_sentence(family: str, saved_models: dict[str, str]) -> None:
    model = load_ctc(next(path for name, path in saved_models.items() if name.startswith(family)))
    with torch.no_grad():
        system: Any = model.system
        system._model.lm_head.bias[2] = torch.nan
    with pytest.raises(InputError, match="gives NaN logits"):
        model.log_probs(torch.zeros(16_000))
    with pytest.raises(InputError, match="gives NaN logits"):  # greedily, too, as the benchmark decodes
        system.forward(system.features([torch.zeros(16_000)]))
    with pytest.raises(InputError, match="shorter than a frame"):
        model.log_probs(torch.zeros(100))


def test_command_calibrates_a_model_named_with_its_family(
    saved_models: dict[str, str], tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(saved_models["wav2vec2"], tmp_path / "model")
    Calibration(DEFAULT, scale=0.0, offset=0.0).save(folder)  # one half for every word
    save(tmp_path / "noise.wav", 0.1 * torch.randn(16_000, generator=torch.Generator().manual_seed(0)))
    command.main([f"wav2vec2={folder}", str(tmp_path / "noise.wav"), "A B"])
    assert [word["probability"] for word in json.loads(capsys.readouterr().out)["words"]] == [0.5, 0.5]
