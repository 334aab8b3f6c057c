"""Noise at the ratio that was drawn, its spectrum, and how recordings are read."""

import functools
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from preprocessing import audio
from preprocessing.audio import SAMPLE_RATE, AudioError
from preprocessing.augment import Noise, from_config, seeded_generator
from preprocessing.augment.noise import LongNoise, RecentClips, generated_noise
from tests.known_sounds import chance, db, rms, tone, white


def measured_snr(clean: torch.Tensor, noisy: torch.Tensor) -> float:
    return db(rms(clean) / rms(noisy.double() - clean.double()))


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 10.0, 30.0])
@pytest.mark.parametrize("colour", ["white", "pink"])
def test_generated_noise_has_the_drawn_ratio(colour: str, snr_db: float) -> None:
    for n_samples in (1, 2, 777, 20_000):
        clean = tone(440.0, n_samples + 5)[5:]
        noisy = Noise(snr_db=snr_db, colour=colour)(clean, chance())
        assert measured_snr(clean, noisy) == pytest.approx(snr_db, abs=0.1)


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0])
def test_recorded_noise_has_the_drawn_ratio_also_on_the_16_bit_grid(
    speech: Path, utterances: list[torch.Tensor], snr_db: float
) -> None:
    chain = from_config([{"name": "noise", "files": str(speech / "noise"), "snr_db": snr_db}])
    for number in range(12):
        clean = utterances[number % 3] * 0.25  # leaves room: nothing is turned down at the end
        noisy = chain(clean, seeded_generator(0, number, "utterance"))
        assert measured_snr(clean, noisy) == pytest.approx(snr_db, abs=0.1)


def test_ratios_are_drawn_evenly_from_the_range() -> None:
    noise, clean, generator = Noise(snr_db=[5, 15], colour="white"), tone(440.0, 400), chance()
    drawn = [measured_snr(clean, noise(clean, generator)) for _ in range(400)]
    assert min(drawn) > 4.99 and max(drawn) < 15.01
    assert np.histogram(drawn, bins=4, range=(5, 15))[0].min() > 70  # 100 each; 70 is 3.5 sigma off


def test_pink_noise_has_equal_power_in_each_octave_and_white_twice_as_much_as_below() -> None:
    for colour, slope_db in (("pink", 0.0), ("white", 3.01)):
        noise = generated_noise(2**19, colour, chance()).astype(np.float64)
        power = np.abs(np.fft.rfft(noise)) ** 2
        hertz = np.fft.rfftfreq(noise.size, 1 / SAMPLE_RATE)
        octaves = [power[(hertz >= low) & (hertz < 2 * low)].sum() for low in (125, 250, 500, 1000, 2000)]
        assert np.diff(10 * np.log10(octaves)) == pytest.approx(slope_db, abs=0.3)


def test_noise_is_looped_when_short_and_cropped_when_long(tmp_path: Path) -> None:
    ramp = torch.arange(1, 101) / 256
    audio.save(tmp_path / "ramp.wav", ramp)
    noise = Noise(snr_db=0.0, files=str(tmp_path))
    for n_samples in (30, 100, 250):
        clean = white(n_samples)
        added = noise(clean, chance(3)) - clean
        levels = (added / added.max() * 100 if n_samples >= 100 else added / (added[1] - added[0])).round().int()
        steps = levels.diff()
        assert set(steps.tolist()) <= {1, -99} and (steps == -99).sum() <= math.ceil(n_samples / 100)


def test_a_pause_of_the_recording_is_not_amplified(tmp_path: Path) -> None:
    """The bark is a hundredth of the file; whatever place is drawn, the bark is in what is added."""
    barking = 1e-4 * white(100_000) / 0.1
    barking[60_000:61_000] = white(1000, seed=1) * 3
    audio.save(tmp_path / "dog.wav", barking)
    noise, clean = Noise(snr_db=10.0, files=[str(tmp_path / "dog.wav")]), tone(440.0, 2000)
    for seed in range(20):
        added = noise(clean, chance(seed)) - clean
        assert added.abs().max() > 3 * rms(added)


def test_silence_stays_silent() -> None:
    assert not Noise(snr_db=0.0, colour="pink")(torch.zeros(100), chance()).any()


def test_long_recordings_are_read_in_excerpts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("preprocessing.augment.noise.LONG_SECONDS", 1.0)
    recording = audio.quantise(white(10 * SAMPLE_RATE))
    audio.save(tmp_path / "long.flac", recording)
    clean = tone(440.0, 8000)
    added = Noise(snr_db=0.0, files=str(tmp_path))(clean, chance()) - clean
    scaled = added * (rms(recording) / rms(added))
    likeness = np.correlate(recording.numpy(), scaled.numpy()) / (8000 * rms(recording) ** 2)
    assert likeness.max() > 0.99


@pytest.mark.parametrize(
    ("name", "rate", "seeks"), [("long.flac", 22_050, True), ("long.mp3", 22_050, False), ("long.mp3", 16_000, False)]
)
def test_a_long_recording_that_cannot_be_sought_in_is_decoded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, rate: int, seeks: bool
) -> None:
    """Its excerpts are those of `load`, and another process decodes it for itself."""
    monkeypatch.setattr("preprocessing.augment.noise.LONG_SECONDS", 1.0)
    path = tmp_path / name
    soundfile.write(path, white(5 * rate).clamp(-1, 1).numpy(), rate)
    assert audio.can_seek(path) == seeks
    noise = Noise(snr_db=0.0, files=str(tmp_path))
    first = noise.excerpt(8000, chance())
    long = noise._long[path]
    opened = []
    load = audio.load
    monkeypatch.setattr(audio, "load", lambda *given, **kept: opened.append(given) or load(*given, **kept))
    for place in (0.0, 0.1234567, 0.7, 1.0):
        start = place * (long.seconds - 0.5)
        found = long.excerpt(path, place, 8000)
        expected = load(path, start=start, stop=start + 0.5).numpy()
        assert found.dtype == np.float32 and np.abs(found - expected).max() <= 1 / 2**15
    assert len(opened) == (4 if seeks else 0)
    if not seeks:
        for opening in ("/dev/full", tmp_path / "none" / "file"):  # no room, no folder
            monkeypatch.setattr("tempfile.TemporaryFile", functools.partial(open, opening, "wb"))
            with pytest.raises(AudioError, match=r"long\.mp3: its samples cannot be kept in .*: set TMPDIR"):
                LongNoise.measured(path)
        monkeypatch.undo()
        monkeypatch.setattr("preprocessing.augment.noise.LONG_SECONDS", 1.0)
    copy = pickle.loads(pickle.dumps(noise))
    assert not copy._long and np.array_equal(copy.excerpt(8000, chance()), first)


def test_a_long_recording_is_measured_over_all_its_blocks(tmp_path: Path) -> None:
    """An excerpt that would begin too late is its last one, whole."""
    recording = 0.1 * white(32 * SAMPLE_RATE)
    recording[31 * SAMPLE_RATE + 7] = 0.5  # in the second block
    audio.save(tmp_path / "long.flac", recording)
    long = LongNoise.measured(tmp_path / "long.flac")
    assert (long.seconds, long.loudest) == (32.0, 31.0 + 7 / SAMPLE_RATE)
    assert long.rms == pytest.approx(rms(recording), rel=1e-2)
    last = audio.load(tmp_path / "long.flac", start=31.0).numpy()
    assert np.array_equal(long._read(tmp_path / "long.flac", 31.9, SAMPLE_RATE), last)


@pytest.mark.parametrize("pause", [0.0, 1e-4])
def test_a_pause_of_a_long_recording_is_not_amplified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pause: float
) -> None:
    """Half of it is silent, or nearly: whatever place is drawn, noise is added, as of a short recording."""
    monkeypatch.setattr("preprocessing.augment.noise.LONG_SECONDS", 1.0)
    recording = torch.cat([white(5 * SAMPLE_RATE), pause * white(5 * SAMPLE_RATE)])
    audio.save(tmp_path / "long.wav", recording)
    noise = Noise(snr_db=10.0, files=str(tmp_path))
    for seed in range(20):
        found = torch.from_numpy(noise.excerpt(8000, chance(seed)))
        assert rms(found) > 0.03 * rms(recording)
    audio.save(tmp_path / "long.wav", torch.zeros(5 * SAMPLE_RATE))
    with pytest.raises(AudioError, match=r"long\.wav: silent; expected noise"):
        Noise(snr_db=10.0, files=str(tmp_path)).excerpt(8000, chance())


def test_recent_clips_stay_within_their_memory() -> None:
    read: list[Path] = []

    def decode(path: Path) -> bytes:
        read.append(path)
        return bytes(int(path.name))

    clips = RecentClips(decode, len, max_bytes=100)
    for name in ("40", "50", "40", "30", "40", "50", "200", "200"):
        assert len(clips[Path(name)]) == int(name) and clips.held_bytes <= 100
    assert [path.name for path in read] == ["40", "50", "30", "50", "200", "200"]  # 50 made room for 30; 200 never fits
