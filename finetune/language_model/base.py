"""What a search asks of a language model, whatever it is made of."""

from collections.abc import Iterator
from typing import Any, Protocol


class LanguageModel(Protocol):
    """A language model of words or characters, as `NgramModel` answers. A state is whatever the model makes."""

    @property
    def is_of_characters(self) -> bool:
        """Whether its words are characters, and BOUNDARY the space."""

    @property
    def words(self) -> Iterator[str]:
        """The known words."""

    def __contains__(self, word: str) -> bool: ...

    def begin(self) -> Any:
        """The state before a sentence."""

    def score(self, state: Any, word: str) -> tuple[float, Any]:
        """(ln P(word | state), the state after it)."""

    def end(self, state: Any) -> float:
        """ln P(the sentence ends | state)."""
