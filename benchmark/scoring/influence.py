"""How much single utterances weigh: rates and differences without each of them in turn (leave one out).

Exact, not by refitting: sums over all utterances minus one's own, over all utterances at once.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from benchmark.results import Influence
from benchmark.scoring.counts import Column
from benchmark.scoring.loops import Loop
from finetune.metrics import Resampling, StandardError
from finetune.metrics.intervals import Numbers

MAX_INFLUENCES = 10  # utterances of a system that a summary lists, besides those that loop
# Decisive are at most MAX_DECISIVE utterances each of which raises the rate by DECISIVE_POINTS or more, by
# DECISIVE_SHARE of the rate or more, by DECISIVE_TIMES as much as an utterance does on average, and by twice as much as
# any that is not decisive. Where the others have no error at all, an utterance also needs more than ORDINARY_ERRORS,
# and as many as it has words: of a few wrong commands none is more than an ordinary error.
MAX_DECISIVE = 3
DECISIVE_POINTS = 0.005  # as a fraction
DECISIVE_SHARE = 0.1
DECISIVE_TIMES = 5.0
ORDINARY_ERRORS = 3


def rates_without(errors: Column, lengths: Column) -> Numbers:
    """The rate of all other utterances, for each one left out [utterances]; 0 lengths count as 1, as in
    `finetune.metrics.rate`.

    >>> rates_without(np.array([1, 0, 3]), np.array([4, 2, 4])).tolist()
    [0.5, 0.5, 0.16666666666666666]
    """
    return np.asarray((errors.sum() - errors) / np.maximum(lengths.sum() - lengths, 1))


def changes(errors: Column, lengths: Column) -> Numbers:
    """What each utterance adds to the rate [utterances]: the rate minus `rates_without`."""
    rate = errors.sum() / max(lengths.sum(), 1)
    return np.asarray(rate - rates_without(errors, lengths))


def decisive(errors: Column, lengths: Column) -> list[int]:
    """The rows of the few utterances that make a rate, most influential first; usually none (see MAX_DECISIVE)."""
    n_utterances, rate = len(errors), errors.sum() / max(lengths.sum(), 1)
    change = changes(errors, lengths)
    least = max(DECISIVE_POINTS, DECISIVE_SHARE * rate, DECISIVE_TIMES * rate / max(n_utterances, 1))
    ordered: list[int] = np.argsort(-change, kind="stable")[: MAX_DECISIVE + 1].tolist()
    are_all_errors = False
    for count in range(min(MAX_DECISIVE, n_utterances - 1), 0, -1):
        lightest, following = change[ordered[count - 1]], change[ordered[count]]
        if lightest >= least and lightest >= 2.0 * following:
            rows = ordered[:count]
            are_all_errors = are_all_errors or errors.sum() == errors[rows].sum()
            is_ordinary = (errors[rows] <= np.maximum(ORDINARY_ERRORS, lengths[rows] - 1)).any()
            if not (are_all_errors and is_ordinary):
                return rows
    return []


def influences(ids: Sequence[str], errors: Column, lengths: Column, loops: Mapping[str, Loop]) -> list[Influence]:
    """The MAX_INFLUENCES utterances that change the rate most, and all that loop, most influential first.

    ids, errors, lengths: of each utterance. loops: by id.
    """
    change, without = changes(errors, lengths), rates_without(errors, lengths)
    ordered = np.argsort(-np.abs(change), kind="stable").tolist()
    heaviest = {row for row in ordered[:MAX_INFLUENCES] if change[row]}
    decided = set(decisive(errors, lengths))
    found = []
    for row in ordered:
        loop = loops.get(ids[row])
        if loop is None and row not in heaviest:
            continue
        found.append(
            Influence(
                id=ids[row],
                errors=int(errors[row]),
                length=int(lengths[row]),
                rate_without=float(without[row]),
                change=float(change[row]),
                decisive=row in decided,
                looped=loop is not None,
                loop=loop.words if loop else "",
                loop_times=loop.times if loop else 0,
                compression_ratio=loop.compression_ratio if loop else None,
            )
        )
    return found


def differences_without(differences: Column, lengths: Column, resampling: Resampling) -> tuple[Numbers, StandardError]:
    """The paired difference of two rates without each utterance, and its standard error [utterances].

    differences: in errors, first system minus second. As `finetune.metrics.difference` and `standard_error` compute
    them of the other utterances.
    """
    totals = resampling.totals(differences, lengths)  # [groups, errors and words]
    before = totals[resampling.groups]  # of each utterance's group, with it and without
    after = before - np.stack([differences, lengths], axis=1)
    n_words = totals[:, 1].sum() - lengths
    value = (totals[:, 0].sum() - differences) / np.maximum(n_words, 1.0)
    # The sums over groups depend on how many words are left, of which there are few different numbers; then the
    # utterance's own group changes its part.
    left, place = np.unique(n_words, return_inverse=True)
    of_all = np.stack([_products(totals, words).sum(axis=0) for words in left])
    sums = of_all[place] - _products(before, n_words) + _products(after, n_words)
    dd, dl, ll, squares, q, q_squared = np.moveaxis(sums, -1, 0)
    variance = np.maximum(dd - 2.0 * value * dl + value**2 * ll, 0.0) / np.maximum(n_words, 1.0) ** 2
    n_with_words = np.count_nonzero(totals[:, 1]) - ((before[:, 1] > 0) & (after[:, 1] == 0))
    with np.errstate(divide="ignore"):
        freedom = np.where(n_with_words > 1, 1.0 / (squares + q**2 - q_squared), 0.0)
    return value, StandardError(np.sqrt(variance), freedom)


def _products(totals: Numbers, n_words: Numbers) -> Numbers:
    """What `finetune.metrics.intervals.clustered_error` sums over groups: products of errors and words, divided by
    1 - w, and w^2, q and q^2 [..., 6].

    totals: errors and words of groups, [..., 2]; n_words: of all groups together, [...]. A group that has more words
    than all together, because an utterance is yet to be taken from it, counts as without weight.
    """
    errors, words = totals[..., 0], totals[..., 1]
    shares = words / np.maximum(n_words, 1.0)
    weight = np.divide(1.0, 1.0 - shares, out=np.zeros_like(shares), where=shares < 1.0)
    q = shares**2 * weight
    return np.stack([errors**2 * weight, errors * words * weight, words**2 * weight, shares**2, q, q**2], axis=-1)
