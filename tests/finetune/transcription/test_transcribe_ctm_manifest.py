"""`python -m finetune.transcribe -f ctm` and `-f manifest`: words for sclite, segments to correct or to train on."""

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from finetune.systems.transcript import Segment, Transcript, Word
from finetune.transcribe import main
from finetune.transcription.by_channel import merged
from finetune.transcription.recordings import Recording
from finetune.transcription.results import StandardOutput
from finetune.transcription.writers import SegmentSelection, Subtitles, parse_formats, rendered
from preprocessing.corpus import open_corpus
from preprocessing.errors import UsageError
from tests.conftest import DEMO
from tests.finetune.transcription.test_transcribe import ECHO

AUDIO = DEMO / "corpus" / "audio"
WAV2VEC2 = str(DEMO / "wav2vec2")
ANN = Transcript.of_words("", [Word(" YES", 1.0, 1.4004, 0.51239), Word(" SURE", 1.4004, 2.5, 0.9)])
BOB = Transcript.of_words("", [Word(" NO", 0.0, 1.2, 0.25), Word(" I  DO", 5.0, 5.0, None)])


def run(*words: object) -> None:
    main([str(word) for word in words])


def call(tmp_path: Path, channel: int | None = None) -> Recording:
    path = tmp_path / "my call.wav"
    soundfile.write(path, np.zeros((7 * 16_000, 2)), 16_000)
    return Recording(path, "monday/my call", str(path), channel)


def test_a_ctm_is_that_of_nist(tmp_path: Path) -> None:
    recording = call(tmp_path)
    assert rendered(ANN, "ctm", 7.0, recording=recording) == (
        "my_call 1 1.000 0.400 YES 0.5124\nmy_call 1 1.400 1.100 SURE 0.9000\n"
    )
    assert rendered(ANN, "ctm", 7.0, recording=call(tmp_path, 1)).startswith("my_call 2 1.000 0.400 YES")
    both = merged({"Ann": ANN, "Bob": BOB})
    assert both is not None
    assert rendered(both, "ctm", 7.0, recording=recording) == (
        "my_call 1 1.000 0.400 YES 0.5124\n"
        "my_call 1 1.400 1.100 SURE 0.9000\n"
        "my_call 2 0.000 1.200 NO 0.2500\n"
        "my_call 2 5.000 0.000 I_DO\n"
    )


def test_words_of_segments_that_overlap_are_in_order_of_their_starts(tmp_path: Path) -> None:
    words = [
        Word(" A", 1.0, 1.5, 0.5),
        Word(" C", 3.0, 3.5, 0.5),
        Word(" B", 2.0, 2.5, 0.5),
        Word(" D", 10.0, 11.0, 1.0),
    ]
    segments = tuple(Segment(words[at].start, words[at + 1].end, "", tuple(words[at : at + 2])) for at in (0, 2))
    found = rendered(Transcript("", segments), "ctm", 12.0, recording=call(tmp_path)).splitlines()
    assert [line.split()[4] for line in found] == ["A", "B", "C", "D"]


def test_recordings_are_put_together_on_standard_output(tmp_path: Path) -> None:
    recordings = [Recording(tmp_path / f"{name}.wav", name, name) for name in ("a", "b")]
    for name in ("ctm", "manifest"):
        file = io.StringIO()
        output = StandardOutput(name, Subtitles(), file)
        output.pending(recordings)
        for place in (1, 0):
            output.write(place, recordings[place], ANN, 7.0)
        named = [
            line.split()[0] if name == "ctm" else json.loads(line)["audio"] for line in file.getvalue().splitlines()
        ]
        assert named == (["a", "a", "b", "b"] if name == "ctm" else [str(tmp_path / "a.wav"), str(tmp_path / "b.wav")])
    with pytest.raises(UsageError, match="--format ctm calls x and y a; expected different names"):
        StandardOutput("ctm", Subtitles()).pending([Recording(Path(one), f"{one}/a", one) for one in "xy"])


def test_a_manifest_opens_and_has_the_same_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(AUDIO.parent)
    recordings = [f"audio/test-000{number}.opus" for number in range(3)]
    run(WAV2VEC2, *recordings, "-o", tmp_path, "-f", "manifest,json,ctm", "--language", "en")
    texts = []
    for number, path in enumerate(recordings):
        segments = json.loads((tmp_path / f"{Path(path).stem}.json").read_text())["segments"]
        corpus = open_corpus(str(tmp_path / f"{Path(path).stem}.manifest.jsonl"), columns=["confidence"])
        found = corpus.require_complete().utterances
        assert [one.text for one in found] == [segment["text"].strip() for segment in segments]
        for one, segment in zip(found, segments, strict=True):
            assert one.audio == str(AUDIO / f"test-000{number}.opus") and one.language == "en"
            assert (one.start, one.stop) == (segment["start"], pytest.approx(segment["end"], abs=0.5))
            assert one.columns == (("confidence", str(min(word["probability"] for word in segment["words"]))),)
        texts += [one.text for one in found]
        words = [line.split() for line in (tmp_path / f"{Path(path).stem}.ctm").read_text().splitlines()]
        assert [word[4] for word in words] == [word["word"].strip() for one in segments for word in one["words"]]
        assert [float(word[2]) for word in words] == sorted(float(word[2]) for word in words)
    together = "".join(path.read_text() for path in sorted(tmp_path.glob("*.manifest.jsonl")))
    (tmp_path / "train.jsonl").write_text(together)
    assert [one.text for one in open_corpus(str(tmp_path / "train.jsonl")).require_complete().utterances] == texts != []


def test_segments_of_a_call_keep_speaker_and_channel_and_last_as_long_as_a_subtitle(tmp_path: Path) -> None:
    both = merged({"Ann": ANN, "Bob": BOB})
    assert both is not None
    (tmp_path / "call.jsonl").write_text(rendered(both, "manifest", 7.0, recording=call(tmp_path)))
    found = open_corpus(str(tmp_path / "call.jsonl")).require_complete().utterances
    assert [(one.text, one.speaker, one.channel, one.start, one.stop) for one in found] == [
        ("NO", "Bob", 1, 0.0, 1.2),
        ("YES SURE", "Ann", 0, 1.0, 2.5),
        ("I  DO", "Bob", 1, 5.0, 5.5),
    ]
    assert json.loads(rendered(ANN, "manifest", 7.0, recording=call(tmp_path, 1)))["channel"] == 1


@pytest.mark.skipif(os.name != "posix", reason="names that are not UTF-8")
def test_a_name_that_is_not_utf_8_is_in_no_manifest(tmp_path: Path) -> None:
    path = tmp_path / "caf\udce9.wav"
    path.touch()
    recording = Recording(path, path.stem, path.name)
    assert rendered(ANN, "ctm", 3.0, recording=recording).startswith("caf\\udce9 1 1.000")
    with pytest.raises(UsageError, match=r"the path is not UTF-8; expected one that a manifest can name"):
        run(WAV2VEC2, path, "-o", tmp_path / "out", "-f", "manifest")


def test_segments_of_low_confidence_are_left_out_and_counted(tmp_path: Path, capsys: Any) -> None:
    selection = SegmentSelection(0.5)
    both = merged({"Ann": ANN, "Bob": BOB})
    assert both is not None
    lines = rendered(both, "manifest", 7.0, recording=call(tmp_path), selection=selection).splitlines()
    assert [json.loads(line)["confidence"] for line in lines] == [0.5124]
    assert selection.note == "--min_confidence 0.5: 2 of 3 segments are left out of the manifest"
    out = tmp_path / "out"
    words = (WAV2VEC2, AUDIO / "test-0000.opus", "-o", out, "-f", "manifest", "--min_confidence")
    run(*words, 0)
    assert "--min_confidence 0: 0 of 1 segment are left out of the manifest" in capsys.readouterr().err
    with pytest.raises(UsageError, match=r"test-0000\.manifest\.jsonl: made from another recording or by another"):
        run(*words, 1)
    run(*words, 1, "--overwrite", "true")
    assert "--min_confidence 1: 1 of 1 segment is left out of the manifest" in capsys.readouterr().err
    assert (out / "test-0000.manifest.jsonl").read_text() == ""


def test_all_are_the_formats_that_stand_alone() -> None:
    assert parse_formats("all") == ("txt", "json", "srt", "vtt", "tsv", "textgrid")
    assert parse_formats("ctm,all") == ("ctm", *parse_formats("all"))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((ECHO, "-f", "ctm"), r"--format ctm needs words with their times, which .* does not give"),
        (
            (ECHO, "-f", "manifest", "--min_confidence", 0.5),
            r"--min_confidence needs words with their times, which .* does not give",
        ),
        ((WAV2VEC2, "-f", "ctm", "--word_timestamps", "false"), "--format ctm needs the times of words"),
        ((WAV2VEC2, "-", "-f", "manifest"), "names audio files, and - is standard input"),
        ((WAV2VEC2, "--min_confidence", 0.5), "--min_confidence with --format txt"),
        ((WAV2VEC2, "-f", "manifest", "--min_confidence", 50), "--min_confidence is 50; expected a probability"),
        (
            (WAV2VEC2, "-f", "manifest", "--min_confidence", 0.5, "--word_timestamps", "false"),
            "needs the probabilities of words",
        ),
    ],
)
def test_what_has_no_words_or_no_file_is_refused(tmp_path: Path, words: tuple[object, ...], expected: str) -> None:
    model, *options = words
    with pytest.raises(UsageError, match=expected):
        run(model, AUDIO / "test-0000.opus", *options)
