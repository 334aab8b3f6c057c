"""Long recordings by their segments: errors of the whole's alignment, given to the segment in which they happened.

The whole is aligned once, so a word that a system heard a segment too late costs what it costs in the whole, the sums
are those of the whole, and nothing depends on times that a system reports. Where recordings are too few to draw from,
rates and comparisons are over their segments.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from rapidfuzz.distance import Levenshtein

from benchmark.results import Sample, Scores
from benchmark.scoring.counts import Counted, Normaliser, scores_of
from finetune.metrics import FEWEST_GROUPS, resample
from finetune.metrics.error_rates import character_distance

UNIT = "segment"


def counts_by_segment(samples: Sequence[Sample], normaliser: Normaliser) -> tuple[list[Sample], Counted]:
    """The segments of the samples that have any, as samples without texts of their own, and their counts."""
    rows: list[tuple[int, ...]] = []
    segments: list[Sample] = []
    for sample in samples:
        if sample.segments:
            texts = [normaliser.profile(segment.text) for segment in sample.segments]
            rows += by_segment(texts, normaliser.hypothesis(sample))
            segments += [
                replace(sample, id=f"{sample.id}, segment {number}", reference="", hypothesis="", segments=())
                for number in range(1, len(texts) + 1)
            ]
    return segments, Counted(*np.array(rows, dtype=np.int64).reshape(-1, 6).T)


def too_few(samples: Sequence[Sample]) -> bool:
    """Whether there are too few recordings and speakers for an interval, but segments in each of them."""
    drawn = resample([sample.speaker for sample in samples], seed=0, draws=1)
    return drawn.n_groups < FEWEST_GROUPS and all(len(sample.segments) > 1 for sample in samples)


def score_segments(samples: Sequence[Sample], normaliser: Normaliser, seed: int) -> Scores | None:
    """Rates over the segments of all recordings that have any; None where none has.

    Drawn are speakers where recordings name enough of them, segments elsewhere.
    """
    segments, counted = counts_by_segment(samples, normaliser)
    if not segments:
        return None
    return scores_of(counted, resample([segment.speaker for segment in segments], seed=seed))


def by_segment(segments: Sequence[str], hypothesis: str) -> list[tuple[int, ...]]:
    """Hits, substitutions, deletions, insertions, character errors and characters of each segment.

    segments: normalised texts in order. An inserted word belongs to the segment of the reference word before it, one
    before the first word to the first segment that has words (where none has, to the first).

    >>> [row[:4] for row in by_segment(["a b", "c d"], "a x b y d")]
    [(2, 0, 0, 1), (1, 1, 0, 0)]
    """
    said = [(word, index) for index, text in enumerate(segments) for word in text.split()]
    words, heard = [word for word, _ in said], hypothesis.split()
    counts = [[0, 0, 0, 0] for _ in segments]
    heard_in: list[list[str]] = [[] for _ in segments]
    first = said[0][1] if said else 0
    for chunk in Levenshtein.opcodes(words, heard):
        if chunk.tag == "insert":
            owner = said[chunk.src_start - 1][1] if chunk.src_start else first
            counts[owner][3] += chunk.dest_end - chunk.dest_start
            heard_in[owner] += heard[chunk.dest_start : chunk.dest_end]
            continue
        for offset in range(chunk.src_end - chunk.src_start):
            owner = said[chunk.src_start + offset][1]
            counts[owner][("equal", "replace", "delete").index(chunk.tag)] += 1
            if chunk.tag != "delete":
                heard_in[owner].append(heard[chunk.dest_start + offset])
    return [
        (*own, *character_distance(text, " ".join(transcribed)))
        for own, text, transcribed in zip(counts, segments, heard_in, strict=True)
    ]
