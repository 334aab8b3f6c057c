"""The prefixes of the beam search, in numba: a tree whose nodes have a score, and what a label adds to one.

`beam_kernel` searches with them.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from finetune.decoding.compiled import compiled, compiled_borrowing
from finetune.decoding.lookup_kernel import Array, Scalar, next_node, score_word
from finetune.language_model.ngram import LN10

LOG_ZERO = -math.inf
NONE, WORDS, CHARACTERS = 0, 1, 2  # what a language model is of

# columns of a prefix's integers
LABEL, PARENT, FIRST_CHILD, SIBLING, TRIE, HOT, LENGTH, STATE, N_INTS = range(9)
# columns of a prefix's numbers: P_b and P_nb of Hannun et al., both together, those of the next frame, the score of the
# ended words, and with that of the word that has not ended
BLANK, REPEAT, LOGP, NEXT_BLANK, NEXT_REPEAT, ENDED, LM, N_FLOATS = range(8)


class UnitTables(NamedTuple):
    """blank, boundary: their labels. silent, begins_word [labels] bool.

    letters [characters of all labels]: numbers of characters, -1 for one that no word has. tokens: their numbers in a
    language model of characters. Those of label i are from offsets[i] to offsets[i + 1].
    """

    blank: int
    boundary: int
    silent: Array
    begins_word: Array
    letters: Array
    tokens: Array
    offsets: Array


class Weights(NamedTuple):
    """`BeamSettings`, and what the language model is of: NONE, WORDS or CHARACTERS.

    begin: the context before a sentence. end, unknown, boundary: numbers of </s>, <unk> and, in a model of characters,
    of the space. beam_prune_logp: `BeamSettings.pruned_below`.
    """

    kind: int
    begin: int
    end: int
    unknown: int
    boundary: int
    beam_width: int
    alpha: float
    beta: float
    unk_score_offset: float
    avg_token_len: float
    beam_prune_logp: float
    token_min_logp: float
    hotword_weight: float


class SearchTables(NamedTuple):
    """What a search is given beside the frames: `UnitTables`, `NgramTables`, `TrieTables` of the language model's words
    and of the hot words, and `Weights`.
    """

    units: Any
    ngrams: Any
    trie: Any
    hot: Any
    weights: Any


class Tree(NamedTuple):
    """The prefixes, a row each; the empty one is 0.

    ints [nodes, N_INTS] int32. floats [nodes, N_FLOATS] float64. words [nodes] int64: a hash of the labels of the word
    that has not ended. free[: n_free[0]] int32: the rows not in use, the next one to use last.
    """

    ints: Array
    floats: Array
    words: Array
    free: Array
    n_free: Array


@compiled_borrowing
def find_child(ints: Array, parent: Scalar, label: Scalar) -> Scalar:
    """The prefix with one more label, -1 where there is none. ints: of the tree."""
    child = ints[parent, FIRST_CHILD]
    while child >= 0 and ints[child, LABEL] != label:
        child = ints[child, SIBLING]
    return child


@compiled_borrowing
def _unk_score(weights: Any, length: Scalar) -> Scalar:
    return weights.unk_score_offset * max(1.0, length / weights.avg_token_len)


@compiled_borrowing
def _end_of_word(tables: Any, ints: Array) -> tuple[Scalar, Scalar]:
    """What the end of the prefix's word adds to its score, and the state after the word. ints: of the prefix."""
    trie, hot, weights = tables.trie, tables.hot, tables.weights
    added, state = 0.0, np.int64(ints[STATE])
    is_hot = ints[HOT] >= 0 and hot.words[ints[HOT]] >= 0
    if is_hot:
        added += weights.hotword_weight
    if weights.kind == NONE:
        return added, state
    added += weights.beta
    if weights.kind == WORDS:
        word = trie.words[ints[TRIE]] if ints[TRIE] >= 0 else -1
        is_unknown = word < 0
        if is_unknown:
            word = weights.unknown
        logp, state = score_word(tables.ngrams, state, word)
        if is_unknown and not is_hot:
            logp += LN10 * weights.unk_score_offset
        added += weights.alpha * logp
    return added, state


@compiled_borrowing
def _pending(tables: Any, ints: Array) -> Scalar:
    """What a word that has not ended adds to its prefix's score. ints: of the prefix."""
    hot, weights = tables.hot, tables.weights
    if ints[LENGTH] == 0:
        return 0.0
    if ints[HOT] > 0:
        return weights.hotword_weight * ints[LENGTH] / hot.shortest[ints[HOT]]
    if weights.kind == WORDS and ints[TRIE] < 0:
        return _unk_score(weights, ints[LENGTH])
    return 0.0


@compiled_borrowing
def fill_child(tables: Any, tree: Any, parent: Scalar, child: Scalar) -> None:
    """Sets word, state and score of a child, whose LABEL is set."""
    units, ngrams, trie, hot, weights = tables.units, tables.ngrams, tables.trie, tables.hot, tables.weights
    ints, floats, words = tree.ints, tree.floats, tree.words
    label = ints[child, LABEL]
    ended, state = floats[parent, ENDED], np.int64(ints[parent, STATE])
    node, hot_node, length = np.int64(ints[parent, TRIE]), np.int64(ints[parent, HOT]), ints[parent, LENGTH]
    word: Scalar = words[parent]
    if units.begins_word[label]:
        if length > 0:
            added, state = _end_of_word(tables, ints[parent])
            ended += added
            if weights.kind == CHARACTERS:
                logp, state = score_word(ngrams, state, weights.boundary)
                ended += weights.alpha * logp
        node, hot_node, length, word = np.int64(0), np.int64(0), 0, 0
    for place in range(units.offsets[label], units.offsets[label + 1]):
        node = next_node(trie.keys, trie.children, node, units.letters[place])
        hot_node = next_node(hot.keys, hot.children, hot_node, units.letters[place])
        length += 1
        if weights.kind == CHARACTERS:
            logp, state = score_word(ngrams, state, units.tokens[place])
            ended += weights.alpha * logp
    ints[child, TRIE], ints[child, HOT], ints[child, LENGTH], ints[child, STATE] = node, hot_node, length, state
    words[child] = word * 1_000_003 + label + 1 if length > 0 else word
    floats[child, ENDED] = ended
    floats[child, LM] = ended + _pending(tables, ints[child])


@compiled_borrowing
def without_last_boundary(ints: Array, prefix: Scalar) -> Scalar:
    """The prefix up to its last letter, whose text is the same: a space at the end is not written."""
    while ints[prefix, LENGTH] == 0 and ints[prefix, PARENT] >= 0:
        prefix = ints[prefix, PARENT]
    return prefix


@compiled_borrowing
def final_score(tables: Any, tree: Any, prefix: Scalar) -> Scalar:
    """All that is added to ln P(labels | audio) at the end: the words, the last one included, and the end. prefix: one
    without a last boundary.
    """
    ints, weights = tree.ints, tables.weights
    ended, state = tree.floats[prefix, ENDED], np.int64(ints[prefix, STATE])
    if ints[prefix, LENGTH] > 0:
        added, state = _end_of_word(tables, ints[prefix])
        ended += added
    if weights.kind != NONE:
        ended += weights.alpha * score_word(tables.ngrams, state, weights.end)[0]
    return ended


@compiled
def with_room(tree: Any, n_nodes: Scalar) -> Any:
    """The tree with room for so many more nodes."""
    n_free, old = tree.n_free[0], len(tree.free)
    if n_free >= n_nodes:
        return tree
    new = 2 * old + n_nodes
    ints = np.empty((new, N_INTS), dtype=np.int32)
    floats = np.empty((new, N_FLOATS))
    words = np.zeros(new, dtype=np.int64)
    free = np.empty(new, dtype=np.int32)
    ints[:old], floats[:old], words[:old], free[:n_free] = tree.ints, tree.floats, tree.words, tree.free[:n_free]
    for node in range(new - 1, old - 1, -1):
        free[n_free] = node
        n_free += 1
    tree.n_free[0] = n_free
    return Tree(ints, floats, words, free, tree.n_free)


@compiled_borrowing
def take(tree: Any) -> Scalar:
    """A node that was not in use, without paths and children."""
    tree.n_free[0] -= 1
    node = tree.free[tree.n_free[0]]
    tree.ints[node, FIRST_CHILD] = -1
    for column in range(N_FLOATS):
        tree.floats[node, column] = LOG_ZERO
    return node


@compiled
def new_tree(begin: Scalar) -> Any:
    """The empty prefix alone. begin: the language model's state before a sentence."""
    empty = Tree(
        np.empty((0, N_INTS), dtype=np.int32),
        np.empty((0, N_FLOATS)),
        np.empty(0, dtype=np.int64),
        np.empty(0, dtype=np.int32),
        np.zeros(1, dtype=np.int64),
    )
    tree = with_room(empty, 4096)
    root = take(tree)
    tree.ints[root, :] = -1
    tree.ints[root, TRIE], tree.ints[root, HOT], tree.ints[root, LENGTH], tree.ints[root, STATE] = 0, 0, 0, begin
    tree.floats[root, BLANK], tree.floats[root, LOGP], tree.floats[root, ENDED], tree.floats[root, LM] = 0, 0, 0, 0
    return tree


@compiled_borrowing
def remove_dropped(tree: Any, prefixes: Array) -> None:
    """Removes those prefixes that are left without paths and children, and each parent that this leaves so."""
    ints, floats, free, n_free = tree.ints, tree.floats, tree.free, tree.n_free
    for prefix in prefixes:
        node = prefix
        while ints[node, PARENT] >= 0 and ints[node, FIRST_CHILD] < 0 and floats[node, LOGP] == LOG_ZERO:
            parent = ints[node, PARENT]
            if ints[parent, FIRST_CHILD] == node:
                ints[parent, FIRST_CHILD] = ints[node, SIBLING]
            else:
                other = ints[parent, FIRST_CHILD]
                while ints[other, SIBLING] != node:
                    other = ints[other, SIBLING]
                ints[other, SIBLING] = ints[node, SIBLING]
            ints[node, PARENT] = -2
            free[n_free[0]] = node
            n_free[0] += 1
            node = parent
