"""Wall-clock seconds of one stage after another, with the device's queue empty whenever the clock is read."""

import time

from benchmark.results import StageSeconds


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
