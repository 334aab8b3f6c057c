"""Where speech is in a recording, and where to cut it: spans by Silero VAD, and a partition at pauses.

What judges each window is `preprocessing.segment.voice_activity`, or any function of the caller's. The hysteresis is that of the
silero-vad package. Fixed chunks are in `preprocessing.segment`.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from preprocessing.audio import SAMPLE_RATE
from preprocessing.cli.errors import InputError, UsageError

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


WINDOW = 512  # samples that one probability speaks of: 32 ms
CONTEXT = 64  # samples before a window that the network sees as well
BLOCK_WINDOWS = 2_048  # through the convolutions at once, about a minute: memory does not grow with the recording
ARCHIVE_NAMES = {
    "stft.forward_basis_buffer": "stft_conv.weight",
    **{f"encoder.{n}.reparam_conv.{part}": f"conv{n + 1}.{part}" for n in range(4) for part in ("weight", "bias")},
    **{f"decoder.rnn.{part}": f"lstm.{part}_l0" for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")},
    "decoder.decoder.2.weight": "final_conv.weight",
    "decoder.decoder.2.bias": "final_conv.bias",
}


class SileroVad(nn.Module):
    """Speech probability of each window of 512 samples, the last one filled up with zeros; 16 kHz only."""

    def __init__(self) -> None:
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 258, 256, stride=128, bias=False)
        self.conv1 = nn.Conv1d(129, 128, 3, padding=1)
        self.conv2 = nn.Conv1d(128, 64, 3, stride=2, padding=1)
        self.conv3 = nn.Conv1d(64, 64, 3, stride=2, padding=1)
        self.conv4 = nn.Conv1d(64, 128, 3, padding=1)
        self.lstm = nn.LSTM(128, 128, batch_first=True)
        self.final_conv = nn.Conv1d(128, 1, 1)

    @classmethod
    def pretrained(cls) -> "SileroVad":
        """With the weights of the installed silero-vad. Raises InputError where it is missing."""
        archive = torch.jit.load(silero_archive(), map_location="cpu")  # type: ignore[no-untyped-call]
        weights = archive._model.state_dict()  # the 16 kHz one of two
        network = cls()
        network.load_state_dict({ours: weights[theirs] for theirs, ours in ARCHIVE_NAMES.items()})
        return network.eval()

    @torch.inference_mode()
    def forward(self, waveform: Tensor) -> Tensor:
        """waveform: [samples]. Returns [windows] in float32."""
        n_windows = -(-waveform.numel() // WINDOW)
        padded = functional.pad(waveform, (CONTEXT, n_windows * WINDOW - waveform.numel()))
        windows = padded.unfold(0, WINDOW + CONTEXT, WINDOW)
        probabilities, state = [waveform.new_zeros(0)], None
        with _one_thread():
            for first in range(0, n_windows, BLOCK_WINDOWS):
                hidden, state = self.lstm(self._encode(windows[first : first + BLOCK_WINDOWS])[None], state)
                probabilities.append(self.final_conv(hidden[0, :, :, None].relu()).sigmoid().flatten())
        return torch.cat(probabilities)

    def _encode(self, windows: Tensor) -> Tensor:
        """Windows with their context [windows, samples] -> [windows, 128]."""
        spectrum = self.stft_conv(functional.pad(windows, (0, 64), mode="reflect")[:, None])
        magnitude = (spectrum[:, :129].square() + spectrum[:, 129:].square()).sqrt()
        hidden = self.conv2(self.conv1(magnitude).relu()).relu()
        encoded: Tensor = self.conv4(self.conv3(hidden).relu()).relu()
        return encoded.squeeze(-1)


@contextmanager
def _one_thread() -> Iterator[None]:
    """The steps of the recurrence are too small to share: on a busy machine two threads are ten times slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def silero_archive() -> Path:
    """Where the silero-vad wheel's TorchScript lies. Raises InputError where it is not installed."""
    package = find_spec("silero_vad")  # found, not imported
    if package is None or package.origin is None:
        raise InputError("silero-vad is not installed; expected it for voice activity: pip install silero-vad")
    path = Path(package.origin).parent / "data" / "silero_vad.jit"
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected silero-vad 6.2 or newer: upgrade it")
    return path


@lru_cache(maxsize=1)
def silero() -> SileroVad:
    """The network, read once."""
    return SileroVad.pretrained()
