"""`python -m preprocessing.segment`: files that hold the recording, once each sample; whole or not at all."""

import subprocess
import sys
from pathlib import Path

import matplotlib.image
import pytest
import soundfile
import torch

from preprocessing import audio
from preprocessing.cli.options import run_command
from preprocessing.segment import __main__ as command
from preprocessing.segment import plot as picture
from preprocessing.segment.pieces import SpeechActivity, cut
from preprocessing.segment.voice_activity import WINDOW, Span
from tests.conftest import ROOT, read_manifest

RATE = 16_000


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """11.3 s of noise, on the 16-bit grid."""
    path = tmp_path / "a recording.wav"
    audio.save(path, 0.1 * torch.randn(round(11.3 * RATE), generator=torch.Generator().manual_seed(0)))
    return path


@pytest.mark.parametrize("method", ["speech", "chunks", "fixed"])
def test_the_pieces_make_the_recording_again(method: str, recording: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "pieces"
    command.main(
        [str(recording), str(folder), "--segmentation", method, "--seconds", "2.5", "--context_seconds", "0.5"]
    )
    rows = read_manifest(folder / "manifest.jsonl")
    whole = audio.load(recording)
    again = []
    for row in rows:
        piece = audio.load(folder / row["audio"])
        assert len(piece) == round(row["duration"] * RATE)
        start, stop = round(row["source_start"] * RATE), round(row["source_stop"] * RATE)
        assert torch.equal(piece[: stop - start], whole[start:stop])
        assert not piece[stop - start :].any()
        kept_from = round(row.get("keep_start", row["source_start"]) * RATE)
        again.append(whole[kept_from : round(row.get("keep_stop", row["source_stop"]) * RATE)])
    assert torch.equal(torch.cat(again), whole)
    assert len({row["id"] for row in rows}) == len(rows) == len(list(folder.glob("*.flac")))
    assert sorted(path.name for path in folder.parent.iterdir()) == ["pieces"]
    if method == "fixed":
        assert {row["duration"] for row in rows} == {2.5}
    if method == "chunks":
        assert {row["duration"] for row in rows[:-1]} == {3.5}
    if method == "speech":
        assert {row["speech"] for row in rows} == {False}


def test_one_channel_is_cut(recording: Path, tmp_path: Path) -> None:
    waveform = audio.load(recording)
    call = tmp_path / "call.wav"
    soundfile.write(call, torch.stack([waveform.flip(0), waveform], 1).numpy(), RATE, subtype="PCM_16")
    options = ["--segmentation", "fixed", "--seconds", "4"]
    command.main([str(call), str(tmp_path / "out"), *options, "--channel", "1"])
    rows = read_manifest(tmp_path / "out" / "manifest.jsonl")
    assert {row["recording_id"] for row in rows} == {"call.wav"}
    assert [(row["id"], row["source_channel"]) for row in rows] == [(f"call-1-{n:04}", 1) for n in range(3)]
    pieces = torch.cat([audio.load(tmp_path / "out" / row["audio"]) for row in rows])
    assert torch.equal(pieces[: len(waveform)], waveform)
    command.main([str(call), str(tmp_path / "mixed"), *options])
    (first, *_) = read_manifest(tmp_path / "mixed" / "manifest.jsonl")
    assert first["id"] == "call-0000" and "source_channel" not in first


def test_silent_pieces_can_be_left_out(speech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoken = audio.load(speech / "long-form" / "7367-86737.opus", stop=5.0)
    audio.save(tmp_path / "both.flac", torch.cat([spoken, torch.zeros(10 * RATE)]))
    page = tmp_path / "page.png"
    options = ["--seconds", "4", "--speech_only", "true", "-o", str(page)]
    command.main([str(tmp_path / "both.flac"), str(tmp_path / "out"), *options])
    rows = read_manifest(tmp_path / "out" / "manifest.jsonl")
    assert 0 < len(rows) < 4 and all(row["speech"] for row in rows)
    assert rows[-1]["source_stop"] < 10
    assert matplotlib.image.imread(page).shape[0] > 150
    assert capsys.readouterr().out.splitlines()[-1] == str(page)


def test_a_quiet_recording_without_speech_is_worth_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = torch.randn(4 * RATE, generator=torch.Generator().manual_seed(0))
    for name, level, expected in (
        ("quiet", 0.001, "quiet.flac: 0.0% of it is speech, and its level is -60 dBFS"),
        ("loud", 0.1, ""),
    ):
        audio.save(tmp_path / f"{name}.flac", level * noise)
        command.main([str(tmp_path / f"{name}.flac"), str(tmp_path / name)])
        out, printed = capsys.readouterr()
        assert out.endswith(": 1 segment, 4.0 s in all\n")
        assert printed.count("\n") == bool(expected) and expected in printed, printed


def test_a_page_shows_cuts_at_their_seconds() -> None:
    waveform = torch.randn(70 * RATE) * 0.1
    activity = SpeechActivity(torch.zeros(-(-len(waveform) // WINDOW)), (Span(RATE, 3 * RATE),))
    pieces = cut(waveform, "fixed", 20.0, 0.0, None)
    for written, count, cuts in ((pieces, "4 segments", [20.0, 40.0, 60.0]), (pieces[1:2], "1 segment", [20.0, 40.0])):
        figure = picture.page(waveform, "a $file$", activity, written)
        rows = [axes for axes in figure.axes if axes.get_xlabel() or len(axes.patches) or len(axes.collections)]
        assert [axes.get_xlim() for axes in rows] == [(0.0, 60.0), (60.0, 120.0)]
        lines = [line.get_xdata() for axes in rows for line in axes.lines]
        assert [float(begin) for begin, end in lines if begin == end] == cuts  # type: ignore[misc]
        assert any(text.get_text().endswith(count) for text in figure.texts)


def test_half_a_folder_is_none(recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save, calls = audio.save, 0

    def fails_at_the_third(path: Path, waveform: torch.Tensor) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise OSError(28, "No space left on device")
        save(path, waveform)

    monkeypatch.setattr(audio, "save", fails_at_the_third)
    with pytest.raises(SystemExit) as ended:
        run_command(
            lambda: command.main([str(recording), str(tmp_path / "out"), "--segmentation", "fixed", "--seconds", "2"])
        )
    assert ended.value.code == 2
    assert [path.name for path in tmp_path.iterdir()] == [recording.name]


def test_wrong_usage_is_one_sentence(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, name = str(tmp_path / "out"), str(recording)
    for arguments, code, message in (
        (["no-such.wav", out], 1, "no-such.wav: no such file"),
        ([name], 2, "output"),
        ([name, str(tmp_path)], 2, "already exists"),
        ([name, name], 2, "already exists"),
        ([name, f"{name}/out"], 2, "expected a writable place for a new folder"),
        ([name, out, "--seconds", "0"], 2, "--seconds is 0"),
        ([name, out, "--seconds", "nan"], 2, "nan"),
        ([name, out, "--context_seconds", "-1"], 2, "--context_seconds is -1"),
        ([name, out, "--threshold", "0"], 2, "--threshold is 0"),
        ([name, out, "--channel", "-1"], 2, "--channel is -1"),
        ([name, out, "--channel", "1"], 1, "has no channel 1; expected 0 alone"),
        ([name, out, "--segmentation", "words"], 2, "words"),
        ([name, out, "--method", "fixed"], 2, "--method is now --segmentation: rename it"),
        (
            [name, out, "--segmentation", "fixed", "--speech_only", "true"],
            2,
            "--speech_only goes with --segmentation speech",
        ),
        ([name, out, "-o", "page.gif"], 2, "suffix '.gif'"),
    ):
        with pytest.raises(SystemExit) as ended:
            run_command(lambda arguments=arguments: command.main(arguments))  # type: ignore[misc]
        printed = capsys.readouterr().err
        assert (ended.value.code, message in printed, printed.count("\n")) == (code, True, 1), printed
        assert not (tmp_path / "out").exists()


def test_reading_options_imports_nothing_heavy() -> None:
    check = "import sys, preprocessing.segment.__main__; print({'torch', 'matplotlib', 'numpy'} & set(sys.modules))"
    ran = subprocess.run(
        [sys.executable, "-c", check], check=True, timeout=60, capture_output=True, text=True, cwd=ROOT
    )
    assert ran.stdout == "set()\n"
