"""Noise added at a drawn signal-to-noise ratio, from recordings or generated; the finding and caching of recordings."""

import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeAlias, TypeVar

import numpy as np
import torch

from preprocessing import audio
from preprocessing.audio import PCM_STEPS, SAMPLE_RATE, AudioError
from preprocessing.augment.base import (
    Augmentation,
    Range,
    Samples,
    amplitude_ratio,
    checked_number,
    checked_range,
    draw,
    draw_index,
    nearest,
    rms,
)
from preprocessing.corpus.readers.rows import AUDIO_SUFFIXES, files_below
from preprocessing.errors import UsageError

COLOURS = ("white", "pink")
PINK_FROM_HZ = 20.0  # pink noise is flat below: 1/f would put all of its power into inaudible drift
LONG_SECONDS = 120.0  # of a longer file only the drawn excerpt is decoded
PAUSE_DB = 30.0  # an excerpt that much below its clip's mean level is a pause of the noise
_PINK_BLOCK = 4096  # samples: generated lengths are multiples, so that no transform has a large prime length

Files: TypeAlias = str | Path | Sequence[str | Path]
Clip = TypeVar("Clip")


@dataclass(frozen=True)
class NoiseClip:
    """A decoded recording that is not silent."""

    samples: Samples
    rms: float
    loudest: int  # index of the sample with the largest magnitude


class Noise(Augmentation):
    """Noise added so that 20 log10(rms(speech) / rms(noise)), both over the whole waveform, is the drawn ratio.

    snr_db: the signal-to-noise ratio.
    files: a recording, a folder of them, or a list of both; one is drawn, then a place in it, looped where it is
        shorter than the speech. An excerpt that lies in a pause of the recording (30 dB below its mean level) begins at
        the loudest sample instead.
    colour: "white" or "pink" (power falling as 1/f from 20 Hz), generated, instead of files.
    cache_megabytes: decoded recordings kept in memory, in each worker.

    A silent waveform has no signal-to-noise ratio and stays silent.
    """

    name = "noise"

    def __init__(
        self,
        snr_db: Range = (5.0, 20.0),
        files: Files | None = None,
        colour: str | None = None,
        cache_megabytes: float = 256.0,
        probability: float = 1.0,
    ) -> None:
        super().__init__(probability)
        self.snr_db = checked_range(self.name, "snr_db", snr_db, -40.0, 100.0, "dB")
        self.cache_megabytes = checked_number(self.name, "cache_megabytes", cache_megabytes, 0.0, 1e6, "MB")
        if (files is None) == (colour is None):
            raise UsageError(
                f"augmentation noise: files is {files!r} and colour is {colour!r}; expected one of the two: "
                f"give recordings, or {' or '.join(COLOURS)}"
            )
        if colour is not None and colour not in COLOURS:
            raise UsageError(f"augmentation noise: colour is {colour!r}; {nearest(colour, COLOURS)}")
        self.files, self.colour = files, colour
        self._paths = [] if files is None else find_audio(self.name, files)
        self._clips = RecentClips(_read_noise, attrgetter("samples.nbytes"), int(self.cache_megabytes * 1e6))
        self._seconds: dict[Path, float] = {}
        self._long: dict[Path, LongNoise] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Sent to another process, it measures long recordings again: their samples are in files of this one."""
        return self.__dict__ | {"_long": {}}

    def transform(self, samples: Samples, generator: torch.Generator) -> Samples:
        ratio_db = draw(generator, *self.snr_db)
        noise = self.excerpt(samples.size, generator)
        level = rms(samples)
        if level == 0.0:
            return samples.copy()
        return samples + noise * np.float32(level / (rms(noise) * amplitude_ratio(ratio_db)))

    def excerpt(self, n_samples: int, generator: torch.Generator) -> Samples:
        """A drawn excerpt of the noise [n_samples], at a level above zero."""
        if self.colour is not None:
            return generated_noise(n_samples, self.colour, generator)
        path = self._paths[draw_index(generator, len(self._paths))]
        place = draw(generator, 0.0, 1.0)
        if path not in self._seconds:
            self._seconds[path] = audio.probe(path).duration
        if self._seconds[path] > LONG_SECONDS:
            if path not in self._long:
                self._long[path] = LongNoise.measured(path)
            return self._long[path].excerpt(path, place, n_samples)
        return _excerpt(self._clips[path], place, n_samples)


@dataclass(frozen=True)
class LongNoise:
    """A recording that is too long to be held: its seconds, level, and where its loudest sample is, in seconds.

    sample_rate: of the file. decoded: its samples in steps of 16-bit PCM [samples at 16 kHz], in a temporary file that
    has no name any more, where its decoder cannot seek and would decode all before an excerpt; else None.
    """

    seconds: float
    rms: float
    loudest: float
    sample_rate: int
    decoded: "np.memmap[Any, np.dtype[np.int16]] | None"

    @classmethod
    def measured(cls, path: Path) -> "LongNoise":
        """Read once, block by block. Raises AudioError where it is silent from end to end."""
        energy, peak, loudest, n_samples, kept = 0.0, 0.0, 0, 0, None
        with nullcontext() if audio.can_seek(path) else _samples_file(path) as file:
            for block in audio.stream(path):
                samples = block.numpy()
                energy += float(np.square(samples, dtype=np.float64).sum())
                place = int(np.abs(samples).argmax())
                if abs(samples[place]) > peak:
                    peak, loudest = float(abs(samples[place])), n_samples + place
                n_samples += samples.size
                if file is not None:
                    file.write((samples * PCM_STEPS).astype(np.int16).tobytes())
            if peak == 0.0:
                raise _silent(path)
            if file is not None:
                file.flush()
                kept = np.memmap(file, np.int16, "r")
        rate = audio.probe(path).sample_rate
        return cls(n_samples / SAMPLE_RATE, (energy / n_samples) ** 0.5, loudest / SAMPLE_RATE, rate, kept)

    def excerpt(self, path: Path, place: float, n_samples: int) -> Samples:
        """[n_samples], looped, from the share `place` of possible starts on; in a pause, from the loudest sample on."""
        wanted = n_samples / SAMPLE_RATE
        start = place * max(self.seconds - wanted, 0.0)
        found = self._read(path, start, n_samples)
        return (
            found if rms(found) >= self.rms * amplitude_ratio(-PAUSE_DB) else self._read(path, self.loudest, n_samples)
        )

    def _read(self, path: Path, start: float, n_samples: int) -> Samples:
        start = max(min(start, self.seconds - n_samples / SAMPLE_RATE), 0.0)
        stop = start + n_samples / SAMPLE_RATE
        if self.decoded is None:
            samples: Samples = audio.load(path, start=start, stop=stop).numpy()
        else:
            steps = np.asarray(self.decoded[self._sample_at(start) : self._sample_at(stop)])
            samples = steps.astype(np.float32) / np.float32(PCM_STEPS)
        return _looped(samples, 0, n_samples)

    def _sample_at(self, seconds: float) -> int:
        """The sample at 16 kHz that `audio.load` takes for a time: that nearest to the file's own sample."""
        return (2 * round(seconds * self.sample_rate) * SAMPLE_RATE + self.sample_rate) // (2 * self.sample_rate)


def generated_noise(n_samples: int, colour: str, generator: torch.Generator) -> Samples:
    """Gaussian noise [n_samples]: white at RMS 1, or pink at an arbitrary level."""
    if colour == "white":
        white: Samples = torch.randn(n_samples, generator=generator).numpy()
        return white
    n_drawn = -(-n_samples // _PINK_BLOCK) * _PINK_BLOCK
    spectrum = torch.randn(n_drawn // 2 + 1, dtype=torch.complex64, generator=generator).numpy()  # of white noise
    spectrum *= np.fft.rfftfreq(n_drawn, 1.0 / SAMPLE_RATE).clip(min=PINK_FROM_HZ) ** -0.5
    return np.fft.irfft(spectrum, n_drawn)[:n_samples].astype(np.float32, copy=False)


def find_audio(name: str, files: Files) -> list[Path]:
    """The audio files that `files` names, in an order that depends on their names alone.

    name: the augmentation, for messages. files: files, and folders, which are searched recursively, hidden files left
    out. Raises UsageError where one does not exist or none is audio.
    """
    listed = [files] if isinstance(files, (str, Path)) else files
    if not isinstance(listed, (list, tuple)) or not listed or not all(isinstance(one, (str, Path)) for one in listed):
        raise UsageError(f"augmentation {name}: files is {files!r}; expected a path or a list of paths: name one")
    found: list[Path] = []
    for path in map(Path, listed):
        if path.is_dir():
            below = (Path(child).relative_to(path) for child in files_below(str(path)))
            named = (child for child in below if child.suffix.lower() in AUDIO_SUFFIXES)
            shown = (child for child in named if not any(part.startswith(".") for part in child.parts))
            found.extend(path / child for child in sorted(shown, key=Path.as_posix))
        elif path.is_file():
            found.append(path)
        else:
            raise UsageError(
                f"augmentation {name}: files names {path}; expected a file or folder there: correct the path"
            )
    if not found:
        raise UsageError(f"augmentation {name}: no audio file in {files!r}; expected at least one: name another folder")
    return found


class RecentClips(Generic[Clip]):
    """A cache of `read(path)` for the most recently used paths, up to a bound on memory.

    read: decodes a path. n_bytes: the memory of a decoded clip. max_bytes: the bound; a larger clip is never kept.
    A copy that is sent to another process starts empty.
    """

    def __init__(self, read: Callable[[Path], Clip], n_bytes: Callable[[Clip], int], max_bytes: int) -> None:
        self._read = read
        self._n_bytes = n_bytes
        self._max_bytes = max_bytes
        self._clips: OrderedDict[Path, Clip] = OrderedDict()
        self.held_bytes = 0

    def __getitem__(self, path: Path) -> Clip:
        if path in self._clips:
            self._clips.move_to_end(path)
            return self._clips[path]
        clip = self._read(path)
        if self._n_bytes(clip) <= self._max_bytes:
            self._clips[path] = clip
            self.held_bytes += self._n_bytes(clip)
            while self.held_bytes > self._max_bytes:
                self.held_bytes -= self._n_bytes(self._clips.popitem(last=False)[1])
        return clip

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_clips": OrderedDict(), "held_bytes": 0}


def _excerpt(clip: NoiseClip, place: float, n_samples: int) -> Samples:
    """[n_samples] of the clip, looped, from the share `place` of the possible starts on."""
    size = clip.samples.size
    excerpt = _looped(clip.samples, int(place * (size - n_samples + 1 if size >= n_samples else size)), n_samples)
    if rms(excerpt) < clip.rms * amplitude_ratio(-PAUSE_DB):
        return _looped(clip.samples, clip.loudest, n_samples)
    return excerpt


def _looped(samples: Samples, first: int, n_samples: int) -> Samples:
    if first + n_samples <= samples.size:
        return samples[first : first + n_samples]
    return np.resize(np.roll(samples, -first), n_samples)


def _read_noise(path: Path) -> NoiseClip:
    samples: Samples = audio.load(path).numpy()
    if not samples.any():
        raise _silent(path)
    return NoiseClip(samples, rms(samples), int(np.abs(samples).argmax()))


@contextmanager
def _samples_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a temporary file for a recording's samples. Raises AudioError where it cannot be made or has no room."""
    try:
        with tempfile.TemporaryFile() as file:
            yield file
    except OSError as error:
        raise AudioError(
            f"{path}: its samples cannot be kept in a temporary file ({error.strerror}); expected room for 115 MB an "
            "hour, as its format cannot be sought in: set TMPDIR to another folder, or convert the file to FLAC"
        ) from None


def _silent(path: Path) -> AudioError:
    return AudioError(f"{path}: silent; expected noise: remove it from the augmentation's files")
