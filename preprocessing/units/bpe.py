"""Byte-pair units (Sennrich et al. 2016): merges learnt and applied by the tokenizers library, word by word.

A word is split with the space before it, so pieces that begin a word carry the space and a bare space is the boundary.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from preprocessing.units.splitting import WORD_BOUNDARY, Splitter


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
