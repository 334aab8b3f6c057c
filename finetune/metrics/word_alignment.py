"""Two texts aligned word by word, for people to read: what was said, and where the hypothesis differs."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import jiwer

NOTHING = "·"


@dataclass(frozen=True, slots=True)
class Column:
    """A word said and a word heard in its place; empty where one has none."""

    said: str
    heard: str

    @property
    def width(self) -> int:
        return max(len(self.said), len(self.heard), 1)


def align_columns(said: str, heard: str) -> list[Column]:
    """By the fewest edits of words.

    >>> [(column.said, column.heard) for column in align_columns("turn the lamp on", "turn lamp on now")]
    [('turn', 'turn'), ('the', ''), ('lamp', 'lamp'), ('on', 'on'), ('', 'now')]
    """
    reference, hypothesis = said.split(), heard.split()
    if not reference or not hypothesis:
        return [Column(word, "") for word in reference] + [Column("", word) for word in hypothesis]
    (chunks,) = jiwer.process_words(" ".join(reference), " ".join(hypothesis)).alignments
    columns: list[Column] = []
    for chunk in chunks:
        words = reference[chunk.ref_start_idx : chunk.ref_end_idx]
        others = hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx]
        for place in range(max(len(words), len(others))):
            columns.append(Column((words[place:] or [""])[0], (others[place:] or [""])[0]))
    return columns


def fold(columns: Sequence[Column], width: int) -> list[list[Column]]:
    """Rows of columns that, with a space between, are at most so wide; a wider word is cut."""
    rows: list[list[Column]] = []
    used = width + 1
    for column in (Column(_cut(column.said, width), _cut(column.heard, width)) for column in columns):
        if used + 1 + column.width > width:
            rows.append([])
            used = -1
        rows[-1].append(column)
        used += 1 + column.width
    return rows


def _cut(word: str, width: int) -> str:
    return word if len(word) <= width else word[: width - 1] + "…"


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
