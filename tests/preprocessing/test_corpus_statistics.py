"""Statistics of a corpus against counting by hand, and the command that prints them."""

import json
import math
import statistics
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing import audio
from preprocessing.corpus import Corpus, Utterance, report
from preprocessing.corpus.__main__ import main
from preprocessing.corpus.levels import FRAME_SAMPLES, AudioLevels, measure_corpus, measure_levels
from preprocessing.corpus.statistics import (
    Finding,
    find_leaks,
    find_unlikely_rates,
    gini,
    group_by,
    percentiles,
    summarise,
)
from preprocessing.errors import UserError
from preprocessing.frames import frames_in, frames_needed
from preprocessing.text import profile
from tests.commands import assert_one_sentence, run
from tests.conftest import ROOT, write_manifest

PROFILE = profile("librispeech")


@settings(max_examples=100)
@given(st.lists(st.sampled_from([0, 1, 40, 20_000, 32_766, 32_767, -32_767, -32_768]), min_size=1, max_size=1500))
def test_sound_is_what_a_walk_over_the_samples_finds(samples: list[int]) -> None:
    sound = measure_levels(torch.tensor(samples, dtype=torch.float32) / 32_768)
    longest = run_length = 0
    previous = 0
    for sample in samples:
        end = 1 if sample >= 32_767 else -1 if sample <= -32_767 else 0
        run_length = run_length + 1 if end and end == previous else abs(end)
        longest, previous = max(longest, run_length), end
    assert sound.longest_clip_samples == longest
    assert sound.full_scale_samples == sum(abs(sample) >= 32_767 for sample in samples)
    mean_square = sum(sample * sample for sample in samples) / len(samples) / 32_768**2
    assert sound.rms_dbfs == pytest.approx(10 * math.log10(mean_square) if mean_square else -math.inf)
    frames = [samples[start : start + FRAME_SAMPLES] for start in range(0, len(samples), FRAME_SAMPLES)]
    quiet = [sum(s * s for s in frame) / len(frame) < (32_768 * 0.001) ** 2 for frame in frames]
    assert sound.silent == all(quiet)
    if not sound.silent:
        before = sum(len(frame) for frame in frames[: quiet.index(False)])
        after = sum(len(frame) for frame in frames[len(frames) - quiet[::-1].index(False) :])
        assert (sound.leading_silence_seconds, sound.trailing_silence_seconds) == (before / 16_000, after / 16_000)


@given(st.lists(st.floats(0.01, 100.0), min_size=1, max_size=20))
def test_gini_is_the_mean_difference_of_all_pairs(values: list[float]) -> None:
    pairs = sum(abs(a - b) for a in values for b in values) / len(values) ** 2
    assert gini(values) == pytest.approx(pairs / (2 * statistics.mean(values)), abs=1e-9)


def test_frames_are_those_of_the_convolutions() -> None:
    """wav2vec 2.0's seven layers one after another, in the place of one division."""
    for n_samples in range(0, 5000, 7):
        n_frames = n_samples
        for kernel, stride in zip((10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2), strict=True):
            n_frames = max((n_frames - kernel) // stride + 1, 0)
        assert frames_in(n_samples / 16_000) == n_frames


def test_unlikely_rates_are_found_among_likely_ones() -> None:
    rates = [14.0 + 0.1 * (index % 20) for index in range(100)] + [2.0, 60.0]
    found = find_unlikely_rates([str(index) for index in range(102)], rates)
    assert {finding.id for finding in found} == {"100", "101"}
    assert found[0].id == "100"  # seven times too slow is further off than four times too fast
    assert find_unlikely_rates(["a", "b"], [1.0, 100.0]) == []
    assert find_unlikely_rates(["a"] * 20, [5.0] * 20) == []


def test_spread_is_numpys_and_bears_silence() -> None:
    assert percentiles([]).median != percentiles([]).median
    assert percentiles([-math.inf, -20.0, -20.0]).median == -20.0


def test_groups_are_those_that_share_a_key() -> None:
    assert group_by(["a", "b", "c", "d", "e"], [1, 2, 1, None, None]) == [("a", "c")]


def tone(seconds: float, level: float = 0.1, frequency: float = 200.0) -> np.ndarray:
    return level * np.sin(2 * np.pi * frequency * np.arange(round(16_000 * seconds)) / 16_000)


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """A training and a test manifest with one of each fault."""
    clipped = np.clip(tone(2.0, 3.0), -1.0, 1.0)
    silence = np.zeros(24_000)
    for name, waveform in {
        "a.wav": tone(2.0), "copy.flac": tone(2.0), "clipped.wav": clipped, "silent.wav": silence,
        "late.wav": np.concatenate([silence, tone(1.0)]), "other.wav": tone(2.0, 0.2),
    }.items():  # fmt: skip
        soundfile.write(tmp_path / name, (waveform * 32_767).astype(np.int16), 16_000)
    (tmp_path / "broken.wav").write_bytes(b"RIFF no audio")
    train = [
        {"audio": "a.wav", "text": "the quick brown fox jumps", "speaker": "ann", "sex": "F"},
        {"audio": "copy.flac", "text": "another text", "speaker": "ann", "sex": "F", "language": "en"},
        {"audio": "clipped.wav", "text": "loud", "speaker": "bob", "duration": 3.0},
        {"audio": "silent.wav", "text": "", "speaker": "bob"},
        {"audio": "late.wav", "text": "x" * 300},
        {"audio": "broken.wav", "text": "what", "duration": 1.0},
        {"audio": "a.wav", "text": "second", "id": "a"},
    ]
    test = [
        {"audio": "other.wav", "text": "The quick, brown fox jumps!", "speaker": "eve"},
        {"audio": "copy.flac", "text": "fresh", "speaker": "bob", "id": "new"},
    ]
    return write_manifest(tmp_path / "train.jsonl", train), write_manifest(tmp_path / "test.jsonl", test)


@pytest.mark.slow
def test_the_command_finds_every_fault(two: tuple[Path, Path], tmp_path: Path) -> None:
    train, test = two
    output, picture = tmp_path / "out" / "found.json", tmp_path / "corpus.png"
    result = run(
        "-m", "preprocessing.corpus", test, "--against", train, "--json", tmp_path / "test.json", "--workers", "0"
    )
    assert result.returncode == 0, result.stderr
    leaks = json.loads((tmp_path / "test.json").read_text())["leaks"]
    assert leaks["shared_texts"] == ["THE QUICK BROWN FOX JUMPS"]
    assert (leaks["utterances_with_shared_text"], leaks["utterances_with_long_shared_text"]) == (1, 1)
    assert (leaks["speakers"], leaks["utterances_of_shared_speakers"]) == (["bob"], 1)
    assert (leaks["ids"], leaks["files"], leaks["audio"]) == ([], ["new"], [["new", "a"]])
    result = run("-m", "preprocessing.corpus", train, "--json", output, "-o", picture, "--workers", "2")
    assert result.returncode == 0, result.stderr
    assert f"decoding {train}: 6 utterances, " in result.stderr, "no terminal, and a line all the same"
    found = json.loads(output.read_text())
    sound = found["sound"]
    assert (found["utterances"], len(found["set_aside"])) == (6, 1)
    assert found["hours"] * 3600 == pytest.approx(2.0 + 2.0 + 3.0 + 1.5 + 2.5 + 1.0)
    assert found["hours_by_sex"] == pytest.approx({"F": 4 / 3600, "(not given)": 8 / 3600})
    assert [finding["id"] for finding in found["text"]["do_not_fit"]] == ["late"]
    assert [finding["id"] for finding in sound["failed"]] == ["broken"]
    assert [finding["id"] for finding in sound["clipped"]] == ["clipped"]
    assert [finding["id"] for finding in sound["long_silence"]] == ["late"]
    assert [finding["id"] for finding in sound["wrong_durations"]] == ["clipped"]
    assert sound["silent"] == ["silent"]
    assert (sound["duplicates"], sound["duplicates_of_other_text"]) == ([["a", "copy"]], 1)
    assert picture.read_bytes().startswith(b"\x89PNG")
    for part in ("clipped: ", "1 occurring more than once (a, copy)", "6 utterances opened in"):
        assert part in result.stdout + result.stderr


def test_without_audio_nothing_is_opened(tmp_path: Path) -> None:
    rows = [{"audio": "none.wav", "text": "x", "duration": 1.0, "id": "[bold]"}]
    data = write_manifest(tmp_path / "m.jsonl", rows)
    result = run("-m", "preprocessing.corpus", data, "--no-audio", "-o", tmp_path / "p.svg")
    assert result.returncode == 0, result.stderr
    assert "dBFS" not in result.stdout
    assert (tmp_path / "p.svg").is_file()


@pytest.mark.parametrize(
    ("languages", "text", "used", "characters"),
    [
        (["de", "de"], "Große Straße", "basic:de", "ß"),
        (["tr", "tr"], "KIRMIZI", "basic:tr", "ı"),
        (["de", "tr"], "Große", "basic.v", "ß"),
        (["en", "en"], "straße", "librispeech.v", "S"),
        ([None, None], "straße", "librispeech.v", "S"),
    ],
)
def test_texts_are_counted_in_their_language(
    languages: list[str | None], text: str, used: str, characters: str, tmp_path: Path
) -> None:
    rows = [{"audio": f"{n}.wav", "text": text, "duration": 1.0, "language": one} for n, one in enumerate(languages)]
    data = write_manifest(tmp_path / "data.jsonl", rows)
    main([str(data), "--no-audio", "--json", str(tmp_path / "found.json")])
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))["text"]
    assert found["profile"].startswith(used) and characters in found["characters"]
    main([str(data), "--no-audio", "--json", str(tmp_path / "found.json"), "--profile", "verbatim"])
    assert json.loads((tmp_path / "found.json").read_text())["text"]["profile"].startswith("verbatim")


@pytest.mark.parametrize(
    ("options", "exit_code", "expected"),
    [
        (["nowhere"], 1, ["nowhere", "no such file or folder"]),
        (["demo/corpus/test.jsonl", "-o", "x.gif"], 2, ["--plot x.gif", ".png"]),
        (["demo/corpus/test.jsonl", "--profile", "basics"], 2, ["basics", "librispeech"]),
        (["demo/corpus/test.jsonl", "--workers", "-1"], 2, ["--workers is -1"]),
        (["demo/corpus/test.jsonl", "--no-audio", "--json", "/proc/x.json"], 2, ["--json /proc/x.json"]),
        (["demo"], 1, ["demo: a folder without metadata.csv"]),
    ],
)
def test_wrong_usage_is_one_sentence(
    options: list[str], exit_code: int, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError) as raised:
        main(options)
    assert raised.value.exit_code == exit_code
    assert all(part in str(raised.value) for part in expected)


def test_a_missing_corpus_ends_the_command_with_one_sentence() -> None:
    assert_one_sentence(run("-m", "preprocessing.corpus", "nowhere"), 1, "nowhere", "no such file or folder")


def test_help_needs_no_torch() -> None:
    result = run("-c", "import sys; sys.argv=['x','--help']; import runpy\n"
                 "try: runpy.run_module('preprocessing.corpus.__main__', run_name='__main__')\n"
                 "except SystemExit: sys.exit('torch' in sys.modules)")  # fmt: skip
    assert result.returncode == 0, result.stderr


def test_workers_find_the_same_as_one_process(speech: Path) -> None:
    from preprocessing.corpus import open_corpus

    utterances = open_corpus(str(speech / "digits" / "test.jsonl"), limit=40).utterances
    told: list[int] = []
    alone = list(measure_corpus(utterances, workers=0))
    assert list(measure_corpus(utterances, workers=2, progress=told.append)) == alone
    assert told == [16, 16, 8]
    direct = audio.load(utterances[0].audio)
    first = alone[0]
    assert isinstance(first, AudioLevels)
    assert first.peak_dbfs == pytest.approx(20 * math.log10(float(direct.abs().max())))


PARTS = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.sampled_from([None, 0, 1]),
        st.integers(0, 20),
        st.integers(1, 12),
        st.booleans(),
    ),
    max_size=8,
)


@settings(max_examples=100)
@given(PARTS, PARTS)
def test_a_part_that_overlaps_one_of_the_other_corpus_is_shared(
    ours: list[tuple[str, int | None, int, int, bool]], theirs: list[tuple[str, int | None, int, int, bool]]
) -> None:
    def corpus(parts: list[tuple[str, int | None, int, int, bool]]) -> Corpus:
        utterances = [
            Utterance(f"{n}", f"{file}.wav", "", float(length), start=float(start), channel=channel,
                      stop=None if is_open else float(start + length))
            for n, (file, channel, start, length, is_open) in enumerate(parts)
        ]  # fmt: skip
        return Corpus("x", tuple(utterances), ())

    shared = tuple(
        f"{n}"
        for n, (file, channel, start, length, _) in enumerate(ours)
        if any(
            file == other
            and (channel == at or None in (channel, at))
            and set(range(start, start + length)) & set(range(begin, begin + seconds))
            for other, at, begin, seconds, _ in theirs
        )
    )
    assert find_leaks(corpus(ours), corpus(theirs), PROFILE).files == shared


def test_parts_that_only_touch_share_nothing() -> None:
    def part(start: float, stop: float) -> Corpus:
        return Corpus("x", (Utterance("u", "a.wav", "", stop - start, start=start, stop=stop),), ())

    assert find_leaks(part(0.0, 2.0), part(1.95, 4.0), PROFILE).files == ()
    assert find_leaks(part(0.0, 2.0), part(1.8, 4.0), PROFILE).files == ("u",)
    assert find_leaks(part(1.0, 1.05), part(1.0, 1.05), PROFILE).files == ("u",)


def test_real_leak_in_the_german_split(speech: Path) -> None:
    """One sentence is read twice, in training and in test; a set operation over the manifests finds the same."""
    from preprocessing.corpus import open_corpus

    train, test = (open_corpus(str(speech / "german" / f"{name}.jsonl")) for name in ("train", "test"))
    leaks = find_leaks(test, train, PROFILE)
    expected = {PROFILE(u.text) for u in test.utterances} & {PROFILE(u.text) for u in train.utterances}
    assert set(leaks.shared_texts) == expected
    assert len(expected) == 1
    assert (leaks.speakers, leaks.utterances_of_shared_speakers, leaks.ids) == (("kerstin",), 50, ())


def test_texts_are_counted_under_the_profile() -> None:
    texts = ["Yes.", "yes", "NO", ""]
    utterances = tuple(Utterance(str(n), b"", text, 2.0) for n, text in enumerate(texts))
    found = summarise(Corpus("r", utterances, ()), PROFILE, None)
    assert (found.text.distinct, found.text.empty, found.text.repeated) == (3, 1, (("YES", 2),))
    assert found.text.characters_per_second.high == 1.5
    assert found.sound is None
    assert frames_needed("AABBA") == 5 + 2


def test_a_reason_is_printed_to_its_end_where_it_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    why = "not UTF-8 in 'ikverein P'...; expected UTF-8: convert the file (in Excel, save as 'CSV UTF-8')"
    found = report._findings([("rejected when opened", [Finding("a/rather/long/folder/of/a/table/calls.csv:5", why)])])
    Console(width=110).print(found)
    assert why in " ".join(capsys.readouterr().out.split())


def test_long_names_of_speakers_leave_their_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"audio": "none.wav", "text": "a", "duration": 60.0, "speaker": one * 128, "id": one} for one in ("5f", "77")
    ]
    path = str(write_manifest(tmp_path / "m.jsonl", rows))
    main([path, "--no-audio", "--against", path])
    printed = " ".join(capsys.readouterr().out.split())
    assert f"2; the most, {'5f' * 11}5…, 1.0 min, the median 1.0 min, the least 1.0 min; Gini 0.00" in printed
    assert f"speakers 2 of 2 {'5f' * 11}5…, {'77' * 11}7…" in printed


def test_findings_that_are_not_shown_are_counted_with_the_option_that_lists_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["a"] * 20 + ["bcdefghi"]
    rows = [{"audio": f"{n}.wav", "text": text, "duration": 1.0} for n, text in enumerate(texts)]
    rows.append({"audio": "none.wav"})
    main([str(write_manifest(tmp_path / "m.jsonl", rows)), "--no-audio"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "... 3 more (`--json FILE` lists all)" in printed and "utterances 21, 1 rejected" in printed
    assert "8 characters in fewer than 2 texts" in printed


def test_a_small_corpus_has_no_rare_characters_and_its_speech_is_in_seconds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ("one", "two", "six")
    rows = [{"audio": f"{text}.wav", "text": text, "duration": 1.8, "speaker": "a"} for text in texts]
    main([str(write_manifest(tmp_path / "m.jsonl", rows)), "--no-audio"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "speech 5.4 s speakers 1; the most, a, 5.4 s, the median 5.4 s, the least 5.4 s" in printed
    assert "characters in fewer" not in printed


def test_annotations_look_alikes_and_rare_characters_are_found() -> None:
    texts = ["[laughter] the <unk> (inaudible) 5 %uh 5% (1) 3 < 4"] + ["m\u0430te ùñ"] + ["mate и мата"] * 30
    utterances = tuple(Utterance(str(n), f"{n}.wav", text, 5.0) for n, text in enumerate(texts))
    found = summarise(Corpus("x", utterances, ()), profile("basic"), None).text
    assert found.annotations == (Finding("0", "[laughter] <unk> (inaudible) %uh (1)"),)
    assert found.mixed_alphabets == (Finding("1", "'m\u0430te': \u0430 is U+0430 CYRILLIC SMALL LETTER A"),)
    assert found.characters["m"] == 31
    assert found.characters["\u0430"] == 31
    assert Finding("1", "ñ in 1 text: U+00F1 LATIN SMALL LETTER N WITH TILDE") in found.rare_characters
    assert "м" not in "".join(one.why for one in found.rare_characters)
    without = summarise(Corpus("x", utterances, ()), profile("whisper-english"), None).text
    assert [one.why for one in without.annotations] == ["%uh"], "the profile removes what is in brackets"
