"""The parent's side of a system's process: started, restarted where it hangs or dies, and given up after three stops.

An utterance that stops the process alone is lost: it is not tried again, and counts as failed. A batch of several that
stops it is tried again one utterance at a time, to find the one at fault.
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

from benchmark.dataset import Item
from benchmark.results import SystemRun
from benchmark.worker.protocol import Batch, BatchDone, Loaded, LoadFailed, Reply, Task, TaskFinished, WorkerSetup
from benchmark.worker.server import serve
from preprocessing.cli.processes import keeping_ctrl_c
from preprocessing.errors import UsageError

MAX_STOPS = 3  # of a system's process, each by another utterance, before the system is given up
WARM_UP_CALLS = 2  # after the first call, which is reported apart
WARM_UP_SECONDS = 30.0  # of audio; of a longer recording only the beginning, so that an hour of it is not read twice
MOST_TRIED = 20  # utterances, for a call that has no error, as one of a damaged file has
LONG_CALL_SECONDS = 10.0  # after a first call that takes so long there are no others
LOADING_TIMEOUTS = 10  # a model may be loaded for so many times --timeout: it may come over the network
PRINTED_LINES_SHOWN = 3
PRINTED_CHARACTERS_SHOWN = 200  # of each
PRINTED_BYTES_KEPT = 1_000_000


class SystemFailed(Exception):  # noqa: N818 - an outcome that is recorded, not a defect
    """No further results can be had of the system; `reason` says why in one sentence."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class WorkerDied(Exception):  # noqa: N818 - a state of the process, not a defect
    """The process has died, or hung and was killed; `reason` says which, without a full stop."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class SupervisedSystem:
    """One system through a whole benchmark, in a process that is started when it is first needed.

    timeout_seconds: how long a batch may take before the process is killed.
    log: file that what the system prints is appended to.
    on_lost: is called with each item that stopped the process, and the reason.
    lost: items that are not to be tried, since they stopped the process in an earlier start of the same run.
    """

    def __init__(
        self,
        setup: WorkerSetup,
        timeout_seconds: float,
        log: Path,
        on_lost: Callable[[Item, str], None],
        lost: Iterable[Item] = (),
        before: SystemRun | None = None,
    ) -> None:
        self.loaded: Loaded | None = None
        self.lost = set(lost)
        spec = setup.spec
        new = SystemRun(spec.facts(parameters=0, settings={}))
        self._record = new if before is None else replace(before, failure=None)
        self._setup = setup
        self._timeout_seconds = timeout_seconds
        self._output = CapturedOutput(log)
        self._on_lost = on_lost
        self._process: WorkerProcess | None = None
        self._stops = 0
        self._batch_stops = 0

    @property
    def name(self) -> str:
        """What the report calls the system."""
        return self._setup.spec.name

    @property
    def device(self) -> str:
        """The device that it runs on: "cpu" or "cuda"."""
        return self._setup.options.device

    @property
    def record(self) -> SystemRun:
        """What is known of the system so far, for run.json; what it printed is among its settings."""
        if not self._output.lines:
            return self._record
        printed = f"{self._output.lines} lines, the first: {' | '.join(self._output.first)}"
        facts = self._record.facts
        return replace(self._record, facts=replace(facts, settings=facts.settings | {"printed": printed}))

    def start(self) -> None:
        """Load the system and warm it up, unless it is already there. Raises SystemFailed."""
        while self._process is None:
            self._start_process()

    def transcribe(
        self, batches: Sequence[Batch], *, overlap: bool, on_lost_words: Callable[[Item, str], None] | None = None
    ) -> Iterator[BatchDone | TaskFinished]:
        """Every batch as it is done, without the utterances that are lost on the way.

        overlap: the next batches are decoded while one is computed. on_lost_words: words are asked for, and an item
        that stops the process loses its words alone, which this is called with. TaskFinished comes last, and only where
        the process never stopped. Raises SystemFailed.
        """
        words = on_lost_words is not None
        waiting = deque(batches)
        while waiting:
            self.start()
            try:
                for reply in self.try_once(tuple(waiting), overlap=overlap, words=words):
                    if isinstance(reply, BatchDone):
                        waiting.popleft()
                    yield reply
                return
            except WorkerDied as death:
                at_fault = waiting.popleft()
                if len(at_fault) == 1:
                    self._lose(at_fault[0], death.reason, on_lost_words)
                    continue
                self._batch_stops += 1
                if self._batch_stops >= MAX_STOPS:
                    waiting = deque((item,) for batch in (at_fault, *waiting) for item in batch)
                else:
                    waiting = deque([*((item,) for item in at_fault), *waiting])

    def try_once(
        self,
        batches: Sequence[Batch],
        *,
        overlap: bool,
        words: bool = False,
        trial: bool = False,
        longest_seconds: float | None = None,
    ) -> Iterator[BatchDone | TaskFinished]:
        """Every batch as it is done, then TaskFinished. With `words` they are asked for.

        trial: of a batch size that may not be used, so that memory is not recorded; nor is it with `words`.
        longest_seconds: of longer utterances only the beginning is transcribed.
        Raises WorkerDied where the process stops; the next call starts another. Raises SystemFailed where it cannot be
        started.
        """
        self.start()
        assert self._process is not None
        try:
            for reply in self._process.run(Task(tuple(batches), overlap, words, longest_seconds)):
                if isinstance(reply, TaskFinished) and not (words or trial):
                    self._record_memory(reply)
                yield reply
        except WorkerDied:
            self._process = None
            raise

    def fail(self, reason: str) -> None:
        """Record that the system failed as a whole, and end its process."""
        self._record = replace(self._record, failure=reason)
        self.close()

    def close(self) -> None:
        """End the process, where there is one; `start` begins another."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def _start_process(self) -> None:
        process = WorkerProcess(self._setup, self._timeout_seconds, self._output)
        try:
            loaded = process.loaded()
        except WorkerDied as death:
            raise SystemFailed(f"{death.reason} before it was loaded") from None
        if isinstance(loaded, LoadFailed):
            process.close()
            raise SystemFailed(loaded.reason)
        known, found = self._record.facts.signature, loaded.facts.signature
        if known and found and known != found:
            process.close()
            raise UsageError(
                f"{self.name}: this unfinished run was measured with {known}, and the system is now {found}; expected "
                "the same weights and decoding options to resume: choose another --output_dir, or --overwrite true"
            )
        self._process = process
        if self.loaded is None:
            self._record = replace(
                self._record,
                facts=loaded.facts,
                load_seconds=loaded.load_seconds,
                has_word_times=loaded.has_word_times,
            )
        self.loaded = loaded
        self._warm_up()

    def _warm_up(self) -> None:
        """The first call and WARM_UP_CALLS others, each of an utterance without an error; leaves no process where one
        of them stops it.
        """
        clean = [(0, place) for place in range(len(self._setup.evaluation_set.utterances[0]))]
        usable = [item for item in clean if item not in self.lost]
        if not usable:
            return
        longest_first = sorted(usable, key=lambda item: -self._setup.evaluation_set.utterance(item).duration)
        usual = longest_first[len(longest_first) // 10 :]  # long, but not longer than nearly all others
        first_seconds = self._seconds_of_call(usable)
        if first_seconds is None:
            return
        if not self._record.first_call_seconds:
            self._record = replace(self._record, first_call_seconds=first_seconds)
        for _ in range(WARM_UP_CALLS if first_seconds < LONG_CALL_SECONDS else 0):
            if self._seconds_of_call(usual) is None:
                return

    def _seconds_of_call(self, items: Sequence[Item]) -> float | None:
        """Seconds that the beginning of an utterance takes, the first of `items` that has no error. None where
        MOST_TRIED have one, or where one stopped the process, and is lost.
        """
        for item in items[:MOST_TRIED]:
            try:
                replies = list(self.try_once([(item,)], overlap=False, longest_seconds=WARM_UP_SECONDS))
            except WorkerDied as death:
                self._lose(item, death.reason)
                return None
            for reply in replies:
                if isinstance(reply, BatchDone) and reply.hypotheses[0].error is None:
                    return reply.seconds.total
        return None

    def _lose(self, item: Item, reason: str, on_lost_words: Callable[[Item, str], None] | None = None) -> None:
        if on_lost_words is None:
            self.lost.add(item)
            self._on_lost(item, reason)
        else:
            on_lost_words(item, reason)
        self._stops += 1
        if self._stops >= MAX_STOPS:
            id = self._setup.evaluation_set.utterance(item).id
            raise SystemFailed(f"{reason}, {self._stops} times, the last at {id}")

    def _record_memory(self, finished: TaskFinished) -> None:
        peaks = [self._record.peak_device_memory_bytes, finished.peak_device_memory_bytes]
        known = [peak for peak in peaks if peak is not None]
        self._record = replace(
            self._record,
            peak_memory_bytes=max(self._record.peak_memory_bytes or 0, finished.peak_memory_bytes),
            memory_before_loading_bytes=finished.memory_before_loading_bytes,
            peak_device_memory_bytes=max(known) if known else None,
        )


class WorkerProcess:
    """One process of a system, started on construction.

    Each method raises WorkerDied where the process has died, or has not answered within its time and was killed.
    """

    def __init__(self, setup: WorkerSetup, timeout_seconds: float, output: "CapturedOutput") -> None:
        context = multiprocessing.get_context("spawn")
        self._timeout_seconds = timeout_seconds
        self._pipe, theirs = context.Pipe(duplex=True)
        terminal, written = context.Pipe(duplex=False)
        self._process = context.Process(target=serve, args=(setup, theirs, written), daemon=True)
        with keeping_ctrl_c():
            self._process.start()
        theirs.close()
        written.close()
        self._reader = output.follow(terminal)

    def loaded(self) -> Loaded | LoadFailed:
        """Waits until the system is loaded, or cannot be."""
        reply = self._reply(LOADING_TIMEOUTS * self._timeout_seconds, "loading took")
        assert isinstance(reply, Loaded | LoadFailed)
        return reply

    def run(self, task: Task) -> Iterator[BatchDone | TaskFinished]:
        """Each batch as it is done, in order; TaskFinished comes last."""
        try:
            self._pipe.send(task)
        except OSError:
            self._raise_death()
        while True:
            reply = self._reply(self._timeout_seconds, "it took")
            assert isinstance(reply, BatchDone | TaskFinished)
            yield reply
            if isinstance(reply, TaskFinished):
                return

    def close(self) -> None:
        """End the process, at work or not."""
        self._pipe.close()
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._reader.join(timeout=1.0)

    def _reply(self, seconds: float, what_took: str) -> Reply:
        try:
            if not self._pipe.poll(seconds):
                self.close()
                raise WorkerDied(f"{what_took} more than {seconds:g} s (--timeout)")
            reply: Reply = self._pipe.recv()
        except (EOFError, OSError):
            self._raise_death()
        return reply

    def _raise_death(self) -> NoReturn:
        self._process.join(timeout=5.0)
        code = self._process.exitcode
        self.close()
        if code is not None and code < 0:
            raise WorkerDied(f"its process was killed by {signal.Signals(-code).name}")
        raise WorkerDied(f"its process ended with exit code {code}")


class CapturedOutput:
    """What a system writes to stdout and stderr: lines counted, the first ones remembered, a megabyte kept in a file.

    lines: how many so far. first: the first PRINTED_LINES_SHOWN that are not blank.
    """

    def __init__(self, path: Path) -> None:
        self.lines = 0
        self.first: list[str] = []
        self._path = path
        self._bytes_kept = 0
        self._unfinished = b""

    def follow(self, terminal: Connection) -> threading.Thread:
        """A thread that reads until the last process that holds the other end has ended."""
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
            *finished, self._unfinished = (self._unfinished + piece).split(b"\n")
            texts = [line.decode(errors="replace").strip()[:PRINTED_CHARACTERS_SHOWN] for line in finished]
            self.first += [text for text in texts if text][: PRINTED_LINES_SHOWN - len(self.first)]
        if self._bytes_kept < PRINTED_BYTES_KEPT:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                file.write(piece[: PRINTED_BYTES_KEPT - self._bytes_kept])
            self._bytes_kept += len(piece)
