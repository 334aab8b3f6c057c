"""One batch through a system's stages, each timed with the device idle; a failing batch is done again one by one."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.results import StageSeconds
from benchmark.systems.base import System
from benchmark.worker.protocol import Batch, BatchDone, Heard

if TYPE_CHECKING:
    from torch import Tensor


class Clock:
    def __init__(self, device: str) -> None:
        self._cuda = device.startswith("cuda")

    def now(self) -> float:
        if self._cuda:
            import torch

            torch.cuda.synchronize()
        return time.perf_counter()


class Stopwatch:
    """Seconds of one stage after another."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._spent: list[float] = []
        self._began = clock.now()

    def lap(self) -> None:
        ended = self._clock.now()
        self._spent.append(ended - self._began)
        self._began = ended

    def stages(self, decode: float) -> StageSeconds:
        """Stages that were not reached took no time."""
        return StageSeconds(decode, *(self._spent + [0.0] * 3)[:3])


def added(first: StageSeconds, second: StageSeconds) -> StageSeconds:
    """Stage by stage.

    >>> added(StageSeconds(1, 2, 3, 4), StageSeconds(1, 0, 0, 0))
    StageSeconds(decode=2, features=2, forward=3, text=4)
    """
    return StageSeconds(
        first.decode + second.decode,
        first.features + second.features,
        first.forward + second.forward,
        first.text + second.text,
    )


def share(seconds: StageSeconds, part: float) -> StageSeconds:
    """A part, as a fraction, of every stage."""
    return StageSeconds(part * seconds.decode, part * seconds.features, part * seconds.forward, part * seconds.text)


@dataclass(frozen=True)
class Sound:
    """An utterance's waveform [samples], or why there is none; `seconds` is what getting it took."""

    waveform: "Tensor | None"
    seconds: float
    error: str | None = None


def transcribe(system: System, batch: Batch, sounds: Sequence[Sound], clock: Clock) -> BatchDone:
    """Whatever a system raises becomes the error of the utterances that it is raised for."""
    heard = [Heard("", sound.error) for sound in sounds]
    waveforms = {place: sound.waveform for place, sound in enumerate(sounds) if sound.waveform is not None}
    found, seconds = _through(system, list(waveforms.values()), clock)
    split = isinstance(found, str) and len(waveforms) > 1
    if split:
        _free_memory()
        for place, waveform in waveforms.items():
            alone, more = _through(system, [waveform], clock)
            seconds = added(seconds, more)
            heard[place] = Heard("", alone) if isinstance(alone, str) else Heard(alone[0])
    elif isinstance(found, str):
        for place in waveforms:
            heard[place] = Heard("", found)
    else:
        for place, hypothesis in zip(waveforms, found, strict=True):
            heard[place] = Heard(hypothesis)
    decode = StageSeconds(sum(sound.seconds for sound in sounds), 0.0, 0.0, 0.0)
    return BatchDone(batch, tuple(heard), added(seconds, decode), split)


def _through(system: System, waveforms: "list[Tensor]", clock: Clock) -> tuple[list[str] | str, StageSeconds]:
    """The hypotheses, or the reason why there are none, and what the stages took."""
    stopwatch = Stopwatch(clock)
    if not waveforms:
        return [], stopwatch.stages(0.0)
    found: list[str] | str
    try:
        features = system.features(waveforms)
        stopwatch.lap()
        outcome = system.forward(features)
        stopwatch.lap()
        hypotheses = system.text(outcome)
        stopwatch.lap()
        found = checked(hypotheses, len(waveforms))
    except Exception as error:  # a system of the user's own may raise anything
        found = f"{type(error).__name__}: {error}"
    return found, stopwatch.stages(0.0)


def checked(hypotheses: object, count: int) -> list[str]:
    """The hypotheses that a system gave. Raises TypeError where they are not `count` texts."""
    if isinstance(hypotheses, list) and len(hypotheses) == count and all(isinstance(one, str) for one in hypotheses):
        return hypotheses
    shown = repr(hypotheses)
    raise TypeError(f"text() gave {shown if len(shown) < 200 else shown[:200] + '...'}; expected a list of {count} str")


def _free_memory() -> None:
    """Leave room for the second try of what may have been too large."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
