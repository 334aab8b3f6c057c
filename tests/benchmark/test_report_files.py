"""What lies in the folder after a report: CSV that reads back, figures, sounds from real audio, and the command."""

import base64
import csv
import dataclasses
import io
import sys
from pathlib import Path

import pytest
import soundfile

from benchmark import results
from benchmark.report import PAGE, SUMMARY, browser, export, write_reports
from benchmark.report import __main__ as command
from benchmark.report.clips import clips
from benchmark.report.figures.style import Plot
from benchmark.report.page import prepare
from benchmark.report.utterances import compare_utterances, worst_utterances
from benchmark.results import Sample, store
from finetune.systems.transcript import Word
from preprocessing.cli.options import run_command
from preprocessing.errors import InputError
from preprocessing.text import profile
from tests.benchmark.parsed_page import page_of
from tests.benchmark.reported import full_run, run, run_of, sample, scored, with_errors, with_words
from tests.conftest import DEMO, read_manifest


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def demo_samples(count: int) -> list[Sample]:
    """Real recordings of the demo corpus, each heard with some errors."""
    import random

    rng = random.Random(0)
    manifest = DEMO / "corpus" / "test.jsonl"
    return [
        dataclasses.replace(
            sample("only", row["id"], row["text"], with_errors(row["text"].split(), 0.9, rng)),
            audio=str(manifest.parent / row["audio"]),
            audio_seconds=row["duration"],
        )
        for row in read_manifest(manifest)[:count]
    ]


def test_the_tables_read_back(tmp_path: Path) -> None:
    summary, samples, timings = full_run(12, n_noisy=3)
    samples[0] = dataclasses.replace(samples[0], speaker="=1+1", domain='a,"b"\nc', reference=samples[0].reference)
    write_reports(tmp_path, summary, samples, timings, n_audio=0)
    by_system = read_csv(tmp_path / "systems.csv")
    assert len(by_system) == 3 * 2 * 10  # systems, profiles, conditions, of which two have no speech
    for row in by_system:
        system = next(one for one in summary.systems if one.facts.name == row["system"])
        scores = system.by_condition().get(row["condition"], {})
        if row["profile"] in scores:
            assert float(row["wer_low"]) == scores[row["profile"]].wer.low
            assert int(row["insertions"]) == scores[row["profile"]].insertions
        else:
            assert row["wer"] == row["words"] == ""
        per_minute = system.hallucinated_words_per_minute.get(row["condition"])
        assert row["hallucinated_words_per_minute"] == ("" if per_minute is None else str(per_minute))
        silent = system.silent.get(row["condition"])
        assert row["silent_with_text"] == ("" if silent is None else str(silent.with_text))
        assert row["silent_with_text_share_high"] == ("" if silent is None else "0.5")
        assert float(row["batch_seconds"]) == 60.0
    rows = read_csv(tmp_path / "utterances.csv")
    assert len(rows) == len(samples) == 3 * 15
    assert rows[0]["speaker"] == "'=1+1" and rows[0]["domain"] == 'a,"b"\nc'
    totals = {one.facts.name: 0 for one in summary.systems}
    for row in rows:
        assert row["condition"] == "clean" or row["latency_seconds"] == ""  # timed is clean speech alone
        if row["condition"] == "clean":
            totals[row["system"]] += int(row["substitutions"]) + int(row["deletions"]) + int(row["insertions"])
    assert totals == {
        one.facts.name: (s := one.scores["verbatim"]).substitutions + s.deletions + s.insertions
        for one in summary.systems
    }
    names = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert {"forest", "differences", "tradeoff", "percentiles", "latency", "errors-0", "slices-5", "snr-1"} <= names


def test_the_thresholds_on_confidence_are_those_of_a_count_by_hand(tmp_path: Path) -> None:
    def spoken(id: str, reference: str, *words: tuple[str, float], **rest: object) -> Sample:
        times = tuple(Word(f" {word}", 0.0, 1.0, probability) for word, probability in words)
        return sample("only", id, reference, " ".join(word for word, _ in words), words=times, **rest)

    samples = [
        spoken("right", "turn left", ("turn", 0.9), ("left", 0.8)),
        spoken("right, uncertain", "stop", ("stop", 0.4)),
        spoken("wrong command", "go", ("no", 0.6)),
        spoken("other speech", "what a nice day", ("stop", 0.3)),
        spoken("noise", "", ("go", 0.8)),
        spoken("noise rejected", ""),
        spoken("nothing recognised", "stop"),
        spoken("noisy", "stop", ("stop", 0.1), condition="babble"),
        sample("only", "failed", "go", "", error="out of memory"),
        sample("only", "second pass failed", "go", "go"),
    ]
    summary = dataclasses.replace(run_of(samples, [scored("only", samples)]), comparisons=[])
    write_reports(tmp_path, summary, samples, n_audio=0)
    rows = read_csv(tmp_path / "rejection.csv")
    assert [tuple(float(row[key]) for key in list(row)[1:-1]) for row in rows] == [
        (0.3, 8, 5, 3, 3 / 6, 0.0),
        (0.4, 8, 4, 2, 2 / 6, 0.0),
        (0.6, 8, 3, 2, 2 / 6, 1 / 2),
        (0.8, 8, 2, 1, 1 / 6, 1 / 2),
    ]
    assert {row["profile"] for row in rows} == {"verbatim"}
    confidences = [row["confidence"] for row in read_csv(tmp_path / "utterances.csv")]
    assert confidences == ["0.8", "0.4", "0.6", "0.3", "0.8", "", "", "0.1", "", ""]
    without = [dataclasses.replace(one, words=None) for one in samples]
    write_reports(tmp_path, summary, without, n_audio=0)
    assert not (tmp_path / "rejection.csv").exists()


def test_a_command_in_digits_is_right_under_the_profile_of_words(tmp_path: Path) -> None:
    samples = [
        sample("only", f"u{place}", spoken, said, words=(Word(f" {said}", 0.0, 0.5, 0.9),))
        for place, (spoken, said) in enumerate([("seven", "7"), ("nine", "9"), ("five", "fine")])
    ]
    summary = dataclasses.replace(run_of(samples, [scored("only", samples)]), comparisons=[])
    for word_profile, wrong in ((None, "3"), ("basic:en", "1")):
        write_reports(tmp_path, dataclasses.replace(summary, word_profile=word_profile), samples, n_audio=0)
        (row,) = read_csv(tmp_path / "rejection.csv")
        assert (row["wrong"], row["profile"]) == (wrong, word_profile or "verbatim")


def test_a_report_that_is_replaced_leaves_nothing_behind(tmp_path: Path) -> None:
    summary, samples, timings = full_run(12, n_noisy=3)
    summary, samples = with_words(summary, samples)
    names = {PAGE, SUMMARY, export.SYSTEMS, export.UTTERANCES, export.KEYWORDS, export.REJECTION}
    assert names == set(store.REPORTS)
    figures = prepare(summary, samples, timings, profile("verbatim")).plots
    (tmp_path / "figures").mkdir()
    made = [*names, *(f"figures/{name}{suffix}" for name in figures for suffix in (".png", ".svg"))]
    own = ["notes.csv", "figures/errors.png", "figures/mine-1.svg"]
    for name in [*made, *own]:
        (tmp_path / name).touch()
    export.write_figures(tmp_path, {"errors-0": Plot(lambda *_: None)})
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {*names, *own}
    store.clear_results(tmp_path)
    assert (tmp_path / "report.html").exists(), "no run has left a result here: it may be anybody's"
    results.write_summary(tmp_path / "summary.json", summary)
    store.clear_results(tmp_path)
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == set(own)


def test_latencies_are_the_medians_of_the_rounds() -> None:
    summary, samples, timings = full_run(4)
    content = prepare(summary, samples, timings, profile("verbatim"))
    own = sorted(t.seconds.total for t in timings if (t.system, t.id) == (samples[0].system, samples[0].id))
    assert len(own) == 3 and content.latencies[samples[0].system, samples[0].id] == own[1]


def test_clips_hold_the_recordings_and_stay_under_their_limit() -> None:
    samples = [
        *demo_samples(6),
        sample("only", "gone", "a b", "c d", audio="nowhere.wav"),
        sample("only", "x", "a", "b"),
    ]
    summary = dataclasses.replace(run()[0], systems=[dataclasses.replace(run()[0].systems[0])])
    system = summary.systems[0]
    facts = dataclasses.replace(system.facts, name="only")
    summary = dataclasses.replace(summary, systems=[dataclasses.replace(system, facts=facts)])
    utterances = worst_utterances(compare_utterances(summary, samples, str), 40)
    found = clips(utterances)
    assert {id for id, _ in found} == {u.id for u in utterances} - {"gone", "x"} and len(found) >= 5
    for utterance in utterances:
        if clip := found.get((utterance.id, utterance.condition)):
            sound, rate = soundfile.read(io.BytesIO(base64.b64decode(clip.audio.partition(",")[2])))
            assert len(sound) / rate == pytest.approx(utterance.first.audio_seconds, abs=0.05)
            assert base64.b64decode(clip.log_mel.partition(",")[2])[8:12] == b"WEBP"
    sizes = [len(clip.audio) + len(clip.log_mel) for clip in found.values()]
    assert len(clips(utterances, max_bytes=sizes[0])) == 1 and not clips(utterances, max_bytes=10)


def test_a_recording_that_a_condition_replaced_is_not_played() -> None:
    heard_noise = [dataclasses.replace(one, condition="noise-only", reference="") for one in demo_samples(2)]
    for samples, n_clips in ((heard_noise, 0), (demo_samples(2), 2)):
        page = page_of(run_of(samples, [scored("only", samples)]), samples, n_audio=2)
        assert page.count("data:audio/ogg") == n_clips


def test_a_large_run_shows_the_worst_and_some_of_the_others() -> None:
    summary, samples, _ = full_run(60, n_noisy=0)
    utterances = compare_utterances(summary, samples, str)
    assert browser.select_utterances(utterances) == browser.BrowserSelection(utterances)
    some = browser.select_utterances(utterances, limit=20)
    assert 15 <= len(some.utterances) <= 20 and f"{len(some.utterances)} of 60" in some.sentence
    kept = {one.id for one in some.utterances}
    assert {one.id for one in worst_utterances(utterances, 10)} <= kept
    assert [one.id for one in utterances if one.id in kept] == [one.id for one in some.utterances]
    assert 0 < len(browser.select_utterances(utterances, n_characters=3000).utterances) < 60


@pytest.mark.slow
def test_the_command_makes_the_same_again_or_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    summary, samples, timings = full_run(8, n_noisy=0)
    monkeypatch.setattr(sys, "argv", ["report", str(tmp_path)])
    for content in (None, "{", '{"schema": 0}', "[]"):
        if content is not None:
            (tmp_path / "summary.json").write_text(content)
            (tmp_path / "samples.jsonl").touch()
        with pytest.raises(SystemExit) as ended:
            run_command(command.main)
        said = capsys.readouterr().err
        assert ended.value.code == 1 and "summary.json" in said and said.count("\n") == 1
    write_reports(tmp_path, summary, samples, timings)
    files = [path for path in sorted(tmp_path.rglob("*")) if path.is_file() and path.suffix in (".md", ".html", ".csv")]
    before = [path.read_bytes() for path in files]
    results.write_summary(tmp_path / "summary.json", summary)
    results.write_samples(tmp_path / "samples.jsonl", samples)
    (tmp_path / "timings.jsonl").write_text("".join(map(results.json_line, timings)))
    command.main()
    assert len(files) == 4 and before == [path.read_bytes() for path in files]
    with pytest.raises(InputError, match="'stranger'"):
        write_reports(tmp_path, summary, [*samples, sample("stranger", "u", "a", "a")])
