"""All systems through the four phases of a benchmark: load, latency, throughput, transcribe.

Each phase takes a frozen RunState and returns the next one. One system computes at a time. Every record is written as
it comes, and what is recorded already is not measured again, so that a run that was stopped goes on.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from benchmark import batch_plan
from benchmark.dataset import EvaluationSet, Item
from benchmark.results import CLEAN, NO_SECONDS, Sample, StageSeconds, SystemRun, Throughput, Timing
from benchmark.results.store import ResultsStore, SampleKey, has_words
from benchmark.scoring.speed import rtfx
from benchmark.worker import Batch, BatchDone, Hypothesis, SupervisedSystem, SystemFailed, TaskFinished, WorkerDied
from preprocessing.batching import plan_batches
from preprocessing.cli.progress import Steps

MAX_TRIAL_BATCH_SECONDS = 30.0  # of computing; a batch that would take longer is not tried
MUCH_SLOWER = 0.8  # of the best trial's RTFx: below it, larger batches are not tried
CLEARLY_FASTER = 1.05  # times the best trial's RTFx: below it, larger batches only take more memory


@dataclass(frozen=True)
class RunState:
    """What the phases have found out so far.

    failed: names of the systems that failed as a whole; later phases leave them out.
    batch_seconds: the cap on a batch's audio under which each system was fastest; None is one utterance at a time.
    """

    failed: frozenset[str] = frozenset()
    batch_seconds: Mapping[str, float | None] = field(default_factory=dict)


Step = Callable[[RunState, SupervisedSystem], RunState]  # what a phase does with one system


def count_steps(n_systems: int, rounds: int, *, one_at_a_time: bool, word_timestamps: bool) -> int:
    """How many steps all phases report to `preprocessing.cli.progress.Steps`, at most."""
    loading, searching, transcribing = int(not one_at_a_time), 1, 1 + word_timestamps
    return n_systems * (loading + rounds + searching + rounds + transcribing)


@dataclass(frozen=True)
class BenchmarkRunner:
    """The phases of a benchmark over some systems and one evaluation set.

    store: takes every record. progress: shows every step.
    save: is called with a system's entry in run.json whenever that may have changed.
    on_failure: is called at once with a system that failed as a whole: its name, why, and whether others go on.
    one_at_a_time: a system is ended after each step, so that no two are in memory together.
    word_timestamps: words with times are asked for once all utterances are transcribed.
    fixed_batch_seconds: the cap on a batch's audio of the systems for which none is searched, by name; None is one
    utterance at a time.
    """

    systems: Sequence[SupervisedSystem]
    evaluation_set: EvaluationSet
    store: ResultsStore
    progress: Steps
    rounds: int
    latency_utterances: int
    save: Callable[[SystemRun], None]
    on_failure: Callable[[str, str, bool], None] = lambda *_: None
    one_at_a_time: bool = False
    word_timestamps: bool = False
    fixed_batch_seconds: Mapping[str, float | None] = field(default_factory=dict)

    def load(self, state: RunState) -> RunState:
        """Phase 1: load every system that has something left to be timed; with `one_at_a_time`, none."""
        return state if self.one_at_a_time else self._for_each(state, self._load)

    def measure_latency(self, state: RunState) -> RunState:
        """Phase 2: utterances one at a time, in rounds, systems in turn; writes timings.jsonl."""
        for number in range(self.rounds):
            state = self._for_each(state, partial(self._time_utterances, number=number), first=number)
        return state

    def measure_throughput(self, state: RunState) -> RunState:
        """Phase 3: the batch size at which each system is fastest, then rounds with it; writes throughput.jsonl."""
        state = self._for_each(state, self._search_batch_seconds)
        for number in range(self.rounds):
            state = self._for_each(state, partial(self._time_batches, number=number), first=number)
        return state

    def transcribe(self, state: RunState, shard: Callable[[list[Batch]], list[Batch]] = list) -> RunState:
        """Phase 4: every utterance under every condition, once; writes samples.jsonl and ends the systems.

        With `word_timestamps`, the words of clean speech are added to its samples afterwards.
        shard: selects this process's share of a system's batches.
        """
        return self._for_each(state, partial(self._transcribe, shard=shard))

    def _for_each(self, state: RunState, step: Step, *, first: int = 0) -> RunState:
        """The state after the step of every system that has not failed; the systems are rotated by `first`.

        A system that fails in its step is left out from there on, and does not stop the others.
        """
        for system in batch_plan.rotated(self.systems, first):
            if system.name in state.failed:
                continue
            try:
                state = step(state, system)
            except SystemFailed as failure:
                system.fail(failure.reason)
                state = replace(state, failed=state.failed | {system.name})
                self.on_failure(system.name, failure.reason, len(state.failed) < len(self.systems))
            if self.one_at_a_time:
                system.close()
            if system.loaded is not None or system.record.failure is not None:
                self.save(system.record)
        return state

    def _load(self, state: RunState, system: SupervisedSystem) -> RunState:
        if any(self._untimed_items(system, number) for number in range(self.rounds)):
            with self.progress.step(f"{system.name}: loading and first call", 0):
                system.start()
        return state

    def _time_utterances(self, state: RunState, system: SupervisedSystem, *, number: int) -> RunState:
        items = self._untimed_items(system, number)
        if not items:
            return state
        title = f"{system.name}: latency, round {number + 1} of {self.rounds}"
        done: list[BatchDone] = []
        with self.progress.step(title, len(items)) as advance:
            for reply in system.transcribe([(item,) for item in items], overlap=False):
                if isinstance(reply, TaskFinished):
                    self._keep_single_throughput(system, number, done, reply)
                    continue
                advance(1)
                if reply.hypotheses[0].error is None:
                    done.append(reply)
                    utterance = self.evaluation_set.utterance(reply.batch[0])
                    self.store.add_timing(Timing(system.name, utterance.id, number, utterance.duration, reply.seconds))
                    self._keep_transcript(system, reply)
        return state

    def _keep_single_throughput(
        self, system: SupervisedSystem, number: int, done: Sequence[BatchDone], finished: TaskFinished
    ) -> None:
        """A round of throughput from a round of latency, where the corpus is one recording: its only batch is that
        recording alone, and nothing can be decoded meanwhile.
        """
        if len(self.evaluation_set.utterances[0]) == 1 and done:
            self.store.add_throughput(self._throughput(system, number, None, done, finished))

    def _keep_transcript(self, system: SupervisedSystem, done: BatchDone) -> None:
        """Take what was said while latency was measured as the utterance's sample, where it would be transcribed alone
        later, too: a long recording is not transcribed once more.
        """
        (item,) = done.batch
        assert system.loaded is not None
        is_alone = self.evaluation_set.utterance(item).duration > system.loaded.longest_in_batch_seconds
        if is_alone and not self._is_transcribed(system, item):
            self._add_samples(system, done)

    def _search_batch_seconds(self, state: RunState, system: SupervisedSystem) -> RunState:
        found = self._fastest_batch_seconds(system)
        return replace(state, batch_seconds={**state.batch_seconds, system.name: found})

    def _fastest_batch_seconds(self, system: SupervisedSystem) -> float | None:
        recorded = [one for one in self.store.throughput if one.system == system.name]
        if recorded:
            return recorded[0].batch_seconds
        if system.name in self.fixed_batch_seconds:
            return self.fixed_batch_seconds[system.name]
        single_rtfx = self._rtfx_one_at_a_time(system)
        if single_rtfx is None:
            return None
        system.start()
        assert system.loaded is not None
        durations = self.evaluation_set.clean_durations
        caps = batch_plan.batch_seconds_to_try(system.device, durations, single_rtfx, batched=system.loaded.batched)
        if len(caps) == 1:
            return caps[0]
        best, best_rtfx, largest = None, 0.0, 0.0
        with self.progress.step(f"{system.name}: searching the fastest batch size", 0):
            for cap in caps:
                if cap is not None and cap / single_rtfx > MAX_TRIAL_BATCH_SECONDS:
                    break
                audio_seconds = max(single_rtfx * batch_plan.TRIAL_SECONDS, cap or 0.0)
                places = batch_plan.representative_seconds(durations, audio_seconds)
                trial_rtfx = self._try_batch_seconds(system, [(0, place) for place in places], cap)
                largest = cap or 0.0
                if trial_rtfx > CLEARLY_FASTER * best_rtfx:
                    best, best_rtfx = cap, trial_rtfx
                if trial_rtfx < MUCH_SLOWER * best_rtfx or (cap or 0.0) >= sum(durations):
                    break
        if largest > (best or 0.0):
            system.close()  # its peak of memory is that of batches which are not used
        return best

    def _try_batch_seconds(self, system: SupervisedSystem, items: Sequence[Item], cap: float | None) -> float:
        """RTFx under a cap; 0 where a batch fails, or stops the system's process."""
        result = self._run_batches(system, items, cap, trial=True)
        if result is None or any(done.split for done in result[0]):
            return 0.0
        return self._transcribed_seconds(result[0]) / result[1].wall_seconds

    def _time_batches(self, state: RunState, system: SupervisedSystem, *, number: int) -> RunState:
        single_rtfx = self._rtfx_one_at_a_time(system)
        recorded = any(one.system == system.name and one.round == number for one in self.store.throughput)
        if single_rtfx is None or recorded:
            return state
        cap = state.batch_seconds.get(system.name)
        durations = self.evaluation_set.clean_durations
        audio_seconds = batch_plan.seconds_of_round(durations, single_rtfx, cap)
        places = batch_plan.representative_seconds(durations, audio_seconds)
        title = f"{system.name}: throughput, round {number + 1} of {self.rounds}"
        with self.progress.step(title, len(places)) as advance:
            result = self._run_batches(system, [(0, place) for place in places], cap, advance)
        if result is None or self._transcribed_seconds(result[0]) == 0:
            return state
        self.store.add_throughput(self._throughput(system, number, cap, *result))
        return state

    def _throughput(
        self,
        system: SupervisedSystem,
        number: int,
        cap: float | None,
        done: Sequence[BatchDone],
        finished: TaskFinished,
    ) -> Throughput:
        return Throughput(
            system=system.name,
            round=number,
            batch_seconds=cap if system.loaded is not None and system.loaded.batched else None,
            audio_seconds=self._transcribed_seconds(done),
            wall_seconds=finished.wall_seconds,
            seconds=sum((one.seconds for one in done), NO_SECONDS),
            joules=finished.joules,
        )

    def _run_batches(
        self,
        system: SupervisedSystem,
        items: Sequence[Item],
        cap: float | None,
        advance: Callable[[int], None] = lambda _: None,
        *,
        trial: bool = False,
    ) -> tuple[list[BatchDone], TaskFinished] | None:
        """All items in batches, decoding overlapped; None where the system's process stopped on the way."""
        system.start()
        items = [item for item in items if item not in system.lost]
        done: list[BatchDone] = []
        try:
            for reply in system.try_once(self._plan_batches(system, items, cap), overlap=True, trial=trial):
                if isinstance(reply, TaskFinished):
                    return done, reply
                done.append(reply)
                advance(len(reply.batch))
        except WorkerDied:
            pass
        return None

    def _transcribe(
        self, state: RunState, system: SupervisedSystem, *, shard: Callable[[list[Batch]], list[Batch]]
    ) -> RunState:
        waiting = [item for item in self.evaluation_set.items() if not self._is_transcribed(system, item)]
        without_words = self._without_words(system)  # of an earlier start: every process knows the same ones
        if waiting:
            system.start()
            batches = shard(self._plan_batches(system, waiting, state.batch_seconds.get(system.name)))
            with self.progress.step(f"{system.name}: transcribing", sum(map(len, batches))) as advance:
                for reply in system.transcribe(batches, overlap=True):
                    if isinstance(reply, BatchDone):
                        self._add_samples(system, reply)
                        advance(len(reply.batch))
        if self.word_timestamps:
            cap = state.batch_seconds.get(system.name)
            try:
                self._recognise_words(system, without_words, cap, shard)
            except SystemFailed as failure:  # costs words, and not what is measured already
                for item in self._without_words(system):
                    self._add_words(system, item, Hypothesis("", failure.reason))
        system.close()
        return state

    def _recognise_words(
        self,
        system: SupervisedSystem,
        earlier: Sequence[Item],
        cap: float | None,
        shard: Callable[[list[Batch]], list[Batch]],
    ) -> None:
        """Adds the words of `earlier` items, shared among processes, and of those that this process transcribed."""
        own = [item for item in self._without_words(system) if item not in set(earlier)]
        if not earlier and not own:
            return
        system.start()
        if system.loaded is None or not system.loaded.has_word_times:
            return
        batches = shard(self._plan_batches(system, earlier, cap)) + self._plan_batches(system, own, cap)

        def on_lost(item: Item, reason: str) -> None:
            self._add_words(system, item, Hypothesis("", reason))

        with self.progress.step(f"{system.name}: word times", sum(map(len, batches))) as advance:
            for reply in system.transcribe(batches, overlap=True, on_lost_words=on_lost):
                if isinstance(reply, BatchDone):
                    for item, hypothesis in zip(reply.batch, reply.hypotheses, strict=True):
                        self._add_words(system, item, hypothesis)
                    advance(len(reply.batch))

    def _without_words(self, system: SupervisedSystem) -> list[Item]:
        """The items of clean speech that have a sample without words, in the order of the corpus."""
        clean: list[Item] = [(0, place) for place in range(len(self.evaluation_set.utterances[0]))]
        samples = {item: self.store.samples.get(self._key(system, item)) for item in clean}
        return [item for item, one in samples.items() if one and one.error is None and not has_words(one)]

    def _add_words(self, system: SupervisedSystem, item: Item, hypothesis: Hypothesis) -> None:
        sample = self.store.samples[self._key(system, item)]
        self.store.add_sample(replace(sample, words=hypothesis.words, words_error=hypothesis.error))

    def _add_samples(self, system: SupervisedSystem, done: BatchDone) -> None:
        """A sample for each utterance of a batch, with its share of the batch's seconds by duration."""
        batch_seconds = sum(self.evaluation_set.utterance(item).duration for item in done.batch)
        for item, hypothesis in zip(done.batch, done.hypotheses, strict=True):
            duration = self.evaluation_set.utterance(item).duration
            share = duration / batch_seconds if batch_seconds > 0 else 1.0 / len(done.batch)
            seconds = done.seconds.scaled(share)
            self.store.add_sample(make_sample(self.evaluation_set, system.name, item, hypothesis, seconds))

    def _plan_batches(self, system: SupervisedSystem, items: Sequence[Item], cap: float | None) -> list[Batch]:
        assert system.loaded is not None
        durations = [self.evaluation_set.utterance(item).duration for item in items]
        cap = cap if system.loaded.batched else None
        planned = plan_batches(durations, cap, system.loaded.longest_in_batch_seconds)
        return [tuple(items[place] for place in batch) for batch in planned]

    def _untimed_items(self, system: SupervisedSystem, number: int) -> list[Item]:
        """Those of the latency phase that have no timing of this round yet and were not lost."""
        places = batch_plan.representative(self.evaluation_set.clean_durations, self.latency_utterances)
        timed = {one.id for one in self.store.timings if one.system == system.name and one.round == number}
        items: list[Item] = [(0, place) for place in places]
        return [
            item for item in items if item not in system.lost and self.evaluation_set.utterance(item).id not in timed
        ]

    def _is_transcribed(self, system: SupervisedSystem, item: Item) -> bool:
        return item in system.lost or self._key(system, item) in self.store.samples

    def _key(self, system: SupervisedSystem, item: Item) -> SampleKey:
        return system.name, self.evaluation_set.condition_name(item), self.evaluation_set.utterance(item).id

    def _rtfx_one_at_a_time(self, system: SupervisedSystem) -> float | None:
        """The median of rounds; None where nothing could be timed."""
        rounds = [
            [one for one in self.store.timings if one.system == system.name and one.round == number]
            for number in range(self.rounds)
        ]
        found = [rtfx(timings) for timings in rounds if timings]
        return statistics.median(found) if found else None

    def _transcribed_seconds(self, batches: Sequence[BatchDone]) -> float:
        """Seconds of the utterances that did not fail."""
        pairs = [pair for done in batches for pair in zip(done.batch, done.hypotheses, strict=True)]
        return sum(
            self.evaluation_set.utterance(item).duration for item, hypothesis in pairs if hypothesis.error is None
        )


def make_sample(
    evaluation_set: EvaluationSet,
    system: str,
    item: Item,
    hypothesis: Hypothesis,
    seconds: StageSeconds = NO_SECONDS,
) -> Sample:
    """The record of one hypothesis, with the properties of its utterance."""
    utterance, condition = evaluation_set.utterance(item), evaluation_set.condition_name(item)
    return Sample(
        system=system,
        id=utterance.id,
        reference=utterance.text,
        hypothesis=hypothesis.text,
        audio_seconds=utterance.duration,
        seconds=seconds,
        speaker=utterance.speaker,
        sex=utterance.sex,
        domain=utterance.domain,
        language=utterance.language,
        condition=condition,
        audio=utterance.audio if isinstance(utterance.audio, str) else None,
        start=utterance.start,
        stop=utterance.stop,
        channel=utterance.channel,
        columns=dict(utterance.columns),
        segments=utterance.segments,
        error=hypothesis.error,
        reference_words=utterance.words if condition == CLEAN else (),
    )
