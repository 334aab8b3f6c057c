"""A Whisper to train, small and with random weights, and a recording for it."""

import torch

from finetune.config import ModelConfig
from finetune.models import build
from finetune.models.whisper import WhisperRecogniser
from preprocessing.audio import SAMPLE_RATE

DIMENSIONS = {
    "n_mels": 80,
    "n_vocab": 51864,
    "n_audio_ctx": 1500,
    "n_audio_state": 16,
    "n_audio_head": 2,
    "n_audio_layer": 1,
    "n_text_ctx": 32,
    "n_text_state": 16,
    "n_text_head": 2,
    "n_text_layer": 1,
}
MULTILINGUAL = DIMENSIONS | {"n_vocab": 51865}  # 99 languages


def recogniser(**changes: object) -> WhisperRecogniser:
    settings: dict[str, object] = {"family": "whisper", "scratch": DIMENSIONS, "context_seconds": 2.0} | changes
    built = build(ModelConfig(**settings), [], seed=0)  # type: ignore[arg-type]
    assert isinstance(built, WhisperRecogniser)
    return built


def noise(seconds: float) -> torch.Tensor:
    return 0.1 * torch.randn(round(seconds * SAMPLE_RATE), generator=torch.Generator().manual_seed(0))
