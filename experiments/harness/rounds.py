"""Implementations of one job that take turns, each in a process of its own: a round of one, then of the next, again.

In processes of their own they share no caches, threads or memory; taking turns, all of them meet the same machine.
Times are wall-clock, because some implementations wait for programs of their own. The first rounds warm up and are not
counted. Also here: processor time of a call in this process, and the matrix peak of the machine.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, ParamSpec, TypeAlias, TypeVar

from experiments.harness.command import progress
from preprocessing.errors import InputError, UserError, first_line

P = ParamSpec("P")
Result = TypeVar("Result")
Implementation: TypeAlias = Callable[[Any], Callable[[], object]]  # job -> a function that does one round of it

WARM_UP_ROUNDS = 1
EXPECTED_ERRORS = (ImportError, RuntimeError, OSError, UserError)  # a library or program that is not there, bad input
PATIENCE_SECONDS = 10.0  # for a process to end when asked to
CPU_PRODUCT_SIZES, GPU_PRODUCT_SIZES = (256, 512, 1024, 2048), (2048, 8192)  # rows and columns
LONGEST_PRODUCT = 0.25  # seconds


@dataclass(frozen=True)
class Unavailable:
    """Why an implementation could not take part, in one sentence."""

    reason: str
    error: Exception | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Turn:
    """One round of an implementation: its wall-clock seconds, and what it returned when results are kept."""

    seconds: float
    result: Any


@dataclass(frozen=True)
class _Done:
    """Steps of a round that a process has newly done."""

    steps: int


def measured_seconds(
    turns: Mapping[str, Sequence[Turn] | Unavailable],
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Seconds of each implementation's rounds after the warm-up, and why those that could not take part are missing."""
    available = {name: found for name, found in turns.items() if not isinstance(found, Unavailable)}
    missing = {name: found.reason for name, found in turns.items() if isinstance(found, Unavailable)}
    return {name: [one.seconds for one in found[WARM_UP_ROUNDS:]] for name, found in available.items()}, missing


def take_turns(
    what: str,
    implementations: Mapping[str, Implementation],
    job: Any,
    rounds: int,
    *,
    threads: int | None = 1,
    keep_results: bool = False,
    environments: Mapping[str, Mapping[str, str]] | None = None,
    steps_per_round: int = 1,
    unit: str = "rounds",
) -> dict[str, list[Turn] | Unavailable]:
    """Each implementation's rounds in order, warm-up included; the job and what is returned must pickle.

    what: names the work in the progress display. threads: of torch in each process; None leaves torch unimported.
    environments: variables that the process of an implementation starts with. steps_per_round: how often a round calls
    `report_step`; 1 where it does not. unit: what these steps are.
    """
    found: dict[str, list[Turn] | Unavailable] = {}
    workers: dict[str, _Worker] = {}
    try:
        with progress(f"{what}, preparing", len(implementations), "processes") as advance:
            for name, implementation in implementations.items():  # their imports take seconds: all at once
                environment = (environments or {}).get(name, {})
                workers[name] = _Worker(implementation, job, threads, keep_results, environment)
            for name, worker in workers.items():
                answer = worker.answer()
                found[name] = answer if isinstance(answer, Unavailable) else []
                advance(1)
        available = [name for name, turns in found.items() if not isinstance(turns, Unavailable)]
        with progress(what, rounds * len(available) * steps_per_round, unit) as advance:
            for _ in range(rounds):
                for name in available:
                    _take_turn(workers[name], name, found, advance, steps_per_round)
    except BaseException:
        for worker in workers.values():
            worker.stop()
        raise
    for worker in workers.values():
        worker.end()
    return found


def _take_turn(
    worker: "_Worker",
    name: str,
    found: dict[str, list[Turn] | Unavailable],
    advance: Callable[[int], None],
    steps_per_round: int,
) -> None:
    """One round of one implementation; its turn, or why there is none, goes into `found`."""
    turns = found[name]
    left = steps_per_round
    if not isinstance(turns, Unavailable):

        def count(steps: int) -> None:
            nonlocal left
            left -= steps
            advance(steps)

        worker.start_round()
        answer = worker.answer(count)
        if isinstance(answer, Turn):
            turns.append(answer)
        elif isinstance(answer, Unavailable):
            found[name] = answer
    advance(left)


def call_apart(what: str, function: Callable[..., Result], *arguments: Any) -> Result:
    """`function(*arguments)` in a fresh process, for a peak of memory that is its own; both must pickle.

    Raises UserError as the function does, and InputError with the reason for any other failure.
    """
    with progress(what, 0, "") as advance:
        worker = _Worker(partial(_once, function), arguments, None, True, {})
        try:
            found = worker.answer()
            if found is None:
                worker.start_round()
                found = worker.answer(advance)
        except BaseException:
            worker.stop()
            raise
        worker.end()
    if isinstance(found, Unavailable):
        raise found.error if isinstance(found.error, UserError) else InputError(f"{what}: {found.reason}")
    assert found is not None
    result: Result = found.result
    return result


def _once(function: Callable[..., Result], arguments: Sequence[Any]) -> Callable[[], Result]:
    return lambda: function(*arguments)


def report_step(steps: int = 1) -> None:
    """Tell the progress display that so many steps of the current round are done; does nothing outside a round."""
    if _pipe is not None:
        _pipe.send(_Done(steps))


_pipe: Connection | None = None  # to the parent, in an implementation's process


class _Worker:
    """The process of one implementation, seen from the parent."""

    def __init__(
        self,
        implementation: Implementation,
        job: Any,
        threads: int | None,
        keep_results: bool,
        environment: Mapping[str, str],
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(
            target=_serve, args=(implementation, job, theirs, threads, keep_results)
        )
        with _environment(environment), _interrupts_ignored():
            self._process.start()
        theirs.close()

    def start_round(self) -> None:
        self._pipe.send(True)

    def answer(self, advance: Callable[[int], None] = lambda _: None) -> Turn | Unavailable | None:
        """What the process says next: None when it is ready, then one Turn per round, or why there is none."""
        while True:
            try:
                message: Turn | Unavailable | _Done | None = self._pipe.recv()
            except EOFError:
                self._process.join()
                code = self._process.exitcode
                return Unavailable(f"its process ended with exit code {code}" + (", killed" if code == -9 else ""))
            if not isinstance(message, _Done):
                return message
            advance(message.steps)

    def end(self) -> None:
        """Let the process end by itself: it waits for a round that does not come."""
        self._pipe.close()
        self._process.join(PATIENCE_SECONDS)
        self.stop()

    def stop(self) -> None:
        """End the process, and the programs that it started, wherever it is."""
        self._process.terminate()
        self._process.join(PATIENCE_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Variables that a process inherits when it is started inside."""
    before = {key: os.environ.get(key) for key in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """A process started inside ignores Ctrl-C from its first instruction on: its parent stops it."""
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # not the main thread, which alone may set it
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(implementation: Implementation, job: Any, pipe: Connection, threads: int | None, keep_results: bool) -> None:
    """Prepare the implementation, then do a round for each message until the pipe closes."""
    global _pipe
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that programs which it started are stopped with it
    _pipe = pipe
    try:
        if threads is not None:
            import torch

            torch.set_num_threads(threads)
        one_round = implementation(job)
        pipe.send(None)
        while True:
            try:
                pipe.recv()
            except EOFError:
                return
            began = time.perf_counter()
            result = one_round()
            pipe.send(Turn(time.perf_counter() - began, result if keep_results else None))
    except EXPECTED_ERRORS as error:
        reason = first_line(error)
        pipe.send(Unavailable(reason, error if isinstance(error, UserError) else None))


@contextmanager
def one_thread() -> Iterator[None]:
    """torch on one thread, as the peers run; processor time of two would include their waiting for each other."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def processor_seconds(function: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> tuple[float, Result]:
    """Processor time of a call and its result; fair for one thread on a machine that does other things as well."""
    start = time.process_time()
    result = function(*args, **kwargs)
    return time.process_time() - start, result


def peak_gflops(precision: str, device: str, threads: int) -> float:
    """The fastest of many large matrix products, in 10^9 operations a second.

    precision: "bf16" or "fp32". Rows and columns grow to 2048 on a CPU, 8192 on a GPU, or until a product takes longer
    than LONGEST_PRODUCT: a CPU without bfloat16 units emulates it a thousand times slower.
    """
    import torch

    dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    peak = 0.0
    for size in GPU_PRODUCT_SIZES if device == "cuda" else CPU_PRODUCT_SIZES:
        matrix = torch.randn(size, size).to(device, dtype)
        seconds = []
        for _ in range(6):
            began = time.perf_counter()
            matrix @ matrix
            if device == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - began)
        peak = max(peak, 2.0 * size**3 / min(seconds) / 1e9)
        if min(seconds) > LONGEST_PRODUCT:
            break
    torch.set_num_threads(before)
    return peak
