"""Modified Kneser-Ney smoothing, interpolated: the n-gram estimate that recognisers have used since it was found.

Chen & Goodman 1998, "An Empirical Study of Smoothing Techniques for Language Modeling", section 3; in all as KenLM's
lmplz does it (Heafield et al. 2013): lower orders count in how many contexts an n-gram occurs, unless it begins an
utterance; unigrams are interpolated with a uniform distribution over all words and the unknown one.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from finetune.language_model.ngram import BEGIN, END, LN10, NEVER, UNKNOWN, NgramModel

Ngram = tuple[str, ...]
FALLBACK = (0.5, 1.0, 1.5)  # discounts where a text is too small to tell them, as of lmplz --discount_fallback


def estimate(sentences: Iterable[Sequence[str]], order: int, *, least: int = 1) -> NgramModel:
    """From the words of sentences.

    order: of the longest n-grams, 1 or more. least: n-grams of three words and more that occur less often are left out,
    after estimation; their probability goes to what is backed off to.
    """
    counts = _counts(sentences, order)
    adjusted = _adjusted(counts)
    vocabulary = len({ngram for ngram in adjusted[0] if ngram != (BEGIN,)}) + 1  # and the unknown word
    lower: dict[Ngram, float] = {}
    tables: list[dict[Ngram, float]] = []  # probabilities of each order
    backoffs: list[dict[Ngram, float]] = []  # of contexts, one word shorter than the n-grams of the order
    for n, found in enumerate(adjusted, 1):
        probabilities, left = _discounted(found)
        backoffs.append(left)
        for ngram in probabilities:
            below = 1.0 / vocabulary if n == 1 else lower[ngram[1:]]
            probabilities[ngram] += left[ngram[:-1]] * below
        if n == 1:
            probabilities[(UNKNOWN,)] = left[()] / vocabulary
        tables.append(probabilities)
        lower = probabilities
    kept = _kept(counts, tables, least)
    entries = []
    for n, ngrams in enumerate(kept, 1):
        over = backoffs[n] if n < len(backoffs) else {}
        entries.append({g: (math.log(tables[n - 1][g]), math.log(over.get(g, 1.0))) for g in ngrams})
    entries[0][(BEGIN,)] = (NEVER * LN10, math.log(backoffs[1].get((BEGIN,), 1.0)) if order > 1 else 0.0)
    return _renormalised(NgramModel(tuple(entries))) if least > 1 else NgramModel(tuple(entries))


def perplexity(model: NgramModel, sentences: Iterable[Sequence[str]]) -> tuple[float, int, int]:
    """Of the words that the model knows and of the ends; and how many words there are, and of these unknown ones."""
    total, scored, words, unknown = 0.0, 0, 0, 0
    for sentence in sentences:
        state = model.begin()
        for word in sentence:
            score, state = model.score(state, word)
            words += 1
            if word in model:
                total, scored = total + score, scored + 1
            else:
                unknown += 1
        total, scored = total + model.end(state), scored + 1
    return math.exp(-total / max(scored, 1)), words, unknown


def _counts(sentences: Iterable[Sequence[str]], order: int) -> list[Counter[Ngram]]:
    """How often each n-gram occurs, by order; utterances begin with one mark and end with one."""
    counts: list[Counter[Ngram]] = [Counter() for _ in range(order)]
    for sentence in sentences:
        marked = (BEGIN, *sentence, END)
        for n in range(1, order + 1):
            counts[n - 1].update(zip(*(marked[i:] for i in range(n)), strict=False))
    return counts


def _adjusted(counts: Sequence[Counter[Ngram]]) -> list[dict[Ngram, int]]:
    """Of the highest order its counts; of lower ones in how many contexts an n-gram occurs, but counts after BEGIN."""
    adjusted: list[dict[Ngram, int]] = []
    for n, found in enumerate(counts, 1):
        if n == len(counts):
            adjusted.append({ngram: count for ngram, count in found.items() if ngram != (BEGIN,)})
            continue
        contexts = Counter(longer[1:] for longer in counts[n])
        first = {ngram: count for ngram, count in found.items() if ngram[0] == BEGIN and n > 1}
        adjusted.append({ngram: contexts[ngram] for ngram in found if ngram[0] != BEGIN} | first)
    return adjusted


def _discounted(adjusted: Mapping[Ngram, int]) -> tuple[dict[Ngram, float], dict[Ngram, float]]:
    """Each n-gram's discounted share of its context, and what the discounts leave of each context."""
    discounts = _discounts(adjusted)
    totals: defaultdict[Ngram, int] = defaultdict(int)
    removed: defaultdict[Ngram, float] = defaultdict(float)
    for ngram, count in adjusted.items():
        totals[ngram[:-1]] += count
        removed[ngram[:-1]] += discounts[min(count, 3) - 1]
    shares = {g: (count - discounts[min(count, 3) - 1]) / totals[g[:-1]] for g, count in adjusted.items()}
    return shares, {context: removed[context] / total for context, total in totals.items()}


def _discounts(adjusted: Mapping[Ngram, int]) -> tuple[float, float, float]:
    """For counts of 1, 2, and 3 or more, from how many n-grams have counts of 1 to 4 (Chen & Goodman, equation 26)."""
    having = Counter(count for count in adjusted.values() if count <= 4)
    if not all(having[count] for count in (1, 2, 3)):
        return FALLBACK
    y = having[1] / (having[1] + 2.0 * having[2])
    one, two, three = (k - (k + 1) * y * having[k + 1] / having[k] for k in (1, 2, 3))
    found = (one, two, three)
    return found if all(0.0 < d < k for k, d in enumerate(found, 1)) else FALLBACK


def _kept(counts: Sequence[Counter[Ngram]], tables: Sequence[Mapping[Ngram, float]], least: int) -> list[list[Ngram]]:
    """n-grams that occur often enough, and what longer ones of these begin with, so that they can be backed off to."""
    kept = [[g for g in table if n <= 2 or counts[n - 1][g] >= least] for n, table in enumerate(tables, 1)]
    for n in range(len(kept) - 1, 0, -1):
        needed = {ngram[:-1] for ngram in kept[n]} | {ngram[1:] for ngram in kept[n]}
        have = set(kept[n - 1])
        kept[n - 1] += [ngram for ngram in tables[n - 1] if ngram in needed and ngram not in have]
    return kept


def _renormalised(model: NgramModel) -> NgramModel:
    """Backoffs that make up for n-grams left out: each context's probabilities sum to 1 again."""
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
