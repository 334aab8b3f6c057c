"""Streaming: the same samples as `load` in any blocks, in memory that a longer file does not raise."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing import audio
from preprocessing.audio import AudioError
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


@settings(deadline=None, max_examples=25)
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
