"""An n-gram model as flat arrays, for compiled code: contexts are numbers, and one hash table holds what follows each.

A context is the tuple of the last words, at most order - 1, and the empty one is 0. `keys[slot]` is
`context * 2**32 + word`; beside it are ln P(word | context) and the context after the word. A word that does not follow
a context costs the context's `backoff` and is looked up in its `suffix`, the context without its first word, as
`NgramModel.score` does. Unigrams, which all contexts end at, are found by their number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from finetune.language_model.ngram import BEGIN, END, LN10, LOG10_ZERO, UNKNOWN, NgramModel, as_tables

Array = np.ndarray[Any, Any]


class NgramTables(NamedTuple):
    """keys [slots] int64, -1 where empty; logps [slots] float64; nexts [slots] int32: the hash table.

    unigram_logps, unigram_nexts [words]; backoffs, suffixes [contexts].
    """

    keys: Array
    logps: Array
    nexts: Array
    unigram_logps: Array
    unigram_nexts: Array
    backoffs: Array
    suffixes: Array


@dataclass(frozen=True)
class FlatNgram:
    """tables: the arrays. words: the number of each word. begin: the context before a sentence.

    end, unknown: numbers of </s> and of what stands for unknown words; a model without <unk> gives those a probability
    of 0.
    """

    tables: NgramTables
    words: Mapping[str, int]
    begin: int
    end: int
    unknown: int

    @classmethod
    def of(cls, model: NgramModel) -> "FlatNgram":
        """The same model: every score and every state that decides a later score are equal."""
        from finetune.decoding.lookup_kernel import build_ngram_tables

        unigrams, *longer = as_tables(model)
        words = dict(unigrams.words)
        unknown = words.setdefault(UNKNOWN, len(words))
        unigram_logps = np.full(len(words), np.nan)
        unigram_backoffs = np.zeros(len(words))
        unigram_logps[unigrams.ids[:, 0]] = unigrams.logps
        unigram_backoffs[unigrams.ids[:, 0]] = unigrams.backoffs
        if np.isnan(unigram_logps[unknown]):
            unigram_logps[unknown] = LOG10_ZERO * LN10
        n_longer = sum(map(len, longer))
        ids = np.full((n_longer, model.order), -1, dtype=np.int32)
        logps, backoffs = np.empty(n_longer), np.empty(n_longer)
        lengths = np.empty(n_longer, dtype=np.int32)
        filled = 0
        for n, table in enumerate(longer, 2):
            some = slice(filled, filled + len(table))
            ids[some, :n], logps[some], backoffs[some], lengths[some] = table.ids, table.logps, table.backoffs, n
            filled = some.stop
        tables = NgramTables(
            *build_ngram_tables(ids, lengths, logps, backoffs, unigram_logps, unigram_backoffs, model.order)
        )
        begin = int(tables.unigram_nexts[words[BEGIN]]) if BEGIN in words else 0
        return cls(tables, words, begin, words.get(END, unknown), unknown)


class TrieTables(NamedTuple):
    """A trie of words by their characters: node 0 is the empty beginning.

    keys [slots] int64: node * 2**32 + character, -1 where empty; children [slots] int32. words [nodes]: the number of
    the word that ends there, or -1. shortest [nodes]: characters of the shortest word that begins so.
    """

    keys: Array
    children: Array
    words: Array
    shortest: Array


def build_trie(words: Sequence[str], numbers: Sequence[int], characters: Mapping[str, int]) -> TrieTables:
    """The trie of words, each with its number; every character must have one in `characters`."""
    from finetune.decoding.lookup_kernel import build_trie_tables

    joined = np.fromiter((characters[c] for c in chain.from_iterable(words)), np.int32)
    offsets = np.zeros(len(words) + 1, dtype=np.int64)
    np.cumsum([len(word) for word in words], out=offsets[1:])
    return TrieTables(*build_trie_tables(joined, offsets, np.asarray(numbers, dtype=np.int32)))
