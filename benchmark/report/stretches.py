"""Long recordings along their time: the word error rate of one stretch after another, from errors of segments."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmark.report.utterances import CLEAN, Utterance
from benchmark.results import Sample
from benchmark.scoring.segments import by_segment

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
