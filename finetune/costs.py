"""What a run would cost, measured on a few of its batches: memory by what holds it, and time in all."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from rich import box
from rich.console import Console
from rich.table import Table

from finetune.config import TrainConfig
from finetune.evaluation import Evaluator
from finetune.examples import Examples, Visit, collate
from finetune.measured import Held, Pass, forward_backward, held
from finetune.models.base import Batch, Recogniser
from preprocessing.batching import DurationBatches
from preprocessing.errors import InputError
from preprocessing.text import Profile

MEGABYTE = 2**20


@dataclass(frozen=True, slots=True)
class _Timed:
    """A batch of training: loaded and computed."""

    batch: Batch
    load_seconds: float
    computed: Pass


def print_costs(
    console: Console,
    config: TrainConfig,
    accelerator: Accelerator,
    recogniser: Recogniser,
    examples: Examples,
    validation: Examples,
    profile: Profile,
) -> None:
    """Measure a few batches and print what they mean. Raises InputError where the largest does not fit."""
    module = accelerator.prepare(recogniser.module)
    batches = DurationBatches(
        [u.duration for u in examples.utterances], max_seconds=config.data.max_batch_seconds, seed=config.seed
    ).epoch(0)
    sizes = [len(batch) * max(examples.utterances[i].duration for i in batch) for batch in batches]
    largest = max(range(len(batches)), key=sizes.__getitem__)
    mean = sum(sizes) / len(sizes)
    middle = min(range(len(batches)), key=lambda number: abs(sizes[number] - mean))
    most = _timed(accelerator, recogniser, module, examples, batches[largest])
    usual = _timed(accelerator, recogniser, module, examples, batches[middle])
    load, compute = usual.load_seconds, usual.computed.seconds * mean / max(usual.batch.seconds[1], 1e-9)
    workers = config.data.workers or 0
    update = config.optimisation.accumulate * (compute if workers else compute + load)
    update = max(update, config.optimisation.accumulate * load / max(workers, 1))
    evaluation = _evaluation_seconds(config, accelerator, recogniser, module, validation, profile)
    evaluations = 1 + -(-config.optimisation.updates // config.evaluate_every)
    seconds = config.optimisation.updates * update + evaluations * evaluation
    needs = held(recogniser.module, averaged=config.optimisation.ema_decay > 0)
    console.print("[bold]One batch[/], the largest of the first epoch")
    audio_seconds, padded_seconds = most.batch.seconds
    console.print(
        f"  {len(most.batch.indices)} utterances, {audio_seconds:.1f} s of audio, {padded_seconds:.1f} s with padding; "
        f"loss {most.computed.loss_per_label:.2f} a label\n"
        f"  read in {most.load_seconds:.2f} s, forward and backward in {most.computed.seconds:.2f} s "
        f"on {accelerator.device}",
        soft_wrap=True,
    )
    console.print("\n[bold]Memory[/]")
    console.print(_memory_table(needs, most.computed, accelerator.device.type))
    epochs = config.optimisation.updates * config.optimisation.accumulate / len(batches)
    console.print("[bold]Time[/], as measured on this machine as it is now")
    console.print(
        f"  {config.optimisation.updates:,} updates of {update:.2f} s: {config.optimisation.accumulate} of "
        f"{len(batches)} batches an epoch, each {compute:.2f} s to compute and {load:.2f} s to read in "
        f"{workers or 'no other'} process{'es' if workers > 1 else ''}\n"
        f"  {evaluations:,} evaluations of {evaluation:.1f} s\n"
        f"  in all about [bold]{_hours(seconds)}[/], {epochs:.1f} epochs",
        soft_wrap=True,
    )
    console.print()


def _timed(
    accelerator: Accelerator, recogniser: Recogniser, module: Any, examples: Examples, indices: Sequence[int]
) -> _Timed:
    began = time.perf_counter()
    collated = collate([examples[Visit(index, 0)] for index in indices])
    seconds = time.perf_counter() - began
    if collated.batch is None:
        raise InputError(
            f"{collated.rejects[0].where}: {collated.rejects[0].reason}; no utterance of a batch is usable"
        )
    batch = collated.batch.to(accelerator.device)
    try:
        computed = forward_backward(
            accelerator, module, batch, torch.Generator().manual_seed(0), recogniser.count_labels(batch)
        )
    except torch.OutOfMemoryError:
        raise InputError(
            f"a batch of {len(batch.indices)} utterances, {batch.seconds[1]:.0f} s with padding, does not fit into the "
            "device's memory; expected one that does: lower --data.max_batch_seconds or --data.max_seconds, or set "
            "--model.gradient_checkpointing true"
        ) from None
    return _Timed(batch, seconds, computed)


def _evaluation_seconds(
    config: TrainConfig,
    accelerator: Accelerator,
    recogniser: Recogniser,
    module: Any,
    validation: Examples,
    profile: Profile,
) -> float:
    """A middle-sized batch of validation, evaluated, taken times all seconds over its own."""
    durations = [utterance.duration for utterance in validation.utterances]
    batches = DurationBatches(durations, max_seconds=config.data.max_batch_seconds).in_order()
    chosen = batches[len(batches) // 2]
    some = Examples(
        [validation.utterances[index] for index in chosen],
        [validation.labels[index] for index in chosen],
        recogniser,
        validation.denoise,
    )
    evaluator = Evaluator(some, profile, recogniser, max_batch_seconds=config.data.max_batch_seconds)
    began = time.perf_counter()
    evaluator.run(accelerator, module)
    return (time.perf_counter() - began) * sum(durations) / sum(durations[index] for index in chosen)


def _memory_table(needs: Held, computed: Pass, device: str) -> Table:
    measured = "peak of CUDA's allocator" if device == "cuda" else "growth of resident memory, sampled"
    rows = [
        ("parameters and buffers", needs.parameters, "exact"),
        ("gradients", needs.gradients, "exact"),
        ("optimiser states", needs.optimiser_states, "exact"),
        *([("moving average", needs.average, "exact")] if needs.average else []),
        ("activations of that batch", computed.activation_bytes, measured),
    ]
    table = Table(box=box.SIMPLE_HEAD, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim")
    for name, size, how in rows:
        table.add_row(f"  {name}", f"{size / MEGABYTE:,.1f} MiB", how)
    table.add_row("  in all", f"{(needs.total + computed.activation_bytes) / MEGABYTE:,.1f} MiB", "", style="bold")
    return table


def _hours(seconds: float) -> str:
    """
    >>> _hours(30.0), _hours(600.0), _hours(9000.0)
    ('30 s', '10.0 min', '2.5 h')
    """
    return (
        f"{seconds:.0f} s"
        if seconds < 100
        else f"{seconds / 60:.1f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )
