"""`python -m experiments.training_speed [--json FILE] [--plot FILE]`: fine-tuning beside transformers' CTC example."""

import dataclasses
import os
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch

from experiments.harness.figures import Figure, Missing, peak_gflops, rate_ratio, report
from experiments.harness.fine_tuning import (
    SEED,
    WARM_UP_UPDATES,
    Trained,
    TrainingJob,
    TrainingPeersConfig,
    ours,
    prepare,
    theirs,
)
from experiments.harness.rounds import Absent, Contender, turns_of
from finetune.config import TrainConfig
from preprocessing.batching import DurationBatches
from preprocessing.cli.errors import InputError, UsageError
from preprocessing.cli.options import parse_command, run_command

DESCRIPTION = (
    "The speed of fine-tuning wav2vec2-base beside transformers' Trainer as its CTC example sets it up, and both "
    "losses. Exit 1 where a figure falls short."
)


def main() -> None:
    config = parse_command(TrainingPeersConfig, program="python -m experiments.training_speed", description=DESCRIPTION)

    measure(config)


PEER = "transformers' Trainer"
DEFAULT, ALIKE = "ours, at its defaults", "ours, alike"
AT_DEFAULTS = 2.0
AT_EQUAL_PRECISION = {"cpu": 1.0, "cuda": 2.0}
LOSS_APART = 1.2  # times, after as many updates from the same weights, each over the utterances in its own order
PADDING = 0.05  # of an epoch over the whole corpus
GFLOP_FOR_A_SECOND = 3 * 14.0  # of audio: wav2vec2-base forward, and twice that backward
UNTOLD = ("folder", "corpus_seconds")  # of a job, in the figures
RATE = "s/s"  # seconds of audio in a second


def measure(config: TrainingPeersConfig) -> None:
    """Prepare, train in turns, compare, report. Raises UsageError, and FallsShortError where a figure does."""
    device = _device(config.device)
    if config.updates < 1 or config.rounds < 1 or config.warm_up < 0:
        raise UsageError("--updates and --rounds must be 1 or more, --warm_up 0 or more: mend them")
    threads = max(len(os.sched_getaffinity(0)), 1)
    with tempfile.TemporaryDirectory() as folder:
        job = prepare(config, device, Path(folder))
        found = contest(job, config.rounds, threads)
    missing = [Missing(name, absent.reason) for name, absent in found.items() if isinstance(absent, Absent)]
    trained = {name: rounds for name, rounds in found.items() if not isinstance(rounds, Absent)}
    own = [name for name in trained if name != PEER]
    if not own:
        raise InputError(f"our own side could not be trained: {missing[0].reason}")
    peaks = {precision: peak_gflops(precision, device, threads) for precision in ("bf16", "fp32")}
    figures = _figures(trained, job, peaks, demanding=not config.quick) if PEER in trained else []
    if config.plot is not None:
        draw(trained, config.plot)
    details: dict[str, object] = {
        "job": {
            key: value for key, value in dataclasses.asdict(job).items() if key not in ("folder", "corpus_seconds")
        },
        "matmul_peaks_gflops": peaks,
        "rounds": {name: [dataclasses.asdict(one) for one in rounds] for name, rounds in trained.items()},
    }
    settings = _settings(trained, job, config, threads)
    report("Fine-tuning", figures, missing, settings, config.json, device=device, details=details)


def contest(job: TrainingJob, rounds: int, threads: int) -> dict[str, list[Trained] | Absent]:
    """Every side's rounds."""
    contenders: dict[str, Contender] = {
        PEER: theirs,
        DEFAULT: partial(ours, mixed_precision=str(TrainConfig.mixed_precision)),
        ALIKE: partial(ours, mixed_precision=_peer_precision(job.device), dropout=0.0),
    }
    found = turns_of(contenders, job, rounds, threads=threads, keep_results=True)
    return {
        name: turns if isinstance(turns, Absent) else [turn.result for turn in turns] for name, turns in found.items()
    }


def _device(wanted: str) -> str:
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise UsageError("--device is cuda, but torch finds no GPU here; expected one: choose cpu or auto")
    return "cuda" if available and wanted != "cpu" else "cpu"


def _peer_precision(device: str) -> str:
    """16 bits on a GPU, where the example takes fp16 and bf16 costs the same; else float32."""
    return "bf16" if device == "cuda" else "no"


def _figures(
    trained: Mapping[str, Sequence[Trained]], job: TrainingJob, peaks: Mapping[str, float], *, demanding: bool
) -> list[Figure]:
    peer = [one.rate for one in trained[PEER]]
    figures = []
    for what, name, floor in (
        ("at defaults", DEFAULT, AT_DEFAULTS),
        ("at equal precision", ALIKE, AT_EQUAL_PRECISION[job.device]),
    ):
        rates = [one.rate for one in trained[name]]
        figures.append(rate_ratio(f"trained {what}", PEER, rates, peer, RATE, floor if demanding else None))
    mine, other = trained[ALIKE][0].held_out_loss, trained[PEER][0].held_out_loss
    apart = max(mine, other) / min(mine, other)
    most = LOSS_APART if demanding else None
    figures.append(Figure("held-out loss, apart", PEER, mine, other, "", apart, apart, apart, "x", None, most))
    mine, other = (100.0 * share for share in corpus_padding(job))
    figures.append(
        Figure("padding", PEER, mine, other, "%", mine, mine, mine, "%", None, 100.0 * PADDING if demanding else None)
    )
    if demanding:
        for precision, peak in peaks.items():
            shares = [
                100.0 * GFLOP_FOR_A_SECOND * max(one.rate for one in trained[name]) / peak for name in (DEFAULT, PEER)
            ]
            ratio = shares[0] / shares[1]
            what = f"of the {precision} peak"
            figures.append(Figure(what, PEER, shares[0], shares[1], "%", ratio, ratio, ratio, "x", None))
    return figures


def corpus_padding(job: TrainingJob) -> tuple[float, float]:
    """Shares of padding in an epoch over all of the corpus: ours, and the peer's, whose sampler groups by length."""
    from transformers.trainer_pt_utils import LengthGroupedSampler

    durations = job.corpus_seconds
    ours = DurationBatches(durations, max_seconds=job.batch_seconds, seed=SEED).epoch(0)
    generator = torch.Generator().manual_seed(SEED)
    size = job.utterances_per_batch
    order = list(LengthGroupedSampler(size, lengths=[round(1000 * d) for d in durations], generator=generator))
    theirs = [order[first : first + size] for first in range(0, len(order), size)]
    heard = sum(durations)
    mine, other = (
        sum(len(batch) * max(durations[place] for place in batch) for batch in batches) for batches in (ours, theirs)
    )
    return 1.0 - heard / mine, 1.0 - heard / other


def _settings(
    trained: Mapping[str, Sequence[Trained]], job: TrainingJob, config: TrainingPeersConfig, threads: int
) -> str:
    told = [
        f"{config.rounds} rounds of {job.updates} updates after {WARM_UP_UPDATES} of warm-up, a process each, "
        f"{threads} threads, {job.device}, wall-clock"
    ]
    for name, rounds in trained.items():
        seconds = [update.audio_seconds for one in rounds for update in one.updates]
        told.append(f"{name}: {sum(seconds) / len(seconds):.1f} s of audio in an update")
    if PEER in trained:
        first = trained[PEER][0]
        told.append(
            f"{PEER} prepared its input beforehand, not counted: {first.preparation_seconds:.1f} s, "
            f"{first.preparation_bytes / 1e6:.0f} MB on the disk; ours decodes while it trains"
        )
    return "\n".join(told)


def draw(trained: Mapping[str, Sequence[Trained]], path: Path) -> None:
    """The loss for each label over the audio seen, of every side's first round, into a PNG."""
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(6.4, 3.8), layout="constrained", dpi=150)
    axes = picture.subplots()
    for (name, rounds), colour in zip(trained.items(), ("#8c8c8c", "#0b4f6c", "#c1440e"), strict=False):
        seen, losses, audio_seconds = [], [], 0.0
        for update in rounds[0].updates:
            audio_seconds += update.audio_seconds
            seen.append(audio_seconds)
            losses.append(update.loss)
        axes.plot(seen, losses, color=colour, marker="o", ms=3, label=name)
    axes.set(xlabel="audio seen, s", ylabel="CTC loss for each label", ylim=(0, None), xlim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    picture.savefig(path)


if __name__ == "__main__":
    run_command(main)
