"""Kaldi's tables: segments and channels of recordings, and what is set aside."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from preprocessing.corpus import open_corpus
from tests.preprocessing import corpora
from tests.preprocessing.corpora import SPOKEN


def test_a_kaldi_recording_without_segments_is_of_the_channel_that_is_named(tmp_path: Path) -> None:
    for name in "ABC":
        soundfile.write(tmp_path / f"{name}.wav", np.zeros((16_000, 2)), 16_000)
    (tmp_path / "wav.scp").write_text("A A.wav\nB B.wav\nC C.wav\n")
    (tmp_path / "text").write_text("A HELLO\nB HI\nC YES\n")
    (tmp_path / "reco2file_and_channel").write_text("A A B\nB B mixed\n")
    assert [one.channel for one in open_corpus(str(tmp_path)).require_complete().utterances] == [1, None, None]


def test_kaldi_segments_cut_recordings(tmp_path: Path) -> None:
    corpora.kaldi_tables(tmp_path)
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
