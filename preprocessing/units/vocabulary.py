"""Vocabulary: the output units of a CTC model with their ids, the blank and the word boundary explicit.

Joined, the units of a path are its text, `|` read as a space; so plain transformers decodes a saved folder (`saved`).
Normalising text comes before (`preprocessing.text`); collapsing model output comes after (`finetune.ctc.collapse`).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from preprocessing.units import saved
from preprocessing.units.splitting import WORD_BOUNDARY, Characters, Splitter

BLANK = "<pad>"  # CTC's blank; transformers' CTC models use the padding token for it
UNKNOWN = "<unk>"
SPECIAL = (BLANK, "<s>", "</s>", UNKNOWN)  # the order that wav2vec2-base-960h has


@dataclass(frozen=True)
class Vocabulary:
    """Units with their ids, special units included, and how text is split into them.

    A piece that is not among the units is spelled in characters; with units that are whole words, it is `unknown`.

    >>> vocabulary = Vocabulary.of_characters(["AB BA"])
    >>> vocabulary.units
    ('<pad>', '<s>', '</s>', '<unk>', '|', 'A', 'B')
    >>> vocabulary.encode("AB A")
    [5, 6, 4, 5]
    >>> vocabulary.decode([5, 6, 4, 5])
    'AB A'
    """

    units: tuple[str, ...]
    blank_unit: str = BLANK
    unknown_unit: str = UNKNOWN
    boundary_unit: str = WORD_BOUNDARY
    splitter: Splitter = field(default_factory=Characters, hash=False)
    _ids: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(set(self.units)) != len(self.units):
            raise ValueError(f"units occur twice: {[unit for unit, n in Counter(self.units).items() if n > 1]}")
        expected = [self.blank_unit, self.boundary_unit, *([self.unknown_unit] if self.splitter.closed else [])]
        missing = [unit for unit in expected if unit not in self.units]
        if missing:
            raise ValueError(f"a CTC vocabulary needs {', '.join(missing)}")
        object.__setattr__(self, "_ids", {unit: index for index, unit in enumerate(self.units)})

    @classmethod
    def of_characters(cls, texts: Iterable[str]) -> Self:
        """Every character of the texts in code-point order, after the special units and the word boundary."""
        return cls((*SPECIAL, WORD_BOUNDARY, *alphabet(texts)))

    def extended(self, texts: Iterable[str]) -> Self:
        """These units with their ids, and after them the characters of the texts that they lack, in code-point order.

        >>> Vocabulary.of_characters(["AB"]).extended(["ÄB"]).units[-3:]
        ('A', 'B', 'Ä')
        """
        return replace(self, units=(*self.units, *(new for new in alphabet(texts) if new not in self)))

    @classmethod
    def load(cls, reference: str) -> Self:
        """The vocabulary of a transformers CTC model or tokenizer, in a folder or on the Hub.

        Raises InputError when it has none, or one that is no CTC vocabulary.
        """
        found = saved.read(reference)
        return cls(found.units, found.blank_unit, found.unknown_unit, found.boundary_unit, found.splitter)

    def save(self, folder: Path) -> None:
        """Write into the folder what plain transformers decodes with, and units.json where `saved` needs it."""
        saved.write(
            saved.Saved(self.units, self.blank_unit, self.unknown_unit, self.boundary_unit, self.splitter), folder
        )

    @property
    def kind(self) -> str:
        """characters, syllables, bpe or words."""
        return self.splitter.kind

    @property
    def size(self) -> int:
        """Units that write text: all but the special ones, the word boundary included."""
        return sum(unit not in (*SPECIAL, self.blank_unit, self.unknown_unit) for unit in self.units)

    @property
    def blank(self) -> int:
        """CTC's blank, as an id."""
        return self._ids[self.blank_unit]

    @property
    def boundary(self) -> int:
        """The unit that stands for a space and nothing else, as an id."""
        return self._ids[self.boundary_unit]

    @property
    def unknown(self) -> int | None:
        """The id that `encode` writes for a word that is no unit; None where words are spelled instead."""
        return self._ids[self.unknown_unit] if self.splitter.closed else None

    @property
    def silent(self) -> frozenset[int]:
        """Ids that stand for no text: the special units. An unknown word is a word, and shows."""
        special = {*SPECIAL, self.blank_unit, self.unknown_unit}
        return frozenset(self._ids[unit] for unit in special if unit in self._ids) - {self.unknown}

    def __contains__(self, unit: str) -> bool:
        return unit in self._ids

    def begins_word(self, index: int) -> bool:
        """Whether a word ends before this unit: it is the boundary, or carries a space before its letters."""
        return index == self.boundary or self.units[index].startswith(" ")

    def encode(self, text: str) -> list[int]:
        """Ids of a normalised text. Raises KeyError on a character outside; ask `outside` first.

        A word outside a vocabulary of words is the boundary and `unknown`; `outside` counts these too.
        """
        if self.splitter.carries_boundary:
            return [index for word in text.split() for index in self.encode_word(word)]
        ids: list[int] = []
        for number, word in enumerate(text.split(" ")):
            ids += [self.boundary] if number else []
            ids += self.encode_word(word)
        return ids

    def encode_word(self, word: str) -> list[int]:
        """Ids of one word, without a boundary that stands by itself between words. Raises KeyError as `encode` does."""
        ids: list[int] = []
        if self.boundary_unit in word and not self.splitter.closed:
            raise KeyError(self.boundary_unit)
        for piece in self.splitter.pieces(word):
            if piece in self._ids and piece not in SPECIAL:  # a word may read <unk>
                ids.append(self._ids[piece])
            elif self.splitter.closed:
                ids += [self.boundary, self._ids[self.unknown_unit]]
            else:
                ids += [self._ids[character] for character in piece]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids from which blanks and repeats are already gone; outer and double spaces are closed up."""
        silent, boundary = self.silent, self.boundary
        letters = "".join(" " if index == boundary else self.units[index] for index in ids if index not in silent)
        return " ".join(letters.split())

    def outside(self, texts: Iterable[str]) -> Counter[str]:
        """What of the texts cannot be written, with counts: characters, or with units that are words, words."""
        if self.splitter.closed:
            words = Counter(word for text in texts for word in text.split())
            return Counter({word: n for word, n in words.items() if self.splitter.pieces(word)[0] not in self._ids})
        counts = Counter(character for text in texts for character in text if character != " ")
        return Counter({c: n for c, n in counts.items() if c not in self._ids or c == self.boundary_unit})


def alphabet(texts: Iterable[str]) -> list[str]:
    """Characters of the texts in code-point order, without the space and what is written for it."""
    return sorted({character for text in texts for character in text} - {" ", WORD_BOUNDARY})
