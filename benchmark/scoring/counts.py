"""Edit counts of every utterance of one system under one condition and one text profile, as arrays.

A failed utterance has an empty hypothesis, so all its words count as deleted. An empty reference has no words; what was
heard there counts as insertions.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.results import Sample, Scores
from finetune.metrics import Rate, Resampling, information_lost, rate
from finetune.metrics.error_rates import character_distance, word_errors
from preprocessing.text import Profile

Column = NDArray[np.int64]


class Normaliser:
    """A text profile that remembers references, which every system and condition has again."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self._references: dict[str, str] = {}

    def pair(self, sample: Sample) -> tuple[str, str]:
        """Normalised reference and hypothesis."""
        known = self._references.get(sample.reference)
        if known is None:
            known = self._references[sample.reference] = self.profile(sample.reference)
        return known, self.hypothesis(sample)

    def hypothesis(self, sample: Sample) -> str:
        """One that is a reference letter by letter is not normalised again: whisper-english takes 0.2 ms for a text."""
        known = self._references.get(sample.hypothesis)
        return self.profile(sample.hypothesis) if known is None else known


@dataclass(frozen=True)
class Counted:
    """Counts in the order of the samples they were made of, each column [utterances]."""

    hits: Column
    substitutions: Column
    deletions: Column
    insertions: Column
    character_errors: Column
    characters: Column  # of the reference

    @property
    def errors(self) -> Column:
        return self.substitutions + self.deletions + self.insertions

    @property
    def words(self) -> Column:
        """Of the reference."""
        return self.hits + self.substitutions + self.deletions

    @property
    def heard(self) -> Column:
        """Words of the hypothesis."""
        return self.hits + self.substitutions + self.insertions

    def of(self, rows: Sequence[int] | Column) -> "Counted":
        """Some of the utterances, in the order of `rows`."""
        index = np.asarray(rows, dtype=np.int64)
        return Counted(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


def count(pairs: Iterable[tuple[str, str]]) -> Counted:
    """Align every hypothesis with its reference, by words and by characters; both normalised."""
    rows = [_row(*pair) for pair in pairs]
    return Counted(*np.array(rows, dtype=np.int64).reshape(-1, 6).T)


def _row(reference: str, hypothesis: str) -> tuple[int, ...]:
    words = word_errors(reference, hypothesis)
    return (
        words.hits,
        words.substitutions,
        words.deletions,
        words.insertions,
        *character_distance(reference, hypothesis),
    )


def scores_of(counted: Counted, resampling: Resampling) -> Scores:
    """All rates of one set of utterances, in the order of the resampling."""
    mer = rate(counted.errors.tolist(), (counted.errors + counted.hits).tolist(), resampling)
    return Scores(
        wer=rate(counted.errors.tolist(), counted.words.tolist(), resampling),
        cer=rate(counted.character_errors.tolist(), counted.characters.tolist(), resampling),
        words=int(counted.words.sum()),
        hits=int(counted.hits.sum()),
        substitutions=int(counted.substitutions.sum()),
        deletions=int(counted.deletions.sum()),
        insertions=int(counted.insertions.sum()),
        mer=Rate(mer.value, mer.low, min(mer.high, 1.0)),
        wil=information_lost(counted.hits.tolist(), counted.words.tolist(), counted.heard.tolist(), resampling),
    )
