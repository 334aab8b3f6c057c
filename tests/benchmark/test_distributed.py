"""Two processes over gloo: every utterance exactly once, the first alone is timed, and the result is that of one."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.environment import DistributedRanks
from benchmark.results import Sample, StageSeconds, read_samples, read_summary, read_timings
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


def test_every_batch_is_in_one_share() -> None:
    for count in (1, 2, 3, 7):
        shares = [DistributedRanks(rank, count).shard(range(11)) for rank in range(count)]
        assert sorted(thing for share in shares for thing in share) == list(range(11))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
