"""Errors of one utterance: substitutions, deletions, insertions, hits, by words and by characters.

jiwer aligns (Levenshtein distance). An empty reference is legal: it counts no words, and what was heard there counts
as insertions. Texts come normalised (preprocessing.text).
"""

from dataclasses import dataclass

import jiwer


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
    counted = jiwer.process_words(" ".join(reference.split()), " ".join(hypothesis.split()))
    return ErrorCounts(counted.hits, counted.substitutions, counted.deletions, counted.insertions)


def character_errors(reference: str, hypothesis: str) -> ErrorCounts:
    """Counts over the characters of two normalised texts, spaces included, as jiwer's CER counts."""
    counted = jiwer.process_characters(" ".join(reference.split()), " ".join(hypothesis.split()))
    return ErrorCounts(counted.hits, counted.substitutions, counted.deletions, counted.insertions)
