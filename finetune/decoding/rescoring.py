"""Rescoring of the n best texts of a beam search with an LSTM language model, those of all utterances at once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from finetune.decoding.beam import BeamHypothesis, BeamSettings
from finetune.decoding.search import Search
from finetune.language_model.lstm import LstmModel
from finetune.language_model.ngram import BOUNDARY, LN10


@dataclass(frozen=True)
class RescoredHypothesis:
    """A hypothesis under its score before rescoring, and what the LSTM's weight multiplies: ln P(text), and of words
    ln 10 * `BeamSettings.unk_score_offset` for each that the LSTM does not know and that is no hot word, as in the
    search.
    """

    hypothesis: BeamHypothesis
    logp: float


class RescoringSearch:
    """A search whose n-best list is rescored: its score + weight * `RescoredHypothesis.logp`.

    The first search runs twice: `decode_beams`, which follows all prefixes, may lack the text that `decode` finds.
    """

    def __init__(self, first: Search, model: LstmModel, weight: float) -> None:
        self._first, self._model, self._weight = first, model, weight

    @property
    def settings(self) -> BeamSettings:
        """Those of the first search."""
        return self._first.settings

    def with_settings(self, settings: BeamSettings) -> "RescoringSearch":
        """The same rescoring of the first search under other settings."""
        return RescoringSearch(self._first.with_settings(settings), self._model, self._weight)

    def n_best(self, log_probs: Sequence[Tensor], threads: int | None = None) -> list[list[RescoredHypothesis]]:
        """What is rescored of each utterance: the hypotheses of the first search's `decode_beams` and that of its
        `decode`, each text once, best first before rescoring. The LSTM scores all of them at once.

        threads: at most so many utterances are searched at once.
        """
        lists = self._first.decode_beams_batch(log_probs, threads)
        for i, best in enumerate(self._first.decode_batch(log_probs, threads)):
            by_text: dict[str, BeamHypothesis] = {}
            for one in sorted([*lists[i], best], key=lambda one: -one.score):
                by_text.setdefault(one.text, one)
            lists[i] = list(by_text.values())
        texts = [one.text.split() for hypotheses in lists for one in hypotheses]
        if self._model.is_of_characters:
            texts = [list(BOUNDARY.join(words)) for words in texts]
        logps = (
            logp + offset for logp, offset in zip(self._model.score_sentences(texts), self._offsets(texts), strict=True)
        )
        return [[RescoredHypothesis(one, next(logps)) for one in hypotheses] for hypotheses in lists]

    def _offsets(self, texts: Sequence[Sequence[str]]) -> list[float]:
        """What is added to each text's ln P for its unknown words. Without it a word LSTM, which gives each of them the
        probability of all together, favours them.
        """
        if self._model.is_of_characters:
            return [0.0] * len(texts)
        offset, hot = LN10 * self.settings.unk_score_offset, self.settings.hot
        return [sum(offset for word in words if word not in self._model and word not in hot) for words in texts]

    def decode_beams(self, log_probs: Tensor) -> list[BeamHypothesis]:
        """The hypotheses of `n_best` under their new scores, best first."""
        return self.decode_beams_batch([log_probs])[0]

    def decode(self, log_probs: Tensor) -> BeamHypothesis:
        """The best hypothesis after rescoring."""
        return self.decode_beams(log_probs)[0]

    def decode_beams_batch(self, log_probs: Sequence[Tensor], threads: int | None = None) -> list[list[BeamHypothesis]]:
        """`decode_beams` of each utterance; threads: at most so many are searched at once."""
        return [rescore(hypotheses, self._weight) for hypotheses in self.n_best(log_probs, threads)]

    def decode_batch(self, log_probs: Sequence[Tensor], threads: int | None = None) -> list[BeamHypothesis]:
        """`decode` of each utterance; threads: at most so many are searched at once."""
        return [hypotheses[0] for hypotheses in self.decode_beams_batch(log_probs, threads)]


def rescore(hypotheses: Sequence[RescoredHypothesis], weight: float) -> list[BeamHypothesis]:
    """The hypotheses with the weight times `RescoredHypothesis.logp` added to their scores, best first."""
    rescored = [replace(one.hypothesis, score=one.hypothesis.score + weight * one.logp) for one in hypotheses]
    return sorted(rescored, key=lambda one: -one.score)
