"""Systems that raise, hang, die, answer wrongly or chatter: recorded, counted, gone on, and nobody else is stopped."""

from pathlib import Path

import pytest

from benchmark.results import Sample, Summary, SystemSummary, read_samples, read_summary
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
