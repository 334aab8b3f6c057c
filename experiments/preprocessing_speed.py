"""How fast are decoding, resampling and log-mel compared with openai-whisper, datasets and torchaudio?

Also measured: the gain from a second DataLoader worker, and the memory for a recording of three hours. Exit code 1
if a figure misses its target.
"""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from experiments.harness.command import run_experiment
from experiments.harness.figures import Comparison, Findings, measured_once, speed_up
from experiments.harness.rounds import WARM_UP_ROUNDS, Implementation, call_apart, measured_seconds, take_turns
from experiments.harness.speech import SpeechOptions, utterance_paths
from preprocessing.cli.options import run_command
from preprocessing.errors import InputError, counted

if TYPE_CHECKING:
    from torch import Tensor

DURATION = "2 minutes"
ROUNDS, QUICK_ROUNDS = 7, 2
BATCH = 8  # utterances that a worker hands over at once
WORKER_REPEATS = 12  # of the utterances, so that starting a worker counts little
SHORT_MINUTES, LONG_MINUTES, QUICK_LONG_MINUTES = 3, 180, 12
MAXIMUM_MEMORY_RATIO = 1.2  # of the long file beside the short one
MINIMUM_WHISPER, MINIMUM_DATASETS, MINIMUM_TORCHAUDIO, MINIMUM_TWO_WORKERS = 10.0, 3.0, 1.3, 1.7

Round: TypeAlias = Callable[[], object]


@dataclass(frozen=True)
class Config(SpeechOptions):
    """What is decoded."""


@dataclass(frozen=True)
class Question:
    """Implementations of one job: ours and its peers, with the ratio required beside each (None: not required)."""

    what: str
    ours: Implementation
    peers: Sequence[tuple[str, Implementation, float | None]]


def run(config: Config) -> Findings:
    """Time every implementation in turns and measure memory. Raises UsageError where there is no such speech."""
    paths = utterance_paths(config.data_dir, config.count)
    rounds = QUICK_ROUNDS if config.quick else ROUNDS
    comparisons: list[Comparison] = []
    missing: dict[str, str] = {}
    for question in QUESTIONS:
        peers = {name: peer for name, peer, _ in question.peers}
        turns = take_turns(question.what, {OURS: question.ours, **peers}, paths, WARM_UP_ROUNDS + rounds)
        seconds, reasons = measured_seconds(turns)
        if OURS in reasons:
            raise InputError(f"{question.what}: {reasons[OURS]}")
        missing |= reasons
        for name, _, minimum in question.peers:
            if name in seconds:
                comparisons.append(speed_up(question.what, name, seconds[OURS], seconds[name], minimum))
    comparisons.append(compare_memory(paths, QUICK_LONG_MINUTES if config.quick else LONG_MINUTES))
    settings = (
        f"{len(paths)} utterances, {counted(rounds, 'round')} after {WARM_UP_ROUNDS} of warm-up, a process each, one "
        "thread, wall-clock; milliseconds are of a round over all utterances"
    )
    return Findings("Files to features", settings, comparisons, missing)


def ours(paths: Sequence[Path]) -> Round:
    """Files decoded by `preprocessing.audio`, log-mel by `preprocessing.features`."""
    from preprocessing import audio
    from preprocessing.features import LogMel

    log_mel = LogMel()
    return lambda: [log_mel(audio.load(path)) for path in paths]


def openai_whisper(paths: Sequence[Path]) -> Round:
    """Its load_audio, which runs the ffmpeg program, and its log_mel_spectrogram."""
    import whisper

    if shutil.which("ffmpeg") is None:
        raise OSError("its load_audio needs the ffmpeg program: install ffmpeg")
    return lambda: [whisper.log_mel_spectrogram(whisper.load_audio(str(path))) for path in paths]


def datasets_padded(paths: Sequence[Path]) -> Round:
    """datasets' decoding, then WhisperFeatureExtractor as it comes: every utterance padded to 30 s."""
    return _datasets(paths, "max_length")


def datasets_unpadded(paths: Sequence[Path]) -> Round:
    """As `datasets_padded`, with only as many frames as the utterance has."""
    return _datasets(paths, "longest")


def _datasets(paths: Sequence[Path], padding: str) -> Round:
    import torchcodec  # noqa: F401  # what datasets decodes with: without it, the peer is named as missing
    from datasets import Audio, Dataset, disable_progress_bars
    from transformers import WhisperFeatureExtractor

    from preprocessing.audio import SAMPLE_RATE

    disable_progress_bars()
    rows = Dataset.from_dict({"audio": [str(path) for path in paths]})
    rows = rows.cast_column("audio", Audio(sampling_rate=SAMPLE_RATE))
    extract = WhisperFeatureExtractor()
    return lambda: [
        extract(row["audio"]["array"], sampling_rate=SAMPLE_RATE, return_tensors="pt", padding=padding) for row in rows
    ]


def our_log_mel(paths: Sequence[Path]) -> Round:
    """`preprocessing.features.LogMel` with its logarithm, on waveforms in memory."""
    from preprocessing.features import LogMel

    return _transform(LogMel(), paths)


def torchaudio_mel(paths: Sequence[Path]) -> Round:
    """MelSpectrogram at Whisper's settings, without the logarithm that ours includes."""
    from torchaudio.transforms import MelSpectrogram

    from preprocessing.audio import SAMPLE_RATE

    transform = MelSpectrogram(SAMPLE_RATE, n_fft=400, hop_length=160, n_mels=80, norm="slaney", mel_scale="slaney")
    return _transform(transform, paths)


def _transform(transform: "Callable[[Tensor], Tensor]", paths: Sequence[Path]) -> Round:
    from preprocessing import audio

    waveforms = [audio.load(path) for path in paths]
    return lambda: [transform(waveform) for waveform in waveforms]


def one_worker(paths: Sequence[Path]) -> Round:
    """A DataLoader with one worker process."""
    return _workers(paths, 1)


def two_workers(paths: Sequence[Path]) -> Round:
    """A DataLoader with two worker processes."""
    return _workers(paths, 2)


class LogMelFiles:
    """A map-style data set for a DataLoader: the log-mel of each file."""

    def __init__(self, paths: Sequence[Path]) -> None:
        from preprocessing.features import LogMel

        self._paths = list(paths)
        self._log_mel = LogMel()

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> "Tensor":
        from preprocessing import audio

        features: Tensor = self._log_mel(audio.load(self._paths[index]))
        return features


def _pad(log_mels: "Sequence[Tensor]") -> "Tensor":
    """[bins, frames] of each -> one batch [utterances, bins, longest], as training hands it over."""
    import torch
    from torch.nn.functional import pad

    longest = max(log_mel.shape[-1] for log_mel in log_mels)
    return torch.stack([pad(log_mel, (0, longest - log_mel.shape[-1])) for log_mel in log_mels])


def _workers(paths: Sequence[Path], count: int) -> Round:
    from torch.utils.data import DataLoader

    loader: DataLoader[Tensor] = DataLoader(
        LogMelFiles(list(paths) * WORKER_REPEATS),  # type: ignore[arg-type]
        batch_size=BATCH,
        collate_fn=_pad,
        num_workers=count,
        persistent_workers=True,
        prefetch_factor=8,
    )
    return lambda: [None for _ in loader]


OURS = "ours"
QUESTIONS = (
    Question(
        "files to log-mel",
        ours,
        (
            ("openai-whisper", openai_whisper, MINIMUM_WHISPER),
            ("datasets, WhisperFeatureExtractor", datasets_padded, MINIMUM_DATASETS),
            ("the same, unpadded", datasets_unpadded, None),
        ),
    ),
    Question("log-mel alone", our_log_mel, (("torchaudio, no logarithm", torchaudio_mel, MINIMUM_TORCHAUDIO),)),
    Question("two workers", two_workers, (("one worker", one_worker, MINIMUM_TWO_WORKERS),)),
)


def compare_memory(paths: Sequence[Path], long_minutes: int) -> Comparison:
    """Peak memory of streaming a long recording beside one of three minutes, both made of the utterances."""
    import numpy as np
    import soundfile

    from preprocessing import audio

    speech = np.concatenate([audio.load(path).numpy() for path in paths])
    minute = np.resize(speech, 60 * audio.SAMPLE_RATE)
    with tempfile.TemporaryDirectory() as folder:
        peaks = []
        for minutes in (long_minutes, SHORT_MINUTES):
            path = Path(folder) / f"{minutes}.flac"
            with soundfile.SoundFile(path, "w", audio.SAMPLE_RATE, 1, "PCM_16") as file:
                for _ in range(minutes):
                    file.write(minute)
            peaks.append(call_apart(f"memory of {minutes} minutes", stream_through_log_mel, path) / 1e6)
    long, short = peaks
    what = f"memory, {long_minutes / 60:g} h streamed"
    return measured_once(
        what,
        f"{SHORT_MINUTES} min",
        ours=long,
        theirs=short,
        unit="MB",
        advantage=long / short,
        advantage_unit="x",
        maximum=MAXIMUM_MEMORY_RATIO,
    )


def stream_through_log_mel(path: Path) -> int:
    """Stream a file through log-mel in this process; returns the process's peak of resident memory in bytes."""
    import torch

    from benchmark.worker.resources import peak_memory_bytes
    from preprocessing import audio
    from preprocessing.features import LogMel

    torch.set_num_threads(1)
    log_mel = LogMel()
    for block in audio.stream(path):
        if len(block) > audio.SAMPLE_RATE:
            log_mel(block)
    return peak_memory_bytes()


def main(arguments: Sequence[str] | None = None) -> None:
    run_experiment(Config, run, __doc__, __file__, arguments)


if __name__ == "__main__":
    run_command(main)
