"""Any CTC model of transformers, decoded greedily under this project's preprocessing."""

from typing import Any

import torch
from torch import Tensor

from benchmark.results import SystemFacts
from benchmark.systems.base import LoadOptions, System, SystemSpec
from finetune.ctc.collapse import collapse
from finetune.models.wav2vec2 import model_input
from preprocessing.audio import SAMPLE_RATE
from preprocessing.errors import InputError
from preprocessing.units import Vocabulary

LONGEST_SECONDS = 300.0  # attention grows with the square; longer audio waits for chunking


class Wav2Vec2System(System):
    """float32, batch 1: no padding, so group-normalised models are exact too."""

    def __init__(self, spec: SystemSpec, options: LoadOptions) -> None:
        from transformers import AutoFeatureExtractor, AutoModelForCTC

        try:
            self._model = AutoModelForCTC.from_pretrained(spec.checkpoint, dtype=torch.float32)
            extractor = AutoFeatureExtractor.from_pretrained(spec.checkpoint)
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(
                f"{spec.name}: {spec.checkpoint} cannot be loaded as a CTC model ({reason}); expected a transformers "
                "folder or Hub id: check the name and the network"
            ) from error
        if extractor.sampling_rate != SAMPLE_RATE:
            raise InputError(
                f"{spec.name}: expects {extractor.sampling_rate} Hz; expected {SAMPLE_RATE}: use another model"
            )
        self._vocabulary = Vocabulary.load(spec.checkpoint)
        self._normalise: bool = extractor.do_normalize
        self._device = torch.device(options.device)
        self._model.eval().to(self._device)
        self.facts = SystemFacts(
            name=spec.name,
            family=spec.family,
            checkpoint=spec.checkpoint,
            parameters=sum(parameter.numel() for parameter in self._model.parameters()),
            settings={"decoding": "greedy CTC, no language model", "precision": "float32", "batch size": "1"},
            notice=spec.notice,
        )

    def features(self, waveform: Tensor) -> Tensor:
        seconds = len(waveform) / SAMPLE_RATE
        if seconds > LONGEST_SECONDS:
            raise InputError(f"lasts {seconds:.0f} s; expected at most {LONGEST_SECONDS:.0f} s: cut the recording")
        return model_input(waveform, self._normalise)[None].to(self._device)

    @torch.inference_mode()
    def forward(self, features: Tensor) -> list[int]:
        path: list[int] = self._model(features).logits[0].argmax(dim=-1).tolist()
        return path

    def text(self, outcome: Any) -> str:
        return self._vocabulary.decode(collapse(outcome, self._vocabulary.blank))
