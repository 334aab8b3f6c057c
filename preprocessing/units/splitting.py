"""Splitters: how a word becomes output units, one class per kind of unit.

A splitter does not know which units a vocabulary holds. The pieces of a word, joined, are the word, with its leading
space where the pieces carry it. Syllables are in `preprocessing.units.syllables`.
"""

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal, Self

BLANK = "<pad>"  # CTC's blank; transformers' CTC models use the padding token for it
UNKNOWN = "<unk>"
SPECIAL = (BLANK, "<s>", "</s>", UNKNOWN)  # the order that wav2vec2-base-960h has
WORD_BOUNDARY = "|"  # written for the space between words


@dataclass(frozen=True)
class LearningOptions:
    """What a splitter may take into account beside the texts."""

    size: int | None = None  # units to learn, word boundary included; None is all that the texts have
    language: str | None = None  # of the hyphenation (syllables), such as en_US
    syllable_counts: Mapping[str, int] = field(default_factory=dict)  # of lower-case words, from `read_cmudict`


class Splitter(ABC):
    """Splits words into pieces. Splitters of the same settings are equal.

    A new kind is a subclass in a file of this folder and a line in `preprocessing.units.vocabulary.SPLITTERS`.
    """

    kind: ClassVar[str]
    carries_boundary: ClassVar[bool] = False
    """False: a unit of its own stands between words. True: pieces that begin a word begin with a space."""
    closed: ClassVar[bool] = False
    """True: a piece that a vocabulary lacks is unknown. False: it is spelled in characters."""
    size_use: ClassVar[Literal["ignored", "cuts", "learns"]] = "cuts"
    """What a vocabulary's size does: nothing, keep the most frequent units, or set how many are learnt (required)."""

    @abstractmethod
    def pieces(self, word: str) -> Sequence[str]:
        """The units of one word without spaces, as they would be were all in the vocabulary."""

    @classmethod
    @abstractmethod
    def learn(cls, texts: Sequence[str], alphabet: Sequence[str], options: LearningOptions) -> tuple[Self, list[str]]:
        """A splitter for normalised texts and its units, those to keep first, without special ones and boundary.

        alphabet: the characters of the texts in code-point order; they come first where words can be spelled.
        Raises UsageError on options that it cannot use.
        """

    def settings(self) -> dict[str, Any]:
        """What units.json keeps beside the kind, so that `from_settings` makes an equal splitter."""
        return {}

    @classmethod
    def from_settings(cls, settings: dict[str, Any], units: set[str]) -> Self:
        """The splitter that wrote these settings, for a vocabulary of these units.

        Raises KeyError, TypeError or ValueError where the settings are spoiled.
        """
        return cls()


@dataclass(frozen=True)
class Characters(Splitter):
    """Every code point is a unit."""

    kind: ClassVar[str] = "characters"
    size_use: ClassVar[Literal["ignored", "cuts", "learns"]] = "ignored"

    def pieces(self, word: str) -> Sequence[str]:
        return word

    @classmethod
    def learn(cls, texts: Sequence[str], alphabet: Sequence[str], options: LearningOptions) -> tuple[Self, list[str]]:
        return cls(), list(alphabet)


@dataclass(frozen=True)
class Words(Splitter):
    """Every word is a unit, with the space before it: half the labels of words with a boundary between them."""

    kind: ClassVar[str] = "words"
    carries_boundary: ClassVar[bool] = True
    closed: ClassVar[bool] = True

    def pieces(self, word: str) -> Sequence[str]:
        return (f" {word}",)

    @classmethod
    def learn(cls, texts: Sequence[str], alphabet: Sequence[str], options: LearningOptions) -> tuple[Self, list[str]]:
        words = Counter(word for text in texts for word in text.split())
        return cls(), by_frequency({f" {word}": n for word, n in words.items() if WORD_BOUNDARY not in word})


@dataclass(frozen=True)
class BytePairs(Splitter):
    """Pieces by byte-pair merges in the order they were learnt (Sennrich et al. 2016), counted by `tokenizers`.

    A word with a character outside the alphabet is spelled.
    """

    kind: ClassVar[str] = "bpe"
    carries_boundary: ClassVar[bool] = True
    size_use: ClassVar[Literal["ignored", "cuts", "learns"]] = "learns"
    alphabet: tuple[str, ...]
    merges: tuple[tuple[str, str], ...]

    @cached_property
    def _model(self) -> Any:
        from tokenizers.models import BPE

        inventory = dict.fromkeys((" ", *self.alphabet, *(first + second for first, second in self.merges)))
        return BPE({piece: index for index, piece in enumerate(inventory)}, list(self.merges))

    @cached_property
    def _letters(self) -> frozenset[str]:
        return frozenset(self.alphabet)

    def pieces(self, word: str) -> Sequence[str]:
        if not self._letters.issuperset(word):  # the library would drop what it does not know
            return (WORD_BOUNDARY, *word)
        return [token.value if token.value != " " else WORD_BOUNDARY for token in self._model.tokenize(f" {word}")]

    @classmethod
    def learn(cls, texts: Sequence[str], alphabet: Sequence[str], options: LearningOptions) -> tuple[Self, list[str]]:
        """Learn merges until there are `size` pieces, alphabet and space among them, or every word is a piece.

        Words that hold a special unit or the boundary teach no merge, so that none makes one.
        """
        from tokenizers import Regex, Tokenizer, pre_tokenizers
        from tokenizers.models import BPE
        from tokenizers.trainers import BpeTrainer

        assert options.size is not None, "build has checked it"
        tokenizer = Tokenizer(BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(" "), behavior="merged_with_next")
        trainer = BpeTrainer(vocab_size=options.size, initial_alphabet=[" ", *alphabet], show_progress=False)
        reserved = (*SPECIAL, WORD_BOUNDARY)
        lines = (
            "".join(f" {word}" for word in text.split() if not any(unit in word for unit in reserved)) for text in texts
        )
        tokenizer.train_from_iterator(lines, trainer)
        learnt = json.loads(tokenizer.to_str())["model"]["merges"]
        merges = tuple((first, second) for first, second in learnt)
        return cls(tuple(alphabet), merges), [*alphabet, *(first + second for first, second in merges)]

    def settings(self) -> dict[str, Any]:
        return {"alphabet": "".join(self.alphabet), "merges": [list(pair) for pair in self.merges]}

    @classmethod
    def from_settings(cls, settings: dict[str, Any], units: set[str]) -> Self:
        merges = tuple((first, second) for first, second in settings["merges"])
        missing = [first + second for first, second in merges if first + second not in units]
        if missing:
            raise ValueError(f"units.json merges {missing[0]!r}, which vocab.json lacks")
        return cls(tuple(settings["alphabet"]), merges)


def alphabet_of(texts: Iterable[str]) -> list[str]:
    """The characters of the texts in code-point order, without the space and the word boundary."""
    return sorted({character for text in texts for character in text} - {" ", WORD_BOUNDARY})


def by_frequency(counts: Mapping[str, int]) -> list[str]:
    """The keys of `counts`, the most frequent first, in code-point order where equally frequent."""
    return sorted(counts, key=lambda unit: (-counts[unit], unit))
