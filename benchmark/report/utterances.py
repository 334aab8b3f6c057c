"""Samples put side by side: the same utterance, under the same condition, through every system.

Word errors are counted here only to draw their distribution and to find the worst; the scores of the table are the
summary's own.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from benchmark.report.quantities import counted
from benchmark.report.verdict import CLEAN
from benchmark.results import Sample, Summary
from benchmark.scoring.segments import by_segment
from finetune.metrics.word_alignment import Alignment, align
from preprocessing.cli.errors import InputError

__all__ = ["CLEAN", "Outcome", "Utterance", "most_errors", "recount_notes", "side_by_side", "worst_first"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one system made of one utterance."""

    sample: Sample
    alignment: Alignment


@dataclass(frozen=True, slots=True)
class Utterance:
    """One utterance under one condition; `outcomes` is keyed by system name, in the summary's order."""

    id: str
    condition: str
    outcomes: Mapping[str, Outcome]

    @property
    def first(self) -> Sample:
        """Any one of the samples: reference, duration and origin are the same in all."""
        return next(iter(self.outcomes.values())).sample


def side_by_side(summary: Summary, samples: Sequence[Sample], normalise: Callable[[str], str]) -> list[Utterance]:
    """Every utterance with what each system made of it, in the order of the samples.

    Raises InputError when a sample's system is not in the summary: the two are then of different runs.
    """
    names = [system.facts.name for system in summary.systems]
    normalise = cache(normalise)
    grouped: dict[tuple[str, str], dict[str, Outcome]] = {}
    for sample in samples:
        if sample.system not in names:
            raise InputError(
                f"samples name the system {sample.system!r}, the summary only {', '.join(names) or 'none'}: "
                "the two files are of different runs; report a folder as one run left it"
            )
        outcome = Outcome(sample, align(sample.reference, sample.hypothesis, normalise))
        grouped.setdefault((sample.id, sample.condition), {})[sample.system] = outcome
    return [
        Utterance(id, condition, {name: outcomes[name] for name in names if name in outcomes})
        for (id, condition), outcomes in grouped.items()
    ]


def worst_first(utterances: Sequence[Utterance], count: int) -> list[Utterance]:
    """The `count` utterances on which one system made the most word errors, most first; those without errors left out.

    Errors, not rates: these weigh most in the score, and a one-word utterance does not lead the list. What a system
    failed on does not rank an utterance, as there is no hypothesis to read.
    """

    wrong = [utterance for utterance in utterances if most_errors(utterance) > 0]
    return sorted(wrong, key=lambda utterance: (-most_errors(utterance), utterance.id, utterance.condition))[:count]


def most_errors(utterance: Utterance) -> int:
    """Word errors of the system that made most of them; failures do not count."""
    heard = (outcome for outcome in utterance.outcomes.values() if outcome.sample.error is None)
    return max((outcome.alignment.errors for outcome in heard), default=0)


def recount_notes(summary: Summary, utterances: Sequence[Utterance]) -> list[str]:
    """A sentence for each system whose errors, counted again for display, are not those of the summary.

    Counted are utterances of clean speech, with or without those in which nothing is said.
    That happens when the text profile has changed since the run, or the files were edited.
    """
    notes = []
    for system in summary.systems:
        name, profile = system.facts.name, summary.profiles[0]
        scores = system.scores.get(profile.name)
        if scores is None:
            continue
        own = [row.outcomes[name].alignment for row in utterances if row.condition == CLEAN and name in row.outcomes]
        shown = sum(alignment.errors for alignment in own)
        in_speech = sum(alignment.errors for alignment in own if alignment.words)
        scored = scores.substitutions + scores.deletions + scores.insertions
        if scored not in (shown, in_speech):
            notes.append(
                f"{name}: the words below have {counted(shown, 'error')}, the table counts {scored:,}. The text "
                f"profile {profile.name} has changed since version {profile.version}, or the files were edited."
            )
    return notes


MOST_RECORDINGS = 3  # that are drawn, the longest ones
MOST_STRETCHES = 40
LEAST_SECONDS = 60.0  # of a stretch
LEAST_SEGMENTS = 4  # of a recording worth drawing


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording in equal stretches. wers: by system, a rate a stretch; NaN where nothing was said in it."""

    id: str
    stretch_seconds: float
    wers: Mapping[str, tuple[float, ...]]


def along_time(utterances: Sequence[Utterance], normalise: Callable[[str], str]) -> list[Recording]:
    """Of the longest recordings that have segments, in the results' order."""
    long = [one for one in utterances if one.condition == CLEAN and len(one.first.segments) >= LEAST_SEGMENTS]
    longest = sorted(long, key=lambda one: -one.first.audio_seconds)[:MOST_RECORDINGS]
    return [_recording(one, normalise) for one in long if one in longest]


def _recording(utterance: Utterance, normalise: Callable[[str], str]) -> Recording:
    seconds = utterance.first.audio_seconds
    stretch = max(LEAST_SECONDS, 60.0 * math.ceil(seconds / MOST_STRETCHES / 60.0))
    n_stretches = max(math.ceil(seconds / stretch), 1)
    wers = {}
    for name, outcome in utterance.outcomes.items():
        words, errors = [0] * n_stretches, [0] * n_stretches
        counts = by_segment([normalise(one.text) for one in outcome.sample.segments], _heard(outcome.sample, normalise))
        for segment, (hits, substituted, deleted, inserted, *_) in zip(outcome.sample.segments, counts, strict=True):
            place = min(int(0.5 * (segment.start + segment.stop) / stretch), n_stretches - 1)
            words[place] += hits + substituted + deleted
            errors[place] += substituted + deleted + inserted
        wers[name] = tuple(e / w if w else math.nan for e, w in zip(errors, words, strict=True))
    return Recording(utterance.id, stretch, wers)


def _heard(sample: Sample, normalise: Callable[[str], str]) -> str:
    return "" if sample.error is not None else normalise(sample.hypothesis)
