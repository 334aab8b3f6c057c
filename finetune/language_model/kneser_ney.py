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
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set

from finetune.language_model.ngram import BEGIN, END, LN10, LOG10_ZERO, UNKNOWN, NgramModel
from preprocessing.cli.notes import note_once

Ngram = tuple[str, ...]
Discounts = tuple[float, float, float]  # of counts of 1, 2, and 3 and more
FALLBACK = (0.5, 1.0, 1.5)  # discounts where they cannot be estimated: the default of lmplz --discount_fallback


def estimate(
    sentences: Iterable[Sequence[str]], order: int, *, min_count: int = 1, also: Sequence[str] = ()
) -> NgramModel:
    """The n-gram model of sentences, each a sequence of words.

    order: length of the longest n-grams, 1 or more. min_count: n-grams of three words and more that occur less often
    are left out after estimation, and the backoff weights are renormalised. also: words that the model knows in any
    case; those without an occurrence are as probable as the unknown word.

    Raises ValueError on a sentence with one of the words <s>, </s> and <unk>, as lmplz refuses it.
    """
    counts = _counts(sentences, order)
    entries: list[dict[Ngram, tuple[float, float]]] = []
    all_discounts: list[Discounts | None] = []
    lower: dict[Ngram, float] = {}  # probabilities of the order before
    rare: set[Ngram] = set()  # n-grams of the order before that are left out
    unseen: list[Ngram] = []
    vocabulary = 0
    for n in range(1, order + 1):  # at the peak of memory, what is no longer needed of lower orders is freed
        adjusted = _adjusted(counts, n)
        own_rare = {ngram for ngram, count in counts[n - 1].items() if count < min_count} if n > 2 else set()
        counts[n - 1] = Counter()
        if n == 1:
            unseen = [(UNKNOWN,), *((word,) for word in also if (word,) not in adjusted)]
            vocabulary = len(adjusted) + len(unseen)
        all_discounts.append(_discounts(adjusted))
        probabilities, left = _discounted(adjusted, all_discounts[-1] or FALLBACK)
        del adjusted
        for ngram in probabilities:
            below = 1.0 / vocabulary if n == 1 else lower[ngram[1:]]
            probabilities[ngram] += left[ngram[:-1]] * below
        if n == 1:
            probabilities |= dict.fromkeys(unseen, left[()] / vocabulary)
        else:
            entries.append(_entries(lower, left, rare))
        if n == 2:
            entries[0][(BEGIN,)] = (LOG10_ZERO * LN10, _ln(left.get((BEGIN,), 1.0)))
        lower, rare = probabilities, own_rare
        del probabilities, left
    _note_fallback(all_discounts)
    entries.append(_entries(lower, {}, rare))
    if order == 1:
        entries[0][(BEGIN,)] = (LOG10_ZERO * LN10, 0.0)
    return _renormalised(NgramModel(tuple(entries))) if min_count > 1 else NgramModel(tuple(entries))


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


def _counts(sentences: Iterable[Sequence[str]], order: int) -> list[Counter[Ngram]]:
    """The count of each n-gram, for each order; sentences get one BEGIN and one END."""
    counts: list[Counter[Ngram]] = [Counter() for _ in range(order)]
    for sentence in sentences:
        if reserved := {BEGIN, END, UNKNOWN}.intersection(sentence):
            raise ValueError(f"a sentence has the word {min(reserved)}, which n-gram models reserve")
        marked = (BEGIN, *sentence, END)
        for n in range(1, order + 1):
            counts[n - 1].update(zip(*(marked[i:] for i in range(n)), strict=False))
    return counts


def _adjusted(counts: Sequence[Counter[Ngram]], n: int) -> Mapping[Ngram, int]:
    """Kneser-Ney's counts of n-grams of n words, from the counts of these and of the next order: in the highest order
    the counts, in lower ones the number of words that precede an n-gram; of n-grams that begin with BEGIN, which
    nothing precedes, their counts.
    """
    found = counts[n - 1]
    if n == len(counts):
        return found if n > 1 else {ngram: count for ngram, count in found.items() if ngram != (BEGIN,)}
    contexts = Counter(longer[1:] for longer in counts[n])
    first = {ngram: count for ngram, count in found.items() if ngram[0] == BEGIN and n > 1}
    return {ngram: contexts[ngram] for ngram in found if ngram[0] != BEGIN} | first


def _discounted(adjusted: Mapping[Ngram, int], discounts: Discounts) -> tuple[dict[Ngram, float], dict[Ngram, float]]:
    """The discounted probability of each n-gram, and the probability that the discounts free in each context, b(h)."""
    totals: defaultdict[Ngram, int] = defaultdict(int)
    left: defaultdict[Ngram, float] = defaultdict(float)
    for ngram, count in adjusted.items():
        context = ngram[:-1]
        totals[context] += count
        left[context] += discounts[min(count, 3) - 1]
    shares = {g: (count - discounts[min(count, 3) - 1]) / totals[g[:-1]] for g, count in adjusted.items()}
    for context, total in totals.items():
        left[context] /= total
    return shares, left


def _discounts(adjusted: Mapping[Ngram, int]) -> Discounts | None:
    """For counts of 1, 2, and 3 or more, from how many n-grams have counts of 1 to 4 (Chen & Goodman, equation 26);
    None where lmplz does not take them.
    """
    having = Counter(count for count in adjusted.values() if count <= 4)
    if not all(having[count] for count in (1, 2, 3)):
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


def _ln(probability: float) -> float:
    """The natural logarithm, that of LOG10_ZERO for 0, which is left in a context whose counts have a discount of 0."""
    return math.log(probability) if probability > 0.0 else LOG10_ZERO * LN10


def _entries(
    probabilities: Mapping[Ngram, float], backoffs: Mapping[Ngram, float], rare: Set[Ngram]
) -> dict[Ngram, tuple[float, float]]:
    """The logarithms of one order without the rare n-grams. backoffs: of those that are contexts. What a longer n-gram
    that is kept begins and ends with is kept too, as an ARPA file must have it: it occurs no less often.
    """
    return {
        ngram: (math.log(probability), _ln(backoffs[ngram]) if ngram in backoffs else 0.0)
        for ngram, probability in probabilities.items()
        if ngram not in rare
    }


def _renormalised(model: NgramModel) -> NgramModel:
    """The model with backoff weights such that each context's probabilities sum to 1 after n-grams were left out."""
    entries = [dict(table) for table in model.entries]
    for n in range(2, model.order + 1):
        lower = NgramModel(tuple(entries[: n - 1]))
        seen: defaultdict[Ngram, float] = defaultdict(float)
        below: defaultdict[Ngram, float] = defaultdict(float)
        for ngram, (probability, _) in entries[n - 1].items():
            seen[ngram[:-1]] += math.exp(probability)
            below[ngram[:-1]] += math.exp(lower.score(ngram[1:-1], ngram[-1])[0])
        for context, (probability, _) in entries[n - 2].items():
            left = max(1.0 - seen[context], 1e-12) / max(1.0 - below[context], 1e-12)
            entries[n - 2][context] = (probability, math.log(left))
    return NgramModel(tuple(entries))
