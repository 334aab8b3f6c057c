"""`python -m preprocessing.audio`: what it writes, says and refuses."""

from pathlib import Path

import pytest
import soundfile
import torch

from preprocessing import audio
from preprocessing.audio.__main__ import main
from preprocessing.errors import UsageError
from tests.commands import assert_one_sentence, run
from tests.known_audio import known_file, sine


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "a b.flac"
    soundfile.write(path, sine(48_000, 1.0, 2), 48_000)
    return path


@pytest.mark.parametrize("suffix", [".wav", ".FLAC"])
def test_it_writes_what_load_hears(
    tmp_path: Path, source: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / f"out{suffix}"
    main([str(source), str(output)])
    said = capsys.readouterr()
    assert said.out.count("\n") == 1 and "16000 samples" in said.out and said.err == ""
    assert soundfile.info(output).subtype == "PCM_16"
    assert torch.equal(audio.load(output), audio.load(source))
    assert {path.name for path in tmp_path.iterdir()} == {source.name, output.name}


def test_one_channel_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call, output = tmp_path / "call.wav", tmp_path / "agent.wav"
    sides = audio.quantise(torch.stack([torch.zeros(1_600), torch.linspace(-0.5, 0.5, 1_600)], 1))
    soundfile.write(call, sides.numpy(), 16_000)
    main([str(call), str(output), "--channel", "1"])
    assert "16000 Hz, channel 1 of 2 channels" in capsys.readouterr().out
    assert torch.equal(audio.load(output), sides[:, 1])
    with pytest.raises(audio.AudioError, match="has no channel 2; expected 0 to 1"):
        main([str(call), str(tmp_path / "third.wav"), "--channel", "2"])
    assert not (tmp_path / "third.wav").exists()


def test_dither_is_the_seeds(tmp_path: Path, source: Path) -> None:
    heard = []
    for seed in ("5", "5", "6"):
        output = tmp_path / "dithered.wav"
        main([str(source), str(output), "--dither", "tpdf", "--seed", seed, "--overwrite", "true"])
        heard.append(audio.load(output))
    assert torch.equal(heard[0], heard[1]) and not torch.equal(heard[0], heard[2])
    assert 0.45 < ((heard[0] - heard[2]) * 32_768).var() < 0.7  # two quarters, and what rounding leaves in common


def test_progress_is_told_while_it_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, written = known_file("flac-24", 70.0), []
    n_samples = audio.transcode(content, tmp_path / "out.flac", on_progress=written.append)
    assert n_samples == 70 * 16_000 == round(sum(written) * 16_000)
    assert len(written) >= 7
    (tmp_path / "long.flac").write_bytes(content)
    main([str(tmp_path / "long.flac"), str(tmp_path / "out.wav")])
    shown = capsys.readouterr()
    assert shown.out.count("\n") == 1 and shown.err.startswith("converting: 70 seconds, ")


def test_wrong_usage(tmp_path: Path, source: Path) -> None:
    for arguments, found in (
        ([str(source), str(source)], "--overwrite true"),
        ([str(source), str(tmp_path / "out.mp3")], "ending in .wav or .flac"),
        ([str(source), str(tmp_path / "out.wav"), "--seed", "-1"], "0 or more"),
        ([str(source), str(tmp_path / "out.wav"), "--channel", "-1"], "--channel is -1"),
        ([str(source), str(tmp_path / "out.wav"), "--dither", "rpdf"], "dither"),
    ):
        with pytest.raises(UsageError, match=found):
            main(arguments)


def test_bad_input_leaves_what_was_there(tmp_path: Path) -> None:
    output, cut = tmp_path / "out.wav", tmp_path / "cut.flac"
    output.write_bytes(b"before")
    content = known_file("flac", 4.0)
    cut.write_bytes(content[: len(content) // 2])
    failed = run("-m", "preprocessing.audio", cut, output, "--overwrite", "true")
    assert_one_sentence(failed, 1, "cut.flac", "expected")
    assert output.read_bytes() == b"before"
    with pytest.raises(audio.AudioError, match=r"out\.wav: cannot be written \(No such file or directory\)"):
        audio.transcode(content, tmp_path / "nowhere" / "out.wav")
