"""Conditions: what each does to a waveform, that it does it alike everywhere, and names that are none."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.conditions import Condition, parse_conditions
from preprocessing import audio
from preprocessing.audio import SAMPLE_RATE, quantise
from preprocessing.augment.reverb import RT60_SECONDS, generated_response
from preprocessing.corpus import Utterance
from preprocessing.errors import UsageError

SPEECH = quantise(0.1 * torch.randn(3 * SAMPLE_RATE, generator=torch.Generator().manual_seed(1)))
CORPUS = [Utterance(f"u{number}", f"{number}.wav", f"WORD {number}", 1.0 + number % 7) for number in range(40)]


def named(text: str, *, seed: int = 0, noise: Path | None = None, rooms: Path | None = None) -> dict[str, Condition]:
    found = parse_conditions(text, seed=seed, noise=noise, rooms=rooms)
    return {condition.used.name: condition for condition in found}


@pytest.fixture
def noises(tmp_path: Path) -> Path:
    folder = tmp_path / "noises"
    folder.mkdir()
    for number in range(4):
        tone = 0.3 * torch.sin(torch.arange(2 * SAMPLE_RATE) * (0.05 + 0.2 * number))
        audio.save(folder / f"{number}.wav", quantise(tone))
    return folder


def decibels(signal: torch.Tensor) -> float:
    return 10.0 * float(signal.double().square().mean().log10())


@pytest.mark.parametrize("recorded", [False, True])
def test_the_noise_is_at_its_level_and_the_same_at_every_level(recorded: bool, noises: Path) -> None:
    found = named("noise:20,noise:10,noise:0", noise=noises if recorded else None)
    added = {}
    for condition in found.values():
        if condition.used.snr_db is None:
            continue
        noisy = condition.apply(SPEECH, "u1")
        scale = 1.0 if noisy.abs().max() < 0.99 else float((noisy @ SPEECH) / (SPEECH @ SPEECH))
        noise = noisy / scale - SPEECH
        assert decibels(SPEECH) - decibels(noise) == pytest.approx(condition.used.snr_db, abs=0.1)
        added[condition.used.snr_db] = noise / noise.norm()
    assert float(added[20.0] @ added[0.0]) > 0.999
    assert not torch.equal(found["noise:10"].apply(SPEECH, "u1"), found["noise:10"].apply(SPEECH, "u2"))


def test_noise_alone_has_one_level(noises: Path) -> None:
    alone = named("noise-only", noise=noises)["noise-only"].apply(SPEECH, "u3")
    assert decibels(alone) == pytest.approx(-30.0, abs=0.1)
    tone = alone.abs().max() / alone.square().mean().sqrt()
    assert float(tone) == pytest.approx(2**0.5, rel=0.01)  # the crest factor of a sine: a recording was heard
    assert decibels(named("noise-only")["noise-only"].apply(SPEECH, "u3")) == pytest.approx(-30.0, abs=0.1)


@pytest.mark.parametrize("name", list(named("all")))
def test_alike_everywhere(name: str) -> None:
    """From the seed and the utterance alone: after a trip to another process, with other threads, after others."""
    condition = named("all")[name]
    before, threads = condition.apply(SPEECH, "u1"), torch.get_num_threads()
    sent: Condition = pickle.loads(pickle.dumps(condition))
    torch.set_num_threads(3)
    try:
        sent.apply(SPEECH, "u2")
        assert torch.equal(sent.apply(SPEECH, "u1"), before)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(quantise(before), before)
    assert torch.equal(condition.apply(torch.zeros(0), "u1"), torch.zeros(0))


def test_another_seed_draws_another_noise() -> None:
    one, other = (named("noise:5", seed=seed)["noise:5"].apply(SPEECH, "u1") for seed in (0, 1))
    assert not torch.equal(one, other)


def test_what_is_left_out_of_a_telephone() -> None:
    sent = named("telephone")["telephone"].apply(SPEECH, "u1").double()
    power = torch.fft.rfft(sent).abs().square()
    hertz = torch.fft.rfftfreq(len(sent), 1.0 / SAMPLE_RATE)
    assert float(power[hertz > 3600].sum() / power.sum()) < 1e-3


def test_speed_and_clipping() -> None:
    found = named("speed:0.9,speed:1.25,clipped")
    assert len(found["speed:1.25"].apply(SPEECH, "u1")) == pytest.approx(len(SPEECH) / 1.25, abs=1)
    for name, factor in (("clean", 1.0), ("speed:0.9", 0.9), ("speed:1.25", 1.25), ("clipped", 1.0)):
        durations = [one.duration for one in found[name].utterances(CORPUS)]
        assert durations == [one.duration / factor for one in CORPUS]
    clipped = found["clipped"].apply(SPEECH, "u1")
    assert float(clipped.abs().max() / SPEECH.abs().max()) == pytest.approx(10 ** (-12 / 20), abs=1e-3)


def test_the_generated_room_decays_in_its_time() -> None:
    """Schroeder's backward integral falls by 60 dB over the reverberation time: 30 dB between 5 and 35 dB in half."""
    energy = np.cumsum(generated_response()[1:][::-1].astype(float) ** 2)[::-1]
    level = 10.0 * np.log10(energy / energy[0])
    seconds = (np.argmax(level < -35.0) - np.argmax(level < -5.0)) / SAMPLE_RATE
    assert seconds == pytest.approx(RT60_SECONDS / 2, rel=0.1)
    impulse = torch.zeros(SAMPLE_RATE)
    impulse[100] = 0.5
    heard = named("reverb")["reverb"].apply(impulse, "u1")
    assert int(heard.abs().argmax()) == 100
    assert float(heard.norm()) == pytest.approx(0.5, rel=1e-2)


def test_measured_rooms(tmp_path: Path) -> None:
    audio.save(tmp_path / "room.wav", quantise(torch.tensor([0.0, 0.9, 0.0, 0.0, 0.3])))
    heard = named("reverb", rooms=tmp_path)["reverb"].apply(SPEECH, "u1")
    expected = SPEECH.clone()
    expected[3:] += SPEECH[:-3] / 3.0
    assert torch.allclose(heard, expected * (SPEECH.norm() / expected.norm()), atol=1e-3)


def test_where_nothing_is_said() -> None:
    found = named("silence,noise-only,empty")
    for name in ("silence", "noise-only", "empty"):
        condition = found[name]
        chosen = condition.utterances(CORPUS)
        assert not condition.used.speech
        assert {utterance.text for utterance in chosen} == {""}
        assert {utterance.id for utterance in chosen} <= {utterance.id for utterance in CORPUS}
    lengths = [utterance.duration for utterance in found["silence"].utterances(CORPUS)]
    assert (len(lengths), min(lengths), max(lengths)) == (20, 1.0, 7.0)
    assert not found["silence"].apply(SPEECH, "u1").any()
    assert found["empty"].apply(SPEECH, "u1").numel() == 0
    assert [one.duration for one in found["empty"].utterances(CORPUS)] == [0.0]
    assert [one.text for one in found["clean"].utterances(CORPUS)] == [one.text for one in CORPUS]


def test_clean_comes_first_and_once() -> None:
    assert list(named("noise:10, clean ,noise:10.0,reverb")) == ["clean", "noise:10", "reverb"]
    assert list(named("clean")) == ["clean"]
    assert len(named("default")) == 9 and len(named("all")) == 13


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("telefone", "did you mean telephone"),
        ("noise", "did you mean noise"),
        ("noise:loud", "a signal-to-noise ratio in dB from -20 to 60"),
        ("noise:inf", "-20 to 60"),
        ("speed:3", "0.5 to 2"),
        ("clean,all", "all cannot be combined"),
        (" , ", "is empty"),
        ("reverb:2", "is not a condition"),
    ],
)
def test_names_that_are_none(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        parse_conditions(text, seed=0, noise=None, rooms=None)


def test_a_folder_without_noise(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no audio file"):
        parse_conditions("noise:10", seed=0, noise=tmp_path, rooms=None)


@settings(max_examples=30)
@given(
    name=st.sampled_from(sorted(named("all"))),
    n_samples=st.integers(1, 5000),
    level=st.sampled_from([0.0, 1e-5, 0.5, 1.0]),
    utterance=st.text(max_size=5),
)
def test_any_waveform_stays_under_the_contract(name: str, n_samples: int, level: float, utterance: str) -> None:
    waveform = quantise(level * torch.ones(n_samples) * torch.tensor([1.0, -1.0]).repeat(n_samples)[:n_samples])
    heard = named("all")[name].apply(waveform, utterance)
    assert heard.dtype == torch.float32 and heard.ndim == 1
    assert torch.equal(quantise(heard), heard)
