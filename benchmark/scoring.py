"""From raw samples to rates: normalise under each profile, count errors, add an interval.

A failed utterance has an empty hypothesis, so all its words count as deleted. An empty reference has no words; what was
heard there counts as insertions.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

from benchmark.results import Comparison, Sample, Scores
from finetune.errors import ErrorCounts, character_errors, word_errors
from finetune.significance import Rate, Resampling, difference, rate, verdict
from preprocessing.text import Profile


def count_words(samples: Sequence[Sample], profile: Profile) -> list[ErrorCounts]:
    """Word errors of each sample under a profile."""
    return [word_errors(profile(sample.reference), profile(sample.hypothesis)) for sample in samples]


def score(samples: Sequence[Sample], profile: Profile, resampling: Resampling) -> Scores:
    """Rates of one system's samples under a profile; the samples are in the order of the resampling."""
    words = count_words(samples, profile)
    characters = [character_errors(profile(sample.reference), profile(sample.hypothesis)) for sample in samples]
    total = sum(words, ErrorCounts())
    return Scores(
        wer=_rate(words, resampling),
        cer=_rate(characters, resampling),
        words=total.reference_length,
        hits=total.hits,
        substitutions=total.substitutions,
        deletions=total.deletions,
        insertions=total.insertions,
    )


def compare(by_system: Mapping[str, Sequence[Sample]], profile: Profile, resampling: Resampling) -> list[Comparison]:
    """Every pair of systems over the same utterances, under one profile."""
    counts = {name: count_words(samples, profile) for name, samples in by_system.items()}
    comparisons = []
    for first, second in combinations(by_system, 2):
        paired = difference(
            [count.errors for count in counts[first]],
            [count.errors for count in counts[second]],
            [count.reference_length for count in counts[first]],
            resampling,
        )
        comparisons.append(Comparison(first, second, paired, verdict(first, second, paired)))
    return comparisons


def _rate(counts: Sequence[ErrorCounts], resampling: Resampling) -> Rate:
    return rate([count.errors for count in counts], [count.reference_length for count in counts], resampling)
