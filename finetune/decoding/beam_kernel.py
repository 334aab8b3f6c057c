"""The compiled part of the beam search, in numba: flat arrays in, labels and scores out. `BeamSearch` is its interface,
`beam_python` the same search in plain Python, which it must agree with.

The prefixes are the nodes of a tree, `Tree`. Each frame goes through four steps: which labels are likely in
it (`_likely_labels`), which prefixes they lead to (`_extend`), their scores (`_advance`), and which are kept
(`_keep_best`). What is called for each label takes arrays, not named tuples, whose arrays numba counts one by one.
"""

import math
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from finetune.decoding.compiled import compiled
from finetune.decoding.lookup_kernel import next_node, score_word, table_size
from finetune.language_model.ngram import LN10

Array = np.ndarray[Any, Any]
Scalar: TypeAlias = Any  # a number, whose type numba infers: numpy's stubs do not tell its integers from Python's

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


class WorkSpace(NamedTuple):
    """Room for the prefixes that a frame leads to.

    nodes int32, scores, kept_scores float64: as many as there may be. places int32: a hash table of them.
    """

    nodes: Array
    scores: Array
    kept_scores: Array
    places: Array


@compiled
def _log_add(first: Scalar, second: Scalar) -> Scalar:
    """ln(exp(first) + exp(second))."""
    if first < second:
        first, second = second, first
    return first if second == LOG_ZERO else first + math.log1p(math.exp(second - first))


@compiled
def _largest(values: Array, n: Scalar, k: Scalar) -> Scalar:
    """The k-th largest of the first n values, which are put into another order (Hoare's quickselect)."""
    low, high, wanted = 0, n - 1, k - 1
    while low < high:
        pivot = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] > pivot:
                i += 1
            while values[j] < pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if wanted <= j:
            high = j
        elif wanted >= i:
            low = i
        else:
            break
    return values[wanted]


@compiled
def _descending(values: Array) -> Array:
    """Where each value is, from the largest on; equal ones in their order."""
    order = np.empty(len(values), dtype=np.int64)
    for i in range(len(values)):
        place = i
        while place > 0 and values[order[place - 1]] < values[i]:
            order[place] = order[place - 1]
            place -= 1
        order[place] = i
    return order


@compiled
def _unk_score(weights: Any, length: Scalar) -> Scalar:
    return weights.unk_score_offset * max(1.0, length / weights.avg_token_len)


@compiled
def _end_of_word(ngrams: Any, trie: Any, hot: Any, weights: Any, ints: Array) -> tuple[Scalar, Scalar]:
    """What the end of the prefix's word adds to its score, and the state after the word. ints: of the prefix."""
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
        logp, state = score_word(ngrams, state, word)
        if is_unknown and not is_hot:
            logp += LN10 * weights.unk_score_offset
        added += weights.alpha * logp
    return added, state


@compiled
def _pending(hot: Any, weights: Any, ints: Array) -> Scalar:
    """What a word that has not ended adds to its prefix's score. ints: of the prefix."""
    if ints[LENGTH] == 0:
        return 0.0
    if ints[HOT] > 0:
        return weights.hotword_weight * ints[LENGTH] / hot.shortest[ints[HOT]]
    if weights.kind == WORDS and ints[TRIE] < 0:
        return _unk_score(weights, ints[LENGTH])
    return 0.0


@compiled
def _fill_child(
    ngrams: Any, trie: Any, hot: Any, units: Any, weights: Any, ints: Array, floats: Array, words: Array,
    parent: Scalar, child: Scalar,
) -> None:  # fmt: skip
    """Sets word, state and score of a child, whose LABEL is set."""
    label = ints[child, LABEL]
    ended, state = floats[parent, ENDED], np.int64(ints[parent, STATE])
    node, hot_node, length = np.int64(ints[parent, TRIE]), np.int64(ints[parent, HOT]), ints[parent, LENGTH]
    word: Scalar = words[parent]
    if units.begins_word[label]:
        if length > 0:
            added, state = _end_of_word(ngrams, trie, hot, weights, ints[parent])
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
    floats[child, LM] = ended + _pending(hot, weights, ints[child])


@compiled
def _without_last_boundary(ints: Array, prefix: Scalar) -> Scalar:
    """The prefix up to its last letter, whose text is the same: a space at the end is not written."""
    while ints[prefix, LENGTH] == 0 and ints[prefix, PARENT] >= 0:
        prefix = ints[prefix, PARENT]
    return prefix


@compiled
def _final_score(tables: Any, tree: Any, prefix: Scalar) -> Scalar:
    """All that is added to ln P(labels | audio) at the end: the words, the last one included, and the end. prefix: one
    without a last boundary.
    """
    ints, weights = tree.ints, tables.weights
    ended, state = tree.floats[prefix, ENDED], np.int64(ints[prefix, STATE])
    if ints[prefix, LENGTH] > 0:
        added, state = _end_of_word(tables.ngrams, tables.trie, tables.hot, weights, ints[prefix])
        ended += added
    if weights.kind != NONE:
        ended += weights.alpha * score_word(tables.ngrams, state, weights.end)[0]
    return ended


@compiled
def _with_room(tree: Any, n_nodes: Scalar) -> Any:
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


@compiled
def _take(free: Array, n_free: Array) -> Scalar:
    """A node that is not in use."""
    n_free[0] -= 1
    return free[n_free[0]]


@compiled
def _new_tree(begin: Scalar) -> Any:
    """The empty prefix alone. begin: the language model's state before a sentence."""
    empty = Tree(
        np.empty((0, N_INTS), dtype=np.int32),
        np.empty((0, N_FLOATS)),
        np.empty(0, dtype=np.int64),
        np.empty(0, dtype=np.int32),
        np.zeros(1, dtype=np.int64),
    )
    tree = _with_room(empty, 4096)
    root = _take(tree.free, tree.n_free)
    tree.ints[root, :] = -1
    tree.floats[root, :] = LOG_ZERO
    tree.ints[root, TRIE], tree.ints[root, HOT], tree.ints[root, LENGTH], tree.ints[root, STATE] = 0, 0, 0, begin
    tree.floats[root, BLANK], tree.floats[root, LOGP], tree.floats[root, ENDED], tree.floats[root, LM] = 0, 0, 0, 0
    return tree


@compiled
def _remove(ints: Array, floats: Array, free: Array, n_free: Array, prefix: Scalar) -> None:
    """Removes a prefix that no path leads to, and each parent left without paths and children."""
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


@compiled
def _remove_dropped(tree: Any, prefixes: Array) -> None:
    """Removes those prefixes that are left without paths; some may have gone with a child."""
    ints, floats, free, n_free = tree.ints, tree.floats, tree.free, tree.n_free
    for prefix in prefixes:
        if floats[prefix, LOGP] == LOG_ZERO:
            _remove(ints, floats, free, n_free, prefix)


@compiled
def _likely_labels(frame_logps: Array, tables: Any, labels: Array, logps: Array) -> Scalar:
    """Puts the labels above token_min_logp, or else the best one, into `labels` and their logarithms into `logps`.

    Returns how many there are: 0 where the frame holds NaN or gives no label a probability.
    """
    n_labels, best_label, best_logp = 0, -1, LOG_ZERO
    for unit in range(len(frame_logps)):
        logp = np.float64(frame_logps[unit])
        if logp != logp:
            return 0
        if tables.units.silent[unit]:
            continue
        if logp > best_logp:
            best_label, best_logp = unit, logp
        if logp > tables.weights.token_min_logp:
            labels[n_labels], logps[n_labels] = unit, logp
            n_labels += 1
    if n_labels == 0 and best_label >= 0:
        labels[0], logps[0] = best_label, best_logp
        n_labels = 1
    return n_labels


@compiled
def _work_space(n_nodes: Scalar) -> Any:
    return WorkSpace(
        np.empty(n_nodes, dtype=np.int32),
        np.empty(n_nodes),
        np.empty(n_nodes),
        np.empty(table_size(n_nodes), dtype=np.int32),
    )


@compiled
def _lowest_new(tables: Any, tree: Any, beam: Array, labels: Array, logps: Array) -> Scalar:
    """A new prefix that scores less than this, before what its last word may add, is not kept: too many will be better.

    beam: the prefixes before the frame. labels, logps: of the frame.
    """
    ints, floats, weights = tree.ints, tree.floats, tables.weights
    first = last = beam[0]
    for prefix in beam:
        score = floats[prefix, LOGP] + floats[prefix, LM]
        if score > floats[first, LOGP] + floats[first, LM]:
            first = prefix
        if score < floats[last, LOGP] + floats[last, LM]:
            last = prefix
    bound = LOG_ZERO
    for i in range(len(labels)):
        if labels[i] == tables.units.blank:
            bound = max(bound, floats[first, LOGP] + floats[first, LM] + logps[i] + weights.beam_prune_logp)
            if len(beam) == weights.beam_width:
                bound = max(bound, floats[last, LOGP] + floats[last, LM] + logps[i])
        elif labels[i] == ints[first, LABEL]:
            bound = max(bound, floats[first, REPEAT] + floats[first, LM] + logps[i] + weights.beam_prune_logp)
    word_bonus = max(weights.beta, 0.0) if weights.kind != NONE else 0.0
    return bound - (word_bonus + max(weights.hotword_weight, 0.0))


@compiled
def _reach(floats: Array, node: Scalar, reached: Array, n_reached: Scalar) -> Scalar:
    """Adds a prefix to those that the frame leads to, where it is not yet one of them. Returns how many they are."""
    if floats[node, NEXT_BLANK] == LOG_ZERO and floats[node, NEXT_REPEAT] == LOG_ZERO:
        reached[n_reached] = node
        n_reached += 1
    return n_reached


@compiled
def _find_child(ints: Array, parent: Scalar, label: Scalar) -> Scalar:
    """The prefix with one more label, -1 where there is none."""
    child = ints[parent, FIRST_CHILD]
    while child >= 0 and ints[child, LABEL] != label:
        child = ints[child, SIBLING]
    return child


@compiled
def _extend(tables: Any, tree: Any, beam: Array, labels: Array, logps: Array, bound: Scalar, reached: Array) -> Scalar:
    """Follows the paths of the prefixes in `beam` over one frame: adds their probabilities to NEXT_BLANK and
    NEXT_REPEAT of the prefixes that they lead to, and puts those into `reached`. Returns how many there are.

    labels, logps: of the frame. bound: what a new prefix must score, see `_lowest_new`.
    """
    units, ngrams, trie, hot, weights = tables.units, tables.ngrams, tables.trie, tables.hot, tables.weights
    ints, floats, words, free, n_free = tree.ints, tree.floats, tree.words, tree.free, tree.n_free
    n_reached = 0
    for prefix in beam:
        lowest = bound - floats[prefix, LM]
        lowest_ending = bound - max(floats[prefix, LM], floats[prefix, ENDED])  # the end of a word may cost less
        for i in range(len(labels)):
            label, logp = labels[i], logps[i]
            logp_path = floats[prefix, LOGP] + logp
            if label == units.blank:
                n_reached = _reach(floats, prefix, reached, n_reached)
                floats[prefix, NEXT_BLANK] = logp_path
                continue
            if label == units.boundary and ints[prefix, LENGTH] == 0:  # another space writes nothing
                n_reached = _reach(floats, prefix, reached, n_reached)
                floats[prefix, NEXT_REPEAT] = _log_add(floats[prefix, NEXT_REPEAT], logp_path)
                continue
            if label == ints[prefix, LABEL]:
                if floats[prefix, REPEAT] != LOG_ZERO:  # the label goes on: the prefix stays the same
                    n_reached = _reach(floats, prefix, reached, n_reached)
                    floats[prefix, NEXT_REPEAT] = _log_add(floats[prefix, NEXT_REPEAT], floats[prefix, REPEAT] + logp)
                if floats[prefix, BLANK] == LOG_ZERO:
                    continue
                logp_path = floats[prefix, BLANK] + logp
            child = _find_child(ints, prefix, label)
            if child < 0:
                if logp_path < (lowest_ending if units.begins_word[label] else lowest):
                    continue
                child = _take(free, n_free)
                ints[child, LABEL], ints[child, PARENT], ints[child, FIRST_CHILD] = label, prefix, -1
                ints[child, SIBLING], ints[prefix, FIRST_CHILD] = ints[prefix, FIRST_CHILD], child
                floats[child, BLANK], floats[child, REPEAT], floats[child, LOGP] = LOG_ZERO, LOG_ZERO, LOG_ZERO
                floats[child, NEXT_BLANK], floats[child, NEXT_REPEAT] = LOG_ZERO, LOG_ZERO
                _fill_child(ngrams, trie, hot, units, weights, ints, floats, words, prefix, child)
            n_reached = _reach(floats, child, reached, n_reached)
            floats[child, NEXT_REPEAT] = _log_add(floats[child, NEXT_REPEAT], logp_path)
    return n_reached


@compiled
def _advance(floats: Array, beam: Array, reached: Array, scores: Array) -> Scalar:
    """Takes the prefixes to the next frame: probabilities from NEXT_BLANK and NEXT_REPEAT, scores into `scores`.

    beam: the prefixes before the frame; those not in `reached` are left without paths. Returns the best score.
    """
    for prefix in beam:
        floats[prefix, BLANK], floats[prefix, REPEAT], floats[prefix, LOGP] = LOG_ZERO, LOG_ZERO, LOG_ZERO
    best = LOG_ZERO
    for i in range(len(reached)):
        node = reached[i]
        floats[node, BLANK], floats[node, REPEAT] = floats[node, NEXT_BLANK], floats[node, NEXT_REPEAT]
        floats[node, LOGP] = _log_add(floats[node, BLANK], floats[node, REPEAT])
        floats[node, NEXT_BLANK], floats[node, NEXT_REPEAT] = LOG_ZERO, LOG_ZERO
        scores[i] = floats[node, LOGP] + floats[node, LM]
        best = max(best, scores[i])
    return best


@compiled
def _recombine(tree: Any, reached: Array, scores: Array, lowest: Scalar, places: Array) -> None:
    """Drops, by a score of NaN, each prefix whose future is that of one with a higher score: the same state of the
    language model, word so far and last label. A score of NaN is neither above nor at any bound, also not at one of
    LOG_ZERO, where nothing is pruned.

    lowest: lower scores are left as they are. places: a hash table of work, its size a power of two.
    """
    ints, words = tree.ints, tree.words
    places[:] = -1
    mask = len(places) - 1
    for i in range(len(reached)):
        if scores[i] < lowest:
            continue
        node = reached[i]
        mixed = np.uint64(words[node]) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(ints[node, STATE])
        mixed = mixed * np.uint64(0xD1B54A32D192ED03) + np.uint64(ints[node, LABEL] + 1)
        slot = np.int64((mixed * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(24)) & mask
        while places[slot] >= 0:
            other = reached[places[slot]]
            if (
                words[other] == words[node]
                and ints[other, STATE] == ints[node, STATE]
                and ints[other, LABEL] == ints[node, LABEL]
            ):
                break
            slot = (slot + 1) & mask
        if places[slot] < 0:
            places[slot] = i
        elif scores[i] > scores[places[slot]]:
            scores[places[slot]] = math.nan
            places[slot] = i
        else:
            scores[i] = math.nan


@compiled
def _keep_best(reached: Array, scores: Array, kept_scores: Array, lowest: Scalar, floats: Array, beam: Array) -> Scalar:
    """Puts the best prefixes that score `lowest` or more into `beam`, as many as it holds, of equal ones the first.

    The others are left without paths. kept_scores: room for all scores. Returns how many are kept.
    """
    beam_width, n_kept = len(beam), 0
    for i in range(len(reached)):
        if scores[i] >= lowest:
            kept_scores[n_kept] = scores[i]
            n_kept += 1
    n_ties = beam_width  # of those that score `lowest`, the first so many are kept
    if n_kept > beam_width:
        lowest = _largest(kept_scores, n_kept, beam_width)
        for i in range(n_kept):
            n_ties -= kept_scores[i] > lowest
    n_beam = 0
    for i in range(len(reached)):
        if scores[i] > lowest or (scores[i] == lowest and n_ties > 0):
            n_ties -= scores[i] == lowest
            beam[n_beam] = reached[i]
            n_beam += 1
        else:
            floats[reached[i], LOGP] = LOG_ZERO
    return n_beam


@compiled
def _hypotheses(tables: Any, tree: Any, beam: Array, n_best: Scalar) -> tuple[Array, Array, Array, Array]:
    """The hypotheses of the prefixes in `beam`, best first, at most `n_best`: scores, ln P(labels | audio), labels and
    offsets, as `search` returns them.

    With and without a boundary at the end a prefix is one hypothesis, written as the more probable of both.
    """
    ints, floats = tree.ints, tree.floats
    hypotheses = np.full(len(ints), -1, dtype=np.int32)  # of a prefix without it
    likeliest = np.empty(len(beam), dtype=np.int32)
    totals = np.empty(len(beam))
    n_hypotheses = 0
    for i in range(len(beam)):
        node = beam[i]
        end = _without_last_boundary(ints, node)
        number = hypotheses[end]
        if number < 0:
            hypotheses[end] = n_hypotheses
            likeliest[n_hypotheses], totals[n_hypotheses] = node, floats[node, LOGP]
            n_hypotheses += 1
            continue
        if floats[node, LOGP] > floats[likeliest[number], LOGP]:
            likeliest[number] = node
        totals[number] = _log_add(totals[number], floats[node, LOGP])
    final = np.empty(n_hypotheses)
    for i in range(n_hypotheses):
        final[i] = totals[i] + _final_score(tables, tree, _without_last_boundary(ints, likeliest[i]))
    order = _descending(final)[:n_best]
    offsets = np.zeros(len(order) + 1, dtype=np.int64)
    for i in range(len(order)):
        node = likeliest[order[i]]
        depth = 0
        while ints[node, PARENT] >= 0:
            node = ints[node, PARENT]
            depth += 1
        offsets[i + 1] = offsets[i] + depth
    labels = np.empty(offsets[-1], dtype=np.int32)
    for i in range(len(order)):
        node = likeliest[order[i]]
        for place in range(offsets[i + 1] - 1, offsets[i] - 1, -1):
            labels[place] = ints[node, LABEL]
            node = ints[node, PARENT]
    return final[order], totals[order], labels, offsets


@compiled
def search(log_probs: Array, tables: Any, n_best: Scalar, recombines: bool) -> tuple[int, Array, Array, Array, Array]:
    """CTC prefix beam search.

    log_probs [frames, units] float32. Returns (bad frame, scores [hypotheses], ln P(labels | audio) [hypotheses],
    labels of all of them, offsets [hypotheses + 1] into those), best first, at most `n_best`. The bad frame is the
    first one that holds NaN or gives no label a probability, and there are no hypotheses; else it is -1.

    tables: `SearchTables`. recombines: keep only the best of prefixes with one future (`_recombine`), which leaves room
    for others.
    """
    n_frames, n_units = log_probs.shape
    blank, weights = tables.units.blank, tables.weights
    tree = _new_tree(weights.begin)
    beam = np.zeros(weights.beam_width, dtype=np.int32)
    previous = np.zeros(weights.beam_width, dtype=np.int32)
    n_beam = 1
    labels, logps = np.empty(n_units, dtype=np.int32), np.empty(n_units)
    work = _work_space(1024)
    for frame in range(n_frames):
        n_labels = _likely_labels(log_probs[frame], tables, labels, logps)
        if n_labels == 0:
            return frame, np.empty(0), np.empty(0), np.empty(0, dtype=np.int32), np.zeros(1, dtype=np.int64)
        if n_labels == 1 and labels[0] == blank:  # all scores change alike
            for prefix in beam[:n_beam]:
                tree.floats[prefix, LOGP] += logps[0]
                tree.floats[prefix, BLANK], tree.floats[prefix, REPEAT] = tree.floats[prefix, LOGP], LOG_ZERO
            continue
        most_reached = n_beam * (n_labels + 1)
        tree = _with_room(tree, most_reached)
        if most_reached > len(work.nodes):
            work = _work_space(2 * most_reached)
        bound = _lowest_new(tables, tree, beam[:n_beam], labels[:n_labels], logps)
        n_reached = _extend(tables, tree, beam[:n_beam], labels[:n_labels], logps, bound, work.nodes)
        reached, scores = work.nodes[:n_reached], work.scores[:n_reached]
        lowest = _advance(tree.floats, beam[:n_beam], reached, scores) + weights.beam_prune_logp
        if recombines:
            _recombine(tree, reached, scores, lowest, work.places[: table_size(n_reached)])
        previous, beam, n_previous = beam, previous, n_beam
        n_beam = _keep_best(reached, scores, work.kept_scores, lowest, tree.floats, beam)
        _remove_dropped(tree, reached)
        _remove_dropped(tree, previous[:n_previous])
    return -1, *_hypotheses(tables, tree, beam[:n_beam], n_best)
