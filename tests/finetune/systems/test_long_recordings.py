"""wav2vec2 over long recordings: short ones whole, long ones in chunks, one collapse, logits of one batch."""

import weakref
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import jiwer
import pytest
import torch
from torch import Tensor

from finetune.models.frame_geometry import WHOLE_SECONDS, LongForm, long_form
from finetune.systems.base import LoadOptions, SystemSpec
from finetune.systems.wav2vec2 import Wav2Vec2System
from preprocessing import audio
from preprocessing.errors import InputError
from preprocessing.features import normalise_waveform
from preprocessing.features.transforms import BLOCK_SAMPLES
from preprocessing.segment import Chunking
from tests.conftest import DEMO, read_manifest

RATE = 16_000


@pytest.fixture(scope="module")
def system() -> Wav2Vec2System:
    return Wav2Vec2System(SystemSpec("demo", "wav2vec2", str(DEMO / "wav2vec2")), LoadOptions("cpu", None))


def transcript(system: Wav2Vec2System, waveform: Tensor) -> str:
    (hypothesis,) = system.text(system.forward(system.features([waveform])))
    return hypothesis


@pytest.fixture(scope="module")
def commands() -> tuple[list[str], list[Tensor]]:
    """Demo utterances: what was said, and waveforms with half a second of near-silence after each."""
    manifest = DEMO / "corpus" / "test.jsonl"
    noise = torch.Generator().manual_seed(0)
    rows = read_manifest(manifest)
    return [row["text"].upper() for row in rows], [
        torch.cat([audio.load(manifest.parent / row["audio"]), 1e-3 * torch.randn(RATE // 2, generator=noise)])
        for row in rows
    ]


@pytest.mark.slow
def test_five_minutes_in_chunks_are_as_good_as_whole(
    system: Wav2Vec2System, commands: tuple[list[str], list[Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The demo is weak and normalises over what it hears: letters it is unsure of differ, their share does not."""
    texts, waveforms = commands
    count = next(n for n in range(1, 300) if sum(len(waveforms[i % 100]) for i in range(n)) >= 300 * RATE)
    said = " ".join(texts[i % 100] for i in range(count))
    recording = torch.cat([waveforms[i % 100] for i in range(count)])
    chunked = transcript(system, recording)
    monkeypatch.setattr(system, "long_form", replace(system.long_form, max_whole_samples=10**9))
    whole = transcript(system, recording)
    assert abs(jiwer.cer(said, chunked) - jiwer.cer(said, whole)) < 0.02
    assert jiwer.cer(whole, chunked) < 0.12
    assert abs(len(chunked) / len(whole) - 1) < 0.03


def test_short_recordings_are_heard_whole(system: Wav2Vec2System, commands: tuple[list[str], list[Tensor]]) -> None:
    waveform = torch.cat(commands[1][:15])
    assert len(waveform) < WHOLE_SECONDS * RATE
    features = system.features([waveform])
    with torch.inference_mode():
        (path,), (whole,) = system.forward(features), system._model(features.pieces[0].values[None]).logits.argmax(-1)
        assert torch.equal(path, whole)


class Oracle(torch.nn.Module):
    """One-hot logits of a unit that depends on a frame's samples alone; counts what it holds."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: list[Any] = []
        self.most_alive, self.most_frames, self.batches = 0, 0, []

    @staticmethod
    def _get_feat_extract_output_lengths(n_samples: int) -> int:
        return (n_samples - 400) // 320 + 1

    def forward(self, inputs: Tensor) -> Any:
        frames = inputs.unfold(1, 400, 320)
        units = (frames[..., 0].abs() * 1e4).long() % 32
        logits = torch.nn.functional.one_hot(units, 32).float()
        self.alive = [each for each in self.alive if each() is not None] + [weakref.ref(logits)]
        self.most_alive = max(self.most_alive, len(self.alive))
        self.most_frames = max(self.most_frames, units.numel())
        self.batches.append(tuple(inputs.shape))
        return SimpleNamespace(logits=logits)


@pytest.mark.parametrize("seconds", [60.0, 60.01, 65.4321, 200.0, 1200.02])
def test_every_frame_once_and_logits_of_one_batch(
    system: Wav2Vec2System, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    oracle = Oracle()
    monkeypatch.setattr(system, "_model", oracle)
    features = torch.randn(1, round(seconds * RATE), generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(system, "_model_input", lambda waveform: waveform)
    (path,) = system.forward(system.features([features[0]]))
    assert torch.equal(path, (features[0].unfold(0, 400, 320)[:, 0].abs() * 1e4).long() % 32)
    assert oracle.most_alive == 1
    if seconds > 60:
        assert oracle.most_frames <= 4 * 24 * 50
        assert all(batch <= 4 and samples <= 24 * RATE for batch, samples in oracle.batches)


def test_the_settings_say_how(system: Wav2Vec2System) -> None:
    assert system.facts.settings["long recordings"] == (
        "over 60 s: chunks of 20 s with 2 s of context either side, 4 at a time"
    )


def test_every_long_form_has_one_description() -> None:
    of_whisper = Chunking(24 * RATE, 3 * RATE)
    assert LongForm(of_whisper, 30 * RATE).description == "over 30 s: chunks of 24 s with 3 s of context either side"
    assert (LongForm().description, LongForm(None, 300 * RATE).description) == ("whole", "whole, up to 300 s")


def test_a_model_that_cannot_be_joined_refuses_long_recordings(
    system: Wav2Vec2System, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = system._model.config
    assert long_form(config) == LongForm(Chunking(20 * RATE, 2 * RATE), 60 * RATE) == system.long_form
    monkeypatch.setattr(config, "add_adapter", True)
    monkeypatch.setattr(system, "long_form", long_form(config))
    with pytest.raises(InputError, match="at most 300 s"):
        system.features([torch.zeros(301 * RATE)])


def test_hours_are_normalised_as_transformers_does() -> None:
    """Over several blocks, whose squares are summed one after another."""
    waveform = 0.1 + 0.3 * torch.randn(BLOCK_SAMPLES + 12_345, generator=torch.Generator().manual_seed(0))
    exact = waveform.double()
    expected = (exact - exact.mean()) / (exact.var(correction=0) + 1e-7).sqrt()
    assert torch.allclose(normalise_waveform(waveform).double(), expected, atol=1e-6)
