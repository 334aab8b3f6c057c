"""One batch through the three stages of a system, each timed with the device idle at its boundaries.

A batch that raises is done again one utterance at a time, so that an error belongs to the utterance that causes it.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from benchmark.results import NO_SECONDS, StageSeconds
from benchmark.worker.protocol import Batch, BatchDone, Hypothesis
from finetune.systems.base import System
from preprocessing.errors import described

if TYPE_CHECKING:
    from torch import Tensor

SHOWN_CHARACTERS = 200  # of an answer that is none


@dataclass(frozen=True)
class LoadedWaveform:
    """An utterance's waveform [samples], or the error that decoding it raised; `seconds` is how long that took."""

    waveform: "Tensor | None"
    seconds: float
    error: str | None = None


class DeviceClock:
    """A monotonic clock that waits for the device first, so that work queued on a GPU counts where it was queued."""

    def __init__(self, device: str) -> None:
        self._cuda = device.startswith("cuda")

    def now(self) -> float:
        """Seconds since an arbitrary moment, after all work on the device is done."""
        if self._cuda:
            import torch

            torch.cuda.synchronize()
        return time.perf_counter()


def transcribe_batch(
    system: System, batch: Batch, waveforms: Sequence[LoadedWaveform], clock: DeviceClock
) -> BatchDone:
    """The system's hypotheses of a batch and the seconds of each stage, decoding included.

    waveforms: of the batch's utterances, in order. Whatever the system raises becomes the error of the utterances that
    it is raised for; nothing is raised here.
    """
    hypotheses = [Hypothesis("", loaded.error) for loaded in waveforms]
    decoded = {place: loaded.waveform for place, loaded in enumerate(waveforms) if loaded.waveform is not None}
    found, seconds = _run_stages(system, list(decoded.values()), clock)
    split = isinstance(found, str) and len(decoded) > 1
    if split:
        free_device_memory()
        for place, waveform in decoded.items():
            alone, more = _run_stages(system, [waveform], clock)
            seconds += more
            hypotheses[place] = Hypothesis("", alone) if isinstance(alone, str) else Hypothesis(alone[0])
    elif isinstance(found, str):
        for place in decoded:
            hypotheses[place] = Hypothesis("", found)
    else:
        for place, text in zip(decoded, found, strict=True):
            hypotheses[place] = Hypothesis(text)
    decode_seconds = sum(loaded.seconds for loaded in waveforms)
    return BatchDone(batch, tuple(hypotheses), seconds + StageSeconds(decode_seconds, 0.0, 0.0, 0.0), split)


def checked_hypotheses(hypotheses: object, count: int) -> list[str]:
    """What a system's `text` returned. Raises TypeError where that is not a list of `count` str."""
    if isinstance(hypotheses, list) and len(hypotheses) == count and all(isinstance(one, str) for one in hypotheses):
        return hypotheses
    shown = repr(hypotheses)
    shown = shown if len(shown) < SHOWN_CHARACTERS else shown[:SHOWN_CHARACTERS] + "..."
    raise TypeError(f"text() returned {shown}; expected a list of {count} str")


def _run_stages(system: System, waveforms: "list[Tensor]", clock: DeviceClock) -> tuple[list[str] | str, StageSeconds]:
    """The hypotheses, or the error as text, and the seconds of each stage; a stage that was not reached has 0."""
    if not waveforms:
        return [], NO_SECONDS
    laps = [clock.now()]
    found: list[str] | str
    try:
        features = system.features(waveforms)
        laps.append(clock.now())
        outcome = system.forward(features)
        laps.append(clock.now())
        hypotheses = system.text(outcome)
        laps.append(clock.now())
        found = checked_hypotheses(hypotheses, len(waveforms))
    except Exception as error:  # a system of the user's own may raise anything
        found = described(error)
    spent = [end - begin for begin, end in pairwise(laps)]
    return found, StageSeconds(0.0, *(spent + [0.0] * 3)[:3])


def free_device_memory() -> None:
    """Return cached blocks to the GPU: the batch may have failed for want of memory."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
