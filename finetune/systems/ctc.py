"""What CTC systems share: greedy decoding or a beam search, times and confidence of words, and batches of like length.

How a waveform becomes log-probabilities belongs to each family's own module.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from finetune.decoding.alignment import Alignment, align_greedy, align_labels
from finetune.decoding.beam import BeamSettings
from finetune.decoding.confidence import DEFAULT, DEFAULT_OF_SEARCH, Calibration, load_calibration, word_confidences
from finetune.decoding.frame_times import FrameTimes
from finetune.decoding.greedy import collapse
from finetune.decoding.hotwords import as_labels
from finetune.decoding.language_model_folder import TUNED, check_spelling, load_language_model, require_language_model
from finetune.decoding.rescoring import RescoringSearch
from finetune.decoding.search import Search, make_search
from finetune.language_model.lstm import LstmModel
from finetune.models.companion_files import profile_of
from finetune.models.frame_geometry import LONGEST_WHOLE_SECONDS, LongForm
from finetune.systems.base import LM_SUFFIX, LanguageModelOptions, LoadOptions, System, SystemSpec
from finetune.systems.transcript import Transcript, Word
from preprocessing.audio import SAMPLE_RATE
from preprocessing.errors import InputError
from preprocessing.text import profile
from preprocessing.units import Vocabulary

PASS_COST_SECONDS = {"cpu": 5.0, "cuda": 100.0}  # of audio: what a forward pass costs beside the audio that is in it
MAX_PASS_SECONDS = {"cpu": 60.0, "cuda": 480.0}  # of audio in a forward pass, padding included
LONGEST_PIECE_SECONDS = 1800.0

Advance = Callable[[float], None]
NO_FRAMES = torch.empty(0, dtype=torch.long)


class CTCSystem(System):
    """Greedy decoding, or a beam search: with a language model where the family's name ends in +lm, else for hot words
    alone where there are any.

    What `forward` returns is a list with a tensor for each recording, on the CPU: the best unit of each frame [frames],
    or log-probabilities [frames, units] for a search, `transcribe` and `log_probs`. A family sets `vocabulary`, `times`
    to those of its frames, where they are known, and `long_form` by `_set_long_form`; it calls `_advance` with the
    seconds of audio that a pass has done.
    """

    batched = True
    longest_in_batch_seconds = 30.0
    longest_piece_seconds = LONGEST_PIECE_SECONDS
    vocabulary: Vocabulary
    times: FrameTimes | None = None
    takes_language = False
    language: str | None = None  # of the transcripts, where a model has a choice
    long_form: LongForm = LongForm()
    _search: Search | None = None
    _has_language_model: bool = False  # in the search
    _checkpoint: str = ""
    _gives_log_probs: bool = False  # without a search, too
    _report: Advance | None = None

    def text(self, outcome: Any) -> list[str]:
        """The hypothesis of each recording."""
        if self._search is None:
            return [self.vocabulary.decode(collapse(path, self.vocabulary.blank)) for path in outcome]
        found = iter(self._search.decode_batch([log_probs for log_probs in outcome if len(log_probs)]))
        return [next(found).text if len(log_probs) else "" for log_probs in outcome]

    def transcribe(
        self, waveforms: Sequence[Tensor], *, words: bool = True, advance: Advance | None = None
    ) -> list[Transcript]:
        """See `System.transcribe`. Words are those of the hypothesis, characters of scripts that are written
        without spaces between words, aligned with the frames that it is read from;
        their probability is the confidence of `finetune.decoding.confidence`, calibrated where the model's folder has a
        calibration.

        Raises InputError where log-probabilities are not numbers.
        """
        log_probs = self.log_probs(waveforms, advance)
        return [
            self._transcript(one, hypothesis, len(waveform) / SAMPLE_RATE, words=words)
            for one, hypothesis, waveform in zip(log_probs, self._hypotheses(log_probs), waveforms, strict=True)
        ]

    def log_probs(self, waveforms: Sequence[Tensor], advance: Advance | None = None) -> list[Tensor]:
        """Log-probabilities [frames, units], natural, float32 on the CPU, of each waveform [samples] at 16 kHz; without
        frames of one that is shorter than a frame.

        advance: called with the seconds of audio done since the last call, as far as the system knows before the end.
        """
        self._gives_log_probs = True
        self._report = advance
        try:
            return list(self.forward(self.features(waveforms)))
        finally:
            self._gives_log_probs = False
            self._report = None

    def _set_long_form(self, long_form: LongForm) -> None:
        """How recordings of any length are computed; those that cannot be are not given in larger pieces."""
        self.long_form = long_form
        if long_form.chunking is None and long_form.max_whole_samples is not None:
            self.longest_piece_seconds = long_form.max_whole_samples / SAMPLE_RATE

    def _refuse_too_long(self, waveforms: Sequence[Tensor]) -> None:
        """Raises InputError where a waveform can be computed neither whole nor in chunks."""
        n_samples = max(map(len, waveforms), default=0)
        if self.long_form.is_too_long(n_samples):
            raise InputError(
                f"lasts {n_samples / SAMPLE_RATE:.0f} s; expected at most {LONGEST_WHOLE_SECONDS:g} s of a model that "
                "cannot be run in chunks: cut the recording"
            )

    def _advance(self, seconds: float) -> None:
        """So many more seconds of audio have been through the model."""
        if self._report is not None:
            self._report(seconds)

    def _hypotheses(self, log_probs: Sequence[Tensor]) -> list[list[int] | None]:
        """The labels that a search finds in each recording; None for those of the greedy path."""
        if self._search is None:
            return [None] * len(log_probs)
        found = iter(self._search.decode_batch([one for one in log_probs if len(one)]))
        return [list(next(found).labels) if len(one) else [] for one in log_probs]

    def _transcript(self, log_probs: Tensor, labels: list[int] | None, seconds: float, *, words: bool) -> Transcript:
        if not len(log_probs):
            return Transcript("", language=self.language)
        aligned: Alignment | None = None
        if labels is None:
            if bool(log_probs.isnan().any()):
                raise InputError(
                    "the model gives NaN logits; expected finite ones: its weights are damaged or its training diverged"
                )
            labels = collapse(log_probs.argmax(dim=-1), self.vocabulary.blank)
            if words and self.times is not None:
                aligned = align_greedy(log_probs, self.vocabulary, self.times, splits_unspaced=True)
        elif words and self.times is not None and labels:
            aligned = align_labels(log_probs, labels, self.vocabulary, self.times, splits_unspaced=True)
        text = self.vocabulary.decode(labels)
        if self.times is None or not words:
            return replace(Transcript.of_text(text, seconds), language=self.language)
        spelled = aligned.words if aligned is not None and text else ()
        calibration = self._calibration
        default = DEFAULT_OF_SEARCH if self._has_language_model else DEFAULT
        confidences = word_confidences(log_probs, spelled, default if calibration is None else calibration.measure)
        if calibration is not None:
            confidences = calibration(confidences).tolist()
        return Transcript.of_words(text, [
            Word(f"{' ' * word.follows_space}{word.text}", word.start, min(word.end, seconds), confidence)
            for word, confidence in zip(spelled, confidences, strict=True)
        ], self.language)  # fmt: skip

    @cached_property
    def _calibration(self) -> Calibration | None:
        return load_calibration(self._checkpoint, of_search=self._has_language_model)

    @property
    def has_word_times(self) -> bool:
        """Whether the times of the model's frames are known."""
        return self.times is not None

    def _prepare_decoding(self, spec: SystemSpec, options: LoadOptions) -> str:
        """Make the search, where there is one; `vocabulary` must be set. Returns the decoding in words for the report.

        Raises InputError for a language model that is missing or does not fit the vocabulary, UsageError for hot words
        that do not.
        """
        self._checkpoint = spec.checkpoint
        if not spec.family.endswith(LM_SUFFIX):
            if options.search is None:
                return "greedy CTC, no language model"
            settings = self._with_own_hotwords(spec, options.search)
            self._search = make_search(self.vocabulary, None, settings)
            return f"beam search without a language model: beam_width {settings.beam_width}{_described_hot(settings)}"
        self._has_language_model = True
        given = options.language_model or LanguageModelOptions(None, as_stored=TUNED)
        files = require_language_model(given.path or spec.checkpoint, f"{spec.name}: ")
        settings = self._with_own_hotwords(spec, files.settings(given.search, given.as_stored))
        self._search = make_search(self.vocabulary, load_language_model(spec.name, files, self.vocabulary), settings)
        rescored = ""
        if given.rescore is not None:
            lstm = LstmModel.load(given.rescore)
            check_spelling(spec.name, given.rescore, lstm, self.vocabulary)
            self._search = RescoringSearch(self._search, lstm, given.rescore_weight)
            rescored = f", n best rescored with {given.rescore.name}, weight {given.rescore_weight:g}"
        return (
            f"beam search with {files.path.name}: beam_width {settings.beam_width}, alpha {settings.alpha:g}, beta "
            f"{settings.beta:g}, unk_score_offset {settings.unk_score_offset:g}{_described_hot(settings)}{rescored}"
        )

    def _with_own_hotwords(self, spec: SystemSpec, settings: BeamSettings) -> BeamSettings:
        """The settings with the hot words as the model's labels are written (`as_labels`)."""
        if not settings.hotwords:
            return settings
        name = profile_of(spec.checkpoint)
        normalise = None if name is None else profile(name)
        return replace(settings, hotwords=as_labels(spec.name, settings.hotwords, self.vocabulary, normalise))

    def _frames_to_decode(self, logits: Tensor) -> Tensor:
        """Logits [batch, frames, units] -> best units [batch, frames], or log-probabilities for a search, on the same
        device.
        """
        if self._search is None and not self._gives_log_probs:
            return logits.argmax(dim=-1)
        return logits.float().log_softmax(dim=-1)


def _described_hot(settings: BeamSettings) -> str:
    """The hot words in words for the report, to be appended; nothing where there are none."""
    return f", {len(settings.hot)} hot words of weight {settings.hotword_weight:g}" if settings.hot else ""


def optimal_batches(lengths: Sequence[int], *, pass_cost: float, maximum: float) -> list[list[int]]:
    """Indices of utterances in the batches that cost least in all, longest first.

    A batch costs its padded length and `pass_cost`, and holds at most `maximum`, padding included, or one utterance;
    all in the unit of lengths. Dynamic programming over the sorted lengths: time grows with the square of their number.

    >>> optimal_batches([100, 30, 96, 29], pass_cost=10, maximum=1000)
    [[0, 2], [1, 3]]
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    costs, begins = [0.0], [0]  # of the cheapest batches of the first so many, and where the last of them begins
    for end in range(1, len(order) + 1):
        found = []
        for begin in range(end - 1, -1, -1):
            padded = lengths[order[begin]] * (end - begin)
            if padded > maximum and begin < end - 1:
                break
            found.append((costs[begin] + pass_cost + padded, begin))
        cost, begin = min(found)
        costs.append(cost)
        begins.append(begin)
    batches = []
    while order:
        begin = begins[len(order)]
        batches.append(order[begin:])
        order = order[:begin]
    return batches[::-1]


def split_batch(frames: Tensor, n_frames: Sequence[int]) -> list[Tensor]:
    """A batch [batch, frames, ...] on any device -> each utterance's own frames without padding, on the CPU."""
    return [one[:n] for one, n in zip(frames.cpu(), n_frames, strict=True)]
