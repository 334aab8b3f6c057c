"""What a system is given and how it is timed: the same waveforms for all, overlapped or not, and next to no time of
our own.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.conditions import parse_conditions
from benchmark.dataset import EvaluationSet, build_evaluation_set, waveform_loader
from benchmark.results import StageSeconds, SystemRun, read_samples, read_summary, read_throughput, read_timings
from benchmark.worker import Batch, BatchDone, Hypothesis, SupervisedSystem, WorkerSetup
from benchmark.worker.client import SystemFailed
from benchmark.worker.server import load_ahead
from benchmark.worker.stage_clock import DeviceClock, checked_hypotheses, transcribe_batch
from finetune.systems.base import LoadOptions, SystemSpec
from preprocessing import audio
from preprocessing.augment.denoise import SpectralGate
from preprocessing.corpus import open_corpus
from preprocessing.errors import UsageError
from tests.benchmark import odd_systems
from tests.benchmark.odd_systems import GUILTY
from tests.commands import run
from tests.conftest import DEMO

OPTIONS = LoadOptions("cpu", None)


def evaluation_set_of(reference: Path, limit: int | None = None) -> EvaluationSet:
    conditions = parse_conditions("clean", seed=0, noise=None, rooms=None)
    return build_evaluation_set(conditions, open_corpus(str(reference), limit=limit).utterances, 50)


def named(name: str) -> SystemSpec:
    reference = f"tests.benchmark.odd_systems:{name}"
    return SystemSpec(reference, reference, reference)


@pytest.mark.slow
def test_a_system_that_finds_no_memory_says_so(tmp_path: Path) -> None:
    setup = WorkerSetup(named("NoRoom"), OPTIONS, evaluation_set_of(odd_systems.corpus(tmp_path, 1)))
    system = SupervisedSystem(setup, 60.0, tmp_path / "printed.txt", lambda *lost: None)
    with pytest.raises(SystemFailed, match=r"^out of memory; expected more free memory"):
        system.start()


@pytest.mark.slow
def test_weights_that_changed_since_an_earlier_start_are_refused(tmp_path: Path) -> None:
    """A run that goes on would mix two models under one name."""
    weights = tmp_path / "weights.bin"
    weights.write_text("one")
    spec = replace(named("Length"), checkpoint=str(weights))
    setup = WorkerSetup(spec, OPTIONS, evaluation_set_of(odd_systems.corpus(tmp_path, 1)))

    def started(before: SystemRun | None) -> SystemRun:
        system = SupervisedSystem(setup, 60.0, tmp_path / "printed.txt", lambda *lost: None, before=before)
        try:
            system.start()
            return system.record
        finally:
            system.close()

    known = started(None)
    assert "weights:" in known.facts.signature
    assert started(replace(known, peak_memory_bytes=10**15)).peak_memory_bytes == 10**15  # that of both starts
    weights.write_text("other")
    found = r"was measured with .*\|weights:.*, and the system is now .*\|weights:.*; expected the same weights"
    with pytest.raises(UsageError, match=found):
        started(known)


@pytest.mark.slow
def test_a_batch_size_that_is_only_tried_is_no_peak_of_memory(tmp_path: Path) -> None:
    data = odd_systems.corpus(tmp_path, 8)
    models = ",".join(f"tests.benchmark.odd_systems:{name}" for name in ("Hungry", "HungryAlone"))
    result = run(
        *("benchmark/run.py", "--models", models, "--data", data, "--output_dir", tmp_path / "out"),
        *("--conditions", "clean", "--rounds", "1", "--profiles", "[verbatim]"),
    )
    assert result.returncode == 0, result.stderr
    batched, alone = read_summary(tmp_path / "out" / "summary.json").systems
    assert batched.speed is not None and batched.speed.batch_seconds is None
    assert batched.peak_memory_bytes is not None and alone.peak_memory_bytes is not None
    assert abs(batched.peak_memory_bytes - alone.peak_memory_bytes) < 50e6


def test_waveforms_are_denoised_only_where_asked() -> None:
    evaluation_set = evaluation_set_of(DEMO / "corpus" / "test.jsonl", 1)
    plain = audio.load(evaluation_set.utterances[0][0].audio)
    assert torch.equal(waveform_loader(evaluation_set, denoise=False)((0, 0)), plain)
    assert torch.equal(waveform_loader(evaluation_set, denoise=True)((0, 0)), SpectralGate()(plain))


def test_overlapping_changes_nothing_but_time() -> None:
    def load(item: tuple[int, int]) -> torch.Tensor:
        if item == (0, 3):
            raise OSError("torn file")
        return torch.full((4,), float(item[1]))

    batches = [((0, 0), (0, 1)), ((0, 2),), ((0, 3), (0, 4)), *[((0, place),) for place in range(5, 12)]]
    plain, overlapped = (list(load_ahead(batches, load, overlap=overlap)) for overlap in (False, True))
    assert [batch for batch, _ in overlapped] == [batch for batch, _ in plain] == batches
    for (_, ours), (_, theirs) in zip(plain, overlapped, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert one.error == other.error
            assert one.waveform is None or torch.equal(one.waveform, other.waveform)
    assert [one.error for one in overlapped[2][1]] == ["OSError: torn file", None]


def test_a_failed_batch_is_done_again_one_by_one() -> None:
    lengths = {0: 16_000, 1: GUILTY, 2: 17_000}
    batch = ((0, 0), (0, 1), (0, 2))
    [(_, found)] = load_ahead([batch], lambda item: torch.zeros(lengths[item[1]]), overlap=False)
    done = transcribe_batch(odd_systems.Raises(named("Raises"), OPTIONS), batch, found, DeviceClock("cpu"))
    assert done.split
    assert [one.text for one in done.hypotheses] == ["16000", "", "17000"]
    assert [one.error for one in done.hypotheses] == [None, "MemoryError: no room", None]
    assert not transcribe_batch(odd_systems.Length(named("Length"), OPTIONS), batch, found, DeviceClock("cpu")).split


@pytest.mark.parametrize("wrong", [None, "text", ["a"], ["a", "b", "c"], ["a", 1], ("a", "b")])
def test_what_is_no_answer_is_shown(wrong: Any) -> None:
    with pytest.raises(TypeError, match="expected a list of 2 str"):
        checked_hypotheses(wrong, 2)


def first_answer(name: str, folder: Path) -> tuple[str, SystemRun]:
    """What a system says to the one recording of a corpus once it has warmed up, and what is known of it."""
    setup = WorkerSetup(named(name), OPTIONS, evaluation_set_of(odd_systems.corpus(folder, 1)))
    system = SupervisedSystem(setup, 60.0, folder / "printed.txt", lambda *lost: None)
    try:
        (done,) = (one for one in system.transcribe([((0, 0),)], overlap=False) if isinstance(one, BatchDone))
        return done.hypotheses[0].text, system.record
    finally:
        system.close()


@pytest.mark.slow
@pytest.mark.parametrize(("warm_seconds", "called"), [(60.0, "4"), (0.0, "2")])
def test_a_long_first_call_has_warmed_up(
    warm_seconds: float, called: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first call and two more before anything is timed; the first alone where it takes long."""
    monkeypatch.setattr("benchmark.worker.client.LONG_CALL_SECONDS", warm_seconds)
    text, record = first_answer("Calls", tmp_path)
    assert text == called
    assert record.first_call_seconds > 0


@pytest.mark.parametrize(
    ("damaged", "called", "first_seconds"),
    [
        (set(), [0, 4, 4], 1.0),
        ({0, 1, 4}, [0, 1, 2, 4, 3, 4, 3], 3.0),
        (set(range(5)), [0, 1, 2, 3, 4], None),
    ],
)
def test_a_damaged_file_is_no_call_of_the_model(
    damaged: set[int], called: list[int], first_seconds: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next utterance takes its place, of the first call and of those that warm up."""
    setup = WorkerSetup(named("Length"), OPTIONS, evaluation_set_of(odd_systems.corpus(tmp_path, 5)))
    system = SupervisedSystem(setup, 60.0, tmp_path / "printed.txt", lambda *lost: None)
    tried = []

    def answer(batches: list[Batch], **_: Any) -> list[BatchDone]:
        ((item,),) = batches
        tried.append(item[1])
        error = "OSError: torn file" if item[1] in damaged else None
        return [BatchDone((item,), (Hypothesis("", error),), StageSeconds(0.0, 0.0, 1.0 + item[1], 0.0), False)]

    monkeypatch.setattr(system, "try_once", answer)
    system._warm_up()
    assert tried == called
    assert system.record.first_call_seconds == (first_seconds or SystemRun(system.record.facts).first_call_seconds)


@pytest.mark.slow
def test_the_beginning_of_a_long_recording_warms_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.worker.client.WARM_UP_SECONDS", 0.5)
    assert first_answer("Remembers", tmp_path)[0] == "8000 8000 8000 16000"


def test_the_beginning_of_an_utterance_is_decoded_alone() -> None:
    evaluation_set = evaluation_set_of(DEMO / "corpus" / "test.jsonl", 1)
    load = waveform_loader(evaluation_set, denoise=False)
    assert torch.equal(load((0, 0), longest_seconds=0.5), load((0, 0))[:8_000])
    assert torch.equal(load((0, 0), longest_seconds=1e6), load((0, 0)))


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 4])
def test_a_long_recording_is_transcribed_no_more_often_than_it_is_timed(count: int, tmp_path: Path) -> None:
    """What is alone in its batch is transcribed while latency is measured; one recording is its own throughput."""
    output = tmp_path / "out"
    result = run(
        *("benchmark/run.py", "--models", "tests.benchmark.odd_systems:Remembers"),
        *("--data", odd_systems.corpus(tmp_path, count), "--output_dir", output),
        *("--conditions", "clean", "--rounds", "2", "--profiles", "[verbatim]"),
    )
    assert result.returncode == 0, result.stderr
    timings, throughput = (
        list(read_timings(output / "timings.jsonl")),
        list(read_throughput(output / "throughput.jsonl")),
    )
    assert (len(timings), len(throughput)) == (2 * count, 2)
    calls = {one.id: len(one.hypothesis.split()) for one in read_samples(output / "samples.jsonl")}
    assert len(calls) == count
    if count == 1:  # 1.0 s, three times to warm up, then in each round; no trial, no batches
        assert [one.seconds for one in throughput] == [one.seconds for one in timings]
        assert calls == {"u0": 6}
    else:  # 1.0, 1.1, 1.2 and 1.3 s
        assert calls["u3"] == 3 + 4 and all(calls[id] > 3 + 2 * 4 for id in ("u0", "u1", "u2"))


@pytest.mark.slow
def test_our_own_time_is_next_to_none(tmp_path: Path) -> None:
    """A system that computes for 20 ms and looks at the clock itself, in a real process: what we time beside that is
    under 1 % of it.
    """
    evaluation_set = evaluation_set_of(odd_systems.corpus(tmp_path, 8))
    system = SupervisedSystem(
        WorkerSetup(named("Busy"), OPTIONS, evaluation_set), 60.0, tmp_path / "printed.txt", lambda *lost: None
    )
    batches = [((0, place),) for place in range(8)] * 5
    try:
        done = [one for one in system.transcribe(batches, overlap=False) if isinstance(one, BatchDone)]
    finally:
        system.close()
    assert len(done) == len(batches)
    beside = [one.seconds.total - one.seconds.decode - float(one.hypotheses[0].text) for one in done]
    assert 0.0 <= float(np.median(beside)) < 0.01 * 0.020
