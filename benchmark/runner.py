"""All systems through all passes: latency in turns, the best batch sought, throughput in turns, every utterance once.

One system computes at a time. Each line is recorded as it comes; what is recorded already is not measured again.
"""

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmark import plan
from benchmark.dataset import Material
from benchmark.results import Sample, StageSeconds, SystemRun, Throughput, Timing
from benchmark.results.store import Record
from benchmark.scoring.speed import rtfx
from benchmark.worker import Batch, BatchDone, Ended, Entrant, GaveUp, Heard, Item, Stopped
from benchmark.worker.stage_clock import added, share
from preprocessing.cli.progress import Steps

NOTHING = StageSeconds(0.0, 0.0, 0.0, 0.0)
LONGEST_TRIAL_BATCH_SECONDS = 30.0  # of computing; where a batch would take longer it is not tried
MUCH_SLOWER = 0.8  # of the best trial's speed: larger batches are not tried any more


@dataclass
class Contest:
    """save: told what a system says of itself whenever that has changed. one_at_a_time: no two are in memory together.

    batch_seconds: the best cap for each system, once it has been sought.
    """

    entrants: Sequence[Entrant]
    material: Material
    record: Record
    steps: Steps
    device: str
    rounds: int
    latency_utterances: int
    save: Callable[[SystemRun], None]
    one_at_a_time: bool = False
    batch_seconds: dict[str, float | None] = field(default_factory=dict)
    given_up: set[str] = field(default_factory=set)

    def time(self) -> None:
        """Latency of all systems, then their throughput."""
        durations = [utterance.duration for utterance in self.material.utterances[0]]
        clean = [(0, place) for place in plan.spread_by_duration(durations, self.latency_utterances)]
        for entrant in () if self.one_at_a_time else self._left():
            if any(self._untimed(entrant, clean, number) for number in range(self.rounds)):
                with self._going_on(entrant), self.steps.step(f"{entrant.name}: loading", 0):
                    entrant.begin()
        for number in range(self.rounds):
            for entrant in self._left(number):
                with self._going_on(entrant):
                    self._latency(entrant, self._untimed(entrant, clean, number), number)
        for entrant in self._left():
            with self._going_on(entrant):
                self.batch_seconds[entrant.name] = self._best_batch(entrant)
        for number in range(self.rounds):
            for entrant in self._left(number):
                with self._going_on(entrant):
                    self._throughput(entrant, number)

    def transcribe(self, mine: Callable[[list[Batch]], list[Batch]]) -> None:
        """Every utterance under every condition; mine: which of the batches are this process's."""
        for entrant in self._left():
            with self._going_on(entrant):
                waiting = [item for item in self.material.items() if not self._transcribed(entrant, item)]
                if not waiting:
                    continue
                entrant.begin()
                batches = mine(self._batches(entrant, waiting, self.batch_seconds.get(entrant.name)))
                count = sum(map(len, batches))
                with self.steps.step(f"{entrant.name}: transcribing", count) as advance:
                    for reply in entrant.run(batches, overlap=True):
                        if isinstance(reply, BatchDone):
                            self._keep(entrant, reply)
                            advance(len(reply.batch))
            entrant.close()

    def _left(self, rotation: int = 0) -> Iterator[Entrant]:
        """Those that have not given up until their turn."""
        return (one for one in plan.rotated(self.entrants, rotation) if one.name not in self.given_up)

    @contextmanager
    def _going_on(self, entrant: Entrant) -> Iterator[None]:
        """A system that gives up is left out from here on, and stops nobody."""
        try:
            yield
        except GaveUp as end:
            self.given_up.add(entrant.name)
            entrant.give_up(end.reason)
        if self.one_at_a_time:
            entrant.close()
        if entrant.loaded is not None or entrant.told.failure is not None:
            self.save(entrant.told)

    def _latency(self, entrant: Entrant, items: Sequence[Item], number: int) -> None:
        if not items:
            return
        with self.steps.step(f"{entrant.name}: latency, round {number + 1} of {self.rounds}", len(items)) as advance:
            for reply in entrant.run([(item,) for item in items], overlap=False):
                if isinstance(reply, BatchDone):
                    advance(1)
                    utterance = self.material.utterance(reply.batch[0])
                    if reply.heard[0].error is None:
                        self.record.add_timing(
                            Timing(entrant.name, utterance.id, number, utterance.duration, reply.seconds)
                        )

    def _best_batch(self, entrant: Entrant) -> float | None:
        """The cap on a batch's seconds under which the system is fastest; None: one at a time."""
        recorded = [one for one in self.record.throughput if one.system == entrant.name]
        if recorded:
            return recorded[0].batch_seconds
        usual = self._usual_speed(entrant)
        if usual is None:
            return None
        entrant.begin()
        assert entrant.loaded is not None
        caps = plan.candidates(self.device, batched=entrant.loaded.batched)
        if len(caps) == 1:
            return caps[0]
        best, best_speed = None, 0.0
        durations = [utterance.duration for utterance in self.material.utterances[0]]
        with self.steps.step(f"{entrant.name}: seeking the best batch", 0):
            for cap in caps:
                if cap is not None and cap / usual > LONGEST_TRIAL_BATCH_SECONDS:
                    break
                places = plan.spread_to_seconds(durations, max(usual * plan.TRIAL_SECONDS, cap or 0.0))
                speed = self._trial(entrant, [(0, place) for place in places], cap)
                if speed > best_speed:
                    best, best_speed = cap, speed
                if speed < MUCH_SLOWER * best_speed or (cap or 0.0) >= sum(durations):
                    break
        return best

    def _trial(self, entrant: Entrant, items: Sequence[Item], cap: float | None) -> float:
        """RTFx under a cap; 0 where a batch fails or stops the system."""
        found = self._attempt(entrant, items, cap)
        if found is None or any(done.split for done in found[0]):
            return 0.0
        return self._heard_seconds(found[0]) / found[1].wall_seconds

    def _throughput(self, entrant: Entrant, number: int) -> None:
        usual = self._usual_speed(entrant)
        done = any(one.system == entrant.name and one.round == number for one in self.record.throughput)
        if usual is None or done:
            return
        cap = self.batch_seconds.get(entrant.name)
        durations = [utterance.duration for utterance in self.material.utterances[0]]
        wanted = max(usual * plan.ROUND_SECONDS, 2 * (cap or 0.0))
        items = [(0, place) for place in plan.spread_to_seconds(durations, wanted)]
        with self.steps.step(f"{entrant.name}: throughput, round {number + 1} of {self.rounds}", len(items)) as advance:
            found = self._attempt(entrant, items, cap, advance)
        if found is None or self._heard_seconds(found[0]) == 0:
            return
        seconds = NOTHING
        for one in found[0]:
            seconds = added(seconds, one.seconds)
        self.record.add_throughput(
            Throughput(
                system=entrant.name,
                round=number,
                batch_seconds=cap,
                audio_seconds=self._heard_seconds(found[0]),
                wall_seconds=found[1].wall_seconds,
                seconds=seconds,
                joules=found[1].joules,
            )
        )

    def _attempt(
        self, entrant: Entrant, items: Sequence[Item], cap: float | None, advance: Callable[[int], None] | None = None
    ) -> tuple[list[BatchDone], Ended] | None:
        """None where the system's process stopped on the way."""
        entrant.begin()
        items = [item for item in items if item not in entrant.lost]
        done: list[BatchDone] = []
        try:
            for reply in entrant.attempt(self._batches(entrant, items, cap), overlap=True):
                if isinstance(reply, Ended):
                    return done, reply
                done.append(reply)
                if advance is not None:
                    advance(len(reply.batch))
        except Stopped:
            pass
        return None

    def _batches(self, entrant: Entrant, items: Sequence[Item], cap: float | None) -> list[Batch]:
        assert entrant.loaded is not None
        durations = [self.material.utterance(item).duration for item in items]
        cap = cap if entrant.loaded.batched else None
        planned = plan.batches(durations, cap, entrant.loaded.longest_in_batch_seconds)
        return [tuple(items[place] for place in batch) for batch in planned]

    def _untimed(self, entrant: Entrant, items: Sequence[Item], number: int) -> list[Item]:
        timed = {one.id for one in self.record.timings if one.system == entrant.name and one.round == number}
        return [item for item in items if item not in entrant.lost and self.material.utterance(item).id not in timed]

    def _transcribed(self, entrant: Entrant, item: Item) -> bool:
        key = (entrant.name, self.material.name(item), self.material.utterance(item).id)
        return item in entrant.lost or key in self.record.samples

    def _usual_speed(self, entrant: Entrant) -> float | None:
        """RTFx at batch 1, the median of rounds; None where nothing could be timed."""
        rounds = [
            [one for one in self.record.timings if one.system == entrant.name and one.round == number]
            for number in range(self.rounds)
        ]
        speeds = [rtfx(timings) for timings in rounds if timings]
        return statistics.median(speeds) if speeds else None

    def _heard_seconds(self, batches: Sequence[BatchDone]) -> float:
        """Audio that something came of."""
        answers = [pair for done in batches for pair in zip(done.batch, done.heard, strict=True)]
        return self._audio_seconds([item for item, heard in answers if heard.error is None])

    def _audio_seconds(self, items: Sequence[Item]) -> float:
        return sum(self.material.utterance(item).duration for item in items)

    def _keep(self, entrant: Entrant, done: BatchDone) -> None:
        seconds = self._audio_seconds(done.batch)
        for item, heard in zip(done.batch, done.heard, strict=True):
            part = self.material.utterance(item).duration / seconds if seconds > 0 else 1.0 / len(done.batch)
            self.record.add_sample(sample(self.material, entrant.name, item, heard, share(done.seconds, part)))


def sample(material: Material, system: str, item: Item, heard: Heard, seconds: StageSeconds = NOTHING) -> Sample:
    """What a system said of one utterance under one condition."""
    utterance = material.utterance(item)
    return Sample(
        system=system,
        id=utterance.id,
        reference=utterance.text,
        hypothesis=heard.hypothesis,
        audio_seconds=utterance.duration,
        seconds=seconds,
        speaker=utterance.speaker,
        sex=utterance.sex,
        domain=utterance.domain,
        language=utterance.language,
        condition=material.name(item),
        audio=utterance.audio if isinstance(utterance.audio, str) else None,
        start=utterance.start,
        stop=utterance.stop,
        segments=utterance.segments,
        error=heard.error,
    )
