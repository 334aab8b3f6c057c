"""--compare hands both results to scoring, and --fail_on_regression ends with 1 only where something is truly worse."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from benchmark import session
from benchmark.config import BenchmarkConfig
from benchmark.results import Change, CorpusFacts, ProfileUsed, Summary, read_summary, write_summary
from preprocessing.cli.errors import InputError
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
