"""CTC beam search over prefixes, with an n-gram language model of words where one is given.

Graves 2012 ("Supervised Sequence Labelling with Recurrent Neural Networks", section 7.5) and Hannun et al. 2014 (arXiv
1408.2873): the probability of a labelling is summed over its paths; prefixes that are the same are one. A word is
judged when it ends, and at once by whether any known word begins so. A hypothesis scores

    ln P(labels | audio) + weight * ln P(words) + bonus * number of words

where P is the language model's; `unknown` is added for a word that it does not know. Hypotheses are pruned by that
score, units by their probability in the frame.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from finetune.lm.ngram import NgramModel, State
from preprocessing.units import Vocabulary

NEVER = -math.inf


@dataclass(frozen=True)
class BeamSettings:
    """What is weighed and what is kept."""

    width: int = 64  # hypotheses after each frame
    weight: float = 0.5  # of the language model
    bonus: float = 1.0  # for each word, against its preference for few
    unknown: float = -10.0  # for a word that it does not know
    behind: float = 10.0  # hypotheses that score so much less than the best are dropped
    unlikely: float = -5.0  # units below this log-probability are not tried in a frame, unless they are its best


@dataclass(frozen=True)
class Hypothesis:
    """A transcript; `ctc` is ln P(labels | audio), `score` what it was ranked by."""

    text: str
    score: float
    ctc: float


@dataclass(eq=False, slots=True)
class _Prefix:
    """A labelling so far. Paths that end in a blank and in its last unit are summed apart, as only the former can be
    followed by the same unit anew.
    """

    unit: int
    before: "_Prefix | None"
    word: str  # begun and not ended
    judged: float  # of the words that have ended, and of the one begun if no known one begins so
    doubted: bool  # whether the begun word was found to be unknown
    state: State
    blank: float = NEVER
    labelled: float = NEVER
    next_blank: float = NEVER
    next_labelled: float = NEVER
    longer: "dict[int, _Prefix]" = field(default_factory=dict)

    @property
    def ctc(self) -> float:
        return _either(self.blank, self.labelled)


class BeamSearch:
    """A vocabulary and a language model, ready to search; without a model, the labelling that is most probable."""

    def __init__(
        self, vocabulary: Vocabulary, model: NgramModel | None = None, settings: BeamSettings | None = None
    ) -> None:
        self.settings = BeamSettings() if settings is None else settings
        self._vocabulary = vocabulary
        self._model = model
        self._blank = vocabulary.blank
        self._silent = vocabulary.silent - {vocabulary.blank}
        self._begins = [vocabulary.begins_word(index) for index in range(len(vocabulary.units))]
        letters = ["" if index == vocabulary.boundary else unit for index, unit in enumerate(vocabulary.units)]
        self._letters = [unit.strip() for unit in letters]
        self._beginnings = _beginnings(model) if model is not None else frozenset()

    def best(self, log_probs: Tensor) -> Hypothesis:
        """log_probs: [frames, units], natural logarithms. The best hypothesis."""
        return self.search(log_probs)[0]

    def search(self, log_probs: Tensor) -> list[Hypothesis]:
        """log_probs: [frames, units], natural logarithms. Hypotheses from the best on, one a transcript."""
        beam = [_Prefix(-1, None, "", 0.0, False, self._model.begin() if self._model else (), blank=0.0)]
        for units in self._tried(log_probs):
            beam = self._pruned(self._advance(beam, units))
        found: dict[str, Hypothesis] = {}
        for prefix in beam:
            text = self._vocabulary.decode(_labels(prefix))
            hypothesis = Hypothesis(text, prefix.ctc + self._ended(prefix), prefix.ctc)
            if text not in found or found[text].score < hypothesis.score:
                found[text] = hypothesis
        return sorted(found.values(), key=lambda hypothesis: -hypothesis.score)

    def _tried(self, log_probs: Tensor) -> Iterator[list[tuple[int, float]]]:
        """The units worth trying in each frame, with their log-probabilities."""
        allowed = log_probs.float().clone()
        allowed[:, list(self._silent)] = NEVER
        best = allowed.argmax(dim=1, keepdim=True)
        worth = (allowed > self.settings.unlikely).scatter_(1, best, torch.ones_like(best, dtype=torch.bool))
        places = worth.nonzero().tolist()
        values = allowed[worth].tolist()
        frames: list[list[tuple[int, float]]] = [[] for _ in range(len(allowed))]
        for (frame, unit), value in zip(places, values, strict=True):
            frames[frame].append((unit, value))
        yield from frames

    def _advance(self, beam: Sequence[_Prefix], units: Sequence[tuple[int, float]]) -> list[_Prefix]:
        """Every prefix of the next frame, with what its paths now sum to."""
        reached: list[_Prefix] = []
        for prefix in beam:
            total = _either(prefix.blank, prefix.labelled)
            for unit, value in units:
                if unit == self._blank:
                    to, blank, labelled = prefix, total + value, NEVER
                elif unit == prefix.unit:
                    if prefix.next_blank == NEVER and prefix.next_labelled == NEVER:
                        reached.append(prefix)
                    prefix.next_labelled = _either(prefix.next_labelled, prefix.labelled + value)
                    if prefix.blank == NEVER:
                        continue
                    to, blank, labelled = self._longer(prefix, unit), NEVER, prefix.blank + value
                else:
                    to, blank, labelled = self._longer(prefix, unit), NEVER, total + value
                if to.next_blank == NEVER and to.next_labelled == NEVER:
                    reached.append(to)
                to.next_blank = _either(to.next_blank, blank)
                to.next_labelled = _either(to.next_labelled, labelled)
        for prefix in beam:  # those that no path leads on
            prefix.blank = prefix.labelled = NEVER
        kept = []
        for prefix in reached:
            prefix.blank, prefix.labelled = prefix.next_blank, prefix.next_labelled
            prefix.next_blank = prefix.next_labelled = NEVER
            if prefix.blank != NEVER or prefix.labelled != NEVER:
                kept.append(prefix)
        return kept

    def _pruned(self, prefixes: list[_Prefix]) -> list[_Prefix]:
        scored = [(_either(prefix.blank, prefix.labelled) + prefix.judged, prefix) for prefix in prefixes]
        scored.sort(key=lambda pair: -pair[0])
        least = scored[0][0] - self.settings.behind
        kept = [prefix for score, prefix in scored[: self.settings.width] if score >= least]
        for _, dropped in scored[len(kept) :]:
            dropped.blank = dropped.labelled = NEVER
        for _, dropped in scored[len(kept) :]:
            _forget(dropped)
        return kept

    def _longer(self, prefix: _Prefix, unit: int) -> _Prefix:
        known = prefix.longer.get(unit)
        if known is None:
            known = prefix.longer[unit] = self._extended(prefix, unit)
        return known

    def _extended(self, prefix: _Prefix, unit: int) -> _Prefix:
        """The prefix with one more unit, which may end its word and begin another."""
        word, judged, doubted, state = prefix.word, prefix.judged, prefix.doubted, prefix.state
        if self._begins[unit] and word:
            more, state = self._word(prefix)
            word, judged, doubted = "", judged + more, False
        word += self._letters[unit]
        if word and not doubted and self._model is not None and word not in self._beginnings:
            judged, doubted = judged + self.settings.unknown, True
        return _Prefix(unit, prefix, word, judged, doubted, state)

    def _word(self, prefix: _Prefix) -> tuple[float, State]:
        """What the end of the begun word adds, and the language model's state after it."""
        if self._model is None:
            return 0.0, ()
        score, state = self._model.score(prefix.state, prefix.word)
        unknown = self.settings.unknown if prefix.word not in self._model and not prefix.doubted else 0.0
        return self.settings.weight * score + self.settings.bonus + unknown, state

    def _ended(self, prefix: _Prefix) -> float:
        """All that the language model says of a whole utterance."""
        if self._model is None:
            return 0.0
        more, state = self._word(prefix) if prefix.word else (0.0, prefix.state)
        return prefix.judged + more + self.settings.weight * self._model.end(state)


def _beginnings(model: NgramModel) -> frozenset[str]:
    """What known words begin with, themselves included."""
    return frozenset(word[:length] for word in model.words for length in range(1, len(word) + 1))


def _forget(prefix: _Prefix) -> None:
    """Take a prefix, and those before it, from the tree where nothing is left of them."""
    at = prefix
    while at.before is not None and not at.longer and at.blank == NEVER and at.labelled == NEVER:
        at.before.longer.pop(at.unit, None)
        at = at.before


def _labels(prefix: _Prefix) -> list[int]:
    labels: list[int] = []
    at: _Prefix | None = prefix
    while at is not None and at.before is not None:
        labels.append(at.unit)
        at = at.before
    return labels[::-1]


def _either(one: float, other: float) -> float:
    """ln(exp(one) + exp(other))."""
    if one < other:
        one, other = other, one
    return one if other == NEVER else one + math.log1p(math.exp(other - one))
