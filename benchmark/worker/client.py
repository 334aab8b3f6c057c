"""A system through the whole benchmark: its process, begun again where it hangs or dies, and what was lost on the way.

What stops the process alone is lost and never tried again; a batch that stops it is tried again one by one. A system
that keeps stopping is given up.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

from benchmark.results import SystemFacts, SystemRun
from benchmark.worker.protocol import Batch, BatchDone, Ended, Item, Loaded, Refused, Reply, Setup, Task
from benchmark.worker.server import serve

STOPS = 3  # of its process, each by another utterance, before a system is given up
WARM_UP_CALLS = 2  # after the first call, which is reported apart
WARM_SECONDS = 10.0  # a first call that takes so long, as of a recording of an hour, has warmed up what there is


class GaveUp(Exception):  # noqa: N818 - an outcome, not a defect
    """Nothing more is to be had of the system; `reason` is one sentence."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Entrant:
    """timeout_seconds: for a batch. log: where what it prints is kept. on_lost: told each utterance that stopped it.

    lost: items that are not to be tried again.
    """

    def __init__(
        self,
        setup: Setup,
        timeout_seconds: float,
        log: Path,
        on_lost: Callable[[Item, str], None],
        lost: Iterable[Item] = (),
    ) -> None:
        self.loaded: Loaded | None = None
        self.lost = set(lost)
        spec = setup.spec
        self._run = SystemRun(SystemFacts(spec.name, spec.family, spec.checkpoint, 0, notice=spec.notice))
        self._setup = setup
        self._timeout_seconds = timeout_seconds
        self._printed = Printed(log)
        self._on_lost = on_lost
        self._process: Process | None = None
        self._stops = 0
        self._batch_stops = 0

    @property
    def name(self) -> str:
        return self._setup.spec.name

    @property
    def told(self) -> SystemRun:
        """What is known so far; what it printed is among its settings."""
        if not self._printed.lines:
            return self._run
        said = f"{self._printed.lines} lines, the first: {' | '.join(self._printed.first)}"
        facts = self._run.facts
        return replace(self._run, facts=replace(facts, settings=facts.settings | {"printed": said}))

    def begin(self) -> None:
        """Load, first call, warm-up. Raises GaveUp."""
        while self._process is None:
            self._start()

    def run(self, batches: Sequence[Batch], *, overlap: bool) -> Iterator[BatchDone | Ended]:
        """Every batch as it is done, but what is lost. Ended comes only where nothing stopped. Raises GaveUp."""
        waiting = deque(batches)
        while waiting:
            self.begin()
            try:
                for reply in self.attempt(tuple(waiting), overlap=overlap):
                    if isinstance(reply, BatchDone):
                        waiting.popleft()
                    yield reply
                return
            except Stopped as stop:
                guilty = waiting.popleft()
                if len(guilty) == 1:
                    self._lose(guilty[0], stop.reason)
                    continue
                self._batch_stops += 1
                alone = [guilty, *waiting] if self._batch_stops >= STOPS else [guilty]
                rest = () if self._batch_stops >= STOPS else tuple(waiting)
                waiting = deque([*((item,) for batch in alone for item in batch), *rest])

    def attempt(self, batches: Sequence[Batch], *, overlap: bool) -> Iterator[BatchDone | Ended]:
        """Every batch as it is done, then Ended. Raises Stopped where the process stops: it is gone then."""
        self.begin()
        assert self._process is not None
        try:
            for reply in self._process.run(batches, overlap=overlap):
                if isinstance(reply, Ended):
                    self._remember(reply)
                yield reply
        except Stopped:
            self._process = None
            raise

    def give_up(self, reason: str) -> None:
        self._run = replace(self._run, failure=reason)
        self.close()

    def close(self) -> None:
        if self._process is not None:
            self._process.close()
            self._process = None

    def _start(self) -> None:
        process = Process(self._setup, self._timeout_seconds, self._printed)
        try:
            loaded = process.loaded()
        except Stopped as stop:
            raise GaveUp(f"{stop.reason} before it was loaded") from None
        if isinstance(loaded, Refused):
            process.close()
            raise GaveUp(loaded.reason)
        self._process = process
        anew = self.loaded is not None
        self.loaded = loaded
        if not anew:
            self._run = replace(self._run, facts=loaded.facts, load_seconds=loaded.load_seconds)
        self._warm_up()

    def _warm_up(self) -> None:
        """The first call and more of them; leaves no process where one of them stops it."""
        clean = [(0, place) for place in range(len(self._setup.material.utterances[0]))]
        calls = [item for item in clean if item not in self.lost]
        if not calls:
            return
        longest_first = sorted(calls, key=lambda item: -self._setup.material.utterance(item).duration)
        usual = longest_first[len(longest_first) // 10]  # long, but not the one recording that lasts for hours
        first = self._call(calls[0])
        if first is None:
            return
        if not self._run.first_call_seconds:
            self._run = replace(self._run, first_call_seconds=first)
        for _ in range(WARM_UP_CALLS if first < WARM_SECONDS else 0):
            if self._call(usual) is None:
                return

    def _call(self, item: Item) -> float | None:
        """Seconds that one utterance takes; None where it stopped the process, and is lost."""
        seconds = 0.0
        try:
            for reply in self.attempt([(item,)], overlap=False):
                seconds += reply.seconds.total if isinstance(reply, BatchDone) else 0.0
        except Stopped as stop:
            self._lose(item, stop.reason)
            return None
        return seconds

    def _lose(self, item: Item, reason: str) -> None:
        self.lost.add(item)
        self._on_lost(item, reason)
        self._stops += 1
        if self._stops >= STOPS:
            name = self._setup.material.utterance(item).id
            raise GaveUp(f"{reason}, {self._stops} times, the last at {name}")

    def _remember(self, ended: Ended) -> None:
        device = [self._run.peak_device_memory_bytes, ended.peak_device_memory_bytes]
        known = [one for one in device if one is not None]
        self._run = replace(
            self._run,
            peak_memory_bytes=max(self._run.peak_memory_bytes or 0, ended.peak_memory_bytes),
            peak_device_memory_bytes=max(known) if known else None,
        )


LOADING_PATIENCE = 10  # times the time limit: a model may be on its way over the network
PRINTED_LINES_SHOWN = 3
PRINTED_BYTES_KEPT = 1_000_000


class Stopped(Exception):  # noqa: N818 - the process's state, not a defect
    """The process hangs (and was killed) or has died; `reason` says which, as the rest of a sentence about it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Printed:
    """What a system wrote to its terminal: counted, the first lines remembered, the first megabyte kept in a file."""

    def __init__(self, path: Path) -> None:
        self.lines = 0
        self.first: list[str] = []
        self._path = path
        self._kept = 0
        self._partial = b""

    def follow(self, terminal: Connection) -> threading.Thread:
        """Reads until the last process that holds the other end has ended."""
        thread = threading.Thread(target=self._read, args=(terminal,), daemon=True)
        thread.start()
        return thread

    def _read(self, terminal: Connection) -> None:
        with terminal:
            while piece := os.read(terminal.fileno(), 65_536):
                self._take(piece)

    def _take(self, piece: bytes) -> None:
        self.lines += piece.count(b"\n")
        if len(self.first) < PRINTED_LINES_SHOWN:
            *whole, self._partial = (self._partial + piece).split(b"\n")
            texts = [line.decode(errors="replace").strip()[:200] for line in whole]
            self.first += [text for text in texts if text][: PRINTED_LINES_SHOWN - len(self.first)]
        if self._kept < PRINTED_BYTES_KEPT:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as kept:
                kept.write(piece[: PRINTED_BYTES_KEPT - self._kept])
            self._kept += len(piece)


class Process:
    """One system's process, started on construction.

    timeout_seconds: how long a batch may take. Raises Stopped, out of any method, where it took longer or the process
    died; it is gone then.
    """

    def __init__(self, setup: Setup, timeout_seconds: float, printed: Printed) -> None:
        context = multiprocessing.get_context("spawn")
        self._timeout_seconds = timeout_seconds
        self._line, theirs = context.Pipe(duplex=True)
        terminal, written = context.Pipe(duplex=False)
        self._process = context.Process(target=serve, args=(setup, theirs, written), daemon=True)
        self._process.start()
        theirs.close()
        written.close()
        self._reader = printed.follow(terminal)

    def loaded(self) -> Loaded | Refused:
        """Waits until the system is loaded."""
        reply = self._reply(LOADING_PATIENCE * self._timeout_seconds, "loading took")
        assert isinstance(reply, Loaded | Refused)
        return reply

    def run(self, batches: Sequence[Batch], *, overlap: bool) -> Iterator[BatchDone | Ended]:
        """Each batch as it is done, in order; Ended comes last."""
        try:
            self._line.send(Task(tuple(batches), overlap))
        except OSError:
            self._died()
        while True:
            reply = self._reply(self._timeout_seconds, "it took")
            assert isinstance(reply, BatchDone | Ended)
            yield reply
            if isinstance(reply, Ended):
                return

    def close(self) -> None:
        """Ends the process, at work or not."""
        self._line.close()
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._reader.join(timeout=1.0)

    def _reply(self, seconds: float, taking: str) -> Reply:
        try:
            if not self._line.poll(seconds):
                self.close()
                raise Stopped(f"{taking} more than {seconds:g} s (--timeout)")
            reply: Reply = self._line.recv()
        except (EOFError, OSError):
            self._died()
        return reply

    def _died(self) -> NoReturn:
        self._process.join(timeout=5.0)
        code = self._process.exitcode
        self.close()
        if code is not None and code < 0:
            raise Stopped(f"its process was killed by {signal.Signals(-code).name}")
        raise Stopped(f"its process ended with exit code {code}")
