"""What a run would cost, measured on a few of its batches: memory by what holds it, and time in all."""

import os
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from accelerate import Accelerator
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from finetune.config import TrainConfig
from finetune.data.examples import Examples, Visit, collate
from finetune.models.base import Batch, Recogniser
from finetune.training.evaluation import Evaluator
from preprocessing.batching import DurationBatches
from preprocessing.cli.errors import InputError
from preprocessing.text import Profile

SAMPLING_SECONDS = 0.005  # between looks at resident memory
STATES = 2  # of AdamW for each trained number: its mean gradient and mean square


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes that training holds at all times."""

    parameters: int
    gradients: int
    optimiser_states: int
    average: int  # the moving average of the weights, 0 without

    @property
    def total(self) -> int:
        return self.parameters + self.gradients + self.optimiser_states + self.average


@dataclass(frozen=True, slots=True)
class Pass:
    """One batch forward and backward."""

    seconds: float
    activation_bytes: int
    loss_per_label: float


def held(module: nn.Module, *, averaged: bool) -> Held:
    """Buffers count as parameters; fused AdamW keeps a float32 count of steps beside each tensor."""
    trained = [p for p in module.parameters() if p.requires_grad]
    return Held(
        parameters=_bytes([*module.parameters(), *module.buffers()]),
        gradients=_bytes(trained),
        optimiser_states=STATES * _bytes(trained) + 4 * len(trained),
        average=_bytes(trained) if averaged else 0,
    )


def forward_backward(
    accelerator: Accelerator, module: nn.Module, batch: Batch, generator: torch.Generator, n_labels: int
) -> Pass:
    """The training pass of a batch on the device. Gradients are there before, so that the peak is activations alone,
    and are emptied after. Raises torch.OutOfMemoryError where it does not fit.
    """
    for parameter in module.parameters():
        if parameter.requires_grad and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter).fill_(0.0)
    module.train()
    peak = _CudaPeak(accelerator.device) if accelerator.device.type == "cuda" else _ResidentPeak()
    began = time.perf_counter()
    with peak:
        with accelerator.autocast():
            loss: Tensor = module(batch, generator)
        accelerator.backward(loss / max(n_labels, 1))
        summed = loss.item()
        if accelerator.device.type == "cuda":
            torch.cuda.synchronize(accelerator.device)
    seconds = time.perf_counter() - began
    for parameter in module.parameters():
        if parameter.grad is not None:
            parameter.grad.zero_()
    return Pass(seconds, peak.bytes, summed / max(n_labels, 1))


class _CudaPeak:
    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.bytes = 0

    def __enter__(self) -> None:
        torch.cuda.synchronize(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        self._before = torch.cuda.memory_allocated(self._device)

    def __exit__(self, *_: object) -> None:
        self.bytes = torch.cuda.max_memory_allocated(self._device) - self._before


class _ResidentPeak:
    """Watches from a thread of its own: torch lets go of Python's lock while it computes."""

    def __init__(self) -> None:
        self.bytes = 0
        self._process = psutil.Process(os.getpid())
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._before = int(self._process.memory_info().rss)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._done.wait(SAMPLING_SECONDS):
            self._look()

    def _look(self) -> None:
        self.bytes = max(self.bytes, int(self._process.memory_info().rss) - self._before)


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


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
    workers = config.dataloader_num_workers or 0
    update = config.gradient_accumulation_steps * (compute if workers else compute + load)
    update = max(update, config.gradient_accumulation_steps * load / max(workers, 1))
    evaluation = _evaluation_seconds(config, accelerator, recogniser, module, validation, profile)
    evaluations = 1 + -(-config.max_steps // config.eval_steps)
    seconds = config.max_steps * update + evaluations * evaluation
    needs = held(recogniser.module, averaged=config.ema_decay > 0)
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
    epochs = config.max_steps * config.gradient_accumulation_steps / len(batches)
    console.print("[bold]Time[/], as measured on this machine as it is now")
    console.print(
        f"  {config.max_steps:,} updates of {update:.2f} s: {config.gradient_accumulation_steps} of "
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
            "--gradient_checkpointing true"
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
