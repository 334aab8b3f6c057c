"""The compiled part of the beam search, in numba: flat arrays in, labels and scores out. `BeamSearch` is its interface,
`beam_python` the same search in plain Python, which it must agree with.

Tables and search are one file because both call `_slot`: numba recompiles a cached function where its own file has
changed, not where the file of a function that it calls has.
"""

import math
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from finetune.decoding.compiled import compiled
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


@compiled
def _slot(keys: Array, key: Scalar) -> Scalar:
    """The place of a key in a hash table, or the empty one where it belongs. The table's size is a power of two."""
    mask = len(keys) - 1
    place = (np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20)
    slot = np.int64(place) & mask
    while keys[slot] != key and keys[slot] != -1:
        slot = (slot + 1) & mask
    return slot


@compiled
def _table_size(n_keys: Scalar) -> Scalar:
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
    most_contexts = 1 + n_words + order * len(lengths)
    keys = np.full(_table_size(order * len(lengths)), -1, dtype=np.int64)
    slot_logps = np.full(len(keys), np.nan)
    slot_nexts = np.zeros(len(keys), dtype=np.int32)
    unigram_nexts = np.zeros(n_words, dtype=np.int32)
    context_backoffs = np.zeros(most_contexts)
    suffixes = np.zeros(most_contexts, dtype=np.int32)
    n_contexts = 1
    if order > 1:
        for word in range(n_words):
            unigram_nexts[word] = n_contexts
            context_backoffs[n_contexts] = unigram_backoffs[word]
            n_contexts += 1
    extended = np.zeros(len(keys), dtype=np.int32)  # the context of all the words, 0 where there is none (yet)
    for i in range(len(lengths)):
        length = lengths[i]
        context = unigram_nexts[ids[i, 0]]
        for j in range(1, length):
            slot = _slot(keys, (np.int64(context) << 32) | ids[i, j])
            is_last = j == length - 1
            keys[slot] = (np.int64(context) << 32) | ids[i, j]
            if is_last:
                slot_logps[slot] = logps[i]
            if extended[slot] == 0 and j + 1 < order:  # a context that is no n-gram of its own costs nothing to leave
                extended[slot] = n_contexts
                n_contexts += 1
            if is_last and j + 1 < order:
                context_backoffs[extended[slot]] = backoffs[i]
            context = extended[slot]
    for i in range(len(lengths)):  # all contexts are known now
        for n in range(2, min(lengths[i], order - 1) + 1):
            context = _context(keys, extended, unigram_nexts, ids[i, :n])
            suffixes[context] = _longest_context(keys, extended, unigram_nexts, ids[i, 1:n])
        slot = _slot(
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
        context_backoffs[:n_contexts].copy(),
        suffixes[:n_contexts].copy(),
    )


@compiled
def _context(keys: Array, extended: Array, unigram_nexts: Array, words: Array) -> Scalar:
    """The context of these words, one or more; 0 where there is none."""
    context = unigram_nexts[words[0]]
    for j in range(1, len(words)):
        slot = _slot(keys, (np.int64(context) << 32) | words[j])
        if keys[slot] == -1 or extended[slot] == 0:
            return np.int32(0)
        context = extended[slot]
    return context


@compiled
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
    keys = np.full(_table_size(len(letters)), -1, dtype=np.int64)
    children = np.zeros(len(keys), dtype=np.int32)
    words = np.full(len(letters) + 1, -1, dtype=np.int32)
    shortest = np.zeros(len(letters) + 1, dtype=np.int32)
    n_nodes = 1
    for i in range(len(numbers)):
        node: Any = 0
        length = offsets[i + 1] - offsets[i]
        for place in range(offsets[i], offsets[i + 1]):
            key = (np.int64(node) << 32) | letters[place]
            slot = _slot(keys, key)
            if keys[slot] == -1:
                keys[slot] = key
                children[slot] = n_nodes
                n_nodes += 1
            node = children[slot]
            if shortest[node] == 0 or length < shortest[node]:
                shortest[node] = length
        words[node] = numbers[i]
    return keys, children, words[:n_nodes].copy(), shortest[:n_nodes].copy()


@compiled
def _step(keys: Array, children: Array, node: Scalar, letter: Scalar) -> Scalar:
    """The node after one more letter, -1 where no word goes on so."""
    if node < 0 or letter < 0:
        return -1
    slot = _slot(keys, (np.int64(node) << 32) | letter)
    return np.int64(children[slot]) if keys[slot] != -1 else -1


@compiled
def _score(ngrams: Any, state: Scalar, word: Scalar) -> tuple[Scalar, Scalar]:
    """(ln P(word | state), the state after it), as `NgramModel.score`."""
    backed_off = 0.0
    while state != 0:
        slot = _slot(ngrams.keys, (np.int64(state) << 32) | word)
        if ngrams.keys[slot] != -1 and not math.isnan(ngrams.logps[slot]):
            return backed_off + ngrams.logps[slot], np.int64(ngrams.nexts[slot])
        backed_off += ngrams.backoffs[state]
        state = np.int64(ngrams.suffixes[state])
    return backed_off + ngrams.unigram_logps[word], np.int64(ngrams.unigram_nexts[word])


@compiled
def score_words(ngrams: Any, state: Scalar, words: Array) -> Scalar:
    """ln P(words | state)."""
    total = 0.0
    for word in words:
        logp, state = _score(ngrams, state, word)
        total += logp
    return total


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
        logp, state = _score(ngrams, state, word)
        if is_unknown and not is_hot:
            logp += LN10 * weights.unk_score_offset
        added += weights.alpha * logp
    return added, state


@compiled
def _pending(hot: Any, weights: Any, ints: Array) -> Scalar:
    """What a word that has not ended adds to its prefix's score."""
    if ints[LENGTH] == 0:
        return 0.0
    if ints[HOT] > 0:
        return weights.hotword_weight * ints[LENGTH] / hot.shortest[ints[HOT]]
    if weights.kind == WORDS and ints[TRIE] < 0:
        return _unk_score(weights, ints[LENGTH])
    return 0.0


@compiled
def _fill_child(
    ngrams: Any,
    trie: Any,
    hot: Any,
    units: Any,
    weights: Any,
    ints: Array,
    floats: Array,
    parent: Scalar,
    child: Scalar,
) -> None:
    """Sets word, state and score of a child, whose LABEL is set."""
    label = ints[child, LABEL]
    ended, state = floats[parent, ENDED], np.int64(ints[parent, STATE])
    node, hot_node, length = np.int64(ints[parent, TRIE]), np.int64(ints[parent, HOT]), ints[parent, LENGTH]
    if units.begins_word[label] and length > 0:
        added, state = _end_of_word(ngrams, trie, hot, weights, ints[parent])
        ended += added
        if weights.kind == CHARACTERS:
            logp, state = _score(ngrams, state, weights.boundary)
            ended += weights.alpha * logp
        node, hot_node, length = np.int64(0), np.int64(0), 0
    for place in range(units.offsets[label], units.offsets[label + 1]):
        node = _step(trie.keys, trie.children, node, units.letters[place])
        hot_node = _step(hot.keys, hot.children, hot_node, units.letters[place])
        length += 1
        if weights.kind == CHARACTERS:
            logp, state = _score(ngrams, state, units.tokens[place])
            ended += weights.alpha * logp
    ints[child, TRIE], ints[child, HOT], ints[child, LENGTH], ints[child, STATE] = node, hot_node, length, state
    floats[child, ENDED] = ended
    floats[child, LM] = ended + _pending(hot, weights, ints[child])


@compiled
def _without_last_boundary(ints: Array, prefix: Scalar) -> Scalar:
    """The prefix up to its last letter, whose text is the same: a space at the end is not written."""
    while ints[prefix, LENGTH] == 0 and ints[prefix, PARENT] >= 0:
        prefix = ints[prefix, PARENT]
    return prefix


@compiled
def _final_score(ngrams: Any, trie: Any, hot: Any, weights: Any, ints: Array, floats: Array, prefix: Scalar) -> Scalar:
    """All that is added to ln P(labels | audio) at the end: the words, the last one included, and the end. prefix: one
    without a last boundary.
    """
    ended, state = floats[prefix, ENDED], np.int64(ints[prefix, STATE])
    if ints[prefix, LENGTH] > 0:
        added, state = _end_of_word(ngrams, trie, hot, weights, ints[prefix])
        ended += added
    if weights.kind != NONE:
        ended += weights.alpha * _score(ngrams, state, weights.end)[0]
    return ended


@compiled
def _remove(ints: Array, floats: Array, free: Array, n_free: Scalar, prefix: Scalar) -> Scalar:
    """Removes a prefix that no path leads to, and each parent left without paths and children. Returns how many are
    free.
    """
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
        free[n_free] = node
        n_free += 1
        node = parent
    return n_free


@compiled
def _recombine(
    reached: Array, scores: Array, n_reached: Scalar, lowest: Scalar, ints: Array, words: Array, places: Array,
    kept_scores: Array,
) -> Scalar:  # fmt: skip
    """Drops, by a score of NaN, each prefix whose future is that of one with a higher score: the same state of the
    language model, word so far and last label. Returns how many are left, their scores in `kept_scores`. A score of NaN
    is neither above nor at any bound, also not at one of LOG_ZERO, where nothing is pruned.

    places: a hash table of work, its size a power of two.
    """
    places[:] = -1
    mask = len(places) - 1
    n_kept = 0
    for i in range(n_reached):
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
    for i in range(n_reached):
        if scores[i] >= lowest:
            kept_scores[n_kept] = scores[i]
            n_kept += 1
    return n_kept


@compiled
def _hypotheses(
    ngrams: Any, trie: Any, hot: Any, weights: Any, ints: Array, floats: Array, beam: Array, n_best: Scalar
) -> tuple[Array, Array, Array, Array]:
    """The hypotheses of the prefixes in `beam`, best first, at most `n_best`: scores, ln P(labels | audio), labels and
    offsets, as `search` returns them.

    With and without a boundary at the end a prefix is one hypothesis, written as the more probable of both.
    """
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
        end = _without_last_boundary(ints, likeliest[i])
        final[i] = totals[i] + _final_score(ngrams, trie, hot, weights, ints, floats, end)
    order = _descending(final)[:n_best]
    offsets = np.zeros(len(order) + 1, dtype=np.int64)
    for i in range(len(order)):
        node = likeliest[order[i]]
        depth = 0
        while ints[node, PARENT] >= 0:
            node = ints[node, PARENT]
            depth += 1
        offsets[i + 1] = offsets[i] + depth
    found = np.empty(offsets[-1], dtype=np.int32)
    ctc = np.empty(len(order))
    for i in range(len(order)):
        node = likeliest[order[i]]
        ctc[i] = totals[order[i]]
        for place in range(offsets[i + 1] - 1, offsets[i] - 1, -1):
            found[place] = ints[node, LABEL]
            node = ints[node, PARENT]
    return final[order], ctc, found, offsets


@compiled
def search(
    log_probs: Array, units: Any, ngrams: Any, trie: Any, hot: Any, weights: Any, n_best: Scalar, recombines: bool
) -> tuple[int, Array, Array, Array, Array]:
    """CTC prefix beam search.

    log_probs [frames, units] float32. Returns (bad frame, scores [hypotheses], ln P(labels | audio) [hypotheses],
    labels of all of them, offsets [hypotheses + 1] into those), best first, at most `n_best`. The bad frame is the
    first one that holds NaN or gives no label a probability, and there are no hypotheses; else it is -1.

    recombines: keep only the best of prefixes with one future (`_recombine`), which leaves room for others.
    """
    n_frames, n_units = log_probs.shape
    capacity = 4096
    ints = np.empty((capacity, N_INTS), dtype=np.int32)
    floats = np.empty((capacity, N_FLOATS))
    words = np.zeros(capacity, dtype=np.int64)  # a hash of the labels of the word that has not ended
    free = np.empty(capacity, dtype=np.int32)
    for i in range(capacity):
        free[i] = capacity - 1 - i
    n_free = capacity - 1  # the root is 0, the last one of `free`
    ints[0] = -1
    ints[0, TRIE], ints[0, HOT], ints[0, LENGTH], ints[0, STATE] = 0, 0, 0, weights.begin
    floats[0] = LOG_ZERO
    floats[0, BLANK], floats[0, LOGP], floats[0, ENDED], floats[0, LM] = 0.0, 0.0, 0.0, 0.0
    beam = np.zeros(weights.beam_width, dtype=np.int32)
    previous = np.zeros(weights.beam_width, dtype=np.int32)
    places = np.empty(1024, dtype=np.int32)
    n_beam = 1
    reached = np.empty(1024, dtype=np.int32)
    scores = np.empty(1024)
    kept_scores = np.empty(1024)
    labels = np.empty(n_units, dtype=np.int32)
    logps = np.empty(n_units)
    best_gain = max(weights.beta, 0.0) + max(weights.hotword_weight, 0.0)  # most that a label adds beside its own
    if weights.kind == NONE:
        best_gain = max(weights.hotword_weight, 0.0)
    no_result = (np.empty(0), np.empty(0), np.empty(0, dtype=np.int32), np.zeros(1, dtype=np.int64))

    for frame in range(n_frames):
        # the labels above token_min_logp, and the best
        n_labels, best_label, best_logp = 0, -1, LOG_ZERO
        for unit in range(n_units):
            logp = np.float64(log_probs[frame, unit])
            if logp != logp:
                return frame, *no_result
            if units.silent[unit]:
                continue
            if logp > best_logp:
                best_label, best_logp = unit, logp
            if logp > weights.token_min_logp:
                labels[n_labels], logps[n_labels] = unit, logp
                n_labels += 1
        if best_label < 0:
            return frame, *no_result
        if n_labels == 0:
            labels[0], logps[0] = best_label, best_logp
            n_labels = 1

        # room for all that may be reached
        needed = n_beam * (n_labels + 1)
        if needed > len(reached):
            reached = np.empty(2 * needed, dtype=np.int32)
            scores = np.empty(2 * needed)
            kept_scores = np.empty(2 * needed)
        if n_free < needed:
            grown = 2 * capacity + needed
            new_ints = np.empty((grown, N_INTS), dtype=np.int32)
            new_floats = np.empty((grown, N_FLOATS))
            new_words = np.zeros(grown, dtype=np.int64)
            new_words[:capacity] = words
            words = new_words
            new_free = np.empty(grown, dtype=np.int32)
            new_ints[:capacity], new_floats[:capacity], new_free[:n_free] = ints, floats, free[:n_free]
            for node in range(grown - 1, capacity - 1, -1):
                new_free[n_free] = node
                n_free += 1
            ints, floats, free, capacity = new_ints, new_floats, new_free, grown

        if n_labels == 1 and labels[0] == units.blank:  # all scores change alike
            for i in range(n_beam):
                prefix = beam[i]
                floats[prefix, LOGP] += logps[0]
                floats[prefix, BLANK], floats[prefix, REPEAT] = floats[prefix, LOGP], LOG_ZERO
            continue

        # a new prefix that scores less than this, before what its last word may add, is not kept
        first = last = beam[0]
        for i in range(n_beam):
            score = floats[beam[i], LOGP] + floats[beam[i], LM]
            if score > floats[first, LOGP] + floats[first, LM]:
                first = beam[i]
            if score < floats[last, LOGP] + floats[last, LM]:
                last = beam[i]
        bound = LOG_ZERO
        for i in range(n_labels):
            if labels[i] == units.blank:
                bound = max(bound, floats[first, LOGP] + floats[first, LM] + logps[i] + weights.beam_prune_logp)
                if n_beam == weights.beam_width:
                    bound = max(bound, floats[last, LOGP] + floats[last, LM] + logps[i])
            elif labels[i] == ints[first, LABEL]:
                bound = max(bound, floats[first, REPEAT] + floats[first, LM] + logps[i] + weights.beam_prune_logp)
        bound -= best_gain

        # every prefix of the next frame
        n_reached = 0
        for place in range(n_beam):
            prefix = beam[place]
            logp_prefix, last_label = floats[prefix, LOGP], ints[prefix, LABEL]
            lowest_logp = bound - floats[prefix, LM]
            lowest_ending = bound - max(floats[prefix, LM], floats[prefix, ENDED])  # the end of a word may cost less
            for i in range(n_labels):
                label, logp = labels[i], logps[i]
                if label == units.blank:
                    if floats[prefix, NEXT_BLANK] == LOG_ZERO and floats[prefix, NEXT_REPEAT] == LOG_ZERO:
                        reached[n_reached] = prefix
                        n_reached += 1
                    floats[prefix, NEXT_BLANK] = logp_prefix + logp
                    continue
                logp_path = logp_prefix + logp
                if label == units.boundary and ints[prefix, LENGTH] == 0:  # another space writes nothing
                    if floats[prefix, NEXT_BLANK] == LOG_ZERO and floats[prefix, NEXT_REPEAT] == LOG_ZERO:
                        reached[n_reached] = prefix
                        n_reached += 1
                    floats[prefix, NEXT_REPEAT] = _log_add(floats[prefix, NEXT_REPEAT], logp_path)
                    continue
                if label == last_label:
                    if floats[prefix, REPEAT] != LOG_ZERO:  # the label goes on: the prefix stays the same
                        if floats[prefix, NEXT_BLANK] == LOG_ZERO and floats[prefix, NEXT_REPEAT] == LOG_ZERO:
                            reached[n_reached] = prefix
                            n_reached += 1
                        floats[prefix, NEXT_REPEAT] = _log_add(
                            floats[prefix, NEXT_REPEAT], floats[prefix, REPEAT] + logp
                        )
                    if floats[prefix, BLANK] == LOG_ZERO:
                        continue
                    logp_path = floats[prefix, BLANK] + logp
                child = ints[prefix, FIRST_CHILD]
                while child >= 0 and ints[child, LABEL] != label:
                    child = ints[child, SIBLING]
                if child < 0:
                    if logp_path < (lowest_ending if units.begins_word[label] else lowest_logp):
                        continue
                    n_free -= 1
                    child = free[n_free]
                    ints[child, LABEL], ints[child, PARENT], ints[child, FIRST_CHILD] = label, prefix, -1
                    ints[child, SIBLING] = ints[prefix, FIRST_CHILD]
                    ints[prefix, FIRST_CHILD] = child
                    floats[child, BLANK], floats[child, REPEAT], floats[child, LOGP] = LOG_ZERO, LOG_ZERO, LOG_ZERO
                    floats[child, NEXT_BLANK], floats[child, NEXT_REPEAT] = LOG_ZERO, LOG_ZERO
                    _fill_child(ngrams, trie, hot, units, weights, ints, floats, prefix, child)
                    words[child] = 0 if units.begins_word[label] else words[prefix]
                    if ints[child, LENGTH] > 0:
                        words[child] = words[child] * 1_000_003 + label + 1
                if floats[child, NEXT_BLANK] == LOG_ZERO and floats[child, NEXT_REPEAT] == LOG_ZERO:
                    reached[n_reached] = child
                    n_reached += 1
                floats[child, NEXT_REPEAT] = _log_add(floats[child, NEXT_REPEAT], logp_path)
        for place in range(n_beam):  # some are not reached again
            prefix = beam[place]
            floats[prefix, BLANK], floats[prefix, REPEAT], floats[prefix, LOGP] = LOG_ZERO, LOG_ZERO, LOG_ZERO
        best_score = LOG_ZERO
        for i in range(n_reached):
            node = reached[i]
            floats[node, BLANK], floats[node, REPEAT] = floats[node, NEXT_BLANK], floats[node, NEXT_REPEAT]
            floats[node, LOGP] = _log_add(floats[node, BLANK], floats[node, REPEAT])
            floats[node, NEXT_BLANK], floats[node, NEXT_REPEAT] = LOG_ZERO, LOG_ZERO
            scores[i] = floats[node, LOGP] + floats[node, LM]
            best_score = max(best_score, scores[i])

        # those that are kept; the others leave the tree
        lowest = best_score + weights.beam_prune_logp
        n_kept = 0
        for i in range(n_reached):
            if scores[i] >= lowest:
                kept_scores[n_kept] = scores[i]
                n_kept += 1
        if recombines and n_kept > 1:
            size = _table_size(n_kept)
            if size > len(places):
                places = np.empty(size, dtype=np.int32)
            n_kept = _recombine(reached, scores, n_reached, lowest, ints, words, places[:size], kept_scores)
        n_ties = weights.beam_width  # of those that score `lowest`, the first so many are kept
        if n_kept > weights.beam_width:
            lowest = _largest(kept_scores, n_kept, weights.beam_width)
            for i in range(n_kept):
                n_ties -= kept_scores[i] > lowest
        previous, beam, n_previous = beam, previous, n_beam
        n_beam = 0
        for i in range(n_reached):
            node = reached[i]
            if scores[i] > lowest or (scores[i] == lowest and n_ties > 0):
                n_ties -= scores[i] == lowest
                beam[n_beam] = node
                n_beam += 1
            else:
                floats[node, LOGP] = LOG_ZERO
        for i in range(n_reached):
            if floats[reached[i], LOGP] == LOG_ZERO:
                n_free = _remove(ints, floats, free, n_free, reached[i])
        for i in range(n_previous):  # not reached, and not removed with a child
            if floats[previous[i], LOGP] == LOG_ZERO:
                n_free = _remove(ints, floats, free, n_free, previous[i])

    return -1, *_hypotheses(ngrams, trie, hot, weights, ints, floats, beam[:n_beam], n_best)
