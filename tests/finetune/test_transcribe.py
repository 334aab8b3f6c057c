"""`python -m finetune.transcribe`: formats beside openai-whisper's own, times, folders, going on, pipes, bad input."""

import errno
import io
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from finetune.systems.base import LoadOptions, System, SystemSpec
from finetune.systems.ctc_model import load_ctc
from finetune.systems.facts import SystemFacts, SystemOptions
from finetune.systems.registry import family_of, load_system, parse_model
from finetune.systems.transcript import (
    MAX_SEGMENT_CHARACTERS,
    MAX_SEGMENT_SECONDS,
    Segment,
    Transcript,
    Word,
    joined,
    segments_of,
)
from finetune.transcribe import main
from finetune.transcription import results
from finetune.transcription.recordings import pieces
from finetune.transcription.writers import rendered, textgrid
from preprocessing import audio
from preprocessing.audio import SAMPLE_RATE
from preprocessing.augment.denoise import SpectralGate
from preprocessing.cli.errors import InputError, UsageError
from tests.conftest import DEMO

ECHO = f"{__name__}:Echo"
AUDIO = DEMO / "corpus" / "audio"
NAMES = ("test-0000", "test-0001", "test-0002")
WAV2VEC2 = str(DEMO / "wav2vec2")


class Echo(System):
    """Says how many samples it was given, and fails on a quarter of a second exactly."""

    batched = True
    longest_piece_seconds = 2.0
    batches: "list[list[int]]" = []  # noqa: RUF012  (of all instances)

    def __init__(self, spec: SystemSpec, options: LoadOptions) -> None:
        self.facts = SystemFacts(spec.name, spec.family, spec.checkpoint, parameters=0)

    def features(self, waveforms: Sequence[Tensor]) -> list[int]:
        lengths = [len(waveform) for waveform in waveforms]
        self.batches.append(lengths)
        if SAMPLE_RATE // 4 in lengths:
            raise RuntimeError("a quarter of a second")
        return lengths

    def forward(self, features: list[int]) -> list[int]:
        return features

    def text(self, outcome: list[int]) -> list[str]:
        return [f"samples {n}" for n in outcome]


@pytest.fixture(autouse=True)
def no_batches() -> None:
    Echo.batches.clear()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Recordings of 0.5, 1 and 0.75 s, one of them in a folder of its own, and a file that is none."""
    here = tmp_path / "in"
    (here / "monday").mkdir(parents=True)
    for name, seconds in (("a.wav", 0.5), ("b.flac", 1.0), ("monday/a.wav", 0.75)):
        audio.save(here / name, torch.zeros(round(seconds * SAMPLE_RATE)))
    (here / "notes.txt").write_text("no audio")
    return here


def run(*words: object) -> None:
    main([str(word) for word in words])


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three commands of the demo, transcribed by the embedded wav2vec2 in every format."""
    out = tmp_path_factory.mktemp("commands")
    run(WAV2VEC2, *(AUDIO / f"{name}.opus" for name in NAMES), "--output_dir", out, "--format", "all")
    return out


def test_a_ctc_model_gives_the_benchmarks_text_and_words_with_times(commands: Path) -> None:
    system = load_system(parse_model(WAV2VEC2), LoadOptions("cpu", None))
    for name in NAMES:
        waveform = audio.load(AUDIO / f"{name}.opus")
        (expected,) = system.text(system.forward(system.features([waveform])))
        found = read(commands / f"{name}.json")
        assert set(found) == {"text", "segments", "language"} and found["text"] == expected != ""
        words = [word for segment in found["segments"] for word in segment["words"]]
        assert [word["word"].strip() for word in words] == expected.split()
        assert all(set(word) == {"word", "start", "end", "probability"} for word in words)
        times = [time for word in words for time in (word["start"], word["end"])]
        assert times == sorted(times) and times[0] >= 0 and times[-1] <= len(waveform) / SAMPLE_RATE + 1e-3
        assert all(0 < word["probability"] <= 1 for word in words)
        assert (commands / f"{name}.txt").read_text().split() == expected.split()
        assert (commands / f"{name}.srt").read_text().startswith("1\n00:00:0")
        assert (commands / f"{name}.vtt").read_text().startswith("WEBVTT\n")
        assert (commands / f"{name}.tsv").read_text().splitlines()[0] == "start\tend\ttext"


def read_textgrid(text: str) -> tuple[float, dict[str, list[tuple[float, float, str]]]]:
    """A TextGrid in its long form, read by the grammar of Praat's manual: its xmax, and each tier's intervals."""
    assert text.startswith('File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\n')
    tokens = re.findall(r'"(?:[^"]|"")*"|<exists>|-?\d+(?:\.\d+)?(?!\]?:)', re.sub(r"\[\d*\]:?", "", text))
    values: Iterator[str] = iter(tokens[2:])
    assert float(next(values)) == 0.0
    xmax = float(next(values))
    assert next(values) == "<exists>"
    tiers = {}
    for _ in range(int(next(values))):
        assert next(values) == '"IntervalTier"'
        name = next(values)[1:-1]
        assert (float(next(values)), float(next(values))) == (0.0, xmax)
        tiers[name] = [
            (float(next(values)), float(next(values)), next(values)[1:-1].replace('""', '"'))
            for _ in range(int(next(values)))
        ]
    assert next(values, None) is None
    return xmax, tiers


def test_textgrids_are_what_praat_reads(commands: Path) -> None:
    for name in NAMES:
        xmax, tiers = read_textgrid((commands / f"{name}.TextGrid").read_text())
        assert xmax == pytest.approx(audio.probe(AUDIO / f"{name}.opus").duration, abs=0.01)
        assert list(tiers) == ["words", "segments"]
        text = read(commands / f"{name}.json")["text"]
        assert [" ".join(span[2] for span in spans if span[2]) for spans in tiers.values()] == [text, text]


WORDS = st.lists(
    st.tuples(st.floats(0, 2), st.floats(0, 3), st.sampled_from(["A", 'say "no"', "end.", "é\n"])), max_size=40
)


def spoken(durations: Sequence[tuple[float, float, str]]) -> list[Word]:
    """Words of pauses before them, durations and texts."""
    words, at = [], 0.0
    for pause, seconds, text in durations:
        words.append(Word(f" {text}", at + pause, at + pause + seconds, 0.5))
        at += pause + seconds
    return words


@given(WORDS)
def test_segments_hold_all_words_and_intervals_are_contiguous(durations: list[tuple[float, float, str]]) -> None:
    words = spoken(durations)
    segments = segments_of(words)
    assert [word for segment in segments for word in segment.words or ()] == words
    for segment in segments:
        assert segment.words and (segment.start, segment.end) == (segment.words[0].start, segment.words[-1].end)
        fits = (
            segment.end - segment.start <= MAX_SEGMENT_SECONDS and len(segment.text.strip()) <= MAX_SEGMENT_CHARACTERS
        )
        assert fits or len(segment.words) == 1
    xmax, tiers = read_textgrid(textgrid(Transcript("", segments), 1.0))
    for spans in tiers.values():
        assert spans[0][0] == 0.0 and spans[-1][1] == xmax
        assert all(start < end for start, end, _ in spans)
        assert all(before[1] == after[0] for before, after in pairwise(spans))
    assert [span[2] for span in tiers["words"] if span[2]] == [" ".join(word.word.split()) for word in words]


def test_a_long_segment_is_cut_where_a_sentence_ends() -> None:
    words = spoken(
        [(0.1, 0.9, text) for text in ("one", "two", "three", "four", "five.", "six", "seven", "eight", "nine", "ten")]
    )
    assert [segment.text for segment in segments_of(words)] == [
        " one two three four five.",
        " six seven eight nine ten",
    ]


def test_subtitles_are_openai_whispers(tmp_path: Path) -> None:
    from whisper.utils import get_writer

    transcript = Transcript.of_words("", spoken([(0.2, 0.5, "A"), (0.1, 0.4, "B"), (2.0, 0.5, "end.")]))
    for name in ("txt", "srt", "vtt", "tsv"):
        get_writer(name, str(tmp_path))(transcript.as_dict(), "x.wav")
        assert rendered(transcript, name, 5.0) == (tmp_path / f"x.{name}").read_text()
    without = Transcript("A B", (Segment(0.0, 1.0, "A B"),))
    assert rendered(without, "srt", 1.0) == "1\n00:00:00,000 --> 00:00:01,000\nA B\n\n"
    assert "words" not in without.as_dict()["segments"][0]
    assert joined([without, without.shifted(2.0)]).segments[1].start == 2.0


def assert_words(transcript: Transcript, expected: list[dict[str, Any]]) -> None:
    words = [word for segment in transcript.segments for word in segment.words or ()]
    assert [word.word for word in words] == [word["word"] for word in expected]
    for ours, theirs in zip(words, expected, strict=True):
        assert (ours.start, ours.end) == pytest.approx((theirs["start"], theirs["end"]), abs=0.03)
        assert ours.probability == pytest.approx(theirs["probability"], abs=1e-3)


@pytest.mark.slow
def test_whispers_words_are_openai_whispers() -> None:
    import whisper
    from whisper.timing import add_word_timestamps
    from whisper.tokenizer import get_tokenizer

    from finetune.models.whisper_formats import load_model

    checkpoint = str(DEMO / "whisper")
    waveforms = [audio.load(AUDIO / f"{name}.opus") for name in NAMES[:2]]
    system = load_system(parse_model(checkpoint), LoadOptions("cpu", None))
    found = system.transcribe([*waveforms, torch.zeros(0), torch.zeros(50)])
    assert found[2] == Transcript("") and found[3].as_dict()
    assert system.transcribe(waveforms[:1], words=False) == [
        Transcript.of_text(found[0].text, len(waveforms[0]) / SAMPLE_RATE, "en")
    ]
    options = SystemOptions(temperature=[0.0, 0.2])  # with fallback, by whisper.transcribe
    fallback = load_system(parse_model(checkpoint), LoadOptions("cpu", None, system=options))
    model = load_model(checkpoint)
    for waveform, transcript in zip(waveforms, found, strict=False):
        log_mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(waveform))
        result: Any = whisper.decode(
            model, log_mel, whisper.DecodingOptions("transcribe", "en", without_timestamps=True, fp16=False)
        )
        segment = {"seek": 0, "start": 0.0, "end": len(waveform) / SAMPLE_RATE, "tokens": result.tokens}
        frames = len(waveform) // 160
        add_word_timestamps(
            segments=[segment], model=model, tokenizer=get_tokenizer(False), mel=log_mel, num_frames=frames,
            last_speech_timestamp=0.0,
        )  # fmt: skip
        assert_words(transcript, segment["words"])
        assert (transcript.text, transcript.language) == (result.text.strip(), "en")
        theirs: Any = whisper.transcribe(
            model, waveform, temperature=0.0, word_timestamps=True, without_timestamps=True, language="en", fp16=False
        )
        (first,) = [segment for segment in theirs["segments"] if segment["seek"] == 0]  # it goes on after the last word
        (ours,) = fallback.transcribe([waveform])
        if ours.text == first["text"].strip():  # not decoded again at a higher temperature
            assert_words(ours, first["words"])


def test_long_whisper_recordings_have_words_and_report_progress() -> None:
    system = load_system(parse_model(str(DEMO / "whisper")), LoadOptions("cpu", None))
    command = audio.load(AUDIO / "test-0000.opus")
    waveform = torch.cat([command, torch.zeros(29 * SAMPLE_RATE), command])
    done: list[float] = []
    (found,) = system.transcribe([waveform], advance=done.append)
    assert sum(done) == pytest.approx(len(waveform) / SAMPLE_RATE, abs=0.1) and len(done) > 1
    assert found.text == system.text(system.forward(system.features([waveform])))[0] or found.segments
    times = [word.start for segment in found.segments for word in segment.words or ()]
    assert times and max(times) > 29.0


def test_the_beams_text_has_word_times_too(tmp_path: Path) -> None:
    arpa = tmp_path / "words.arpa"
    words = ["SET", "THE", "ALARM", "FOR", "LIGHT", "TURN", "ON"]
    ngrams = "".join(f"-1.0\t{word}\t0\n" for word in ["<unk>", "<s>", "</s>", *words])
    arpa.write_text(f"\\data\\\nngram 1={len(words) + 3}\n\n\\1-grams:\n{ngrams}\n\\end\\\n")
    run(WAV2VEC2, AUDIO / "test-0000.opus", "--lm", arpa, "--beam_width", 8, "-o", tmp_path / "out", "-f", "json")
    found = read(tmp_path / "out" / "test-0000.json")
    times = [word["start"] for segment in found["segments"] for word in segment["words"]]
    assert len(times) == len(found["text"].split()) > 1 and times == sorted(times)


def test_a_folder_keeps_its_folders_and_goes_on(folder: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    run(ECHO, folder, "--output_dir", out, "--format", "txt,json")
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert files == {f"{name}.{suffix}" for name in ("a", "b", "monday/a") for suffix in ("txt", "json")} | {
        results.LOG
    }
    assert sorted(Echo.batches) == [[16_000, 12_000, 8_000]]  # in one batch
    assert (out / "monday" / "a.txt").read_text() == "samples 12000\n"
    assert read(out / "b.json")["segments"] == [{"id": 0, "start": 0.0, "end": 1.0, "text": "samples 16000"}]
    Echo.batches.clear()
    run(ECHO, folder, "--output_dir", out, "--format", "txt,json")
    assert Echo.batches == [] and "3 of 3 recordings are done" in capsys.readouterr().err
    (out / "a.json").unlink()
    audio.save(folder / "c.wav", torch.zeros(100))
    with (out / results.LOG).open("a") as log:
        log.write('{"name": "b", "made')  # a kill in the midst of a line
    run(ECHO, folder, "--output_dir", out, "--format", "txt,json")
    assert Echo.batches == [[8_000, 100]] and (out / "a.json").is_file()
    Echo.batches.clear()
    run(ECHO, folder, "--output_dir", out, "--format", "txt,json")
    assert Echo.batches == []
    run(ECHO, folder, "--output_dir", out, "--format", "txt,json", "--overwrite", "true")
    assert len(Echo.batches) == 1 and len(Echo.batches[0]) == 4


def test_what_is_there_already_is_not_replaced(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.txt").write_text("what was really said")
    with pytest.raises(UsageError, match=r"out/a\.txt: made from another recording"):
        run(ECHO, folder, "--output_dir", out)
    assert (out / "a.txt").read_text() == "what was really said" and Echo.batches == []
    shutil.rmtree(out)
    run(ECHO, folder, "--output_dir", out)
    audio.save(folder / "a.wav", torch.zeros(77))  # another recording of this name
    with pytest.raises(UsageError, match=r"out/a\.txt: made from another recording"):
        run(ECHO, folder, "--output_dir", out)
    with pytest.raises(UsageError, match=r"and 2 more: made from another recording or by another model"):
        run(ECHO, folder, "--output_dir", out, "--language", "de")
    run(ECHO, folder, "--output_dir", out, "--overwrite", "true")
    assert (out / "a.txt").read_text() == "samples 77\n"


def test_one_bad_file_costs_one_line(folder: Path, tmp_path: Path, capsys: Any) -> None:
    audio.save(folder / "quarter.wav", torch.zeros(SAMPLE_RATE // 4))
    (folder / "broken.mp3").write_bytes(b"no audio at all")
    with pytest.raises(InputError, match="2 of 5 recordings could not be transcribed"):
        run(ECHO, folder, "--output_dir", tmp_path / "out")
    lines = capsys.readouterr().err.splitlines()
    assert sum("broken.mp3: not audio that can be decoded" in line for line in lines) == 1
    assert sum(line.endswith("quarter.wav: RuntimeError: a quarter of a second") for line in lines) == 1
    assert {path.name for path in (tmp_path / "out").rglob("*.txt")} == {"a.txt", "b.txt"}
    assert len(list((tmp_path / "out").rglob("a.txt"))) == 2


def test_a_video_without_sound_and_nan_logits_cost_one_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    import av

    with av.open(str(folder / "silent.mp4"), "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        container.mux(stream.encode(av.VideoFrame(16, 16, "yuv420p")))
        container.mux(stream.encode())
    from finetune.systems.ctc import CTCSystem

    nan: Callable[..., Tensor] = lambda self, logits: torch.full_like(logits, torch.nan)  # noqa: E731
    monkeypatch.setattr(CTCSystem, "_frames_to_decode", nan)
    with pytest.raises(InputError, match="2 of 2 recordings"):
        run(WAV2VEC2, folder / "silent.mp4", folder / "b.flac")
    lines = capsys.readouterr().err
    assert "silent.mp4: not audio that can be decoded (it has no audio track)" in lines
    assert "b.flac: the model gives NaN logits" in lines


def test_a_full_disk_is_one_sentence_and_the_run_goes_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(results, "write_text_atomically", full)
        with pytest.raises(
            UsageError, match=r"--output_dir .*out: No space left on device; expected a writable folder with free space"
        ):
            run(ECHO, folder, "--output_dir", tmp_path / "out")
    run(ECHO, folder, "--output_dir", tmp_path / "out")
    assert len(list((tmp_path / "out").rglob("*.txt"))) == 3


def test_standard_output_has_the_order_of_the_command_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    run(ECHO, folder / "a.wav")
    assert capsys.readouterr().out == "samples 8000\n"
    run(ECHO, folder / "a.wav", folder / "b.flac")
    assert capsys.readouterr().out == f"{folder}/a.wav: samples 8000\n{folder}/b.flac: samples 16000\n"
    run(ECHO, folder / "a.wav", folder / "b.flac", "--format", "json", "--language", "de")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = [(line["audio"], line["text"], line["language"]) for line in lines]
    assert found[1] == (f"{folder}/b.flac", "samples 16000", "de") and len(found) == 2
    piped = io.TextIOWrapper(io.BytesIO((folder / "b.flac").read_bytes()))
    monkeypatch.setattr(sys, "stdin", piped)
    run(ECHO, "-", "--format", "srt")
    assert capsys.readouterr().out == "1\n00:00:00,000 --> 00:00:01,000\nsamples 16000\n\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"no audio")))
    with pytest.raises(InputError, match="1 of 1 recording"):
        run(ECHO, "-")
    assert "standard input: not audio that can be decoded" in capsys.readouterr().err


def test_long_recordings_are_cut_at_pauses(tmp_path: Path) -> None:
    spoken_parts = [part for name in NAMES for part in (audio.load(AUDIO / f"{name}.opus"), torch.zeros(12_000))]
    waveform = torch.cat(spoken_parts)
    audio.save(tmp_path / "long.wav", waveform)
    longest = 1.5 * max(len(part) for part in spoken_parts) / SAMPLE_RATE
    parts = list(pieces(tmp_path / "long.wav", longest))
    assert len(parts) > 2 and torch.equal(torch.cat([part for _, part in parts]), waveform)
    assert all(len(part) <= round(longest * SAMPLE_RATE) for _, part in parts)
    for begin, _ in parts[1:]:
        around = waveform[round(begin * SAMPLE_RATE) - 1_600 : round(begin * SAMPLE_RATE) + 1_600]
        assert not around.any()
    audio.save(tmp_path / "whole.wav", waveform[:16_000])
    assert [begin for begin, _ in pieces(tmp_path / "whole.wav", 1.0)] == [0.0]


def test_a_system_without_word_times_gives_a_segment_for_each_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Echo, "longest_in_batch_seconds", 1.0)
    audio.save(tmp_path / "long.wav", torch.zeros(5 * SAMPLE_RATE))
    run(ECHO, tmp_path / "long.wav", "-o", tmp_path / "out", "-f", "json")
    segments = read(tmp_path / "out" / "long.json")["segments"]
    assert [segment["start"] for segment in segments][1:] == [segment["end"] for segment in segments][:-1]
    assert segments[-1]["end"] == 5.0 and sum(n for (n,) in Echo.batches) == 5 * SAMPLE_RATE


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{in}/none.wav"], r"none\.wav: no such file or folder"),
        (["{in}/empty"], r"empty: the folder holds no audio or video file"),
        (["{in}", "{in}/monday/a.wav", "-o", "{out}"], r"in/a\.wav and .*monday/a\.wav have the same name, a;"),
        (["{in}/b.flac", "{in}/b.WAV", "-o", "{out}"], r"b\.flac and .*b\.WAV have the same name"),
        (["{in}/a.wav", "--format", "sub"], "--format names 'sub'; expected txt, json, .*: choose from them"),
        (["{in}/a.wav", "--format", "text"], r"did you mean txt\?"),
        (["{in}/a.wav", "--format", "txt,srt"], "--format txt,srt has several"),
        (["{in}", "--format", "srt"], "--format srt of 3 recordings cannot share standard output"),
        (["{in}/a.wav", "-o", "{in}/a.wav/out"], r"--output_dir .*: cannot be written to \(Not a directory\)"),
        (["{in}/a.wav", "--lm", "{in}/none.arpa"], "--lm .*: no such file"),
        (["{in}/a.wav", "--lm", "{in}/notes.txt"], "--lm .* is for CTC models"),
        (["{in}/a.wav", "--alpha", "1"], "--alpha belongs to the beam search"),
        (["{in}/a.wav", "--beam_width", "0"], "--beam_width is 0; expected 1 or more"),
        (["-", "-"], "- occurs twice"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    (folder / "empty").mkdir()
    shutil.copy(folder / "a.wav", folder / "b.WAV") if any("b.WAV" in word for word in words) else None
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"RIFF")))
    with pytest.raises(UsageError, match=message) as caught:
        run(ECHO, *(word.format(**{"in": folder, "out": tmp_path / "out"}) for word in words))
    assert "\n" not in str(caught.value) and Echo.batches == []


def test_a_checkpoint_by_itself_finds_its_family(tmp_path: Path) -> None:
    for reference, family in ((WAV2VEC2, "wav2vec2"), (str(DEMO / "whisper"), "whisper"), ("base.en", "whisper")):
        spec = parse_model(reference)
        assert (spec.family, spec.checkpoint) == (family, reference)
        assert parse_model(f"{family}={reference}") == spec
    (tmp_path / "model.bin").touch()
    (tmp_path / "config.json").write_text('{"alignment_heads": []}')
    assert family_of(str(tmp_path)) == "faster-whisper"
    (tmp_path / "model.bin").unlink()
    (tmp_path / "config.json").write_text('{"model_type": "bert", "architectures": ["BertModel"]}')
    with pytest.raises(InputError, match="is a bert, which is not a speech recogniser"):
        parse_model(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "speech_to_text"}')
    assert family_of(str(tmp_path)) == "pipeline"
    (tmp_path / "config.json").unlink()
    with pytest.raises(InputError, match="cannot be loaded as a speech recogniser"):
        parse_model(str(tmp_path))
    with pytest.raises(UsageError, match="names 2 systems; expected one"):
        parse_model("whisper=a,whisper=b")
    with pytest.raises(UsageError, match=r"unknown system 'wav2vec'.*did you mean wav2vec2\?"):
        parse_model("wav2vec")


def test_one_channel_is_transcribed(tmp_path: Path, capsys: Any) -> None:
    soundfile.write(tmp_path / "call.wav", np.zeros((SAMPLE_RATE, 2)), SAMPLE_RATE)
    run(ECHO, tmp_path / "call.wav", "--channel", "1")
    assert capsys.readouterr().out == "samples 16000\n"
    with pytest.raises(InputError, match="1 of 1 recording"):
        run(ECHO, tmp_path / "call.wav", "--channel", "2")
    assert "call.wav: has no channel 2; expected 0 to 1" in capsys.readouterr().err


@pytest.mark.parametrize(("given", "cleaned"), [((), 2), (("--denoise", "false"), 0)])
def test_audio_is_denoised_where_the_model_was_trained_so(
    given: tuple[str, ...], cleaned: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr(SpectralGate, "forward", lambda _, waveform: calls.append(len(waveform)) or waveform)
    for path in Path(WAV2VEC2).iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "about.json").write_text(json.dumps({"denoise": True}))
    run(tmp_path, AUDIO / f"{NAMES[0]}.opus", AUDIO / f"{NAMES[1]}.opus", *given)
    assert len(calls) == cleaned
    calls.clear()
    load_ctc(str(tmp_path)).log_probs(torch.zeros(SAMPLE_RATE))
    assert len(calls) == 1
