"""A system's process as its parent holds it: batches in, replies out, a time limit on each, and what it printed."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

from benchmark.measure.messages import Batch, BatchDone, Ended, Loaded, Refused, Reply, Setup, Task
from benchmark.measure.worker import serve

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
