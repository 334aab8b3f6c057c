"""Segments of a manifest through a whole benchmark: in the samples, and counted in the summary."""

from pathlib import Path

from benchmark.results import read_samples, read_summary
from preprocessing.corpus import Segment
from tests.benchmark.odd_systems import corpus
from tests.commands import run
from tests.conftest import read_manifest, write_manifest


def test_errors_are_counted_by_segment(tmp_path: Path) -> None:
    """ONE TWO | THREE FIVE heard as ONE THREE FOUR: half of each segment's words is wrong; silence has no segments."""
    rows = read_manifest(corpus(tmp_path, 3))
    segments = [{"start": 0, "stop": 0.5, "text": "ONE TWO"}, {"start": 0.5, "end": 1, "text": "THREE FIVE"}]
    rows = [row | {"text": "ONE TWO THREE FIVE", "segments": segments} for row in rows]
    result = run(
        *("benchmark/run.py", "--models", "tests.benchmark.odd_systems:Recites", "--output", tmp_path / "out"),
        *("--data", write_manifest(tmp_path / "long.jsonl", rows), "--conditions", "clean,silence", "--rounds", "1"),
    )
    assert result.returncode == 0, result.stderr
    samples = list(read_samples(tmp_path / "out" / "samples.jsonl"))
    told = (Segment(0.0, 0.5, "ONE TWO"), Segment(0.5, 1.0, "THREE FIVE"))
    assert [one.segments for one in samples] == [told if one.condition == "clean" else () for one in samples]
    (system,) = read_summary(tmp_path / "out" / "summary.json").systems
    found = system.segments
    assert found is not None
    assert (found.words, found.hits, found.deletions, found.substitutions) == (12, 6, 3, 3)
    assert (found.wer.value, found.wer.low, found.wer.high) == (0.5, 0.5, 0.5)
