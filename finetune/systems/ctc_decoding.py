"""How a CTC system finds units in its frames: greedily, or by a beam search with a language model or for hot words."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from torch import Tensor

from finetune.alignment.confidence import DEFAULT, DEFAULT_OF_SEARCH, Calibration, load_calibration
from finetune.decoding.beam import BeamSettings
from finetune.decoding.greedy import collapse
from finetune.decoding.hotwords import as_labels
from finetune.decoding.language_model_folder import TUNED, check_spelling, load_language_model, require_language_model
from finetune.decoding.rescoring import RescoringSearch
from finetune.decoding.search import Search, make_search
from finetune.language_model.lstm import LstmModel
from finetune.models.companion_files import profile_of
from finetune.systems.base import LanguageModelOptions, LoadOptions, SystemSpec
from preprocessing.text import profile
from preprocessing.units import Vocabulary


@dataclass(frozen=True)
class CTCDecoding:
    """The decoding of a CTC system, made by `ctc_decoding`.

    checkpoint: whose folder may hold a calibration of word confidence. description: for the report. search: None of
    greedy decoding. has_language_model: in the search.
    """

    checkpoint: str
    description: str
    search: Search | None = None
    has_language_model: bool = False

    def labels(self, frames: Sequence[Tensor], blank: int) -> list[list[int]]:
        """The labels of the hypothesis of each recording, from its best units [frames], or for a search from its
        log-probabilities [frames, units].
        """
        if self.search is None:
            return [collapse(path, blank) for path in frames]
        hypotheses = iter(self.search.decode_batch([log_probs for log_probs in frames if len(log_probs)]))
        return [list(next(hypotheses).labels) if len(log_probs) else [] for log_probs in frames]

    @cached_property
    def calibration(self) -> Calibration | None:
        """That of word confidence in the checkpoint's folder; None: there is none. Raises InputError where it cannot be
        read.
        """
        return load_calibration(self.checkpoint, of_search=self.has_language_model)

    @property
    def confidence_measure(self) -> str:
        """The measure of `finetune.alignment.confidence` for words."""
        if self.calibration is not None:
            return self.calibration.measure
        return DEFAULT_OF_SEARCH if self.has_language_model else DEFAULT


def ctc_decoding(spec: SystemSpec, options: LoadOptions, vocabulary: Vocabulary) -> CTCDecoding:
    """The decoding that a system's family and options ask for.

    Raises InputError for a language model that is missing or does not fit the vocabulary, UsageError for hot words that
    do not.
    """
    if not spec.decodes_with_lm:
        if options.search is None:
            return CTCDecoding(spec.checkpoint, "greedy CTC, no language model")
        settings = _with_own_hotwords(spec, options.search, vocabulary)
        description = (
            f"beam search without a language model: beam_width {settings.beam_width}{_described_hot(settings)}"
        )
        return CTCDecoding(spec.checkpoint, description, make_search(vocabulary, None, settings))
    given = options.language_model or LanguageModelOptions(None, as_stored=TUNED)
    files = require_language_model(given.path or spec.checkpoint, f"{spec.name}: ")
    settings = _with_own_hotwords(spec, files.settings(given.search, given.as_stored), vocabulary)
    search = make_search(vocabulary, load_language_model(spec.name, files, vocabulary), settings)
    rescored = ""
    if given.rescore is not None:
        lstm = LstmModel.load(given.rescore)
        check_spelling(spec.name, given.rescore, lstm, vocabulary)
        search = RescoringSearch(search, lstm, given.rescore_weight)
        rescored = f", n best rescored with {given.rescore.name}, weight {given.rescore_weight:g}"
    description = (
        f"beam search with {files.path.name}: beam_width {settings.beam_width}, alpha {settings.alpha:g}, beta "
        f"{settings.beta:g}, unk_score_offset {settings.unk_score_offset:g}{_described_hot(settings)}{rescored}"
    )
    return CTCDecoding(spec.checkpoint, description, search, has_language_model=True)


def _with_own_hotwords(spec: SystemSpec, settings: BeamSettings, vocabulary: Vocabulary) -> BeamSettings:
    """The settings with the hot words as the model's labels are written (`as_labels`)."""
    if not settings.hotwords:
        return settings
    name = profile_of(spec.checkpoint)
    normalise = None if name is None else profile(name)
    return replace(settings, hotwords=as_labels(spec.name, settings.hotwords, vocabulary, normalise))


def _described_hot(settings: BeamSettings) -> str:
    """The hot words in words for the report, to be appended; nothing where there are none."""
    return f", {len(settings.hot)} hot words of weight {settings.hotword_weight:g}" if settings.hot else ""
