"""Whisper through faster-whisper (CTranslate2), with the same options pinned as for openai-whisper.

Temperature fallback, voice activity detection and conditioning on earlier text are off: they change from run to run, or
are no part of the model.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from benchmark.results import SystemFacts
from benchmark.systems.base import LoadOptions, System, SystemSpec
from preprocessing.cli.errors import InputError

INSTALL = 'pip install "speech-on-your-own[rivals]"'
PINNED: dict[str, Any] = {
    "beam_size": 1,
    "temperature": 0.0,  # no fallback
    "condition_on_previous_text": False,
    "vad_filter": False,
    "compression_ratio_threshold": None,
    "log_prob_threshold": None,
    "no_speech_threshold": None,
}


class FasterWhisperSystem(System):
    """CTranslate2's Whisper: one recording at a time, of any length, in the arithmetic of the converted model."""

    batched = False

    def __init__(self, spec: SystemSpec, options: LoadOptions) -> None:
        try:
            from faster_whisper import WhisperModel
        except ImportError:
            raise InputError(
                f"{spec.name}: the package faster-whisper is not installed; expected it for this system: {INSTALL}"
            ) from None
        try:
            self._model: Any = WhisperModel(spec.checkpoint, device=options.device, compute_type="default")
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(
                f"{spec.name}: {spec.checkpoint} cannot be loaded ({str(error).strip().splitlines()[0]}); expected a "
                "size or a folder that CTranslate2 converted: check the name and the network"
            ) from error
        self._language = options.language if self._model.model.is_multilingual else "en"
        self.facts = SystemFacts(
            name=spec.name,
            family=spec.family,
            checkpoint=spec.checkpoint,
            parameters=0,  # CTranslate2 does not report them
            settings={
                "decoding": "greedy, " + ", ".join(f"{key}={value}" for key, value in PINNED.items()),
                "language": self._language or "detected",
                "precision": f"compute_type {self._model.model.compute_type}",
                "timestamps": "none up to 30 s",
            },
            notice=spec.notice,
        )

    def features(self, waveforms: Sequence[Tensor]) -> Tensor:
        """The waveform: faster-whisper computes features itself, so they count as its forward pass."""
        (waveform,) = waveforms
        return waveform

    def forward(self, features: Tensor) -> str:
        """The text of all segments; without timestamps up to 30 s."""
        if not len(features):
            return ""
        seconds = len(features) / self._model.feature_extractor.sampling_rate
        segments, _ = self._model.transcribe(
            features.numpy(), language=self._language, without_timestamps=seconds <= 30.0, **PINNED
        )
        return "".join(segment.text for segment in segments)

    def text(self, outcome: Any) -> list[str]:
        """The hypothesis without outer blanks."""
        return [str(outcome).strip()]
