"""Every way into a corpus gives the same utterances, and what cannot be one is set aside with its reason."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from datasets import Dataset

from preprocessing import audio
from preprocessing.corpus import Utterance, load_waveform, open_corpus, stream_corpus
from preprocessing.corpus import open as open_module
from preprocessing.errors import InputError, UsageError
from preprocessing.prepare import __main__ as prepare
from tests.conftest import write_manifest
from tests.known_audio import webm_without_duration


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, rate in (("a", 16_000), ("b", 8_000)):
        tone = 0.1 * np.sin(np.arange(rate) / 20)
        soundfile.write(tmp_path / f"{name}.wav", tone, rate)
    return tmp_path


def manifest(folder: Path, *lines: str | dict[str, Any]) -> str:
    path = folder / "corpus.jsonl"
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_text(text + "\n", encoding="utf-8")
    return str(path)


def facts(utterance: Utterance) -> tuple[str, str, float, str | None]:
    return utterance.id, utterance.text, utterance.duration, utterance.speaker


def test_manifest_folder_and_dataset_agree(folder: Path) -> None:
    (folder / "metadata.csv").write_text(
        'file_name,transcription,speaker_id,id\na.wav,"one, two",ann,a\nb.wav,three,bob,b\n', encoding="utf-8"
    )
    from_manifest = open_corpus(
        manifest(
            folder,
            {"id": "a", "audio": "a.wav", "text": "one, two", "speaker": "ann"},
            {"id": "b", "audio": "b.wav", "text": "three", "speaker": "bob"},
        )
    )
    from_folder = open_corpus(str(folder))
    expected = [("a", "one, two", 1.0, "ann"), ("b", "three", 1.0, "bob")]
    for corpus in (from_manifest, from_folder):
        assert [facts(utterance) for utterance in corpus.require_complete().utterances] == expected


def test_hugging_face_dataset_is_read_without_decoding(folder: Path, tmp_path: Path) -> None:
    """Parquet as the Hub holds LibriSpeech, through datasets itself: encoded bytes come through, nothing is decoded."""
    names = ["a", "b"]
    table = pa.table(
        {
            "audio": [{"bytes": (folder / f"{name}.wav").read_bytes(), "path": f"{name}.wav"} for name in names],
            "sentence": ["one", "two"],
            "speaker_id": [7, 8],
            "id": names,
        }
    )
    kinds = {"sentence": "string", "speaker_id": "int64", "id": "string"}
    features = {name: {"dtype": kind, "_type": "Value"} for name, kind in kinds.items()}
    features["audio"] = {"_type": "Audio"}
    dataset = tmp_path / "dataset"
    dataset.mkdir()
    described = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(described, dataset / "test-00000-of-00001.parquet")
    corpus = open_corpus(f"hf:{dataset}").require_complete()
    assert [facts(u) for u in corpus.utterances] == [("a", "one", 1.0, "7"), ("b", "two", 1.0, "8")]
    assert torch.equal(audio.load(corpus.utterances[1].audio), audio.load(folder / "b.wav"))
    assert len(open_corpus(f"hf:{dataset}::test:1").utterances) == 1
    assert len(open_corpus(f"hf:{dataset}::test", limit=1).utterances) == 1


def test_start_and_stop_give_the_duration(folder: Path) -> None:
    corpus = open_corpus(manifest(folder, {"audio": "a.wav", "text": "x", "start": 0.25, "stop": 0.75}))
    assert corpus.utterances[0].duration == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"audio": "a.wav"}, "no 'text'"),
        ({"text": "x"}, "no 'audio'"),
        ({"audio": "missing.wav", "text": "x"}, "no such file"),
        ({"audio": "corpus.jsonl", "text": "x"}, "not audio"),
        ({"audio": 3, "text": "x"}, "expected a path"),
        ({"audio": "a.wav", "text": ["x"]}, "expected a string"),
        ({"audio": "a.wav", "text": "x", "start": -1}, "expected seconds"),
        ({"audio": "a.wav", "text": "x", "start": 0.5, "stop": 0.2}, "not before its end"),
        ({"audio": "a.wav", "text": "x", "stop": 9.0}, "beyond the audio's end"),
        ({"audio": "b.wav", "text": "x", "id": "good"}, "occurs before"),
        ("[1, 2]", "a JSON list"),
        ("{broken", "not JSON"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_bad_line_is_set_aside_and_the_rest_kept(folder: Path, line: str | dict[str, Any], reason: str) -> None:
    path = manifest(folder, {"audio": "a.wav", "text": "x", "id": "good"}, line)
    corpus = open_corpus(path)
    assert [utterance.id for utterance in corpus.utterances] == ["good"]
    assert [reject.where for reject in corpus.rejects] == [f"{path}:2"]
    assert reason in corpus.rejects[0].reason
    with pytest.raises(InputError, match="jsonl:2: "):
        corpus.require_complete()


def test_what_is_not_utf8_is_set_aside(folder: Path) -> None:
    path = folder / "corpus.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"audio": "a.wav", "text": "x"}\n{"audio": "b.wav", "text": "\xff"}\n')
    corpus = open_corpus(str(path))
    assert len(corpus.utterances) == 1
    assert "not UTF-8" in corpus.rejects[0].reason


def test_missing_and_empty_corpora_are_named(folder: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        open_corpus("nowhere.jsonl")
    with pytest.raises(InputError, match="no utterances"):
        open_corpus(manifest(folder, ""))
    with pytest.raises(InputError, match=r"metadata\.csv"):
        open_corpus(str(folder))
    with pytest.raises(UsageError, match="COUNT"):
        open_corpus("hf:a:b:c:many")


def test_limit_reads_no_further(folder: Path) -> None:
    path = manifest(folder, {"audio": "a.wav", "text": "x"}, "{broken")
    assert open_corpus(path, limit=1).rejects == ()


def test_a_limit_says_whether_it_leaves_rows(folder: Path) -> None:
    path = manifest(folder, *({"id": f"{place}", "audio": "a.wav", "text": "x"} for place in range(3)))
    found = [open_corpus(path, limit=limit) for limit in (2, 3, None)]
    assert [[one.id for one in corpus.utterances] for corpus in found] == [["0", "1"], ["0", "1", "2"], ["0", "1", "2"]]
    assert [(one.unread, one.whole) for one in found] == [(None, None), (0, None), (0, None)]


def test_a_spread_limit_takes_utterances_over_the_whole_corpus_and_opens_no_other(folder: Path) -> None:
    rows: list[Any] = [
        {"id": f"{place}", "audio": "a.wav" if place % 3 == 0 else "gone.wav", "text": "x"} for place in range(7)
    ]
    rows.insert(2, "{broken")
    corpus = open_corpus(manifest(folder, *rows), limit=3, spread=True)
    assert [one.id for one in corpus.utterances] == ["0", "3", "6"]
    assert (corpus.unread, corpus.whole) == (4, 7)
    assert [reject.where.rpartition(":")[2] for reject in corpus.rejects] == ["3"]
    assert open_corpus(manifest(folder, rows[0]), limit=3, spread=True).whole is None


def test_of_a_dataset_a_spread_limit_takes_the_first(tmp_path: Path) -> None:
    audio.save(tmp_path / "a.wav", torch.zeros(16_000))
    Dataset.from_dict({"audio": [str(tmp_path / "a.wav")] * 4, "text": list("abcd")}).save_to_disk(tmp_path / "saved")
    found = [open_corpus(str(tmp_path / "saved"), limit=limit, spread=True) for limit in (2, 4)]
    assert [[one.text for one in corpus.utterances] for corpus in found] == [["a", "b"], ["a", "b", "c", "d"]]
    assert [(one.unread, one.whole) for one in found] == [(None, None), (0, None)]


def test_where_the_file_is_longer_than_stated_the_file_counts_if_that_is_asked_for(tmp_path: Path) -> None:
    lines = []
    for name, frames, stated in (("a", 53_280, 2.1), ("b", 16_000, 1.05), ("c", 8_000, 9.0), ("gone", 0, 2.0)):
        if frames:
            soundfile.write(tmp_path / f"{name}.wav", np.zeros(frames), 16_000)
        lines.append(json.dumps({"audio": f"{name}.wav", "text": "X", "duration": stated}))
    lines.append(json.dumps({"audio": "a.wav", "text": "X", "start": 0.5, "stop": 1.5}))
    path = tmp_path / "corpus.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    as_stated, checked = open_corpus(str(path)), open_corpus(str(path), check_durations=True)
    assert [u.duration for u in as_stated.utterances] == [2.1, 1.05, 9.0, 2.0, 1.0]
    assert as_stated.wrong_durations == ()
    assert [u.duration for u in checked.utterances] == [3.33, 1.05, 0.5, 2.0, 1.0]
    assert checked.wrong_durations == ("a", "c")
    streamed = [u.duration for u in stream_corpus(str(path), check_durations=True) if isinstance(u, Utterance)]
    assert streamed == [3.33, 1.05, 0.5, 2.0, 1.0]


@pytest.mark.parametrize(("wrong", "checked"), [(0, False), (1, True)])
def test_of_very_many_durations_a_sample_decides_whether_all_are_checked(
    wrong: int, checked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One in the sample that is wrong is enough; one outside it stays as it is stated."""
    audio.save(tmp_path / "a.wav", torch.zeros(16_000))
    monkeypatch.setattr(open_module, "MOST_CHECKED", 10)
    monkeypatch.setattr(open_module, "SAMPLED", 4)
    sampled = set(random.Random(12).sample(range(12), 4))
    inside, outside = min(sampled), min({*range(12)} - sampled)
    stated = {inside: 3.0 if wrong else 1.0, outside: 2.0}
    rows = [{"id": str(n), "audio": "a.wav", "text": "a", "duration": stated.get(n, 1.0)} for n in range(12)]
    path = write_manifest(tmp_path / "many.jsonl", rows)
    corpus = open_corpus(str(path), check_durations=True)
    assert corpus.utterances[outside].duration == (1.0 if checked else 2.0)
    assert corpus.wrong_durations == (tuple(str(n) for n in sorted({inside, outside})) if checked else ())


def test_a_recording_of_a_browser_is_counted(tmp_path: Path) -> None:
    (tmp_path / "a.webm").write_bytes(webm_without_duration(2.0))
    (tmp_path / "a.txt").write_text("ONE TWO", encoding="utf-8")
    (utterance,) = open_corpus(str(tmp_path)).require_complete().utterances
    assert utterance.duration == pytest.approx(2.0, abs=0.03)


def test_a_number_that_was_said_is_a_text(folder: Path, tmp_path: Path) -> None:
    soundfile.write(folder / "seven.wav", np.zeros(16_000), 16_000)
    rows = [{"id": str(place), "audio": "seven.wav", "text": text} for place, text in enumerate((7, ["a", "b"], True))]
    found = open_corpus(manifest(folder, *rows))
    assert [one.text for one in found.utterances] == ["7"]
    assert [one.reason for one in found.rejects] == [
        f"the text is {text}; expected a string, '' for silence: write what was said" for text in ("['a', 'b']", "True")
    ]


@pytest.mark.parametrize("written", ["1", 1.0, "1.0", " 1 ", [1], "right"])
def test_a_channel_of_a_recording_is_its_own_utterance(folder: Path, tmp_path: Path, written: Any) -> None:
    """Two speakers of one call, as lhotse's manifests number them; what "channel" says in words is no number."""
    agent, customer = (0.1 * np.sin(np.arange(8_000) / steps) for steps in (20, 50))
    soundfile.write(folder / "call.wav", np.stack([agent, customer], axis=1), 8_000)
    lines = [
        {"audio": "call.wav", "channel": channel, "text": text}
        for channel, text in ((0, "hello"), (written, "good day"))
    ]
    reference = manifest(folder, *lines, {"id": "mixed", "audio": "call.wav", "channel": "phone", "text": "hello"})
    found = open_corpus(reference)
    assert not found.rejects
    assert [(one.id, one.channel) for one in found.utterances] == [("call-0", 0), ("call-1", 1), ("mixed", None)]
    left, right, mixed = map(load_waveform, found.utterances)
    assert torch.equal(left, audio.load(folder / "call.wav", channel=0))
    assert torch.equal(right, audio.load(folder / "call.wav", channel=1)) and not torch.equal(left, mixed)
    prepare.main([reference, str(tmp_path / "shards"), "--workers", "1"])
    again = open_corpus(str(tmp_path / "shards" / "manifest.jsonl")).utterances
    assert [one.channel for one in again] == [None] * 3
    assert torch.equal(load_waveform(again[1]), right)


def test_files_of_one_name_in_several_folders_are_told_apart(folder: Path) -> None:
    """A folder a speaker, and a table without ids."""
    for speaker in ("ann", "bob", "cid"):
        (folder / speaker).mkdir()
        soundfile.write(folder / speaker / "1.wav", np.full(8_000, 0.1), 8_000)
    rows = [f"{speaker}/1.wav,one,{speaker}" for speaker in ("ann", "bob", "cid")]
    (folder / "corpus.csv").write_text("\n".join(["file,text,speaker", *rows, rows[1]]) + "\n")
    found = open_corpus(str(folder / "corpus.csv"))
    assert [one.id for one in found.utterances] == ["ann/1", "bob/1", "cid/1"]
    (twice,) = found.rejects
    assert (
        twice.where.endswith(":5") and f"the whole of this audio file is at {folder / 'corpus.csv'}:3" in twice.reason
    )


def test_a_speaker_in_both_forms_of_unicode_is_one(folder: Path) -> None:
    path = manifest(
        folder,
        {"audio": "a.wav", "text": "ONE", "speaker": "Jos\u00e9", "recording_id": "caf\u00e9"},
        {"audio": "b.wav", "text": "TWO", "speaker": "Jose\u0301", "recording_id": "cafe\u0301"},
    )
    assert {(one.speaker, one.recording_id) for one in open_corpus(path).utterances} == {("Jos\u00e9", "caf\u00e9")}


def test_columns_that_are_asked_for_are_kept(folder: Path) -> None:
    """Of utterances with and without a duration, in any type that a column has; an empty value is none."""
    path = manifest(
        folder,
        {"audio": "a.wav", "text": "ONE", "duration": 1.0, "accent": " Bavarian ", "age": 23.0, "native": True},
        {"audio": "b.wav", "text": "TWO", "accent": "", "age": float("nan"), "native": None},
    )
    first, second = open_corpus(path, columns=["accent", "age", "native"]).utterances
    assert first.columns == (("accent", "Bavarian"), ("age", "23"), ("native", "true"))
    assert second.columns == () and second.duration == 1.0
    assert [one.columns for one in open_corpus(path).utterances] == [(), ()]
    with pytest.raises(InputError, match=r"corpus.jsonl: no utterance has a value in a column 'accents'; expected one"):
        open_corpus(path, columns=["accents"])
