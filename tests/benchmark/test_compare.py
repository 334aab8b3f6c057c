"""--compare hands both results to scoring, and --fail_on_regression ends with 1 only where something is truly worse."""

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from benchmark import session
from benchmark.config import BenchmarkConfig
from benchmark.environment import command_of
from benchmark.inputs import resolve_inputs
from benchmark.report.__main__ import main as report_command
from benchmark.results import (
    Change,
    CorpusFacts,
    ProfileUsed,
    Run,
    Sample,
    Speed,
    Spread,
    StageSeconds,
    Summary,
    SystemFacts,
    SystemRun,
    SystemSummary,
    read_run,
    read_summary,
    write_run,
    write_samples,
    write_summary,
)
from benchmark.scoring import earlier as earlier_results
from benchmark.scoring import summarise
from benchmark.scoring.__main__ import main as scoring_command
from benchmark.scoring.earlier import EarlierResult
from preprocessing.errors import InputError, UsageError
from tests.benchmark.odd_systems import corpus

Kind = Literal["better", "worse", "same"]


def change(kind: Kind, significant: bool) -> Change:
    return Change("a", "WER", 0.1, 0.2, kind, f"a is {kind}: 0.2 after 0.1.", significant)


@pytest.mark.parametrize(
    ("kind", "significant", "fails"), [("worse", True, True), ("worse", False, False), ("better", True, False)]
)
def test_only_a_significant_regression_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind, significant: bool, fails: bool
) -> None:
    """The measuring itself is left out: what it gives is a finished run of one system."""
    earlier, now, output = summary_at(tmp_path / "old"), summary_at(None), tmp_path / "new"
    asked: list[tuple[Summary, Summary]] = []

    def changes(old: Summary, new: Summary, **_: Any) -> list[Change]:
        asked.append((old, new))
        return [change(kind, significant)]

    monkeypatch.setattr(earlier_results, "changes", changes)
    monkeypatch.setattr(session, "measure", lambda *_: (measured(), [object()]))
    monkeypatch.setattr(session, "summarise", lambda *_: now)
    monkeypatch.setattr(session, "write_reports", lambda *_: None)
    monkeypatch.setattr(session, "print_table", lambda *_: None)
    config = BenchmarkConfig(
        models="tests.benchmark.odd_systems:One",
        data=str(corpus(tmp_path, 2)),
        conditions="clean",
        output_dir=output,
        compare=tmp_path / "old",
        fail_on_regression=True,
    )
    output.mkdir()
    if fails:
        with pytest.raises(InputError, match=r"worse than .*old: a is worse"):
            session.benchmark(config)
    else:
        session.benchmark(config)
    assert asked == [(earlier, now)]
    assert read_summary(output / "summary.json").changes == [change(kind, significant)]


def measured() -> Any:
    return SimpleNamespace(systems=[], seed=0)


def summary_at(folder: Path | None) -> Summary:
    summary = Summary(
        created="2026-05-03T12:20:11Z",
        command="python benchmark/run.py",
        machine={},
        corpus=CorpusFacts("c", 2, 0.1, 0, "utterance"),
        profiles=[ProfileUsed("verbatim", 1, "as it is")],
        systems=[],
        comparisons=[],
        notices=[] if folder is None else ["the earlier one"],
        settings={},
    )
    if folder is not None:
        folder.mkdir()
        write_summary(folder / "summary.json", summary)
    return summary


def test_a_result_without_a_system_of_this_run_is_refused(tmp_path: Path) -> None:
    earlier = summary_at(tmp_path / "old")
    facts = SystemFacts("former", "whisper", "base", 1)
    write_summary(
        tmp_path / "old" / "summary.json", replace(earlier, systems=[SystemSummary(facts, {}, None, None, None, 0)])
    )
    config = BenchmarkConfig(models="tests.benchmark.odd_systems:One", compare=tmp_path / "old")
    with pytest.raises(UsageError, match=r"holds former and --models gives .*; expected a system of the same name"):
        resolve_inputs(config)


@pytest.mark.parametrize("command", ["benchmark", "report", "scoring"])
def test_every_command_says_alike_what_a_folder_of_results_lacks(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_results() -> None:
        if command == "benchmark":
            resolve_inputs(BenchmarkConfig(models="tests.benchmark.odd_systems:One", compare=tmp_path))
        monkeypatch.setattr(sys, "argv", [command, str(tmp_path)])
        report_command() if command == "report" else scoring_command()

    flag, error = ("--compare: ", UsageError) if command == "benchmark" else ("", InputError)
    lacking = "run.json" if command == "scoring" else "summary.json"
    missing = f"{flag}{tmp_path / lacking} is missing; expected a folder that benchmark/run.py wrote"
    with pytest.raises(error, match=re.escape(missing)):
        open_results()
    write_run(tmp_path / "run.json", Run("2026-01-01", "x", {}, "c", [], ["basic"], 0, [], {}, []))
    (tmp_path / "samples.jsonl").touch()
    with pytest.raises(error, match=re.escape(f"{flag}{tmp_path} holds an unfinished run, without summary.json")):
        open_results()


def test_the_samples_of_both_results_are_compared_pair_by_pair(tmp_path: Path) -> None:
    earlier = summary_at(tmp_path / "old")
    texts = [f"a b c d e f g h i {number}" for number in range(40)]

    def samples(hypothesis: Callable[[str], str]) -> list[Sample]:
        return [
            Sample("a", text, text, hypothesis(text), 1.0, StageSeconds(0.0, 0.0, 0.1, 0.0), condition="clean")
            for text in texts
        ]

    result = EarlierResult(tmp_path / "old", earlier)
    assert result.paired(earlier, samples(str), 0) == {}  # there are none of the earlier one
    write_samples(tmp_path / "old" / "samples.jsonl", samples(lambda text: text[2:]))
    ((key, change),) = result.paired(earlier, samples(str), 0).items()
    assert key == ("a", "clean") and change.difference.value == pytest.approx(-0.1) and change.utterances == 40
    by_characters = replace(earlier, metric="cer")
    ((_, change),) = replace(result, summary=by_characters).paired(by_characters, samples(str), 0).items()
    lengths = [len("".join(text.split())) for text in texts]
    assert change.difference.value == pytest.approx(-len(texts) / sum(lengths))
    assert result.paired(by_characters, samples(str), 0) == {}


def finished(folder: Path, wrong: int, name: str = "a") -> None:
    """A finished run of one system that gets the first of ten words wrong in some of 40 utterances."""
    texts = [f"a b c d e f g h i {number}" for number in range(40)]
    samples = [
        Sample(name, text, text, f"x {text[2:]}" if number < wrong else text, 1.0, StageSeconds(0.0, 0.0, 0.1, 0.0))
        for number, text in enumerate(texts)
    ]
    run = Run("2026", "x", {}, "c", [], ["basic"], 0, [], {}, [SystemRun(SystemFacts(name, "f", "c", 1))])
    folder.mkdir()
    write_run(folder / "run.json", run)
    write_samples(folder / "samples.jsonl", samples)
    write_summary(folder / "summary.json", summarise(run, samples, [], []))


def test_two_finished_results_are_compared_without_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And scoring again keeps the changes while the earlier folder is there."""
    old, new = tmp_path / "old", tmp_path / "new"
    finished(old, wrong=30)
    finished(new, wrong=5)
    monkeypatch.chdir(tmp_path)
    scoring_command(["new", "--compare", "old"])
    sentence = "Since the earlier result: a: WER, clean, of the 40 utterances of both, was 7.50%, is 1.25%;"
    assert sentence in " ".join(capsys.readouterr().out.split())
    [changed] = read_summary(new / "summary.json").changes
    assert (changed.kind, changed.significant) == ("better", True)
    assert "Changes since the earlier result" in (new / "summary.md").read_text(encoding="utf-8")
    monkeypatch.setattr("benchmark.report.write_reports", lambda *_: None)
    monkeypatch.chdir(new)  # what is recorded does not depend on the working directory
    scoring_command([str(new), "--seed", "5"])
    [again] = read_summary(new / "summary.json").changes
    assert (again.kind, again.before, again.now) == ("better", changed.before, changed.now)
    scoring_command([str(new), "--profiles", "verbatim"])
    other_profile = read_summary(new / "summary.json")
    assert not other_profile.changes
    assert any("Error rates are not compared with the earlier result" in one for one in other_profile.notices)


@pytest.mark.parametrize("recorded", [True, False])
def test_changes_that_scoring_must_leave_out_are_said_with_what_brings_them_back(
    recorded: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("preprocessing.cli.notes._noted", set())
    monkeypatch.setattr("benchmark.report.write_reports", lambda *_: None)
    old, new = tmp_path / "old", tmp_path / "new"
    finished(old, wrong=30)
    finished(new, wrong=5)
    scoring_command([str(new), "--compare", str(old)])
    old.rename(tmp_path / "moved")
    if not recorded:  # by an earlier version
        write_run(new / "run.json", replace(read_run(new / "run.json"), compare=None))
    capsys.readouterr()
    scoring_command([str(new)])
    note = capsys.readouterr().err
    since = f"the changes since {old if recorded else 'an earlier result'} are left out: "
    why = f"{old / 'summary.json'} is missing" if recorded else "the run does not name it"
    assert since + why in note and "--compare FOLDER, of an earlier result, brings them back" in note
    assert not read_summary(new / "summary.json").changes
    scoring_command([str(new), "--compare", str(tmp_path / "moved")])
    assert read_summary(new / "summary.json").changes


def test_scoring_refuses_what_cannot_be_compared(tmp_path: Path) -> None:
    finished(tmp_path / "old", wrong=3, name="former")
    finished(tmp_path / "new", wrong=3)
    (tmp_path / "empty").mkdir()
    before = read_summary(tmp_path / "new" / "summary.json")
    for folder, said in (
        ("old", r"former and .*new holds a; expected a system of the same name in both: .* of benchmark/run\.py$"),
        ("new", r"--compare and the results are both .*new; expected two folders"),
        ("empty", r"^--compare: .*summary.json is missing; expected a folder that benchmark/run.py wrote"),
    ):
        with pytest.raises(UsageError, match=said):
            scoring_command([str(tmp_path / "new"), "--compare", str(tmp_path / folder)])
    assert read_summary(tmp_path / "new" / "summary.json") == before


def test_a_result_is_not_compared_with_what_replaces_it(tmp_path: Path) -> None:
    """Its samples would be this run's own, so that no WER could ever change."""
    (tmp_path / "link").symlink_to(tmp_path / "nightly")
    for earlier in (tmp_path / "nightly", tmp_path / "x" / ".." / "nightly", tmp_path / "link"):
        config = BenchmarkConfig(output_dir=tmp_path / "nightly", compare=earlier, overwrite=True)
        with pytest.raises(UsageError, match="--compare and --output_dir are both"):
            config.check()
    BenchmarkConfig(output_dir=tmp_path / "tonight", compare=tmp_path / "nightly").check()


def test_batches_are_as_large_as_the_earlier_ones_unless_they_are_given(tmp_path: Path) -> None:
    """Not those of another device; a system that was not timed, or is new, is searched."""
    speed = Speed(*[1.0] * 6, StageSeconds(*[0.1] * 4), throughput=Spread(9.0, 8.0, 10.0))
    systems = [
        SystemSummary(SystemFacts(name, "f", "c", 1), {}, own, 1, None, 0)
        for name, own in {"a": replace(speed, batch_seconds=80.0), "b": speed, "c": None}.items()
    ]
    baseline = replace(summary_at(None), systems=systems)
    specs = [SimpleNamespace(name=name) for name in "abcd"]

    result = SimpleNamespace(summary=baseline)

    def fixed(batch_seconds: float | None, machine: dict[str, str], earlier: Any = result) -> Any:
        config = BenchmarkConfig(batch_seconds=batch_seconds)
        return session._fixed_batch_seconds(SimpleNamespace(config=config, earlier=earlier, specs=specs), machine)

    assert fixed(None, {}) == {"a": 80.0, "b": None}
    assert fixed(None, {"device": "H200"}) == fixed(None, {}, None) == {}
    assert fixed(40.0, {}) == dict.fromkeys("abcd", 40.0)
    assert fixed(0.0, {}) == dict.fromkeys("abcd")
    given = BenchmarkConfig(compare=Path("runs/old"), fail_on_regression=True)
    assert command_of(given) == "python benchmark/run.py --compare runs/old", "it gives the sizes"
    assert command_of(replace(given, batch_seconds=40.0)) == "python benchmark/run.py --batch_seconds 40.0"
    with pytest.raises(UsageError, match="--batch_seconds is -1"):
        BenchmarkConfig(batch_seconds=-1.0).check()
    assert BenchmarkConfig(batch_seconds=0.0).settings()["batch_seconds"] == "0.0"
    assert "batch_seconds" not in BenchmarkConfig().settings()
