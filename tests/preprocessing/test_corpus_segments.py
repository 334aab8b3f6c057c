"""Segments of long recordings, and word times: read as listed, refused in a sentence, carried along by preparation."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preprocessing.audio import SAMPLE_RATE
from preprocessing.corpus import Segment, Utterance, open_corpus, stream_corpus
from preprocessing.errors import InputError
from preprocessing.prepare.__main__ import main as prepare
from tests.conftest import read_manifest, write_manifest

STATED = {"audio": "talk.wav", "text": "A B C", "duration": 10.0}


def read(folder: Path, **fields: Any) -> Any:
    return open_corpus(str(write_manifest(folder / "one.jsonl", [STATED | fields]))).utterances[0].segments


def test_stop_or_end_and_other_keys(tmp_path: Path) -> None:
    listed = [
        {"start": 0, "stop": 1.5, "text": "A"},
        {"id": 1, "seek": 0, "start": 1.2, "end": 4, "text": " B", "tokens": [1]},
        {"start": "6.0", "end": "10.05", "stop": None, "text": ""},
    ]
    expected = (Segment(0.0, 1.5, "A"), Segment(1.2, 4.0, " B"), Segment(6.0, 10.05, ""))
    assert read(tmp_path, segments=listed) == expected
    (streamed,) = stream_corpus(str(tmp_path / "one.jsonl"))
    assert isinstance(streamed, Utterance) and streamed.segments == expected
    assert read(tmp_path) == read(tmp_path, segments=None) == read(tmp_path, segments=[]) == ()


def test_real_segments_together_are_the_text(speech: Path) -> None:
    (chapter,) = open_corpus(str(speech / "long-form" / "test.jsonl")).require_complete().utterances
    assert len(chapter.segments) == 119
    assert " ".join(segment.text for segment in chapter.segments) == chapter.text
    assert chapter.segments[-1].stop <= chapter.duration


@pytest.mark.parametrize(
    ("segments", "reason"),
    [
        ("0-1: A", "'segments' is '0-1: A'; expected a list"),
        ({"start": [0], "stop": [1], "text": ["A"]}, "expected a list"),
        ([{"start": 0, "stop": 1, "text": "A"}, "B"], "segment 2 is 'B'; expected {start, stop, text}"),
        ([{"start": 0, "text": "A"}], "segment 1 has the stop None; expected seconds"),
        ([{"start": -1, "end": 1, "text": "A"}], "segment 1 has the start -1"),
        ([{"start": 0, "end": "1 s", "text": "A"}], "segment 1 has the end '1 s'"),
        ([{"start": True, "stop": 2, "text": "A"}], "has the start True"),
        ([{"start": 0, "stop": 10**400, "text": "A"}], "has the stop a huge number"),
        ([{"start": 2, "end": 2, "text": "A"}], "starts at 2 s, not before its end at 2 s"),
        ([{"start": 0, "stop": 1}], "segment 1 has the text None"),
        (
            [{"start": 3, "stop": 4, "text": "A"}, {"start": 1, "stop": 2, "text": "B"}],
            "segment 2 starts at 1 s, before segment 1 at 3 s",
        ),
        ([{"start": 9, "stop": 11, "text": "A"}], "segment 1, 9 to 11 s, lies outside of the recording's 0 to 10.00 s"),
    ],
)
def test_what_is_none_is_one_sentence(tmp_path: Path, segments: Any, reason: str) -> None:
    path = write_manifest(tmp_path / "two.jsonl", [STATED, STATED | {"id": "bad", "segments": segments}])
    (reject,) = open_corpus(str(path)).rejects
    assert reason in reject.reason and "\n" not in reject.reason and len(reject.reason) < 300
    with pytest.raises(InputError, match=r"two\.jsonl:2: "):
        open_corpus(str(path)).require_complete()


def test_word_times_have_whispers_names(tmp_path: Path) -> None:
    """A pause is no word, and a field of the same name that holds something else is none of ours."""
    row = STATED | {"text": "A, B!"}
    listed = [
        {"word": " a", "start": 0.5, "end": 1.0, "probability": 0.9},
        {"word": "", "start": 1.0, "end": 1.2},
        {"word": " B", "start": 1.2, "end": 2},
    ]
    expected = (Segment(0.5, 1.0, " a"), Segment(1.2, 2.0, " B"))
    others: list[Any] = [None, [], ["A", "B"], 2, "A B"]
    rows = [row | {"id": str(n), "words": words} for n, words in enumerate([listed, *others])]
    found = open_corpus(str(write_manifest(tmp_path / "words.jsonl", rows))).utterances
    assert [one.words for one in found] == [expected, *([()] * len(others))]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([{"word": "A", "start": 0, "end": 1}], "'words' spell 'A', the text is 'A B C'; expected the same letters"),
        ([{"word": "A", "start": 0}], "word 1 has the stop None; expected seconds"),
        ([{"word": "A", "start": 1, "end": 1}], "word 1 starts at 1 s, not before its end at 1 s"),
        ([{"text": "A", "start": 0, "end": 1}], "word 1 has the word None"),
        ([{"word": "A", "start": 2, "end": 3}, {"word": "B", "start": 1, "end": 2}], "word 2 starts at 1 s, before"),
        ([{"word": "ABC", "start": 9, "end": 11}], "word 1, 9 to 11 s, lies outside of the recording's 0 to 10.00 s"),
    ],
)
def test_word_times_that_are_none_are_one_sentence(tmp_path: Path, words: Any, reason: str) -> None:
    path = write_manifest(tmp_path / "two.jsonl", [STATED, STATED | {"id": "bad", "words": words}])
    (reject,) = open_corpus(str(path)).rejects
    assert reason in reject.reason and "\n" not in reject.reason and len(reject.reason) < 300


def test_without_a_duration_the_header_says_what_is_outside(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "talk.wav", np.zeros(2 * SAMPLE_RATE), SAMPLE_RATE, "PCM_16")
    rows = [
        {"id": name, "audio": "talk.wav", "text": "A", "segments": [{"start": 0.5, "stop": stop, "text": "A"}]}
        for name, stop in (("inside", 2.0), ("outside", 2.5))
    ]
    corpus = open_corpus(str(write_manifest(tmp_path / "both.jsonl", rows)))
    assert [(one.id, one.segments) for one in corpus.utterances] == [("inside", (Segment(0.5, 2.0, "A"),))]
    assert "0.5 to 2.5 s, lies outside of the recording's 0 to 2.00 s" in corpus.rejects[0].reason


def test_preparation_moves_them_with_their_audio(tmp_path: Path) -> None:
    """A tone lies where each segment says, before and after."""
    waveform = np.zeros(12 * SAMPLE_RATE)
    tone = 0.5 * np.sin(np.arange(SAMPLE_RATE))
    for start in (3, 6, 10):
        waveform[start * SAMPLE_RATE : (start + 1) * SAMPLE_RATE] = tone
    soundfile.write(tmp_path / "talk.wav", waveform, SAMPLE_RATE, "PCM_16")
    earlier, later = ([{"start": at, "end": at + 1, "text": "TONE"} for at in starts] for starts in ((3, 6), (10,)))
    words = [{"word": one["text"], "start": one["start"], "end": one["end"]} for one in earlier]
    rows: list[dict[str, Any]] = [
        {
            "id": "one",
            "audio": "talk.wav",
            "text": "TONE TONE",
            "start": 2.0,
            "stop": 8.0,
            "segments": earlier,
            "words": words,
        },
        {"id": "two", "audio": "talk.wav", "text": "TONE", "start": 8.0, "stop": 12.0, "segments": later},
    ]
    manifest = write_manifest(tmp_path / "talk.jsonl", rows)
    out = tmp_path / "out"
    prepare([str(manifest), str(out), "--workers", "1", "--segmentation", "none"])
    prepared = open_corpus(str(out / "manifest.jsonl")).require_complete().utterances
    assert [len(one.segments) for one in prepared] == [2, 1]
    assert "segments" in read_manifest(out / "manifest.jsonl")[0]
    assert [one.words for one in prepared] == [prepared[0].segments, ()]
    for one in prepared:
        samples, _ = soundfile.read(one.audio)
        for segment in one.segments:
            heard = samples[round(segment.start * SAMPLE_RATE) : round(segment.stop * SAMPLE_RATE)]
            assert np.abs(heard - tone).max() < 1e-4
    rows[1]["segments"] = [{"start": 10, "end": 10.5, "text": "TONE"}]
    prepare([str(write_manifest(manifest, rows)), str(out), "--workers", "1", "--segmentation", "none"])
    corrected = open_corpus(str(out / "manifest.jsonl")).utterances
    assert [[one.stop - one.start for one in utterance.segments] for utterance in corrected] == [[1.0, 1.0], [0.5]]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.floats(0.0, 9.8), st.floats(0.01, 0.1), st.text(max_size=8)), max_size=6))
def test_what_is_written_comes_back(tmp_path: Path, parts: list[tuple[float, float, str]]) -> None:
    parts = sorted(part for part in parts if "\ud800" not in part[2])
    listed = [{"start": start, "stop": start + length, "text": text} for start, length, text in parts]
    (tmp_path / "one.jsonl").write_text(json.dumps(STATED | {"segments": listed}) + "\n")
    (found,) = open_corpus(str(tmp_path / "one.jsonl")).utterances
    assert [(one.start, one.stop, one.text) for one in found.segments] == [
        (one["start"], one["stop"], one["text"]) for one in listed
    ]
