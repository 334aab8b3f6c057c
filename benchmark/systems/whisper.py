"""Whisper through openai-whisper, with its options pinned: temperature fallback would change figures from run to run.

Up to 30 s, `whisper.decode` on the log-mel of the waveform padded with silence; beyond, `whisper.transcribe`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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
N_SAMPLES = whisper.audio.N_SAMPLES  # of a window
WINDOWS_AT_ONCE = {"cpu": 8, "cuda": 32}  # a window costs its 30 s however short what it holds


@dataclass(frozen=True, slots=True)
class Windows:
    """A batch.

    windows: log-mel of the recordings of up to 30 s [recordings, n_mels, 3000] on the device; None: there are none.
    long: by place, the waveforms [samples] of longer ones. empty: places of those without samples. size: of the batch.
    """

    windows: Tensor | None
    long: Mapping[int, Tensor]
    empty: frozenset[int]
    size: int


class WhisperSystem(System):
    """openai-whisper: fp16 on a GPU, float32 on a CPU; greedy; without timestamps up to 30 s."""

    batched = True
    longest_in_batch_seconds = 30.0

    def __init__(self, spec: SystemSpec, options: LoadOptions) -> None:
        self._fp16 = options.device == "cuda"
        self._at_once = WINDOWS_AT_ONCE["cuda" if self._fp16 else "cpu"]
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
                "batch": f"up to {self._at_once} windows of 30 s",
                "precision": "float16" if self._fp16 else "float32",
                "beyond 30 s": ", ".join(f"{key}={value}" for key, value in LONG_FORM.items()),
            },
            notice=spec.notice,
        )

    def features(self, waveforms: Sequence[Tensor]) -> Windows:
        """Log-mel windows of the recordings that fit into one; longer ones stay waveforms."""
        short = [waveform for waveform in waveforms if 0 < len(waveform) <= N_SAMPLES]
        windows = None
        if short:
            padded = torch.stack([torch.nn.functional.pad(one, (0, N_SAMPLES - len(one))) for one in short])
            windows = torch.stack([self._log_mel(one) for one in padded.to(self._model.device)])
        long = {place: one for place, one in enumerate(waveforms) if len(one) > N_SAMPLES}
        empty = frozenset(place for place, one in enumerate(waveforms) if not len(one))
        return Windows(windows, long, empty, len(waveforms))

    def forward(self, features: Windows) -> list[str]:
        """The hypotheses, in the order of the batch."""
        windows = torch.empty(0) if features.windows is None else features.windows
        passes = [windows[first : first + self._at_once] for first in range(0, len(windows), self._at_once)]
        decoded = iter([one for some in passes for one in whisper.decode(self._model, some, self._short_form)])
        return [self._hypothesis(place, features, decoded) for place in range(features.size)]

    def _hypothesis(self, place: int, features: Windows, decoded: Iterator[Any]) -> str:
        if place in features.empty:
            return ""
        if place not in features.long:
            return str(next(decoded).text)
        outcome = whisper.transcribe(
            self._model, features.long[place], language=self._language, fp16=self._fp16, verbose=None, **LONG_FORM
        )
        return str(outcome["text"])

    def text(self, outcome: Any) -> list[str]:
        """The hypotheses without outer blanks."""
        return [str(text).strip() for text in outcome]
