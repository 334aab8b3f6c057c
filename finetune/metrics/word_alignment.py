"""Two texts aligned word by word: what a reader is shown on the terminal, in the report and in the app.

`align` returns the pieces of an alignment with its counts, `Alignment.pairs` the same as word under word, and
`wrap_pairs` breaks those pairs into rows for a terminal. Rates over a corpus, which need no words, are in
error_rates.py. rapidfuzz aligns (Levenshtein distance over words); its counts are jiwer's, which the tests compare.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from rapidfuzz.distance import Levenshtein

from finetune.metrics.error_rates import ErrorCounts

MISSING_WORD = "·"  # printed where one of the two texts has no word

WordPair = tuple[str, str]  # a reference word and the hypothesis word aligned with it; "" on the side that has none
Kind = Literal["equal", "substitute", "delete", "insert"]
_KINDS: dict[str, Kind] = {"equal": "equal", "replace": "substitute", "delete": "delete", "insert": "insert"}


@dataclass(frozen=True, slots=True)
class Piece:
    """Neighbouring words with the same edit. An insertion has no reference words, a deletion no hypothesis words."""

    kind: Kind
    reference: tuple[str, ...]
    hypothesis: tuple[str, ...]

    @property
    def pairs(self) -> list[WordPair]:
        """Each reference word with the hypothesis word in its place; "" for the words that one side lacks."""
        length = max(len(self.reference), len(self.hypothesis))
        return list(zip(_padded(self.reference, length), _padded(self.hypothesis, length), strict=True))


@dataclass(frozen=True, slots=True)
class Alignment:
    """The pieces in the order of the texts."""

    pieces: tuple[Piece, ...]

    @property
    def counts(self) -> ErrorCounts:
        """Counts over words."""
        return ErrorCounts(
            self._count("equal"), self._count("substitute"), self._count("delete"), self._count("insert")
        )

    @property
    def pairs(self) -> list[WordPair]:
        """All words as pairs.

        >>> align("turn the lamp on", "turn lamp on now").pairs
        [('turn', 'turn'), ('the', ''), ('lamp', 'lamp'), ('on', 'on'), ('', 'now')]
        """
        return [pair for piece in self.pieces for pair in piece.pairs]

    def _count(self, kind: Kind) -> int:
        return sum(max(len(piece.reference), len(piece.hypothesis)) for piece in self.pieces if piece.kind == kind)


def align(reference: str, hypothesis: str, normalise: Callable[[str], str] = str) -> Alignment:
    """The alignment with the fewest word edits of two raw texts after `normalise`, usually a profile of
    preprocessing.text; words are split at white space.

    >>> for piece in align("the cat sat down", "A cat sat", str.lower).pieces:
    ...     print(piece.kind, piece.reference, piece.hypothesis)
    substitute ('the',) ('a',)
    equal ('cat', 'sat') ('cat', 'sat')
    delete ('down',) ()

    Either text may be empty, before or after normalising: all words of the other then count as inserted or deleted.
    """
    reference_words, hypothesis_words = tuple(normalise(reference).split()), tuple(normalise(hypothesis).split())
    return Alignment(
        tuple(
            Piece(
                _KINDS[block.tag],
                reference_words[block.src_start : block.src_end],
                hypothesis_words[block.dest_start : block.dest_end],
            )
            for block in Levenshtein.opcodes(reference_words, hypothesis_words)
        )
    )


def wrap_pairs(pairs: Sequence[WordPair], width: int) -> list[list[WordPair]]:
    """Rows of pairs that, printed one column each with a space between, are at most `width` characters wide.

    A word of more than `width` characters is cut and ends in "…".
    """
    rows: list[list[WordPair]] = []
    used = width + 1
    for pair in ((_cut(reference, width), _cut(hypothesis, width)) for reference, hypothesis in pairs):
        if used + 1 + column_width(pair) > width:
            rows.append([])
            used = -1
        rows[-1].append(pair)
        used += 1 + column_width(pair)
    return rows


def column_width(pair: WordPair) -> int:
    """Characters that a pair needs when its words are printed under each other."""
    return max(len(pair[0]), len(pair[1]), len(MISSING_WORD))


def _padded(words: tuple[str, ...], length: int) -> tuple[str, ...]:
    return words + ("",) * (length - len(words))


def _cut(word: str, width: int) -> str:
    return word if len(word) <= width else word[: width - 1] + "…"
