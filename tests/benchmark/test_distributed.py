"""Two processes over gloo: every utterance exactly once, the first alone is timed, and the result is that of one."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from benchmark import environment
from benchmark.doctor import check_processor
from benchmark.environment import DistributedRanks, describe_machine, threads_of_systems
from benchmark.results import Sample, StageSeconds, read_samples, read_summary, read_timings
from benchmark.worker import WorkerSetup, server
from finetune.systems.base import LoadOptions
from finetune.training.run_folder import environment as environment_of_run
from preprocessing.cli import cores
from tests.benchmark.odd_systems import corpus
from tests.commands import run, run_ranks

COUNT = 9


def without_times(sample: Sample) -> Sample:
    return replace(sample, seconds=StageSeconds(0.0, 0.0, 0.0, 0.0))


@pytest.mark.slow
def test_two_processes_find_what_one_finds(tmp_path: Path) -> None:
    data = corpus(tmp_path, COUNT)
    for name, start in (("one", run), ("two", run_ranks)):
        result = start(
            "benchmark/run.py", "--models", "tests.benchmark.odd_systems:One", "--data", data,
            "--conditions", "clean", "--rounds", "1", "--output_dir", tmp_path / name,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        assert result.stdout.count("report:") == 1
    one, two = (list(map(without_times, read_samples(tmp_path / name / "samples.jsonl"))) for name in ("one", "two"))
    assert one == two
    assert [sample.id for sample in two] == [f"u{place}" for place in range(COUNT)]
    assert not list((tmp_path / "two").glob("samples-*.jsonl"))
    assert len(list(read_timings(tmp_path / "two" / "timings.jsonl"))) == COUNT
    scores = [read_summary(tmp_path / name / "summary.json").systems[0].scores for name in ("one", "two")]
    assert scores[0] == scores[1]
    assert "processes" in read_summary(tmp_path / "two" / "summary.json").machine


@pytest.mark.parametrize(
    ("launched", "set_threads", "threads"), [(True, "1", 3), (True, None, 3), (True, "5", 7), (False, "1", 7)]
)
def test_systems_compute_with_the_threads_that_the_report_states(
    launched: bool, set_threads: str | None, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six cores for two processes; torch's own number is 7, whatever OMP_NUM_THREADS has made of it."""
    for name, value in (("WORLD_SIZE", "2" if launched else None), ("OMP_NUM_THREADS", set_threads)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    monkeypatch.setattr(environment, "usable_cores", lambda: 6)
    taken: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: 7)
        patch.setattr(torch, "set_num_threads", taken.append)
        assert threads_of_systems(2) == threads
        assert describe_machine("cpu", 2)["threads"] == str(threads)
        setup = WorkerSetup(*cast(Any, (None, LoadOptions("cpu", None), None)), 0, 2, threads)
        server._leave_launcher(setup)
    assert taken == ([] if threads == 7 else [threads])


@pytest.mark.parametrize(("said", "threads"), [(None, "2"), ("8", "8")])
def test_a_containers_quota_bounds_the_threads_and_is_in_the_report(
    said: str | None, threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if said is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    monkeypatch.setattr(cores, "_cores", lambda: 8)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(cores, "_quota", lambda root: None)
    assert describe_machine("cpu")["threads"] == "8" and "quota" not in describe_machine("cpu")
    monkeypatch.setattr(cores, "_quota", lambda root: 2.0)
    machine = describe_machine("cpu")
    assert (machine["cores"], machine["threads"]) == ("2", threads)
    assert machine["quota"] == "2 of 8 cores by the container's quota"
    assert ", 2 of 8 cores by the container's quota, " in check_processor().found
    assert environment_of_run()["machine"].endswith(", 2 of 8 cores by the container's quota")


def test_every_batch_is_in_one_share() -> None:
    for count in (1, 2, 3, 7):
        shares = [DistributedRanks(rank, count).shard(range(11)) for rank in range(count)]
        assert sorted(thing for share in shares for thing in share) == list(range(11))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
