"""Whisper through openai-whisper, by default greedy without temperature fallback (`whisper_decoding.py`).

Up to 30 s, `whisper.decode` on the log-mel of the waveform padded with silence, in batches; beyond, and everywhere with
temperature fallback, `whisper.transcribe`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch
import whisper
from torch import Tensor
from whisper.tokenizer import LANGUAGES

from benchmark.results import SystemFacts
from benchmark.systems.base import LoadOptions, System, SystemSpec
from benchmark.systems.whisper_decoding import BEST_OF, resolve_decoding
from finetune.models.whisper_formats import load_model
from preprocessing.features import LogMel

SIZES = {(384, 4): "tiny", (512, 6): "base", (768, 12): "small", (1024, 24): "medium", (1280, 32): "large"}
N_SAMPLES = whisper.audio.N_SAMPLES  # of a window
WINDOWS_AT_ONCE = {"cpu": 8, "cuda": 32}  # a window costs its 30 s however short what it holds


@dataclass(frozen=True, slots=True)
class Windows:
    """A batch.

    windows: log-mel of the recordings of up to 30 s [recordings, n_mels, 3000] on the device; None: there are none.
    long: by place, the waveforms [samples] of those for `whisper.transcribe`. empty: places of those without samples.
    size: of the batch.
    """

    windows: Tensor | None
    long: Mapping[int, Tensor]
    empty: frozenset[int]
    size: int


class WhisperSystem(System):
    """openai-whisper: fp16 on a GPU, float32 on a CPU; without timestamps up to 30 s."""

    batched = True
    longest_in_batch_seconds = 30.0

    def __init__(self, spec: SystemSpec, options: LoadOptions) -> None:
        self._fp16 = options.device == "cuda"
        self._model = load_model(spec.checkpoint).to(options.device)
        self._log_mel = LogMel(self._model.dims.n_mels).to(options.device)
        languages = list(LANGUAGES)[: self._model.num_languages] if self._model.is_multilingual else None
        self._decoding = decoding = resolve_decoding(spec, options.system, options.language, languages)
        self._in_windows = not decoding.has_fallback
        several = decoding.beam_size > 1 or decoding.temperatures[0] > 0  # hypotheses: whisper.decode mixes up windows
        self._at_once = 1 if several else WINDOWS_AT_ONCE["cuda" if self._fp16 else "cpu"]
        self.batched = self._in_windows and not several
        self._shared: dict[str, Any] = {  # by whisper.decode and whisper.transcribe
            "language": decoding.language,
            "beam_size": decoding.beam_size if decoding.beam_size > 1 else None,
            "best_of": BEST_OF if max(decoding.temperatures) > 0 else None,
            "fp16": self._fp16,
        }
        self._long_form: dict[str, Any] = {
            "temperature": decoding.temperatures,
            "initial_prompt": decoding.initial_prompt,
            "condition_on_previous_text": decoding.condition_on_previous_text,
            **decoding.thresholds,
        }
        if self._in_windows:
            self._short_form = whisper.DecodingOptions(
                temperature=decoding.temperatures[0],
                prompt=decoding.initial_prompt,
                without_timestamps=True,
                **self._shared,
            )
        precision = "float16" if self._fp16 else "float32"
        self.facts = SystemFacts(
            name=spec.name,
            family=spec.family,
            checkpoint=spec.checkpoint,
            parameters=sum(parameter.numel() for parameter in self._model.parameters()),
            settings={
                "size": size_of(self._model.dims),
                **decoding.settings(precision, f"openai-whisper {version('openai-whisper')}"),
                "batch": f"up to {self._at_once} windows of 30 s" if self.batched else "one at a time",
            },
            notice=spec.notice,
        )

    def features(self, waveforms: Sequence[Tensor]) -> Windows:
        """Log-mel windows of the recordings that fit into one; those for `whisper.transcribe` stay waveforms."""
        fits = [self._in_windows and 0 < len(waveform) <= N_SAMPLES for waveform in waveforms]
        short = [waveform for waveform, one_window in zip(waveforms, fits, strict=True) if one_window]
        windows = None
        if short:
            padded = torch.stack([torch.nn.functional.pad(one, (0, N_SAMPLES - len(one))) for one in short])
            windows = torch.stack([self._log_mel(one) for one in padded.to(self._model.device)])
        long = {place: one for place, one in enumerate(waveforms) if len(one) and not fits[place]}
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
        waveform = features.long[place]
        outcome = whisper.transcribe(
            self._model,
            waveform,
            without_timestamps=len(waveform) <= N_SAMPLES,
            verbose=None,
            **self._shared,
            **self._long_form,
        )
        return str(outcome["text"])

    def text(self, outcome: Any) -> list[str]:
        """The hypotheses without outer blanks."""
        return [str(text).strip() for text in outcome]


def size_of(dims: whisper.ModelDimensions) -> str:
    """The published size of these dimensions, such as "tiny.en"; another one as layers and width."""
    encoder = (dims.n_audio_state, dims.n_audio_layer)
    if encoder not in SIZES:
        return f"{dims.n_audio_layer} and {dims.n_text_layer} layers of {dims.n_audio_state}"
    size = "turbo" if encoder == (1280, 32) and dims.n_text_layer == 4 else SIZES[encoder]
    if dims.n_vocab == 51_864:
        return f"{size}.en"
    return "large-v3" if size == "large" and dims.n_mels == 128 else size
