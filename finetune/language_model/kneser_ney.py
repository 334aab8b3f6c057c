"""Estimates n-gram models by interpolated modified Kneser-Ney smoothing (Chen & Goodman 1998, "An Empirical Study of
Smoothing Techniques for Language Modeling", section 3).

The estimate is that of KenLM's lmplz (Heafield et al. 2013): in lower orders the count of an n-gram is the number of
its contexts, unless it begins an utterance, and unigrams are interpolated with a uniform distribution over all words
and the unknown word. The probability of word w after context h is

    p(w | h) = max(c(hw) - D(c(hw)), 0) / c(h) + b(h) * p(w | h without its first word),

with one discount D for counts of 1, of 2, and of 3 and more in each order, and b(h) the mass that the discounts free.
Where lmplz refuses an order, because no n-gram has an adjusted count of 1, 2 or 3 or a discount is below 0 or above its
count, the discounts are those of its option --discount_fallback, and a note names the order.
"""

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from finetune.language_model.ngram import BEGIN, END, LN10, LOG10_ZERO, UNKNOWN, Array, NgramModel, NgramTable
from preprocessing.cli.notes import note_once

Discounts = tuple[float, float, float]  # of counts of 1, 2, and 3 and more
FALLBACK = (0.5, 1.0, 1.5)  # discounts where they cannot be estimated: the default of lmplz --discount_fallback
LEAST = 1e-12  # of a probability that is left to back off to


@dataclass(frozen=True)
class _Ngrams:
    """The different n-grams of one order, a row each. prefix, suffix: the rows of the n-grams without their last and
    without their first word in the order below; last: the number of the last word; counts: how often each occurs;
    begins: whether the first word is BEGIN.
    """

    prefix: Array
    suffix: Array
    last: Array
    counts: Array
    begins: Array


@dataclass
class _Estimate:
    """One order's probabilities, and of its n-grams as contexts the weights with which they back off."""

    probabilities: Array
    backoffs: Array


def estimate(
    sentences: Iterable[Sequence[str]], order: int, *, min_count: int = 1, also: Sequence[str] = ()
) -> NgramModel:
    """The n-gram model of sentences, each a sequence of words.

    order: length of the longest n-grams, 1 or more. min_count: n-grams of three words and more that occur less often
    are left out after estimation, and the backoff weights are renormalised. also: words that the model knows in any
    case; those without an occurrence are as probable as the unknown word.

    Raises ValueError on a sentence with one of the words <s>, </s> and <unk>, as lmplz refuses it.
    """
    words, units, ends = _numbered(sentences)
    orders = list(_counted(units, ends, len(words), order))
    unseen = [word for word in dict.fromkeys((UNKNOWN, *also)) if word not in words]
    n_predicted = len(words) - 1 + len(unseen)  # all words but BEGIN
    estimates: list[_Estimate] = []
    all_discounts = []
    for n, ngrams in enumerate(orders, 1):
        adjusted = _adjusted(ngrams, orders[n] if n < order else None, n)
        discounts = _discounts(adjusted)
        all_discounts.append(discounts)
        freed = np.array((0.0, *(discounts or FALLBACK)))[np.minimum(adjusted, 3)]
        n_contexts = len(estimates[-1].probabilities) if n > 1 else 1
        totals = np.bincount(ngrams.prefix, adjusted, n_contexts)
        left = np.bincount(ngrams.prefix, freed, n_contexts) / np.maximum(totals, 1.0)
        below = estimates[-1].probabilities[ngrams.suffix] if n > 1 else 1.0 / n_predicted
        probabilities = (adjusted - freed) / totals[ngrams.prefix] + left[ngrams.prefix] * below
        if n == 1:
            probabilities = np.append(probabilities, np.full(len(unseen), left[0] / n_predicted))
        else:
            estimates[-1].backoffs = np.where(totals > 0.0, left, 1.0)
        estimates.append(_Estimate(probabilities, np.ones(len(probabilities))))
    _note_fallback(all_discounts)
    kept = [np.ones(len(one.probabilities), bool) if n < 3 else orders[n - 1].counts >= min_count
            for n, one in enumerate(estimates, 1)]  # fmt: skip
    if min_count > 1:
        _renormalise(orders, estimates, kept)
    estimates[0].probabilities[words[BEGIN]] = 0.0
    for word in unseen:
        words[word] = len(words)
    return NgramModel(tuple(_tables(words, orders, estimates, kept)))


def perplexity(model: NgramModel, sentences: Iterable[Sequence[str]]) -> tuple[float, int, int]:
    """(perplexity, number of words, number of unknown words) of sentences under a model.

    The perplexity, exp of the mean negative log-probability, is over the words that the model knows and the sentences'
    ends: unknown words are left out, as in SRILM's ppl.
    """
    total, scored, n_words, n_unknown = 0.0, 0, 0, 0
    for sentence in sentences:
        state = model.begin()
        for word in sentence:
            score, state = model.score(state, word)
            n_words += 1
            if word in model:
                total, scored = total + score, scored + 1
            else:
                n_unknown += 1
        total, scored = total + model.end(state), scored + 1
    return math.exp(-total / max(scored, 1)), n_words, n_unknown


def _numbered(sentences: Iterable[Sequence[str]]) -> tuple[dict[str, int], Array, Array]:
    """The number of each word, in the order in which they are met, BEGIN and END first; the numbers of all sentences,
    each from BEGIN to END, one after another [positions]; the position of END in the sentence of each position.
    """
    words = {BEGIN: 0, END: 1}
    units, lengths = array("i"), array("q")
    for sentence in sentences:
        if reserved := {BEGIN, END, UNKNOWN}.intersection(sentence):
            raise ValueError(f"a sentence has the word {min(reserved)}, which n-gram models reserve")
        units.append(0)
        units.extend([words.setdefault(word, len(words)) for word in sentence])
        units.append(1)
        lengths.append(len(sentence) + 2)
    ends = np.repeat(np.cumsum(lengths, dtype=np.int64) - 1, lengths)
    return words, np.array(units, np.int32), ends


def _counted(units: Array, ends: Array, n_words: int, order: int) -> Iterator[_Ngrams]:
    """The n-grams of each order. What `_numbered` returns."""
    nothing = np.zeros(n_words, np.int32)
    begins = np.arange(n_words) == 0
    yield _Ngrams(nothing, nothing, np.arange(n_words, dtype=np.int32), np.bincount(units, minlength=n_words), begins)
    starts = np.arange(len(units))
    rows = units  # of the n-grams of the order before that begin at each position
    for n in range(2, order + 1):
        starts = starts[starts + n - 1 <= ends[starts]]
        keys = rows[starts].astype(np.int64) * n_words + units[starts + n - 1]
        keys, first, inverse, counts = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
        prefix, last = (part.astype(np.int32) for part in np.divmod(keys, n_words))
        begins = begins[prefix]
        yield _Ngrams(prefix, rows[starts[first] + 1], last, counts, begins)
        rows = np.zeros(len(units), np.int32)
        rows[starts] = inverse


def _adjusted(ngrams: _Ngrams, longer: _Ngrams | None, n: int) -> Array:
    """Kneser-Ney's counts of n-grams of n words, from these and from those of the next order: in the highest order the
    counts, in lower ones the number of words that precede an n-gram; of n-grams that begin with BEGIN, which nothing
    precedes, their counts. BEGIN itself is predicted nowhere and has a count of 0.
    """
    adjusted = ngrams.counts
    if longer is not None:
        contexts = np.bincount(longer.suffix, minlength=len(ngrams.last))
        adjusted = np.where(ngrams.begins, ngrams.counts, contexts)
    return np.where(ngrams.begins, 0, adjusted) if n == 1 else adjusted


def _discounts(adjusted: Array) -> Discounts | None:
    """For counts of 1, 2, and 3 or more, from how many n-grams have counts of 1 to 4 (Chen & Goodman, equation 26);
    None where lmplz does not take them.
    """
    having = np.bincount(adjusted[adjusted <= 4], minlength=5).tolist()
    if not all(having[1:4]):
        return None
    y = having[1] / (having[1] + 2.0 * having[2])
    one, two, three = (k - (k + 1) * y * having[k + 1] / having[k] for k in (1, 2, 3))
    found = (one, two, three)
    return found if all(0.0 <= d <= k for k, d in enumerate(found, 1)) else None


def _note_fallback(discounts: Sequence[Discounts | None]) -> None:
    """Notes the orders whose discounts cannot be estimated."""
    orders = ", ".join(f"{n}-grams" for n, found in enumerate(discounts, 1) if found is None)
    if orders:
        note_once(
            f"discounts of {orders}",
            f"the counts of {orders} give no Kneser-Ney discounts, as of a small or repetitive text; using "
            f"{', '.join(f'{discount:g}' for discount in FALLBACK)}, like lmplz --discount_fallback",
        )


def _renormalise(orders: Sequence[_Ngrams], estimates: Sequence[_Estimate], kept: Sequence[Array]) -> None:
    """Sets the weights such that each context's probabilities sum to 1 with the kept n-grams alone. What a longer
    n-gram that is kept begins and ends with is kept too, as an ARPA file must have it: it occurs no less often.
    """
    for (lower, one), ngrams, chosen in zip(pairwise(estimates), orders[1:], kept[1:], strict=True):
        prefix, n_contexts = ngrams.prefix[chosen], len(lower.probabilities)
        seen = np.bincount(prefix, one.probabilities[chosen], n_contexts)
        below = np.bincount(prefix, lower.probabilities[ngrams.suffix[chosen]], n_contexts)
        lower.backoffs = np.maximum(1.0 - seen, LEAST) / np.maximum(1.0 - below, LEAST)


def _tables(
    words: dict[str, int], orders: Sequence[_Ngrams], estimates: Sequence[_Estimate], kept: Sequence[Array]
) -> Iterator[NgramTable]:
    """The kept n-grams of each order."""
    ids = np.arange(len(words), dtype=np.int32)[:, None]
    for n, (ngrams, one, chosen) in enumerate(zip(orders, estimates, kept, strict=True), 1):
        if n > 1:
            ids = np.column_stack((ids[ngrams.prefix], ngrams.last))
        yield NgramTable(words, ids[chosen], _ln(one.probabilities[chosen]), _ln(one.backoffs[chosen]))


def _ln(probabilities: Array) -> Array:
    """Natural logarithms, that of LOG10_ZERO for 0, which is left in a context whose counts have a discount of 0."""
    zero = probabilities <= 0.0
    return np.where(zero, LOG10_ZERO * LN10, np.log(np.where(zero, 1.0, probabilities)))
