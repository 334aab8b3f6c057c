"""CTC beam search over prefixes, with an n-gram language model of words where one is given.

Graves 2012 ("Supervised Sequence Labelling with Recurrent Neural Networks", section 7.5) and Hannun et al. 2014 (arXiv
1408.2873): the probability of a labelling is summed over its paths; prefixes that are the same are one. A word is
judged when it ends, and at once by whether any known word begins so. A hypothesis scores

    ln P(labels | audio) + weight * ln P(words) + bonus * number of words

where P is the language model's; `unknown` is added for a word that it does not know, in proportion more for a long one,
as several known words are otherwise written as one (pyctcdecode does so, too). Hypotheses are pruned by that score,
units by their probability in the frame.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from finetune.language_model.ngram import NgramModel, State
from preprocessing.units import Vocabulary

NEVER = -math.inf


@dataclass(frozen=True)
class BeamSettings:
    """What is weighed and what is kept."""

    width: int = 64  # hypotheses after each frame
    weight: float = 0.5  # of the language model
    bonus: float = 1.0  # for each word, against its preference for few
    unknown: float = -10.0  # for a word that it does not know, 0 or less
    letters: int = 6  # of an unknown word; for a longer one `unknown` grows in proportion
    behind: float = 10.0  # hypotheses that score so much less than the best are dropped
    unlikely: float = -5.0  # units below this log-probability are not tried in a frame, unless they are its best

    def __post_init__(self) -> None:
        if self.unknown > 0:
            raise ValueError(f"unknown is {self.unknown:g}; expected 0 or less")


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
    total: float = NEVER  # of both
    next_blank: float = NEVER
    next_labelled: float = NEVER
    longer: "dict[int, _Prefix]" = field(default_factory=dict)


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
        beam = [_Prefix(-1, None, "", 0.0, False, self._model.begin() if self._model else (), blank=0.0, total=0.0)]
        for units in self._tried(log_probs):
            beam = self._pruned(self._advance(beam, units))
        found: dict[str, Hypothesis] = {}
        for prefix in beam:
            text = self._vocabulary.decode(_labels(prefix))
            hypothesis = Hypothesis(text, prefix.total + self._ended(prefix), prefix.total)
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
        """Every prefix of the next frame, with what its paths now sum to. The innermost loop: it calls little."""
        reached: list[_Prefix] = []
        bar = self._least(beam, units)
        for prefix in beam:
            total, own = prefix.total, prefix.unit
            below = bar - prefix.judged
            for unit, value in units:
                if unit == self._blank:
                    if prefix.next_blank == NEVER and prefix.next_labelled == NEVER:
                        reached.append(prefix)
                    prefix.next_blank = total + value  # from nowhere else
                    continue
                arriving = total + value
                if unit == own:
                    if prefix.labelled != NEVER:
                        if prefix.next_blank == NEVER and prefix.next_labelled == NEVER:
                            reached.append(prefix)
                        stays = prefix.labelled + value
                        known = prefix.next_labelled
                        prefix.next_labelled = stays if known == NEVER else _either(known, stays)
                    if prefix.blank == NEVER:
                        continue
                    arriving = prefix.blank + value
                to = prefix.longer.get(unit)
                if to is None:
                    if arriving < below:  # would be dropped at once
                        continue
                    to = prefix.longer[unit] = self._extended(prefix, unit)
                known = to.next_labelled
                if known == NEVER:
                    if to.next_blank == NEVER:
                        reached.append(to)
                    to.next_labelled = arriving
                else:
                    to.next_labelled = _either(known, arriving)
        for prefix in beam:  # those that no path leads on
            prefix.blank = prefix.labelled = prefix.total = NEVER
        for prefix in reached:
            blank, labelled = prefix.next_blank, prefix.next_labelled
            prefix.blank, prefix.labelled = blank, labelled
            prefix.total = labelled if blank == NEVER else blank if labelled == NEVER else _either(blank, labelled)
            prefix.next_blank = prefix.next_labelled = NEVER
        return reached

    def _least(self, beam: Sequence[_Prefix], units: Sequence[tuple[int, float]]) -> float:
        """A score below which no new hypothesis of the next frame is kept, before what its last word may still add: so
        much behind the best if that stays as it is, or behind all of a full beam if these stay.
        """
        best, worst, settings = beam[0], beam[-1], self.settings
        least = NEVER
        for unit, value in units:
            if unit == self._blank:
                least = max(least, best.total + best.judged + value - settings.behind)
                if len(beam) == settings.width:
                    least = max(least, worst.total + worst.judged + value)
            elif unit == best.unit:
                least = max(least, best.labelled + best.judged + value - settings.behind)
        return least - max(settings.bonus, 0.0)

    def _pruned(self, prefixes: list[_Prefix]) -> list[_Prefix]:
        prefixes.sort(key=_rank)
        settings = self.settings
        least = prefixes[0].total + prefixes[0].judged - settings.behind
        n_kept = min(settings.width, len(prefixes))
        while n_kept > 1 and prefixes[n_kept - 1].total + prefixes[n_kept - 1].judged < least:
            n_kept -= 1
        dropped = prefixes[n_kept:]
        for prefix in dropped:
            prefix.blank = prefix.labelled = prefix.total = NEVER
        for prefix in dropped:
            _forget(prefix)
        return prefixes[:n_kept]

    def _extended(self, prefix: _Prefix, unit: int) -> _Prefix:
        """The prefix with one more unit, which may end its word and begin another."""
        word, judged, doubted, state = prefix.word, prefix.judged, prefix.doubted, prefix.state
        if self._begins[unit] and word:
            more, state = self._word(prefix)
            word, judged, doubted = "", judged + more, False
        word += self._letters[unit]
        if self._model is not None and word and (doubted or word not in self._beginnings):
            judged += self._unknown(word) - (self._unknown(prefix.word) if doubted else 0.0)
            doubted = True
        return _Prefix(unit, prefix, word, judged, doubted, state)

    def _word(self, prefix: _Prefix) -> tuple[float, State]:
        """What the end of the begun word adds, and the language model's state after it."""
        if self._model is None:
            return 0.0, ()
        score, state = self._model.score(prefix.state, prefix.word)
        unknown = self._unknown(prefix.word) if prefix.word not in self._model and not prefix.doubted else 0.0
        return self.settings.weight * score + self.settings.bonus + unknown, state

    def _unknown(self, word: str) -> float:
        """What an unknown word adds, whole or begun."""
        return self.settings.unknown * max(1.0, len(word) / self.settings.letters)

    def _ended(self, prefix: _Prefix) -> float:
        """All that the language model says of a whole utterance."""
        if self._model is None:
            return 0.0
        more, state = self._word(prefix) if prefix.word else (0.0, prefix.state)
        return prefix.judged + more + self.settings.weight * self._model.end(state)


def _beginnings(model: NgramModel) -> frozenset[str]:
    """What known words begin with, themselves included."""
    return frozenset(word[:length] for word in model.words for length in range(1, len(word) + 1))


def _rank(prefix: _Prefix) -> float:
    return -(prefix.total + prefix.judged)


def _forget(prefix: _Prefix) -> None:
    """Take a prefix, and those before it, from the tree where nothing is left of them."""
    at = prefix
    while at.before is not None and not at.longer and at.total == NEVER:
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
