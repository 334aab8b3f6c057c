"""Every format gives the same three utterances, and what a folder holds is found out or asked about."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

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
    for utterance, expected in zip(corpus.utterances, SPOKEN, strict=True):
        assert (utterance.id, utterance.text) == (expected.id, expected.text)
        assert utterance.duration == pytest.approx(expected.seconds, abs=1e-9)
        assert (utterance.start, utterance.stop) == (0.0, None)
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
    ("name", "content", "expected"),
    [
        (
            "a.txt",  # Audacity; a point and a label without text are no utterances, a backslash begins frequencies
            "0.500000\t0.750000\tgood  morning\n\\\t100.0\t900.5\n0.8\t0.8\tding\n0,8\t0,9\t\n0.80\t1\tyes\n",
            [("a-0000500-0000750", 0.5, 0.75, "good morning"), ("a-0000800-0001000", 0.8, 1.0, "yes")],
        ),
        ("a.TXT", "0 46797 She had your dark suit\n", [("a", 0.0, None, "She had your dark suit")]),
        ("a.lab", "hello\nthere", [("a", 0.0, None, "hello there")]),
        ("a.txt", "1\t2\n", [("a", 0.0, None, "1 2")]),
        ("a.txt", "1 2 Polizei\n3 4 Offizier", [("a", 0.0, None, "1 2 Polizei 3 4 Offizier")]),
        ("a.txt", "1 500 men", [("a", 0.0, None, "1 500 men")]),
        ("a.txt", "00 4930 is to dial", [("a", 0.0, None, "00 4930 is to dial")]),
        ("a.lab", "0 2500000 sil\n2500000 8000000 hello\n", "a.lab has two numbers before the text of each of its 2"),
        ("a.txt", "0.5\t0.5\tding\n", "labels of points alone; expected some with a start and a stop"),
    ],
)  # fmt: skip
def test_texts_beside_audio_may_have_times(
    tmp_path: Path, name: str, content: str, expected: list[tuple[str, float, float | None, str]] | str
) -> None:
    corpora.write_audio(tmp_path / "a.wav", SPOKEN[0])
    corpora.write_audio(tmp_path / "b.WAV", SPOKEN[1])
    (tmp_path / "b.TXT").write_text("ONE")
    (tmp_path / name).write_text(content)
    corpus = open_corpus(str(tmp_path))
    found = [(one.id, one.start, one.stop, one.text) for one in corpus.utterances if one.id != "b"]
    assert len(corpus.utterances) > len(found), "b.TXT"
    if isinstance(expected, str):
        (reject,) = corpus.rejects
        assert reject.reason.startswith(expected) and not found
    else:
        assert found == expected and not corpus.rejects


def test_a_lab_beside_a_textgrid_does_not_hide_it(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(32_000), 16_000)
    (tmp_path / "a.lab").write_text("mate")
    (tmp_path / "a.TextGrid").write_text(SHORT_TEXTGRID.format("Kofi"))
    assert [one.speaker for one in open_corpus(str(tmp_path)).utterances] == ["Kofi"]
    (tmp_path / "a.txt").write_text("mate")
    assert [one.speaker for one in open_corpus(str(tmp_path)).utterances] == [None]


def test_a_kaldi_recording_without_segments_is_of_the_channel_that_is_named(tmp_path: Path) -> None:
    for name in "ABC":
        soundfile.write(tmp_path / f"{name}.wav", np.zeros((16_000, 2)), 16_000)
    (tmp_path / "wav.scp").write_text("A A.wav\nB B.wav\nC C.wav\n")
    (tmp_path / "text").write_text("A HELLO\nB HI\nC YES\n")
    (tmp_path / "reco2file_and_channel").write_text("A A B\nB B mixed\n")
    assert [one.channel for one in open_corpus(str(tmp_path)).require_complete().utterances] == [1, None, None]


def test_kaldi_segments_cut_recordings(tmp_path: Path) -> None:
    corpora._kaldi_tables(tmp_path)
    for one in SPOKEN[::2]:
        corpora.write_audio(tmp_path / f"{one.id}.wav", one)
    (tmp_path / "wav.scp").write_text("A 19-198-0000.wav\nB 26-495-0000.wav\n")
    (tmp_path / "segments").write_text("19-198-0000 A 0.0 0.25\n19-198-0001 A 0.25 1.0\n26-495-0000 B 0.25 -1\n")
    corpus = open_corpus(str(tmp_path)).require_complete()
    assert [(u.start, u.stop, u.duration) for u in corpus.utterances] == [
        (0.0, 0.25, 0.25),
        (0.25, 1.0, 0.75),
        (0.25, None, 0.5),
    ]


@pytest.mark.parametrize(
    ("channels", "sides", "expected"),
    [
        ((" 1", " 0"), "A call A\nB call B\n", [1, 0]),  # as extract-segments reads it
        ((" -1", ""), "A call A\nB call B\n", [0, 1]),
        (("", ""), "A call 1\nB call 2\n", [0, 1]),
        ((" 1", ""), "B call x\n", [1]),
        (("", ""), "", []),
    ],
)
def test_kaldi_recordings_of_several_channels_name_theirs(
    tmp_path: Path, channels: tuple[str, str], sides: str, expected: list[int]
) -> None:
    soundfile.write(tmp_path / "call.wav", np.zeros((16_000, 2)), 16_000)
    corpora.write_audio(tmp_path / "mono.wav", SPOKEN[0])
    (tmp_path / "wav.scp").write_text("A call.wav\nB call.wav\nC mono.wav\n")
    (tmp_path / "text").write_text("a HELLO\nb HI\nc YES\n")
    (tmp_path / "segments").write_text(f"a A 0.0 0.5{channels[0]}\nb B 0.5 1.0{channels[1]}\nc C 0 1.0\n")
    (tmp_path / "reco2file_and_channel").write_text(f"{sides}C mono B\n")
    corpus = open_corpus(str(tmp_path))
    assert [one.channel for one in corpus.utterances] == [*expected, None]
    assert len(corpus.rejects) == 2 - len(expected)
    assert all("has 2 channels; expected the one of each" in one.reason for one in corpus.rejects)


def test_a_kaldi_command_is_refused_and_never_run(tmp_path: Path) -> None:
    corpora.kaldi(tmp_path)
    ran = tmp_path / "ran"
    lines = (tmp_path / "wav.scp").read_text().splitlines()
    lines[0] = f"{SPOKEN[0].id} touch {ran}; cat x.wav |"
    lines[1] = f"{SPOKEN[1].id} data.ark:1234"
    (tmp_path / "wav.scp").write_text("\n".join(lines))
    corpus = open_corpus(str(tmp_path))
    assert [u.id for u in corpus.utterances] == [SPOKEN[2].id]
    assert "commands are never run" in corpus.rejects[0].reason
    assert "archive" in corpus.rejects[1].reason
    assert not ran.exists()


def test_kaldi_tables_that_disagree_are_set_aside(tmp_path: Path) -> None:
    corpora.kaldi(tmp_path)
    with (tmp_path / "text").open("a") as file:
        file.write("unheard SIX\n19-198-0000 AGAIN\n")
    with (tmp_path / "wav.scp").open("a") as file:
        file.write("untold /nowhere.wav\n")
    corpus = open_corpus(str(tmp_path))
    reasons = " ".join(reject.reason for reject in corpus.rejects)
    assert len(corpus.utterances) == 3
    assert len(corpus.rejects) == 3
    for part in ("'unheard' has no line in wav.scp", "'untold' has no line in text", "occurs before, in line 1"):
        assert part in reasons


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


SRT = (
    "\ufeff1\r\n00:00:00,500 --> 00:00:01,000\r\n<i>Good</i> {\\an8}morning,\r\nAnn & Bob <3.\r\n\r\n"
    "2\r\n00:00:01,000 --> 00:00:01,500\r\nIn 5\r\n3\r\n00:00:01,500 --> 00:00:02,000\r\n"
)
VTT = (
    "WEBVTT\nKind: captions\n\nNOTE none -->\nof it\n\nSTYLE\n::cue {}\n\nintro\n00:00.500 --> 00:01.000 align:start\n"
    "<v.loud Ann>Good <c.x>morning</c>,\n<00:00:00.700>Ann &amp; Bob &lt;3.\n\n00:01.000 --> 00:01.500\n<v Ann>In "
    "<v Bob>5\n\n00:00:01.500 --> 00:00:02.000\n\n"
)


@pytest.mark.parametrize(
    ("name", "content", "speaker"),
    [("talk.srt", SRT.encode(), None), ("talk.srt", SRT[1:].encode("utf-16"), None), ("talk.vtt", VTT.encode(), "Ann")],
)
def test_subtitles_are_read_by_their_cues(tmp_path: Path, name: str, content: bytes, speaker: str | None) -> None:
    soundfile.write(tmp_path / "talk.wav", np.zeros(32_000), 16_000)
    (tmp_path / name).write_bytes(content)
    for reference in (tmp_path, tmp_path / name):
        cues = open_corpus(str(reference)).require_complete().utterances
        assert [one.text for one in cues] == ["Good morning, Ann & Bob <3.", "In 5", ""]
        assert [(one.start, one.stop, one.duration) for one in cues] == [
            (0.5, 1.0, 0.5),
            (1.0, 1.5, 0.5),
            (1.5, 2.0, 0.5),
        ]
        assert [one.speaker for one in cues] == [speaker, None, None]
        assert all(one.audio == str(tmp_path / "talk.wav") for one in cues)


def test_text_of_subtitles_that_has_no_times_is_not_lost_in_silence(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "talk.wav", np.zeros(32_000), 16_000)
    soundfile.write(tmp_path / "bare.wav", np.zeros(32_000), 16_000)
    cues = b"1\n00:00:00,000 --> 00:00:01,000\none\n\nlost\n\n2\n00:00:01,000 --> 00:00:09,000\ntwo\n\n3\n"
    (tmp_path / "talk.srt").write_bytes(cues + b"0:1:0 --> soon\n\n00:00:01,000 --> 00:00:02,000\n\xff\n")
    corpus = open_corpus(str(tmp_path))
    assert [one.text for one in corpus.utterances] == ["one"]
    found = [(one.where.rpartition("/")[2], one.reason.split(";")[0]) for one in corpus.rejects]
    assert found == [
        ("bare.wav:1", "no .srt or .vtt of its name beside it"),
        ("talk.srt:5", "text without times"),
        ("talk.srt:8", "stop 9 s lies beyond the audio's end at 2.00 s: correct stop"),
        ("talk.srt:11", "text without times"),
        ("talk.srt:12", "text without times"),
        ("talk.srt:15", "not UTF-8 at byte 0"),
    ]
    (tmp_path / "alone.vtt").write_text(VTT)
    with pytest.raises(InputError, match=r"alone\.vtt: no audio file of that name beside it"):
        open_corpus(str(tmp_path / "alone.vtt"))


def test_a_cue_in_another_encoding_is_never_cut_to_what_can_be_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "talk.wav", np.zeros(64_000), 16_000)
    cues = (
        "1\n00:00:00,000 --> 00:00:01,000\nGuten Tag,\nschöne Grüße.\nDanke.\n\n2\n00:00:01,000 --> 00:00:02,000\n"
        "Über uns.\n3\n00:00:02,000 --> 00:00:03,000\nBis morgen.\n\nÜbrig\n"
    )
    (tmp_path / "talk.srt").write_bytes(cues.encode("cp1252"))
    corpus = open_corpus(str(tmp_path))
    assert [one.text for one in corpus.utterances] == ["Bis morgen."]
    assert [(one.where.rpartition(":")[2], one.reason) for one in corpus.rejects] == [
        ("4", "not UTF-8 at byte 3; expected UTF-8: convert the file (without it, the whole cue is left out)"),
        ("9", "not UTF-8 at byte 0; expected UTF-8: convert the file (without it, the whole cue is left out)"),
        ("14", "not UTF-8 at byte 0; expected UTF-8: convert the file"),
    ]


ROLLING = """WEBVTT
Kind: captions
Language: en

00:00:00.160 --> 00:00:02.230 align:start position:0%
@
good<00:00:00.480><c> morning</c><00:00:00.880><c> all</c>

00:00:02.230 --> 00:00:02.240 align:start position:0%
good morning all
@

00:00:02.240 --> 00:00:04.630 align:start position:0%
good morning all
yes<00:00:02.560><c> yes</c>

00:00:04.630 --> 00:00:04.640 align:start position:0%
yes yes
@

00:00:04.640 --> 00:00:06.630 align:start position:0%
yes yes
yes<00:00:05.000><c> yes</c>

00:00:06.630 --> 00:00:06.640 align:start position:0%
yes yes
@

00:00:07.000 --> 00:00:08.000 align:start position:0%
@
yes<00:00:07.500><c> yes</c>
""".replace("@", " ")


@pytest.mark.parametrize("name", ["talk.vtt", "talk.srt"])
def test_captions_that_roll_are_read_once_at_their_times(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notes, "_noted", set())
    soundfile.write(tmp_path / "talk.wav", np.zeros(160_000), 16_000)
    captions = ROLLING if name == "talk.vtt" else ROLLING.partition("\n\n")[2].replace("<c>", "").replace("</c>", "")
    (tmp_path / name).write_text(captions, encoding="utf-8")
    corpus = open_corpus(str(tmp_path)).require_complete()
    assert [(one.start, one.stop, one.text) for one in corpus.utterances] == [
        (0.16, 2.23, "good morning all"),
        (2.24, 4.63, "yes yes"),
        (4.64, 6.63, "yes yes"),
        (7.0, 8.0, "yes yes"),
    ]
    noted = capsys.readouterr().err
    assert noted.count("rolling captions, most of whose cues begin with the last line of the cue before") == 1


def test_repeated_speech_is_no_rolling_caption(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "talk.wav", np.zeros(160_000), 16_000)
    spoken = ["Yes.", "Yes.", "Yes.\nNo.", "Why?\nSo.", "So.\nGood.", "Good.", "And you?\nGood.", "Who?\nI."]
    cues = (f"{n}\n00:00:0{n},000 --> 00:00:0{n},900\n{text}\n" for n, text in enumerate(spoken))
    (tmp_path / "talk.srt").write_text("\n".join(cues))
    read = [one.text for one in open_corpus(str(tmp_path)).require_complete().utterances]
    assert read == [text.replace("\n", " ") for text in spoken]


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


def test_subtitles_may_have_their_language_in_their_name(tmp_path: Path) -> None:
    for name in ("talk", "call", "news", "news.en", "both", "old", "track"):
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(32_000), 16_000)
    names = (
        "talk.de-CH.srt",
        "call.en.srt",
        "call.en.vtt",
        "news.en.srt",
        "both.de.srt",
        "both.en-orig.vtt",
        "old.1.srt",
        "track.zh-Hans-CN-eEY6OEpapPo.vtt",
    )
    for name in names:
        text = f"00:00:00.500 --> 00:00:01.000\n{name}\n"
        (tmp_path / name).write_text(f"WEBVTT\n\n{text}" if name.endswith("vtt") else text)
    corpus = open_corpus(str(tmp_path))
    assert [(Path(str(one.audio)).name, one.text, one.language) for one in corpus.utterances] == [
        ("call.wav", "call.en.srt", "en"),
        ("news.en.wav", "news.en.srt", None),
        ("talk.wav", "talk.de-CH.srt", "de-CH"),
        ("track.wav", "track.zh-Hans-CN-eEY6OEpapPo.vtt", "zh-Hans-CN"),
    ]
    assert [(one.where.rpartition("/")[2], one.reason) for one in corpus.rejects] == [
        (
            "both.wav:1",
            "both.de.srt and both.en-orig.vtt beside it; expected one of them: call the one to read both.srt",
        ),
        ("news.wav:4", "no .srt or .vtt of its name beside it; expected its subtitles: add them"),
        ("old.wav:5", "no .srt or .vtt of its name beside it; expected its subtitles: add them"),
    ]
    (one,) = open_corpus(str(tmp_path / "both.en-orig.vtt")).require_complete().utterances
    assert (one.audio, one.text, one.language) == (str(tmp_path / "both.wav"), "both.en-orig.vtt", "en")


LONG_TEXTGRID = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 2
tiers? <exists>
size = 4
item []:
    item [1]:
        class = "IntervalTier"
        name = "Ann"
        xmin = 0
        xmax = 2
        intervals: size = 2
        intervals [1]:
            xmin = 0
            xmax = 0.5
            text = ""
        intervals [2]:
            xmin = 0.5
            xmax = 2
            text = "She said ""ẹ̀kọ́"" 5
 times! "
    item [2]:
        class = "TextTier"
        name = "bell"
        xmin = 0
        xmax = 2
        points: size = 1
        points [1]:
            number = 1.5
            mark = "ding"
    item [3]:
        class = "IntervalTier"
        name = "Ann - words"
        xmin = 0
        xmax = 2
        intervals: size = 1
        intervals [1]:
            xmin = 0.5
            xmax = 2
            text = "she"
    item [4]:
        class = "IntervalTier"
        name = "Bob"
        xmin = 0
        xmax = 2
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 1
            text = "yes"
"""
SHORT_TEXTGRID = (
    '"ooTextFile"\n"TextGrid"\n\n0\n2 ! all of it\n<exists>\n1\n"IntervalTier"\n"{}"\n0\n2\n1\n0\n2\n"mate"\n'
)
SLOTS = [("ts1", "100"), ("ts2", "1500"), ("ts3", "")]


def elan(*tiers: str, header: str = "") -> str:
    times = "".join(f'<TIME_SLOT TIME_SLOT_ID="{name}" TIME_VALUE="{time}"/>' for name, time in SLOTS)
    content = f"<HEADER>{header}</HEADER><TIME_ORDER>{times}</TIME_ORDER>{''.join(tiers)}"
    return f'<?xml version="1.0"?><ANNOTATION_DOCUMENT>{content}</ANNOTATION_DOCUMENT>'


def aligned(attributes: str, text: str, stop: str = "ts2") -> str:
    slots = f'ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="{stop}"'
    value = f"<ANNOTATION_VALUE>{text}</ANNOTATION_VALUE>"
    annotation = f"<ALIGNABLE_ANNOTATION {slots}>{value}</ALIGNABLE_ANNOTATION>"
    return f"<TIER {attributes}><ANNOTATION>{annotation}</ANNOTATION></TIER>"


def referring(attributes: str, *texts: str) -> str:
    annotations = (
        f'<ANNOTATION><REF_ANNOTATION ANNOTATION_REF="a1"><ANNOTATION_VALUE>{text}</ANNOTATION_VALUE></REF_ANNOTATION>'
        "</ANNOTATION>"
        for text in texts
    )
    return f"<TIER {attributes}>{''.join(annotations)}</TIER>"


SENTENCE = aligned('TIER_ID="ref@ANN"', "sess.001")
TRANSLATION = aligned('TIER_ID="ft" PARENT_REF="tx"', "I understand")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (
            "talk.TextGrid",
            LONG_TEXTGRID.encode("utf-16"),
            [(0, 1, "Bob", "yes"), (0.5, 2, "Ann", 'She said "ẹ̀kọ́" 5 times!')],
        ),
        ("talk.TextGrid", SHORT_TEXTGRID.format("Kofi").encode(), [(0, 2, "Kofi", "mate")]),
        ("talk.textgrid", SHORT_TEXTGRID.format("utterances").encode("utf-8-sig"), [(0, 2, None, "mate")]),
        (
            "talk.eaf",
            elan(aligned('TIER_ID="tx" PARTICIPANT="Kofi"', "Mate &amp; aseɛ"), TRANSLATION).encode(),
            [(0.1, 1.5, "Kofi", "Mate & aseɛ")],
        ),
        ("talk.eaf", elan(aligned('TIER_ID="default"', "Mate")).encode(), [(0.1, 1.5, None, "Mate")]),
        ("talk.TextGrid", SHORT_TEXTGRID.format("annotations").encode(), [(0, 2, None, "mate")]),
        (
            "talk.eaf",
            elan(
                SENTENCE,
                referring('TIER_ID="tx@ANN" PARENT_REF="ref@ANN"', "bore", "da"),
                referring('TIER_ID="ft@ANN" PARENT_REF="ref@ANN"', "good morning"),
            ).encode(),
            [(0.1, 1.5, "ANN", "bore da")],
        ),
        (
            "talk.eaf",
            elan(
                aligned('TIER_ID="ref" PARTICIPANT="Ann"', "1"),
                aligned('TIER_ID="tx" PARENT_REF="ref"', "bore da"),
                header='<MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/x/talk.mp4" TIME_ORIGIN="250"/>'
                '<MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/x/other.wav" TIME_ORIGIN="99"/>',
            ).encode(),
            [(0.35, 1.75, "Ann", "bore da")],
        ),
        (
            "talk.eaf",
            elan(
                aligned('TIER_ID="Ann"', "bore da"),
                aligned('TIER_ID="tx_words" PARENT_REF="Ann"', "da", stop="ts3"),
            ).encode(),
            [(0.1, 1.5, "Ann", "bore da")],
        ),
    ],
)  # fmt: skip
def test_tiers_of_praat_and_elan_are_read_by_their_utterances(
    tmp_path: Path, name: str, content: bytes, expected: list[tuple[float, float, str | None, str]]
) -> None:
    soundfile.write(tmp_path / "talk.wav", np.zeros(32_000), 16_000)
    (tmp_path / name).write_bytes(content)
    for reference in (tmp_path, tmp_path / name):
        utterances = open_corpus(str(reference)).require_complete().utterances
        assert [(one.start, one.stop, one.speaker, one.text) for one in utterances] == expected
        assert all(one.audio == str(tmp_path / "talk.wav") for one in utterances)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.TextGrid", SHORT_TEXTGRID.format("phones"), "no utterance in the tiers 'phones'"),
        (
            "a.TextGrid",
            SHORT_TEXTGRID.format("silences").replace("mate", "sounding"),
            "no utterance in the tiers 'silences'",
        ),
        (
            "a.eaf",
            elan(SENTENCE, referring('TIER_ID="ge" PARENT_REF="ref@ANN"', "good")),
            "tier 'ref@ANN', on which 'ge' depend, has numbers of sentences such as 'sess.001'; expected the",
        ),
        (
            "a.eaf",
            elan(SENTENCE, *(referring(f'TIER_ID="{name}" PARENT_REF="ref@ANN"', "good") for name in ("tx", "txt@A"))),
            "tier 'ref@ANN', on which 'tx', 'txt@A' depend, has several transcripts; expected the transcript in one",
        ),
        ("a.TextGrid", SHORT_TEXTGRID.format("Ann")[:60], "no TextGrid at its value"),
        ("a.TextGrid", "mate\n", "no TextGrid at its value 1; expected Praat's text format"),
        ("a.TextGrid", LONG_TEXTGRID.replace("size = 4", "size = 9"), "no TextGrid at its value"),
        ("a.TextGrid", LONG_TEXTGRID.replace("ẹ", "\udcff"), "neither UTF-8 nor UTF-16"),
        ("a.eaf", "<a", "not XML"),
        ("a.eaf", elan(TRANSLATION), "no annotation that is aligned with time"),
        ("a.eaf", elan(aligned('TIER_ID="tx"', "Mate", stop="ts3")), "annotation 'a1' has no time"),
        (
            "a.TextGrid",
            '"ooTextFile" "TextGrid" 0 2 <exists> 2 '
            + "".join(f'"IntervalTier" "{tier}" 0 2 2 0 1 "x" 1 2 "y" ' for tier in ("twi", "gloss")),
            "tiers 'twi' and 'gloss' have the same intervals",
        ),
    ],
)
def test_tiers_that_are_no_utterances_are_set_aside_with_the_reason(
    tmp_path: Path, name: str, content: str, reason: str
) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(32_000), 16_000)
    (tmp_path / name).write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=reason):
        open_corpus(str(tmp_path))


def test_elan_names_the_audio_and_where_in_it_its_time_begins(tmp_path: Path) -> None:
    for name in ("my talk.wav", "other.wav"):
        soundfile.write(tmp_path / name, np.zeros(64_000), 16_000)
    descriptor = '<MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/x/my%20talk.wav" RELATIVE_MEDIA_URL="" TIME_ORIGIN="2000"/>'
    content = elan(aligned('TIER_ID="default"', "Mate"), header=descriptor)
    (tmp_path / "talk_ann.eaf").write_text(content)
    corpus = open_corpus(str(tmp_path))
    assert [one.where.rpartition("/")[2] for one in corpus.rejects] == ["other.wav:2"]
    for utterances in (corpus.utterances, open_corpus(str(tmp_path / "talk_ann.eaf")).utterances):
        assert [(one.audio, one.start, one.stop) for one in utterances] == [(str(tmp_path / "my talk.wav"), 2.1, 3.5)]
    (tmp_path / "second.eaf").write_text(content)
    with pytest.raises(InputError, match=r"second\.eaf and talk_ann\.eaf beside it; expected one of them"):
        open_corpus(str(tmp_path))


@pytest.mark.parametrize(
    ("names", "speakers"),
    [(("Kofi",), ["Kofi"]), (("Kofi", "Kofi"), [None, None]), (("Kofi", "Ama", "Kofi"), ["Kofi", "Ama", "Kofi"])],
)
def test_the_one_tier_of_all_files_names_no_speaker(
    tmp_path: Path, names: tuple[str, ...], speakers: list[str | None]
) -> None:
    for number, name in enumerate(names):
        soundfile.write(tmp_path / f"{number}.wav", np.zeros(32_000), 16_000)
        (tmp_path / f"{number}.TextGrid").write_text(SHORT_TEXTGRID.format(name))
    assert [one.speaker for one in open_corpus(str(tmp_path)).utterances] == speakers


def test_the_one_tier_of_some_files_names_a_speaker_of_others(tmp_path: Path) -> None:
    short = SHORT_TEXTGRID.format("Kofi")
    tier = short[short.index('"IntervalTier"') :]
    of_ama = tier.replace("Kofi", "Ama").replace('0\n2\n"mate"', '1\n2\n"aane"')
    for number, text in enumerate([short.replace("<exists>\n1\n", "<exists>\n2\n") + of_ama, short, short]):
        soundfile.write(tmp_path / f"{number}.wav", np.zeros(32_000), 16_000)
        (tmp_path / f"{number}.TextGrid").write_text(text)
    corpus = open_corpus(str(tmp_path)).require_complete()
    assert [one.speaker for one in corpus.utterances] == ["Kofi", "Ama", "Kofi", "Kofi"]


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
