"""What can be counted of a vocabulary before anything is trained: size, coverage, unseen text, frames, infeasibility.

Pieces are what a word splits into were every piece a unit; labels are what `Vocabulary.encode` makes of a text.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from preprocessing.units.build import by_frequency
from preprocessing.units.frames import frames_in, frames_needed
from preprocessing.units.texts import Line
from preprocessing.units.vocabulary import Vocabulary

RARE = 10  # occurrences below which a unit is called rare
COVERED = (0.5, 0.9, 0.99)


@dataclass(frozen=True)
class Timing:
    """Over the utterances whose duration is known."""

    frames_per_label: float  # frames of 20 ms
    infeasible_share: float  # of utterances with fewer frames than CTC needs


@dataclass(frozen=True)
class Inventory:
    """A vocabulary and its figures. Shares are of 1."""

    kind: str
    asked_size: int | None
    size: int
    rare_share: float  # of the units, seen fewer than RARE times in the text, counted as pieces
    labels_per_word: float  # of the text, boundaries included
    unseen_piece_share: float  # of the held-out pieces, those that are no unit
    unwritable_word_share: float  # of the held-out words, those that cannot be written with the units
    timing: Timing | None


@dataclass(frozen=True)
class Curve:
    """Shares by the number n of the most frequent pieces kept, n = 1 ...: of the text, and missing held-out."""

    kind: str
    covered: NDArray[np.float64]
    unseen: NDArray[np.float64]

    def covering(self, share: float) -> int:
        """Fewest pieces that cover this share of the text."""
        return int(np.searchsorted(self.covered, share - 1e-12)) + 1


def words_of(lines: Iterable[Line]) -> Counter[str]:
    return Counter(word for line in lines for word in line.text.split())


def pieces_of(vocabulary: Vocabulary, words: Counter[str]) -> Counter[str]:
    """Pieces of the words with counts; a boundary that stands by itself is none."""
    counts: Counter[str] = Counter()
    for word, n in words.items():
        for piece in vocabulary.splitter.pieces(word):
            if piece != vocabulary.boundary_unit:
                counts[piece] += n
    return counts


def measure(
    vocabulary: Vocabulary, asked_size: int | None, text: Sequence[Line], held_out: Sequence[Line]
) -> Inventory:
    """The figures of a vocabulary made of `text`."""
    words, unseen_words = words_of(text), words_of(held_out)
    pieces, unseen_pieces = pieces_of(vocabulary, words), pieces_of(vocabulary, unseen_words)
    written = [index for index in range(len(vocabulary.units)) if index not in vocabulary.silent]
    written = [index for index in written if index not in (vocabulary.boundary, vocabulary.unknown)]
    rare = sum(pieces[vocabulary.units[index]] < RARE for index in written)
    labels = sum(n * len(vocabulary.encode_word(word)) for word, n in words.items())
    if not vocabulary.splitter.carries_boundary:
        labels += words.total() - len(text)
    missing = sum(n for piece, n in unseen_pieces.items() if piece not in vocabulary)
    unwritable = sum(n for word, n in unseen_words.items() if vocabulary.outside([word]))
    return Inventory(
        kind=vocabulary.kind,
        asked_size=asked_size,
        size=vocabulary.size,
        rare_share=rare / len(written),
        labels_per_word=labels / words.total(),
        unseen_piece_share=missing / unseen_pieces.total(),
        unwritable_word_share=unwritable / unseen_words.total(),
        timing=_timing(vocabulary, text),
    )


def curve(vocabulary: Vocabulary, text: Counter[str], held_out: Counter[str]) -> Curve:
    """Coverage of the words of the text, and unseen share of the held-out words, by number of pieces kept."""
    seen, other = pieces_of(vocabulary, text), pieces_of(vocabulary, held_out)
    ranked = by_frequency(seen)
    covered = np.cumsum([seen[piece] for piece in ranked]) / seen.total()
    unseen = 1.0 - np.cumsum([other[piece] for piece in ranked]) / other.total()
    return Curve(vocabulary.kind, covered, unseen)


def _timing(vocabulary: Vocabulary, lines: Sequence[Line]) -> Timing | None:
    frames = labels = infeasible = spoken = 0
    for line in lines:
        if line.seconds is not None:
            encoded = vocabulary.encode(line.text)
            available = frames_in(line.seconds)
            frames, labels, spoken = frames + available, labels + len(encoded), spoken + 1
            infeasible += available < frames_needed(encoded)
    return Timing(frames / labels, infeasible / spoken) if spoken else None
