"""Every format gives the same three utterances, and what a folder holds is found out or asked about."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from preprocessing import audio
from preprocessing.cli import notes
from preprocessing.corpus import from_dataset, open_corpus
from preprocessing.corpus.readers.manifest import read_rows
from preprocessing.errors import InputError
from tests.preprocessing import corpora
from tests.preprocessing.corpora import SPOKEN, WAYS


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.getbasetemp() / "datasets")


@pytest.mark.parametrize("write", WAYS, ids=lambda write: write.__name__)
def test_every_way_in_gives_the_same_utterances(tmp_path: Path, write: Callable[[Path], str]) -> None:
    corpus = open_corpus(write(tmp_path)).require_complete()
    without_speaker = write in (corpora.beside,)
    of_segments = write in (corpora.stm,)
    for utterance, expected in zip(corpus.utterances, SPOKEN, strict=True):
        part = f"-0000000-{round(expected.seconds * 1000):07d}" if of_segments else ""
        assert (utterance.id, utterance.text) == (f"{expected.id}{part}", expected.text)
        assert utterance.duration == pytest.approx(expected.seconds, abs=1e-9)
        assert (utterance.start, utterance.stop) == (0.0, expected.seconds if of_segments else None)
        if not without_speaker:
            assert (utterance.speaker, utterance.sex) == (expected.speaker, expected.sex)
        waveform = audio.load(utterance.audio)
        crossings = int((waveform[:-1] < 0).logical_and(waveform[1:] >= 0).sum())
        assert crossings == pytest.approx(expected.frequency * expected.seconds, abs=1.5)


def test_a_dataset_at_hand_is_a_corpus(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    dataset = Dataset.from_parquet(corpora.parquet(tmp_path / "set"), cache_dir=str(tmp_path / "cache"))
    for one in (dataset, dataset.to_iterable_dataset()):
        corpus = from_dataset(one, reference="mine").require_complete()
        assert [u.id for u in corpus.utterances] == [spoken.id for spoken in SPOKEN]
    assert len(from_dataset(dataset, limit=2).utterances) == 2
    with pytest.raises(InputError, match=r"mine: a DatasetDict of the splits a, b; expected one Dataset"):
        from_dataset(DatasetDict({"a": dataset, "b": dataset}), reference="mine")
    DatasetDict({"a": dataset, "b": dataset}).save_to_disk(tmp_path / "both")
    with pytest.raises(InputError, match="holds the splits a, b"):
        open_corpus(str(tmp_path / "both"))
    assert len(open_corpus(str(tmp_path / "both" / "b")).utterances) == 3


@pytest.mark.parametrize("way", ["at hand", "stream", "saved", "parquet", "hub"])
def test_a_dataset_may_repeat_ids_and_number_its_labels(
    tmp_path: Path, way: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As FLEURS: the id is a sentence's, which several people read, and the gender is a class label."""
    from datasets import Audio, ClassLabel, Dataset, Features, Value

    monkeypatch.setattr(notes, "_noted", set())
    content = corpora.write_audio(tmp_path / "a.wav", SPOKEN[0]).read_bytes()
    features = Features(
        {
            "id": Value("int32"),
            "audio": Audio(decode=False),
            "transcription": Value("string"),
            "gender": ClassLabel(names=["male", "female", "other"]),
            "language": ClassLabel(names=["Afrikaans", "Thai"]),
        }
    )
    columns = {"id": [12, 12, 7, 12], "gender": [0, 1, 2, -1], "language": [1] * 4, "transcription": list("xxyx")}
    dataset = Dataset.from_dict(columns | {"audio": [{"bytes": content, "path": "a.wav"}] * 4}).cast(features)
    if way == "saved":
        dataset.save_to_disk(tmp_path / "saved")
    if way in ("parquet", "hub"):
        (tmp_path / "set").mkdir()
        dataset.to_parquet(tmp_path / "set" / "test-00000-of-00001.parquet")
    corpus = {
        "at hand": lambda: from_dataset(dataset),
        "stream": lambda: from_dataset(dataset.to_iterable_dataset()),
        "saved": lambda: open_corpus(str(tmp_path / "saved")),
        "parquet": lambda: open_corpus(str(tmp_path / "set")),
        "hub": lambda: open_corpus(f"hf:{tmp_path / 'set'}"),
    }[way]()
    found = corpus.require_complete().utterances
    assert [one.id for one in found] == ["12", "12-2", "7", "12-3"]
    assert [(one.sex, one.language) for one in found] == [
        ("M", "Thai"),
        ("F", "Thai"),
        ("other", "Thai"),
        (None, "Thai"),
    ]
    assert capsys.readouterr().err.count("1 id of several rows, such as '12'; all but the first") == 1


def test_numbered_ids_collide_with_no_other(tmp_path: Path) -> None:
    from datasets import Audio, Dataset

    audio_of = {"bytes": corpora.write_audio(tmp_path / "a.wav", SPOKEN[0]).read_bytes(), "path": "a.wav"}
    dataset = Dataset.from_dict({"id": ["a", "a-2", "a", "a", "a-2"], "text": ["x"] * 5, "audio": [audio_of] * 5})
    found = from_dataset(dataset.cast_column("audio", Audio(decode=False))).require_complete().utterances
    assert [one.id for one in found] == ["a", "a-2", "a-3", "a-4", "a-2-2"]


def test_a_datasets_other_names_of_an_id_stay(tmp_path: Path) -> None:
    from datasets import Audio, Dataset

    audio_of = {"bytes": corpora.write_audio(tmp_path / "a.wav", SPOKEN[0]).read_bytes(), "path": "a.wav"}
    dataset = Dataset.from_dict({"utterance_id": ["u1", "", None], "text": ["x"] * 3, "audio": [audio_of] * 3})
    found = from_dataset(dataset.cast_column("audio", Audio(decode=False))).require_complete().utterances
    assert [one.id for one in found] == ["u1", "row-000001", "row-000002"]


@pytest.mark.parametrize(
    ("ways", "named"),
    [
        ((corpora.kaldi, corpora.audiofolder_csv), ["Kaldi", "metadata.csv"]),
        ((corpora.librispeech, corpora.common_voice), ["LibriSpeech", "Common Voice"]),
        ((corpora.audiofolder_csv, corpora.audiofolder_jsonl), ["metadata.csv", "metadata.jsonl"]),
    ],
)
def test_a_folder_of_two_kinds_is_asked_about(
    tmp_path: Path, ways: tuple[Callable[[Path], str], ...], named: list[str]
) -> None:
    for write in ways:
        write(tmp_path)
    with pytest.raises(InputError) as raised:
        open_corpus(str(tmp_path))
    assert all(name in str(raised.value) for name in named)


def test_splits_are_never_mixed(tmp_path: Path) -> None:
    corpora.audiofolder_split(tmp_path)
    os.rename(tmp_path / "train", tmp_path / "test")
    corpora.audiofolder_split(tmp_path)
    with pytest.raises(InputError, match=r"holds the splits test, train; expected one"):
        open_corpus(str(tmp_path))
    both = tmp_path / "both"
    both.mkdir()
    corpora.audiofolder_csv(both)
    assert len(open_corpus(str(both)).utterances) == 3  # one split: all of it
    (both / "test").mkdir()
    (both / "test" / "new.wav").write_bytes(next((both / "train").iterdir()).read_bytes())
    with (both / "metadata.csv").open("a", encoding="utf-8") as file:
        columns = (both / "metadata.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
        file.write(",".join({"file_name": "./test/new.wav"}.get(name, "new") for name in columns) + "\n")
    with pytest.raises(InputError, match=r"holds the splits test, train; expected one: name it, as in .*both/test"):
        open_corpus(str(both))
    assert [one.text for one in open_corpus(str(both / "test")).utterances] == ["new"]
    assert len(open_corpus(f"{both}/train/").utterances) == 3
    assert len(open_corpus(str(both / "metadata.csv")).utterances) == 4
    voices = tmp_path / "cv"
    voices.mkdir()
    corpora.common_voice(voices)
    (voices / "test.tsv").write_bytes((voices / "validated.tsv").read_bytes())
    with pytest.raises(InputError, match=r"holds the tables test\.tsv, validated\.tsv"):
        open_corpus(str(voices))
    assert len(open_corpus(str(voices / "test.tsv")).require_complete().utterances) == 3
    books = tmp_path / "books"
    corpora.librispeech(books)
    os.rename(books / "dev-clean", books / "test-clean")
    corpora.librispeech(books)
    with pytest.raises(InputError, match="dev-clean, test-clean"):
        open_corpus(str(books))
    assert {u.sex for u in open_corpus(str(books / "test-clean")).utterances} == {"F", "M"}


def test_links_that_lead_back_are_entered_once(tmp_path: Path) -> None:
    corpora.beside(tmp_path)
    (tmp_path / "again").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "self.wav").symlink_to(tmp_path / "self.wav")
    assert len(open_corpus(str(tmp_path)).require_complete().utterances) == 3
    with pytest.raises(InputError, match="no such file or folder"):
        open_corpus(str(tmp_path / "self.wav"))


@pytest.mark.parametrize("name", ["with space", "with\nnewline", "😀", "a,b;'c'"])
def test_names_may_hold_anything(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    corpora.write_audio(folder / f"{name}.wav", SPOKEN[0])
    (folder / "m.jsonl").write_text(json.dumps({"audio": f"{name}.wav", "text": "x"}) + "\n{\n", encoding="utf-8")
    corpus = open_corpus(str(folder / "m.jsonl"))
    assert corpus.utterances[0].id == name
    assert "\n" not in corpus.rejects[0].where


def test_a_workbook_is_to_be_saved_as_csv(tmp_path: Path) -> None:
    (tmp_path / "m.xlsx").write_bytes(b"PK\3\4\x14\0\6\0")
    with pytest.raises(InputError, match=r"Excel workbook .* save it as 'CSV UTF-8'"):
        open_corpus(str(tmp_path / "m.xlsx"))


def test_an_audio_file_is_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a manifest"):
        open_corpus(str(corpora.write_audio(tmp_path / "a.wav", SPOKEN[0])))


def test_ljspeech_is_read_by_its_normalised_texts(tmp_path: Path) -> None:
    for number in range(3):
        corpora.write_audio(tmp_path / "wavs" / f"LJ{number}.wav", SPOKEN[0])
    lines = ['LJ0|Printing, "in" 1963|Printing, "in" nineteen sixty-three', "LJ1|one|", "LJ2|two", "LJ3", "LJ4|a|b|c"]
    (tmp_path / "metadata.csv").write_text("\n".join(lines), encoding="utf-8")
    for reference in (tmp_path, tmp_path / "metadata.csv"):
        corpus = open_corpus(str(reference))
        assert [(one.id, one.text) for one in corpus.utterances] == [
            ("LJ0", 'Printing, "in" nineteen sixty-three'),
            ("LJ1", "one"),
            ("LJ2", "two"),
        ]
        assert [one.reason.partition(";")[0] for one in corpus.rejects] == [
            "1 field between '|'",
            "4 fields between '|'",
        ]
    (tmp_path / "metadata.csv").write_text("file_name,text\nwavs/LJ0.wav,a|b\n")
    (one,) = open_corpus(str(tmp_path)).require_complete().utterances
    assert one.text == "a|b", "an audiofolder"


def test_column_names_may_have_capitals(tmp_path: Path) -> None:
    corpora.write_audio(tmp_path / "1.wav", SPOKEN[0])
    (tmp_path / "a.csv").write_text("Audio,Text,Speaker,text\n1.wav,no,ann,yes\n")
    (tmp_path / "b.tsv").write_text("PATH\tSentence\tAccent\n1.wav\tyes\tx\n")
    for name, speaker, columns in (("a.csv", "ann", (("Text", "no"),)), ("b.tsv", None, (("Accent", "x"),))):
        (one,) = open_corpus(str(tmp_path / name), columns=None).require_complete().utterances
        assert (one.text, one.speaker, one.columns) == ("yes", speaker, columns)
    (tmp_path / "calls.csv").write_text(
        "File Name;Channel;Start Time;End Time;Transcript;Speaker ID\n1.wav;1;0,25;0,75;one;ann\n;;;;;\n ;;\n"
    )
    (one,) = open_corpus(str(tmp_path / "calls.csv")).require_complete().utterances
    assert (one.channel, one.start, one.stop, one.text, one.speaker) == (1, 0.25, 0.75, "one", "ann")
    (tmp_path / "c.csv").write_text("Id,Text,Hypothesis\n1,yes,no\n")
    (row,) = read_rows(str(tmp_path / "c.csv"))
    assert row.fields == {"Id": "1", "Text": "yes", "Hypothesis": "no"}, "a reference is never taken for a transcript"


def test_speech_commands_are_words_by_their_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notes, "_noted", set())
    for name in ("yes/ann_nohash_0", "turn_left/bob_nohash_0", "turn_left/ann_nohash_0", "_silence_/x_nohash_0"):
        corpora.write_audio(tmp_path / f"{name}.wav", SPOKEN[0])
    corpora.write_audio(tmp_path / "_background_noise_" / "rain.wav", SPOKEN[0])
    (tmp_path / "README.md").touch()
    utterances = open_corpus(str(tmp_path)).require_complete().utterances
    assert [(one.id, one.text, one.speaker) for one in utterances] == [
        ("_silence_/x_nohash_0", "", "x"),
        ("turn_left/ann_nohash_0", "turn left", "ann"),
        ("turn_left/bob_nohash_0", "turn left", "bob"),
        ("yes/ann_nohash_0", "yes", "ann"),
    ]
    (tmp_path / "testing_list.txt").write_text("turn_left/bob_nohash_0.wav\n")
    (tmp_path / "validation_list.txt").write_text("\n")
    training = [one.id for one in open_corpus(str(tmp_path)).utterances]
    assert training == ["_silence_/x_nohash_0", "turn_left/ann_nohash_0", "yes/ann_nohash_0"]
    test = open_corpus(str(tmp_path / "testing_list.txt")).require_complete().utterances
    assert [(one.id, one.text) for one in test] == [("turn_left/bob_nohash_0", "turn left")]


def test_segments_without_the_text_of_all_are_refused_with_what_to_do(tmp_path: Path) -> None:
    row = {"audio": "a.wav", "segments": [{"start": 0, "end": 1, "text": "hello", "speaker": "agent", "channel": 0}]}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    with pytest.raises(InputError, match=r"'segments' without a 'text' .*each segment on a line of its own"):
        open_corpus(str(tmp_path / "a.jsonl"))
