"""Hash tables of n-grams and of the beginnings of words, built and looked up in numba; `flat_ngram` describes them.

A table's size is a power of two; its keys are int64, -1 where it is empty, and collisions go to the next place.
"""

import math
from typing import Any, TypeAlias

import numpy as np

from finetune.decoding.compiled import compiled, compiled_borrowing

Array = np.ndarray[Any, Any]
Scalar: TypeAlias = Any  # a number, whose type numba infers: numpy's stubs do not tell its integers from Python's


@compiled_borrowing
def find_slot(keys: Array, key: Scalar) -> Scalar:
    """The place of a key in a hash table, or the empty one where it belongs. The table's size is a power of two."""
    mask = len(keys) - 1
    place = (np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)  # all of the key decides these bits
    slot = np.int64(place) & mask
    while keys[slot] != key and keys[slot] != -1:
        slot = (slot + 1) & mask
    return slot


@compiled_borrowing
def table_size(n_keys: Scalar) -> Scalar:
    """The size of a table that so many keys fill by a quarter to a half."""
    size = 16
    while size < 2 * n_keys:
        size *= 2
    return size


@compiled
def build_ngram_tables(
    ids: Array,
    lengths: Array,
    logps: Array,
    backoffs: Array,
    unigram_logps: Array,
    unigram_backoffs: Array,
    order: Scalar,
) -> tuple[Array, Array, Array, Array, Array, Array, Array]:
    """The arrays of `NgramTables`.

    ids [n-grams, order] int32: words of the n-grams of two words and more, shorter ones first; lengths: how many.
    unigram_logps: NaN for a word that is no unigram.
    """
    n_words = len(unigram_logps)
    keys = np.full(table_size(len(lengths)), -1, dtype=np.int64)  # enough where the contexts of all are n-grams, too
    slot_logps = np.full(len(keys), np.nan)
    extended = np.zeros(len(keys), dtype=np.int32)  # the context of all the words, 0 where there is none (yet)
    unigram_nexts = np.zeros(n_words, dtype=np.int32)
    n_contexts = 1
    if order > 1:
        for word in range(n_words):
            unigram_nexts[word] = n_contexts
            n_contexts += 1
    n_keys = 0
    for i in range(len(lengths)):
        length = lengths[i]
        if 2 * (n_keys + length - 1) > len(keys):
            keys, slot_logps, extended = _twice_as_large(keys, slot_logps, extended)
        context = unigram_nexts[ids[i, 0]]
        for j in range(1, length):
            slot = find_slot(keys, (np.int64(context) << 32) | ids[i, j])
            if keys[slot] == -1:
                keys[slot] = (np.int64(context) << 32) | ids[i, j]
                n_keys += 1
            if j == length - 1:
                slot_logps[slot] = logps[i]
            if extended[slot] == 0 and j + 1 < order:  # a context that is no n-gram of its own costs nothing to leave
                extended[slot] = n_contexts
                n_contexts += 1
            context = extended[slot]
    slot_nexts = np.zeros(len(keys), dtype=np.int32)
    context_backoffs = np.zeros(n_contexts)
    suffixes = np.zeros(n_contexts, dtype=np.int32)
    if order > 1:
        context_backoffs[1 : n_words + 1] = unigram_backoffs
    for i in range(len(lengths)):  # all contexts are known now
        for n in range(2, min(lengths[i], order - 1) + 1):
            context = _context(keys, extended, unigram_nexts, ids[i, :n])
            suffixes[context] = _longest_context(keys, extended, unigram_nexts, ids[i, 1:n])
            if n == lengths[i]:
                context_backoffs[context] = backoffs[i]
        slot = find_slot(
            keys,
            (np.int64(_context(keys, extended, unigram_nexts, ids[i, : lengths[i] - 1])) << 32)
            | ids[i, lengths[i] - 1],
        )
        first = 1 if lengths[i] == order else 0
        slot_nexts[slot] = _longest_context(keys, extended, unigram_nexts, ids[i, first : lengths[i]])
    return (
        keys,
        slot_logps,
        slot_nexts,
        unigram_logps,
        unigram_nexts,
        context_backoffs,
        suffixes,
    )


@compiled
def _twice_as_large(keys: Array, slot_logps: Array, extended: Array) -> tuple[Array, Array, Array]:
    """The same table of n-grams with twice as many slots."""
    new_keys = np.full(2 * len(keys), -1, dtype=np.int64)
    new_logps = np.full(len(new_keys), np.nan)
    new_extended = np.zeros(len(new_keys), dtype=np.int32)
    for old in range(len(keys)):
        if keys[old] != -1:
            slot = find_slot(new_keys, keys[old])
            new_keys[slot], new_logps[slot], new_extended[slot] = keys[old], slot_logps[old], extended[old]
    return new_keys, new_logps, new_extended


@compiled_borrowing
def _context(keys: Array, extended: Array, unigram_nexts: Array, words: Array) -> Scalar:
    """The context of these words, one or more; 0 where there is none."""
    context = unigram_nexts[words[0]]
    for j in range(1, len(words)):
        slot = find_slot(keys, (np.int64(context) << 32) | words[j])
        if keys[slot] == -1 or extended[slot] == 0:
            return np.int32(0)
        context = extended[slot]
    return context


@compiled_borrowing
def _longest_context(keys: Array, extended: Array, unigram_nexts: Array, words: Array) -> Scalar:
    """The longest context that these words end with."""
    for first in range(len(words)):
        context = _context(keys, extended, unigram_nexts, words[first:])
        if context != 0:
            return context
    return np.int32(0)


@compiled
def build_trie_tables(letters: Array, offsets: Array, numbers: Array) -> tuple[Array, Array, Array, Array]:
    """The arrays of `TrieTables`. letters: of all words, word i's from offsets[i] to offsets[i + 1]."""
    keys = np.full(table_size(len(letters)), -1, dtype=np.int64)
    children = np.zeros(len(keys), dtype=np.int32)
    words = np.full(len(letters) + 1, -1, dtype=np.int32)
    shortest = np.zeros(len(letters) + 1, dtype=np.int32)
    n_nodes = 1
    for i in range(len(numbers)):
        node: Any = 0
        length = offsets[i + 1] - offsets[i]
        for place in range(offsets[i], offsets[i + 1]):
            key = (np.int64(node) << 32) | letters[place]
            slot = find_slot(keys, key)
            if keys[slot] == -1:
                keys[slot] = key
                children[slot] = n_nodes
                n_nodes += 1
            node = children[slot]
            if shortest[node] == 0 or length < shortest[node]:
                shortest[node] = length
        words[node] = numbers[i]
    return keys, children, words[:n_nodes].copy(), shortest[:n_nodes].copy()


@compiled_borrowing
def next_node(keys: Array, children: Array, node: Scalar, letter: Scalar) -> Scalar:
    """The node after one more letter, -1 where no word goes on so."""
    if node < 0 or letter < 0:
        return -1
    slot = find_slot(keys, (np.int64(node) << 32) | letter)
    return np.int64(children[slot]) if keys[slot] != -1 else -1


@compiled_borrowing
def score_word(ngrams: Any, state: Scalar, word: Scalar) -> tuple[Scalar, Scalar]:
    """(ln P(word | state), the state after it), as `NgramModel.score`."""
    backed_off = 0.0
    while state != 0:
        slot = find_slot(ngrams.keys, (np.int64(state) << 32) | word)
        if ngrams.keys[slot] != -1 and not math.isnan(ngrams.logps[slot]):
            return backed_off + ngrams.logps[slot], np.int64(ngrams.nexts[slot])
        backed_off += ngrams.backoffs[state]
        state = np.int64(ngrams.suffixes[state])
    return backed_off + ngrams.unigram_logps[word], np.int64(ngrams.unigram_nexts[word])


@compiled_borrowing
def score_words(ngrams: Any, state: Scalar, words: Array) -> Scalar:
    """ln P(words | state)."""
    total = 0.0
    for word in words:
        logp, state = score_word(ngrams, state, word)
        total += logp
    return total
