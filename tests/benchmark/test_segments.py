"""Segments of a manifest through a whole benchmark: in the samples, and counted in the summary."""

import dataclasses
import math
from pathlib import Path

import pytest

from benchmark.report.figures import accuracy
from benchmark.report.utterances import AlignedSample, ComparedUtterance, wer_over_time
from benchmark.results import Run, SystemFacts, SystemRun, read_samples, read_summary
from benchmark.scoring import summarise
from finetune.metrics.word_alignment import align
from preprocessing.corpus import Segment
from tests.benchmark.odd_systems import corpus
from tests.benchmark.reported import sample
from tests.commands import run
from tests.conftest import read_manifest, write_manifest


@pytest.mark.slow
def test_errors_are_counted_by_segment(tmp_path: Path) -> None:
    """ONE TWO | THREE FIVE heard as ONE THREE FOUR: half of each segment's words is wrong; silence has no segments."""
    rows = read_manifest(corpus(tmp_path, 3))
    segments = [{"start": 0, "stop": 0.5, "text": "ONE TWO"}, {"start": 0.5, "end": 1, "text": "THREE FIVE"}]
    rows = [row | {"text": "ONE TWO THREE FIVE", "segments": segments} for row in rows]
    result = run(
        *("benchmark/run.py", "--models", "tests.benchmark.odd_systems:Recites", "--output_dir", tmp_path / "out"),
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
    assert found.wer.value == 0.5 and found.wer.low < 0.2, "six segments of two words: all alike, and few"
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Long recordings</h2>" in page
    assert '<a href="#long">' in page


@pytest.mark.parametrize("start", [0.0, 600.0])
def test_rates_along_a_recording(start: float) -> None:
    """Three minutes of one word each, then two of nothing; one system misses the second, one fails. The recording is a
    whole file, or a part of one, whose segments have their times in the file."""
    segments = tuple(
        Segment(start + 60.0 * at, start + 60.0 * at + 30, word)
        for at, word in enumerate(["ONE", "TWO", "THREE", "", ""])
    )
    reference = "ONE TWO THREE"
    samples = [
        dataclasses.replace(
            sample(name, "lecture", reference, hypothesis),
            audio_seconds=300.0,
            start=start,
            stop=start + 300.0,
            segments=segments,
            **more,
        )
        for name, hypothesis, more in (
            ("a", "ONE TOO THREE FOUR", {}),
            ("b", "", {"error": "RuntimeError: gone"}),
        )
    ]
    aligned = {one.system: AlignedSample(one, align("", "")) for one in samples}
    rows = [ComparedUtterance("lecture", "clean", aligned)]
    (recording,) = wer_over_time(rows, str.strip)
    assert recording.stretch_seconds == 60.0
    assert recording.wers["a"][:3] == (0.0, 1.0, 1.0)
    assert all(math.isnan(rate) for rate in recording.wers["a"][3:])
    assert recording.wers["b"][:3] == (1.0, 1.0, 1.0)
    drawing = accuracy.wer_over_time(recording, ["a", "b"])
    assert drawing is not None
    assert "a median 100" in drawing.inline("figure")


def test_short_ones_are_not_drawn() -> None:
    few = dataclasses.replace(sample("a", "short", "ONE", "ONE"), segments=(Segment(0.0, 1.0, "ONE"),))
    short = ComparedUtterance("short", "clean", {"a": AlignedSample(few, align("", ""))})
    assert wer_over_time([short], str.strip) == []


def test_one_recording_is_judged_by_its_segments() -> None:
    """Forty segments of two words: one system wrong in every second, the other in none. The sums stay the whole's."""
    n, spoken = 40, "ONE TWO"
    segments = tuple(Segment(float(at), at + 1.0, spoken) for at in range(n))
    right, wrong = " ".join([spoken] * n), " ".join([spoken, "ONE TEN"] * (n // 2))
    samples = [
        dataclasses.replace(sample(name, "lecture", right, hypothesis), audio_seconds=float(n), segments=segments)
        for name, hypothesis in (("good", right), ("bad", wrong))
    ]
    facts = [SystemRun(SystemFacts(name, "family", name, 0)) for name in ("good", "bad")]
    run_of = Run("2026-11-23T00:00:00", "command", {}, "lecture.jsonl", [], ["librispeech", "basic"], 0, [], {}, facts)
    summary = summarise(run_of, samples, [], [])
    assert summary.corpus.resampling_unit == "segment"
    assert summary.corpus.utterances == 1
    bad = summary.systems[1].scores["librispeech"]
    assert (bad.wer.value, bad.words, bad.substitutions) == (0.25, 80, 20)
    assert 0.15 < bad.wer.low < 0.25 < bad.wer.high < 0.37
    assert summary.systems[1].scores["basic"].wer == bad.wer
    (between,) = summary.comparisons
    assert between.different
    assert between.difference.value == -0.25
