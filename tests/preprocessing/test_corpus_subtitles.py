"""Subtitles: SRT and WebVTT by their cues, captions that roll, and their languages."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from preprocessing.cli import notes
from preprocessing.corpus import open_corpus
from preprocessing.errors import InputError

SRT = (
    "\ufeff1\r\n00:00:00,500 --> 00:00:01,000\r\n<i>Good</i> {\\an8}morning,\r\nAnn & Bob <3.\r\n\r\n"
    "2\r\n00:00:01,000 --> 00:00:01,500\r\nIn 5\r\n3\r\n00:00:01,500 --> 00:00:02,000\r\n"
)
VTT = (
    "WEBVTT\nKind: captions\n\nNOTE none -->\nof it\n\nSTYLE\n::cue {}\n\nintro\n00:00.500 --> 00:01.000 align:start\n"
    "<v.loud Ann>Good <c.x>morning</c>,\n<00:00:00.700>Ann &amp; Bob &lt;3.\n\n00:01.000 --> 00:01.500\n<v Ann>In "
    "<v Bob>5\n\n00:00:01.500 --> 00:00:02.000\n\n"
)
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
