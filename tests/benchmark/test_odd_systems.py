"""Systems that raise, hang, die, answer wrongly or chatter: recorded, counted, gone on, and nobody else is stopped."""

import io
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from benchmark import session
from benchmark.config import BenchmarkConfig
from benchmark.results import Sample, Summary, SystemFacts, SystemRun, SystemSummary, read_samples, read_summary
from benchmark.runner import BenchmarkRunner, RunState
from benchmark.worker import SystemFailed
from preprocessing.cli.progress import Steps
from tests.benchmark.odd_systems import GUILTY, RATE, corpus
from tests.commands import run

SYSTEMS = ("Raises", "Hangs", "Dies", "TooFew", "Talks", "Length")
COUNT = 8
Found = tuple[dict[str, list[Sample]], Summary, str]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """One run of them all."""
    folder = tmp_path_factory.mktemp("odd")
    models = ",".join(f"tests.benchmark.odd_systems:{name}" for name in SYSTEMS)
    result = run(
        *("benchmark/run.py", "--models", models, "--data", corpus(folder, COUNT), "--output_dir", folder / "out"),
        *("--conditions", "clean", "--rounds", "1", "--timeout", "6", "--profiles", "[verbatim]"),
    )
    assert result.returncode == 0, result.stderr
    samples: dict[str, list[Sample]] = {name: [] for name in SYSTEMS}
    for sample in read_samples(folder / "out" / "samples.jsonl"):
        samples[sample.system.partition(":")[2]].append(sample)
    return samples, read_summary(folder / "out" / "summary.json"), result.stdout + result.stderr


def summed(found: Found, name: str) -> SystemSummary:
    return next(one for one in found[1].systems if one.facts.name.endswith(f":{name}"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "reason"), [("Raises", "MemoryError: no room"), ("Hangs", "--timeout"), ("Dies", "exit code 7")]
)
def test_only_the_guilty_utterance_fails(found: Found, name: str, reason: str) -> None:
    samples = found[0][name]
    assert [sample.id for sample in samples] == [f"u{place}" for place in range(COUNT)]
    failed = [sample for sample in samples if sample.error is not None]
    assert [sample.audio_seconds for sample in failed] == [GUILTY / RATE]
    assert reason in str(failed[0].error) and failed[0].hypothesis == ""
    assert all(int(one.hypothesis) == round(one.audio_seconds * RATE) for one in samples if one.error is None)
    assert summed(found, name).failed_utterances == 1


class Unloadable:
    """What a runner sees of a system; one named "rival" cannot be loaded."""

    loaded = None

    def __init__(self, name: str) -> None:
        self.name, self.record = name, SystemRun(SystemFacts(name, "f", "c", 0))

    def start(self) -> None:
        if self.name == "rival":
            raise SystemFailed("rival: no file model.pt.")

    def fail(self, reason: str) -> None:
        self.record = replace(self.record, failure=reason)


@pytest.mark.parametrize(
    ("names", "baseline", "said"),
    [
        (["rival", "other"], None, "NOTE rival: no file model.pt; the others go on\n"),
        (["rival"], None, "NOTE rival: no file model.pt\n"),
        (
            ["other", "rival"],
            "rival",
            "NOTE rival: no file model.pt; the others go on; it is the baseline system, so nothing will be compared "
            "with it\n",
        ),
    ],
)
def test_a_failure_is_announced_at_once(
    names: list[str], baseline: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = Console(file=io.StringIO())
    inputs: Any = SimpleNamespace(console=console, config=BenchmarkConfig(baseline_system=baseline))
    monkeypatch.setattr(BenchmarkRunner, "_untimed_items", lambda *_: [(0, 0)])
    runner = BenchmarkRunner(
        *cast(Any, ([Unloadable(name) for name in names], None, None, Steps(Console(quiet=True), 2), 1, 1)),
        save=lambda _: None,
        on_failure=partial(session._announce_failure, inputs),
    )
    assert runner.load(RunState()).failed == {"rival"}
    assert cast(io.StringIO, console.file).getvalue() == said


@pytest.mark.slow
def test_too_few_answers_are_asked_for_again_one_by_one(found: Found) -> None:
    assert [sample.hypothesis for sample in found[0]["TooFew"]] == [one.hypothesis for one in found[0]["Length"]]


@pytest.mark.slow
def test_what_it_prints_is_kept_from_the_terminal(found: Found) -> None:
    printed = summed(found, "Talks").facts.settings["printed"]
    assert "UNWANTED on stdout" in printed and "UNWANTED on stderr" in printed
    assert int(printed.split()[0]) >= 2 * COUNT
    assert "UNWANTED" not in found[2]
    assert "printed" not in summed(found, "Length").facts.settings


@pytest.mark.slow
@pytest.mark.parametrize("one_at_a_time", ["true", "false"])
def test_no_two_are_in_memory_together_where_so_told(one_at_a_time: str, tmp_path: Path) -> None:
    models = ",".join(f"tests.benchmark.odd_systems:{name}" for name in ("Alone", "AloneToo"))
    result = run(
        *("benchmark/run.py", "--models", models, "--data", corpus(tmp_path, 2), "--output_dir", tmp_path / "out"),
        *("--conditions", "clean", "--rounds", "1", "--profiles", "[verbatim]", "--one_at_a_time", one_at_a_time),
        ALONE=str(tmp_path / "lock"),
    )
    first, second = read_summary(tmp_path / "out" / "summary.json").systems
    assert first.failure is None and first.speed is not None and first.speed.throughput is not None
    assert (result.returncode, second.failure is None) == ((0, True) if one_at_a_time == "true" else (1, False))
