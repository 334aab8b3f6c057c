"""The field `segments`: read from every kind of row, refused in a sentence where malformed, kept by `prepare`."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.corpus import Segment, from_dataset, open_corpus
from preprocessing.corpus.__main__ import main as corpus_main
from preprocessing.corpus.segments import read_segments
from preprocessing.errors import InputError
from preprocessing.prepare.assemble import assemble
from preprocessing.prepare.plan import make_plan
from preprocessing.prepare.shard import Cutting, write_shard
from tests.conftest import write_manifest
from tests.preprocessing.corpora import SPOKEN, write_audio

TEXT = "ONE TWO THREE"
ROWS = [{"start": 0, "stop": 0.5, "text": "ONE"}, {"start": 0.5, "end": 0.9, "text": " TWO THREE "}]
READ = (Segment(0.0, 0.5, "ONE"), Segment(0.5, 0.9, " TWO THREE "))


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """One recording of a second with segments, and the same without any; the length is in neither row."""
    write_audio(tmp_path / "a.wav", SPOKEN[0])
    rows: list[dict[str, Any]] = [{"id": "cut", "audio": "a.wav", "text": TEXT, "segments": ROWS}]
    return write_manifest(tmp_path / "long.jsonl", [*rows, {"id": "plain", "audio": "a.wav", "text": TEXT}])


def test_segments_are_read_and_others_have_none(manifest: Path) -> None:
    cut, plain = open_corpus(str(manifest)).whole().utterances
    assert cut.segments == READ
    assert plain.segments == ()


def test_of_a_dataset_too(tmp_path: Path) -> None:
    from datasets import Dataset

    write_audio(tmp_path / "a.wav", SPOKEN[0])
    rows = [{**row, "stop": row.get("stop", row.get("end")), "end": None} for row in ROWS]
    dataset = Dataset.from_list([{"audio": str(tmp_path / "a.wav"), "text": TEXT, "segments": rows}])
    assert from_dataset(dataset).whole().utterances[0].segments == READ


def row(**changed: Any) -> dict[str, Any]:
    return {"start": 1.0, "stop": 2.0, "text": TEXT} | changed


@pytest.mark.parametrize(
    ("segments", "reason"),
    [
        ("0-1 ONE TWO THREE", "'segments' is a str; expected a list"),
        ({"start": [0], "stop": [1]}, "'segments' is a dict; expected a list"),
        ([TEXT], "number 1 is a str; expected a list of"),
        ([row(start=None)], "number 1 has nothing as its start; expected seconds"),
        ([row(stop="2")], "number 1 has '2' as its stop; expected seconds"),
        ([row(start=True)], "number 1 has a bool as its start"),
        ([row(start=-1.0)], "number 1 has -1.0 as its start"),
        ([row(stop=10**400)], "number 1 has an int as its stop"),
        ([row(text=None)], "number 1 has nothing as its text"),
        ([row(text=["ONE"])], "number 1 has a list as its text"),
        ([row(stop=1.0)], "number 1 starts at 1 s and stops at 1 s"),
        ([row(text="ONE TWO"), row(start=0.0, text="THREE")], "number 2 starts at 0 s, before the one ahead"),
        ([row(text="ONE TWO")], "do not say what 'text' says"),
        ([row(stop=3.2)], "go on to 3.2 s, beyond the end at 3.00 s"),
    ],
)
def test_malformed_ones_are_set_aside_in_a_sentence(manifest: Path, segments: Any, reason: str) -> None:
    bad = {"id": "bad", "audio": "a.wav", "text": TEXT, "duration": 3.0, "segments": segments}
    with manifest.open("a") as file:
        file.write(json.dumps(bad) + "\n")
    corpus = open_corpus(str(manifest))
    assert [utterance.id for utterance in corpus.utterances] == ["cut", "plain"]
    (reject,) = corpus.rejects
    assert reject.where == f"{manifest}:3"
    assert reason in reject.reason and "\n" not in reject.reason and len(reject.reason) < 200


def test_ones_beyond_the_audio_itself_are_set_aside(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", SPOKEN[0])
    rows = [
        {"id": str(stop), "audio": "a.wav", "text": TEXT, "segments": [row(start=0, stop=stop)]} for stop in (1, 99)
    ]
    corpus = open_corpus(str(write_manifest(tmp_path / "long.jsonl", rows)))
    assert [utterance.id for utterance in corpus.utterances] == ["1"]
    assert "go on to 99 s, beyond the end at" in corpus.rejects[0].reason


@given(
    st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5), st.lists, max_leaves=5)
    | st.lists(st.dictionaries(st.sampled_from(["start", "stop", "end", "text"]), st.floats() | st.text(max_size=3)))
)
def test_whatever_stands_there_is_read_or_refused(value: Any) -> None:
    try:
        segments = read_segments(value, "")
    except InputError as error:
        assert "segments" in str(error) and "\n" not in str(error)
    else:
        assert all(0 <= one.start < one.stop and not one.text.strip() for one in segments)


def test_prepared_they_are_the_same_and_statistics_are_counted(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (shard,) = make_plan(open_corpus(str(manifest)).utterances, 600.0)
    (tmp_path / "shards").mkdir()
    write_shard(shard, tmp_path / "shards", Cutting("none", 30.0))
    assemble(tmp_path, [shard], (), "librispeech")
    assert "segments" not in json.loads((tmp_path / "manifest.jsonl").read_text().splitlines()[1])
    cut, plain = open_corpus(str(tmp_path / "manifest.jsonl")).whole().utterances
    assert (cut.segments, plain.segments) == (READ, ())
    corpus_main([str(tmp_path / "manifest.jsonl"), "--workers", "0"])
    assert "2 utterances" in "".join(capsys.readouterr())
