"""A run that was killed goes on where it was: nothing is lost, nothing is done twice, nothing else is mixed in."""

import errno
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from rich.console import Console

from benchmark import environment, session
from benchmark.config import BenchmarkConfig
from benchmark.environment import corpus_fingerprint
from benchmark.results import (
    RUN,
    SUMMARY,
    Run,
    Sample,
    StageSeconds,
    SystemFacts,
    SystemRun,
    Throughput,
    Timing,
    json_line,
    read_run,
    read_samples,
    read_summary,
    read_throughput,
    read_timings,
    write_run,
)
from benchmark.results import store as results_store
from benchmark.results.store import ResultsStore, begin_run, check_output_folder, drop_torn_line, failed_systems
from preprocessing.corpus import Segment, Utterance
from preprocessing.errors import UsageError
from tests.benchmark.odd_systems import corpus
from tests.benchmark.reported import full_run
from tests.commands import assert_one_sentence, run
from tests.conftest import ROOT

COUNT = 8


def wait_for(path: Path, lines: int) -> None:
    deadline = time.monotonic() + 200
    while not path.exists() or path.read_bytes().count(b"\n") < lines:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    """kill -9 among the samples: those written stay as they were, the rest are another process's."""
    output = tmp_path / "out"
    command = [
        *("benchmark/run.py", "--models", "tests.benchmark.odd_systems:Slow", "--data", str(corpus(tmp_path, COUNT))),
        *("--conditions", "clean", "--rounds", "1", "--latency_utterances", "2", "--output_dir", str(output)),
    ]
    with subprocess.Popen([sys.executable, *command], cwd=ROOT, start_new_session=True) as running:
        wait_for(output / "samples.jsonl", 2)
        started = psutil.Process(running.pid).children(recursive=True)
        os.kill(running.pid, signal.SIGKILL)
    assert started and not psutil.wait_procs(started, timeout=20)[1], "a killed run leaves no process behind"
    before = {sample.id: sample for sample in read_samples(output / "samples.jsonl")}
    timings = (output / "timings.jsonl").read_bytes()
    assert 2 <= len(before) < COUNT
    with (output / "samples.jsonl").open("a") as torn:
        torn.write('{"system":"tests.ben')

    result = run(*command)
    assert result.returncode == 0, result.stderr
    after = list(read_samples(output / "samples.jsonl"))
    assert [sample.id for sample in after] == [f"u{place}" for place in range(COUNT)]
    for sample in after:
        if sample.id in before:
            assert sample == before[sample.id]
    others = {sample.hypothesis for sample in after if sample.id not in before}
    assert len(others) == 1 and others.isdisjoint({sample.hypothesis for sample in before.values()})
    assert (output / "timings.jsonl").read_bytes() == timings
    assert len(list(read_timings(output / "timings.jsonl"))) == 2
    assert_one_sentence(run(*command), 2, "holds results", "--overwrite")


def a_run(config: BenchmarkConfig, *systems: str, **machine: str) -> Run:
    return Run(
        created="", command="", machine=machine, corpus="c", conditions=[], profiles=[], seed=0, notices=[],
        settings=config.settings() | {"corpus fingerprint": "f"},
        systems=[SystemRun(SystemFacts(name, name, name, 0)) for name in systems],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (a_run(BenchmarkConfig(limit=9), "a"), "--limit was default, is now 9"),
        (a_run(BenchmarkConfig(denoise=True), "a"), "--denoise was default, is now true"),
        (a_run(BenchmarkConfig(conditions="clean"), "a"), "--conditions was default, is now clean"),
        (a_run(BenchmarkConfig(), "a-demo"), "--models stood for a, and stands for a-demo now"),
        (replace(a_run(BenchmarkConfig(), "a"), settings={}), "corpus fingerprint has changed"),
    ],
)
def test_another_configuration_is_refused_by_flag(tmp_path: Path, now: Run, told: str) -> None:
    begin_run(tmp_path, a_run(BenchmarkConfig(), "a"), overwrite=False)
    before = (tmp_path / RUN).read_bytes()
    with pytest.raises(UsageError, match=told):
        begin_run(tmp_path, now, overwrite=False)
    assert (tmp_path / RUN).read_bytes() == before
    assert begin_run(tmp_path, now, overwrite=True) == now


@pytest.mark.parametrize(
    "change",
    [
        {"id": "b"}, {"audio": "b.wav"}, {"text": "ONE"}, {"duration": 2.5}, {"speaker": "ann"}, {"sex": "F"},
        {"language": "de"}, {"domain": "calls"}, {"start": 0.5}, {"stop": 1.5}, {"channel": 1},
        {"segments": (Segment(0.0, 1.0, "one"),)}, {"words": (Segment(0.0, 1.0, "one"),)},
    ],
)  # fmt: skip
def test_a_corpus_whose_samples_would_be_others_has_another_fingerprint(change: dict[str, Any]) -> None:
    """As one that was given speakers while its run was stopped: half of the samples would have none."""
    one = Utterance("a", "a.wav", "one", 2.0)
    assert corpus_fingerprint([one]) == corpus_fingerprint([replace(one)])
    assert corpus_fingerprint([one]) != corpus_fingerprint([replace(one, **change)])


def test_a_copy_of_a_corpus_has_its_fingerprint_and_other_audio_another(tmp_path: Path) -> None:
    """Wherever the copy is, and whatever paths its files are named by."""
    found = {}
    for name, content in {"corpus": b"one two", "copy": b"one two", "cleaned": b"one TWO"}.items():
        (tmp_path / name / "ann").mkdir(parents=True)
        for place in range(2):
            (tmp_path / name / "ann" / f"{place}.wav").write_bytes(content)
        found[name] = corpus_fingerprint(
            [Utterance(str(place), str(tmp_path / name / "ann" / f"{place}.wav"), "one", 2.0) for place in range(2)]
        )
    assert found["corpus"] == found["copy"] != found["cleaned"]


def test_a_run_of_another_kind_of_fingerprint_is_refused_in_plain_words(tmp_path: Path) -> None:
    begin_run(tmp_path, a_run(BenchmarkConfig(), "a"), overwrite=False)
    now = a_run(BenchmarkConfig(), "a")
    now = replace(now, settings=now.settings | {"corpus fingerprint": corpus_fingerprint([])})
    with pytest.raises(UsageError, match="started by a version with another kind of corpus fingerprint"):
        begin_run(tmp_path, now, overwrite=False)


def test_the_commit_of_the_code_is_that_of_its_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that of a project that it is installed into, and none without git."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    (tmp_path / "benchmark").mkdir()
    (tmp_path / "benchmark" / "environment.py").write_text("1")
    (tmp_path / "lib" / "benchmark").mkdir(parents=True)
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "benchmark" / "environment.py"))
    assert environment.code_version() is None
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        git(*arguments)
    commit = git("rev-parse", "HEAD")[:12]
    assert environment.code_version() == commit
    (tmp_path / "benchmark" / "environment.py").write_text("2")
    assert environment.code_version() == f"{commit}, modified"
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "lib" / "benchmark" / "environment.py"))
    assert environment.code_version() is None


def test_what_is_no_matter_of_measuring_may_change(tmp_path: Path) -> None:
    begin_run(tmp_path, a_run(BenchmarkConfig(), "a", cores="2"), overwrite=False)
    went_on = begin_run(
        tmp_path, a_run(BenchmarkConfig(timeout=5.0, output_dir=tmp_path), "a", cores="4"), overwrite=False
    )
    assert len(went_on.notices) == 1 and "another machine (cores)" in went_on.notices[0]
    other_code = replace(a_run(BenchmarkConfig(), "a", cores="2"), code="1a2b3c")
    *_, notice = begin_run(tmp_path, other_code, overwrite=False).notices
    assert notice == "the run was resumed with other code (git commit unknown, then 1a2b3c)."


def test_a_run_is_not_finished_before_its_report_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full at the very end: the same command then writes what is missing."""
    summary, samples, _ = full_run(12, n_noisy=2)
    begin_run(tmp_path, a_run(BenchmarkConfig(), "a"), overwrite=False)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    inputs = SimpleNamespace(folder=tmp_path, console=Console(quiet=True))
    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left"):
        patched.setattr(session, "write_reports", full)
        session.report(inputs, summary, samples, ResultsStore(tmp_path))
    assert not (tmp_path / SUMMARY).exists()
    begin_run(tmp_path, a_run(BenchmarkConfig(), "a"), overwrite=False)
    session.report(inputs, summary, samples, ResultsStore(tmp_path))
    assert (tmp_path / SUMMARY).exists() and (tmp_path / "report.html").exists()


def test_a_page_that_cannot_be_made_costs_no_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    summary, samples, _ = full_run(12, n_noisy=2)

    def broken(*_: object, **__: object) -> str:
        raise TypeError("no such attribute")

    monkeypatch.setattr("benchmark.report.export.write_figures", lambda *_: None)
    monkeypatch.setattr("benchmark.report.page.render", broken)
    inputs = SimpleNamespace(folder=tmp_path, console=Console())
    with pytest.raises(TypeError, match="no such attribute"):
        session.report(inputs, summary, samples, ResultsStore(tmp_path))
    said = capsys.readouterr().out
    assert "WER, verbatim" in said and "its report is not complete" in said
    assert {"summary.json", "summary.md", "systems.csv", "utterances.csv"} <= {one.name for one in tmp_path.iterdir()}


def test_a_run_in_which_a_system_failed_goes_on_with_that_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its failed utterances are tried again; what was measured of the others, and failed there, stays."""
    systems = ("a", "b")
    run = a_run(BenchmarkConfig(), *systems)
    begin_run(tmp_path, run, overwrite=False)
    store = ResultsStore(tmp_path)
    samples = [
        replace(a_sample(id), system=system, error=error)
        for system in systems
        for id, error in (("u0", None), ("u1", "killed"))
    ]
    for one in samples:
        store.add_sample(one)
    (tmp_path / SUMMARY).write_text("{}")
    with pytest.raises(UsageError, match="holds results"):
        check_output_folder(tmp_path, overwrite=False)
    known = [replace(one, peak_memory_bytes=7, failure={"b": "killed"}.get(one.facts.name)) for one in run.systems]
    write_run(tmp_path / RUN, replace(run, systems=known))
    assert failed_systems(tmp_path) == ["b"]
    with pytest.raises(UsageError, match="--limit"):
        begin_run(tmp_path, a_run(BenchmarkConfig(limit=9), *systems), overwrite=False)
    assert (tmp_path / SUMMARY).exists() and len(list(read_samples(tmp_path / "samples.jsonl"))) == 4

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(results_store, "write_samples", stop)
        with pytest.raises(KeyboardInterrupt):
            begin_run(tmp_path, run, overwrite=False)
    assert failed_systems(tmp_path) == ["b"], "stopped before its samples are removed, it still tries them again"
    assert begin_run(tmp_path, run, overwrite=False).systems == known
    assert list(read_samples(tmp_path / "samples.jsonl")) == samples[:3]
    assert not (tmp_path / SUMMARY).exists(), "stopped now, it goes on as any other"
    assert failed_systems(tmp_path) == []


@pytest.mark.slow
def test_a_system_that_failed_is_measured_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEEDED", str(tmp_path / "needed"))
    output, names = tmp_path / "out", [f"tests.benchmark.odd_systems:{name}" for name in ("One", "NeedsFile")]
    command = [
        *("benchmark/run.py", "--models", ",".join(names), "--data", str(corpus(tmp_path, 4))),
        *("--conditions", "clean", "--rounds", "1", "--output_dir", str(output)),
    ]
    failed = run(*command)
    assert failed.returncode == 1 and f"to try {names[1]} again" in " ".join(failed.stdout.split())
    before = list(read_timings(output / "timings.jsonl"))
    assert {one.system for one in before} == {names[0]}
    (tmp_path / "needed").touch()
    result = run(*command)
    assert result.returncode == 0, result.stderr
    assert f"going on with {names[1]}, which failed" in " ".join(result.stdout.split())
    after = list(read_timings(output / "timings.jsonl"))
    assert after[: len(before)] == before and {one.system for one in after[len(before) :]} == {names[1]}
    one, other = read_summary(output / SUMMARY).systems
    assert one.failure is None and other.failure is None and other.speed is not None
    assert_one_sentence(run(*command), 2, "holds results", "--overwrite")


def a_sample(id: str, hypothesis: str = "") -> Sample:
    return Sample("a", id, "r", hypothesis, 1.0, StageSeconds(0.0, 0.0, 0.0, 0.0))


def test_a_line_torn_anywhere_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    whole, torn = json_line(a_sample("first")).encode(), json_line(a_sample("é")).encode()
    for kept in range(len(torn) + 1):
        path.write_bytes(whole + torn[:kept])
        drop_torn_line(path)
        expected = [a_sample("first"), *([a_sample("é")] if kept == len(torn) else [])]
        assert list(read_samples(path)) == expected


def test_a_run_begins_with_the_records_of_unchanged_systems(tmp_path: Path) -> None:
    a, b, c = a_run(BenchmarkConfig(), "a", "b", "c").systems
    before = replace(a_run(BenchmarkConfig(models="a,b"), "a"), systems=[replace(a, load_seconds=2.0), b])
    begin_run(tmp_path, before, overwrite=False)
    store = ResultsStore(tmp_path)
    kept, failed = a_sample("u0", "x"), replace(a_sample("u1"), error="out of memory")
    for sample in (kept, failed, replace(kept, system="b")):
        store.add_sample(sample)
    for name in ("a", "b"):
        store.add_timing(Timing(name, "u0", 0, 1.0, kept.seconds))
        store.add_throughput(Throughput(name, 0, None, 1.0, 0.1, kept.seconds))
    ResultsStore(tmp_path, 1).add_sample(replace(kept, id="u2", system="b"))  # of a process that was stopped
    with (tmp_path / "timings.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"system": "a", "id')  # killed while it wrote
    (tmp_path / SUMMARY).touch()
    now = replace(before, systems=[a, c], settings={"models": "a,c"})
    files = {tmp_path / name: (tmp_path / name).read_bytes() for name in (RUN, SUMMARY)}
    assert results_store.begin_with_records(tmp_path, now, ["c"]) == [], "it was not measured"
    assert {path: path.read_bytes() for path in files} == files
    assert results_store.begin_with_records(tmp_path, now, ["c", "a"]) == ["a"]
    assert not (tmp_path / SUMMARY).exists()
    assert read_run(tmp_path / RUN) == replace(now, systems=[replace(a, load_seconds=2.0), c])
    assert list(read_samples(tmp_path / "samples.jsonl")) == [kept] and not list(tmp_path.glob("samples-*.jsonl"))
    assert [one.system for one in read_timings(tmp_path / "timings.jsonl")] == ["a"]
    assert [one.system for one in read_throughput(tmp_path / "throughput.jsonl")] == ["a"]


def test_samples_of_several_processes_become_one_file(tmp_path: Path) -> None:
    for rank, ids in enumerate((["u2", "u0"], ["u1", "u2"])):
        part = ResultsStore(tmp_path, rank)
        for id in ids:
            part.add_sample(a_sample(id, f"by {rank}"))
    whole = ResultsStore(tmp_path)
    whole.merge_ranks()
    ordered = whole.finish({("a", "clean", f"u{place}"): place for place in range(3)})
    assert [(one.id, one.hypothesis) for one in ordered] == [("u0", "by 0"), ("u1", "by 1"), ("u2", "by 0")]
    assert list(read_samples(tmp_path / "samples.jsonl")) == ordered
    assert [path.name for path in tmp_path.iterdir()] == ["samples.jsonl"]


@pytest.mark.parametrize(("name", "expected"), [(SUMMARY, "holds results"), ("", "is a file")])
def test_the_folder_is_named_by_its_option(tmp_path: Path, name: str, expected: str) -> None:
    folder = tmp_path / "out"
    if name:
        folder.mkdir()
    (folder / name).touch()
    with pytest.raises(UsageError, match=rf"^--output_dir .*out {expected}"):
        check_output_folder(folder, overwrite=False)
