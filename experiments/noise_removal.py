"""Does noise removal lower the word error rate of a recogniser, on clean speech and in noise?

One recogniser transcribes each utterance clean and with recorded noise at several SNRs, each time without and with
`preprocessing.augment.denoise`: the WER of both, and their paired difference with a 95 % bootstrap interval. The noise
is the same excerpt in all cases. Without options, the embedded demo is measured.
"""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.harness.command import ExperimentOptions, progress, run_experiment
from experiments.harness.figures import Findings, Table
from experiments.harness.study import with_interval
from preprocessing.cli.options import run_command
from preprocessing.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch import Tensor

    from finetune.metrics import Rate
    from finetune.systems.base import System
    from preprocessing.corpus import Utterance

DURATION = "1 minute with the embedded demo"
CLEAN = "clean"
QUICK_UTTERANCES = 10


@dataclass(frozen=True)
class Config(ExperimentOptions):
    """Which recogniser transcribes which speech in which noise."""

    model: str | None = None
    """Recogniser, such as wav2vec2=runs/digits. Default: the embedded demo's wav2vec2."""

    data: str | None = None
    """Corpus to transcribe. Default: the embedded demo's test corpus."""

    noise: Path | None = None
    """Noise recordings: a file or a folder. Default: noise/ in $ASR_DATA_DIR, else data/noise."""

    snr_db: list[float] = field(default_factory=lambda: [20.0, 10.0, 5.0, 0.0])
    """Signal-to-noise ratios in dB; with --quick only the last."""

    profile: str = "librispeech"
    """Text normalisation profile for scoring."""

    limit: int | None = None
    """Use only this many utterances, evenly spaced in the corpus; of a dataset of the Hub or of parquet files, the
    first. With --quick at most 10."""

    seed: int = 0
    """Seed of the choice of noises and of the bootstrap."""


@dataclass(frozen=True)
class Level:
    """WER at one level of noise, as it is and after noise removal; `change` is denoised minus plain."""

    condition: str
    plain: "Rate"
    denoised: "Rate"
    change: "Rate"


def run(config: Config) -> Findings:
    """Measure every level in turn. Raises UserError where model, data or noise cannot be used."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch: no time is measured, and threads may not spin
    from benchmark.offline import DEMO_CORPUS
    from experiments.harness.speech import data_folder
    from finetune.systems.base import LoadOptions
    from finetune.systems.registry import load_system, parse_models
    from preprocessing.cli.progress import hide_loading_bars
    from preprocessing.corpus import open_corpus
    from preprocessing.storage.data_folder import DEMO, reference_of

    model = config.model or f"wav2vec2={reference_of(DEMO / 'wav2vec2')}"
    specs = parse_models(model)
    if len(specs) != 1:
        raise UsageError(f"--model is {model!r}; expected one recogniser: name one")
    noise = config.noise or data_folder(None) / "noise"
    if not noise.exists():
        raise UsageError(
            f"--noise {noise}: no such file or folder; expected a noise recording or a folder of them: name one"
        )
    limit = min(config.limit or QUICK_UTTERANCES, QUICK_UTTERANCES) if config.quick else config.limit
    corpus = open_corpus(config.data or str(DEMO_CORPUS), limit=limit, spread=True).require_complete()
    hide_loading_bars()
    system = load_system(specs[0], LoadOptions("cpu", None))
    levels = measure_levels(config, system, corpus.utterances, noise)

    headings = ("noise", "WER as it is, %", "WER denoised, %", "change, points")
    rows = [(one.condition, *map(with_interval, (one.plain, one.denoised, one.change))) for one in levels]
    return Findings(
        "Word error rate with and without noise removal",
        f"{len(corpus.utterances)} utterances, {model}, noise of {noise}; profile {config.profile}; 95 % intervals",
        tables=[Table(headings, rows)],
        details={"levels": [asdict(one) for one in levels]},
        draw=lambda axes: _draw(axes, levels),
    )


def measure_levels(config: Config, system: "System", utterances: "Sequence[Utterance]", noise: Path) -> list[Level]:
    """Clean speech, then every level of noise. Raises UserError where the noise cannot be read."""
    import torch

    from finetune.metrics import difference, rate, resample
    from finetune.metrics.error_rates import word_errors
    from preprocessing.augment import Chain, Noise, seeded_generator
    from preprocessing.augment.denoise import SpectralGate
    from preprocessing.corpus import load_waveform
    from preprocessing.text import profile

    normalise = profile(config.profile)
    snrs_db = config.snr_db[-1:] if config.quick else config.snr_db
    noises = {snr_db: Chain([Noise(snr_db=snr_db, files=noise)]) for snr_db in snrs_db}
    gate = SpectralGate()
    resampling = resample([utterance.speaker for utterance in utterances], seed=config.seed)
    levels = []
    with (
        progress("transcribing", (1 + len(snrs_db)) * len(utterances), "utterances") as advance,
        torch.inference_mode(),
    ):
        for snr_db in (None, *snrs_db):
            plain_errors: list[int] = []
            denoised_errors: list[int] = []
            lengths: list[int] = []
            for utterance in utterances:
                waveform = load_waveform(utterance)
                if snr_db is not None:
                    waveform = noises[snr_db](waveform, seeded_generator(config.seed, 0, utterance.id))
                reference = normalise(utterance.text)
                for errors, transcribed in ((plain_errors, waveform), (denoised_errors, gate(waveform))):
                    errors.append(word_errors(reference, normalise(transcribe(system, transcribed))).errors)
                lengths.append(word_errors(reference, "").reference_length)
                advance(1)
            condition = CLEAN if snr_db is None else f"{snr_db:g} dB"
            plain, denoised = (rate(errors, lengths, resampling) for errors in (plain_errors, denoised_errors))
            levels.append(
                Level(condition, plain, denoised, difference(denoised_errors, plain_errors, lengths, resampling))
            )
    return levels


def transcribe(system: "System", waveform: "Tensor") -> str:
    """The system's text of one waveform [samples]."""
    (hypothesis,) = system.text(system.forward(system.features([waveform])))
    return hypothesis


def _draw(axes: "Axes", levels: Sequence[Level]) -> None:
    """WER with its interval at every level, as it is and denoised."""
    from preprocessing.plot_style import PALETTE

    for place, (label, rates) in enumerate(
        (("as it is", [one.plain for one in levels]), ("denoised", [one.denoised for one in levels]))
    ):
        values = [100 * one.value for one in rates]
        below, above = [100 * (one.value - one.low) for one in rates], [100 * (one.high - one.value) for one in rates]
        rows = [row + 0.1 * place for row in range(len(levels))]
        axes.errorbar(rows, values, yerr=[below, above], color=PALETTE.of(place), marker="o", label=label)
    axes.set_xticks(range(len(levels)), [one.condition for one in levels])
    axes.set(xlabel="speech above the noise", ylabel="WER, %", ylim=(0, None))
    axes.legend(frameon=False, loc="lower right")


def main(arguments: Sequence[str] | None = None) -> None:
    run_experiment(Config, run, __doc__, __file__, arguments)


if __name__ == "__main__":
    run_command(main)
