"""faster-whisper's model with word times that leave the text as it is.

The library's own `word_timestamps` begins each window after the last word of the one before, so that one wrongly
aligned word skips speech, and the text is another than without word times. Here the windows are decoded without, and
the library's alignment is added to the segments of each. A module of its own, as it imports faster-whisper.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from typing import Any

from faster_whisper import WhisperModel
from faster_whisper.transcribe import Segment, Word

from finetune.systems.whisper import MIN_FRAMES


class WordTimingModel(WhisperModel):  # type: ignore[misc]
    """A faster_whisper.WhisperModel whose `transcribe` gives the same text with word_timestamps as without."""

    _encoded: Any = None  # the window that the encoder was last given

    def encode(self, features: Any) -> Any:
        """See WhisperModel.encode."""
        self._encoded = super().encode(features)
        return self._encoded

    def generate_segments(
        self, features: Any, tokenizer: Any, options: Any, log_progress: bool, encoder_output: Any = None
    ) -> Iterable[Any]:
        """See WhisperModel.generate_segments."""
        self._encoded = encoder_output
        plain = replace(options, word_timestamps=False)
        segments = super().generate_segments(features, tokenizer, plain, log_progress, encoder_output)
        return self._with_words(segments, features, tokenizer, options) if options.word_timestamps else segments

    def _with_words(self, segments: Iterable[Any], features: Any, tokenizer: Any, options: Any) -> Iterator[Any]:
        n_frames, latest = features.shape[-1] - 1, 0.0
        for window, encoded in self._windows(segments):
            found = [asdict(segment) for segment in window]
            latest = self.add_word_timestamps(
                [found],
                tokenizer,
                encoded,
                max(min(self.feature_extractor.nb_max_frames, n_frames - window[0].seek), MIN_FRAMES),
                options.prepend_punctuations,
                options.append_punctuations,
                last_speech_timestamp=latest,
            )
            for segment in found:
                yield Segment(**segment | {"words": [Word(**word) for word in segment["words"]]})

    def _windows(self, segments: Iterable[Any]) -> Iterator[tuple[list[Any], Any]]:
        """The segments of each window, with what the encoder made of it."""
        window: list[Any] = []
        encoded = None
        for segment in segments:
            if window and segment.seek != window[0].seek:
                yield window, encoded
                window = []
            if not window:
                encoded = self._encoded  # the next window is encoded once this one's segments are fetched
            window.append(segment)
        if window:
            yield window, encoded
