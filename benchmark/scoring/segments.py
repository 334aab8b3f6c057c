"""Long recordings scored by their segments: the errors of the whole alignment, each given to the segment it falls into.

A recording is normalised and aligned as a whole, so a word that a system recognises a segment too late costs what it
costs in the whole, the sums are those of the whole, and no time stamp of a system is needed. Where recordings are too
few to draw from, their rates and comparisons are over segments.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rapidfuzz.distance import Levenshtein

from benchmark.results import Metric, Sample, Scores
from benchmark.scoring.counts import Normaliser, UtteranceCounts, scores_of
from finetune.metrics import FEWEST_GROUPS, resample
from finetune.metrics.error_rates import ErrorCounts
from preprocessing.text.languages import spaced_characters

UNIT = "segment"  # CorpusFacts.resampling_unit where segments are drawn


@dataclass(frozen=True, slots=True)
class SegmentErrors:
    """Errors of one segment of a recording, over words and over characters, single spaces between words included."""

    words: ErrorCounts
    characters: ErrorCounts


def counts_by_segment(
    samples: Sequence[Sample], normaliser: Normaliser, metric: Metric = "wer"
) -> tuple[list[Sample], UtteranceCounts]:
    """The segments of the samples that have any, as samples without texts, and their counts in the same order.

    Where the metric is the CER, of a script without spaces between words, character errors are of an alignment by
    characters without white space.
    """
    errors: list[SegmentErrors] = []
    characters: list[ErrorCounts] = []  # of a script without spaces
    segments: list[Sample] = []
    for sample in samples:
        if sample.segments:
            texts = [normaliser.profile(segment.text) for segment in sample.segments]
            whole, hypothesis = normaliser.pair(sample)
            errors += errors_by_segment(texts, hypothesis, whole)
            if metric == "cer":
                by_character = errors_by_segment(
                    list(map(spaced_characters, texts)), spaced_characters(hypothesis), spaced_characters(whole)
                )
                characters += [one.words for one in by_character]
            segments += [
                replace(sample, id=f"{sample.id}, segment {number}", reference="", hypothesis="", segments=())
                for number in range(1, len(texts) + 1)
            ]
    words = [one.words for one in errors]
    if metric == "cer":
        return segments, UtteranceCounts.of_unspaced_script(words, characters)
    return segments, UtteranceCounts.of_errors(words, [one.characters for one in errors])


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


def errors_by_segment(segments: Sequence[str], hypothesis: str, whole: str | None = None) -> list[SegmentErrors]:
    """The errors of each segment, of an alignment of the whole recording.

    segments: normalised reference texts in order. hypothesis: the normalised text of the whole recording. whole: the
    normalised reference of the whole recording, which is not that of the segments where a number begins in one and ends
    in the next; None joins the segments. An inserted word or character belongs to the segment of what is before it in
    the reference; one before the first word to the first segment that has words (where none has, to the first). Errors
    and lengths of all segments sum up to those of the recording.

    >>> for segment in errors_by_segment(["a b", "c d"], "a x b y d"):
    ...     print(segment.words)
    ErrorCounts(hits=2, substitutions=0, deletions=0, insertions=1)
    ErrorCounts(hits=1, substitutions=1, deletions=0, insertions=0)
    """
    words = [word for text in segments for word in text.split()]
    owners = [index for index, text in enumerate(segments) for _ in text.split()]
    if whole is not None and (of_whole := whole.split()) != words:
        words, owners = of_whole, _owners_in_whole(words, owners, of_whole)
    spelled = [f"{word} " for word in words[:-1]] + words[-1:]
    by_word = _edits_by_segment(words, hypothesis.split(), owners, len(segments))
    owners_of_characters = [owner for word, owner in zip(spelled, owners, strict=True) for _ in word]
    by_character = _edits_by_segment(
        "".join(spelled), " ".join(hypothesis.split()), owners_of_characters, len(segments)
    )
    return [SegmentErrors(*pair) for pair in zip(by_word, by_character, strict=True)]


def _owners_in_whole(words: Sequence[str], owners: Sequence[int], whole: Sequence[str]) -> list[int]:
    """The segment of each word of the whole text, from the words of the segments and theirs."""
    found = [0] * len(whole)
    for chunk in Levenshtein.opcodes(words, whole):
        for place in range(chunk.dest_start, chunk.dest_end):
            source = chunk.src_start - 1 if chunk.tag == "insert" else chunk.src_start + place - chunk.dest_start
            found[place] = owners[max(source, 0)] if owners else 0
    return found


def _edits_by_segment(
    reference: Sequence[str], hypothesis: Sequence[str], owners: Sequence[int], n_segments: int
) -> list[ErrorCounts]:
    """Counts of each segment. owners: the segment of each reference element."""
    counts = [[0, 0, 0, 0] for _ in range(n_segments)]  # as the fields of ErrorCounts
    for chunk in Levenshtein.opcodes(reference, hypothesis):
        if chunk.tag == "insert":
            owner = owners[max(chunk.src_start - 1, 0)] if owners else 0
            counts[owner][3] += chunk.dest_end - chunk.dest_start
            continue
        kind = ("equal", "replace", "delete").index(chunk.tag)
        for owner in owners[chunk.src_start : chunk.src_end]:
            counts[owner][kind] += 1
    return [ErrorCounts(*own) for own in counts]
