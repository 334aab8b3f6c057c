"""Noise removal and WER: noise raises errors, figures are written, and wrong usage is one sentence."""

import json
from pathlib import Path

import pytest
import torch

from experiments import noise_removal
from preprocessing import audio
from preprocessing.audio import SAMPLE_RATE
from tests.commands import assert_one_sentence, run
from tests.conftest import DEMO, absolute, write_manifest


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    hiss = 0.1 * torch.randn(2 * SAMPLE_RATE, generator=torch.Generator().manual_seed(0))
    audio.save(tmp_path / "hiss.wav", hiss)
    return tmp_path / "hiss.wav"


def test_noise_raises_errors_and_the_figures_are_written(tmp_path: Path, noise: Path) -> None:
    manifest = write_manifest(tmp_path / "test.jsonl", absolute(DEMO / "corpus" / "test.jsonl", 8))
    noise_removal.main(
        [
            *("--model", f"wav2vec2={DEMO / 'wav2vec2'}", "--data", str(manifest), "--noise", str(noise)),
            *("--snr_db", "[-5]", "--json", str(tmp_path / "figures.json")),
        ]
    )
    clean, loud = json.loads((tmp_path / "figures.json").read_text())["levels"]
    assert (clean["condition"], loud["condition"]) == ("clean", "-5 dB")
    assert loud["plain"]["value"] > clean["plain"]["value"]
    for level in (clean, loud):
        change = level["denoised"]["value"] - level["plain"]["value"]
        assert level["change"]["value"] == pytest.approx(change)
        assert level["change"]["low"] <= change <= level["change"]["high"]


@pytest.mark.slow
def test_a_noise_that_is_not_there_is_named(tmp_path: Path) -> None:
    options = ("--model", f"wav2vec2={DEMO / 'wav2vec2'}", "--data", str(DEMO / "corpus" / "test.jsonl"))
    result = run("-m", "experiments.noise_removal", *options, "--noise", str(tmp_path / "nowhere"))
    assert_one_sentence(result, 2, "nowhere")
