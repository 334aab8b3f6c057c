"""`benchmark/run.py` end to end: demo stand-ins, real speech, systems that fail, and input that cannot be used."""

import json
from pathlib import Path

import jiwer
import pytest

from benchmark.results import Sample, Summary, read_samples, read_summary, read_timings
from preprocessing.text import profile
from tests.commands import assert_one_sentence, run
from tests.conftest import DEMO, absolute, write_manifest
from tests.loopback_hub import loopback_hub

BRIEF = ("--conditions", "clean", "--rounds", "1")
OWN_SYSTEM = '''
import os
from benchmark.results import SystemFacts
from finetune.systems.base import System


class Echo(System):
    """Says the same three words always; fails on one utterance in two."""

    def __init__(self, spec, options):
        self.facts = SystemFacts(spec.name, spec.family, spec.checkpoint, 0)
        self.calls = 0

    def features(self, waveforms):
        return waveforms[0]

    def forward(self, features):
        self.calls += 1
        if len(features) % 2:
            raise RuntimeError("odd length")
        return "turn on the"

    def text(self, outcome):
        return [outcome]


class Dies(Echo):
    def forward(self, features):
        os._exit(7)


class Nothing(Echo):
    def text(self, outcome):
        return None
'''


def results(folder: Path) -> tuple[list[Sample], Summary]:
    assert (folder / "report.html").stat().st_size > 10_000
    assert (folder / "summary.md").stat().st_size > 500
    return list(read_samples(folder / "samples.jsonl")), read_summary(folder / "summary.json")


@pytest.mark.slow
def test_defaults_fall_back_to_the_demo_loudly(tmp_path: Path) -> None:
    """Without a Hub: the embedded checkpoints under their own names, said on the terminal and in the report."""
    output = tmp_path / "out"
    result = run(
        "benchmark/run.py", "--models", "wav2vec2,whisper", "--limit", "4", "--output_dir", output, *BRIEF,
        XDG_CACHE_HOME=str(tmp_path / "cache"), HF_HOME=str(tmp_path / "hub"),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    samples, summary = results(output)
    assert [system.facts.name for system in summary.systems] == ["wav2vec2-demo", "whisper-demo"]
    assert len(samples) == 8
    assert len(summary.notices) == 4  # the two systems, the corpus, and that it is a part
    assert result.stdout.count("say nothing about") >= 2
    page = (output / "report.html").read_text()
    assert "facebook/wav2vec2-base-960h is neither cached nor reachable" in page
    assert (summary.corpus.reference, summary.systems[0].facts.checkpoint) == (
        "demo/corpus/test.jsonl",
        "demo/wav2vec2",
    )
    assert str(DEMO) not in summary.command + summary.corpus.reference


@pytest.mark.slow
def test_ten_real_utterances(speech: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    data = speech / "librispeech" / "test-other.jsonl"
    models = f"wav2vec2={DEMO / 'wav2vec2'},whisper={DEMO / 'whisper'}"
    result = run(
        "benchmark/run.py", "--models", models, "--data", data, "--limit", "10", "--output_dir", output, *BRIEF
    )
    assert result.returncode == 0, result.stderr
    samples, summary = results(output)
    assert summary.corpus.utterances == 10
    assert [notice.partition(":")[0] for notice in summary.notices] == ["--limit 10"]
    for system in summary.systems:
        mine = [sample for sample in samples if sample.system == system.facts.name]
        assert len({sample.id for sample in mine}) == 10
        assert all(sample.error is None for sample in mine)
        assert system.speed is not None and system.peak_memory_bytes is not None
        assert 0 < system.speed.p50 <= system.speed.p95 <= system.speed.p99
        assert system.peak_memory_bytes > 50e6
        for name, scores in system.scores.items():
            normalise = profile(name)
            counted = jiwer.process_words(
                [normalise(sample.reference) for sample in mine], [normalise(sample.hypothesis) for sample in mine]
            )
            assert scores.wer.value == pytest.approx(counted.wer)
            assert scores.wer.low <= scores.wer.value <= scores.wer.high
            assert (scores.substitutions, scores.deletions, scores.insertions) == (
                counted.substitutions,
                counted.deletions,
                counted.insertions,
            )
        timed = [timing for timing in read_timings(output / "timings.jsonl") if timing.system == system.facts.name]
        assert {timing.id for timing in timed} == {sample.id for sample in mine}
        assert system.speed.rtfx == pytest.approx(
            sum(one.audio_seconds for one in timed) / sum(one.seconds.total for one in timed), rel=1e-6
        )
        assert system.speed.throughput is not None


@pytest.mark.slow
def test_failures_are_counted_and_stop_nobody(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN_SYSTEM)
    rows = absolute(DEMO / "corpus" / "test.jsonl", 6)
    data = write_manifest(tmp_path / "data.jsonl", rows)
    output = tmp_path / "out"
    result = run(
        "benchmark/run.py", "--models", "own:Dies,own:Echo,own:Nothing", "--data", data, "--output_dir", output,
        *BRIEF, PYTHONPATH=str(tmp_path),
    )  # fmt: skip
    assert_one_sentence(result, 1, "own:Dies", "exit code 7")
    samples, summary = results(output)
    died, echo, nothing = summary.systems
    assert died.failure is not None and "3 times" in died.failure and died.speed is None
    assert len([sample for sample in samples if sample.system == "own:Echo"]) == 6
    assert nothing.failed_utterances == 6
    assert nothing.scores["librispeech"].wer.value == 1.0
    assert nothing.scores["librispeech"].deletions == nothing.scores["librispeech"].words
    failed = [sample for sample in samples if sample.system == "own:Echo" and sample.error]
    assert echo.failed_utterances == len(failed)
    assert all(sample.hypothesis == "" and "odd length" in str(sample.error) for sample in failed)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "exit_code", "expected"),
    [
        (["--models", "wav2vec3"], 2, ["wav2vec3", "did you mean wav2vec2"]),
        (["--models", "whisper="], 2, ["whisper="]),
        (["--models", "wav2vec2=x,wav2vec2=x"], 2, ["twice"]),
        (["--data", "nowhere.jsonl"], 1, ["nowhere.jsonl", "no such file"]),
        (["--profiles", "[libri]"], 2, ["libri", "librispeech"]),
        (["--limit", "0"], 2, ["--limit"]),
        (["--rounds", "0"], 2, ["--rounds is 0"]),
        (["--timeout", "0"], 2, ["--timeout is 0"]),
        (["--conditions", "underwater"], 2, ["underwater"]),
        (["--compare", "nowhere"], 2, ["--compare: nowhere/summary.json is missing"]),
        (["--fail_on_regression", "true"], 2, ["--compare"]),
        (["--modells", "x"], 2, ["modells"]),
    ],
)
def test_wrong_usage_is_one_sentence(tmp_path: Path, options: list[str], exit_code: int, expected: list[str]) -> None:
    output = tmp_path / "out"
    defaults = [] if options[0] == "--models" else ["--models", f"wav2vec2={DEMO / 'wav2vec2'}"]
    assert_one_sentence(run("benchmark/run.py", *defaults, *options, "--output_dir", output), exit_code, *expected)
    assert not output.exists()


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"audio": "a.wav"}, "no 'text'"),
        ({"audio": "missing.wav", "text": "x"}, "no such file"),
        ({"audio": "data.jsonl", "text": "x"}, "not audio"),
    ],
)
def test_a_bad_manifest_line_is_one_sentence(tmp_path: Path, row: dict[str, str], expected: str) -> None:
    data = write_manifest(tmp_path / "data.jsonl", [row])
    output = tmp_path / "out"
    result = run(
        "benchmark/run.py", "--models", f"wav2vec2={DEMO / 'wav2vec2'}", "--data", data, "--output_dir", output
    )
    assert_one_sentence(result, 1, f"{data}:1", expected)
    assert not output.exists()


@pytest.mark.slow
def test_a_model_named_explicitly_is_never_replaced(tmp_path: Path) -> None:
    data = write_manifest(tmp_path / "data.jsonl", absolute(DEMO / "corpus" / "test.jsonl", 2))
    result = run(
        "benchmark/run.py",
        "--models",
        "wav2vec2=nobody/nothing",
        "--data",
        data,
        "--output_dir",
        tmp_path / "out",
        *BRIEF,
    )
    assert_one_sentence(result, 1, "nobody/nothing", "cannot be loaded")
    assert "embedded demo" not in result.stdout


def test_results_are_not_overwritten_unasked(tmp_path: Path) -> None:
    (tmp_path / "samples.jsonl").write_text("{}\n")
    result = run("benchmark/run.py", "--models", f"wav2vec2={DEMO / 'wav2vec2'}", "--output_dir", tmp_path)
    assert_one_sentence(result, 2, "--overwrite")
    assert json.loads((tmp_path / "samples.jsonl").read_text()) == {}


@pytest.mark.slow
def test_with_a_hub_the_published_default_is_used(tmp_path: Path) -> None:
    """The real client over HTTP: `wav2vec2` is facebook/wav2vec2-base-960h then, and nothing stands in."""
    data = write_manifest(tmp_path / "data.jsonl", absolute(DEMO / "corpus" / "test.jsonl", 2))
    output = tmp_path / "out"
    with loopback_hub({"facebook/wav2vec2-base-960h": DEMO / "wav2vec2"}) as endpoint:
        result = run(
            "benchmark/run.py", "--models", "wav2vec2", "--data", data, "--output_dir", output, *BRIEF,
            HF_ENDPOINT=endpoint, HF_HUB_OFFLINE="0", HF_HOME=str(tmp_path / "hub"),
        )  # fmt: skip
    assert result.returncode == 0, result.stderr
    _, summary = results(output)
    assert summary.notices == []
    assert summary.systems[0].facts.name == "wav2vec2"
    assert summary.systems[0].facts.checkpoint == "facebook/wav2vec2-base-960h"
    assert summary.systems[0].failed_utterances == 0
