"""What CTC systems share: hypotheses, and times and confidence of words, from the frames that a family computes.

How a waveform becomes log-probabilities belongs to each family's own module; recordings of any length, whole or in
chunks and in batches of like length, to `finetune.systems.ctc_pieces`.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from finetune.alignment.confidence import word_confidences
from finetune.alignment.forced import align_greedy, align_labels
from finetune.decoding.frame_times import FrameTimes
from finetune.systems.base import LONGEST_PIECE_SECONDS, System
from finetune.systems.ctc_decoding import CTCDecoding
from finetune.systems.transcript import Transcript, Word
from preprocessing.audio import SAMPLE_RATE
from preprocessing.units import Vocabulary

Advance = Callable[[float], None]
NO_FRAMES = torch.empty(0, dtype=torch.long)
NAN_LOGITS = "the model gives NaN logits; expected finite ones: its weights are damaged or its training diverged"


class CTCSystem(System):
    """A family's constructor gives `__init__` what it has found, and the family computes `_frames`.

    times: of the model's frames, where they are known. language: of the transcripts, where a model has a choice.
    """

    batched = True
    longest_piece_seconds = LONGEST_PIECE_SECONDS
    takes_language = False
    language: str | None = None

    def __init__(self, vocabulary: Vocabulary, decoding: CTCDecoding, times: FrameTimes | None) -> None:
        self.vocabulary = vocabulary
        self.times = times
        self._decoding = decoding

    @abstractmethod
    def _frames(self, features: Any, *, log_probs: bool, advance: Advance | None = None) -> list[Tensor]:
        """`frames_to_decode` of each recording without padding, on the CPU; NO_FRAMES of one that is shorter than a
        frame.

        advance: called with the seconds of audio done since the last call, as far as the system knows before the end.
        Raises InputError where logits are not finite.
        """

    def forward(self, features: Any) -> list[Tensor]:
        """The best unit of each frame [frames] of each recording, or log-probabilities [frames, units] for a search."""
        return self._frames(features, log_probs=self._decoding.search is not None)

    def text(self, outcome: Any) -> list[str]:
        """The hypothesis of each recording."""
        return [self.vocabulary.decode(labels) for labels in self._decoding.labels(outcome, self.vocabulary.blank)]

    def transcribe(
        self, waveforms: Sequence[Tensor], *, words: bool = True, advance: Advance | None = None
    ) -> list[Transcript]:
        """See `System.transcribe`. Words are those of the hypothesis, or characters of scripts that are written without
        spaces between words, aligned with the frames that it is read from; their probability is the confidence of
        `finetune.alignment.confidence`, calibrated where the model's folder has a calibration.

        Raises InputError where logits are not finite.
        """
        log_probs = self.log_probs(waveforms, advance)
        frames = log_probs
        if self._decoding.search is None:
            frames = [one.argmax(dim=-1) if len(one) else one for one in log_probs]
        labels = self._decoding.labels(frames, self.vocabulary.blank)
        return [
            self._transcript(one, its_labels, len(waveform) / SAMPLE_RATE, words=words)
            for one, its_labels, waveform in zip(log_probs, labels, waveforms, strict=True)
        ]

    def log_probs(self, waveforms: Sequence[Tensor], advance: Advance | None = None) -> list[Tensor]:
        """Log-probabilities [frames, units], natural, float32 on the CPU, of each waveform [samples] at 16 kHz; without
        frames of one that is shorter than a frame.

        advance: called with the seconds of audio done since the last call, as far as the system knows before the end.
        Raises InputError where logits are not finite.
        """
        return self._frames(self.features(waveforms), log_probs=True, advance=advance)

    def _transcript(self, log_probs: Tensor, labels: list[int], seconds: float, *, words: bool) -> Transcript:
        text = self.vocabulary.decode(labels)
        if self.times is None or not words or not text:
            return Transcript.of_text(text, seconds, self.language)
        if self._decoding.search is None:
            aligned = align_greedy(log_probs, self.vocabulary, self.times, splits_unspaced=True).words
        else:
            aligned = align_labels(log_probs, labels, self.vocabulary, self.times, splits_unspaced=True).words
        confidences = word_confidences(log_probs, aligned, self._decoding.confidence_measure)
        if self._decoding.calibration is not None:
            confidences = self._decoding.calibration(confidences).tolist()
        return Transcript.of_words(text, [
            Word(f"{' ' * word.follows_space}{word.text}", word.start, min(word.end, seconds), confidence)
            for word, confidence in zip(aligned, confidences, strict=True)
        ], self.language)  # fmt: skip

    @property
    def has_word_times(self) -> bool:
        """Whether the times of the model's frames are known."""
        return self.times is not None


def frames_to_decode(logits: Tensor, *, log_probs: bool) -> Tensor:
    """Logits [..., units] -> log-probabilities [..., units], natural and float32, or else best units [...], on the same
    device.
    """
    return logits.float().log_softmax(dim=-1) if log_probs else logits.argmax(dim=-1)


def split_batch(frames: Tensor, n_frames: Sequence[int]) -> list[Tensor]:
    """A batch [batch, frames, ...] on any device -> each utterance's own frames without padding, on the CPU."""
    return [one[:n] for one, n in zip(frames.cpu(), n_frames, strict=True)]
