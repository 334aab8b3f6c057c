"""CTC prefix beam search, with an n-gram language model of words or characters where one is given, and hot words.

Graves 2012 ("Supervised Sequence Labelling with Recurrent Neural Networks", section 7.5) and Hannun et al. 2014 (arXiv
1408.2873, algorithm 1): a prefix's probability is summed over all its paths, in two parts, of paths that end in a blank
and of paths that end in its last label. Labellings that differ in repeated boundaries alone are one prefix, and after
the last frame a prefix with a boundary at its end and the one without it are one hypothesis, whose probability is the
sum of both, as they have one text. A hypothesis with words W scores

    ln P(labels | audio) + alpha * (ln P(W) + ln 10 * unk_score_offset * number of unknown words in W) + beta * |W|
        + hotword_weight * number of hot words in W

where P(W) is the language model's, and a hot word is not unknown: one that the language model lacks has the probability
of <unk> and no offset, unlike in pyctcdecode. A language model of words scores a word when the word ends. Until then, a
word that begins as no known word does costs unk_score_offset, and from `avg_token_len` letters on in proportion to its
length. One of characters scores each character, and the space, as it is written, and knows no unknown words. Without a
language model, only the first and the last term remain. Hypotheses are pruned by this score, labels by their
probability in the frame. The beginning of a hot word has the part of its weight that its letters are of the shortest
hot word that begins so, and is not taken for unknown. It may lose this part again, so where there are hot words their
weight is added to the range of scores that is kept.

Settings have pyctcdecode's names, signs, values and meaning, so that those stored with its language models hold here.

The search is compiled (`beam_kernel`); `beam_python` is the same in plain Python, for any language model.
"""

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor

from finetune.language_model.ngram import BOUNDARY, NgramModel
from preprocessing.cli.cores import usable_cores
from preprocessing.errors import InputError
from preprocessing.units import Vocabulary

if TYPE_CHECKING:
    from finetune.decoding.prefix_kernel import SearchTables, Weights

T = TypeVar("T")


@dataclass(frozen=True)
class BeamSettings:
    """Weights of the score, and what is pruned; all logarithms are natural.

    beam_width: hypotheses kept after each frame.
    alpha: weight of the language model.
    beta: added for each word, against the language model's preference for few.
    unk_score_offset: added while a word is written that begins as no known word does, and once it has ended, to the
        base-10 logarithm of its probability; 0 or less.
    avg_token_len: letters of an unknown word up to which `unk_score_offset` counts once until it ends; for a longer one
        it grows in proportion, as known words written together are long.
    beam_prune_logp: hypotheses scoring less than the best plus this, less `hotword_weight` where there are hot words,
        are dropped; 0 or less.
    token_min_logp: labels with this log-probability or less are not tried in a frame, except its best; 0 or less.
    hotwords: words, or several separated by spaces, each of which is favoured by itself.
    hotword_weight: added for each of them in a hypothesis; 0 or more.

    Raises ValueError on a value out of these ranges.
    """

    beam_width: int = 64
    alpha: float = 0.5
    beta: float = 1.0
    unk_score_offset: float = -10.0
    avg_token_len: int = 6
    beam_prune_logp: float = -10.0
    token_min_logp: float = -5.0
    hotwords: tuple[str, ...] = ()
    hotword_weight: float = 10.0

    def __post_init__(self) -> None:
        for name in ("beam_width", "avg_token_len"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 or more")
        for name in ("unk_score_offset", "beam_prune_logp", "token_min_logp"):
            if not getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name):g}; expected 0 or less")
        for name in ("alpha", "hotword_weight"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name):g}; expected 0 or more")
        if not -float("inf") < self.beta < float("inf"):
            raise ValueError(f"beta is {self.beta:g}; expected a number")

    @property
    def hot(self) -> frozenset[str]:
        """The hot words, each by itself."""
        return frozenset(word for words in self.hotwords for word in words.split())

    @property
    def pruned_below(self) -> float:
        """What is added to the best score to find the lowest that is kept: so low that the bonus of a hot word that
        has not ended, which it may lose, drops nothing that `beam_prune_logp` would keep without the bonus.
        """
        return self.beam_prune_logp - self.hotword_weight if self.hot else self.beam_prune_logp


@dataclass(frozen=True)
class BeamHypothesis:
    """A transcript of the search.

    text: not normalised.
    score: what the hypotheses are ranked by; see the module's formula.
    ctc: ln P(labels | audio), summed over the paths that were not pruned, with a boundary at the end and without it.
    labels: what is written of the audio, blanks and repeats left out; `text` is their text. With the boundary at the
        end where that is the more probable.
    """

    text: str
    score: float
    ctc: float
    labels: tuple[int, ...]


class BeamSearch:
    """A beam search over a vocabulary's labels; without a language model, for the most probable labelling.

    Made once for many utterances: it compiles the search, where numba's cache does not hold it, and arranges the
    language model in arrays. Threads may share it.
    """

    def __init__(
        self, vocabulary: Vocabulary, model: NgramModel | None = None, settings: BeamSettings | None = None
    ) -> None:
        self.settings = BeamSettings() if settings is None else settings
        self._vocabulary = vocabulary
        self._tables = _search_tables(vocabulary, model, self.settings)
        # Compiles, or loads what is compiled.
        self.decode_beams(torch.zeros(1, len(vocabulary.units)).log_softmax(dim=1))

    def with_settings(self, settings: BeamSettings) -> "BeamSearch":
        """The search of the same language model under other settings, at once. The hot words must be the same."""
        if settings.hot != self.settings.hot:
            raise ValueError("other hot words; expected the same ones")
        search = copy.copy(self)
        search.settings = settings
        search._tables = self._tables._replace(weights=_with_settings(self._tables.weights, settings))
        return search

    def decode(self, log_probs: Tensor) -> BeamHypothesis:
        """The hypothesis with the highest score.

        Of prefixes with the same state of the language model, word so far and last label, which go on alike, only the
        best is followed, as by pyctcdecode's `decode`: others get their room in the beam. What the paths of the dropped
        ones would have added to their texts is left out.

        log_probs: [frames, units], natural logarithms, on the CPU. Raises InputError where a frame holds NaN, or gives
        no label a probability.
        """
        return self._hypotheses(log_probs, 1)[0]

    def decode_beams(self, log_probs: Tensor) -> list[BeamHypothesis]:
        """The hypotheses left after the last frame, from the highest score down, each text once. As `decode`, but
        all prefixes are followed.
        """
        found: dict[str, BeamHypothesis] = {}
        for hypothesis in self._hypotheses(log_probs, self.settings.beam_width):
            found.setdefault(hypothesis.text, hypothesis)
        return list(found.values())

    def decode_batch(self, log_probs: Sequence[Tensor], threads: int | None = None) -> list[BeamHypothesis]:
        """`decode` of each utterance, on several threads at once.

        threads: by default as many as there are cores, or as torch has been told to use where those are fewer.
        """
        return _on_threads(self.decode, log_probs, threads)

    def decode_beams_batch(self, log_probs: Sequence[Tensor], threads: int | None = None) -> list[list[BeamHypothesis]]:
        """`decode_beams` of each utterance, on threads as `decode_batch`."""
        return _on_threads(self.decode_beams, log_probs, threads)

    def _hypotheses(self, log_probs: Tensor, n_best: int) -> list[BeamHypothesis]:
        from finetune.decoding.beam_kernel import search

        array = np.ascontiguousarray(log_probs.detach().float().numpy())
        bad_frame, scores, ctc, labels, offsets = search(array, self._tables, n_best, n_best == 1)
        if bad_frame >= 0:
            raise bad_frame_error(log_probs, bad_frame)
        hypotheses = []
        for i, score in enumerate(scores):
            own = labels[offsets[i] : offsets[i + 1]].tolist()
            hypotheses.append(BeamHypothesis(self._vocabulary.decode(own), float(score), float(ctc[i]), tuple(own)))
        return hypotheses


def _on_threads(decode: Callable[[Tensor], T], log_probs: Sequence[Tensor], threads: int | None) -> list[T]:
    """What `decode` returns of each utterance, on so many threads at once."""
    threads = min(threads or min(torch.get_num_threads(), usable_cores()), len(log_probs))
    if threads < 2:
        return [decode(one) for one in log_probs]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(decode, log_probs))


def bad_frame_error(log_probs: Tensor, frame: int) -> InputError:
    """What is wrong with a frame that cannot be searched."""
    holds = "holds NaN" if bool(log_probs[frame].isnan().any()) else "gives no unit a probability"
    return InputError(
        f"frame {frame} of {len(log_probs)} {holds}; expected logarithms of probabilities: look for the utterance or "
        "the precision that the model's output is not finite for"
    )


def _search_tables(vocabulary: Vocabulary, model: NgramModel | None, settings: BeamSettings) -> "SearchTables":
    """The vocabulary, the language model and the settings as the compiled search takes them."""
    from finetune.decoding.flat_ngram import FlatNgram, build_trie
    from finetune.decoding.prefix_kernel import CHARACTERS, NONE, WORDS, SearchTables, UnitTables, Weights

    flat = FlatNgram.of(NgramModel(({},)) if model is None else model)
    kind = NONE if model is None else CHARACTERS if model.is_of_characters else WORDS
    words = list(model.words) if model is not None and kind == WORDS else []
    hot = sorted(settings.hot)
    characters = {c: number for number, c in enumerate(sorted({c for word in (*words, *hot) for c in word}))}
    letters = [written(vocabulary, label) for label in range(len(vocabulary.units))]
    offsets = np.zeros(len(letters) + 1, dtype=np.int64)
    np.cumsum([len(one) for one in letters], out=offsets[1:])
    joined = "".join(letters)
    units = UnitTables(
        vocabulary.blank,
        vocabulary.boundary,
        np.array([label in vocabulary.silent - {vocabulary.blank} for label in range(len(letters))]),
        np.array([vocabulary.begins_word(label) for label in range(len(letters))]),
        np.array([characters.get(c, -1) for c in joined], dtype=np.int32),
        np.array([flat.words.get(c, flat.unknown) for c in joined], dtype=np.int32),
        offsets,
    )
    weights = Weights(
        kind,
        flat.begin,
        flat.end,
        flat.unknown,
        flat.words.get(BOUNDARY, flat.unknown),
        settings.beam_width,
        *[0.0] * 7,
    )
    trie = build_trie(words, [flat.words[word] for word in words], characters)
    hot_trie = build_trie(hot, [1] * len(hot), characters)
    return SearchTables(units, flat.tables, trie, hot_trie, _with_settings(weights, settings))


def _with_settings(weights: "Weights", settings: BeamSettings) -> "Weights":
    """The weights with the settings' values."""
    return weights._replace(
        beam_width=settings.beam_width,
        alpha=float(settings.alpha),
        beta=float(settings.beta),
        unk_score_offset=float(settings.unk_score_offset),
        avg_token_len=float(settings.avg_token_len),
        beam_prune_logp=float(settings.pruned_below),
        token_min_logp=float(settings.token_min_logp),
        hotword_weight=float(settings.hotword_weight) if settings.hot else 0.0,
    )


def written(vocabulary: Vocabulary, label: int) -> str:
    """The letters that a label adds to a word."""
    if label == vocabulary.boundary or label in vocabulary.silent:
        return ""
    return vocabulary.units[label].strip()
