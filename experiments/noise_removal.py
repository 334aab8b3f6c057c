"""`python -m experiments.noise_removal --model REF --data MANIFEST --noise FOLDER`: does noise removal help?

One recogniser hears each utterance clean and with recorded noise at several levels, as it is and after
`preprocessing.augment.denoise`; WER of both, and their paired difference with a 95 % bootstrap interval. The noise is the same
excerpt for both, and at every level.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from preprocessing.cli.options import parse_command, run_command

if TYPE_CHECKING:
    from torch import Tensor

    from benchmark.systems.base import System
    from finetune.metrics import Rate
    from preprocessing.corpus import Utterance


DESCRIPTION = "What noise removal does to the word error rate of one recogniser, clean and in noise."
CLEAN = "clean"


@dataclass(frozen=True)
class NoiseRemovalConfig:
    """What is heard, by whom, in which noise."""

    model: str
    """The recogniser, such as wav2vec2=runs/digits."""

    data: str
    """Corpus that it transcribes."""

    noise: Path
    """Recordings of noise: a file, or a folder of them."""

    snr_db: list[float] = field(default_factory=lambda: [20.0, 10.0, 5.0, 0.0])
    """Levels of the speech above the noise."""

    profile: str = "librispeech"
    """Text profile that errors are counted under."""

    limit: int | None = None
    """Only the first so many utterances."""

    seed: int = 0
    """Of the noises' choice and the bootstrap."""

    json: Path | None = None
    """File for the figures."""


@dataclass(frozen=True)
class Level:
    """WER at one level of noise, as it is and after noise removal; `change` is removed minus as it is."""

    condition: str
    plain: "Rate"
    denoised: "Rate"
    change: "Rate"


def study(config: NoiseRemovalConfig) -> list[Level]:
    """Every level in turn. Raises UserError where model, data or noise cannot be used."""
    import torch
    from rich.progress import track

    from benchmark.systems import load_system, parse_models
    from benchmark.systems.base import LoadOptions
    from finetune.metrics import difference, rate, resample
    from finetune.metrics.error_rates import word_errors
    from preprocessing import audio
    from preprocessing.augment import Chain, Noise, generator_for
    from preprocessing.augment.denoise import SpectralGate
    from preprocessing.cli.errors import UsageError
    from preprocessing.corpus import open_corpus
    from preprocessing.text import profile

    text_profile = profile(config.profile)
    specs = parse_models(config.model)
    if len(specs) != 1:
        raise UsageError(f"--model is {config.model!r}; expected one recogniser: name one")
    noises = {snr: Chain([Noise(snr_db=snr, files=config.noise)]) for snr in config.snr_db}
    corpus = open_corpus(config.data, limit=config.limit).whole()
    system = load_system(specs[0], LoadOptions("cpu", None))
    gate = SpectralGate()
    resampling = resample([utterance.speaker for utterance in corpus.utterances], seed=config.seed)

    def noisy(utterance: "Utterance", snr_db: float | None) -> "Tensor":
        waveform = audio.load(utterance.audio, start=utterance.start, stop=utterance.stop)
        if snr_db is None:
            return waveform
        heard: Tensor = noises[snr_db](waveform, generator_for(config.seed, 0, utterance.id))
        return heard

    levels = []
    for snr_db in (None, *config.snr_db):
        condition = CLEAN if snr_db is None else f"{snr_db:g} dB"
        counts: tuple[list[int], list[int]] = ([], [])
        lengths: list[int] = []
        for utterance in track(corpus.utterances, condition, transient=True):
            waveform = noisy(utterance, snr_db)
            reference = text_profile(utterance.text)
            for errors, heard in zip(counts, (waveform, gate(waveform)), strict=True):
                with torch.inference_mode():
                    errors.append(word_errors(reference, text_profile(transcript(system, heard))).errors)
            lengths.append(word_errors(reference, "").reference_length)
        plain, denoised = (rate(errors, lengths, resampling) for errors in counts)
        levels.append(Level(condition, plain, denoised, difference(counts[1], counts[0], lengths, resampling)))
    return levels


def transcript(system: "System", waveform: "Tensor") -> str:
    (hypothesis,) = system.text(system.forward(system.features([waveform])))
    return hypothesis


def print_levels(levels: Sequence[Level]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    def percent(rate: "Rate") -> str:
        return f"{100 * rate.value:.1f} [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("noise")
    for heading in ("WER as it is, %", "WER denoised, %", "change, points"):
        table.add_column(heading, justify="right", no_wrap=True)
    for level in levels:
        table.add_row(level.condition, percent(level.plain), percent(level.denoised), percent(level.change))
    Console().print(table)


def main(arguments: Sequence[str] | None = None) -> None:
    config = parse_command(
        NoiseRemovalConfig,
        program="python -m experiments.noise_removal",
        description=DESCRIPTION,
        arguments=arguments,
    )
    levels = study(config)
    print_levels(levels)
    if config.json is not None:
        config.json.write_text(json.dumps([asdict(level) for level in levels], indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run_command(main)
