"""Where speech is in a recording, and where to cut it: spans by Silero VAD, and a partition at pauses.

What judges each window is `preprocessing.silero`, or any function of the caller's. The hysteresis is that of the
silero-vad package. Fixed chunks are in `preprocessing.segment`.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from torch import Tensor
from torch.nn import functional

from preprocessing.audio import SAMPLE_RATE
from preprocessing.errors import UsageError
from preprocessing.silero import WINDOW, silero

RELEASE = 0.15  # speech ends when its probability falls so far below the threshold at which it began, as Silero's does
LOUDNESS_HOP = 160  # samples: 10 ms
SHORTEST_PIECE_SECONDS = 0.5

SpeechProbability: TypeAlias = Callable[[Tensor], Tensor]  # waveform [samples] -> [ceil(samples / WINDOW)], 0 to 1


@dataclass(frozen=True, slots=True)
class Span:
    """Samples [start, stop) of a recording, and whether there is speech in it."""

    start: int
    stop: int
    speech: bool = True


def speech_spans(
    waveform: Tensor,
    probability: SpeechProbability | None = None,
    *,
    threshold: float = 0.5,
    min_speech_seconds: float = 0.25,
    min_pause_seconds: float = 0.1,
    margin_seconds: float = 0.03,
) -> list[Span]:
    """Where speech is, in order and apart from each other.

    waveform: [samples] at 16 kHz; probability: what judges each window, Silero VAD by default.
    threshold: speech begins at this probability and ends RELEASE below it, when it stays there for min_pause_seconds.
    min_speech_seconds: what is shorter is none. margin_seconds: added either side, no further than half a pause.
    The defaults are Silero's.
    """
    return spans_of(
        _judge(waveform, probability).tolist(),
        waveform.numel(),
        threshold=threshold,
        min_speech_seconds=min_speech_seconds,
        min_pause_seconds=min_pause_seconds,
        margin_seconds=margin_seconds,
    )


def spans_of(
    probabilities: Sequence[float],
    n_samples: int,
    *,
    threshold: float = 0.5,
    min_speech_seconds: float = 0.25,
    min_pause_seconds: float = 0.1,
    margin_seconds: float = 0.03,
) -> list[Span]:
    """`speech_spans` from probabilities [windows] that are there already."""
    if not 0.0 < threshold <= 1.0 or min(min_speech_seconds, min_pause_seconds, margin_seconds) < 0.0:
        raise UsageError(
            f"speech: threshold {threshold:g}, seconds {min_speech_seconds:g}, {min_pause_seconds:g}, "
            f"{margin_seconds:g}; expected a threshold above 0 and up to 1, and seconds from 0 up: mend it"
        )
    heard = [
        (start, stop)
        for start, stop in _bursts(probabilities, n_samples, threshold, round(min_pause_seconds * SAMPLE_RATE))
        if stop - start > min_speech_seconds * SAMPLE_RATE
    ]
    margin = round(margin_seconds * SAMPLE_RATE)
    spans = []
    for number, (start, stop) in enumerate(heard):
        before = start - heard[number - 1][1] if number else 2 * start
        after = heard[number + 1][0] - stop if number + 1 < len(heard) else 2 * (n_samples - stop)
        spans.append(Span(start - min(margin, before // 2), stop + min(margin, after // 2)))
    return spans


def _bursts(
    probabilities: Sequence[float], n_samples: int, threshold: float, min_pause: int
) -> Iterator[tuple[int, int]]:
    """Stretches of speech by hysteresis, pauses shorter than min_pause samples bridged."""
    release = max(threshold - RELEASE, 0.01)
    start: int | None = None
    quiet_from: int | None = None
    for window, probability in enumerate(probabilities):
        now = window * WINDOW
        if probability >= threshold:
            quiet_from = None
            start = now if start is None else start
        elif probability < release and start is not None:
            quiet_from = now if quiet_from is None else quiet_from
            if now - quiet_from >= min_pause:
                yield start, quiet_from
                start = quiet_from = None
    if start is not None:
        yield start, n_samples


def segments(
    waveform: Tensor,
    max_seconds: float,
    probability: SpeechProbability | None = None,
    *,
    threshold: float = 0.5,
) -> list[Span]:
    """A partition of the recording into pieces of at most max_seconds, cut where nobody speaks.

    A cut is in the middle of the longest pause that a piece of half to whole max_seconds can end in; else of the last
    pause before; and where there is none, at the quietest place in that half. Nothing is lost or doubled. A piece's
    `speech` says whether `speech_spans` finds any in it.
    waveform: [samples] at 16 kHz. Raises UsageError where max_seconds is below 0.5.
    """
    if not max_seconds >= SHORTEST_PIECE_SECONDS:
        raise UsageError(f"max_seconds is {max_seconds:g}; expected {SHORTEST_PIECE_SECONDS:g} or more: raise it")
    return pieces(waveform, speech_spans(waveform, probability, threshold=threshold), max_seconds)


def pieces(waveform: Tensor, speech: Sequence[Span], max_seconds: float) -> list[Span]:
    """`segments` where the speech [samples] has been found already, in order."""
    n_samples, longest = waveform.numel(), int(min(max_seconds * SAMPLE_RATE, 2**62))
    if n_samples == 0:
        return []
    edges = [0, *(edge for span in speech for edge in (span.start, span.stop)), n_samples]
    pauses = [(start, stop) for start, stop in zip(edges[::2], edges[1::2], strict=True) if stop > start]
    starts, stops = [start for start, _ in pauses], [stop for _, stop in pauses]
    loudness = _loudness(waveform)
    cuts = [0]
    while n_samples - cuts[-1] > longest:
        begin = cuts[-1]
        nearest, furthest = begin + (longest + 1) // 2, begin + longest
        near = pauses[bisect_left(stops, nearest) : bisect_left(starts, furthest)]
        earliest = begin + longest // 10  # an earlier cut makes a scrap and brings nothing
        early = pauses[bisect_left(stops, earliest) : bisect_left(starts, nearest)]
        middles = [middle for start, stop in early if earliest <= (middle := (start + stop) // 2) < nearest]
        if near:
            start, stop = max(near, key=lambda pause: min(pause[1], furthest) - max(pause[0], nearest))
            cuts.append(min(max((start + stop) // 2, nearest), furthest))
        elif middles:
            cuts.append(middles[-1])
        else:
            cuts.append(_quietest(loudness, nearest, furthest))
    bounds = [*cuts, n_samples]
    spoken_from, spoken_to = [span.start for span in speech], [span.stop for span in speech]
    return [
        Span(start, stop, _first_after(spoken_to, start) < bisect_left(spoken_from, stop))
        for start, stop in pairwise(bounds)
    ]


def _first_after(stops: Sequence[int], sample: int) -> int:
    """The first span that ends after the sample."""
    return bisect_left(stops, sample + 1)


def _loudness(waveform: Tensor) -> Tensor:
    """Mean power over 50 ms around each 10 ms [hops]."""
    n_hops = -(-waveform.numel() // LOUDNESS_HOP)
    padded = functional.pad(waveform, (0, n_hops * LOUDNESS_HOP - waveform.numel()))
    power = padded.reshape(-1, LOUDNESS_HOP).square().mean(dim=1)
    return functional.avg_pool1d(power[None], 5, stride=1, padding=2, count_include_pad=False)[0]


def _quietest(loudness: Tensor, nearest: int, furthest: int) -> int:
    """The middle of the quietest 10 ms whose middle is between two samples."""
    half = LOUDNESS_HOP // 2
    first, last = -(-(nearest - half) // LOUDNESS_HOP), (furthest - half) // LOUDNESS_HOP
    return (first + int(loudness[first : last + 1].argmin())) * LOUDNESS_HOP + half


def _judge(waveform: Tensor, probability: SpeechProbability | None) -> Tensor:
    judged = (silero() if probability is None else probability)(waveform)
    expected = -(-waveform.numel() // WINDOW)
    if judged.shape != (expected,):
        raise ValueError(
            f"speech probability is {list(judged.shape)}; expected [{expected}], one each {WINDOW} samples"
        )
    return judged
