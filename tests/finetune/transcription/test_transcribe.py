"""`python -m finetune.transcribe`: folders, going on, pipes, channels, bad input."""

import errno
import io
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from finetune.systems.ctc_model import load_ctc
from finetune.systems.registry import family_of, parse_model
from finetune.systems.transcript import Transcript
from finetune.transcription import results
from preprocessing import audio
from preprocessing.audio import SAMPLE_RATE
from preprocessing.augment.denoise import SpectralGate
from preprocessing.errors import InputError, UsageError
from tests.conftest import DEMO
from tests.finetune.transcription.transcribing import AUDIO, ECHO, NAMES, WAV2VEC2, Echo, read, run

pytestmark = pytest.mark.usefixtures("no_batches")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Recordings of 0.5, 1 and 0.75 s, one of them in a folder of its own, and a file that is none."""
    here = tmp_path / "in"
    (here / "monday").mkdir(parents=True)
    for name, seconds in (("a.wav", 0.5), ("b.flac", 1.0), ("monday/a.wav", 0.75)):
        audio.save(here / name, torch.zeros(round(seconds * SAMPLE_RATE)))
    (here / "notes.txt").write_text("no audio")
    return here


def test_torch_computes_with_the_cores_of_a_containers_quota(
    folder: Path, tmp_path: Path, threads_under_quota: list[int]
) -> None:
    run(ECHO, folder / "a.wav", "--output_dir", tmp_path / "out")
    assert threads_under_quota[0] == 1


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
    assert not list(out.rglob(".*")), "nothing hidden is left"


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


def test_a_run_that_replaces_goes_on_after_an_interruption(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """What it made already is kept; a file of another format that another model made is not taken for its own."""
    out = tmp_path / "out"
    run(ECHO, folder, "-o", out, "-f", "txt,srt")
    monkeypatch.setattr(Echo, "batched", False)
    words = (ECHO, folder, "-o", out, "--language", "de", "--overwrite", "true")
    write, written = results.write_text_atomically, []

    def interrupted(path: Path, text: str) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        write(path, text)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(results, "write_text_atomically", interrupted)
        run(*words)
    Echo.batches.clear()
    run(*words)
    assert len(Echo.batches) == 1 and "resuming: 2 of 3 recordings are done" in capsys.readouterr().err
    with pytest.raises(UsageError, match=r"\.srt and 2 more: made from another"):
        run(*words[:-2], "-f", "txt,srt")
    run(*words, "-f", "txt,srt")
    assert len(Echo.batches) == 4
    run(*words, "-f", "txt,srt")
    assert len(Echo.batches) == 4


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
    from finetune.systems.wav2vec2 import Wav2Vec2System

    nan: Callable[..., Any] = lambda self, inputs: (torch.full((1, 9, 32), torch.nan), [9])  # noqa: E731
    monkeypatch.setattr(Wav2Vec2System, "_compute", nan)
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


class Hearing(Echo):
    """Hears German, then Welsh."""

    def transcribe(self, waveforms: Sequence[Tensor], **_: object) -> list[Transcript]:  # type: ignore[override]
        return [Transcript.of_text("x", 1.0, language) for _, language in zip(waveforms, ("de", "cy"), strict=True)]


def test_channels_in_several_languages_are_said(tmp_path: Path, capsys: Any) -> None:
    for name, seconds in (("call", 1.5), ("other", 1.5)):
        soundfile.write(tmp_path / f"{name}.wav", np.zeros((round(seconds * SAMPLE_RATE), 2)), SAMPLE_RATE)
    system, speakers = f"{__name__}:Hearing", ("--speakers", "Ann", "Bob")
    run(system, tmp_path / "call.wav", "-f", "json", *speakers)
    found = capsys.readouterr()
    assert f"note: {tmp_path}/call.wav: the model detected Ann in de, Bob in cy; the results name de: if" in found.err
    assert json.loads(found.out)["language"] == "de"


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
        (["{in}/a.wav", "--channel", "0", "--speakers", "Ann", "Bob"], "--speakers with --channel, one channel alone"),
        (["{in}/a.wav", "--speakers", "Ann", "Ann"], "--speakers Ann Ann; expected two or more different names"),
        (["{in}/a.wav", "--speakers", "Ann", "<b>"], "--speakers names '<b>'"),
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


def test_speakers_on_channels_become_one_transcript(tmp_path: Path, capsys: Any) -> None:
    calls, out = tmp_path / "calls", tmp_path / "out"
    calls.mkdir()
    for name, n_channels in (("one", 2), ("two", 2), ("mono", 1), ("three", 3)):
        soundfile.write(calls / f"{name}.wav", np.zeros((SAMPLE_RATE, n_channels)), SAMPLE_RATE)
    words = (calls, "-o", out, "-f", "json,srt,vtt,txt", "--speakers", "Ann", "Bob")
    for expected_batches in ([[16_000] * 4], []):
        Echo.batches.clear()
        with pytest.raises(InputError, match="4 of"):
            run(ECHO, *words)
        assert Echo.batches == expected_batches
    printed = capsys.readouterr().err
    assert "mono.wav: 1 channel; expected 2, as many as --speakers names" in printed
    assert "three.wav: 3 channels; expected 2" in printed
    assert "2 of 4 recordings are done" in printed
    assert sorted(path.name for path in out.glob("*.json")) == ["one.json", "two.json"]
    found = read(out / "one.json")
    assert [one["speaker"] for one in found["segments"]] == ["Ann", "Bob"]
    assert {one["text"] for one in found["segments"]} == {"samples 16000"}
    assert found["text"] == "samples 16000 samples 16000"
    assert (out / "two.txt").read_text() == "Ann: samples 16000\nBob: samples 16000\n"
    assert "Ann: samples 16000" in (out / "two.srt").read_text()
    assert "<v Bob>samples 16000" in (out / "two.vtt").read_text()


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
