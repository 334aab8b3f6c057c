"""How a word becomes units, one class a kind of unit; which of them a vocabulary holds is not known here.

Whoever splits joins again: the pieces of a word, with its leading space where they carry it, are the word.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
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
