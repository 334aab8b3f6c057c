"""Streaming: the same samples as `load` in any blocks, in memory that a longer file does not raise; and in parts."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from preprocessing import audio
from preprocessing.audio import AudioError, waveform
from tests.known_audio import FFMPEG, SOUNDFILE, known_file


@pytest.mark.parametrize("name", [*SOUNDFILE, *FFMPEG])
def test_blocks_join_to_load(name: str) -> None:
    content = known_file(name, 1.1)
    blocks = list(audio.stream(content, block_seconds=0.25))
    assert {len(block) for block in blocks[:-1]} == {4000}
    assert 0 < len(blocks[-1]) <= 4000
    assert torch.equal(torch.cat(blocks), audio.load(content))
    cut = torch.cat(list(audio.stream(content, block_seconds=0.07, start=0.21, stop=0.93)))
    assert torch.equal(cut, audio.load(content, start=0.21, stop=0.93))


@settings(max_examples=25)
@given(st.integers(4_000, 192_000), st.integers(1, 30_000), st.floats(0.001, 1.0))
def test_any_rate_length_and_block(rate: int, n_samples: int, block_seconds: float) -> None:
    import io

    file = io.BytesIO()
    samples = np.random.default_rng(n_samples).uniform(-1, 1, n_samples).astype(np.float32)
    soundfile.write(file, samples, rate, format="WAV", subtype="FLOAT")
    try:
        waveform = audio.load(file)
    except AudioError:
        assert n_samples / rate * 16_000 < 1  # not one sample at 16 kHz
        return
    assert torch.equal(torch.cat(list(audio.stream(file, block_seconds=block_seconds))), waveform)


MEASURE = """
import resource, sys
from preprocessing import audio
n = sum(len(block) for block in audio.stream(sys.argv[1], block_seconds=10.0))
print(n, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """20 minutes against 1: whole, the longer one is 230 MB of samples at 48 kHz."""
    peaks = []
    minute = np.random.default_rng(0).normal(0, 0.01, 60 * 48_000).astype(np.float32)
    for minutes in (1, 20):
        path = tmp_path / f"{minutes}.wav"
        with soundfile.SoundFile(path, "w", 48_000, 1, "PCM_16") as file:
            for _ in range(minutes):
                file.write(minute)
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True, timeout=120
        )
        n_samples, peak = map(int, done.stdout.split())
        assert n_samples == minutes * 60 * 16_000
        peaks.append(peak)
    assert peaks[1] < 1.1 * peaks[0]


def test_a_wrong_block_is_refused_at_the_call() -> None:
    with pytest.raises(AudioError, match="block_seconds"):
        audio.stream(b"RIFF", block_seconds=0.0)
    with pytest.raises(AudioError, match="start"):
        audio.stream(b"RIFF", start=-1.0)


PARTS = [(0.0, 0.7), (0.5, 1.7), (0.6, 0.8), (1.0, 1.01), (2.1, 3.9), (1.9, 3.0), (5.0, 5.9), (5.5, 6.1), (5.5, None)]


@pytest.mark.parametrize("content", ["mp3", "two mp3", "damaged mp3", "flac", "m4a-44"])
def test_parts_one_after_another_are_those_of_load(content: str, tmp_path: Path) -> None:
    """Ascending, overlapping and earlier ones, of either channel; past the end, the error is load's, too."""
    path = tmp_path / "recording"
    encoded = known_file(content.split()[-1], seconds=3.0 if "two" in content else 6.0, n_channels=2)
    encoded = encoded * 2 if "two" in content else encoded
    path.write_bytes(encoded[: 2 * len(encoded) // 3] + bytes(2_000) if "damaged" in content else encoded)
    with audio.PartLoader() as parts:
        for channel in (None, 1):
            for start, stop in [*PARTS, (7.0, 8.0)]:
                found = [_loaded(load, path, start, stop, channel) for load in (parts.load, audio.load)]
                assert found[0] == found[1], (start, stop, channel)


def _loaded(load: Callable[..., Tensor], path: Path, start: float, stop: float | None, channel: int | None) -> object:
    try:
        return load(path, start=start, stop=stop, channel=channel).tolist()
    except audio.AudioError as error:
        return str(error)


def test_ascending_parts_of_an_mp3_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, opened = tmp_path / "recording.mp3", []
    path.write_bytes(known_file("mp3", 20.0))
    open_sndfile = waveform.open_sndfile

    def counted(*arguments: Any) -> Any:
        opened.append(arguments)
        return open_sndfile(*arguments)

    monkeypatch.setattr(waveform, "open_sndfile", counted)
    with audio.PartLoader() as parts:
        for second in range(20):
            assert len(parts.load(path, start=second, stop=second + 1)) == 16_000
    assert len(opened) == 1
