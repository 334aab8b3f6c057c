"""Long recordings scored by their segments: the errors of the whole alignment, each given to the segment it falls into.

A recording is aligned once as a whole, so a word that a system recognises a segment too late costs what it costs in the
whole, the sums are those of the whole, and no time stamp of a system is needed. Where recordings are too few to draw
from, their rates and comparisons are over segments.
"""

from collections.abc import Sequence
from dataclasses import replace

from rapidfuzz.distance import Levenshtein

from benchmark.results import Metric, Sample, Scores
from benchmark.scoring.counts import Normaliser, UtteranceCounts, scores_of
from benchmark.scoring.scripts import spaced_characters
from finetune.metrics import FEWEST_GROUPS, resample
from finetune.metrics.error_rates import character_distance

UNIT = "segment"  # CorpusFacts.resampling_unit where segments are drawn


def counts_by_segment(
    samples: Sequence[Sample], normaliser: Normaliser, metric: Metric = "wer"
) -> tuple[list[Sample], UtteranceCounts]:
    """The segments of the samples that have any, as samples without texts, and their counts in the same order.

    Where the metric is the CER, of a script without spaces between words, character errors are of an alignment by
    characters without white space.
    """
    rows: list[tuple[int, ...]] = []
    of_characters: list[tuple[int, ...]] = []
    segments: list[Sample] = []
    for sample in samples:
        if sample.segments:
            texts = [normaliser.profile(segment.text) for segment in sample.segments]
            hypothesis = normaliser.hypothesis(sample)
            own = errors_by_segment(texts, hypothesis)
            if metric == "cer":
                spelled = errors_by_segment(list(map(spaced_characters, texts)), spaced_characters(hypothesis))
                characters = [(*edits, sum(edits[1:]), sum(edits[:3])) for *edits, _, _ in spelled]
                own = [(*words, *of[4:]) for (*words, _, _), of in zip(own, characters, strict=True)]
                of_characters += characters
            rows += own
            segments += [
                replace(sample, id=f"{sample.id}, segment {number}", reference="", hypothesis="", segments=())
                for number in range(1, len(texts) + 1)
            ]
    by_character = UtteranceCounts.from_rows(of_characters) if metric == "cer" else None
    return segments, UtteranceCounts.from_rows(rows, by_character)


def needs_segments(samples: Sequence[Sample]) -> bool:
    """Whether recordings and speakers are too few for an interval (under FEWEST_GROUPS), but all have segments."""
    resampling = resample([sample.speaker for sample in samples], seed=0, draws=1)
    return resampling.n_groups < FEWEST_GROUPS and all(len(sample.segments) > 1 for sample in samples)


def score_segments(
    samples: Sequence[Sample], normaliser: Normaliser, seed: int, metric: Metric = "wer"
) -> Scores | None:
    """Rates over the segments of all recordings that have any; None where none has.

    Speakers are drawn where recordings name enough of them, segments elsewhere.
    """
    segments, counts = counts_by_segment(samples, normaliser, metric)
    if not segments:
        return None
    return scores_of(counts, resample([segment.speaker for segment in segments], seed=seed))


def errors_by_segment(segments: Sequence[str], hypothesis: str) -> list[tuple[int, ...]]:
    """Hits, substitutions, deletions, insertions, character errors and characters of each segment.

    segments: normalised reference texts in order. hypothesis: the normalised text of the whole recording. An inserted
    word belongs to the segment of the reference word before it; one before the first word to the first segment that has
    words (where none has, to the first).

    >>> [row[:4] for row in errors_by_segment(["a b", "c d"], "a x b y d")]
    [(2, 0, 0, 1), (1, 1, 0, 0)]
    """
    owned = [(word, index) for index, text in enumerate(segments) for word in text.split()]
    reference_words, hypothesis_words = [word for word, _ in owned], hypothesis.split()
    counts = [[0, 0, 0, 0] for _ in segments]
    hypotheses: list[list[str]] = [[] for _ in segments]
    first_owner = owned[0][1] if owned else 0
    for chunk in Levenshtein.opcodes(reference_words, hypothesis_words):
        if chunk.tag == "insert":
            owner = owned[chunk.src_start - 1][1] if chunk.src_start else first_owner
            counts[owner][3] += chunk.dest_end - chunk.dest_start
            hypotheses[owner] += hypothesis_words[chunk.dest_start : chunk.dest_end]
            continue
        for offset in range(chunk.src_end - chunk.src_start):
            owner = owned[chunk.src_start + offset][1]
            counts[owner][("equal", "replace", "delete").index(chunk.tag)] += 1
            if chunk.tag != "delete":
                hypotheses[owner].append(hypothesis_words[chunk.dest_start + offset])
    return [
        (*own, *character_distance(text, " ".join(words)))
        for own, text, words in zip(counts, segments, hypotheses, strict=True)
    ]
