"""Chains: the same samples for a seed wherever they are drawn, configurations, and what is refused."""

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset

from preprocessing import audio
from preprocessing.augment import (
    AUGMENTATIONS,
    Augmentation,
    Chain,
    Gain,
    Noise,
    from_config,
    scaled_length,
    seeded_generator,
)
from preprocessing.augment.noise import find_audio
from preprocessing.errors import InputError, UsageError
from tests.known_sounds import HIGHEST, chance, tone, voiced, white

EVERYTHING: list[dict[str, Any]] = [
    {"name": "time_shift", "shift_seconds": [-0.1, 0.1]},
    {"name": "speed", "factors": [0.9, 1.0, 1.1]},
    {"name": "tempo", "factor": [0.9, 1.1], "probability": 0.7},
    {"name": "pitch", "semitones": [-2, 2], "probability": 0.7},
    {"name": "noise", "colour": "pink", "snr_db": [0, 20]},
    {"name": "gain", "gain_db": [-6, 12]},
    {"name": "clipping", "depth_db": [3, 9], "probability": 0.5},
    {"name": "telephone", "probability": 0.5},
]


def with_files(speech: Path) -> list[dict[str, Any]]:
    recorded = [{"name": "reverb", "files": [speech / "rir"]}, {"name": "noise", "files": str(speech / "noise")}]
    return EVERYTHING[:4] + recorded + EVERYTHING[4:]


class Augmented(Dataset[tuple[str, torch.Tensor]]):
    def __init__(self, chain: Chain, waveforms: list[torch.Tensor]) -> None:
        self.chain, self.waveforms = chain, waveforms

    def __len__(self) -> int:
        return len(self.waveforms)

    def __getitem__(self, index: int) -> tuple[str, torch.Tensor]:
        id = f"utterance-{index}"
        return id, self.chain(self.waveforms[index], seeded_generator(7, 2, id))


def test_same_seed_same_samples_whatever_the_workers_threads_and_order(
    speech: Path, utterances: list[torch.Tensor]
) -> None:
    waveforms = [*utterances, *(voice[:20_000] for voice in utterances)]
    dataset = Augmented(from_config(with_files(speech)), waveforms)
    alone = dict(dataset[index] for index in range(len(dataset)))
    backwards = dict(dataset[index] for index in reversed(range(len(dataset))))
    shuffled = dict(DataLoader(dataset, batch_size=None, num_workers=2, shuffle=True, generator=chance(1)))
    threads = torch.get_num_threads()
    torch.set_num_threads(4 if threads == 1 else 1)
    other_threads = dict(dataset[index] for index in range(len(dataset)))
    torch.set_num_threads(threads)
    for id, waveform in alone.items():
        for other in (backwards, shuffled, other_threads):
            assert torch.equal(waveform, other[id])
    assert not torch.equal(alone["utterance-0"], dataset.chain(waveforms[0], seeded_generator(7, 3, "utterance-0")))
    assert not torch.equal(alone["utterance-0"], dataset.chain(waveforms[0], seeded_generator(8, 2, "utterance-0")))


def test_every_part_of_a_seed_counts_by_itself() -> None:
    seeds = {seeded_generator(*parts).initial_seed() for parts in ((1, 11), (11, 1), (111,), (1, 1, 1), ("1", "12"))}
    assert len(seeds) == 5


def test_chance_comes_from_the_generator_alone() -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    from_config(EVERYTHING)(white(3000), chance())
    assert torch.equal(before[0], torch.get_rng_state()) and np.array_equal(before[1], np.random.get_state()[1])


def test_probability_is_the_share_of_waveforms_changed() -> None:
    gain, generator = Gain(gain_db=6.0, probability=0.3), chance()
    changed = sum(not torch.equal(gain(white(10), generator), white(10)) for _ in range(1000))
    assert 250 < changed < 350
    assert Gain(gain_db=6.0, probability=0.0)(white(10), generator).equal(white(10))


def test_a_chain_survives_pickling(speech: Path) -> None:
    chain = from_config(with_files(speech))
    sent = pickle.loads(pickle.dumps(chain))
    for seed in range(3):
        assert torch.equal(sent(voiced(120.0), chance(seed)), chain(voiced(120.0), chance(seed)))


def test_a_chain_without_what_changes_the_duration_keeps_it(speech: Path) -> None:
    entries, voice = with_files(speech), voiced(120.0)
    kept = from_config(entries).keeping_duration()
    assert [augmentation.name for augmentation in kept.augmentations] == [
        entry["name"] for entry in entries if entry["name"] not in ("speed", "tempo")
    ]
    for seed in range(3):
        assert kept(voice, chance(seed)).shape == voice.shape


def test_noises_are_all_audio_below_a_folder_also_behind_links(tmp_path: Path) -> None:
    """Not what is hidden: macOS puts ._ files into its archives."""
    for name in ("noises/hum.wav", "noises/deep/rain.AAC", "elsewhere/sea.sph"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"R")
    for name in ("about.txt", "._hum.wav", ".trash/old.wav"):
        (tmp_path / "noises" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "noises" / name).write_bytes(b"\0\5\26\7")
    (tmp_path / "noises" / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    noises = tmp_path / "noises"
    assert find_audio("noise", str(noises)) == [
        noises / name for name in ("deep/rain.AAC", "hum.wav", "linked/sea.sph")
    ]
    assert find_audio("noise", [noises / "hum.wav", noises / "linked"]) == [
        noises / "hum.wav",
        noises / "linked" / "sea.sph",
    ]


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"name": "gain"}, "expected a list"),
        (["gain"], "no name"),
        ([{"name": "gian"}], "did you mean 'gain'"),
        ([{"name": ["gain"]}], "unknown name"),
        ([{"name": "speed", "factor": [1.1]}], "did you mean 'factors'"),
        ([{"name": "speed", "factors": []}], "at least one"),
        ([{"name": "speed", "factors": [1.1, 3]}], "from 0.5 to 2"),
        ([{"name": "noise"}], "one of the two"),
        ([{"name": "noise", "colour": "pinkish"}], "did you mean 'pink'"),
        ([{"name": "noise", "colour": "pink", "snr_db": [20, 5]}], "swap the two"),
        ([{"name": "noise", "colour": "pink", "snr_db": [5, 10, 15]}], "[low, high]"),
        ([{"name": "noise", "files": "nowhere"}], "correct the path"),
        ([{"name": "noise", "files": 3}], "expected a path"),
        ([{"name": "reverb"}], "no files"),
        ([{"name": "gain", "gain_db": "loud"}], "'loud'"),
        ([{"name": "gain", "gain_db": math.nan}], "nan"),
        ([{"name": "gain", "probability": True}], "True"),
        ([{"name": "gain", "probability": 1.5}], "from 0 to 1"),
        ([{"name": "gain", "root": "/"}], "unknown key 'root'"),
    ],
)
def test_wrong_configurations_are_refused_with_a_sentence(entries: object, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        from_config(entries)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_wrong_files_are_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no audio file"):
        from_config([{"name": "noise", "files": str(tmp_path)}])
    audio.save(tmp_path / "silent.wav", torch.zeros(100))
    for name in ("noise", "reverb"):
        with pytest.raises(InputError, match="silen"):
            from_config([{"name": name, "files": str(tmp_path / "silent.wav")}])(white(10), chance())
    with pytest.raises(ValueError, match="float32"):
        Chain([])(torch.zeros(2, 3), chance())


def test_what_is_too_loud_is_turned_down_as_a_whole() -> None:
    loud = from_config([{"name": "gain", "gain_db": 20}])(tone(440.0, level=0.5), chance())
    assert loud.abs().max() == HIGHEST
    assert (loud - HIGHEST * tone(440.0, level=1.0)).abs().max() <= 1 / 32768
    below = torch.tensor([0.1, -0.4, 0.05])  # whose peak is below zero
    assert torch.allclose(from_config([{"name": "gain", "gain_db": 20}])(below, chance()), below * 2.5, atol=1e-4)
    grid = torch.tensor([-1.0, 0.5, HIGHEST])
    assert torch.equal(Chain([])(grid, chance()), grid)  # within full scale nothing changes


@st.composite
def chains(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Any augmentations that need no files, in any order, each of them certain."""

    def span(key: str, low: float, high: float) -> dict[str, list[float]]:
        bounds = st.floats(low, high, allow_subnormal=False)
        return {key: sorted([draw(bounds), draw(bounds)])}

    entries = {
        "time_shift": lambda: span("shift_seconds", -10.0, 10.0),
        "speed": lambda: {"factors": [draw(st.floats(0.5, 2.0))]},
        "tempo": lambda: {"factor": draw(st.floats(0.5, 2.0))},
        "pitch": lambda: span("semitones", -12.0, 12.0),
        "noise": lambda: {"colour": draw(st.sampled_from(["white", "pink"]))} | span("snr_db", -40.0, 100.0),
        "gain": lambda: span("gain_db", -60.0, 60.0),
        "clipping": lambda: span("depth_db", 0.0, 60.0),
        "telephone": dict,
    }
    assert set(entries) == set(AUGMENTATIONS) - {"reverb"}
    return [{"name": name} | entries[name]() for name in draw(st.lists(st.sampled_from(sorted(entries)), max_size=4))]


@settings(max_examples=150)
@given(chains(), st.integers(1, 3000), st.sampled_from(["silence", "noise", "square", "click"]), st.integers(0, 99))
def test_any_chain_gives_finite_samples_on_the_grid_as_many_as_the_formula_says(
    entries: list[dict[str, Any]], n_samples: int, kind: str, seed: int
) -> None:
    waveform = {
        "silence": torch.zeros(n_samples),
        "noise": audio.quantise(white(n_samples)),
        "square": torch.where(torch.arange(n_samples) // 40 % 2 == 0, HIGHEST, -1.0),
        "click": torch.nn.functional.pad(torch.ones(1) * HIGHEST, (0, n_samples - 1)),
    }[kind]
    given_samples = waveform.clone()
    heard = from_config(entries)(waveform, chance(seed))
    expected = n_samples
    for entry in entries:
        if entry["name"] in ("speed", "tempo"):
            expected = scaled_length(expected, entry.get("factor") or entry["factors"][0])
    assert heard.dtype == torch.float32 and heard.shape == (expected,)
    assert torch.equal(waveform, given_samples)
    assert heard.isfinite().all() and heard.min() >= -1.0 and heard.max() <= HIGHEST
    assert torch.equal(heard, audio.quantise(heard))
    if kind == "silence":
        assert not heard.any()


def test_every_augmentation_prints_its_parameters() -> None:
    for kind in AUGMENTATIONS.values():
        assert issubclass(kind, Augmentation)
    assert "snr_db=(0.0, 5.0)" in repr(Noise(snr_db=[0, 5], colour="white"))
