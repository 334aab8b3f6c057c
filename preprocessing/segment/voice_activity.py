"""Where speech is in a recording, by Silero VAD, and where to cut it: a partition at pauses.

Spans are found with the hysteresis of the silero-vad package. The network is written here, and only its weights are the
package's, for two reasons. It runs a recording in batches of windows: 26 minutes take 2.7 s on one core, where the
package's `load_silero_vad().audio_forward` takes 32 s, window by window; probabilities differ by 2.4e-6 at most
(2026-11-28, a busy machine). And importing silero_vad sets torch to one thread for the whole process. The names of the
weights are no public interface of the package: pyproject.toml pins its minor version, and a test compares the networks.

The network misses speech far below the level that it was trained at: a quiet recording is raised for it first, by
`detector_gain`. Fixed chunks are in `preprocessing.segment`.

Source: https://github.com/snakers4/silero-vad, version 6.2.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from preprocessing.audio import SAMPLE_RATE
from preprocessing.errors import InputError, UsageError

WINDOW = 512  # samples of one probability: 32 ms
RELEASE = 0.15  # speech ends when its probability falls so far below the threshold at which it began
MIN_SPEECH_SECONDS = 0.25  # shorter stretches are left out; this and the next two are Silero's defaults
MIN_PAUSE_SECONDS = 0.1  # a shorter pause does not end a stretch
MARGIN_SECONDS = 0.03  # added to a stretch on either side, though no further than half of a pause
MIN_PIECE_SECONDS = 0.5
LOUDNESS_HOP = 160  # samples: 10 ms
LOWEST_LEVEL_DB = -40.0  # dBFS of the loudest 1 % of windows: to this a quieter waveform is raised for the detector
MAX_GAIN_DB = 50.0  # 16-bit samples that need more hold too few steps to hear speech in

_CONTEXT = 64  # samples before a window that the network sees too
BLOCK_WINDOWS = 2_048  # in one batch of the convolutions, about a minute: memory does not grow with the recording
_WEIGHT_NAMES = {  # in the package's TorchScript -> here
    "stft.forward_basis_buffer": "stft_conv.weight",
    **{f"encoder.{n}.reparam_conv.{part}": f"conv{n + 1}.{part}" for n in range(4) for part in ("weight", "bias")},
    **{f"decoder.rnn.{part}": f"lstm.{part}_l0" for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")},
    "decoder.decoder.2.weight": "final_conv.weight",
    "decoder.decoder.2.bias": "final_conv.bias",
}


@dataclass(frozen=True, slots=True)
class Span:
    """Samples [start, stop) of a recording, and whether there is speech in it."""

    start: int
    stop: int
    speech: bool = True


def speech_spans(waveform: Tensor, *, gain: float | None = None) -> list[Span]:
    """The stretches of speech in a waveform [samples] at 16 kHz, in order and apart from each other.

    gain: see `speech_probabilities`.
    """
    return spans_from_probabilities(speech_probabilities(waveform, gain=gain).tolist(), waveform.numel())


def speech_probabilities(waveform: Tensor, *, gain: float | None = None) -> Tensor:
    """Silero VAD's speech probability of each window of a waveform [samples] at 16 kHz: [ceil(samples / WINDOW)].

    gain: a factor on its input, by default `detector_gain` of the waveform; of a part of a recording, that of the
    recording, so that the noise after its last word is not raised to the level of speech.
    """
    gain = detector_gain(waveform) if gain is None else gain
    probabilities: Tensor = load_silero()(waveform if gain == 1.0 else waveform * gain)
    return probabilities


def detector_gain(waveform: Tensor) -> float:
    """The factor that raises a quiet waveform [samples] to LOWEST_LEVEL_DB, by MAX_GAIN_DB at most; 1 for any other.

    Of speech 27 dB below its usual level Silero misses 2 %, of speech 50 dB below it 77 %; noise that is raised so far
    is no more speech to it than noise as it usually is.

    >>> round(detector_gain(torch.full((16_000,), 10 ** (-60 / 20))), 3)
    10.0
    """
    gain_db = min(LOWEST_LEVEL_DB - level_db(waveform), MAX_GAIN_DB)
    return 10.0 ** (gain_db / 20.0) if gain_db > 0.0 else 1.0


def level_db(waveform: Tensor) -> float:
    """The level of the loudest 1 % of a waveform's windows, in dBFS: that of its speech, where it is not of clicks.

    waveform: [samples] at 16 kHz. The power of the quietest among these windows counts; -inf where it is 0.
    """
    power = _power(waveform, WINDOW)
    if not len(power):
        return float("-inf")
    quietest = power.kthvalue(len(power) - len(power) // 100).values
    return float(10.0 * quietest.log10())


def spans_from_probabilities(probabilities: Sequence[float], n_samples: int, *, threshold: float = 0.5) -> list[Span]:
    """`speech_spans` of a recording of `n_samples` from the probabilities [windows] that a detector gave for it.

    threshold: speech begins at this probability and ends RELEASE below it, once it stays there for MIN_PAUSE_SECONDS;
    the default is Silero's. Raises UsageError unless it is above 0 and up to 1.
    """
    if not 0.0 < threshold <= 1.0:
        raise UsageError(f"speech detection: threshold is {threshold:g}; expected one above 0 and up to 1: change it")
    bursts = [
        (start, stop)
        for start, stop in _bursts(probabilities, n_samples, threshold)
        if stop - start > MIN_SPEECH_SECONDS * SAMPLE_RATE
    ]
    margin = round(MARGIN_SECONDS * SAMPLE_RATE)
    spans = []
    for number, (start, stop) in enumerate(bursts):
        before = start - bursts[number - 1][1] if number else 2 * start
        after = bursts[number + 1][0] - stop if number + 1 < len(bursts) else 2 * (n_samples - stop)
        spans.append(Span(start - min(margin, before // 2), stop + min(margin, after // 2)))
    return spans


def split_at_pauses(waveform: Tensor, max_seconds: float, *, speech: Sequence[Span] | None = None) -> list[Span]:
    """A partition of a waveform [samples] at 16 kHz into pieces of at most `max_seconds`, cut where nobody speaks.

    A cut is in the middle of the longest pause that a piece of half to whole max_seconds can end in; else of the last
    pause before that; and where there is none, at the quietest place in that half. A piece's `speech` says whether
    there is any in it.

    speech: the stretches of speech in order, if they are known; else `speech_spans` finds them. Raises UsageError where
    max_seconds is below 0.5.
    """
    if not max_seconds >= MIN_PIECE_SECONDS:
        raise UsageError(f"max_seconds is {max_seconds:g}; expected {MIN_PIECE_SECONDS:g} or more: raise it")
    n_samples, longest = waveform.numel(), int(min(max_seconds * SAMPLE_RATE, 2**62))
    if n_samples == 0:
        return []
    if speech is None:
        speech = speech_spans(waveform)
    bounds = _bounds(waveform, speech, longest)
    starts, stops = [span.start for span in speech], [span.stop for span in speech]
    return [
        Span(start, stop, bisect_left(stops, start + 1) < bisect_left(starts, stop)) for start, stop in pairwise(bounds)
    ]


def _bounds(waveform: Tensor, speech: Sequence[Span], longest: int) -> list[int]:
    """Samples at which the pieces of at most `longest` samples begin and end, from 0 to the waveform's length."""
    n_samples = waveform.numel()
    edges = [0, *(edge for span in speech for edge in (span.start, span.stop)), n_samples]
    pauses = [(start, stop) for start, stop in zip(edges[::2], edges[1::2], strict=True) if stop > start]
    starts, stops = [start for start, _ in pauses], [stop for _, stop in pauses]
    loudness = _loudness(waveform)
    cuts = [0]
    while n_samples - cuts[-1] > longest:
        begin = cuts[-1]
        nearest, furthest = begin + (longest + 1) // 2, begin + longest
        late = pauses[bisect_left(stops, nearest) : bisect_left(starts, furthest)]
        earliest = begin + longest // 10  # an earlier cut makes a very short piece and brings nothing
        early = pauses[bisect_left(stops, earliest) : bisect_left(starts, nearest)]
        middles = [middle for start, stop in early if earliest <= (middle := (start + stop) // 2) < nearest]
        if late:
            start, stop = max(late, key=lambda pause: min(pause[1], furthest) - max(pause[0], nearest))
            cuts.append(min(max((start + stop) // 2, nearest), furthest))
        elif middles:
            cuts.append(middles[-1])
        else:
            cuts.append(_quietest(loudness, nearest, furthest))
    return [*cuts, n_samples]


def _bursts(probabilities: Sequence[float], n_samples: int, threshold: float) -> Iterator[tuple[int, int]]:
    """Stretches of speech by hysteresis, pauses shorter than MIN_PAUSE_SECONDS bridged."""
    release = max(threshold - RELEASE, 0.01)
    min_pause = round(MIN_PAUSE_SECONDS * SAMPLE_RATE)
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


def _loudness(waveform: Tensor) -> Tensor:
    """Mean power over 50 ms around each 10 ms [hops]."""
    power = _power(waveform, LOUDNESS_HOP)
    return functional.avg_pool1d(power[None], 5, stride=1, padding=2, count_include_pad=False)[0]


def _power(waveform: Tensor, hop: int) -> Tensor:
    """Mean power of each `hop` samples [ceil(samples / hop)], the last ones padded with zeros."""
    power = waveform.new_empty(-(-waveform.numel() // hop))
    for first in range(0, len(power), BLOCK_WINDOWS):
        part = waveform[first * hop : (first + BLOCK_WINDOWS) * hop]
        missing = -part.numel() % hop
        whole = functional.pad(part, (0, missing)) if missing else part
        power[first : first + BLOCK_WINDOWS] = whole.reshape(-1, hop).square().mean(dim=1)
    return power


def _quietest(loudness: Tensor, nearest: int, furthest: int) -> int:
    """The middle of the quietest 10 ms whose middle is between two samples."""
    half = LOUDNESS_HOP // 2
    first, last = -(-(nearest - half) // LOUDNESS_HOP), (furthest - half) // LOUDNESS_HOP
    return (first + int(loudness[first : last + 1].argmin())) * LOUDNESS_HOP + half


@lru_cache(maxsize=1)
def load_silero() -> "SileroVad":
    """Silero VAD, read once in a process. Raises InputError where silero-vad is not installed."""
    return SileroVad.from_package()


class SileroVad(nn.Module):
    """Silero VAD 6 at 16 kHz: the speech probability of each window of 512 samples, the last one padded with zeros."""

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
    def from_package(cls) -> "SileroVad":
        """The network with the weights of the installed silero-vad. Raises InputError where it is missing."""
        archive = torch.jit.load(silero_weights(), map_location="cpu")  # type: ignore[no-untyped-call]
        weights = archive._model.state_dict()  # of the network for 16 kHz, one of two
        network = cls()
        network.load_state_dict({here: weights[there] for there, here in _WEIGHT_NAMES.items()})
        return network.eval()

    @torch.inference_mode()
    def forward(self, waveform: Tensor) -> Tensor:
        """waveform: [samples]. Returns probabilities [ceil(samples / 512)] in float32."""
        n_windows = -(-waveform.numel() // WINDOW)
        probabilities, state = [waveform.new_zeros(0)], None
        with _one_thread():
            for first in range(0, n_windows, BLOCK_WINDOWS):
                windows = _windows(waveform, first, min(first + BLOCK_WINDOWS, n_windows))
                hidden, state = self.lstm(self._encode(windows)[None], state)
                probabilities.append(self.final_conv(hidden[0, :, :, None].relu()).sigmoid().flatten())
        return torch.cat(probabilities)

    def _encode(self, windows: Tensor) -> Tensor:
        """Windows with their context [windows, samples] -> [windows, 128]."""
        spectrum = self.stft_conv(functional.pad(windows, (0, 64), mode="reflect")[:, None])
        magnitude = (spectrum[:, :129].square() + spectrum[:, 129:].square()).sqrt()
        hidden = self.conv2(self.conv1(magnitude).relu()).relu()
        encoded: Tensor = self.conv4(self.conv3(hidden).relu()).relu()
        return encoded.squeeze(-1)


def _windows(waveform: Tensor, first: int, last: int) -> Tensor:
    """Windows first to last - 1 of a waveform with their context [windows, samples], zeros beyond its ends.

    Only these samples are copied, and only at the ends: hours are not held twice.
    """
    start, stop = first * WINDOW - _CONTEXT, last * WINDOW
    part = waveform[max(start, 0) : stop]
    missing = (max(-start, 0), max(stop - waveform.numel(), 0))
    return (functional.pad(part, missing) if any(missing) else part).unfold(0, WINDOW + _CONTEXT, WINDOW)


def silero_weights() -> Path:
    """The path of the TorchScript in the silero-vad wheel. Raises InputError where it is not installed."""
    package = find_spec("silero_vad")  # found, not imported
    if package is None or package.origin is None:
        raise InputError("silero-vad is not installed; expected it for voice activity: pip install silero-vad")
    path = Path(package.origin).parent / "data" / "silero_vad.jit"
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected silero-vad 6.2: pip install 'silero-vad==6.2.*'")
    return path


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run torch on one thread: the LSTM's steps are too small to share, on a busy machine two are ten times slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
