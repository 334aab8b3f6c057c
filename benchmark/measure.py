"""One system measured in a process of its own: load, first call, warm-up, then every utterance stage by stage.

A process for each system keeps memory figures apart, and a crash in one from stopping the others. Times are wall-clock;
a GPU is synchronised at every boundary. Messages go to the parent as they arise, so that nothing measured is lost.
"""

import multiprocessing
import resource
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.results import Sample, StageSeconds, SystemFacts
from benchmark.systems.base import LoadOptions, System, SystemSpec
from preprocessing.corpus import Utterance
from preprocessing.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

WARM_UP_CALLS = 2  # after the first call, which is reported apart


@dataclass(frozen=True, slots=True)
class Loaded:
    """The system is ready; seconds without imports of the interpreter, but with those of its libraries."""

    facts: SystemFacts
    load_seconds: float


@dataclass(frozen=True, slots=True)
class FirstCall:
    seconds: float


@dataclass(frozen=True, slots=True)
class Finished:
    """Highest resident memory of the process, and highest device memory where there is one; bytes."""

    peak_memory_bytes: int
    peak_device_memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class Failed:
    """The system gave up as a whole; `reason` is one sentence."""

    reason: str


Message = Loaded | FirstCall | Sample | Finished | Failed


def run_system(spec: SystemSpec, options: LoadOptions, utterances: Sequence[Utterance]) -> Iterator[Message]:
    """Measure in a new process; yields its messages, the last of them Finished or Failed."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(spec, options, list(utterances), sender), daemon=True)
    process.start()
    sender.close()
    ended = False
    try:
        while not ended:
            try:
                message: Message = receiver.recv()
            except EOFError:
                process.join()
                message = Failed(f"its process ended with exit code {process.exitcode} before it was done")
            ended = isinstance(message, Finished | Failed)
            yield message
    finally:
        if not ended:
            process.terminate()
        process.join()


def _work(spec: SystemSpec, options: LoadOptions, utterances: list[Utterance], sender: Connection) -> None:
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        for message in measure(spec, options, utterances):
            sender.send(message)
    except UserError as error:
        sender.send(Failed(str(error)))
    except KeyboardInterrupt:
        sys.exit(1)
    except Exception as error:
        traceback.print_exc()
        sender.send(Failed(f"{type(error).__name__}: {error}"))


def measure(spec: SystemSpec, options: LoadOptions, utterances: Sequence[Utterance]) -> Iterator[Message]:
    """Measure in this process."""
    from benchmark.systems import load_system

    began = time.perf_counter()
    system = load_system(spec, options)
    clock = Clock(options.device)
    clock.wait()
    yield Loaded(system.facts, time.perf_counter() - began)
    load = loader(options)
    first = transcribe(system, utterances[0], clock, load)
    yield FirstCall(first.seconds.total)
    longest = max(utterances, key=lambda utterance: utterance.duration)
    for _ in range(WARM_UP_CALLS):
        transcribe(system, longest, clock, load)
    for utterance in utterances:
        yield transcribe(system, utterance, clock, load)
    yield Finished(peak_memory_bytes(), clock.peak_memory_bytes())


def loader(options: LoadOptions) -> Callable[[Utterance], "Tensor"]:
    """From an utterance to the waveform [samples] that every system is given."""
    from preprocessing import audio
    from preprocessing.denoise import SpectralGate

    gate = SpectralGate() if options.denoise else None

    def load(utterance: Utterance) -> "Tensor":
        waveform = audio.load(utterance.audio, start=utterance.start, stop=utterance.stop)
        return waveform if gate is None else gate(waveform)

    return load


def transcribe(system: System, utterance: Utterance, clock: "Clock", load: Callable[[Utterance], "Tensor"]) -> Sample:
    """One utterance through all four stages. Whatever a system raises becomes the sample's error."""
    sample = Sample(
        system=system.facts.name,
        id=utterance.id,
        reference=utterance.text,
        hypothesis="",
        audio_seconds=utterance.duration,
        seconds=StageSeconds(0.0, 0.0, 0.0, 0.0),
        speaker=utterance.speaker,
        domain=utterance.domain,
        language=utterance.language,
        sex=utterance.sex,
        audio=utterance.audio if isinstance(utterance.audio, str) else None,
        start=utterance.start,
        stop=utterance.stop,
    )
    stopwatch = Stopwatch(clock)
    try:
        waveform = load(utterance)
        stopwatch.lap()
        features = system.features([waveform])
        stopwatch.lap()
        outcome = system.forward(features)
        stopwatch.lap()
        hypotheses = system.text(outcome)
        stopwatch.lap()
        hypothesis = checked(hypotheses)
    except Exception as error:  # a system of the user's own may raise anything
        return replace(sample, error=f"{type(error).__name__}: {error}", seconds=stopwatch.stages())
    return replace(sample, hypothesis=hypothesis, seconds=stopwatch.stages())


def checked(hypotheses: object) -> str:
    """The one hypothesis that a system gave. Raises TypeError where it gave anything else."""
    if isinstance(hypotheses, list) and len(hypotheses) == 1 and isinstance(hypotheses[0], str):
        return hypotheses[0]
    raise TypeError(f"text() gave {hypotheses!r}; expected a list of one str")


class Stopwatch:
    """Seconds of one stage after another."""

    def __init__(self, clock: "Clock") -> None:
        self._clock = clock
        self._spent: list[float] = []
        self._began = clock.now()

    def lap(self) -> None:
        ended = self._clock.now()
        self._spent.append(ended - self._began)
        self._began = ended

    def stages(self) -> StageSeconds:
        """Stages that were not reached took no time."""
        return StageSeconds(*(self._spent + [0.0] * 4)[:4])


class Clock:
    """Wall-clock seconds, with the device's queue empty whenever it is read."""

    def __init__(self, device: str) -> None:
        self._cuda = device.startswith("cuda")

    def wait(self) -> None:
        if self._cuda:
            import torch

            torch.cuda.synchronize()

    def now(self) -> float:
        self.wait()
        return time.perf_counter()

    def peak_memory_bytes(self) -> int | None:
        """Of the device, as torch allocated it."""
        if not self._cuda:
            return None
        import torch

        return torch.cuda.max_memory_allocated()


def peak_memory_bytes() -> int:
    """Highest resident memory of this process. On Linux the kernel's VmHWM, which a parent's memory is not part of."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
