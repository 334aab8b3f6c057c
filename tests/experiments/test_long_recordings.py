"""A recording repeated to several lengths, each transcribed in a process of its own."""

from pathlib import Path

import pytest
import torch

from experiments import long_recordings
from preprocessing import audio
from preprocessing.errors import UsageError
from tests.conftest import DEMO, read_manifest, write_manifest

RATE = 16_000


@pytest.mark.slow
def test_the_study_repeats_a_recording_and_measures_each_length(
    tmp_path: Path,
) -> None:
    audio.save(tmp_path / "one.wav", 0.1 * torch.randn(RATE, generator=torch.Generator().manual_seed(0)))
    long_recordings.write_repeated(tmp_path / "one.wav", 2.5, tmp_path / "long.flac")
    once = audio.load(tmp_path / "one.wav")
    assert torch.equal(audio.load(tmp_path / "long.flac"), torch.cat([once, once, once[: RATE // 2]]))
    found = long_recordings.transcribe_file(f"wav2vec2={DEMO / 'wav2vec2'}", tmp_path / "long.flac")
    assert found.audio_seconds == 2.5 and found.rtfx == 2.5 / found.seconds
    assert found.peak_memory_bytes >= found.loaded_bytes > 0
    (row,) = read_manifest(DEMO / "corpus" / "test.jsonl")[:1]
    manifest = write_manifest(tmp_path / "one.jsonl", [row | {"audio": str(DEMO / "corpus" / row["audio"])}])
    model, hours = f"wav2vec2={DEMO / 'wav2vec2'}", [row["duration"] / 3600, 3 * row["duration"] / 3600]
    once, thrice = long_recordings.transcribe_lengths(model, manifest, hours, "librispeech")
    assert thrice.audio_seconds == pytest.approx(3 * once.audio_seconds, abs=0.01)
    assert once.wer is not None and thrice.wer is not None and 0 <= thrice.wer < 2
    with pytest.raises(UsageError, match="holds 100 recordings"):
        long_recordings.transcribe_lengths(model, DEMO / "corpus" / "test.jsonl", [1.0], "librispeech")
    with pytest.raises(UsageError, match=r"--hours is \[0\.0, 1\.0\]"):
        long_recordings.Config("wav2vec2", tmp_path, [0.0, 1.0]).lengths()
