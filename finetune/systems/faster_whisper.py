"""Whisper through faster-whisper (CTranslate2), decoded as openai-whisper is (`whisper_decoding.py`)."""

import threading
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from finetune.systems.base import LONGEST_PIECE_SECONDS, WINDOW_SECONDS, LoadOptions, System, SystemSpec
from finetune.systems.transcript import Segment, Transcript, Word, fitted
from finetune.systems.whisper_decoding import BEST_OF, resolve_decoding
from preprocessing.audio import SAMPLE_RATE
from preprocessing.errors import InputError, install_extra
from preprocessing.storage.model_file import loading_reason


class FasterWhisperSystem(System):
    """CTranslate2's Whisper: one recording at a time, of any length, in the arithmetic of the converted model, or in
    that of --system_options.NAME.compute_type. On a CPU it has torch's number of threads, as the systems beside it; its
    own default is four at most.
    """

    batched = False
    longest_piece_seconds = LONGEST_PIECE_SECONDS
    may_end_at_pause = True

    def __init__(self, spec: SystemSpec, options: LoadOptions) -> None:
        try:
            from ctranslate2 import get_supported_compute_types
            from tqdm import tqdm

            from finetune.systems.faster_whisper_model import WordTimingModel
        except ImportError:
            raise InputError(
                f"{spec.name}: the package faster-whisper is not installed; expected it for this system: "
                + install_extra("rivals")
            ) from None
        tqdm.set_lock(
            threading.RLock()
        )  # its own is a semaphore of the system, which outlives a process that is killed
        compute_type = options.system.compute_type or "default"
        known = {"default", "auto", *get_supported_compute_types(options.device)}
        if compute_type not in known:
            raise InputError(
                f"{spec.name}: compute_type is {compute_type!r}; expected one that this {options.device} supports, "
                f"{', '.join(sorted(known))}: choose one of them"
            )
        try:
            self._model: Any = WordTimingModel(
                spec.checkpoint, device=options.device, compute_type=compute_type, cpu_threads=torch.get_num_threads()
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(
                f"{spec.name}: {spec.checkpoint} cannot be loaded ({loading_reason(error)}); expected a "
                "size or a folder that CTranslate2 converted: check the name and the network"
            ) from error
        languages = self._model.supported_languages if self._model.model.is_multilingual else None
        decoding = resolve_decoding(spec, options.system, options.language, languages)
        thresholds = decoding.thresholds
        self._options: dict[str, Any] = {
            "language": decoding.language,
            "initial_prompt": decoding.initial_prompt,
            "beam_size": decoding.beam_size,
            "best_of": BEST_OF,
            "temperature": list(decoding.temperatures),
            "condition_on_previous_text": decoding.condition_on_previous_text,
            "vad_filter": decoding.vad_filter,
            "compression_ratio_threshold": thresholds["compression_ratio_threshold"],
            "log_prob_threshold": thresholds["logprob_threshold"],
            "no_speech_threshold": thresholds["no_speech_threshold"],
        }
        library = f"faster-whisper {version('faster-whisper')}, CTranslate2 {version('ctranslate2')}"
        self.facts = spec.facts(
            parameters=0,  # CTranslate2 does not report them
            settings={
                **decoding.settings(self._model.model.compute_type, library),
                "batch": "one at a time",
            },
        )

    def features(self, waveforms: Sequence[Tensor]) -> Tensor:
        """The waveform: faster-whisper computes features itself, so they count as its forward pass."""
        (waveform,) = waveforms
        return waveform

    def forward(self, features: Tensor) -> str:
        """The text of all segments; without timestamps up to 30 s."""
        if not len(features):
            return ""
        segments, _ = self._segments(features, words=False)
        return "".join(segment.text for segment in segments)

    def _segments(self, waveform: Tensor, *, words: bool) -> tuple[Any, Any]:
        """faster-whisper's segments, which are computed as they are iterated over, and its TranscriptionInfo."""
        seconds = len(waveform) / self._model.feature_extractor.sampling_rate
        options = self._options | {"language": self._options["language"] or self.assumed_language}
        found: tuple[Any, Any] = self._model.transcribe(
            waveform.numpy(), without_timestamps=seconds <= WINDOW_SECONDS, word_timestamps=words, **options
        )
        return found

    def text(self, outcome: Any) -> list[str]:
        """The hypothesis without outer blanks."""
        return [str(outcome).strip()]

    @property
    def has_word_times(self) -> bool:
        """See `System.has_word_times`."""
        return True

    def transcribe(
        self, waveforms: Sequence[Tensor], *, words: bool = True, advance: Callable[[float], None] | None = None
    ) -> list[Transcript]:
        """See `System.transcribe`; up to 30 s words come in segments of ours, as the model writes no times itself."""
        (waveform,) = waveforms
        if not len(waveform):
            return [Transcript("")]
        segments: list[Segment] = []
        found, info = self._segments(waveform, words=words)
        seconds = len(waveform) / SAMPLE_RATE
        done = 0.0
        for one in found:
            start, end = (min(max(float(side), 0.0), seconds) for side in (one.start, one.end))
            own = tuple(_word(word, end) for word in one.words) if words else None
            segments.append(Segment(min(start, end), end, one.text, own))
            if advance is not None:
                advance(end - done)
                done = end
        text = "".join(segment.text for segment in segments).strip()
        if words and seconds <= WINDOW_SECONDS:
            spoken = [word for segment in segments for word in segment.words or ()]
            return [Transcript.of_words(text, spoken, info.language)]
        return [Transcript(text, fitted(segments), info.language)]


def _word(word: Any, latest: float) -> Word:
    """faster-whisper's word, between 0 and `latest` seconds."""
    start, end = (min(max(float(side), 0.0), latest) for side in (word.start, word.end))
    return Word(word.word, start, max(start, end), float(word.probability))
