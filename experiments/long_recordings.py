"""`python -m experiments.long_recordings --model REF --recording FILE --hours 0.5,3`: what does length cost?

One recording is repeated up to so many hours, a FLAC file each, and transcribed whole in a process of its own: seconds
and peak memory of decoding, features, forward pass and text together. Where the recording comes with its text, it is
repeated whole, and words are counted over all of it.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from preprocessing.cli.errors import UsageError
from preprocessing.cli.options import parse_command, run_command

DESCRIPTION = "Seconds and peak memory of one recogniser over recordings of several hours."


@dataclass(frozen=True)
class LongRecordingsConfig:
    """What is repeated, how often, and who hears it."""

    model: str
    """The recogniser, such as wav2vec2=demo/wav2vec2."""

    recording: Path
    """What is repeated: an audio file, or a manifest of one recording and its text, which is scored then."""

    hours: str = "0.5,3"
    """Lengths, separated by commas; memory is compared with that of the first."""

    profile: str = "librispeech"
    """Text profile that words are counted under."""

    def check(self) -> tuple[float, ...]:
        """The lengths. Raises UsageError where they are no hours."""
        try:
            hours = tuple(float(one) for one in self.hours.split(","))
        except ValueError:
            hours = ()
        if not hours or not all(0 < one <= 100 for one in hours):
            raise UsageError(f"--hours is {self.hours!r}; expected numbers over 0, up to 100, such as 0.5,3: mend it")
        return hours


@dataclass(frozen=True)
class Heard:
    """One length through one system; loading the model is not in `seconds`. `loaded_bytes`: the peak before it."""

    audio_seconds: float
    seconds: float
    peak_memory_bytes: int
    loaded_bytes: int
    hypothesis: str
    wer: float | None = None  # where the text is known

    @property
    def rtfx(self) -> float:
        return self.audio_seconds / self.seconds


def write_repeated(recording: Path, seconds: float, path: Path) -> None:
    """The recording over and over as 16-bit FLAC at 16 kHz, cut at so many seconds; one copy of it is in memory."""
    import soundfile
    import torch

    from preprocessing import audio

    once = (audio.load(recording) * audio.PCM_STEPS).to(torch.int16).numpy()
    left = round(seconds * audio.SAMPLE_RATE)
    with soundfile.SoundFile(path, "w", audio.SAMPLE_RATE, 1, "PCM_16", format="FLAC") as file:
        while left > 0:
            file.write(once[:left])
            left -= len(once)


def hear(model: str, path: Path) -> Heard:
    """Load the system and transcribe one file. Raises UserError where either cannot be used."""
    from benchmark.systems import load_system, parse_models
    from benchmark.systems.base import LoadOptions
    from benchmark.worker.resources import peak_memory_bytes
    from preprocessing import audio

    specs = parse_models(model)
    if len(specs) != 1:
        raise UsageError(f"--model is {model!r}; expected one recogniser: name one")
    system = load_system(specs[0], LoadOptions("cpu", None))
    loaded = peak_memory_bytes()
    began = time.perf_counter()
    waveform = audio.load(path)
    (hypothesis,) = system.text(system.forward(system.features([waveform])))
    seconds = time.perf_counter() - began
    return Heard(len(waveform) / audio.SAMPLE_RATE, seconds, peak_memory_bytes(), loaded, hypothesis)


def study(config: LongRecordingsConfig, hours: Sequence[float]) -> list[Heard]:
    """Every length in turn, in a process of its own, since a peak of memory never goes down."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    audio, text, duration = _recording(config.recording)
    found = []
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        for one in hours:
            path = Path(folder) / f"{one:g}.flac"
            times = max(round(one * 3600 / duration), 1)
            write_repeated(audio, one * 3600 if text is None else times * duration, path)
            with ProcessPoolExecutor(1, mp_context=context) as pool:
                heard = pool.submit(hear, config.model, path).result()
            if text is not None:
                heard = replace(heard, wer=_wer(" ".join([text] * times), heard.hypothesis, config.profile))
            found.append(heard)
            path.unlink()
    return found


def _recording(path: Path) -> tuple[Path, str | None, float]:
    """Its audio file, its text where a manifest tells it, and seconds. Raises UserError where there is none such."""
    from preprocessing import audio
    from preprocessing.corpus import open_corpus

    if path.suffix != ".jsonl":
        return path, None, audio.probe(path).duration
    utterances = open_corpus(str(path)).utterances
    if len(utterances) != 1:
        raise UsageError(f"--recording {path} holds {len(utterances)} recordings; expected one: name another manifest")
    return Path(str(utterances[0].audio)), utterances[0].text, utterances[0].duration


def _wer(reference: str, hypothesis: str, name: str) -> float:
    from finetune.metrics.error_rates import ErrorRates
    from preprocessing.text import profile

    normalise = profile(name)
    rates = ErrorRates().compute(predictions=[normalise(hypothesis)], references=[normalise(reference)])
    return float(rates["wer"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each length."""
    config = parse_command(
        LongRecordingsConfig,
        program="python -m experiments.long_recordings",
        description=DESCRIPTION,
        arguments=arguments,
    )
    found = study(config, config.check())
    print("| hours | seconds | RTFx | peak memory, MB | of it before hearing | times the first | characters | WER |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    for one in found:
        times = one.peak_memory_bytes / found[0].peak_memory_bytes
        print(
            f"| {one.audio_seconds / 3600:.3g} | {one.seconds:.1f} | {one.rtfx:.1f} "
            f"| {one.peak_memory_bytes / 1e6:.0f} | {one.loaded_bytes / 1e6:.0f} | {times:.2f} | {len(one.hypothesis)} "
            f"| {'-' if one.wer is None else f'{100 * one.wer:.1f} %'} |"
        )


if __name__ == "__main__":
    run_command(main)
