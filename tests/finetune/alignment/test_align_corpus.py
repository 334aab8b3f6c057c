"""Long recordings into training pieces: where pieces are cut, what is doubted, files, going on, and bad input."""

import os
import resource
import shutil
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import soundfile
import torch

from finetune import align_corpus
from finetune.align_corpus import AlignCorpusConfig, find_pairs, split_words
from finetune.alignment.folder import AlignmentFolder, Pair
from finetune.alignment.forced import Alignment, align
from finetune.alignment.pieces import PieceOptions, TextPiece, cut
from finetune.decoding.frame_times import FrameTimes
from preprocessing import audio
from preprocessing.corpus import open_corpus
from preprocessing.errors import InputError, UsageError
from preprocessing.text import profile
from preprocessing.units import Vocabulary
from tests.conftest import DEMO, read_manifest

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
    return cut(aligned(log_probs, text), len(log_probs) / 50, options, text.split())


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


def test_short_pauses_are_told_apart() -> None:
    """Words reach 0.08 and 0.12 s into a pause, which leaves nothing of one of 0.14 s."""
    text = "ABC DEF GAB CDE FGA BCD"
    log_probs = spoken("ABC", 0, "DEF", 1, "GAB", 5, "CDE", 0, "FGA", 1, "BCD", 2)
    assert texts(pieces(log_probs, text, replace(ALL, max_seconds=1.0)), text) == ["ABC DEF GAB", "CDE FGA BCD"]


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


def test_speech_without_text_of_as_many_frames_as_are_allowed_is_no_cut() -> None:
    log_probs = spoken("ABC", 20, "DEF", 10, "CDE", 20)
    n_frames = max(star.n_frames for star in aligned(log_probs, "ABC CDE").untranscribed)
    for max_star_frames, expected in ((n_frames, ["ABC CDE"]), (n_frames - 1, ["ABC", "CDE"])):
        options = replace(ALL, max_star_frames=max_star_frames)
        assert texts(pieces(log_probs, "ABC CDE", options), "ABC CDE") == expected


@pytest.mark.parametrize("written", [["F", " 21", "", " G"], ["F", " 21", ""]])
def test_speech_without_text_within_a_written_word_is_doubted(written: list[str]) -> None:
    """No piece begins in it, as with the second half of its sound and no text; others are cut as ever."""
    after = ["GAB"] if len(written) == 4 else []
    log_probs = spoken("FGA", 20, "ABC", 10, "DEF", 10, "CDE", 20, *after)
    (piece,) = cut(aligned(log_probs, " ".join(["FGA ABC CDE", *after])), len(log_probs) / 50, ALL, written)
    assert (piece.first, piece.stop, piece.score) == (0, len(written), pytest.approx(0.0))
    assert piece.reason is not None and piece.reason.startswith("speech without text within '21' at 0.8")
    few = replace(ALL, max_star_frames=6)
    (piece,) = cut(aligned(log_probs, " ".join(["FGA ABC CDE", *after])), len(log_probs) / 50, few, written)
    assert piece.reason is None


def test_lengths_that_do_not_fit_are_doubted() -> None:
    log_probs = spoken("ABC", 2, "DEF", 120, "GAB", 10)
    (only,) = cut(aligned(log_probs, "ABC DEF GAB"), 4.0, replace(ALL, max_seconds=1.0), ["1", "", ""])
    assert only.reason is not None and "there is no word to cut at" in only.reason
    short = pieces(log_probs, "ABC DEF GAB", PieceOptions(max_seconds=1.5, min_seconds=1.2))
    assert all(piece.reason is not None and piece.reason.startswith("lasts 0.") for piece in short)


def test_written_and_aligned_words_stay_together() -> None:
    written, words, normalised = split_words("On 21 May — he said: “Go!”", profile("basic:en"))
    assert "".join(written) == "On 21 May — he said: “Go!”"
    assert words == ["on", "twenty", "one", "may", "he", "said", "go"] == normalised.split()
    assert written[:4] == ["On", " 21", "", " May —"]


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("zh", "今天，有21个人（真的）！OK吧 好", "今|天，|有|21|||个|人|（真|的）！|OK|吧| 好"),
        ("ja", "彼は「そうだ」と言った。", "彼|は|「そ|う|だ」|と|言|っ|た。"),
        ("th", "วันนี้ดี", "วั|น|นี้|ดี"),  # vowels and tones stay with their consonant
    ],
)
def test_text_without_spaces_is_split_into_characters(language: str, text: str, expected: str) -> None:
    written, words, normalised = split_words(text, profile(f"basic:{language}"), splits_unspaced=True)
    assert "|".join(written) == expected
    assert normalised == " ".join(profile(f"basic:{language}")(text).split())
    assert "".join(words) == normalised.replace(" ", "")
    assert len(split_words(text, profile(f"basic:{language}"))[1]) < len(words)


@pytest.mark.parametrize("profile_name", ["basic:en", "basic:de", "whisper-english", "librispeech"])
@pytest.mark.parametrize(
    "text",
    [
        "It cost $5 million, 50 % more – at 10:30.",
        "Am 3. Mai kamen 50 % davon um 10:30 Uhr.",
        "– $23\nmillion and 7 apples",
        "...",
        "",
    ],
)
def test_the_text_is_aligned_as_it_is_normalised_as_a_whole(text: str, profile_name: str) -> None:
    """And what is written is all there once, in its order, but for dashes before the first word."""
    raw, words, normalised = split_words(text, profile(profile_name))
    assert words == profile(profile_name)(text).split() == normalised.split()
    written = "".join(raw).split()
    assert written == text.split()[len(text.split()) - len(written) :]
    assert all(not any(letter.isalnum() for letter in one) for one in text.split()[: -len(written) or None])


def test_recordings_in_scripts_without_spaces_are_cut_between_characters(tmp_path: Path) -> None:
    text = "今天，天气很好。我们去公园「散步」。"
    letters = profile("basic:zh")(text).replace(" ", "")
    vocabulary = Vocabulary.of_characters([letters])
    path = [label for letter in letters for label in (vocabulary.units.index(letter), *[vocabulary.blank] * 24)]
    log_probs = torch.full((len(path), len(vocabulary.units)), -12.0)
    log_probs[torch.arange(len(path)), torch.tensor(path)] = 0.0
    audio.save(tmp_path / "talk.wav", torch.zeros(320 * len(path)))
    (tmp_path / "talk.txt").write_text(text, encoding="utf-8")
    model: Any = SimpleNamespace(
        vocabulary=vocabulary,
        times=TIMES,
        normaliser=lambda _: profile("basic:zh"),
        log_probs=lambda *_: log_probs.log_softmax(1),
    )
    pair = Pair(tmp_path / "talk.wav", tmp_path / "talk.txt", "talk.wav")
    config = AlignCorpusConfig("model", tmp_path, tmp_path, tmp_path / "out", max_seconds=3.0)
    found = align_corpus.align_recording(model, pair, config, config.pieces(), AlignmentFolder(tmp_path / "out"))
    assert not found.rejected and len(found.kept) > 2
    assert "".join(line["text"] for line in found.kept) == text


def record_alignments(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sources of the recordings that are aligned from here on."""
    aligned: list[str] = []
    original = align_corpus.align_recording

    def record(model: Any, pair: Any, *rest: Any) -> Any:
        aligned.append(pair.source)
        return original(model, pair, *rest)

    monkeypatch.setattr(align_corpus, "align_recording", record)
    return aligned


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


def test_command_writes_a_corpus_and_goes_on(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    arguments = [str(DEMO / "wav2vec2"), str(recordings), str(recordings), str(out), "--max_seconds", "3.5"]
    with pytest.raises(InputError, match=r"^2\.wav: 1 of 3 recordings could not be aligned"):
        align_corpus.main([*arguments, "--min_score", "-1000"])
    kept, rejected = read_manifest(out / "manifest.jsonl"), read_manifest(out / "rejects.jsonl")
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
    aligned = record_alignments(monkeypatch)
    with pytest.raises(InputError, match=r"^2\.wav: 1 of 3"):
        align_corpus.main([*arguments, "--min_score", "-1000"])
    assert aligned == ["1.flac", "2.wav"]  # what failed is not done
    assert (out / "manifest.jsonl").read_bytes() == before
    with pytest.raises(UsageError, match="made with other options, or by another version"):
        align_corpus.main([*arguments, "--min_score", "0"])


def test_a_folder_is_gone_on_in_under_another_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Wherever model, recordings and texts are: what they hold is compared for each recording."""
    config = AlignCorpusConfig("model", Path("in"), Path("in"), Path("out"))
    found = align_corpus._fingerprint(config)
    assert found == align_corpus._fingerprint(replace(config, output_dir=tmp_path / "moved", device="cpu"))
    assert found == align_corpus._fingerprint(replace(config, recordings=tmp_path / "in", transcripts=tmp_path / "in"))
    assert found == align_corpus._fingerprint(replace(config, model="./model"))
    assert found != align_corpus._fingerprint(replace(config, language="deu"))
    monkeypatch.setattr(align_corpus, "CUTTING", 1)
    assert found != align_corpus._fingerprint(config), "pieces of a version that cuts otherwise"
    options = {field.name for field in fields(AlignCorpusConfig)}
    assert options.issuperset(align_corpus.NOT_DECISIVE)


@pytest.fixture
def three(recordings: Path, tmp_path: Path) -> Path:
    """A folder with the two recordings, their texts, a bad third in a folder of its own, and a model."""
    here = tmp_path / "three"
    (here / "monday").mkdir(parents=True)
    for name in ("0.flac", "0.txt", "1.flac", "1.txt"):
        shutil.copy(recordings / name, here)
    (here / "monday" / "0.wav").write_bytes(b"no audio")
    shutil.copy(recordings / "0.txt", here / "monday")
    shutil.copytree(DEMO / "wav2vec2", tmp_path / "model")
    return here


def align_three(three: Path, *options: str) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Manifest and rejects after the command with OUT among the recordings."""
    out = three / "out"
    inputs = [str(three.parent / "model"), str(three), str(three)]
    cutting = ["--min_score", "-1000", "--max_seconds", "3.5", "--min_seconds", "0.1"]
    align_corpus.main([*inputs, str(out), *cutting, *options])
    return read_manifest(out / "manifest.jsonl"), read_manifest(out / "rejects.jsonl")


def words_of(kept: list[dict[str, object]], source: str) -> list[str]:
    return " ".join(str(line["text"]) for line in kept if line["source"] == source).split()


def test_what_has_changed_is_aligned_anew(
    three: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    aligned = record_alignments(monkeypatch)
    with pytest.raises(InputError, match=r"^monday/0\.wav: 1 of 3 recordings .*: fix or leave out"):
        align_three(three)
    aligned.clear()

    shutil.copy(three / "0.flac", three / "monday" / "0.wav")  # mended
    kept, rejected = align_three(three)
    assert (aligned, rejected) == (["monday/0.wav"], [])
    assert words_of(kept, "monday/0.wav") == words_of(kept, "0.flac") == (three / "0.txt").read_text().split()
    first = next(line for line in kept if line["source"] == "monday/0.wav")
    assert (first["id"], first["audio"]) == ("monday/0-0000", "pieces/monday/0-0000.flac")
    assert len(open_corpus(str(three / "out" / "manifest.jsonl")).utterances) == len(kept)
    aligned.clear()

    assert align_three(three) == (kept, [])
    assert aligned == []

    text = (three / "0.txt").read_text()
    (three / "0.txt").write_text(" ".join(text.split()[:2]) + "\n")  # corrected
    kept, _ = align_three(three)
    assert aligned == ["0.flac"]
    assert words_of(kept, "0.flac") == text.split()[:2]
    listed = {str(line["audio"]) for line in kept}
    assert listed == {str(path.relative_to(three / "out")) for path in (three / "out").rglob("*.flac")}
    aligned.clear()

    (three / "out" / "pieces" / "1-0000.flac").unlink()
    assert align_three(three) == (kept, [])
    assert aligned == ["1.flac"]
    aligned.clear()

    (weights,) = (three.parent / "model").glob("*.safetensors")
    status = weights.stat()
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))  # as after another training
    capsys.readouterr()
    assert align_three(three) == (kept, [])
    assert aligned == ["0.flac", "1.flac", "monday/0.wav"]
    assert "aligning again: 3 recordings" in capsys.readouterr().err
    aligned.clear()

    assert align_three(three, "--overwrite", "true") == (kept, [])
    assert aligned == ["0.flac", "1.flac", "monday/0.wav"]
    aligned.clear()

    (three / "1.flac").write_bytes(b"no audio")
    with pytest.raises(InputError, match=r"^1\.flac: 1 of 3"):
        align_three(three)
    out = three / "out"
    assert aligned == ["1.flac"]
    assert read_manifest(out / "manifest.jsonl") == [line for line in kept if line["source"] != "1.flac"]
    assert [line["id"] for line in read_manifest(out / "rejects.jsonl")] == ["1"]
    assert not list(out.glob("pieces/1-*"))
    with pytest.raises(UsageError, match="none: no such file"):
        align_corpus.main(["./none", str(three), str(three), str(out), "--overwrite", "true"])
    assert read_manifest(out / "manifest.jsonl")  # a model that cannot be loaded empties no folder


def test_a_stop_leaves_no_manifest_of_pieces_that_have_changed(three: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(three / "monday")
    align_three(three)
    (three / "1.txt").write_text("Go\n")

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(align_corpus, "align_recording", stopped)
        with pytest.raises(KeyboardInterrupt):
            align_three(three)
    assert not (three / "out" / "manifest.jsonl").exists()
    kept, _ = align_three(three)
    assert words_of(kept, "1.flac") == ["Go"]


def test_one_channel_is_aligned(recordings: Path, tmp_path: Path) -> None:
    waveform = audio.load(recordings / "0.flac")
    both = torch.stack([torch.zeros_like(waveform), waveform], dim=1)
    soundfile.write(tmp_path / "call.wav", both.numpy(), 16_000, subtype="PCM_16")
    words = [str(DEMO / "wav2vec2"), str(tmp_path / "call.wav"), str(recordings / "0.txt")]
    options = ["--min_score", "-1000", "--max_seconds", "3.5"]
    align_corpus.main([*words, str(tmp_path / "one"), *options, "--channel", "1"])
    align_corpus.main([words[0], str(recordings / "0.flac"), words[2], str(tmp_path / "mono"), *options])
    found, expected = (read_manifest(tmp_path / name / "manifest.jsonl") for name in ("one", "mono"))
    assert [line["id"] for line in found] == [f"call-1-{number:04}" for number in range(len(expected))]
    assert {line["source_channel"] for line in found} == {1}
    for one, other in zip(found, expected, strict=True):
        assert one["text"] == other["text"]
        pair = (audio.load(tmp_path / "one" / str(one["audio"])), audio.load(tmp_path / "mono" / str(other["audio"])))
        assert torch.equal(*pair)
    with pytest.raises(InputError, match=r"^call\.wav: 1 of 1 recording could"):
        align_corpus.main([*words, str(tmp_path / "none"), *options, "--channel", "2"])
    assert "has no channel 2; expected 0 to 1" in str(read_manifest(tmp_path / "none" / "rejects.jsonl")[0]["reason"])
    with pytest.raises(UsageError, match="--channel is -1; expected 0 or more"):
        align_corpus.main([*words, str(tmp_path / "none"), "--channel", "-1"])


def test_pairs_that_do_not_belong_together_are_one_sentence(recordings: Path, tmp_path: Path) -> None:
    assert list(find_pairs(recordings / "0.flac", recordings / "1.txt")) == [
        Pair(recordings / "0.flac", recordings / "1.txt", "0.flac")
    ]
    assert [pair.source for pair in find_pairs(recordings, recordings)] == ["0.flac", "1.flac", "2.wav"]
    beside = tmp_path / "beside"  # as transcribe writes, and whoever keeps notes
    beside.mkdir()
    for name in ("call.wav", "call.txt", "call.srt", "call.TextGrid", "README.md", "old.nist", "old.txt"):
        (beside / name).touch()
    assert [pair.source for pair in find_pairs(beside, beside)] == ["call.wav", "old.nist"]
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "two").mkdir()
    for name in ("a.wav", "a.flac"):
        (tmp_path / "two" / name).touch()
    (tmp_path / "two" / "a.txt").touch()
    (tmp_path / "deep" / "monday").mkdir(parents=True)
    (tmp_path / "deep" / "monday" / "0.wav").touch()
    for one, other, expected in [
        (tmp_path / "none", empty, "no such file or folder"),
        (recordings, empty, "has no 0.txt"),
        (tmp_path / "deep", recordings, r"has no monday/0\.txt"),
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
