"""Every family on a GPU: the loss and gradients of a CPU, a padded batch as its members, and a run of the command."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from finetune.config import ModelConfig
from finetune.models import build
from finetune.models.base import TrainableRecogniser, pad_batch
from finetune.training.log import read_log
from preprocessing import audio
from preprocessing.text import profile
from tests.commands import run
from tests.conftest import DEMO, GPU, absolute, read_manifest, write_manifest
from tests.finetune.runs import TINY, TINY_WHISPER

ROWS = read_manifest(DEMO / "corpus" / "train.jsonl")[:4]
TEXTS = [profile("librispeech")(row["text"]) for row in ROWS]
LAYER_NORM = TINY | {"feat_extract_norm": "layer", "do_stable_layer_norm": True}
WHISPER_CTC = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 64}
MODELS: dict[str, dict[str, Any]] = {
    "wav2vec2-group": {"family": "wav2vec2", "scratch": TINY, "mask_time_prob": 0.0, "freeze_feature_encoder": False},
    "wav2vec2-layer": {
        "family": "wav2vec2",
        "scratch": LAYER_NORM,
        "mask_time_prob": 0.0,
        "freeze_feature_encoder": False,
    },
    "whisper": {"family": "whisper", "scratch": TINY_WHISPER, "context_seconds": 5.0},
    "whisper-ctc": {"family": "whisper-ctc", "scratch": WHISPER_CTC},
    "lstm": {"family": "lstm", "scratch": {"hidden_size": 16, "num_layers": 1}},
}
each_family = pytest.mark.parametrize("name", MODELS)
on_gpu = pytest.mark.parametrize("device", [GPU])


def recogniser(name: str) -> TrainableRecogniser:
    built = build(ModelConfig(**MODELS[name], dropout=0.0), TEXTS, seed=0)
    built.module.eval()
    for part in built.module.modules():
        if isinstance(part, torch.nn.LSTM):
            part.train()  # else cuDNN has no backward pass; there is no dropout
    return built


def loss_and_gradients(
    ours: TrainableRecogniser, places: tuple[int, ...], device: str
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The summed loss of utterances, and the gradient of each parameter, on the CPU."""
    waveforms = [audio.load(DEMO / "corpus" / ROWS[place]["audio"]) for place in places]
    examples = [
        ours.prepare(place, waveform, ours.encode(TEXTS[place]))
        for place, waveform in zip(places, waveforms, strict=True)
    ]
    module = ours.module.to(device)
    module.zero_grad()
    loss = module(pad_batch(examples).to(torch.device(device)), None)
    loss.backward()
    gradients = {name: p.grad.cpu().clone() for name, p in module.named_parameters() if p.grad is not None}
    return loss.detach().cpu(), gradients


@on_gpu
@each_family
def test_the_gpu_computes_what_the_cpu_does(name: str, device: str) -> None:
    ours = recogniser(name)
    expected, expected_gradients = loss_and_gradients(ours, (0, 1, 2, 3), "cpu")
    found, gradients = loss_and_gradients(ours, (0, 1, 2, 3), device)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)
    assert gradients.keys() == expected_gradients.keys()
    scale = max(float(gradient.abs().max()) for gradient in expected_gradients.values())
    for parameter, gradient in expected_gradients.items():
        torch.testing.assert_close(gradients[parameter], gradient, rtol=1e-2, atol=1e-3 * scale, msg=parameter)


@on_gpu
@each_family
def test_a_padded_batch_on_the_gpu_equals_its_members(name: str, device: str) -> None:
    ours = recogniser(name)
    together, _ = loss_and_gradients(ours, (0, 1, 2, 3), device)
    alone = sum(loss_and_gradients(ours, (place,), device)[0] for place in range(4))
    torch.testing.assert_close(together, torch.as_tensor(alone), rtol=1e-4, atol=1e-3)


@on_gpu
@each_family
def test_training_on_the_gpu_ends_with_a_model(name: str, device: str, tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "train.jsonl", absolute(DEMO / "corpus" / "train.jsonl", 12))
    result = run(
        *("finetune/train.py", "--output_dir", tmp_path / "run", "--model.family", MODELS[name]["family"]),
        *("--model.scratch", json.dumps(MODELS[name]["scratch"]), "--data.train", json.dumps([str(manifest)])),
        *("--data.validation", str(manifest), "--data.max_batch_seconds", "30", "--data.max_seconds", "15"),
        *("--max_steps", "4", "--eval_steps", "4", "--logging_steps", "1", "--report_to", "none"),
        fresh=True,  # CUDA cannot be used in a process forked from one that has looked for it
    )
    assert result.returncode == 0, result.stderr
    assert device == "cuda"
    log = read_log(tmp_path / "run")
    losses = [line["loss"] for line in log if line["kind"] == "train"]
    assert len(losses) == 4 and losses[-1] < losses[0]
    assert "bf16" in (tmp_path / "run" / "config.yaml").read_text()
