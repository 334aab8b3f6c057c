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
    SystemSummary,
    read_summary,
    write_run,
    write_samples,
    write_summary,
)
from benchmark.scoring.__main__ import main as scoring_command
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

    monkeypatch.setattr(session, "changes", changes)
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
    return SimpleNamespace(systems=[])


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

    config = BenchmarkConfig(models="a=tests.benchmark.odd_systems:One", compare=tmp_path / "old")
    inputs: Any = SimpleNamespace(config=config)
    assert session._paired_changes(inputs, earlier, earlier, samples(str)) == {}  # there are none of the earlier one
    write_samples(tmp_path / "old" / "samples.jsonl", samples(lambda text: text[2:]))
    ((key, change),) = session._paired_changes(inputs, earlier, earlier, samples(str)).items()
    assert key == ("a", "clean") and change.difference.value == pytest.approx(-0.1) and change.utterances == 40
    by_characters = replace(earlier, metric="cer")
    ((_, change),) = session._paired_changes(inputs, by_characters, by_characters, samples(str)).items()
    lengths = [len("".join(text.split())) for text in texts]
    assert change.difference.value == pytest.approx(-len(texts) / sum(lengths))
    assert session._paired_changes(inputs, earlier, by_characters, samples(str)) == {}


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

    def fixed(batch_seconds: float | None, machine: dict[str, str], baseline: Summary | None = baseline) -> Any:
        config = BenchmarkConfig(batch_seconds=batch_seconds)
        return session._fixed_batch_seconds(SimpleNamespace(config=config, baseline=baseline, specs=specs), machine)

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
