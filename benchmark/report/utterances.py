"""The utterances of a run with every system's words: aligned, ranked by their errors, and along long recordings.

Word errors are counted here only to draw their distribution, to rank utterances and to draw WER over time; the rates
of the table are the summary's.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from benchmark.results import CLEAN, Sample, Summary
from benchmark.scoring.segments import errors_by_segment
from benchmark.scoring.words import Token, hypothesis_tokens
from finetune.metrics.word_alignment import Alignment, Piece, align
from preprocessing.errors import InputError, counted

MAX_RECORDINGS = 3  # long recordings that are drawn, the longest ones
MAX_STRETCHES = 40  # of one recording
MIN_STRETCH_SECONDS = 60.0
MIN_SEGMENTS = 4  # of a recording that is drawn


@dataclass(frozen=True, slots=True)
class AlignedSample:
    """One system's sample of an utterance, and its alignment with the reference under the first text profile.

    tokens: of the words of the alignment's hypothesis, in order, where the system gave words with times.
    """

    sample: Sample
    alignment: Alignment
    tokens: Sequence[Token | None] = ()

    @property
    def parts(self) -> list[tuple[Piece, Sequence[Token | None]]]:
        """The pieces of the alignment, each with the tokens of its hypothesis; none where there are no words."""
        found, place = [], 0
        for piece in self.alignment.pieces:
            found.append((piece, self.tokens[place : place + len(piece.hypothesis)]))
            place += len(piece.hypothesis)
        return found


@dataclass(frozen=True, slots=True)
class ComparedUtterance:
    """One utterance under one condition; `by_system` is keyed by system name, in the summary's order."""

    id: str
    condition: str
    by_system: Mapping[str, AlignedSample]

    @property
    def first(self) -> Sample:
        """The first system's sample; reference, duration, speaker and file are the same in all of them."""
        return next(iter(self.by_system.values())).sample


@dataclass(frozen=True, slots=True)
class WerOverTime:
    """A long recording in equal stretches. wers: by system, one for each stretch; NaN where nothing is said in it."""

    id: str
    stretch_seconds: float
    wers: Mapping[str, tuple[float, ...]]


def compare_utterances(
    summary: Summary, samples: Sequence[Sample], normalise: Callable[[str], str]
) -> list[ComparedUtterance]:
    """Every utterance with every system's aligned sample, in the order of the samples.

    Raises InputError when a sample's system is not in the summary, since the two are then of different runs.
    """
    names = [system.facts.name for system in summary.systems]
    normalise = cache(normalise)
    grouped: dict[tuple[str, str], dict[str, AlignedSample]] = {}
    for sample in samples:
        if sample.system not in names:
            raise InputError(
                f"samples.jsonl names the system {sample.system!r}, summary.json only {', '.join(names) or 'none'}; "
                "expected both files of one run: report a folder as its run left it"
            )
        tokens = hypothesis_tokens(sample, normalise) if sample.words else ()
        aligned = AlignedSample(sample, align(sample.reference, sample.hypothesis, normalise), tokens)
        grouped.setdefault((sample.id, sample.condition), {})[sample.system] = aligned
    return [
        ComparedUtterance(id, condition, {name: aligned[name] for name in names if name in aligned})
        for (id, condition), aligned in grouped.items()
    ]


def worst_utterances(utterances: Sequence[ComparedUtterance], count: int) -> list[ComparedUtterance]:
    """At most `count` utterances with word errors, ranked by the errors of the system that makes most of them.

    Errors rank, not rates: they weigh in the score, and a one-word utterance does not lead the list. Samples that a
    system failed on do not rank an utterance, as there is no hypothesis to read.
    """
    with_errors = [utterance for utterance in utterances if max_errors(utterance) > 0]
    return sorted(with_errors, key=lambda one: (-max_errors(one), one.id, one.condition))[:count]


def max_errors(utterance: ComparedUtterance) -> int:
    """Word errors of the system that makes most of them; failed samples do not count."""
    return max(
        (one.alignment.counts.errors for one in utterance.by_system.values() if one.sample.error is None), default=0
    )


def recount_warnings(summary: Summary, utterances: Sequence[ComparedUtterance]) -> list[str]:
    """A sentence for each system whose word errors on clean speech, counted again here, are not those of the summary.

    They differ when the text profile has changed since the run or a file was edited. The summary may count utterances
    without any reference word or leave them out; both counts are accepted.
    """
    warnings: list[str] = []
    for system in summary.systems:
        name, profile = system.facts.name, summary.profiles[0]
        scores = system.scores.get(profile.name)
        if scores is None:
            continue
        clean = [one.by_system for one in utterances if one.condition == CLEAN and name in one.by_system]
        own = [by_system[name].alignment.counts for by_system in clean]
        shown = sum(counts.errors for counts in own)
        in_speech = sum(counts.errors for counts in own if counts.reference_length)
        scored = scores.substitutions + scores.deletions + scores.insertions
        if scored not in (shown, in_speech):
            warnings.append(
                f"{name}: the {summary.error_unit}s below have {counted(shown, 'error')}, the table counts {scored:,}. "
                f"The text profile {profile.name} has changed since version {profile.version}, or the files were "
                "edited."
            )
    return warnings


def wer_over_time(utterances: Sequence[ComparedUtterance], normalise: Callable[[str], str]) -> list[WerOverTime]:
    """WER along the MAX_RECORDINGS longest clean recordings of MIN_SEGMENTS segments or more, in the results' order."""
    long = [one for one in utterances if one.condition == CLEAN and len(one.first.segments) >= MIN_SEGMENTS]
    longest = sorted(long, key=lambda one: -one.first.audio_seconds)[:MAX_RECORDINGS]
    return [_over_time(one, normalise) for one in long if one in longest]


def _over_time(utterance: ComparedUtterance, normalise: Callable[[str], str]) -> WerOverTime:
    """Errors of each segment go to the stretch that holds the segment's middle."""
    seconds = utterance.first.audio_seconds
    stretch = max(MIN_STRETCH_SECONDS, 60.0 * math.ceil(seconds / MAX_STRETCHES / 60.0))
    n_stretches = max(math.ceil(seconds / stretch), 1)
    wers = {}
    for name, aligned in utterance.by_system.items():
        sample = aligned.sample
        hypothesis = "" if sample.error is not None else normalise(sample.hypothesis)
        words, errors = [0] * n_stretches, [0] * n_stretches
        texts = [normalise(segment.text) for segment in sample.segments]
        counts = errors_by_segment(texts, hypothesis, normalise(sample.reference))
        for segment, own in zip(sample.segments, counts, strict=True):
            middle = 0.5 * (segment.start + segment.stop) - sample.start
            index = min(int(max(middle, 0.0) / stretch), n_stretches - 1)
            words[index] += own.words.reference_length
            errors[index] += own.words.errors
        wers[name] = tuple(e / w if w else math.nan for e, w in zip(errors, words, strict=True))
    return WerOverTime(utterance.id, stretch, wers)
