"""Output units of a CTC model: characters so far, with the blank and the word boundary explicit.

A vocabulary saves as a plain transformers `Wav2Vec2CTCTokenizer`, so that what is trained with it loads anywhere.
Normalising text comes before (`preprocessing.text`); collapsing model output comes after (`finetune.ctc.collapse`).
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from preprocessing.errors import InputError

BLANK = "<pad>"  # CTC's blank; transformers' CTC models use the padding token for it
UNKNOWN = "<unk>"
WORD_BOUNDARY = "|"  # written for the space between words
SPECIAL = (BLANK, "<s>", "</s>", UNKNOWN)  # the order that wav2vec2-base-960h has


@dataclass(frozen=True)
class Vocabulary:
    """Characters with their ids, special units included.

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
    _ids: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(set(self.units)) != len(self.units):
            raise ValueError(f"units occur twice: {[unit for unit, n in Counter(self.units).items() if n > 1]}")
        missing = [unit for unit in (self.blank_unit, self.boundary_unit) if unit not in self.units]
        if missing:
            raise ValueError(f"a CTC vocabulary needs {', '.join(missing)}")
        object.__setattr__(self, "_ids", {unit: index for index, unit in enumerate(self.units)})

    @classmethod
    def of_characters(cls, texts: Iterable[str]) -> Self:
        """Every character of the texts in code-point order, after the special units and the word boundary."""
        characters = {character for text in texts for character in text} - {" ", WORD_BOUNDARY}
        return cls((*SPECIAL, WORD_BOUNDARY, *sorted(characters)))

    @classmethod
    def load(cls, reference: str) -> Self:
        """The vocabulary of a transformers CTC model or tokenizer, in a folder or on the Hub.

        Raises InputError when it has none, or one that is no CTC vocabulary.
        """
        from transformers import AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(reference)
            ids: dict[str, int] = tokenizer.get_vocab()
            return cls(
                tuple(sorted(ids, key=ids.__getitem__)),
                blank_unit=tokenizer.pad_token,
                unknown_unit=tokenizer.unk_token,
                boundary_unit=tokenizer.word_delimiter_token,
            )
        except (OSError, ValueError, AttributeError) as error:
            reason = (str(error).strip().splitlines() or ["no reason given"])[0]
            raise InputError(
                f"{reference}: no CTC vocabulary ({reason}); expected the vocab.json of a Wav2Vec2CTCTokenizer: name a "
                "fine-tuned model, or build a new vocabulary"
            ) from error

    @property
    def blank(self) -> int:
        """CTC's blank, as an id."""
        return self._ids[self.blank_unit]

    @property
    def silent(self) -> frozenset[int]:
        """Ids that stand for no text: the special units."""
        special = {*SPECIAL, self.blank_unit, self.unknown_unit}
        return frozenset(self._ids[unit] for unit in special if unit in self._ids)

    def encode(self, text: str) -> list[int]:
        """Ids of a normalised text. Raises KeyError on a character outside; ask `outside` first."""
        return [self._ids[self.boundary_unit if character == " " else character] for character in text]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids from which blanks and repeats are already gone; outer and double spaces are closed up."""
        silent = self.silent
        letters = "".join(self.units[index] for index in ids if index not in silent)
        return " ".join(letters.replace(self.boundary_unit, " ").split())

    def outside(self, texts: Iterable[str]) -> Counter[str]:
        """Characters of the texts that are not in the vocabulary, with counts: what would silently become <unk>."""
        counts = Counter(character for text in texts for character in text if character != " ")
        return Counter({character: n for character, n in counts.items() if character not in self._ids})

    def save(self, folder: Path) -> None:
        """Write the files of a Wav2Vec2CTCTokenizer into the folder."""
        from transformers import Wav2Vec2CTCTokenizer

        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "vocab.json"
        path.write_text(json.dumps(self._ids, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        tokenizer = Wav2Vec2CTCTokenizer(
            str(path),
            pad_token=self.blank_unit,
            unk_token=self.unknown_unit,
            word_delimiter_token=self.boundary_unit,
        )
        tokenizer.save_pretrained(folder)
