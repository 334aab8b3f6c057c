"""A whole summary from records made by hand: conditions, failures, systems that did not end; and the command."""

import dataclasses
import json
import tomllib
from pathlib import Path

import jiwer
import numpy as np
import pytest

from benchmark import __version__
from benchmark.report import write_reports
from benchmark.report.fairness import detectable
from benchmark.report.verdict import verdict
from benchmark.report.views import condition_rows, hallucinations
from benchmark.results import (
    Comparison,
    ConditionUsed,
    Run,
    Sample,
    StageSeconds,
    SystemFacts,
    SystemRun,
    read_run,
    read_summary,
    write_run,
    write_samples,
    write_summary,
)
from benchmark.scoring import summarise
from benchmark.scoring.__main__ import main as command
from benchmark.scoring.comparisons import correct
from finetune.metrics import Rate
from preprocessing.errors import InputError, UsageError
from preprocessing.text import profile
from tests.benchmark.parsed_page import page_of
from tests.conftest import ROOT

SECONDS = StageSeconds(0.0, 0.0, 0.1, 0.0)
CONDITIONS = [
    ConditionUsed("clean", "as it is"),
    ConditionUsed("babble 5 dB", "voices", snr_db=5.0),
    ConditionUsed("silence", "nothing", speech=False),
]


def run_of(*names: str, failure: str | None = None) -> Run:
    systems = [SystemRun(SystemFacts(name, "none", name, 1), 1.5, 0.5, 10**9) for name in names]
    if failure:
        systems.append(SystemRun(SystemFacts("broken", "none", "broken", 0), failure=failure))
    profiles = ["verbatim", "basic"]
    return Run("2026-01-01T00:00:00+00:00", "x", {}, "test", CONDITIONS, profiles, 3, ["a notice"], {"a": "b"}, systems)


def heard(system: str, errors: float, condition: str = "clean", count: int = 120) -> list[Sample]:
    """Utterances of ten words by eight speakers, a share of the words heard wrong; the same texts for all systems."""
    texts, luck = np.random.default_rng(0), np.random.default_rng([ord(letter) for letter in system + condition])
    samples = []
    for index in range(count):
        words = [f"w{word}" for word in texts.integers(50, size=10)]
        said = [f"x{word}" if luck.random() < errors else word for word in words]
        sample = Sample(system, f"u{index}", " ".join(words), " ".join(said), 6.0, SECONDS, f"s{index % 8}")
        samples.append(dataclasses.replace(sample, condition=condition))
    return samples


def test_a_single_comparison_is_not_said_to_be_corrected() -> None:
    single = Comparison("a", "b", Rate(-0.1, -0.19, -0.01), "", p_value=0.03)
    (one,) = correct([single])
    assert (one.different, one.adjusted_p) == (True, 0.03) and "correction" not in one.sentence
    one, _ = correct([single, single])
    assert (one.different, one.adjusted_p) == (False, 0.06)
    assert "No significant difference between a and b after correction for several comparisons" in one.sentence


def test_every_condition_is_scored_and_compared() -> None:
    silence = [
        Sample(system, "q", "", text, 30.0, SECONDS, condition="silence")
        for system, text in (("a", "thank you"), ("b", ""))
    ]
    samples = [*heard("a", 0.1), *heard("b", 0.3), *heard("a", 0.4, "babble 5 dB"), *heard("b", 0.4, "babble 5 dB")]
    summary = summarise(run_of("a", "b"), [*samples, *silence], [], [])
    a, b = summary.systems
    assert summary.corpus.utterances == 120 and summary.corpus.hours == pytest.approx(0.2)
    assert (summary.corpus.speakers, summary.corpus.resampling_unit) == (8, "speaker")
    for system, condition, scores in (
        ("a", "clean", a.scores["verbatim"]),
        ("b", "clean", b.scores["basic"]),
        ("a", "babble 5 dB", a.conditions["babble 5 dB"]["verbatim"]),
    ):
        own = [one for one in samples if (one.system, one.condition) == (system, condition)]
        counted = jiwer.process_words([one.reference for one in own], [one.hypothesis for one in own])
        assert scores.wer.value == pytest.approx(counted.wer)
        assert scores.mer is not None and scores.mer.value == pytest.approx(counted.mer)
        assert scores.wil is not None and scores.wil.value == pytest.approx(counted.wil)
        for rate in (scores.wer, scores.cer, scores.mer, scores.wil):
            assert rate.low < rate.value < rate.high
    assert list(a.conditions) == ["babble 5 dB"]
    assert a.hallucinated_words_per_minute == {"silence": 4.0}
    assert b.hallucinated_words_per_minute == {"silence": 0.0}
    clean, noisy = summary.comparisons
    assert (clean.condition, clean.different, noisy.condition, noisy.different) == ("clean", True, "babble 5 dB", False)
    assert clean.sentence.startswith("a is significantly better than b: ")
    assert noisy.sentence.startswith("babble 5 dB: ")
    assert clean.adjusted_p == pytest.approx(2 * (clean.p_value or 0))
    assert summary.largest_detectable is not None and 0 < summary.largest_detectable.value < 0.1
    assert a.speed is None and a.confusions and not a.loops and a.segments is None
    assert summary.notices == ["a notice"]


def test_clean_speech_stands_beside_a_condition_on_the_same_utterances() -> None:
    """The 40 under noise are the easy ones of 120: without it they would seem to be easier in noise."""
    clean = [
        dataclasses.replace(one, hypothesis=one.reference if place < 40 else "none of it")
        for place, one in enumerate(heard("a", 0.0))
    ]
    noisy = [dataclasses.replace(one, condition="babble 5 dB") for one in clean[:40]]
    looped = dataclasses.replace(noisy[3], hypothesis="go " * 40)
    (system,) = summarise(run_of("a"), [*clean, *noisy[:3], looped, *noisy[4:]], [], []).systems
    assert system.scores["verbatim"].wer.value > 0.6
    assert system.clean_of_conditions is not None and system.clean_of_conditions.wer.value == 0.0
    assert system.loops_by_condition() == {"babble 5 dB": ["u3"]}
    assert [row.name for row in condition_rows(summarise(run_of("a"), [*clean, *noisy], [], []))][:2] == ["clean"] * 2
    whole = summarise(
        run_of("a"), [*clean, *[dataclasses.replace(one, condition="babble 5 dB") for one in clean]], [], []
    )
    assert whole.systems[0].clean_of_conditions is None


def test_the_detectable_difference_counts_the_correction() -> None:
    samples = [*heard("a", 0.1), *heard("b", 0.3), *heard("c", 0.2)]
    three, two = (
        summarise(run_of(*names), [one for one in samples if one.system in names], [], []) for names in ("abc", "ab")
    )
    of_three, of_two = three.largest_detectable, two.largest_detectable
    assert of_three is not None and of_two is not None
    assert of_three.value == max(one.value for one in three.detectable_differences)
    assert (of_three.comparisons, of_two.comparisons) == (3, 1)
    assert of_three.value > 1.1 * of_two.value
    assert "after the correction for 3 comparisons" in detectable(three)[0] and "correction" not in detectable(two)[0]


def test_the_largest_detectable_difference_is_not_written_and_ignored_in_an_old_summary(
    tmp_path: Path,
) -> None:
    summary, path = summarise(run_of("a", "b"), [*heard("a", 0.1), *heard("b", 0.3)], [], []), tmp_path / "summary.json"
    write_summary(path, summary)
    written = json.loads(path.read_text(encoding="utf-8"))
    former = {
        "minimum_detectable_difference": 0.5,
        "detectable_without": 0.4,
        "detectable_left_out": ["u0"],
        "detectable_comparisons": 7,
    }
    assert not {*former, "largest_detectable"} & set(written) and len(written["detectable_differences"]) == 1
    path.write_text(json.dumps(written | former), encoding="utf-8")
    assert read_summary(path) == summary


def test_where_a_speaker_has_all_the_words_no_difference_is_promised() -> None:
    """The other speakers are silent, or what they say is not transcribed."""
    samples = [
        one if one.speaker == "s0" else dataclasses.replace(one, reference="", hypothesis="")
        for one in [*heard("a", 0.1), *heard("b", 0.3)]
    ]
    summary = summarise(run_of("a", "b"), samples, [], [])
    assert summary.largest_detectable is not None and summary.largest_detectable.value == 1.0
    assert detectable(summary)[0].startswith("No difference of up to 100 points of WER is detected")


def test_a_signature_names_every_choice() -> None:
    """That of each profile, with the unit that the bootstrap drew, and the version that the package has."""
    summary = summarise(run_of("a"), heard("a", 0.1), [], [])
    assert [used.signature for used in summary.profiles] == [
        f"wer|profile:{name}.v{profile(name).version}|level:word|ci:speaker-bootstrap-2000|seed:3|version:{__version__}"
        for name in ("verbatim", "basic")
    ]
    no_speakers = [dataclasses.replace(one, speaker=None) for one in heard("a", 0.1)]
    assert "|ci:utterance-bootstrap-2000|" in summarise(run_of("a"), no_speakers, [], []).profiles[0].signature
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert __version__ == project["version"]


def test_what_is_missing_is_said() -> None:
    failed = dataclasses.replace(heard("a", 0.1)[0], hypothesis="", error="out of memory")
    samples = [*heard("a", 0.1)[1:], failed, *heard("b", 0.2)[:60], *heard("unfinished", 0.2)]
    summary = summarise(run_of("a", "b", failure="no such model"), samples, [], [])
    a, b, broken = summary.systems
    assert a.failed_utterances == 1 and a.scores["verbatim"].deletions == 10
    assert broken.failure == "no such model" and not broken.scores
    assert b.scores["verbatim"].words == 600
    told = "\n".join(summary.notices)
    assert "unfinished did not finish: its 120 samples" in told and "b has 60 of 120 utterances under clean" in told
    [comparison] = summary.comparisons
    shared = [one for one in samples if one.system == "a" and int(one.id[1:]) < 60]
    wer = jiwer.wer([one.reference for one in shared], [one.hypothesis for one in shared])
    assert comparison.difference.value == pytest.approx(wer - b.scores["verbatim"].wer.value)
    assert summary.systems[0].failure is None and summarise(run_of("a", "c"), samples, [], []).systems[1].failure


def test_words_of_empty_references_count_as_insertions_and_a_minute() -> None:
    samples = [*heard("a", 0.0), Sample("a", "e", "", "um so", 12.0, SECONDS, "s1")]
    [system] = summarise(run_of("a"), samples, [], []).systems
    assert system.scores["verbatim"].insertions == 2
    assert system.hallucinated_words_per_minute == {"clean": 10.0}


def test_recordings_without_speech_that_have_text_are_counted_with_an_interval() -> None:
    """One word in each of many short clips is a high rate a minute and tells nothing of how many have one."""
    samples = [
        Sample("a", f"u{index}", "", "um" if index < 3 else "", 0.45, SECONDS, f"s{index % 6}") for index in range(24)
    ]
    samples.append(Sample("a", "x", "", "", 0.45, SECONDS, "s0", error="failed"))
    [system] = summarise(run_of("a"), samples, [], []).systems
    silent = system.silent["clean"]
    assert (silent.recordings, silent.with_text, silent.share.value) == (24, 3, 0.125)
    assert 0 <= silent.share.low < 0.05 and 0.25 < silent.share.high < 0.7
    assert system.hallucinated_words_per_minute["clean"] == pytest.approx(60 * 3 / (24 * 0.45))


def test_no_audio_has_no_words_a_minute() -> None:
    samples = [*heard("a", 0.1), Sample("a", "u0", "", "thank you", 0.0, SECONDS, condition="empty")]
    summary = summarise(run_of("a"), samples, [], [])
    [system] = summary.systems
    assert not system.hallucinated_words_per_minute
    assert (system.silent["empty"].recordings, system.silent["empty"].with_text) == (1, 1)
    [(name, _, [cell])] = hallucinations(summary)
    assert name == "empty" and cell is not None and cell.words_per_minute is None
    page = page_of(summary, samples, n_audio=0)
    assert ">1 of 1<" in page and "> a minute<" not in page


def test_a_corpus_without_any_word_has_words_a_minute_and_no_rate(tmp_path: Path) -> None:
    samples = [
        Sample(name, f"u{index}", "", text, 12.0, SECONDS, "s")
        for name, text in (("a", "um so"), ("b", ""))
        for index in range(12)
    ]
    summary = summarise(run_of("a", "b"), samples, [], [])
    assert not any(one.scores for one in summary.systems) and not summary.comparisons
    assert [one.hallucinated_words_per_minute for one in summary.systems] == [{"clean": 10.0}, {"clean": 0.0}]
    assert verdict(summary) == [
        "No reference has a word, so there is no WER. Hallucinated words per minute: a 10.0, b 0.0."
    ]
    write_reports(tmp_path, summary, samples, [])
    assert "2400.00" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_sample_that_is_there_twice_counts_once_and_foreign_ones_are_refused() -> None:
    again = [dataclasses.replace(one, hypothesis=one.reference) for one in heard("a", 0.5)]
    [system] = summarise(run_of("a"), [*heard("a", 0.5), *again], [], []).systems
    assert system.scores["verbatim"].wer.value == 0.0 and system.scores["verbatim"].words == 1200
    with pytest.raises(InputError, match="the run b"):
        summarise(run_of("b"), heard("a", 0.5), [], [])
    with pytest.raises(UsageError, match="profile"):
        summarise(dataclasses.replace(run_of("a"), profiles=["nonsense"]), heard("a", 0.5), [], [])


@pytest.mark.parametrize("profiles", ["basic,verbatim", "[basic, verbatim]"])
def test_a_folder_is_scored_again_under_other_profiles(
    profiles: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "run.json", run_of("a", "b"))
    samples = [dataclasses.replace(one, hypothesis=one.hypothesis.upper()) for one in heard("a", 0.1)]
    write_samples(tmp_path / "samples.jsonl", [*samples, *heard("b", 0.2), *heard("unfinished", 0.2)])
    with pytest.raises(InputError, match="unfinished run"):  # which makes a run finished
        command([str(tmp_path)])
    assert not (tmp_path / "report.html").exists()
    write_summary(tmp_path / "summary.json", summarise(run_of("a", "b"), heard("a", 0.1), [], []))
    command([str(tmp_path), "--profiles", profiles, "--seed", "5"])
    out = " ".join(capsys.readouterr().out.split())
    summary = read_summary(tmp_path / "summary.json")
    assert [one.name for one in summary.profiles] == ["basic", "verbatim"]
    wer = summary.systems[0].scores["basic"].wer.value
    assert summary.systems[0].scores["verbatim"].wer.value == 1.0 and wer < 0.2
    assert f"a: WER 100.00% under verbatim, {wer:.2%} under basic: +{100 * (1 - wer):.1f} points." in out
    assert read_run(tmp_path / "run.json").seed == 5
    assert (tmp_path / "report.html").is_file() and (tmp_path / "summary.md").is_file()


def test_a_folder_is_scored_again_with_a_baseline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, samples = run_of("a", "b", "c"), [*heard("a", 0.1), *heard("b", 0.3), *heard("c", 0.2)]
    write_run(tmp_path / "run.json", run)
    write_samples(tmp_path / "samples.jsonl", samples)
    write_summary(tmp_path / "summary.json", summarise(run, samples, [], []))
    with pytest.raises(UsageError, match="--baseline_system d is none of the systems a, b, c"):
        command([str(tmp_path), "--baseline_system", "d"])
    command([str(tmp_path), "--baseline_system", "b"])
    summary = read_summary(tmp_path / "summary.json")
    assert (summary.baseline_system, read_run(tmp_path / "run.json").baseline_system) == ("b", "b")
    families = {(one.first, one.second): one.family for one in summary.comparisons}
    assert families == {("a", "b"): "baseline", ("b", "c"): "baseline", ("a", "c"): "other"}
    assert {(one.first, one.second): one.comparisons for one in summary.detectable_differences} == {
        ("a", "b"): 2,
        ("b", "c"): 2,
        ("a", "c"): 1,
    }
    out = " ".join(capsys.readouterr().out.split())
    assert "for the 2 comparisons with the baseline system b on clean speech and for the other;" in out
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "corrected p: of the comparisons with the baseline system <bdi>b</bdi> on clean speech" in page


def test_a_folder_of_an_earlier_version_is_refused_in_a_sentence(tmp_path: Path) -> None:
    write_samples(tmp_path / "samples.jsonl", heard("a", 0.1))
    with pytest.raises(InputError, match=r"run\.json is missing.*run the benchmark again"):
        command([str(tmp_path)])
