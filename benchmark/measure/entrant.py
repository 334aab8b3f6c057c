"""A system through the whole benchmark: its process, begun again where it hangs or dies, and what was lost on the way.

What stops the process alone is lost and never tried again; a batch that stops it is tried again one by one. A system
that keeps stopping is given up.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmark.measure.messages import Batch, BatchDone, Ended, Item, Loaded, Refused, Setup
from benchmark.measure.process import Printed, Process, Stopped
from benchmark.results import SystemFacts, SystemRun

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
