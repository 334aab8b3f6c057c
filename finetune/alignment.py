"""Two texts under each other, word by word, for people to read: what was said, and where what was heard differs."""

from collections.abc import Sequence
from dataclasses import dataclass

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


def align(said: str, heard: str) -> list[Column]:
    """By the fewest edits of words.

    >>> [(column.said, column.heard) for column in align("turn the lamp on", "turn lamp on now")]
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
