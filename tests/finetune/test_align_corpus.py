"""Long recordings into training pieces: where pieces are cut, what is doubted, files, going on, and bad input."""

import json
import resource
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from finetune import align_corpus
from finetune.align_corpus import find_pairs, split_words
from finetune.decoding.alignment import Alignment, align
from finetune.decoding.alignment_pieces import PieceOptions, TextPiece, cut
from finetune.models.frame_geometry import FrameTimes
from preprocessing import audio
from preprocessing.cli.errors import UsageError
from preprocessing.corpus import open_corpus
from preprocessing.units import Vocabulary
from tests.conftest import DEMO

VOCABULARY = Vocabulary.of_characters(["ABCDEFG"])
TIMES = FrameTimes(320, 0.0)  # 50 frames a second
BLANK, BOUNDARY = 0, 4
ALL = PieceOptions(max_seconds=4.0, min_seconds=0.2)


def spoken(*parts: str | int) -> torch.Tensor:
    """Log-probabilities of words, each letter a frame and a blank, and of pauses of so many frames."""
    path: list[int] = []
    for part in parts:
        if isinstance(part, int):
            path += [BLANK] * part
        else:
            path += [unit for letter in part for unit in (VOCABULARY.units.index(letter), BLANK)] + [BOUNDARY]
    values = torch.full((len(path), len(VOCABULARY.units)), 0.01 / len(VOCABULARY.units))
    values[torch.arange(len(path)), torch.tensor(path)] = 0.99
    return values.log()


def aligned(log_probs: torch.Tensor, text: str) -> Alignment:
    return align(log_probs, text, VOCABULARY, TIMES, stars="everywhere")


def pieces(log_probs: torch.Tensor, text: str, options: PieceOptions = ALL) -> list[TextPiece]:
    return cut(aligned(log_probs, text), len(log_probs) / 50, options, [True] * len(text.split()))


def texts(found: list[TextPiece], text: str) -> list[str]:
    return [" ".join(text.split()[piece.first : piece.stop]) for piece in found]


def test_pieces_are_cut_at_the_longest_pauses_and_have_every_word_once() -> None:
    text = "ABC DEF GAB CDE FGA BCD"
    log_probs = spoken("ABC", 20, "DEF", 90, "GAB", 10, "CDE", 60, "FGA", 5, "BCD", 30)
    found = pieces(log_probs, text)
    assert texts(found, text) == ["ABC DEF", "GAB CDE FGA BCD"]
    assert all(piece.reason is None and piece.score == pytest.approx(0.0) for piece in found)
    assert all(piece.seconds <= ALL.max_seconds for piece in found)
    assert found[0].end < found[1].start
    assert texts(pieces(log_probs, text, replace(ALL, max_seconds=2.0)), text) == ["ABC DEF", "GAB CDE", "FGA BCD"]


def test_a_word_that_is_not_spoken_and_one_that_is_another_are_doubted_by_name() -> None:
    log_probs = spoken("ABC", 20, "DEF", 90, "GAB", 10, "CDE", 60)
    for text, word in [("ABC DEF GAB FFF CDE", "FFF"), ("ABC DEF GAB GGG", "GGG"), ("ABC DEF GGD CDE", "GGD")]:
        first, second = pieces(log_probs, text, replace(ALL, max_seconds=2.5))
        assert first.reason is None
        assert second.reason is not None and second.reason.startswith(f"'{word}' at "), text
        assert second.score < -2


def test_speech_without_text_is_cut_out() -> None:
    log_probs = spoken("ABC", 20, "DEF", 10, "GAB", 10, "CDE", 20)
    found = pieces(log_probs, "ABC CDE")
    assert texts(found, "ABC CDE") == ["ABC", "CDE"]
    assert all(piece.reason is None for piece in found)
    untold = (6 + 1 + 20) / 50, (6 + 1 + 20 + 7 + 10 + 6) / 50  # DEF and GAB
    assert found[0].end <= untold[0] + 0.02 and found[1].start >= untold[1] - 0.02


def test_lengths_that_do_not_fit_are_doubted() -> None:
    log_probs = spoken("ABC", 2, "DEF", 120, "GAB", 10)
    (only,) = cut(aligned(log_probs, "ABC DEF GAB"), 4.0, replace(ALL, max_seconds=1.0), [True, False, False])
    assert only.reason is not None and "there is no word to cut at" in only.reason
    short = pieces(log_probs, "ABC DEF GAB", PieceOptions(max_seconds=1.5, min_seconds=1.2))
    assert all(piece.reason is not None and piece.reason.startswith("lasts 0.") for piece in short)


def test_written_and_aligned_words_stay_together() -> None:
    raw, words, may_begin = split_words("On 21 May — he said: “Go!”", "basic:en")
    assert " ".join(word for word in raw if word) == "On 21 May — he said: “Go!”"
    assert words == ["on", "twenty", "one", "may", "he", "said", "go"]
    assert may_begin == [True, True, False, True, True, True, True]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recordings of three commands each with their texts, and one that is no audio."""
    folder = tmp_path_factory.mktemp("recordings")
    utterances = open_corpus(str(DEMO / "corpus" / "test.jsonl")).utterances
    for number in range(2):
        own = utterances[3 * number : 3 * number + 3]
        waveforms = [part for one in own for part in (audio.load(one.audio), torch.zeros(8_000))]
        audio.save(folder / f"{number}.flac", torch.cat(waveforms))
        (folder / f"{number}.txt").write_text(". ".join(one.text.capitalize() for one in own) + ".\n")
    (folder / "2.wav").write_bytes(b"no audio")
    (folder / "2.txt").write_text("nothing\n")
    return folder


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_command_writes_a_corpus_and_goes_on(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    arguments = [str(DEMO / "wav2vec2"), str(recordings), str(recordings), str(out), "--max_seconds", "3.5"]
    align_corpus.main([*arguments, "--min_score", "-1000"])
    kept, rejected = lines(out / "manifest.jsonl"), lines(out / "rejects.jsonl")
    assert "in rejects.jsonl" in capsys.readouterr().out
    assert [line["id"] for line in rejected] == ["2"]
    assert rejected[0]["reason"]
    for number in range(2):
        own = [line for line in kept if line["source"] == f"{number}.flac"]
        written = (recordings / f"{number}.txt").read_text().split()
        assert " ".join(str(line["text"]) for line in own).split() == written
        assert len(own) > 1
    corpus = open_corpus(str(out / "manifest.jsonl"))
    assert len(corpus.utterances) == len(kept) and not corpus.rejects
    for utterance, line in zip(corpus.utterances, kept, strict=True):
        assert audio.probe(utterance.audio).duration == pytest.approx(line["duration"], abs=0.002)
        source = audio.load(recordings / str(line["source"]))
        start = round(float(str(line["source_start"])) * 16_000)
        waveform = audio.load(utterance.audio)
        assert any(torch.equal(waveform, source[at : at + len(waveform)]) for at in range(start - 8, start + 9))

    before = (out / "manifest.jsonl").read_bytes()
    (out / "recordings" / "1.flac.json").unlink()  # as after a stop
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))  # as a full disk
    try:
        with pytest.raises(UsageError, match=r"1-0000.flac: cannot be written .*run the same command again to resume"):
            align_corpus.main([*arguments, "--min_score", "-1000"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    aligned: list[str] = []
    original = align_corpus.align_recording
    monkeypatch.setattr(
        align_corpus, "align_recording", lambda model, recording, *rest: aligned.append(recording.name) or original(
            model, recording, *rest
        )
    )  # fmt: skip
    align_corpus.main([*arguments, "--min_score", "-1000"])
    assert aligned == ["1.flac"]
    assert (out / "manifest.jsonl").read_bytes() == before
    with pytest.raises(UsageError, match="made with other inputs or options"):
        align_corpus.main([*arguments, "--min_score", "0"])


def test_pairs_that_do_not_belong_together_are_one_sentence(recordings: Path, tmp_path: Path) -> None:
    assert list(find_pairs(recordings / "0.flac", recordings / "1.txt")) == [
        (recordings / "0.flac", recordings / "1.txt")
    ]
    assert [recording.name for recording, _ in find_pairs(recordings, recordings)] == ["0.flac", "1.flac", "2.wav"]
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "two").mkdir()
    for name in ("a.wav", "a.flac"):
        (tmp_path / "two" / name).touch()
    (tmp_path / "two" / "a.txt").touch()
    for one, other, expected in [
        (tmp_path / "none", empty, "no such file or folder"),
        (recordings, empty, "has no 0.txt"),
        (recordings, recordings / "0.txt", "is not a folder"),
        (recordings / "0.flac", empty, "no such file; expected the text of 0.flac"),
        (empty, empty, "holds no recordings"),
        (tmp_path / "two", tmp_path / "two", "have the same name"),
    ]:
        with pytest.raises(UsageError, match=expected):
            list(find_pairs(one, other))
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "file").touch()
    with pytest.raises(UsageError, match="holds other files"):
        align_corpus.main(["model", str(recordings), str(recordings), str(taken)])
