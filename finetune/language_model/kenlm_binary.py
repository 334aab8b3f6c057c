"""Binary language models of KenLM, asked through its own package.

They hold hashes of words, from which no n-grams can be read. The search with one runs in plain Python
(`finetune.decoding.beam_python`), as KenLM answers word by word.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from finetune.language_model.ngram import BOUNDARY, END, LN10
from preprocessing.errors import InputError


class KenlmModel:
    """A binary file of KenLM, with the methods of `NgramModel`.

    unigrams: a file with its words, one a line. Raises InputError where a file cannot be used, or kenlm is missing.
    """

    def __init__(self, path: Path, unigrams: Path | None) -> None:
        try:
            import kenlm
        except ImportError:
            raise InputError(
                f"{path}: is a binary file of KenLM, and the package kenlm is not installed; expected it, or the ARPA "
                "file: `pip install kenlm`"
            ) from None
        try:
            self._model: Any = kenlm.Model(str(path))
        except OSError as error:
            reason = str(error).strip().splitlines()[-1]
            raise InputError(
                f"{path}: KenLM cannot read it ({reason}); expected a complete file: build it again"
            ) from None
        self._new_state: Any = kenlm.State
        if unigrams is None or not unigrams.is_file():
            raise InputError(
                f"{path}: a binary file of KenLM does not list its words; expected unigrams.txt beside it: put both "
                "into a folder language_model, or use the ARPA file"
            )
        words = unigrams.read_text(encoding="utf-8").split("\n")
        self._words = frozenset(word.strip() for word in words if word.strip() in self._model)
        if not self._words:
            raise InputError(
                f"{unigrams}: has no word of {path.name}; expected its words, one a line: write them there"
            )

    @property
    def is_of_characters(self) -> bool:
        """Whether its words are characters, the space among them."""
        return BOUNDARY in self._words and all(len(word) == 1 for word in self._words)

    @property
    def words(self) -> Iterator[str]:
        """The known words."""
        return iter(self._words)

    def __contains__(self, word: str) -> bool:
        return word in self._words

    def begin(self) -> Any:
        """The state before the first word of a sentence."""
        state = self._new_state()
        self._model.BeginSentenceWrite(state)
        return state

    def score(self, state: Any, word: str) -> tuple[float, Any]:
        """(ln P(word | state), the state after the word). A word that is not known is scored as <unk>."""
        after = self._new_state()
        return self._model.BaseScore(state, word, after) * LN10, after

    def end(self, state: Any) -> float:
        """ln P(the sentence ends | state)."""
        return self.score(state, END)[0]
