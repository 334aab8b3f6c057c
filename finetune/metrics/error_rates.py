"""Errors of one utterance: substitutions, deletions, insertions, hits, by words and by characters.

rapidfuzz aligns (Levenshtein distance) with the very call that jiwer makes, so counts are jiwer's, without its checks
and copies. An empty reference is legal: it counts no words, and what was heard there counts as insertions. Texts come
normalised (preprocessing.text).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import evaluate
from rapidfuzz.distance import Levenshtein


@dataclass(frozen=True, slots=True)
class ErrorCounts:
    """Edit counts of a hypothesis against a reference, over words or over characters.

    >>> ErrorCounts(hits=2, substitutions=1, deletions=0, insertions=1).rate
    0.6666666666666666
    """

    hits: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def reference_length(self) -> int:
        return self.hits + self.substitutions + self.deletions

    @property
    def rate(self) -> float:
        """Errors for each reference unit. With no reference units: 0.0 without errors, infinity with."""
        if self.reference_length == 0:
            return float("inf") if self.errors else 0.0
        return self.errors / self.reference_length

    def __add__(self, other: "ErrorCounts") -> "ErrorCounts":
        return ErrorCounts(
            self.hits + other.hits,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )


def word_errors(reference: str, hypothesis: str) -> ErrorCounts:
    """Counts over the words of two normalised texts, split at white space."""
    return _counted(reference.split(), hypothesis.split())


def character_errors(reference: str, hypothesis: str) -> ErrorCounts:
    """Counts over the characters of two normalised texts, spaces included, as jiwer's CER counts."""
    return _counted(" ".join(reference.split()), " ".join(hypothesis.split()))


def character_distance(reference: str, hypothesis: str) -> tuple[int, int]:
    """Errors and reference characters of `character_errors`, without telling kinds of errors apart: faster."""
    reference = " ".join(reference.split())
    return Levenshtein.distance(reference, " ".join(hypothesis.split())), len(reference)


def _counted(reference: Sequence[str], hypothesis: Sequence[str]) -> ErrorCounts:
    if reference == hypothesis:
        return ErrorCounts(hits=len(reference))
    kinds = [operation.tag for operation in Levenshtein.editops(reference, hypothesis)]
    substitutions, deletions, insertions = (kinds.count(kind) for kind in ("replace", "delete", "insert"))
    return ErrorCounts(len(reference) - substitutions - deletions, substitutions, deletions, insertions)


class ErrorRates(evaluate.Metric):  # type: ignore[misc]
    """WER and CER of a corpus as an evaluate metric, which needs no download.

    `compute(predictions=[...], references=[...])` returns {"wer", "cer", "substitutions", "deletions", "insertions",
    "words"}; the counts are of words.
    """

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Word and character error rate over a corpus, counted by jiwer",
            citation="",
            inputs_description="predictions and references: normalised texts, in the same order",
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
            ),
        )

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
        pairs = list(zip(references, predictions, strict=True))
        words = sum((word_errors(*pair) for pair in pairs), ErrorCounts())
        characters = sum((character_errors(*pair) for pair in pairs), ErrorCounts())
        return {
            "wer": words.rate,
            "cer": characters.rate,
            "substitutions": words.substitutions,
            "deletions": words.deletions,
            "insertions": words.insertions,
            "words": words.reference_length,
        }
