"""How do time and memory of a recogniser grow with the length of a recording, up to several hours in one file?

One recording is repeated to each length, as one FLAC file, and transcribed in its own process. Measured are the time
and the peak memory of decoding, features, forward pass and text together. A recording with a transcript is repeated a
whole number of times, and its WER is measured too. Without options, the embedded demo transcribes the data folder's
long recording.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.harness.command import ExperimentOptions, run_experiment
from experiments.harness.figures import Findings, Table
from experiments.harness.rounds import call_apart
from preprocessing.cli.options import run_command
from preprocessing.cli.progress import hide_loading_bars
from preprocessing.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DURATION = "4 minutes with the embedded demo"
QUICK_HOURS = (0.02, 0.1)
LONGEST_HOURS = 100.0


@dataclass(frozen=True)
class Config(ExperimentOptions):
    """What is repeated, to which lengths, and which recogniser transcribes it."""

    model: str | None = None
    """Recogniser, such as wav2vec2=runs/mine. Default: the embedded demo's wav2vec2."""

    recording: Path | None = None
    """Recording to repeat: an audio file, or a manifest of one recording with its text, which gives a WER. Default:
    long-form/test.jsonl in $ASR_DATA_DIR, else data; with --quick a demo utterance."""

    hours: list[float] = field(default_factory=lambda: [0.5, 3.0])
    """Lengths in hours; memory is compared with that of the first. With --quick 0.02 and 0.1."""

    profile: str = "librispeech"
    """Text normalisation profile for scoring."""

    def lengths(self) -> tuple[float, ...]:
        """The lengths in hours. Raises UsageError where --hours holds none, or none that can be repeated."""
        if not self.hours or not all(0 < one <= LONGEST_HOURS for one in self.hours):
            raise UsageError(
                f"--hours is {self.hours}; expected numbers above 0, up to {LONGEST_HOURS:g}, as in 0.5,3: change it"
            )
        return QUICK_HOURS if self.quick else tuple(self.hours)


@dataclass(frozen=True)
class Transcribed:
    """One length through one recogniser. Loading the model is not in `seconds`; `loaded_bytes`: the peak after it."""

    audio_seconds: float
    seconds: float
    peak_memory_bytes: int
    loaded_bytes: int
    hypothesis: str
    wer: float | None = None  # where the text is known

    @property
    def rtfx(self) -> float:
        """Seconds of audio transcribed in a second."""
        return self.audio_seconds / self.seconds


def run(config: Config) -> Findings:
    """Transcribe every length in turn. Raises UserError where model or recording cannot be used."""
    from preprocessing.storage.data_folder import DEMO, reference_of

    hours = config.lengths()
    model = config.model or f"wav2vec2={reference_of(DEMO / 'wav2vec2')}"
    recording = config.recording or _default_recording(config.quick)
    found = transcribe_lengths(model, recording, hours, config.profile)
    headings = (
        "hours",
        "seconds",
        "RTFx",
        "peak of memory, MB",
        "after loading",
        "times the first",
        "characters",
        "WER",
    )
    rows = [
        (
            f"{one.audio_seconds / 3600:.3g}",
            f"{one.seconds:.1f}",
            f"{one.rtfx:.1f}",
            f"{one.peak_memory_bytes / 1e6:.0f}",
            f"{one.loaded_bytes / 1e6:.0f}",
            f"{one.peak_memory_bytes / found[0].peak_memory_bytes:.2f}",
            str(len(one.hypothesis)),
            "-" if one.wer is None else f"{100 * one.wer:.1f} %",
        )
        for one in found
    ]
    return Findings(
        "Long recordings",
        f"{model}, {recording} repeated, a process each; seconds of decoding, features, forward pass and text",
        tables=[Table(headings, rows)],
        details={"lengths": [asdict(one) for one in found]},
        draw=lambda axes: _draw(axes, found),
    )


def transcribe_lengths(model: str, recording: Path, hours: Sequence[float], profile: str) -> list[Transcribed]:
    """Every length in turn, in a process of its own, because a peak of memory never goes down. Raises UserError."""
    audio, text, duration = _read_recording(recording)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for length in hours:
            path = Path(folder) / f"{length:g}.flac"
            times = max(round(length * 3600 / duration), 1)
            write_repeated(audio, length * 3600 if text is None else times * duration, path)
            one = call_apart(f"{length:g} hours", transcribe_file, model, path)
            if text is not None:
                one = replace(one, wer=_wer(" ".join([text] * times), one.hypothesis, profile))
            found.append(one)
            path.unlink()
    return found


def write_repeated(recording: Path, seconds: float, path: Path) -> None:
    """Write the recording over and over as 16-bit FLAC at 16 kHz, cut at `seconds`; one copy of it is in memory."""
    import soundfile
    import torch

    from preprocessing import audio

    once = (audio.load(recording) * audio.PCM_STEPS).to(torch.int16).numpy()
    left = round(seconds * audio.SAMPLE_RATE)
    with soundfile.SoundFile(path, "w", audio.SAMPLE_RATE, 1, "PCM_16", format="FLAC") as file:
        while left > 0:
            file.write(once[:left])
            left -= len(once)


def transcribe_file(model: str, path: Path) -> Transcribed:
    """Load the recogniser in this process and transcribe one file. Raises UserError where either cannot be used."""
    from benchmark.worker.resources import peak_memory_bytes
    from finetune.systems.base import LoadOptions
    from finetune.systems.registry import load_system, parse_models
    from preprocessing import audio

    specs = parse_models(model)
    if len(specs) != 1:
        raise UsageError(f"--model is {model!r}; expected one recogniser: name one")
    hide_loading_bars()
    system = load_system(specs[0], LoadOptions("cpu", None))
    loaded = peak_memory_bytes()
    began = time.perf_counter()
    waveform = audio.load(path)
    (hypothesis,) = system.text(system.forward(system.features([waveform])))
    seconds = time.perf_counter() - began
    return Transcribed(len(waveform) / audio.SAMPLE_RATE, seconds, peak_memory_bytes(), loaded, hypothesis)


def _default_recording(quick: bool) -> Path:
    from benchmark.offline import DEMO_CORPUS
    from experiments.harness.speech import data_folder
    from preprocessing.corpus import open_corpus

    if quick:
        return Path(str(open_corpus(str(DEMO_CORPUS)).utterances[0].audio))
    path = data_folder(None) / "long-form" / "test.jsonl"
    if not path.is_file():
        raise UsageError(f"{path}: no such file; expected a long recording: name one with --recording")
    return path


def _read_recording(path: Path) -> tuple[Path, str | None, float]:
    """Its audio file, its text where a manifest has it, and its seconds. Raises UserError where it cannot be used."""
    from preprocessing import audio
    from preprocessing.corpus import open_corpus

    if path.suffix != ".jsonl":
        return path, None, audio.probe(path).duration
    utterances = open_corpus(str(path)).utterances
    if len(utterances) != 1:
        raise UsageError(f"--recording {path} holds {len(utterances)} recordings; expected one: name another manifest")
    return Path(str(utterances[0].audio)), utterances[0].text, utterances[0].duration


def _wer(reference: str, hypothesis: str, name: str) -> float:
    from finetune.metrics.error_rates import word_errors
    from preprocessing.text import profile

    normalise = profile(name)
    return word_errors(normalise(reference), normalise(hypothesis)).rate


def _draw(axes: "Axes", found: Sequence[Transcribed]) -> None:
    """Peak of memory by hours."""
    from preprocessing.plot_style import PALETTE

    hours = [one.audio_seconds / 3600 for one in found]
    axes.plot(hours, [one.peak_memory_bytes / 1e9 for one in found], color=PALETTE.main, marker="o", label="peak")
    axes.plot(hours, [one.loaded_bytes / 1e9 for one in found], color=PALETTE.accent, marker="o", label="after loading")
    axes.set(xlabel="hours of audio in one file", ylabel="memory, GB", xlim=(0, None), ylim=(0, None))
    axes.legend(frameon=False)


def main(arguments: Sequence[str] | None = None) -> None:
    run_experiment(Config, run, __doc__, __file__, arguments)


if __name__ == "__main__":
    run_command(main)
