"""Rescoring of the n best texts of a beam search with an LSTM language model, in one batch."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from finetune.decoding.beam import BeamHypothesis, BeamSettings
from finetune.decoding.search import Search
from finetune.language_model.lstm import LstmModel
from finetune.language_model.ngram import BOUNDARY


class RescoringSearch:
    """A search whose n-best list is rescored: its score + weight * ln P(text) of an LSTM.

    The first search runs twice: `decode_beams`, which follows all prefixes, may lack the text that `decode` finds.
    """

    def __init__(self, first: Search, model: LstmModel, weight: float) -> None:
        self._first, self._model, self._weight = first, model, weight

    def with_settings(self, settings: BeamSettings) -> "RescoringSearch":
        """The same rescoring of the first search under other settings."""
        return RescoringSearch(self._first.with_settings(settings), self._model, self._weight)

    def n_best(self, log_probs: Tensor) -> list[BeamHypothesis]:
        """What is rescored: the hypotheses of the first search's `decode_beams` and that of its `decode`, each text
        once, under their scores before rescoring, best first.
        """
        found = {one.text: one for one in self._first.decode_beams(log_probs)}
        best = self._first.decode(log_probs)
        if best.text not in found or found[best.text].score < best.score:
            found[best.text] = best
        return sorted(found.values(), key=lambda one: -one.score)

    def decode_beams(self, log_probs: Tensor) -> list[BeamHypothesis]:
        """The hypotheses of `n_best` under their new scores, best first."""
        found = self.n_best(log_probs)
        texts = [one.text.split() for one in found]
        if self._model.is_of_characters:
            texts = [list(BOUNDARY.join(words)) for words in texts]
        scores = self._model.score_sentences(texts)
        again = [replace(one, score=one.score + self._weight * s) for one, s in zip(found, scores, strict=True)]
        return sorted(again, key=lambda one: -one.score)

    def decode(self, log_probs: Tensor) -> BeamHypothesis:
        """The best hypothesis after rescoring."""
        return self.decode_beams(log_probs)[0]

    def decode_batch(self, log_probs: Sequence[Tensor], threads: int | None = None) -> list[BeamHypothesis]:
        """`decode` of each utterance."""
        return [self.decode(one) for one in log_probs]
