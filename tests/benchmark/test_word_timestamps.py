"""--word_timestamps: words are asked for after everything is timed, kept, resumed, and lost without losing a sample."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from math import nan
from pathlib import Path

import pytest
import torch
from rich.console import Console

from benchmark.config import BenchmarkConfig
from benchmark.dataset import EvaluationSet, Item
from benchmark.results import Sample, SystemRun, json_line, read_samples
from benchmark.results.store import ResultsStore
from benchmark.runner import BenchmarkRunner, RunState
from benchmark.worker import Batch, BatchDone, SupervisedSystem, SystemFailed, TaskFinished, WorkerSetup
from benchmark.worker.protocol import Loaded
from benchmark.worker.server import load_ahead
from benchmark.worker.stage_clock import DeviceClock, LoadedWaveform, transcribe_batch
from benchmark.worker.words import recognise_words, rounded_words
from finetune.systems.base import System
from finetune.systems.transcript import Transcript, Word
from preprocessing.cli.progress import Steps
from preprocessing.corpus import Segment
from tests.benchmark import odd_systems
from tests.benchmark.odd_systems import GUILTY
from tests.benchmark.test_worker import OPTIONS, evaluation_set_of, named
from tests.conftest import read_manifest, write_manifest

COUNT = 8


@pytest.fixture(scope="module")
def evaluation_set(tmp_path_factory: pytest.TempPathFactory) -> EvaluationSet:
    """Noises of which the third has the true times of its words."""
    folder = tmp_path_factory.mktemp("corpus")
    rows = read_manifest(odd_systems.corpus(folder, COUNT))
    rows[2]["words"] = [
        {"word": w, "start": 0.3 * n, "end": 0.3 * n + 0.2} for n, w in enumerate(["the", "words", "2"])
    ]
    return evaluation_set_of(write_manifest(folder / "words.jsonl", rows))


def system_of(name: str) -> System:
    made: System = getattr(odd_systems, name)(named(name), OPTIONS)
    return made


def waveforms(*lengths: int) -> list[LoadedWaveform]:
    return [LoadedWaveform(torch.zeros(length), 0.0) for length in lengths]


def test_the_words_of_a_batch_are_rounded() -> None:
    done = recognise_words(system_of("Spells"), ((0, 0), (0, 1)), waveforms(16_000, 17_600))
    assert done.seconds.total == 0 and not done.split
    assert [one.text for one in done.hypotheses] == ["the words 0", "the words 1"]
    assert done.hypotheses[0].words == (
        Word(" the", 0.0, 0.333, 1.0), Word(" words", 0.333, 0.667, 0.5), Word(" 0", 0.667, 1.0, 0.3333),
    )  # fmt: skip


def test_a_failed_batch_is_done_again_one_by_one() -> None:
    batch = ((0, 0), (0, 1), (0, 2))
    loaded = [*waveforms(16_000, GUILTY), LoadedWaveform(None, 0.0, "OSError: torn file")]
    done = recognise_words(system_of("FailsToSpell"), batch, loaded)
    assert done.split
    assert [one.error for one in done.hypotheses] == [None, "MemoryError: no room", "OSError: torn file"]
    assert [one.words is None for one in done.hypotheses] == [False, True, True]


@pytest.mark.parametrize("word", [Word("a", nan, 1.0, 0.5), Word("a", 0.0, 1.0, nan), Word("a", 0.0, 1.0, 1.5)])
def test_what_is_no_time_or_probability_is_refused(word: Word) -> None:
    with pytest.raises(ValueError, match="the word 'a'"):
        rounded_words(Transcript.of_words("a", [word]))


class InProcess(SupervisedSystem):
    """A system in this process; `dies_after` words it fails as a whole."""

    def __init__(self, name: str, dies_after: int | None = None) -> None:
        self.lost: set[Item] = set()
        self.loaded: Loaded | None = None
        self.spelled, self.dies_after = 0, dies_after
        self._system = system_of(name)

    @property
    def name(self) -> str:
        return "a"

    @property
    def record(self) -> SystemRun:
        return SystemRun(self._system.facts)

    def start(self) -> None:
        self.loaded = Loaded(self._system.facts, 0.0, True, 30.0, self._system.has_word_times)

    def close(self) -> None:
        pass

    def transcribe(
        self, batches: Sequence[Batch], *, overlap: bool, on_lost_words: Callable[[Item, str], None] | None = None
    ) -> Iterator[BatchDone | TaskFinished]:
        for batch, loaded in load_ahead(batches, lambda item: torch.zeros(16_000 + 1_600 * item[1]), overlap=False):
            if on_lost_words is None:
                yield transcribe_batch(self._system, batch, loaded, DeviceClock("cpu"))
                continue
            if self.dies_after is not None and self.spelled >= self.dies_after:
                raise SystemFailed("its process ended with exit code 7, 3 times")
            self.spelled += len(batch)
            yield recognise_words(self._system, batch, loaded)


def transcribed(
    folder: Path, system: InProcess, evaluation_set: EvaluationSet, rank: tuple[int, int] | None = None
) -> ResultsStore:
    """The store after the last phase; batches are of 3 s. rank: this process and how many there are."""
    store = ResultsStore(folder, None if rank is None else rank[0])
    store.read()
    runner = BenchmarkRunner(
        [system], evaluation_set, store, Steps(Console(quiet=True), 2), 1, 1, lambda _: None,
        word_timestamps=True,
    )  # fmt: skip
    runner.transcribe(RunState(batch_seconds={"a": 3.0}), lambda own: own if rank is None else own[rank[0] :: rank[1]])
    return store


def without_seconds(samples: Sequence[Sample]) -> list[Sample]:
    zero = dataclasses.replace(samples[0].seconds, decode=0.0, features=0.0, forward=0.0, text=0.0)
    return sorted((dataclasses.replace(one, seconds=zero) for one in samples), key=lambda one: one.id)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, evaluation_set: EvaluationSet) -> list[Sample]:
    store = transcribed(tmp_path_factory.mktemp("out"), InProcess("Spells"), evaluation_set)
    assert list(read_samples(store.folder / "samples.jsonl"))[COUNT:] == store.finish({})
    assert list(read_samples(store.folder / "samples.jsonl")) == list(store.samples.values())
    return without_seconds(list(store.samples.values()))


def test_every_sample_gets_its_words(undisturbed: list[Sample]) -> None:
    assert [one.id for one in undisturbed] == [f"u{n}" for n in range(COUNT)]
    for number, one in enumerate(undisturbed):
        assert one.words is not None and [word.word for word in one.words] == [" the", " words", f" {number}"]
        assert one.words[-1].end == pytest.approx(one.audio_seconds, abs=0.001)
        assert len(one.reference_words) == (3 if number == 2 else 0)
    assert undisturbed[2].reference_words[1] == Segment(0.3, 0.5, "words")


@pytest.mark.parametrize("n_kept", [0, 3])
def test_a_run_that_was_stopped_among_the_words_goes_on(
    tmp_path: Path, evaluation_set: EvaluationSet, undisturbed: list[Sample], n_kept: int
) -> None:
    """All utterances transcribed, words of some of them written: those are kept, the others come as they would have."""
    kept = [one if n < n_kept else dataclasses.replace(one, words=None) for n, one in enumerate(undisturbed)]
    (tmp_path / "samples.jsonl").write_text("".join(map(json_line, kept)))
    system = InProcess("Spells")
    store = transcribed(tmp_path, system, evaluation_set)
    assert without_seconds(list(store.samples.values())) == undisturbed
    assert system.spelled == COUNT - n_kept


def test_several_processes_share_the_words(
    tmp_path: Path, evaluation_set: EvaluationSet, undisturbed: list[Sample]
) -> None:
    """Three were transcribed before, by one process; the others' words are asked for by the process that did them."""
    before = [dataclasses.replace(one, words=None) for one in undisturbed[:3]]
    (tmp_path / "samples.jsonl").write_text("".join(map(json_line, before)))
    systems = [InProcess("Spells") for _ in range(2)]
    for rank, system in enumerate(systems):
        transcribed(tmp_path, system, evaluation_set, (rank, 2))
    whole = ResultsStore(tmp_path)
    whole.read()
    whole.merge_ranks()
    assert without_seconds(list(whole.samples.values())) == undisturbed
    assert sum(system.spelled for system in systems) == COUNT and all(system.spelled for system in systems)


def test_a_system_that_fails_at_words_keeps_its_samples(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    store = transcribed(tmp_path, InProcess("Spells", dies_after=2), evaluation_set)
    samples = without_seconds(list(store.samples.values()))
    assert [one.hypothesis for one in samples] == [f"the words {n}" for n in range(COUNT)]
    assert all(one.error is None for one in samples)
    failed = [one for one in samples if one.words is None]
    assert 0 < len(failed) < COUNT and {one.words_error for one in failed} == {
        "its process ended with exit code 7, 3 times"
    }


def test_a_system_without_word_times_is_not_asked(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    system = InProcess("Length")
    store = transcribed(tmp_path, system, evaluation_set)
    assert system.spelled == 0 and all(one.words is None and one.words_error is None for one in store.samples.values())


def test_in_a_process_of_its_own(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    """The guilty one's words alone are lost; memory that words take is not in the figures."""
    lost: list[tuple[Item, str]] = []
    words: list[tuple[Item, str]] = []
    system = SupervisedSystem(
        WorkerSetup(named("DiesSpelling"), OPTIONS, evaluation_set), 60.0, tmp_path / "printed.txt",
        lambda item, reason: lost.append((item, reason)),
    )  # fmt: skip
    try:
        list(system.transcribe([((0, 4),)], overlap=True))
        memory = system.record.peak_memory_bytes
        batches = [((0, 4),), ((0, 5),)]
        done = list(system.transcribe(batches, overlap=True, on_lost_words=lambda *one: words.append(one)))
    finally:
        system.close()
    assert not lost and words == [((0, 5), "its process ended with exit code 7")]
    (batch,) = [one for one in done if isinstance(one, BatchDone)]
    assert batch.batch == ((0, 4),) and [word.word for word in batch.hypotheses[0].words or ()][-1] == " 4"
    assert system.record.has_word_times
    assert memory is not None and system.record.peak_memory_bytes is not None
    assert system.record.peak_memory_bytes < memory + 100_000_000


def test_samples_of_an_earlier_version_are_read(tmp_path: Path) -> None:
    seconds = '"seconds":{"decode":0,"features":0,"forward":0,"text":0}'
    line = f'{{"system":"a","id":"u","reference":"r","hypothesis":"h","audio_seconds":1.0,{seconds}}}\n'
    (tmp_path / "samples.jsonl").write_text(line)
    (found,) = read_samples(tmp_path / "samples.jsonl")
    assert found.words is None and found.words_error is None and found.reference_words == ()


def test_the_setting_is_one_of_those_that_a_resumed_run_must_share() -> None:
    assert BenchmarkConfig(word_timestamps=True).settings()["word_timestamps"] == "true"
    assert "word_timestamps" not in BenchmarkConfig().settings(), "runs of an earlier version go on"
