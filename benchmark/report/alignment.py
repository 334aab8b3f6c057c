"""How a hypothesis differs from its reference, word by word, for a reader's eye.

The alignment is jiwer's (Levenshtein over words): the same library that counts the scores. Nothing is scored here.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

import jiwer

Kind = Literal["equal", "substitute", "delete", "insert"]


@dataclass(frozen=True, slots=True)
class Piece:
    """Neighbouring words of one kind. An insertion has no reference words, a deletion no hypothesis words."""

    kind: Kind
    reference: tuple[str, ...]
    hypothesis: tuple[str, ...]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Each reference word with the hypothesis word in its place; only for "equal" and "substitute"."""
        return list(zip(self.reference, self.hypothesis, strict=True))


@dataclass(frozen=True, slots=True)
class Alignment:
    """The pieces in order, and how many words are of each kind."""

    pieces: tuple[Piece, ...]
    hits: int
    substitutions: int
    deletions: int
    insertions: int

    @property
    def words(self) -> int:
        """Words of the reference."""
        return self.hits + self.substitutions + self.deletions

    @property
    def errors(self) -> int:
        """Words substituted, deleted and inserted."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def wer(self) -> float:
        """Errors over reference words, as a fraction; infinite when words were inserted into an empty reference."""
        if self.words:
            return self.errors / self.words
        return math.inf if self.errors else 0.0


def align(reference: str, hypothesis: str, normalise: Callable[[str], str]) -> Alignment:
    """Align the words of two raw texts after `normalise`, usually a profile of preprocessing.text.

    >>> for piece in align("the cat sat down", "a cat sat", str.lower).pieces:
    ...     print(piece.kind, piece.reference, piece.hypothesis)
    substitute ('the',) ('a',)
    equal ('cat', 'sat') ('cat', 'sat')
    delete ('down',) ()

    Either text may be empty, before or after normalising: all words of the other then count as inserted or deleted.
    """
    counted = jiwer.process_words(normalise(reference), normalise(hypothesis))
    (reference_words,), (hypothesis_words,) = counted.references, counted.hypotheses
    pieces = tuple(
        Piece(
            cast(Kind, chunk.type),
            tuple(reference_words[chunk.ref_start_idx : chunk.ref_end_idx]),
            tuple(hypothesis_words[chunk.hyp_start_idx : chunk.hyp_end_idx]),
        )
        for chunk in counted.alignments[0]
    )
    return Alignment(pieces, counted.hits, counted.substitutions, counted.deletions, counted.insertions)
