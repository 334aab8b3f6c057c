"""A configuration of 10^9 layers is refused before anything is built, and a pickle that could run code in one sentence;
by every loader of the project.
"""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn
from transformers import (
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    WhisperConfig,
    WhisperForConditionalGeneration,
)
from whisper.model import ModelDimensions, Whisper

from finetune import models
from finetune.config import ModelConfig
from finetune.models import lstm, wav2vec2, whisper_ctc
from finetune.models import whisper as whisper_family
from finetune.models.checkpoint_checks import announced_parameters, check_size, sizes_of_dims
from finetune.models.lstm_ctc import LSTMConfig, LSTMForCTC
from finetune.models.whisper_formats import load_model
from finetune.systems.base import LoadOptions, SystemSpec
from finetune.systems.ctc_model import load_ctc
from finetune.systems.pipeline import PipelineSystem
from finetune.systems.wav2vec2 import Wav2Vec2System
from finetune.training import checkpoint
from preprocessing.errors import InputError, UsageError, UserError
from tests.conftest import DEMO, ROOT

DIMS = {"n_mels": 80, "n_audio_ctx": 8, "n_audio_state": 16, "n_audio_head": 2, "n_audio_layer": 2,
        "n_vocab": 51_864, "n_text_ctx": 8, "n_text_state": 16, "n_text_head": 2, "n_text_layer": 2}  # fmt: skip
WAV2VEC2 = Wav2Vec2Config(
    hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, conv_dim=(8, 8),
    conv_kernel=(10, 3), conv_stride=(5, 2), num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2, vocab_size=8,
)  # fmt: skip
WHISPER = WhisperConfig(
    vocab_size=51_864, d_model=16, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
    decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64, max_source_positions=8, max_target_positions=8,
    pad_token_id=0, bos_token_id=0, eos_token_id=0, decoder_start_token_id=0,
)  # fmt: skip
SPEC, OPTIONS = SystemSpec("m", "m", "given later"), LoadOptions("cpu", None)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small models of each kind of configuration, as their libraries save them."""
    folder = tmp_path_factory.mktemp("models")
    Wav2Vec2ForCTC(WAV2VEC2).save_pretrained(folder / "wav2vec2")
    Wav2Vec2FeatureExtractor().save_pretrained(folder / "wav2vec2")
    shutil.copy(ROOT / "demo" / "wav2vec2" / "tokenizer_config.json", folder / "wav2vec2")
    WhisperForConditionalGeneration(WHISPER).save_pretrained(folder / "whisper")
    LSTMForCTC(LSTMConfig(hidden_size=8, num_layers=2, conv_channels=2)).save_pretrained(folder / "lstm")
    return {path.name: path for path in folder.iterdir()}


def _system(system: Callable[[SystemSpec, LoadOptions], Any]) -> Callable[[str], Any]:
    return lambda reference: system(SystemSpec("m", "m", reference), OPTIONS)


def _build_wav2vec2(reference: str) -> Any:
    return wav2vec2.build(ModelConfig(base=reference, vocabulary="new"), ["ONE"], 0)


LOADERS: dict[str, tuple[str, str, Callable[[str], Any]]] = {  # loader -> folder, key of its layers, call
    "fine-tuning wav2vec2": ("wav2vec2", "num_hidden_layers", _build_wav2vec2),
    "decoding wav2vec2": ("wav2vec2", "num_hidden_layers", load_ctc),
    "benchmark wav2vec2": ("wav2vec2", "num_hidden_layers", _system(Wav2Vec2System)),
    "benchmark pipeline": ("wav2vec2", "num_hidden_layers", _system(PipelineSystem)),
    "whisper": ("whisper", "decoder_layers", load_model),
    "whisper-ctc from whisper": ("whisper", "encoder_layers", whisper_ctc._whisper_encoder),
    "lstm": ("lstm", "num_layers", lstm.load),
}


@pytest.mark.parametrize("name", LOADERS)
def test_a_config_of_a_billion_layers_is_refused_at_once(tmp_path: Path, folders: dict[str, Path], name: str) -> None:
    kind, key, load = LOADERS[name]
    folder = shutil.copytree(folders[kind], tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    for layers, weights in ((10**9, True), (10**9, False), (4000, True)):
        (folder / "config.json").write_text(json.dumps(config | {key: layers}))
        if not weights:
            (folder / "model.safetensors").rename(folder / "away")
        began = time.process_time()
        with pytest.raises(InputError, match=r"config\.json: announces [\d,]+ layers with .* parameters or more") as e:
            load(str(folder))
        assert time.process_time() - began < 20.0  # imports
        assert ("its weights contain" in str(e.value)) == weights and "\n" not in str(e.value)
        if not weights:
            (folder / "away").rename(folder / "model.safetensors")


class Command:
    """What a hostile pickle runs when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", [name for name in LOADERS if name != "lstm"])
def test_a_pickle_that_could_run_code_is_refused_in_one_sentence(
    tmp_path: Path, folders: dict[str, Path], name: str
) -> None:
    kind, _, load = LOADERS[name]
    folder = shutil.copytree(folders[kind], tmp_path / "model")
    (folder / "model.safetensors").unlink()
    torch.save(
        {"lm_head.weight": Command(tmp_path / "ran"), "more": torch.zeros(1_000_000)}, folder / "pytorch_model.bin"
    )
    _check_refusal(lambda: load(str(folder)), tmp_path)


def test_a_whisper_checkpoint_is_looked_at_first(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"dims": DIMS, "model_state_dict": {"a": Command(tmp_path / "ran")}}, path)
    _check_refusal(lambda: load_model(str(path)), tmp_path)
    torch.save({"dims": DIMS | {"n_audio_layer": 10**9}, "model_state_dict": {"a": torch.zeros(10)}}, path)
    with pytest.raises(InputError, match=r"model\.pt: announces 1,000,000,002 layers"):
        load_model(str(path))


def test_a_hostile_state_of_a_run_is_not_opened(tmp_path: Path) -> None:
    safetensors.torch.save_model(nn.Linear(1, 1), str(tmp_path / "weights.safetensors"))
    torch.save({"optimiser": Command(tmp_path / "ran")}, tmp_path / "states.pt")
    with pytest.raises(InputError, match=r"states\.pt contains more than tensors") as caught:
        checkpoint.restore(tmp_path, nn.Linear(1, 1), None, lambda state: None)
    assert "weights_only" not in str(caught.value) and not (tmp_path / "ran").exists()


def _check_refusal(load: Callable[[], Any], folder: Path) -> None:
    with pytest.raises(InputError, match=r"pickle that contains [\w.]+, which could run code") as caught:
        load()
    message = str(caught.value)
    assert "safetensors" in message and "weights_only" not in message and "\n" not in message
    assert not (folder / "ran").exists()


@pytest.mark.parametrize(
    ("family", "change"),
    [
        ("wav2vec2", {"hidden_size": "a"}),
        ("wav2vec2", {"hidden_size": 196}),
        ("whisper", {"d_model": "a"}),
        ("whisper-ctc", {"d_model": "a"}),
    ],
)
def test_a_configuration_that_no_model_has_is_said(family: Any, change: dict[str, Any], tmp_path: Path) -> None:
    if family == "wav2vec2":
        shutil.copytree(DEMO / "wav2vec2", tmp_path, dirs_exist_ok=True)
    else:
        WhisperForConditionalGeneration(WHISPER).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8")) | change
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    vocabulary = "new" if family == "whisper-ctc" else "keep"
    with pytest.raises(InputError, match=rf"{tmp_path}: cannot be loaded as a .*; expected a"):
        models.build(ModelConfig(family=family, base=str(tmp_path), vocabulary=vocabulary), ["ONE"], 0)


@pytest.mark.parametrize(
    ("build", "scratch"),
    [
        (wav2vec2.build, {"num_hidden_layers": 10**9}),
        (lstm.build, {"num_layers": 10**9}),
        (whisper_family.build, DIMS | {"n_text_layer": 10**9}),
        (wav2vec2.build, {"intermediate_size": 10**12}),
    ],
)
def test_random_weights_have_to_fit_into_memory_too(build: Callable[..., Any], scratch: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"--model\.scratch: announces .* GB of memory"):
        build(ModelConfig(base=None, scratch=scratch), ["ONE"], 0)


def test_what_is_announced_is_a_lower_bound_near_what_is_built() -> None:
    built = [
        (WAV2VEC2.to_dict(), Wav2Vec2ForCTC(WAV2VEC2)),
        (WHISPER.to_dict(), WhisperForConditionalGeneration(WHISPER)),
        (sizes_of_dims(asdict(ModelDimensions(**DIMS))), Whisper(ModelDimensions(**DIMS))),
    ]
    with torch.device("meta"):
        large = Wav2Vec2Config(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096)
        built.append((large.to_dict(), Wav2Vec2ForCTC(large)))
    for config, model in built:
        n_parameters = sum(parameter.numel() for parameter in model.parameters())
        assert 0.5 * n_parameters < announced_parameters(config) <= n_parameters


@pytest.mark.parametrize(
    "config", [{}, {"hidden_size": "x", "num_hidden_layers": None}, {"conv_dim": 3, "d_model": -1}]
)
def test_what_is_no_number_is_left_to_the_library(config: dict[str, Any]) -> None:
    check_size(config, "config.json", n_stored=10)


def test_every_refusal_is_a_users_error() -> None:
    with pytest.raises(UserError):
        check_size({"text_config": {"num_hidden_layers": 10**9}}, "config.json")
