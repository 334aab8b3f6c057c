"""`python -m experiments.preprocessing_speed [--json FILE]`: decoding and features beside what people use, in one run."""

import multiprocessing
import shutil
import tempfile
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from torch import Tensor

from experiments.harness.figures import Figure, Missing, at_most, report, speed_up
from experiments.harness.rounds import WARM_UP_ROUNDS, Absent, Contender, seconds_of
from experiments.harness.speech import PeersConfig, manifest_paths
from preprocessing.audio import SAMPLE_RATE
from preprocessing.cli.options import parse_command, run_command

DESCRIPTION = (
    "Decoding, resampling and log-mel beside openai-whisper, datasets and torchaudio; workers; memory for long files. "
    "Exit 1 where a figure falls short."
)


def main() -> None:
    config = parse_command(PeersConfig, program="python -m experiments.preprocessing_speed", description=DESCRIPTION)

    measure(config)


ROUNDS = 7
BESIDE_WHISPER, BESIDE_DATASETS, BESIDE_TORCHAUDIO, BESIDE_ONE_WORKER = 10.0, 3.0, 1.3, 1.7
LONG_MEMORY = 1.2  # times the memory of a file a sixtieth as long
SHORT_MINUTES, LONG_MINUTES = 3, 180
BATCH = 8  # utterances that a worker hands over at once
WORKER_REPEATS = 12  # of the utterances, so that starting a worker counts little

Round = Callable[[], object]


def ours(paths: Sequence[Path]) -> Round:
    """The project's way."""
    from preprocessing import audio
    from preprocessing.features import LogMel

    log_mel = LogMel()
    return lambda: [log_mel(audio.load(path)) for path in paths]


def openai_whisper(paths: Sequence[Path]) -> Round:
    """Its load_audio asks the ffmpeg program."""
    import whisper

    if shutil.which("ffmpeg") is None:
        raise OSError("its load_audio needs the ffmpeg program: install ffmpeg")
    return lambda: [whisper.log_mel_spectrogram(whisper.load_audio(str(path))) for path in paths]


def datasets_padded(paths: Sequence[Path]) -> Round:
    """datasets' decoding, then WhisperFeatureExtractor as it comes: every utterance padded to 30 s."""
    return _datasets(paths, "max_length")


def datasets_unpadded(paths: Sequence[Path]) -> Round:
    """The same, with as many frames as the utterance has."""
    return _datasets(paths, "longest")


def _datasets(paths: Sequence[Path], padding: str) -> Round:
    import torchcodec  # noqa: F401  # what datasets decodes with; said here in a sentence where it is not there
    from datasets import Audio, Dataset, disable_progress_bars
    from transformers import WhisperFeatureExtractor

    disable_progress_bars()
    rows = Dataset.from_dict({"audio": [str(path) for path in paths]})
    rows = rows.cast_column("audio", Audio(sampling_rate=SAMPLE_RATE))
    extract = WhisperFeatureExtractor()
    return lambda: [
        extract(row["audio"]["array"], sampling_rate=SAMPLE_RATE, return_tensors="pt", padding=padding) for row in rows
    ]


def our_log_mel(paths: Sequence[Path]) -> Round:
    """The transform with its logarithm, waveforms in memory."""
    from preprocessing.features import LogMel

    return _transform(LogMel(), paths)


def torchaudio_mel(paths: Sequence[Path]) -> Round:
    """MelSpectrogram at Whisper's settings, without the logarithm that would make it equal."""
    from torchaudio.transforms import MelSpectrogram

    transform = MelSpectrogram(SAMPLE_RATE, n_fft=400, hop_length=160, n_mels=80, norm="slaney", mel_scale="slaney")
    return _transform(transform, paths)


def _transform(transform: Callable[[Tensor], Tensor], paths: Sequence[Path]) -> Round:
    from preprocessing import audio

    waveforms = [audio.load(path) for path in paths]
    return lambda: [transform(waveform) for waveform in waveforms]


def one_worker(paths: Sequence[Path]) -> Round:
    """A DataLoader with a worker."""
    return _workers(paths, 1)


def two_workers(paths: Sequence[Path]) -> Round:
    """A DataLoader with two."""
    return _workers(paths, 2)


class Decoded:
    """Log-mels of files, as a DataLoader asks for them."""

    def __init__(self, paths: Sequence[Path]) -> None:
        from preprocessing.features import LogMel

        self._paths = list(paths)
        self._log_mel = LogMel()

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Tensor:
        from preprocessing import audio

        features: Tensor = self._log_mel(audio.load(self._paths[index]))
        return features


def _padded(log_mels: Sequence[Tensor]) -> Tensor:
    """[bins, frames] of each -> one batch [utterances, bins, longest], as training hands it over."""
    import torch
    from torch.nn.functional import pad

    longest = max(log_mel.shape[-1] for log_mel in log_mels)
    return torch.stack([pad(log_mel, (0, longest - log_mel.shape[-1])) for log_mel in log_mels])


def _workers(paths: Sequence[Path], count: int) -> Round:
    from torch.utils.data import DataLoader

    loader: DataLoader[Tensor] = DataLoader(
        Decoded(list(paths) * WORKER_REPEATS),  # type: ignore[arg-type]
        batch_size=BATCH,
        collate_fn=_padded,
        num_workers=count,
        persistent_workers=True,
        prefetch_factor=8,
    )
    return lambda: [None for _ in loader]


def peak_memory(path: Path, sender: Connection) -> None:
    """Stream a file through log-mel in this process; send its highest resident memory in bytes."""
    import torch

    from benchmark.worker import peak_memory_bytes
    from preprocessing import audio
    from preprocessing.features import LogMel

    torch.set_num_threads(1)
    log_mel = LogMel()
    for block in audio.stream(path):
        if len(block) > SAMPLE_RATE:
            log_mel(block)
    sender.send(peak_memory_bytes())


def memory_of(path: Path) -> int:
    """Bytes that a new process takes to stream the file."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=peak_memory, args=(path, sender))
    process.start()
    peak: int = receiver.recv()
    process.join()
    return peak


def long_file_memory(paths: Sequence[Path]) -> Figure:
    """A recording of three hours beside one of three minutes, both made of the utterances."""
    import soundfile

    from preprocessing import audio

    speech = np.concatenate([audio.load(path).numpy() for path in paths])
    minute = np.resize(speech, 60 * SAMPLE_RATE)
    with tempfile.TemporaryDirectory() as folder:
        peaks = []
        for minutes in (LONG_MINUTES, SHORT_MINUTES):
            path = Path(folder) / f"{minutes}.flac"
            with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, "PCM_16") as file:
                for _ in range(minutes):
                    file.write(minute)
            peaks.append(memory_of(path) / 1e6)
    long, short = peaks
    return at_most(f"memory, {LONG_MINUTES // 60} h streamed", f"{SHORT_MINUTES} min", long, short, "MB", LONG_MEMORY)


def measure(config: PeersConfig) -> None:
    """Find the material, compare, report. Raises FallsShortError where a figure does."""
    paths = manifest_paths(config.data, config.utterances)
    contests: list[tuple[str, tuple[str, Contender], list[tuple[str, Contender, float | None]]]] = [
        (
            "files to log-mel",
            ("ours", ours),
            [
                ("openai-whisper", openai_whisper, BESIDE_WHISPER),
                ("datasets, WhisperFeatureExtractor", datasets_padded, BESIDE_DATASETS),
                ("the same, unpadded", datasets_unpadded, None),
            ],
        ),
        ("log-mel alone", ("ours", our_log_mel), [("torchaudio, no logarithm", torchaudio_mel, BESIDE_TORCHAUDIO)]),
        ("two workers", ("ours", two_workers), [("one worker", one_worker, BESIDE_ONE_WORKER)]),
    ]
    figures: list[Figure] = []
    missing: list[Missing] = []
    for what, (own, contender), peers in contests:
        found = seconds_of({own: contender, **{name: peer for name, peer, _ in peers}}, paths, ROUNDS)
        mine = found[own]
        if isinstance(mine, Absent):
            raise RuntimeError(f"{what}: {mine.reason}")
        for name, _, floor in peers:
            theirs = found[name]
            if isinstance(theirs, Absent):
                missing.append(Missing(name, theirs.reason))
            else:
                figures.append(speed_up(what, name, mine, theirs, floor))
    figures.append(long_file_memory(paths))
    settings = (
        f"{len(paths)} utterances, {ROUNDS} rounds after {WARM_UP_ROUNDS} of warm-up, a process each, one thread, "
        "wall-clock; milliseconds are of a round over all utterances"
    )
    report("Files to features", figures, missing, settings, config.json)


if __name__ == "__main__":
    run_command(main)
