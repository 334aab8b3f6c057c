"""Silero's own network and hysteresis as oracles; a partition whatever the speech; real speech, noise and silence."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from preprocessing import audio
from preprocessing.errors import InputError, UsageError
from preprocessing.segment import voice_activity as network
from preprocessing.segment.voice_activity import (
    LOWEST_LEVEL_DB,
    WINDOW,
    Span,
    detector_gain,
    level_db,
    load_silero,
    silero_weights,
    spans_from_probabilities,
    speech_spans,
    split_at_pauses,
)
from tests.conftest import ROOT, read_manifest

RATE = 16_000


def covered(spans: list[Span], n_samples: int) -> np.ndarray:
    mask = np.zeros(n_samples, dtype=bool)
    for span in spans:
        mask[span.start : span.stop] = True
    return mask


@pytest.mark.parametrize("n_samples", [1, 511, 512, 513, 100_000])
def test_probabilities_are_those_of_the_wheels_own_network(n_samples: int, speech: Path) -> None:
    waveform = audio.load(speech / "long-form" / "7367-86737.opus", stop=7.0)[:n_samples]
    whole_windows = torch.nn.functional.pad(waveform, (0, -n_samples % WINDOW))  # theirs refuses less than one
    theirs = torch.jit.load(silero_weights()).audio_forward(whole_windows[None], RATE)[0]
    assert (load_silero()(waveform) - theirs).abs().max() < 1e-4


def test_blocks_change_nothing(speech: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waveform = audio.load(speech / "long-form" / "7367-86737.opus", stop=7.0)
    whole, cuts, level = load_silero()(waveform), split_at_pauses(waveform, 2.0), level_db(waveform)
    monkeypatch.setattr(network, "BLOCK_WINDOWS", 17)
    assert (load_silero()(waveform) - whole).abs().max() < 1e-5
    assert split_at_pauses(waveform, 2.0) == cuts and level_db(waveform) == level


@pytest.mark.parametrize("n_samples", [1, 511, 512, 513, 5 * WINDOW, 5 * WINDOW + 1])
def test_windows_are_copied_at_the_ends_alone(n_samples: int) -> None:
    waveform = torch.arange(1.0, n_samples + 1.0)
    count = -(-n_samples // WINDOW)
    padded = torch.nn.functional.pad(waveform, (64, count * WINDOW - n_samples))
    assert torch.equal(network._windows(waveform, 0, count), padded.unfold(0, WINDOW + 64, WINDOW))
    if n_samples > 4 * WINDOW:
        inner = network._windows(waveform, 1, 4)
        assert torch.equal(inner, padded.unfold(0, WINDOW + 64, WINDOW)[1:4])
        assert inner.untyped_storage().data_ptr() == waveform.untyped_storage().data_ptr()


@pytest.mark.slow
def test_spans_are_those_of_the_wheels_own_hysteresis() -> None:
    """In a process of its own, as importing the package sets torch to one thread."""
    check = """
import random, silero_vad
from preprocessing.segment.voice_activity import spans_from_probabilities
draw = random.Random(0)
for trial in range(600):
    threshold = draw.choice([0.1, 0.3, 0.5, 0.9])
    level, judged = 0.5, []
    for _ in range(draw.randint(0, 120)):
        level = min(1.0, max(0.0, level + draw.gauss(0.0, 0.3))) if draw.random() < 0.7 else draw.choice([0.0, 1.0])
        judged.append(level)
    n = max(0, 512 * len(judged) - draw.choice([0, 0, 1, 300, 511]))
    theirs = silero_vad.get_speech_timestamps_from_probs(judged, threshold=threshold, audio_length_samples=n)
    ours = spans_from_probabilities(judged, n, threshold=threshold)
    assert [(s["start"], s["end"]) for s in theirs] == [(s.start, s.stop) for s in ours], trial
print("alike")
"""
    ran = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert ran.stdout == "alike\n", ran.stderr


def test_torch_keeps_its_threads() -> None:
    check = (
        "import torch; torch.set_num_threads(2); from preprocessing.segment.voice_activity import load_silero;"
        "load_silero(); import sys; print(torch.get_num_threads(), 'silero_vad' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert ran.stdout == "2 False\n", ran.stderr


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.integers(1, 90), st.sampled_from([0.0, 0.0, 0.4, 1.0])), max_size=10),
    st.integers(0, 511),
    st.floats(0.5, 6.0),
    st.booleans(),
)
def test_pieces_are_a_partition_whatever_the_speech(
    runs: list[tuple[int, float]], short_of: int, max_seconds: float, silent: bool
) -> None:
    judged = torch.tensor([level for count, level in runs for _ in range(count)])
    n_samples = max(0, WINDOW * len(judged) - short_of)
    waveform = torch.zeros(n_samples) if silent else torch.randn(n_samples, generator=torch.Generator().manual_seed(1))
    spans = spans_from_probabilities(judged.tolist(), n_samples)
    found = split_at_pauses(waveform, max_seconds, speech=spans)
    edges = [edge for piece in found for edge in (piece.start, piece.stop)]
    assert edges[1:-1:2] == edges[2::2]
    assert ([edges[0], edges[-1]] if edges else [0, 0]) == [0, n_samples]
    assert all(0 < piece.stop - piece.start <= max_seconds * RATE for piece in found)
    speech = covered(spans, n_samples)
    assert [piece.speech for piece in found] == [bool(speech[piece.start : piece.stop].any()) for piece in found]


def judge(*runs: tuple[float, float]) -> tuple[Tensor, list[Span]]:
    """Noise and its stretches of speech from (seconds, probability)."""
    judged = [level for seconds, level in runs for _ in range(round(seconds * RATE / WINDOW))]
    waveform = torch.randn(len(judged) * WINDOW, generator=torch.Generator().manual_seed(0))
    return waveform, spans_from_probabilities(judged, len(waveform))


def test_cuts_are_in_the_middle_of_the_longest_late_pause() -> None:
    waveform, spans = judge((6.4, 1.0), (0.64, 0.0), (2.56, 1.0), (0.32, 0.0), (6.4, 1.0))
    first, second = split_at_pauses(waveform, 10.0, speech=spans)
    assert abs(first.stop - 6.72 * RATE) <= 1
    assert second.start == first.stop


def test_an_early_pause_is_better_than_a_cut_word_and_the_quietest_place_better_than_any() -> None:
    waveform, spans = judge((3.2, 1.0), (0.64, 0.0), (12.8, 1.0))
    assert abs(split_at_pauses(waveform, 10.0, speech=spans)[0].stop - 3.52 * RATE) <= 1
    waveform, spans = judge((16.0, 1.0))
    waveform[round(7.3 * RATE) : round(7.4 * RATE)] *= 0.01
    assert abs(split_at_pauses(waveform, 10.0, speech=spans)[0].stop - 7.35 * RATE) < 0.03 * RATE


def test_pieces_of_a_long_silence_are_flagged() -> None:
    waveform, spans = judge((3.2, 1.0), (64.0, 0.0), (3.2, 1.0))
    flags = [piece.speech for piece in split_at_pauses(waveform, 10.0, speech=spans)]
    assert flags[0] and flags[-1] and not any(flags[1:-1]) and len(flags) >= 7


def test_a_real_chapter_is_cut_in_its_pauses(speech: Path) -> None:
    """119 segments with true times; the first quarter of the 26 minutes, for time."""
    (row,) = read_manifest(speech / "long-form" / "test.jsonl")
    stop = 400.0
    waveform = audio.load(speech / "long-form" / row["audio"], stop=stop)
    spoken = np.zeros(len(waveform), dtype=bool)
    for part in row["segments"]:
        spoken[round(part["start"] * RATE) : round(part["end"] * RATE)] = True
    speech_here = covered(speech_spans(waveform), len(waveform))
    assert (speech_here & spoken).sum() / spoken.sum() > 0.8  # the segments hold pauses of their own
    assert (speech_here & ~spoken).sum() / (~spoken).sum() < 0.05
    pieces = split_at_pauses(waveform, 20.0)
    assert all(piece.speech and piece.stop - piece.start <= 20 * RATE for piece in pieces)
    cuts = [piece.start for piece in pieces[1:]]
    assert not speech_here[cuts].any()
    power = waveform.unfold(0, 800, 800).square().mean(dim=1)
    assert np.median([float(power[cut // 800]) for cut in cuts]) < 0.01 * float(power.mean())


def test_quiet_speech_is_found_and_not_cut(speech: Path) -> None:
    """A peak of -53 dBFS: a recorder's gain at its lowest. Clicks at full scale make it no louder."""
    waveform = audio.load(speech / "long-form" / "7367-86737.opus", stop=100.0)
    assert detector_gain(waveform) == 1.0
    usual = covered(speech_spans(waveform), len(waveform))
    quiet = audio.quantise(waveform * 10 ** (-50 / 20))
    clicks = quiet.clone()
    clicks[:: 20 * RATE] = 0.99
    for recording in (quiet, clicks):
        assert detector_gain(recording) > 10.0
        found = covered(speech_spans(recording), len(recording))
        assert (found & usual).sum() > 0.95 * usual.sum()
        assert (found & ~usual).sum() < 0.03 * (~usual).sum()
        pieces = split_at_pauses(recording, 20.0)
        assert not usual[[piece.start for piece in pieces[1:]]].any()
        assert all(piece.speech for piece in pieces)


@pytest.mark.parametrize(("recording_db", "gain_db"), [(0, 0), (-40, 0), (-41, 1), (-70, 30), (-95, 50), (-300, 50)])
def test_a_waveform_is_raised_to_the_lowest_level(recording_db: float, gain_db: float) -> None:
    """Of 100 windows the loudest is passed over: one window in 100 is no speech."""
    waveform = torch.full((100 * WINDOW,), 10 ** (recording_db / 20))
    waveform[3 * WINDOW : 4 * WINDOW] = 1.0
    assert 20 * np.log10(detector_gain(waveform)) == pytest.approx(gain_db, abs=1e-3)
    assert level_db(waveform) == pytest.approx(recording_db, abs=1e-3)
    assert LOWEST_LEVEL_DB == -40.0


def test_a_part_of_a_recording_is_raised_as_the_recording_is(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Tensor] = []

    def detector(waveform: Tensor) -> Tensor:
        given.append(waveform)
        return torch.zeros(-(-len(waveform) // WINDOW))

    monkeypatch.setattr(network, "load_silero", lambda: detector)
    waveform = torch.full((WINDOW,), 0.001)
    speech_spans(waveform, gain=2.0)
    speech_spans(waveform)
    assert torch.equal(given[0], waveform * 2.0)
    assert given[1].numpy() == pytest.approx(0.01, rel=1e-5)


def test_noise_that_is_raised_is_hardly_speech(speech: Path) -> None:
    """Recordings of rain, sea, clocks, dogs and the like, 50 dB quieter than they are."""
    recordings = [audio.load(path) for path in sorted((speech / "noise").glob("*.ogg"))]
    quiet = [audio.quantise(recording * 10 ** (-50 / 20)) for recording in recordings]
    assert sum(detector_gain(recording) > 1.0 for recording in quiet) == 60
    spans = [speech_spans(recording) for recording in quiet]
    share = sum(span.stop - span.start for found in spans for span in found) / sum(map(len, recordings))
    assert share < 0.01 and sum(not found for found in spans) >= 57


def test_noise_and_silence_are_hardly_speech(speech: Path) -> None:
    recordings = [audio.load(path) for path in sorted((speech / "noise").glob("*.ogg"))]
    spans = [speech_spans(recording) for recording in recordings]
    assert len(recordings) == 60
    share = sum(span.stop - span.start for found in spans for span in found) / sum(map(len, recordings))
    assert share < 0.02
    assert sum(not found for found in spans) >= 54
    for level in (0.0, 0.00003, 0.0001, 0.001, 0.1):
        waveform = level * torch.randn(5 * RATE, generator=torch.Generator().manual_seed(0))
        assert speech_spans(waveform) == []
        assert [piece.speech for piece in split_at_pauses(waveform, 2.0)] == [False] * len(
            split_at_pauses(waveform, 2.0)
        )


def test_wrong_use_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"max_seconds is 0\.1"):
        split_at_pauses(torch.zeros(100), 0.1)
    with pytest.raises(UsageError, match=r"threshold is 0; expected one above 0 and up to 1"):
        spans_from_probabilities([0.5], 512, threshold=0.0)
    monkeypatch.setattr(network, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install silero-vad"):
        silero_weights()
