"""How much single utterances weigh: rates and differences without each of them in turn (leave one out).

Exact, not by refitting: sums over all utterances minus one's own, over all utterances at once.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmark.results import Influence
from benchmark.scoring.counts import Column
from benchmark.scoring.loops import Loop
from finetune.metrics import Resampling

MAX_INFLUENCES = 10  # utterances of a system that a summary lists, besides those that loop
# Decisive are at most MAX_DECISIVE utterances each of which raises the rate by DECISIVE_POINTS or more, by
# DECISIVE_SHARE of the rate or more, by DECISIVE_TIMES as much as an utterance does on average, and by twice as much as
# any that is not decisive.
MAX_DECISIVE = 3
DECISIVE_POINTS = 0.005  # as a fraction
DECISIVE_SHARE = 0.1
DECISIVE_TIMES = 5.0

Numbers = NDArray[np.float64]


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
    for count in range(min(MAX_DECISIVE, n_utterances - 1), 0, -1):
        lightest, following = change[ordered[count - 1]], change[ordered[count]]
        if lightest >= least and lightest >= 2.0 * following:
            return ordered[:count]
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
                ids[row],
                int(errors[row]),
                int(lengths[row]),
                float(without[row]),
                float(change[row]),
                row in decided,
                loop is not None,
                loop.words if loop else "",
                loop.times if loop else 0,
                loop.compression_ratio if loop else None,
            )
        )
    return found


def differences_without(
    differences: Column, lengths: Column, resampling: Resampling
) -> tuple[Numbers, Numbers, NDArray[np.int64]]:
    """The paired difference of two rates without each utterance, its standard error, and the groups left [utterances].

    differences: in errors, first system minus second. As `finetune.metrics.difference` and `standard_error` compute
    them of the other utterances; a group whose only utterance is left out is gone.
    """
    groups = resampling.groups
    n_own = np.bincount(groups, minlength=resampling.n_groups)
    totals = resampling.totals(differences, lengths)
    own = np.stack([differences, lengths], axis=1).astype(np.float64)
    reduced = totals[groups] - own
    sums = totals.sum(axis=0) - own
    length = np.maximum(sums[:, 1], 1.0)
    # linear_error's squared parts, (d / length - D l / length^2)^2 summed over groups, need three sums of products.
    dd, dl, ll = (
        (totals[:, one] * totals[:, two]).sum()
        - totals[groups, one] * totals[groups, two]
        + reduced[:, one] * reduced[:, two]
        for one, two in ((0, 0), (0, 1), (1, 1))
    )
    squares = dd / length**2 - 2.0 * sums[:, 0] * dl / length**3 + sums[:, 0] ** 2 * ll / length**4
    n_groups = resampling.n_groups - (n_own[groups] == 1)
    errors = np.sqrt(np.maximum(squares, 0.0) * n_groups / np.maximum(n_groups - 1, 1))
    return sums[:, 0] / length, errors, n_groups
