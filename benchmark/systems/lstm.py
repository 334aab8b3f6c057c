"""An LSTM-CTC model trained by this project, decoded greedily."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from benchmark.results import SystemFacts
from benchmark.systems.base import LoadOptions, System, SystemSpec
from finetune.ctc.collapse import collapse
from finetune.models.lstm import load
from preprocessing.audio import SAMPLE_RATE
from preprocessing.errors import InputError
from preprocessing.features import Features
from preprocessing.units import Vocabulary


class LSTMSystem(System):
    """float32, batch 1. Time and memory grow with the audio's length and no faster; no recording is too long."""

    def __init__(self, spec: SystemSpec, options: LoadOptions) -> None:
        self._model = load(spec.checkpoint)
        self._vocabulary = Vocabulary.load(spec.checkpoint)
        self._device = torch.device(options.device)
        self._model.eval().to(self._device)
        config = self._model.config
        self.facts = SystemFacts(
            name=spec.name,
            family=spec.family,
            checkpoint=spec.checkpoint,
            parameters=sum(parameter.numel() for parameter in self._model.parameters()),
            settings={
                "decoding": "greedy CTC, no language model",
                "features": f"{config.features}, normalised by {config.normalisation} statistics",
                "frame": f"{10 * config.subsampling_factor} ms",
                "precision": "float32",
                "batch size": "1",
            },
            notice=spec.notice,
        )

    @torch.inference_mode()
    def features(self, waveforms: Sequence[Tensor]) -> Features:
        """Normalised features of one utterance [1, bins, frames], computed on the model's device."""
        (waveform,) = waveforms
        n_samples = torch.tensor([len(waveform)], device=self._device)
        if int(self._model.n_frames(n_samples)) < 1:
            raise InputError(
                f"lasts {len(waveform) / SAMPLE_RATE:.4f} s; expected {self._model.extractor.shortest} samples or "
                "more: leave it out"
            )
        return self._model.features(waveform[None].to(self._device), n_samples)

    @torch.inference_mode()
    def forward(self, features: Any) -> list[int]:
        path: list[int] = self._model.lm_head(self._model.encode(features))[0].argmax(dim=-1).tolist()
        return path

    def text(self, outcome: Any) -> list[str]:
        return [self._vocabulary.decode(collapse(outcome, self._vocabulary.blank))]
