"""CTC prefix beam search, with an n-gram language model of words where one is given.

Graves 2012 ("Supervised Sequence Labelling with Recurrent Neural Networks", section 7.5) and Hannun et al. 2014 (arXiv
1408.2873, algorithm 1): a prefix's probability is summed over all its paths, in two parts, of paths that end in a blank
and of paths that end in its last label. A hypothesis with words W scores

    ln P(labels | audio) + alpha * ln P(W) + beta * |W| + sum of unk_score_offset over the unknown words of W

where P(W) is the language model's. It scores a word when the word ends; a word that begins as no known word does is
unknown from there on. Hypotheses are pruned by this score, labels by their probability in the frame.

Settings have pyctcdecode's names, signs and natural logarithms. One differs: once an unknown word has ended,
pyctcdecode multiplies `unk_score_offset` by alpha * ln 10 and drops its growth with the word's length; here it stays
what it was before the word's end.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from finetune.language_model.ngram import NgramModel, State
from preprocessing.units import Vocabulary

LOG_ZERO = -math.inf


@dataclass(frozen=True)
class BeamSettings:
    """Weights of the score, and what is pruned; all logarithms are natural.

    beam_width: hypotheses kept after each frame.
    alpha: weight of the language model.
    beta: added for each word, against the language model's preference for few.
    unk_score_offset: added for each word that the language model does not know; 0 or less.
    avg_token_len: letters of a word up to which `unk_score_offset` counts once; for a longer word it grows in
        proportion, as known words written together are long.
    beam_prune_logp: hypotheses scoring less than the best plus this are dropped; 0 or less.
    token_min_logp: labels with this log-probability or less are not tried in a frame, except its best; 0 or less.

    Raises ValueError on a positive `unk_score_offset`, `beam_prune_logp` or `token_min_logp`.
    """

    beam_width: int = 64
    alpha: float = 0.5
    beta: float = 1.0
    unk_score_offset: float = -10.0
    avg_token_len: int = 6
    beam_prune_logp: float = -10.0
    token_min_logp: float = -5.0

    def __post_init__(self) -> None:
        for name in ("unk_score_offset", "beam_prune_logp", "token_min_logp"):
            if getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name):g}; expected 0 or less")


@dataclass(frozen=True)
class BeamHypothesis:
    """A transcript of the search.

    text: not normalised.
    score: what the hypotheses are ranked by; see the module's formula.
    ctc: ln P(labels | audio), summed over the paths that were not pruned.
    """

    text: str
    score: float
    ctc: float


@dataclass(eq=False, slots=True)
class _Prefix:
    """A labelling of the frames so far, a node of the tree of all prefixes.

    Hannun et al.'s P_b and P_nb are `logp_blank` and `logp_label`: only after a blank can the last label occur anew.
    `next_*` are those of the frame that is being computed.
    """

    label: int  # the last one
    parent: "_Prefix | None"
    word: str  # letters since the last word's end
    lm_score: float  # of the ended words; and of an unknown word, even if not ended
    word_is_unknown: bool  # `lm_score` holds the offset of the word that has not ended
    state: State
    logp_blank: float = LOG_ZERO
    logp_label: float = LOG_ZERO
    logp: float = LOG_ZERO  # of both
    next_blank: float = LOG_ZERO
    next_label: float = LOG_ZERO
    children: "dict[int, _Prefix]" = field(default_factory=dict)


class BeamSearch:
    """A beam search over a vocabulary's labels; without a language model, for the most probable labelling."""

    def __init__(
        self, vocabulary: Vocabulary, model: NgramModel | None = None, settings: BeamSettings | None = None
    ) -> None:
        self.settings = BeamSettings() if settings is None else settings
        self._vocabulary = vocabulary
        self._model = model
        self._blank = vocabulary.blank
        self._silent = vocabulary.silent - {vocabulary.blank}
        self._begins_word = [vocabulary.begins_word(label) for label in range(len(vocabulary.units))]
        letters = ["" if label == vocabulary.boundary else unit for label, unit in enumerate(vocabulary.units)]
        self._letters = [unit.strip() for unit in letters]
        self._word_beginnings = _word_beginnings(model) if model is not None else frozenset()

    def best(self, log_probs: Tensor) -> BeamHypothesis:
        """The hypothesis with the highest score. log_probs: [frames, units], natural logarithms, on the CPU."""
        return self.search(log_probs)[0]

    def search(self, log_probs: Tensor) -> list[BeamHypothesis]:
        """The hypotheses left after the last frame, from the highest score down, each text once.

        log_probs: [frames, units], natural logarithms, on the CPU.
        """
        state = self._model.begin() if self._model else ()
        beam = [_Prefix(-1, None, "", 0.0, False, state, logp_blank=0.0, logp=0.0)]
        for labels in self._labels_tried(log_probs):
            beam = self._pruned(self._extended(beam, labels))
        best: dict[str, BeamHypothesis] = {}
        for prefix in beam:
            text = self._vocabulary.decode(_labels(prefix))
            hypothesis = BeamHypothesis(text, prefix.logp + self._final_lm_score(prefix), prefix.logp)
            if text not in best or best[text].score < hypothesis.score:
                best[text] = hypothesis
        return sorted(best.values(), key=lambda hypothesis: -hypothesis.score)

    def _labels_tried(self, log_probs: Tensor) -> Iterator[list[tuple[int, float]]]:
        """For each frame the labels above `token_min_logp`, and its best, with their log-probabilities."""
        allowed = log_probs.float().clone()
        allowed[:, list(self._silent)] = LOG_ZERO
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
            for label, logp in labels:
                if label == self._blank:
                    if prefix.next_blank == LOG_ZERO and prefix.next_label == LOG_ZERO:
                        reached.append(prefix)
                    prefix.next_blank = logp_prefix + logp  # reached from no other prefix
                    continue
                logp_path = logp_prefix + logp
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
                    if logp_path < lowest_logp:  # would be pruned at once
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

        `beam_prune_logp` below the best prefix if it stays as it is, or the worst prefix of a full beam if all stay.
        """
        best, worst, settings = beam[0], beam[-1], self.settings
        bound = LOG_ZERO
        for label, logp in labels:
            if label == self._blank:
                bound = max(bound, best.logp + best.lm_score + logp + settings.beam_prune_logp)
                if len(beam) == settings.beam_width:
                    bound = max(bound, worst.logp + worst.lm_score + logp)
            elif label == best.label:
                bound = max(bound, best.logp_label + best.lm_score + logp + settings.beam_prune_logp)
        return bound - max(settings.beta, 0.0)

    def _pruned(self, prefixes: list[_Prefix]) -> list[_Prefix]:
        """The prefixes that are kept, best first; the others leave the tree."""
        prefixes.sort(key=_negative_score)
        settings = self.settings
        lowest = prefixes[0].logp + prefixes[0].lm_score + settings.beam_prune_logp
        n_kept = min(settings.beam_width, len(prefixes))
        while n_kept > 1 and prefixes[n_kept - 1].logp + prefixes[n_kept - 1].lm_score < lowest:
            n_kept -= 1
        dropped = prefixes[n_kept:]
        for prefix in dropped:
            prefix.logp_blank = prefix.logp_label = prefix.logp = LOG_ZERO
        for prefix in dropped:
            _remove_from_tree(prefix)
        return prefixes[:n_kept]

    def _child(self, prefix: _Prefix, label: int) -> _Prefix:
        """The prefix with one more label, which may end its word and begin another."""
        word, lm_score, is_unknown, state = prefix.word, prefix.lm_score, prefix.word_is_unknown, prefix.state
        if self._begins_word[label] and word:
            added, state = self._end_of_word(prefix)
            word, lm_score, is_unknown = "", lm_score + added, False
        word += self._letters[label]
        if self._model is not None and word and (is_unknown or word not in self._word_beginnings):
            lm_score += self._unk_score(word) - (self._unk_score(prefix.word) if is_unknown else 0.0)
            is_unknown = True
        return _Prefix(label, prefix, word, lm_score, is_unknown, state)

    def _end_of_word(self, prefix: _Prefix) -> tuple[float, State]:
        """What the end of the prefix's word adds to its score, and the language model's state after the word."""
        if self._model is None:
            return 0.0, ()
        logp, state = self._model.score(prefix.state, prefix.word)
        is_new = prefix.word not in self._model and not prefix.word_is_unknown  # else its offset is in already
        unk_score = self._unk_score(prefix.word) if is_new else 0.0
        return self.settings.alpha * logp + self.settings.beta + unk_score, state

    def _unk_score(self, word: str) -> float:
        """What an unknown word adds, ended or not."""
        return self.settings.unk_score_offset * max(1.0, len(word) / self.settings.avg_token_len)

    def _final_lm_score(self, prefix: _Prefix) -> float:
        """All that the language model adds to an utterance's score: its words, the last one included, and its end."""
        if self._model is None:
            return 0.0
        added, state = self._end_of_word(prefix) if prefix.word else (0.0, prefix.state)
        return prefix.lm_score + added + self.settings.alpha * self._model.end(state)


def _word_beginnings(model: NgramModel) -> frozenset[str]:
    """Every beginning of a known word, whole words included."""
    return frozenset(word[:length] for word in model.words for length in range(1, len(word) + 1))


def _negative_score(prefix: _Prefix) -> float:
    return -(prefix.logp + prefix.lm_score)


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
