"""Whisper through openai-whisper, by default greedy without temperature fallback (`whisper_decoding.py`).

Up to 30 s, `whisper.decode` on the log-mel of the waveform padded with silence, in batches; beyond, and everywhere with
temperature fallback, `whisper.transcribe`. Word times are openai-whisper's, of its cross-attention, added to the text
afterwards: its own `word_timestamps` begins each window after the last word of the one before, so that one wrongly
aligned word skips speech.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from itertools import groupby
from math import isnan
from types import SimpleNamespace
from typing import Any

import torch
import whisper
from torch import Tensor
from whisper import timing
from whisper.tokenizer import LANGUAGES, Tokenizer, get_tokenizer

from finetune.models.whisper_formats import load_model
from finetune.systems.base import LONGEST_PIECE_SECONDS, LoadOptions, System, SystemSpec
from finetune.systems.transcript import Segment, Transcript, Word, fitted
from finetune.systems.whisper_decoding import BEST_OF, resolve_decoding
from preprocessing.audio import SAMPLE_RATE
from preprocessing.errors import InputError
from preprocessing.features import LogMel

SIZES = {(384, 4): "tiny", (512, 6): "base", (768, 12): "small", (1024, 24): "medium", (1280, 32): "large"}
N_SAMPLES = whisper.audio.N_SAMPLES  # of a window
MIN_FRAMES = 2  # of a log-mel that words are aligned with: the encoder makes one frame of two
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
    longest_piece_seconds = LONGEST_PIECE_SECONDS
    may_end_at_pause = True

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
        precision = "float16" if self._fp16 else "float32"
        self.facts = spec.facts(
            parameters=sum(parameter.numel() for parameter in self._model.parameters()),
            settings={
                "size": size_of(self._model.dims),
                **decoding.settings(precision, f"openai-whisper {version('openai-whisper')}"),
                "batch": f"up to {self._at_once} windows of 30 s" if self.batched else "one at a time",
            },
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
        decoded = self._decoded(features)
        return [self._hypothesis(place, features, decoded) for place in range(features.size)]

    def _decoded(self, features: Windows) -> Iterator[Any]:
        """Yields the DecodingResult of each window. Raises InputError where probabilities are not numbers."""
        windows = torch.empty(0) if features.windows is None else features.windows
        options = whisper.DecodingOptions(
            temperature=self._decoding.temperatures[0],
            prompt=self._decoding.initial_prompt,
            without_timestamps=True,
            language=self._language,
            **self._shared,
        )
        for first in range(0, len(windows), self._at_once):
            for result in whisper.decode(self._model, windows[first : first + self._at_once], options):
                _check_number(result.avg_logprob)
                yield result

    def _hypothesis(self, place: int, features: Windows, decoded: Iterator[Any]) -> str:
        if place in features.empty:
            return ""
        if place not in features.long:
            return str(next(decoded).text)
        return str(self._long(features.long[place])["text"])

    def _long(self, waveform: Tensor) -> dict[str, Any]:
        outcome: dict[str, Any] = whisper.transcribe(
            self._model,
            waveform,
            without_timestamps=len(waveform) <= N_SAMPLES,
            verbose=None,
            language=self._language,
            **self._shared,
            **self._long_form,
        )
        for segment in outcome["segments"]:
            _check_number(segment["avg_logprob"])
        return outcome

    @property
    def _language(self) -> str | None:
        """None where it is detected in each recording."""
        return self._decoding.language or self.assumed_language

    def text(self, outcome: Any) -> list[str]:
        """The hypotheses without outer blanks."""
        return [str(text).strip() for text in outcome]

    @property
    def has_word_times(self) -> bool:
        """See `System.has_word_times`."""
        return True

    @torch.inference_mode()
    def transcribe(
        self, waveforms: Sequence[Tensor], *, words: bool = True, advance: Callable[[float], None] | None = None
    ) -> list[Transcript]:
        """See `System.transcribe`.

        Raises InputError where the model's probabilities are not numbers.
        """
        features = self.features(waveforms)
        decoded = self._decoded(features)
        transcripts = []
        for place, waveform in enumerate(waveforms):
            if place in features.empty:
                transcripts.append(Transcript(""))
            elif place in features.long:
                with _progress_of_windows(advance):
                    transcripts.append(self._of_long(waveform, words=words))
            else:
                result = next(decoded)
                encoded = result.audio_features
                transcripts.append(
                    self._of_window(waveform, result.text, result.tokens, result.language, encoded, words=words)
                )
                if advance is not None:
                    advance(len(waveform) / SAMPLE_RATE)
        return transcripts

    def _of_long(self, waveform: Tensor, *, words: bool) -> Transcript:
        """The transcript of a recording that is for `whisper.transcribe`."""
        in_one_window = len(waveform) <= N_SAMPLES  # where windows beyond the last word would be decoded, too
        outcome = self._long(waveform)
        if words and not in_one_window:
            self._time_words(waveform, outcome)
        segments, seconds = [], len(waveform) / SAMPLE_RATE
        for one in outcome["segments"]:
            if one["text"].strip():
                start, end = (min(max(float(one[side]), 0.0), seconds) for side in ("start", "end"))
                own = _words(one, end) if "words" in one else None
                segments.append(Segment(start, end, one["text"], own))
        if words and in_one_window:
            log_mel = whisper.log_mel_spectrogram(waveform, self._model.dims.n_mels, padding=N_SAMPLES)
            log_mel = whisper.pad_or_trim(log_mel[:, : -whisper.audio.N_FRAMES], whisper.audio.N_FRAMES)
            log_mel = log_mel.to(self._model.device, torch.float16 if self._fp16 else torch.float32)
            encoded = self._model.encoder(log_mel[None])[0]
            tokens = [token for one in outcome["segments"] for token in one["tokens"]]
            return self._of_window(waveform, outcome["text"], tokens, outcome["language"], encoded, words=True)
        return Transcript(str(outcome["text"]).strip(), fitted(segments), outcome["language"])

    def _time_words(self, waveform: Tensor, outcome: Mapping[str, Any]) -> None:
        """Adds the words to the segments of `whisper.transcribe`, window by window."""
        _compile_timing()
        log_mel = whisper.log_mel_spectrogram(waveform, self._model.dims.n_mels, padding=N_SAMPLES)
        n_frames = log_mel.shape[-1] - whisper.audio.N_FRAMES
        tokenizer, latest = self._tokenizer(outcome["language"]), 0.0
        spoken = (one for one in outcome["segments"] if one["text"].strip())
        for seek, group in groupby(spoken, key=lambda one: int(one["seek"])):
            segments = list(group)
            window = whisper.pad_or_trim(log_mel[:, seek:n_frames], whisper.audio.N_FRAMES)
            timing.add_word_timestamps(
                segments=segments,
                model=self._model,
                tokenizer=tokenizer,
                mel=window.to(self._model.device, torch.float16 if self._fp16 else torch.float32),
                num_frames=min(whisper.audio.N_FRAMES, n_frames - seek),
                last_speech_timestamp=latest,
            )
            latest = float(segments[-1]["end"])

    def _tokenizer(self, language: str) -> Tokenizer:
        return get_tokenizer(
            self._model.is_multilingual, num_languages=self._model.num_languages, language=language, task="transcribe"
        )

    def _of_window(
        self, waveform: Tensor, text: str, tokens: list[int], language: str, encoded: Tensor, *, words: bool
    ) -> Transcript:
        """The transcript of a recording of up to 30 s. encoded: of its window [frames, width]."""
        seconds, text = len(waveform) / SAMPLE_RATE, text.strip()
        if not words or not text:
            return Transcript.of_text(text, seconds, language)
        segment: dict[str, Any] = {"seek": 0, "start": 0.0, "end": seconds, "tokens": tokens}
        _compile_timing()
        timing.add_word_timestamps(
            segments=[segment],
            model=_Encoded(self._model),
            tokenizer=self._tokenizer(language),
            mel=encoded,
            num_frames=max(len(waveform) // whisper.audio.HOP_LENGTH, MIN_FRAMES),
            last_speech_timestamp=0.0,
        )
        return Transcript.of_words(text, _words(segment, seconds), language)


class _Encoded:
    """A Whisper that is given what its encoder has made already, in place of a log-mel."""

    def __init__(self, model: whisper.Whisper) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def __call__(self, encoded: Tensor, tokens: Tensor) -> Tensor:
        logits: Tensor = self._model.decoder(tokens, encoded)
        return logits


def _words(segment: Mapping[str, Any], latest: float) -> tuple[Word, ...]:
    """The words of a segment, between 0 and `latest` seconds: of a tenth of a second, openai-whisper's are before 0."""
    words = []
    for one in segment["words"]:
        start, end = (min(max(float(one[side]), 0.0), latest) for side in ("start", "end"))
        words.append(Word(one["word"], start, max(start, end), float(one["probability"])))
    return tuple(words)


@lru_cache(maxsize=1)
def _compile_timing() -> None:
    """Compile openai-whisper's dynamic time warping where numba's cache keeps it, as openai-whisper does not: its own
    takes 8 s in each process.
    """
    from finetune.decoding.compiled import compiled

    timing.backtrace = compiled(timing.backtrace.py_func)
    timing.dtw_cpu = compiled(timing.dtw_cpu.py_func)


def _check_number(log_prob: float) -> None:
    if isnan(log_prob):
        raise InputError(
            "the model gives NaN log-probabilities; expected finite ones: its weights are damaged or its training "
            "diverged"
        )


@contextmanager
def _progress_of_windows(advance: Callable[[float], None] | None) -> Iterator[None]:
    """Call `advance` as whisper.transcribe goes on, which tells nobody but the tqdm that it makes."""
    if advance is None:
        yield
        return
    report = advance

    class Counting:
        def __init__(self, **kwargs: Any) -> None:
            pass

        def __enter__(self) -> "Counting":
            return self

        def __exit__(self, *exception: object) -> None:
            pass

        def update(self, frames: int) -> None:
            report(frames * whisper.audio.HOP_LENGTH / SAMPLE_RATE)

    module: Any = sys.modules["whisper.transcribe"]
    before = module.tqdm
    module.tqdm = SimpleNamespace(tqdm=Counting)
    try:
        yield
    finally:
        module.tqdm = before


def size_of(dims: whisper.ModelDimensions) -> str:
    """The published size of these dimensions, such as "tiny.en"; another one as layers and width."""
    encoder = (dims.n_audio_state, dims.n_audio_layer)
    if encoder not in SIZES:
        return f"{dims.n_audio_layer} and {dims.n_text_layer} layers of {dims.n_audio_state}"
    size = "turbo" if encoder == (1280, 32) and dims.n_text_layer == 4 else SIZES[encoder]
    if dims.n_vocab == 51_864:
        return f"{size}.en"
    return "large-v3" if size == "large" and dims.n_mels == 128 else size
