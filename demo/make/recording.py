"""From clean synthetic speech to a recording: level, margins, background noise, bandwidth, and the files of a corpus.

No reverberation and no other talkers. A corpus is an `audio` folder with manifests (one JSON object a line) beside it.
"""

import contextlib
import io
import json
import random
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

Waveform = npt.NDArray[np.float32]

SAMPLE_RATE = 16_000  # Hz, of every recording
TELEPHONE_RATE = 8_000  # Hz, whose half is the bandwidth of a telephone
PEAK = 0.9  # of full scale, never exceeded by the speech
SILENCE = 1e-3  # of full scale, below which the ends of the synthesiser's output are cut off
NOISE_FLOOR_HZ = 50.0  # the noise's spectrum is flat below
OPUS_COMPRESSION = 0.978  # about 11 kbit/s: libsndfile maps 0..1 to 256..6 kbit/s


@dataclass(frozen=True)
class Conditions:
    """How one utterance is recorded.

    `level_dbfs` is the RMS of the speech relative to full scale, `snr_db` that level over the noise's. The noise's
    power falls as 1 / f ** `noise_slope` (0 white, 1 pink, 2 brown). `telephone` leaves nothing above 4 kHz.
    """

    level_dbfs: float
    snr_db: float
    noise_slope: float
    noise_seed: int
    lead_seconds: float
    tail_seconds: float
    telephone: bool = False


def draw_conditions(rng: random.Random, snr_db: tuple[float, float], telephone_share: float = 0.0) -> Conditions:
    """Conditions with an SNR from `snr_db` (lowest, highest; decibels), by telephone with that probability."""
    return Conditions(
        level_dbfs=rng.uniform(-29.0, -21.0),
        snr_db=rng.uniform(*snr_db),
        noise_slope=rng.uniform(0.6, 1.4),
        noise_seed=rng.getrandbits(64),
        lead_seconds=rng.uniform(0.1, 0.3),
        tail_seconds=rng.uniform(0.1, 0.3),
        telephone=rng.random() < telephone_share,
    )


def coloured_noise(n_samples: int, slope: float, seed: int) -> Waveform:
    """Gaussian noise (n_samples,) at `SAMPLE_RATE` with an RMS of 1, whose power falls as 1 / f ** `slope`."""
    n_fft = 1 << max(n_samples - 1, 1).bit_length()  # a power of two: other lengths can take ten times as long
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(n_fft))
    frequencies = np.maximum(np.fft.rfftfreq(n_fft, 1 / SAMPLE_RATE), NOISE_FLOOR_HZ)
    noise = np.fft.irfft(spectrum * frequencies ** (-slope / 2), n_fft)[:n_samples]
    return np.asarray(noise / np.sqrt(np.mean(noise**2)), dtype=np.float32)


def record(speech: Waveform, speech_rate: int, conditions: Conditions) -> Waveform:
    """Record `speech` (n,) sampled at `speech_rate` Hz; returns (m,) at `SAMPLE_RATE`.

    Silence around the speech is cut, and then the margins of `conditions` added. Raises ValueError on silence.
    """
    loud = np.flatnonzero(np.abs(speech) > SILENCE)
    if not len(loud):
        raise ValueError("There is no speech to record: every sample is silent.")
    speech = soxr.resample(speech[loud[0] : loud[-1] + 1], speech_rate, SAMPLE_RATE)
    level = 10 ** (conditions.level_dbfs / 20)
    speech = speech * (level / np.sqrt(np.mean(speech**2)))
    speech = speech * min(1.0, PEAK / float(np.abs(speech).max()))
    margins = (round(conditions.lead_seconds * SAMPLE_RATE), round(conditions.tail_seconds * SAMPLE_RATE))
    noise_level = np.sqrt(np.mean(speech**2)) * 10 ** (-conditions.snr_db / 20)
    waveform = np.pad(speech, margins)
    waveform = waveform + noise_level * coloured_noise(len(waveform), conditions.noise_slope, conditions.noise_seed)
    if conditions.telephone:
        n_samples = len(waveform)
        narrow = soxr.resample(waveform, SAMPLE_RATE, TELEPHONE_RATE)
        wide = soxr.resample(narrow, TELEPHONE_RATE, SAMPLE_RATE)[:n_samples]
        waveform = np.pad(wide, (0, n_samples - len(wide)))
    return np.clip(waveform, -1.0, 1.0).astype(np.float32)


def encode(waveform: Waveform, suffix: str) -> bytes:
    """The file of a `waveform` (n,) at `SAMPLE_RATE`; `suffix` is `.flac` (lossless, 16 bit) or `.opus` (Ogg Opus).

    FLAC files of equal waveforms are equal; Opus files only decode to equal samples, since Ogg numbers its streams at
    random.
    """
    file = io.BytesIO()
    if suffix == ".opus":
        soundfile.write(file, waveform, SAMPLE_RATE, format="OGG", subtype="OPUS", compression_level=OPUS_COMPRESSION)
    else:
        soundfile.write(file, waveform, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return file.getvalue()


@dataclass(frozen=True)
class Utterance:
    """One line of a manifest; `audio` is a path relative to the manifest, with forward slashes."""

    id: str
    audio: str
    text: str
    speaker: str
    sex: str | None
    language: str
    domain: str
    duration: float  # seconds


def write_manifest(path: Path, utterances: Iterable[Utterance]) -> None:
    """Write one JSON object a line, without the fields that are None."""
    lines = ({key: value for key, value in asdict(one).items() if value is not None} for one in utterances)
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")


@contextlib.contextmanager
def new_corpus(folder: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `folder` only when the block ends well; nothing is left when it does not.

    Raises FileExistsError when `folder` already holds something.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is not empty: remove it, or name another folder.")
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "audio").mkdir(parents=True)
    try:
        yield partial
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
