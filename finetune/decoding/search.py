"""What every beam search answers, and which one a language model is searched with.

`BeamSearch` is compiled, for n-grams or no language model; `PythonBeamSearch` takes any language model;
`RescoringSearch` ranks what one of them finds anew.
"""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from finetune.decoding.beam import BeamHypothesis, BeamSearch, BeamSettings
from finetune.decoding.beam_python import PythonBeamSearch
from finetune.language_model.base import LanguageModel
from finetune.language_model.ngram import NgramModel
from preprocessing.units import Vocabulary


class Search(Protocol):
    """A beam search, as `BeamSearch` answers. log_probs: [frames, units], natural logarithms, on the CPU."""

    @property
    def settings(self) -> BeamSettings:
        """The weights of the score, and what is pruned."""

    def with_settings(self, settings: BeamSettings) -> "Search":
        """The search of the same language model under other settings. The hot words must be the same."""

    def decode(self, log_probs: Tensor) -> BeamHypothesis:
        """The hypothesis with the highest score."""

    def decode_beams(self, log_probs: Tensor) -> list[BeamHypothesis]:
        """The hypotheses left after the last frame, from the highest score down, each text once."""

    def decode_batch(self, log_probs: Sequence[Tensor], threads: int | None = None) -> list[BeamHypothesis]:
        """`decode` of each utterance; threads: at most so many at once."""

    def decode_beams_batch(self, log_probs: Sequence[Tensor], threads: int | None = None) -> list[list[BeamHypothesis]]:
        """`decode_beams` of each utterance; threads: at most so many at once."""


def make_search(
    vocabulary: Vocabulary, model: LanguageModel | None = None, settings: BeamSettings | None = None
) -> Search:
    """The compiled search for n-grams or no language model, the one in Python for any other."""
    if model is None or isinstance(model, NgramModel):
        return BeamSearch(vocabulary, model, settings)
    return PythonBeamSearch(vocabulary, model, settings)
