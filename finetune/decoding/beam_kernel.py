"""The compiled part of the beam search, in numba: flat arrays in, labels and scores out. `BeamSearch` is its interface,
`beam_python` the same search in plain Python, which it must agree with.

The prefixes are the nodes of a tree (`prefix_kernel`). Each frame goes through four steps: which labels are likely in
it (`_likely_labels`), which prefixes they lead to (`_extend`), their scores (`_advance`), and which are kept
(`_keep_best`).
"""

import math
from typing import Any, NamedTuple

import numpy as np

from finetune.decoding.compiled import compiled, compiled_borrowing
from finetune.decoding.lookup_kernel import Array, Scalar, table_size
from finetune.decoding.prefix_kernel import (
    BLANK,
    ENDED,
    FIRST_CHILD,
    LABEL,
    LENGTH,
    LM,
    LOG_ZERO,
    LOGP,
    NEXT_BLANK,
    NEXT_REPEAT,
    NONE,
    PARENT,
    REPEAT,
    SIBLING,
    STATE,
    fill_child,
    final_score,
    find_child,
    new_tree,
    remove_dropped,
    take,
    with_room,
    without_last_boundary,
)


class WorkSpace(NamedTuple):
    """Room for the prefixes that a frame leads to.

    nodes int32, scores, kept_scores float64: as many as there may be. places int32: a hash table of them.
    """

    nodes: Array
    scores: Array
    kept_scores: Array
    places: Array


@compiled_borrowing
def _log_add(first: Scalar, second: Scalar) -> Scalar:
    """ln(exp(first) + exp(second))."""
    if first < second:
        first, second = second, first
    return first if second == LOG_ZERO else first + math.log1p(math.exp(second - first))


@compiled_borrowing
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


@compiled_borrowing
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


@compiled_borrowing
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


@compiled_borrowing
def _reach(floats: Array, node: Scalar, reached: Array, n_reached: Scalar) -> Scalar:
    """Adds a prefix to those that the frame leads to, where it is not yet one of them. Returns how many they are."""
    if floats[node, NEXT_BLANK] == LOG_ZERO and floats[node, NEXT_REPEAT] == LOG_ZERO:
        reached[n_reached] = node
        n_reached += 1
    return n_reached


@compiled_borrowing
def _extend(tables: Any, tree: Any, beam: Array, labels: Array, logps: Array, bound: Scalar, reached: Array) -> Scalar:
    """Follows the paths of the prefixes in `beam` over one frame: adds their probabilities to NEXT_BLANK and
    NEXT_REPEAT of the prefixes that they lead to, and puts those into `reached`. Returns how many there are.

    labels, logps: of the frame. bound: what a new prefix must score, see `_lowest_new`.
    """
    units, ints, floats = tables.units, tree.ints, tree.floats
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
            child = find_child(ints, prefix, label)
            if child < 0:
                if logp_path < (lowest_ending if units.begins_word[label] else lowest):
                    continue
                child = take(tree)
                ints[child, LABEL], ints[child, PARENT] = label, prefix
                ints[child, SIBLING], ints[prefix, FIRST_CHILD] = ints[prefix, FIRST_CHILD], child
                fill_child(tables, tree, prefix, child)
            n_reached = _reach(floats, child, reached, n_reached)
            floats[child, NEXT_REPEAT] = _log_add(floats[child, NEXT_REPEAT], logp_path)
    return n_reached


@compiled_borrowing
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


@compiled_borrowing
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


@compiled_borrowing
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
        end = without_last_boundary(ints, node)
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
        final[i] = totals[i] + final_score(tables, tree, without_last_boundary(ints, likeliest[i]))
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
    tree = new_tree(weights.begin)
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
        tree = with_room(tree, most_reached)
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
        remove_dropped(tree, reached)
        remove_dropped(tree, previous[:n_previous])
    return -1, *_hypotheses(tables, tree, beam[:n_beam], n_best)
