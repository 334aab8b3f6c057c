"""How a word becomes units, one class a kind of unit; which of them a vocabulary holds is not known here.

Whoever splits joins again: the pieces of a word, with its leading space where they carry it, are the word.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

WORD_BOUNDARY = "|"  # written for the space between words


class Splitter(ABC):
    """Pieces of words. Splitters of the same settings are equal."""

    kind: ClassVar[str]
    carries_boundary: ClassVar[bool] = False
    """False: a unit of its own stands between words. True: pieces that begin a word begin with a space."""
    closed: ClassVar[bool] = False
    """True: a piece that a vocabulary lacks is unknown. False: it is spelled in characters."""

    @abstractmethod
    def pieces(self, word: str) -> Sequence[str]:
        """Units of one word without spaces, as they would be were all in the vocabulary."""

    def settings(self) -> dict[str, Any]:
        """What units.json keeps beside the kind, so that `saved.read` makes an equal splitter."""
        return {}


@dataclass(frozen=True)
class Characters(Splitter):
    """Every code point by itself."""

    kind: ClassVar[str] = "characters"

    def pieces(self, word: str) -> Sequence[str]:
        return word


@dataclass(frozen=True)
class Words(Splitter):
    """Every word by itself, the space before it included: half the labels of words with a boundary between them."""

    kind: ClassVar[str] = "words"
    carries_boundary: ClassVar[bool] = True
    closed: ClassVar[bool] = True

    def pieces(self, word: str) -> Sequence[str]:
        return (f" {word}",)


@dataclass(frozen=True)
class BytePairs(Splitter):
    """Pieces by merges in the order they were learnt. A character outside the alphabet leaves its word spelled."""

    kind: ClassVar[str] = "bpe"
    carries_boundary: ClassVar[bool] = True
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

    def settings(self) -> dict[str, Any]:
        return {"alphabet": "".join(self.alphabet), "merges": [list(pair) for pair in self.merges]}


def learn(texts: Iterable[str], alphabet: Sequence[str], size: int, reserved: Iterable[str]) -> BytePairs:
    """Merges until there are `size` pieces, alphabet and space among them; fewer where every word is a piece.

    Words that hold a reserved unit teach no merge, so that none makes one. The same texts give the same merges.
    """
    from tokenizers import Regex, Tokenizer, pre_tokenizers
    from tokenizers.models import BPE
    from tokenizers.trainers import BpeTrainer

    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(" "), behavior="merged_with_next")
    trainer = BpeTrainer(vocab_size=size, initial_alphabet=[" ", *alphabet], show_progress=False)
    forbidden = tuple(reserved)
    lines = (
        "".join(f" {word}" for word in text.split() if not any(unit in word for unit in forbidden)) for text in texts
    )
    tokenizer.train_from_iterator(lines, trainer)

    learnt = json.loads(tokenizer.to_str())["model"]["merges"]
    return BytePairs(tuple(alphabet), tuple((first, second) for first, second in learnt))
