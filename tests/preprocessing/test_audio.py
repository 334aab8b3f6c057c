"""Decoding against known signals: every format, rate and channel count gives back the sine that went in."""

import math
import os
import resource
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from preprocessing import audio
from preprocessing.audio import SAMPLE_RATE, AudioError
from tests.conftest import read_manifest

SECONDS, PITCH = 1.0, 440.0


def sine(rate: int, seconds: float = SECONDS) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * PITCH * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


def signal_to_noise_db(decoded: torch.Tensor, *, margin: int = 800) -> float:
    """Against the best-fitting sine of the known pitch, so that a codec's delay and gain do not count as noise."""
    middle = decoded[margin:-margin].double().numpy()
    time = np.arange(len(middle)) / SAMPLE_RATE
    basis = np.stack([np.sin(2 * np.pi * PITCH * time), np.cos(2 * np.pi * PITCH * time)], axis=1)
    fitted = basis @ np.linalg.lstsq(basis, middle, rcond=None)[0]
    return float(10 * np.log10((fitted**2).sum() / ((middle - fitted) ** 2).sum()))


LOSSLESS = [
    ("WAV", "PCM_16"),
    ("WAV", "PCM_24"),
    ("WAV", "PCM_32"),
    ("WAV", "FLOAT"),
    ("FLAC", "PCM_16"),
    ("AIFF", "PCM_16"),
]


@pytest.mark.parametrize(("container", "subtype"), LOSSLESS)
@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 48_000])
def test_lossless_formats_keep_the_sine(tmp_path: Path, container: str, subtype: str, rate: int) -> None:
    path = tmp_path / f"sine.{container.lower()}"
    soundfile.write(path, sine(rate), rate, format=container, subtype=subtype)
    waveform = audio.load(path)
    assert waveform.shape == (SAMPLE_RATE,)
    assert signal_to_noise_db(waveform) > 80  # the 16-bit grid alone leaves 92 dB for this level


@pytest.mark.parametrize(
    ("container", "subtype", "rate", "expected_db"),
    [
        ("WAV", "PCM_U8", 16_000, 37),  # libsndfile truncates to 8 bits: 37.9 dB for this level
        ("WAV", "ULAW", 8_000, 30),
        ("OGG", "VORBIS", 16_000, 25),
        ("OGG", "OPUS", 48_000, 25),
        ("MP3", "MPEG_LAYER_III", 44_100, 40),
    ],
)
def test_lossy_formats_keep_the_sine(
    tmp_path: Path, container: str, subtype: str, rate: int, expected_db: float
) -> None:
    path = tmp_path / "sine"
    soundfile.write(path, sine(rate), rate, format=container, subtype=subtype)
    waveform = audio.load(path)
    assert abs(len(waveform) - SAMPLE_RATE) <= 0.15 * SAMPLE_RATE
    assert signal_to_noise_db(waveform, margin=2400) > expected_db


@pytest.mark.parametrize(("suffix", "codec"), [("m4a", "aac"), ("mka", "pcm_s16le"), ("webm", "libopus")])
def test_pyav_decodes_what_libsndfile_does_not(tmp_path: Path, suffix: str, codec: str) -> None:
    path = tmp_path / f"sine.{suffix}"
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=48_000, layout="stereo")
        planes = np.stack([sine(48_000)] * 2)
        for start in range(0, planes.shape[1], 960):
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(planes[:, start : start + 960]), format="fltp", layout="stereo"
            )
            frame.rate, frame.pts = 48_000, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    waveform = audio.load(path)
    assert abs(len(waveform) - SAMPLE_RATE) < 0.1 * SAMPLE_RATE
    assert signal_to_noise_db(waveform, margin=2400) > 25
    assert audio.probe(path).sample_rate == 48_000


def test_channels_are_averaged(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([sine(SAMPLE_RATE), -sine(SAMPLE_RATE)], axis=1), SAMPLE_RATE, subtype="FLOAT")
    assert audio.load(path).abs().max() == 0.0
    steps = np.random.default_rng(0).integers(-32768, 32768, (5000, 3)).astype(np.int16)
    for channels in (2, 3):
        soundfile.write(path, steps[:, :channels], SAMPLE_RATE, subtype="PCM_16")
        mean = torch.from_numpy(steps[:, :channels].mean(axis=1) / 32768).float()
        assert torch.equal(audio.load(path), audio.quantise(mean))


def test_floats_come_to_the_16_bit_grid(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, 5000).astype(np.float32)
    soundfile.write(tmp_path / "float.wav", samples, SAMPLE_RATE, subtype="FLOAT")
    assert torch.equal(audio.load(tmp_path / "float.wav"), audio.quantise(torch.from_numpy(samples)))


def test_one_channel_is_taken_as_it_is(tmp_path: Path) -> None:
    """A recorded call: what one side says, without the other."""
    agent, customer = sine(8_000), 0.5 * sine(8_000)[::-1]
    soundfile.write(tmp_path / "call.wav", np.stack([agent, customer], axis=1), 8_000)
    for channel, alone in enumerate((agent, customer)):
        soundfile.write(tmp_path / "alone.wav", alone, 8_000)
        expected = audio.load(tmp_path / "alone.wav")
        assert torch.equal(audio.load(tmp_path / "call.wav", channel=channel), expected)
        assert torch.equal(torch.cat(list(audio.stream(tmp_path / "call.wav", channel=channel))), expected)
    with pytest.raises(AudioError, match=r"call\.wav: has no channel 2; expected 0 to 1"):
        audio.load(tmp_path / "call.wav", channel=2)
    with pytest.raises(AudioError, match="has no channel 1; expected 0 alone"):
        audio.load(tmp_path / "alone.wav", channel=1)


def test_sixteen_bit_files_come_back_to_the_bit(tmp_path: Path) -> None:
    integers = np.random.default_rng(0).integers(-32768, 32768, 5000, dtype=np.int16)
    path = tmp_path / "noise.flac"
    soundfile.write(path, integers, SAMPLE_RATE, subtype="PCM_16")
    assert np.array_equal((audio.load(path) * 32768).numpy(), integers.astype(np.float32))


@given(st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=50))
def test_quantise_is_the_nearest_step_and_idempotent(values: list[float]) -> None:
    waveform = torch.tensor(values, dtype=torch.float32)
    once = audio.quantise(waveform)
    assert torch.equal(audio.quantise(once), once)
    assert once.min() >= -1 and once.max() < 1
    inside = waveform.clamp(-1, 32767 / 32768)
    assert (once - inside).abs().max() <= 0.5 / 32768 + 1e-9


def test_start_and_stop_are_the_slice(tmp_path: Path) -> None:
    path = tmp_path / "sine.wav"
    soundfile.write(path, sine(SAMPLE_RATE), SAMPLE_RATE)
    assert torch.equal(audio.load(path, start=0.25, stop=0.5), audio.load(path)[4000:8000])
    assert torch.equal(audio.load(path, start=0.5702), audio.load(path)[9123:])  # at sample 9123.2
    assert torch.equal(audio.load(path, start=0.5703), audio.load(path)[9125:])  # at sample 9124.8
    assert torch.equal(audio.load(path, stop=0.5703), audio.load(path)[:9125])
    for stop, part in ((None, "from 9 s on"), (12.5, "from 9 s to 12.5 s")):
        with pytest.raises(AudioError, match=rf"holds no audio samples {part}; expected .* correct start and stop"):
            audio.load(path, start=9.0, stop=stop)


@pytest.mark.parametrize("container", ["FLAC", "WAV"])
@pytest.mark.parametrize("rate", [8_000, 22_050, 32_000, 44_100, 48_000])
def test_start_and_stop_are_the_slice_at_any_rate(tmp_path: Path, container: str, rate: int) -> None:
    """To the bit: the filter is given what lies on either side, and whole ticks of both rates come before."""
    path = tmp_path / f"noise.{container.lower()}"
    samples = np.random.default_rng(rate).uniform(-0.9, 0.9, 3 * rate).astype(np.float32)
    soundfile.write(path, samples, rate, format=container)
    whole = audio.load(path)
    for start, stop in ((0.5, 1.0), (0.001, 0.002), (0.01, 2.99), (1.23456, 2.34567), (2.5, None), (2.98, 3.5)):
        first, last = (
            None if seconds is None else math.floor(round(seconds * rate) * SAMPLE_RATE / rate + 0.5)
            for seconds in (start, stop)
        )
        cut = audio.load(path, start=start, stop=stop)
        assert torch.equal(cut, whole[first:last])
        assert torch.equal(torch.cat(list(audio.stream(path, block_seconds=0.1, start=start, stop=stop))), cut)


def test_bytes_and_path_agree(tmp_path: Path) -> None:
    path = tmp_path / "sine.flac"
    soundfile.write(path, sine(22_050), 22_050)
    assert torch.equal(audio.load(path), audio.load(path.read_bytes()))


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no files in memory on this system")
def test_bytes_are_read_without_callbacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a callback of libsndfile's a Ctrl-C is printed and lost. No descriptor stays open, whatever the bytes are."""
    path = tmp_path / "a.flac"
    soundfile.write(path, sine(SAMPLE_RATE), SAMPLE_RATE)
    whole, expected = path.read_bytes(), audio.load(path)
    monkeypatch.setattr(soundfile.SoundFile, "_init_virtual_io", None)
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert torch.equal(audio.load(whole), expected)
    for broken in (whole[:3000], b"fLaC" + bytes(400)):
        with pytest.raises(AudioError):
            audio.load(broken)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_save_and_load_round_trip(tmp_path: Path) -> None:
    waveform = audio.quantise(torch.from_numpy(sine(SAMPLE_RATE)))
    for name in ("a.wav", "a.flac"):
        audio.save(tmp_path / name, waveform)
        assert torch.equal(audio.load(tmp_path / name), waveform)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.flac", "a.wav"]
    loud = torch.tensor([1.0, -1.0, 1.5, -1.5, 0.4 / 32768, 0.6 / 32768])
    audio.save(tmp_path / "a.wav", loud)  # beyond full scale it is cut, and does not wrap around
    assert torch.equal(audio.load(tmp_path / "a.wav"), audio.quantise(loud))


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
@pytest.mark.parametrize("n_missing", [1, 3000, 30_000])
def test_what_a_full_disk_takes_no_more_of_is_not_saved(tmp_path: Path, suffix: str, n_missing: int) -> None:
    """Of a FLAC, libsndfile writes the last samples on closing, and says nothing where that fails."""
    path, waveform = tmp_path / f"a{suffix}", 0.1 * torch.randn(16_000, generator=torch.Generator().manual_seed(0))
    audio.save(path, waveform)
    complete = path.read_bytes()
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(complete) - n_missing, unlimited[1]))
    try:
        with pytest.raises(AudioError, match=r"a\..*: cannot be written .*free space: choose another, or free some"):
            audio.save(path, -waveform)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert path.read_bytes() == complete and list(tmp_path.iterdir()) == [path]


def test_bad_files_are_named_in_one_sentence(tmp_path: Path) -> None:
    text = tmp_path / "text.wav"
    text.write_text("not audio at all " * 40)
    empty = tmp_path / "empty.wav"
    empty.touch()
    nan = tmp_path / "nan.wav"
    soundfile.write(nan, np.array([0.0, np.nan, 0.1]), SAMPLE_RATE, subtype="FLOAT")
    silent = tmp_path / "header-only.wav"
    soundfile.write(silent, np.zeros(0), SAMPLE_RATE)
    for path, found in (
        (tmp_path / "missing.wav", "no such file"),
        (tmp_path, "is a folder"),
        (text, "not audio"),
        (empty, "empty file"),
        (nan, "NaN"),
        (silent, "no audio samples"),
    ):
        with pytest.raises(AudioError, match=found) as caught:
            audio.load(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_every_shared_format_has_its_stated_duration(speech: Path) -> None:
    """Formats of the real corpora (Opus, FLAC at four rates, stereo, 8 kHz WAV) against their manifests."""
    for name in ("librispeech/train", "librispeech/test-other", "ljspeech/test", "arctic-prompts/test", "german/train",
                 "german/test", "digits/test", "clips/test"):  # fmt: skip
        manifest = speech / f"{name}.jsonl"
        for row in read_manifest(manifest)[:3]:
            waveform = audio.load(manifest.parent / row["audio"])
            assert len(waveform) / SAMPLE_RATE == pytest.approx(row["duration"], abs=0.02), row["id"]
            assert waveform.dtype == torch.float32
            assert torch.equal(waveform, audio.quantise(waveform))


def test_no_system_ffmpeg_is_needed(tmp_path: Path) -> None:
    """With an empty PATH everything still decodes, in a fresh process."""
    path = tmp_path / "sine.ogg"
    soundfile.write(path, sine(48_000), 48_000, format="OGG", subtype="OPUS")
    code = "import sys; from preprocessing import audio; print(len(audio.load(sys.argv[1])))"
    run = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, env={"PATH": ""}, check=True
    )
    assert int(run.stdout) == SAMPLE_RATE


def test_bytes_that_are_not_audio() -> None:
    with pytest.raises(AudioError, match="12 bytes"):
        audio.load(b"twelve bytes")
