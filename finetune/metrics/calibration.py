"""How well confidences say which words are right: ECE, AUROC of errors, NCE, and the bins of a reliability diagram.

Confidences are of 0 to 1; `correct` says of each word whether it is right. ECE: Guo et al. 2017, "On Calibration of
Modern Neural Networks", section 2. NCE: NIST's normalised cross-entropy of confidences (Siu & Gish 1999). AUROC is
that of finding the wrong words by low confidence. No model and no audio here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

N_BINS = 10
LEAST = 1e-6  # confidences of 0 and 1 would make the cross-entropy of one mistake infinite


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Words with confidences in [low, high): their number, mean confidence, and share that is right."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def reliability(confidences: Sequence[float], correct: Sequence[bool]) -> list[ReliabilityBin]:
    """Those of N_BINS bins of equal width that have words in them, from the lowest."""
    values, right = _arrays(confidences, correct)
    places = np.minimum((values * N_BINS).astype(int), N_BINS - 1)
    bins = []
    for place in range(N_BINS):
        own = places == place
        if own.any():
            bins.append(
                ReliabilityBin(
                    place / N_BINS, (place + 1) / N_BINS, int(own.sum()), float(values[own].mean()),
                    float(right[own].mean()),
                )
            )  # fmt: skip
    return bins


def expected_calibration_error(confidences: Sequence[float], correct: Sequence[bool]) -> float:
    """ECE: the mean over words of the distance between mean confidence and accuracy of a word's bin.

    >>> expected_calibration_error([0.9, 0.9], [True, False])
    0.4
    """
    bins = reliability(confidences, correct)
    return sum(one.count * abs(one.confidence - one.accuracy) for one in bins) / len(correct)


def error_auroc(confidences: Sequence[float], correct: Sequence[bool]) -> float:
    """The probability that a wrong word has less confidence than a right one, ties counted half; NaN without both.

    >>> error_auroc([0.2, 0.8, 0.9], [False, True, True])
    1.0
    """
    values, right = _arrays(confidences, correct)
    n_right, n_wrong = int(right.sum()), int((~right).sum())
    if not n_right or not n_wrong:
        return float("nan")
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]  # of equal confidences their mean
    return float((ranks[right].sum() - n_right * (n_right + 1) / 2) / (n_right * n_wrong))


def normalised_cross_entropy(confidences: Sequence[float], correct: Sequence[bool]) -> float:
    """NCE: the share of the entropy of right and wrong that confidences explain: 1 at best, 0 for the same confidence
    (the accuracy) in every word, below 0 for misleading ones; NaN where all words are right, or none.
    """
    values, right = _arrays(confidences, correct)
    accuracy = right.mean()
    if accuracy in (0.0, 1.0):
        return float("nan")
    values = np.clip(values, LEAST, 1 - LEAST)
    entropy = -(accuracy * np.log(accuracy) + (1 - accuracy) * np.log(1 - accuracy))
    cross_entropy = -np.where(right, np.log(values), np.log(1 - values)).mean()
    return float(1 - cross_entropy / entropy)


def _arrays(confidences: Sequence[float], correct: Sequence[bool]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Both as arrays. Raises ValueError where they are empty, of different lengths, or out of 0 to 1."""
    values, right = np.asarray(confidences, dtype=np.float64), np.asarray(correct, dtype=bool)
    if len(values) == 0 or len(values) != len(right):
        raise ValueError(f"{len(values)} confidences of {len(right)} words; expected one of each, and some")
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("confidences are not all of 0 to 1")
    return values, right
