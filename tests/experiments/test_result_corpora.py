"""Spoken digits in `python -m experiments.results`: joined into strings, and scored however they are written."""

import json
from itertools import groupby
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pytest
import soundfile

from benchmark.results import NO_SECONDS, Sample
from experiments.result_parts.corpora import build, digit_profiles, score_digits, speech_edges
from experiments.result_parts.systems import BASELINE, DIGIT_WORDS
from tests.conftest import write_manifest

SAMPLE_RATE = 8000


def test_strings_of_digits_are_the_digits_of_one_speaker_with_pauses(tmp_path: Path) -> None:
    """Each recording is a level of its own, so that the joined audio tells which ones it is made of."""
    rows: list[dict[str, Any]] = []
    folder = tmp_path / "data" / "digits"
    folder.mkdir(parents=True)
    for number in range(60):
        word, speaker = DIGIT_WORDS[number % 10], "abc"[number // 20]
        soundfile.write(folder / f"{number}.wav", np.full(800, 100 + number, dtype=np.int16), SAMPLE_RATE)
        rows.append({"id": str(number), "audio": f"{number}.wav", "text": word, "speaker": speaker, "duration": 0.1})
    write_manifest(folder / "test.jsonl", rows)
    manifests = [tmp_path / name / "test.jsonl" for name in ("once", "again")]
    for manifest in manifests:
        build("digits-joined", tmp_path / "data", manifest)
    assert manifests[0].read_bytes() == manifests[1].read_bytes()
    used = []
    for row in map(json.loads, manifests[0].read_text().splitlines()):
        waveform, rate = soundfile.read(manifests[0].parent / row["audio"], dtype="int16")
        again, _ = soundfile.read(manifests[1].parent / row["audio"], dtype="int16")
        assert rate == SAMPLE_RATE and np.array_equal(waveform, again)
        assert row["duration"] == pytest.approx(len(waveform) / rate, abs=1e-3)
        runs = [(level, len(list(same))) for level, same in groupby(waveform.tolist())]
        digits, pauses = runs[::2], runs[1::2]
        assert 4 <= len(digits) <= 8
        assert all(level == 0 and 0.1 <= length / rate <= 0.3 for level, length in pauses)
        numbers = [level - 100 for level, _ in digits]
        assert row["text"] == " ".join(rows[number]["text"] for number in numbers)
        assert {rows[number]["speaker"] for number in numbers} == {row["speaker"]}
        assert [word["word"] for word in row["words"]] == row["text"].split()
        for word, number in zip(row["words"], numbers, strict=True):  # the time of a word is that of its recording
            samples = waveform[round(word["start"] * rate) : round(word["end"] * rate)]
            assert len(samples) == 800 and set(samples.tolist()) == {100 + number}
        used += numbers
    assert sorted(used) == list(range(60))


def test_a_digit_begins_and_ends_where_it_is_heard() -> None:
    """30 ms of a hum 40 dB below a tone of 50 ms, then 20 ms of the hum, and half a frame."""
    tone = 8000 * np.sin(np.arange(400))
    waveform = np.concatenate([0.01 * tone[:240], tone, 0.01 * tone[:200]]).astype(np.int16)
    assert speech_edges(waveform, SAMPLE_RATE) == (240, 640)


def test_a_corpus_of_each_digit_by_each_speaker(tmp_path: Path, speech: Path) -> None:
    build("digits-60", speech, tmp_path / "test.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "test.jsonl").read_text().splitlines()]
    assert len(rows) == 60 == len({(row["text"], row["speaker"]) for row in rows})


@pytest.mark.parametrize(
    ("hypothesis", "written", "sounding"),
    [
        ("4, 8 2-9.", "four eight two nine", "four eight two nine"),
        ("4,829", "four eight two nine", "four eight two nine"),
        ("For, ate to nine!", "for ate to nine", "four eight two nine"),
        ("Oh won", "oh won", "zero one"),
        ("Bye.", "bye", "bye"),
    ],
)
def test_digits_however_written_and_what_sounds_like_them(hypothesis: str, written: str, sounding: str) -> None:
    assert [profile(hypothesis) for profile in digit_profiles()] == [written, sounding]


def test_digits_are_scored_with_and_without_homophones() -> None:
    """Against jiwer on texts that were normalised by hand."""
    references = ["four eight two nine", "one", "zero six"] * 4
    answers = {"figures": ["4829", "1", "06"] * 4, "words": ["for ate to nine", "won", "oh sick"] * 4}
    samples = [
        Sample(name, f"u{place}", references[place], text, 1.0, NO_SECONDS, speaker=f"s{place % 6}")
        for name, texts in answers.items()
        for place, text in enumerate(texts)
    ]
    as_written, as_sounding = score_digits(samples, seed=0)
    by_hand = ["four eight two nine", "one", "zero sick"] * 4
    assert as_written.scores["figures"].wer.value == as_sounding.scores["figures"].wer.value == 0
    assert as_written.scores["words"].wer.value == pytest.approx(
        jiwer.wer(references, ["for ate to nine", "won", "oh sick"] * 4)
    )
    assert as_sounding.scores["words"].wer.value == pytest.approx(jiwer.wer(references, by_hand))
    (compared,) = as_written.comparisons
    assert compared.different and {compared.first, compared.second} == set(answers)


def test_comparisons_with_the_baseline_are_corrected_by_themselves() -> None:
    references = ["four", "one", "six", "nine"] * 6
    wrong = {"wav2vec2-digits": 2, "whisper-base": 9, "faster-base": 12, "pocketsphinx": 15}  # of 24 recordings
    samples = [
        Sample(name, f"u{place}", text, text if place >= n_wrong else "bye", 1.0, NO_SECONDS, speaker=f"s{place % 6}")
        for name, n_wrong in wrong.items()
        for place, text in enumerate(references)
    ]
    compared = score_digits(samples, seed=0)[0].comparisons
    families = {frozenset((one.first, one.second)): one.family for one in compared}
    assert {family for pair, family in families.items() if BASELINE in pair} == {"baseline"}
    assert {family for pair, family in families.items() if BASELINE not in pair} == {"other"}
    of_baseline = sorted((one.p_value, one.adjusted_p) for one in compared if one.family == "baseline")
    assert of_baseline[0][1] == pytest.approx(min(3 * of_baseline[0][0], 1.0)), "of 3 comparisons, not of 6"
