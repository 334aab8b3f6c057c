"""The beam search in plain Python, for any language model, such as an LSTM or KenLM's; the compiled one (`beam_kernel`)
must agree with it.

`beam` has the definition of the score.
"""

import copy
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from finetune.decoding.beam import BeamHypothesis, BeamSettings, bad_frame_error, written
from finetune.language_model.base import LanguageModel
from finetune.language_model.ngram import BOUNDARY, LN10
from preprocessing.units import Vocabulary

LOG_ZERO = -math.inf


@dataclass(eq=False, slots=True)
class _Prefix:
    """A labelling of the frames so far, a node of the tree of all prefixes.

    Hannun et al.'s P_b and P_nb are `logp_blank` and `logp_label`: only after a blank can the last label occur again.
    `next_*` are those of the frame that is being computed.
    """

    label: int  # the last one
    parent: "_Prefix | None"
    word: str  # letters since the last word's end
    ended_score: float  # of the ended words; of a model of characters, of all letters
    lm_score: float  # and of the word that has not ended
    state: Any
    word_labels: tuple[int, ...] = ()  # of `word`
    logp_blank: float = LOG_ZERO
    logp_label: float = LOG_ZERO
    logp: float = LOG_ZERO  # of both
    next_blank: float = LOG_ZERO
    next_label: float = LOG_ZERO
    children: "dict[int, _Prefix]" = field(default_factory=dict)


class PythonBeamSearch:
    """The search of `BeamSearch`, with the same arguments and results, for any language model."""

    def __init__(
        self, vocabulary: Vocabulary, model: LanguageModel | None = None, settings: BeamSettings | None = None
    ) -> None:
        self.settings = BeamSettings() if settings is None else settings
        self._vocabulary = vocabulary
        self._model = model
        self._of_words = model is not None and not model.is_of_characters
        self._of_characters = model is not None and model.is_of_characters
        self._blank = vocabulary.blank
        self._boundary = vocabulary.boundary
        self._silent = vocabulary.silent - {vocabulary.blank}
        self._begins_word = [vocabulary.begins_word(label) for label in range(len(vocabulary.units))]
        self._letters = [written(vocabulary, label) for label in range(len(vocabulary.units))]
        words = set(model.words) if model is not None and self._of_words else set()
        self._word_beginnings = _beginnings(words)
        self._hot = self.settings.hot
        self._shortest_hot: dict[str, int] = {}  # letters of the shortest hot word by its beginning
        for word in sorted(self._hot, key=len, reverse=True):
            self._shortest_hot |= dict.fromkeys(_beginnings([word]), len(word))

    def with_settings(self, settings: BeamSettings) -> "PythonBeamSearch":
        """As `BeamSearch.with_settings`."""
        if settings.hot != self._hot:
            raise ValueError("other hot words; expected the same ones")
        search = copy.copy(self)
        search.settings = settings
        return search

    def decode_batch(self, log_probs: Sequence[Tensor], threads: int | None = None) -> list[BeamHypothesis]:
        """`decode` of each utterance, one after the other."""
        return [self.decode(one) for one in log_probs]

    def decode_beams_batch(self, log_probs: Sequence[Tensor], threads: int | None = None) -> list[list[BeamHypothesis]]:
        """`decode_beams` of each utterance, one after the other."""
        return [self.decode_beams(one) for one in log_probs]

    def decode(self, log_probs: Tensor) -> BeamHypothesis:
        """The hypothesis with the highest score, as `BeamSearch.decode`."""
        return self._search(log_probs, recombines=True)[0]

    def decode_beams(self, log_probs: Tensor) -> list[BeamHypothesis]:
        """The hypotheses left after the last frame, from the highest score down, as `BeamSearch.decode_beams`."""
        return self._search(log_probs, recombines=False)

    def _search(self, log_probs: Tensor, *, recombines: bool) -> list[BeamHypothesis]:
        state = self._model.begin() if self._model else ()
        beam = [_Prefix(-1, None, "", 0.0, 0.0, state, logp_blank=0.0, logp=0.0)]
        for labels in self._labels_tried(log_probs):
            beam = self._pruned(self._extended(beam, labels), recombines=recombines)
        ways: dict[int, list[_Prefix]] = {}  # with and without a boundary at the end
        for prefix in beam:
            ways.setdefault(id(_without_last_boundary(prefix)), []).append(prefix)
        best: dict[str, BeamHypothesis] = {}
        for prefixes in ways.values():
            likeliest = max(prefixes, key=lambda prefix: prefix.logp)
            ctc = reduce(_log_add, (prefix.logp for prefix in prefixes))
            labels_ = _labels(likeliest)
            text = self._vocabulary.decode(labels_)
            score = ctc + self._final_lm_score(_without_last_boundary(likeliest))
            if text not in best or best[text].score < score:
                best[text] = BeamHypothesis(text, score, ctc, tuple(labels_))
        return sorted(best.values(), key=lambda hypothesis: -hypothesis.score)

    def _labels_tried(self, log_probs: Tensor) -> Iterator[list[tuple[int, float]]]:
        """For each frame the labels above `token_min_logp`, and its best, with their log-probabilities."""
        allowed = log_probs.float().clone()
        allowed[:, [label for label in self._silent if label < allowed.shape[1]]] = LOG_ZERO
        bad = log_probs.isnan().any(dim=1) | (allowed == LOG_ZERO).all(dim=1)
        if bool(bad.any()):
            raise bad_frame_error(log_probs, int(bad.nonzero()[0]))
        best = allowed.argmax(dim=1, keepdim=True)
        tried = allowed > self.settings.token_min_logp
        tried.scatter_(1, best, torch.ones_like(best, dtype=torch.bool))
        frames: list[list[tuple[int, float]]] = [[] for _ in range(len(allowed))]
        for (frame, label), logp in zip(tried.nonzero().tolist(), allowed[tried].tolist(), strict=True):
            frames[frame].append((label, logp))
        yield from frames

    def _extended(self, beam: Sequence[_Prefix], labels: Sequence[tuple[int, float]]) -> list[_Prefix]:
        """Every prefix of the next frame, with the log-probabilities of its paths. The innermost loop: few calls."""
        reached: list[_Prefix] = []
        lowest_kept = self._lowest_kept(beam, labels)
        for prefix in beam:
            logp_prefix, last_label = prefix.logp, prefix.label
            lowest_logp = lowest_kept - prefix.lm_score
            lowest_ending = lowest_kept - max(prefix.lm_score, prefix.ended_score)  # the end of a word may cost less
            for label, logp in labels:
                if label == self._blank:
                    if prefix.next_blank == LOG_ZERO and prefix.next_label == LOG_ZERO:
                        reached.append(prefix)
                    prefix.next_blank = logp_prefix + logp  # reached from no other prefix
                    continue
                logp_path = logp_prefix + logp
                if label == self._boundary and not prefix.word:  # another space writes nothing
                    if prefix.next_blank == LOG_ZERO and prefix.next_label == LOG_ZERO:
                        reached.append(prefix)
                    prefix.next_label = _log_add(prefix.next_label, logp_path)
                    continue
                if label == last_label:
                    if prefix.logp_label != LOG_ZERO:  # the label goes on: the prefix stays the same
                        if prefix.next_blank == LOG_ZERO and prefix.next_label == LOG_ZERO:
                            reached.append(prefix)
                        repeated = prefix.logp_label + logp
                        so_far = prefix.next_label
                        prefix.next_label = repeated if so_far == LOG_ZERO else _log_add(so_far, repeated)
                    if prefix.logp_blank == LOG_ZERO:
                        continue
                    logp_path = prefix.logp_blank + logp
                child = prefix.children.get(label)
                if child is None:
                    if logp_path < (lowest_ending if self._begins_word[label] else lowest_logp):  # pruned at once
                        continue
                    child = prefix.children[label] = self._child(prefix, label)
                so_far = child.next_label
                if so_far == LOG_ZERO:
                    if child.next_blank == LOG_ZERO:
                        reached.append(child)
                    child.next_label = logp_path
                else:
                    child.next_label = _log_add(so_far, logp_path)
        for prefix in beam:  # some are not reached again
            prefix.logp_blank = prefix.logp_label = prefix.logp = LOG_ZERO
        for prefix in reached:
            blank, label_ = prefix.next_blank, prefix.next_label
            prefix.logp_blank, prefix.logp_label = blank, label_
            prefix.logp = label_ if blank == LOG_ZERO else blank if label_ == LOG_ZERO else _log_add(blank, label_)
            prefix.next_blank = prefix.next_label = LOG_ZERO
        return reached

    def _lowest_kept(self, beam: Sequence[_Prefix], labels: Sequence[tuple[int, float]]) -> float:
        """A bound: no new prefix that scores less, before what its last word may add, is kept in the next frame.

        `pruned_below` the best prefix if it stays as it is, or the worst prefix of a full beam if all stay.
        """
        best, worst, settings = beam[0], beam[-1], self.settings
        bound = LOG_ZERO
        for label, logp in labels:
            if label == self._blank:
                bound = max(bound, best.logp + best.lm_score + logp + settings.pruned_below)
                if len(beam) == settings.beam_width:
                    bound = max(bound, worst.logp + worst.lm_score + logp)
            elif label == best.label:
                bound = max(bound, best.logp_label + best.lm_score + logp + settings.pruned_below)
        return bound - max(settings.beta, 0.0) - max(settings.hotword_weight, 0.0)

    def _pruned(self, prefixes: list[_Prefix], *, recombines: bool) -> list[_Prefix]:
        """The prefixes that are kept, best first; the others leave the tree."""
        prefixes.sort(key=_negative_score)
        if recombines:  # the best of those that go on alike come first, the others after all of them
            futures: dict[object, _Prefix] = {}
            for prefix in prefixes:
                futures.setdefault((prefix.state, prefix.word_labels, prefix.label), prefix)
            distinct = list(futures.values())
            first = {id(prefix) for prefix in distinct}
            others = [prefix for prefix in prefixes if id(prefix) not in first]
        else:
            distinct, others = prefixes, []
        settings = self.settings
        lowest = prefixes[0].logp + prefixes[0].lm_score + settings.pruned_below
        n_kept = min(settings.beam_width, len(distinct))
        while n_kept > 1 and distinct[n_kept - 1].logp + distinct[n_kept - 1].lm_score < lowest:
            n_kept -= 1
        dropped = distinct[n_kept:] + others
        for prefix in dropped:
            prefix.logp_blank = prefix.logp_label = prefix.logp = LOG_ZERO
        for prefix in dropped:
            _remove_from_tree(prefix)
        return distinct[:n_kept]

    def _child(self, prefix: _Prefix, label: int) -> _Prefix:
        """The prefix with one more label, which may end its word and begin another."""
        word, ended_score, state = prefix.word, prefix.ended_score, prefix.state
        if self._begins_word[label] and word:
            added, state = self._end_of_word(prefix)
            word, ended_score = "", ended_score + added
            if self._of_characters:
                ended_score, state = self._with_character(ended_score, state, BOUNDARY)
        word += self._letters[label]
        if self._of_characters:
            for letter in self._letters[label]:
                ended_score, state = self._with_character(ended_score, state, letter)
        labels = () if self._begins_word[label] else prefix.word_labels
        labels = (*labels, label) if word else ()
        return _Prefix(label, prefix, word, ended_score, ended_score + self._pending(word), state, labels)

    def _with_character(self, score: float, state: Any, character: str) -> tuple[float, Any]:
        assert self._model is not None
        logp, state = self._model.score(state, character)
        return score + self.settings.alpha * logp, state

    def _pending(self, word: str) -> float:
        """What a word that has not ended adds."""
        if word in self._shortest_hot:
            return self.settings.hotword_weight * len(word) / self._shortest_hot[word]
        return self._unk_score(word) if self._of_words and word and word not in self._word_beginnings else 0.0

    def _end_of_word(self, prefix: _Prefix) -> tuple[float, Any]:
        """What the end of the prefix's word adds to its score, and the language model's state after the word."""
        is_hot = prefix.word in self._hot
        added = self.settings.hotword_weight if is_hot else 0.0
        if self._model is None:
            return added, ()
        added += self.settings.beta
        if self._of_characters:
            return added, prefix.state
        logp, state = self._model.score(prefix.state, prefix.word)
        if prefix.word not in self._model and not is_hot:
            logp += LN10 * self.settings.unk_score_offset
        return added + self.settings.alpha * logp, state

    def _unk_score(self, word: str) -> float:
        """What an unknown word adds until it ends."""
        return self.settings.unk_score_offset * max(1.0, len(word) / self.settings.avg_token_len)

    def _final_lm_score(self, prefix: _Prefix) -> float:
        """All that is added to ln P(labels | audio) at the end: the words, the last one included, and the end. prefix:
        one without a last boundary.
        """
        added, state = self._end_of_word(prefix) if prefix.word else (0.0, prefix.state)
        end = self.settings.alpha * self._model.end(state) if self._model is not None else 0.0
        return prefix.ended_score + added + end


def _beginnings(words: Iterable[str]) -> frozenset[str]:
    """Every beginning of a word but the empty one, whole words included."""
    return frozenset(word[:length] for word in words for length in range(1, len(word) + 1))


def _negative_score(prefix: _Prefix) -> float:
    return -(prefix.logp + prefix.lm_score)


def _without_last_boundary(prefix: _Prefix) -> _Prefix:
    """The prefix up to its last letter, whose text is the same: a space at the end is not written."""
    while not prefix.word and prefix.parent is not None:
        prefix = prefix.parent
    return prefix


def _remove_from_tree(prefix: _Prefix) -> None:
    """Removes a prefix that no path leads to, and each parent that is left without paths and children."""
    node = prefix
    while node.parent is not None and not node.children and node.logp == LOG_ZERO:
        node.parent.children.pop(node.label, None)
        node = node.parent


def _labels(prefix: _Prefix) -> list[int]:
    """The prefix's labels, first to last."""
    labels: list[int] = []
    node: _Prefix | None = prefix
    while node is not None and node.parent is not None:
        labels.append(node.label)
        node = node.parent
    return labels[::-1]


def _log_add(first: float, second: float) -> float:
    """ln(exp(first) + exp(second))."""
    if first < second:
        first, second = second, first
    return first if second == LOG_ZERO else first + math.log1p(math.exp(second - first))
