"""Whisper through openai-whisper, its options pinned: temperature fallback would make figures differ from run to run.

Up to 30 s, `whisper.decode` on the log-mel of the silence-padded waveform; beyond, `whisper.transcribe`.
"""

from collections.abc import Sequence
from typing import Any

import torch
import whisper
from torch import Tensor

from benchmark.results import SystemFacts
from benchmark.systems.base import LoadOptions, System, SystemSpec
from finetune.models.whisper import load_model
from preprocessing.features import LogMel

LONG_FORM = {
    "temperature": 0.0,  # no fallback
    "beam_size": None,
    "condition_on_previous_text": False,
    "compression_ratio_threshold": None,
    "logprob_threshold": None,
    "no_speech_threshold": None,
}


class WhisperSystem(System):
    """fp16 on a GPU, float32 on a CPU; greedy; without timestamps up to 30 s."""

    def __init__(self, spec: SystemSpec, options: LoadOptions) -> None:
        self._fp16 = options.device == "cuda"
        self._model = load_model(spec.checkpoint).to(options.device)
        self._log_mel = LogMel(self._model.dims.n_mels).to(options.device)
        self._language = options.language if self._model.is_multilingual else "en"
        self._short_form = whisper.DecodingOptions(
            language=self._language, temperature=0.0, without_timestamps=True, fp16=self._fp16
        )
        self.facts = SystemFacts(
            name=spec.name,
            family=spec.family,
            checkpoint=spec.checkpoint,
            parameters=sum(parameter.numel() for parameter in self._model.parameters()),
            settings={
                "decoding": "greedy, temperature 0, no fallback",
                "timestamps": "none up to 30 s",
                "language": self._language or "detected",
                "precision": "float16" if self._fp16 else "float32",
                "batch size": "1",
                "beyond 30 s": ", ".join(f"{key}={value}" for key, value in LONG_FORM.items()),
            },
            notice=spec.notice,
        )

    def features(self, waveforms: Sequence[Tensor]) -> Tensor:
        """A window [n_mels, 3000], or the waveform itself where it is longer than a window."""
        (waveform,) = waveforms
        if len(waveform) > whisper.audio.N_SAMPLES:
            return waveform
        window = torch.nn.functional.pad(waveform, (0, whisper.audio.N_SAMPLES - len(waveform)))
        return self._log_mel(window.to(self._model.device))  # type: ignore[no-any-return]

    def forward(self, features: Tensor) -> str:
        if features.ndim == 1:
            outcome = whisper.transcribe(
                self._model, features, language=self._language, fp16=self._fp16, verbose=None, **LONG_FORM
            )
            return str(outcome["text"])
        return str(whisper.decode(self._model, features, self._short_form).text)

    def text(self, outcome: Any) -> list[str]:
        return [str(outcome).strip()]
