"""Edit counts of each utterance of one system under one condition and one text profile, as arrays.

A failed utterance has an empty hypothesis, so all its words count as deleted. An empty reference has no words; the
words of its hypothesis count as insertions.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmark.results import Metric, Sample, Scores
from finetune.metrics import Rate, Resampling, information_lost, rate
from finetune.metrics.error_rates import Distance, ErrorCounts, character_distance, character_errors, word_errors
from preprocessing.text import Profile

Column = NDArray[np.int64]


class Normaliser:
    """A text profile that caches references, which come again for every system and condition."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self._references: dict[str, str] = {}

    def pair(self, sample: Sample) -> tuple[str, str]:
        """The sample's reference and hypothesis, normalised."""
        return self.reference(sample), self.hypothesis(sample)

    def reference(self, sample: Sample) -> str:
        """The sample's reference, normalised; taken from the cache where it has come before."""
        reference = self._references.get(sample.reference)
        if reference is None:
            reference = self._references[sample.reference] = self.profile(sample.reference)
        return reference

    def hypothesis(self, sample: Sample) -> str:
        """The sample's hypothesis, normalised; taken from the cache where it equals a raw reference letter by letter,
        since whisper-english takes 0.2 ms for a text.
        """
        cached = self._references.get(sample.hypothesis)
        return self.profile(sample.hypothesis) if cached is None else cached


@dataclass(frozen=True)
class UtteranceCounts:
    """Counts of utterances, each column [utterances], in the order of the samples they were made of.

    characters: of the reference. by_character: the same with characters, without white space, in place of words, where
    the metric is the CER of a script without spaces between words.
    """

    hits: Column
    substitutions: Column
    deletions: Column
    insertions: Column
    character_errors: Column
    characters: Column
    by_character: "UtteranceCounts | None" = None

    @classmethod
    def of_errors(
        cls,
        words: Sequence[ErrorCounts],
        characters: Sequence[ErrorCounts | Distance],
        by_character: "UtteranceCounts | None" = None,
    ) -> "UtteranceCounts":
        """From the errors of each utterance over words and over characters."""
        rows = [
            (one.hits, one.substitutions, one.deletions, one.insertions, own.errors, own.reference_length)
            for one, own in zip(words, characters, strict=True)
        ]
        return replace(cls(*np.array(rows, dtype=np.int64).reshape(-1, 6).T), by_character=by_character)

    @classmethod
    def of_unspaced_script(cls, words: Sequence[ErrorCounts], characters: Sequence[ErrorCounts]) -> "UtteranceCounts":
        """The same where the metric is the CER; characters without white space."""
        return cls.of_errors(words, characters, by_character=cls.of_errors(characters, characters))

    @property
    def errors(self) -> Column:
        """Substitutions, deletions and insertions of each utterance."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def reference_words(self) -> Column:
        """Words of each reference."""
        return self.hits + self.substitutions + self.deletions

    @property
    def hypothesis_words(self) -> Column:
        """Words of each hypothesis."""
        return self.hits + self.substitutions + self.insertions

    def of(self, metric: Metric) -> tuple[Column, Column]:
        """The errors of each utterance that the metric counts, and its reference's length: words or characters."""
        return (self.character_errors, self.characters) if metric == "cer" else (self.errors, self.reference_words)

    def select(self, rows: Sequence[int] | Column) -> "UtteranceCounts":
        """The counts of some utterances, in the order of `rows`, their indices."""
        index = np.asarray(rows, dtype=np.int64)
        columns = [name for name in self.__dataclass_fields__ if name != "by_character"]
        chosen = UtteranceCounts(*(getattr(self, name)[index] for name in columns))
        return chosen if self.by_character is None else replace(chosen, by_character=self.by_character.select(rows))


def count_errors(pairs: Iterable[tuple[str, str]], metric: Metric = "wer") -> UtteranceCounts:
    """Counts of each pair of a reference and a hypothesis, both normalised, aligned by words and by characters.

    Where the metric is the CER, of a script without spaces between words, spaces are no characters: systems set them
    as they like.
    """
    pairs = list(pairs)
    words = [word_errors(*pair) for pair in pairs]
    if metric == "cer":
        return UtteranceCounts.of_unspaced_script(words, [character_errors(*pair, spaces=False) for pair in pairs])
    return UtteranceCounts.of_errors(words, [character_distance(*pair) for pair in pairs])


def scores_of(counts: UtteranceCounts, resampling: Resampling) -> Scores:
    """All rates of one set of utterances with their intervals; the resampling draws them in the same order.

    All but the WER and the CER are of characters where the counts have them by character.
    """
    edits = counts.by_character or counts
    mer = rate(edits.errors.tolist(), (edits.errors + edits.hits).tolist(), resampling)
    # By characters, which are without spaces where the metric is the CER; elsewhere words differ where characters do.
    is_wrong = (counts.character_errors > 0).astype(int)
    ser = rate(is_wrong.tolist(), [1] * len(is_wrong), resampling)
    hits, words, hypothesis_words = (
        column.tolist() for column in (edits.hits, edits.reference_words, edits.hypothesis_words)
    )
    return Scores(
        wer=rate(counts.errors.tolist(), counts.reference_words.tolist(), resampling),
        cer=rate(counts.character_errors.tolist(), counts.characters.tolist(), resampling),
        words=sum(words),
        hits=sum(hits),
        substitutions=int(edits.substitutions.sum()),
        deletions=int(edits.deletions.sum()),
        insertions=int(edits.insertions.sum()),
        mer=Rate(mer.value, mer.low, min(mer.high, 1.0)),
        wil=information_lost(hits, words, hypothesis_words, resampling),
        ser=Rate(ser.value, ser.low, min(ser.high, 1.0)),
    )
