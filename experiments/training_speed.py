"""How fast is fine-tuning wav2vec2-base compared with transformers' Trainer in its CTC example, at the same loss?

Both train on the same audio from the same random weights. Exit code 1 if a figure misses its target.
"""

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from experiments.harness.command import ExperimentOptions, run_experiment
from experiments.harness.figures import Comparison, Findings, measured_once, rate_ratio
from experiments.harness.rounds import Implementation, Unavailable, peak_gflops, take_turns
from preprocessing.cli.cores import usable_cores
from preprocessing.cli.device import resolve_device
from preprocessing.cli.options import check_counts, run_command
from preprocessing.errors import InputError, counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from experiments.harness.fine_tuning import Trained, TrainingJob

DURATION = "5 minutes"
PEER = "transformers' Trainer"
DEFAULT, EQUAL_PRECISION = "ours, at its defaults", "ours, at equal precision without dropout"
WHOLE = "ours, compiled, an update in one batch"  # on a GPU, whose memory holds it
MINIMUM_AT_DEFAULTS = 2.0
MINIMUM_AT_EQUAL_PRECISION = {"cpu": 1.0, "cuda": 2.0}
MAXIMUM_LOSS_APART = (
    1.2  # times, after as many updates from the same weights, each over the utterances in its own order
)
MAXIMUM_PADDING = 5.0  # %, of an epoch over the whole corpus
GFLOP_PER_SECOND_OF_AUDIO = 3 * 14.0  # wav2vec2-base: forward, and twice that backward
RATE = "s/s"  # seconds of audio in a second
QUICK_UPDATES = 2


@dataclass(frozen=True)
class Config(ExperimentOptions):
    """How long to train beside the peer, and on what."""

    renamed: ClassVar[Mapping[str, str]] = {
        "data": "data_dir",
        "batch": "batch_size",
        "updates": "steps",
        "warm_up": "warmup_steps",
    }

    data_dir: Path | None = None
    """Folder with librispeech/train.jsonl. Default: $ASR_DATA_DIR, else data."""

    utterances: int | None = None
    """Number of utterances, spread over the manifest's short enough ones. Default: as many as a round's updates need,
    so that both sides train on the same audio."""

    max_seconds: float | None = None
    """Longest utterance, in seconds. Default: 20 as in the example, but 10 on a CPU to keep updates short."""

    batch_size: int | None = None
    """Utterances in a step of the peer; this project's steps have the same amount of audio. Default: 4, on a GPU
    two batches of 16."""

    steps: int = 5
    """Optimiser steps measured in a round, after one that warms up, or five on a GPU; with --quick at most 2."""

    rounds: int = 1
    """Rounds of each side, taking turns, each from the same weights; with --quick 1."""

    warmup_steps: int = 500
    """Optimiser steps of the learning rate's warm-up to 3e-4."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device that the models run on; auto takes a GPU if there is one."""

    equal_precision: bool = True
    """Train at the peer's precision without dropout, too, and compare losses."""


def run(config: Config) -> Findings:
    """Train in turns and compare. Raises UsageError where options or speech cannot be used."""
    from experiments.harness.fine_tuning import prepare

    device = resolve_device(config.device)
    flags = (("batch_size", 1), ("steps", 1), ("rounds", 1), ("warmup_steps", 0))
    check_counts(*((f"--{flag}", getattr(config, flag), minimum) for flag, minimum in flags))
    threads = usable_cores()
    rounds = 1 if config.quick else config.rounds
    with tempfile.TemporaryDirectory() as folder:
        job = prepare(
            Path(folder),
            device,
            data=config.data_dir,
            utterances=config.utterances,
            max_seconds=config.max_seconds,
            batch=config.batch_size,
            updates=min(config.steps, QUICK_UPDATES) if config.quick else config.steps,
            warm_up=config.warmup_steps,
            tiny=config.quick,
        )
        found = train_in_turns(job, rounds, threads, equal_precision=config.equal_precision)
    missing = {name: failed.reason for name, failed in found.items() if isinstance(failed, Unavailable)}
    trained = {name: runs for name, runs in found.items() if not isinstance(runs, Unavailable)}
    own = [name for name in trained if name != PEER]
    if not own:
        raise InputError(f"this project's training failed: {missing[DEFAULT]}")
    peaks = (
        {} if config.quick else {precision: peak_gflops(precision, device, threads) for precision in ("bf16", "fp32")}
    )
    comparisons = compare(trained, job, peaks) if PEER in trained else []
    described = {
        key: value for key, value in dataclasses.asdict(job).items() if key not in ("folder", "corpus_seconds")
    }
    return Findings(
        "Fine-tuning",
        _settings(trained, job, rounds, threads),
        comparisons,
        missing,
        device=device,
        details={
            "job": described,
            "matmul_peaks_gflops": peaks,
            "rounds": {name: [dataclasses.asdict(one) for one in runs] for name, runs in trained.items()},
        },
        draw=lambda axes: draw_losses(axes, trained),
    )


def train_in_turns(
    job: "TrainingJob", rounds: int, threads: int, *, equal_precision: bool
) -> "dict[str, list[Trained] | Unavailable]":
    """The rounds of Trainer, of ours at its defaults, of ours at Trainer's precision without dropout, and on a GPU of
    ours compiled with an update in one batch.
    """
    from experiments.harness.fine_tuning import ours, theirs
    from finetune.config import TrainConfig

    implementations: dict[str, Implementation] = {
        PEER: theirs,
        DEFAULT: partial(ours, mixed_precision=str(TrainConfig.mixed_precision)),
    }
    if equal_precision:
        implementations[EQUAL_PRECISION] = partial(ours, mixed_precision=_peer_precision(job.device), dropout=0.0)
    if job.device == "cuda":
        implementations[WHOLE] = partial(ours, mixed_precision=str(TrainConfig.mixed_precision), whole=True)
    found = take_turns(
        "training",
        implementations,
        job,
        rounds,
        threads=threads,
        keep_results=True,
        steps_per_round=job.all_updates,
        unit="updates",
    )
    return {
        name: turns if isinstance(turns, Unavailable) else [turn.result for turn in turns]
        for name, turns in found.items()
    }


def _peer_precision(device: str) -> str:
    """16 bits on a GPU, where the example takes fp16 and bf16 costs the same; else float32."""
    return "bf16" if device == "cuda" else "no"


def compare(
    trained: "Mapping[str, Sequence[Trained]]", job: "TrainingJob", peaks: Mapping[str, float]
) -> list[Comparison]:
    """Rates, losses and padding beside Trainer's, and each one's share of the machine's matrix peaks in GFLOP/s."""
    peer = [one.rate for one in trained[PEER]]
    comparisons = []
    sides: tuple[tuple[str, str, float | None], ...] = (
        ("training at defaults", DEFAULT, MINIMUM_AT_DEFAULTS),
        ("training at equal precision", EQUAL_PRECISION, MINIMUM_AT_EQUAL_PRECISION[job.device]),
        ("training compiled, in one batch", WHOLE, None),
    )
    for what, name, minimum in sides:
        if name in trained:
            comparisons.append(rate_ratio(what, PEER, [one.rate for one in trained[name]], peer, RATE, minimum))
    if EQUAL_PRECISION in trained:
        mine, other = trained[EQUAL_PRECISION][0].held_out_loss, trained[PEER][0].held_out_loss
        apart = max(mine, other) / min(mine, other)
        comparisons.append(
            measured_once(
                "held-out loss, apart",
                PEER,
                ours=mine,
                theirs=other,
                unit="",
                advantage=apart,
                advantage_unit="x",
                maximum=MAXIMUM_LOSS_APART,
            )
        )
    mine, other = (100.0 * share for share in corpus_padding(job))
    comparisons.append(
        measured_once(
            "padding",
            PEER,
            ours=mine,
            theirs=other,
            unit="%",
            advantage=mine,
            advantage_unit="%",
            maximum=MAXIMUM_PADDING,
        )
    )
    best = {name: max(one.rate for one in rounds) for name, rounds in trained.items()}
    for precision, peak in peaks.items():
        shares = {name: 100.0 * GFLOP_PER_SECOND_OF_AUDIO * rate / peak for name, rate in best.items()}
        for name, further in ((DEFAULT, ""), (WHOLE, ", compiled")):
            if name in shares:
                mine, other = shares[name], shares[PEER]
                what = f"of the {precision} peak{further}"
                comparisons.append(
                    measured_once(
                        what, PEER, ours=mine, theirs=other, unit="%", advantage=mine / other, advantage_unit="x"
                    )
                )
    return comparisons


def corpus_padding(job: "TrainingJob") -> tuple[float, float]:
    """Shares of padding in an epoch over all of the corpus: ours, and the peer's, whose sampler groups by length."""
    import torch
    from transformers.trainer_pt_utils import LengthGroupedSampler

    from experiments.harness.fine_tuning import SEED
    from preprocessing.batching import DurationBatches

    durations = job.corpus_seconds
    ours = DurationBatches(durations, max_seconds=job.batch_seconds, seed=SEED).epoch(0)
    generator = torch.Generator().manual_seed(SEED)
    size = job.utterances_per_batch
    order = list(LengthGroupedSampler(size, lengths=[round(1000 * d) for d in durations], generator=generator))
    theirs = [order[first : first + size] for first in range(0, len(order), size)]
    valid = sum(durations)
    mine, other = (
        sum(len(batch) * max(durations[place] for place in batch) for batch in batches) for batches in (ours, theirs)
    )
    return 1.0 - valid / mine, 1.0 - valid / other


def _settings(trained: "Mapping[str, Sequence[Trained]]", job: "TrainingJob", rounds: int, threads: int) -> str:
    from experiments.harness.fine_tuning import WARM_UP_UPDATES

    lines = [
        f"{counted(rounds, 'round')} of {counted(job.updates, 'update')} after {WARM_UP_UPDATES[job.device]} of "
        f"warm-up, a process each, {counted(threads, 'thread')}, {job.device}, wall-clock"
    ]
    for name, runs in trained.items():
        seconds = [update.audio_seconds for one in runs for update in one.updates]
        lines.append(f"{name}: {sum(seconds) / len(seconds):.1f} s of audio in an update")
    if PEER in trained:
        first = trained[PEER][0]
        lines.append(
            f"{PEER} prepared its input beforehand, not counted: {first.preparation_seconds:.1f} s, "
            f"{first.preparation_bytes / 1e6:.0f} MB on the disk; ours decodes while it trains"
        )
    return "\n".join(lines)


def draw_losses(axes: "Axes", trained: "Mapping[str, Sequence[Trained]]") -> None:
    """The loss for each label over the audio seen, of every side's first round."""
    from preprocessing.plot_style import PALETTE

    for place, (name, runs) in enumerate(trained.items()):
        seen, losses, audio_seconds = [], [], 0.0
        for update in runs[0].updates:
            audio_seconds += update.audio_seconds
            seen.append(audio_seconds)
            losses.append(update.loss)
        axes.plot(seen, losses, color=PALETTE.of(place), marker="o", ms=3, label=name)
    axes.set(xlabel="audio seen, s", ylabel="CTC loss for each label", ylim=(0, None), xlim=(0, None))
    axes.legend(frameon=False)


def main(arguments: Sequence[str] | None = None) -> None:
    run_experiment(Config, run, __doc__, __file__, arguments)


if __name__ == "__main__":
    run_command(main)
