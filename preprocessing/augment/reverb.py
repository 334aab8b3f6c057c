"""Reverberation by room impulse responses: measured ones from files, or one that is generated."""

import math
from operator import attrgetter
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch

from preprocessing import audio
from preprocessing.audio import SAMPLE_RATE, AudioError
from preprocessing.augment.base import Augmentation, FixedFilter, Samples, checked_number, draw_index, rms
from preprocessing.augment.noise import Files, RecentClips, find_audio

RT60_SECONDS = 0.6  # a furnished office
DIRECT_TO_REVERBERANT_DB = 0.0  # the speaker some two metres away
_SEED = 60


class Reverb(Augmentation):
    """The reverberation of a measured room: convolution with a drawn impulse response.

    The direct path, the response's largest magnitude, has no delay, so that labels stay aligned. The energy is that of
    the input. Reverberation beyond the end is cut off.

    files: an impulse response, a folder of them, or a list of both. Of several channels the first is used: the mean of
        several microphones is the response of no room.
    cache_megabytes: responses kept in memory, in each worker.
    """

    name = "reverb"

    def __init__(self, files: Files, cache_megabytes: float = 64.0, probability: float = 1.0) -> None:
        super().__init__(probability)
        self.cache_megabytes = checked_number(self.name, "cache_megabytes", cache_megabytes, 0.0, 1e6, "MB")
        self.files = files
        self._paths = find_audio(self.name, files)
        self._rooms: RecentClips[FixedFilter] = RecentClips(
            _read_room, attrgetter("n_bytes"), int(self.cache_megabytes * 1e6)
        )

    def transform(self, samples: Samples, generator: torch.Generator) -> Samples:
        room = self._rooms[self._paths[draw_index(generator, len(self._paths))]]
        return _reverberant(samples, room)


class GeneratedRoom(Augmentation):
    """The reverberation of one generated room, always the same; energy and length are those of the input."""

    name = "generated_room"

    def __init__(self) -> None:
        super().__init__()
        self._room = FixedFilter(generated_response(), delay=0)

    def transform(self, samples: Samples, generator: torch.Generator) -> Samples:
        return _reverberant(samples, self._room)


def read_response(path: Path) -> Samples:
    """The impulse response [taps] of a file at 16 kHz: its first channel, floats not rounded or clipped, no silent end.

    Raises AudioError where the file is missing, is no audio or is silent.
    """
    audio.probe(path)
    try:
        channels, sample_rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError:
        channels, sample_rate = audio.load(path).numpy()[:, None], SAMPLE_RATE
    response: Samples = channels[:, 0]
    if sample_rate != SAMPLE_RATE:
        response = soxr.resample(response, sample_rate, SAMPLE_RATE, quality="VHQ")
    sounding = np.flatnonzero(response)
    if sounding.size == 0 or not np.isfinite(response).all():
        raise AudioError(f"{path}: holds silence or NaN; expected an impulse response: export it again")
    until_silence: Samples = response[: sounding[-1] + 1]
    return until_silence


def generated_response() -> Samples:
    """The impulse response [taps] of GeneratedRoom: 1 at time zero, then noise that falls by 60 dB in RT60_SECONDS."""
    n_taps = round(RT60_SECONDS * SAMPLE_RATE)
    noise = np.random.default_rng(_SEED).standard_normal(n_taps)
    tail = noise * np.exp(-3.0 * math.log(10.0) * np.arange(n_taps) / n_taps)
    tail[0] = 0.0
    tail *= 10 ** (-DIRECT_TO_REVERBERANT_DB / 20) / np.linalg.norm(tail)
    tail[0] = 1.0
    response: Samples = tail.astype(np.float32)
    return response


def _reverberant(samples: Samples, room: FixedFilter) -> Samples:
    """The samples as they sound in a room, at their own energy."""
    reverberant = room(samples)
    level = rms(reverberant)
    return reverberant * np.float32(rms(samples) / level) if level else samples.copy()


def _read_room(path: Path) -> FixedFilter:
    response = read_response(path)
    return FixedFilter(response, delay=int(np.abs(response).argmax()))
