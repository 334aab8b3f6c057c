"""Costs of a run, measured on a few of its batches: memory by use, and time of the whole run."""

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
from finetune.data.corpora import MAIN
from finetune.data.examples import ExampleKey, Examples
from finetune.data.loading import collate
from finetune.models.base import Batch, TrainableRecogniser
from finetune.models.frozen_features import cache_pays
from finetune.training.evaluation import Evaluator
from finetune.training.setup import RunSetup
from preprocessing.audio import SAMPLE_RATE
from preprocessing.batching import DurationBatches
from preprocessing.errors import InputError, counted

SAMPLING_SECONDS = 0.005  # between samples of resident memory
ADAMW_STATES = 2  # numbers for each trained parameter: means of its gradient and of the square
MEGABYTE = 2**20
CACHED = (
    "  the feature cache is filled in the first epoch and evaluation; later ones take the time to compute alone, if "
    "all fits into --model.feature_cache_gib\n"
)


@dataclass(frozen=True, slots=True)
class StaticMemory:
    """Bytes in use at all times of a training. average: moving average of the weights, 0 without one."""

    parameters: int
    gradients: int
    optimiser_states: int
    average: int

    @property
    def total(self) -> int:
        return self.parameters + self.gradients + self.optimiser_states + self.average


@dataclass(frozen=True, slots=True)
class PassCost:
    """Time, peak of activations and loss of one forward and backward pass of a batch."""

    seconds: float
    activation_bytes: int
    loss_per_label: float


def static_memory(module: nn.Module, *, averaged: bool) -> StaticMemory:
    """Bytes of parameters, buffers, gradients, AdamW's states and, if `averaged`, the moving average.

    Fused AdamW has a float32 count of steps for each tensor.
    """
    trained = [p for p in module.parameters() if p.requires_grad]
    return StaticMemory(
        parameters=_bytes([*module.parameters(), *module.buffers()]),
        gradients=_bytes(trained),
        optimiser_states=ADAMW_STATES * _bytes(trained) + 4 * len(trained),
        average=_bytes(trained) if averaged else 0,
    )


def measure_pass(
    accelerator: Accelerator, module: nn.Module, batch: Batch, generator: torch.Generator, n_labels: int
) -> PassCost:
    """The cost of a batch's training pass on the device.

    Gradients are allocated before, so that the peak is that of activations alone, and set to 0 afterwards. Raises
    torch.OutOfMemoryError if the batch does not fit.
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
    return PassCost(seconds, peak.bytes, summed / max(n_labels, 1))


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
    """Growth of resident memory, sampled in a thread: torch releases Python's lock while it computes."""

    def __init__(self) -> None:
        self.bytes = 0
        self._process = psutil.Process(os.getpid())
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample_until_done, daemon=True)

    def __enter__(self) -> None:
        self._before = int(self._process.memory_info().rss)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._sample()

    def _sample_until_done(self) -> None:
        while not self._done.wait(SAMPLING_SECONDS):
            self._sample()

    def _sample(self) -> None:
        self.bytes = max(self.bytes, int(self._process.memory_info().rss) - self._before)


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@dataclass(frozen=True, slots=True)
class MeasuredBatch:
    """A batch on the device, the time to load it, and the cost of its pass."""

    batch: Batch
    load_seconds: float
    cost: PassCost


@dataclass(frozen=True, slots=True)
class RunCosts:
    """Memory and time of a run. largest: the largest batch of the first epoch. n_batches: of an epoch.

    compute_seconds, load_seconds: of a batch of mean size. step_seconds: of an optimiser step, with all its batches.
    head_step_seconds: the same while the head alone is trained; None where no step does.
    evaluation_seconds: of all validation sets together. With a feature cache, load_seconds, the seconds of steps and
    evaluation_seconds are those of the first time, and `seconds`, of the run, has later ones without loading.
    """

    memory: StaticMemory
    largest: MeasuredBatch
    n_batches: int
    compute_seconds: float
    load_seconds: float
    step_seconds: float
    n_evaluations: int
    evaluation_seconds: float
    seconds: float
    head_step_seconds: float | None = None


def measure_costs(setup: RunSetup) -> RunCosts:
    """The costs of a run, from its largest batch, one of mean size and one of validation.

    Raises InputError if the largest does not fit.
    """
    config, accelerator, recogniser, examples = setup.config, setup.accelerator, setup.recogniser, setup.train
    module = accelerator.prepare(recogniser.module)
    batches = examples.first_epoch(config.data.max_batch_seconds)
    sizes = [examples.computed_seconds(batch) for batch in batches]
    largest = max(range(len(batches)), key=sizes.__getitem__)
    mean = sum(sizes) / len(sizes)
    middle = min(range(len(batches)), key=lambda number: abs(sizes[number] - mean))
    largest_batch = _measure(accelerator, recogniser, module, examples, batches[largest])
    mean_batch = _measure(accelerator, recogniser, module, examples, batches[middle])
    load, to_mean = mean_batch.load_seconds, mean / max(mean_batch.batch.seconds[1], 1e-9)
    compute = head_compute = mean_batch.cost.seconds * to_mean
    if config.head_only_steps > 0:
        recogniser.train_head_only(True)
        head_compute = _pass_cost(accelerator, recogniser, module, mean_batch.batch).seconds * to_mean
        recogniser.train_head_only(False)
    step, head_step = (_step_seconds(config, seconds, load) for seconds in (compute, head_compute))
    computed = {name: sum(_computed_seconds(recogniser, examples)) for name, examples in setup.validation.items()}
    evaluation, again = (
        seconds * sum(computed.values()) / computed[MAIN] for seconds in _evaluation_seconds(setup, module)
    )
    evaluations = 1 + -(-config.max_steps // config.eval_steps)
    first = config.max_steps
    if has_cache(config):
        first = min(config.max_steps, -(-len(batches) // config.gradient_accumulation_steps))
    else:
        again = evaluation
    head_first = min(config.head_only_steps, first)
    head_later = config.head_only_steps - head_first
    later = config.max_steps - first - head_later
    later_compute = later * compute + head_later * head_compute
    return RunCosts(
        memory=static_memory(recogniser.module, averaged=config.ema_decay > 0),
        largest=largest_batch,
        n_batches=len(batches),
        compute_seconds=compute,
        load_seconds=load,
        step_seconds=step,
        n_evaluations=evaluations,
        evaluation_seconds=evaluation,
        seconds=(head_first * head_step + (first - head_first) * step)
        + config.gradient_accumulation_steps * later_compute
        + (evaluation + (evaluations - 1) * again),
        head_step_seconds=head_step if config.head_only_steps > 0 else None,
    )


def _step_seconds(config: TrainConfig, compute_seconds: float, load_seconds: float) -> float:
    """Time of an optimiser step whose batches each take so long to compute and to load."""
    workers = config.dataloader_num_workers or 0
    seconds = compute_seconds if workers else compute_seconds + load_seconds
    return config.gradient_accumulation_steps * max(seconds, load_seconds / max(workers, 1))


def has_cache(config: TrainConfig) -> bool:
    """Whether what is loaded is computed once and read afterwards, at a cost that is small beside the rest."""
    return config.model.feature_cache is not None and cache_pays()


def print_costs(console: Console, config: TrainConfig, device: torch.device, costs: RunCosts) -> None:
    """Print memory and time of a run."""
    batch, cost = costs.largest.batch, costs.largest.cost
    audio_seconds, padded_seconds = batch.seconds
    to_windows = f" to windows of {batch.window_samples / SAMPLE_RATE:g} s" if batch.window_samples else ""
    console.print("[bold]One batch[/], the largest of the first epoch")
    console.print(
        f"  {counted(len(batch.indices), 'utterance')}, {audio_seconds:.1f} s of audio, {padded_seconds:.1f} s with "
        f"padding{to_windows}; loss per label {cost.loss_per_label:.2f}\n"
        f"  loaded in {costs.largest.load_seconds:.2f} s, forward and backward in {cost.seconds:.2f} s on {device}",
        soft_wrap=True,
    )
    console.print("\n[bold]Memory[/]")
    console.print(_memory_table(costs.memory, cost, device.type))
    workers = config.dataloader_num_workers or 0
    epochs = config.max_steps * config.gradient_accumulation_steps / costs.n_batches
    of_corpus, in_epochs = f", {_batches(costs.n_batches)} an epoch", f", {epochs:.1f} epochs"
    if config.data.streaming:
        of_corpus = " of the stream"
        in_epochs = "; measured on the first utterances of a stream whose length is unknown"
    console.print("[bold]Time[/], as measured on this machine as it is now")
    console.print(
        f"  {_steps(config, costs)}: {_batches(config.gradient_accumulation_steps)} a step{of_corpus}; a batch takes "
        f"{costs.compute_seconds:.2f} s to compute and {costs.load_seconds:.2f} s to load ({_loaded_in(workers)})\n"
        f"  {costs.n_evaluations:,} evaluations of {costs.evaluation_seconds:.1f} s\n"
        f"{CACHED if has_cache(config) else ''}"
        f"  in all about [bold]{_hours(costs.seconds)}[/]{in_epochs}",
        soft_wrap=True,
    )
    console.print()


def _measure(
    accelerator: Accelerator, recogniser: TrainableRecogniser, module: Any, examples: Examples, indices: Sequence[int]
) -> MeasuredBatch:
    began = time.perf_counter()
    loaded = collate([examples[ExampleKey(index, 0)] for index in indices])
    seconds = time.perf_counter() - began
    if loaded.batch is None:
        raise InputError(f"{loaded.rejects[0].where}: {loaded.rejects[0].reason}; no utterance of the batch is usable")
    batch = loaded.batch.to(accelerator.device)
    return MeasuredBatch(batch, seconds, _pass_cost(accelerator, recogniser, module, batch))


def _pass_cost(accelerator: Accelerator, recogniser: TrainableRecogniser, module: Any, batch: Batch) -> PassCost:
    """The cost of a batch's training pass. Raises InputError if the batch does not fit into memory."""
    try:
        return measure_pass(
            accelerator, module, batch, torch.Generator().manual_seed(0), recogniser.count_labels(batch)
        )
    except torch.OutOfMemoryError:
        raise InputError(
            f"a batch of {counted(len(batch.indices), 'utterance')}, {batch.seconds[1]:.0f} s with padding, does not "
            "fit into the device's memory; expected a smaller one: set --gradient_checkpointing true, or lower "
            "--data.max_batch_seconds or --data.max_seconds"
        ) from None


def _evaluation_seconds(setup: RunSetup, module: Any) -> tuple[float, float]:
    """Time of an evaluation of the main set, with and without loading: of one batch of middle size, over its share of
    the computed seconds.
    """
    validation, recogniser, max_seconds = setup.validation[MAIN], setup.recogniser, setup.config.data.max_batch_seconds
    durations = [utterance.duration for utterance in validation.utterances]
    computed = _computed_seconds(recogniser, validation)
    batches = DurationBatches(durations, max_seconds=max_seconds).in_order()
    chosen = batches[len(batches) // 2]
    some = Examples(
        [validation.utterances[index] for index in chosen],
        [validation.labels[index] for index in chosen],
        recogniser,
        validation.denoise,
    )
    evaluator = Evaluator(some, setup.profile, recogniser, max_batch_seconds=max_seconds)
    began = time.perf_counter()
    for number in range(len(chosen)):
        some[ExampleKey(number)]
    loading = time.perf_counter() - began
    began = time.perf_counter()
    evaluator.run(setup.accelerator, module)
    seconds = time.perf_counter() - began
    share = sum(computed[index] for index in chosen) / sum(computed)
    return seconds / share, max(seconds - loading, 0.0) / share


def _computed_seconds(recogniser: TrainableRecogniser, examples: Examples) -> list[float]:
    """Seconds that the model computes on for each utterance alone."""
    return [recogniser.computed_seconds(utterance.duration) for utterance in examples.utterances]


def _memory_table(memory: StaticMemory, cost: PassCost, device: str) -> Table:
    measured = "peak of CUDA's allocator" if device == "cuda" else "growth of resident memory, sampled"
    rows = [
        ("parameters and buffers", memory.parameters, "exact"),
        ("gradients", memory.gradients, "exact"),
        ("optimiser states", memory.optimiser_states, "exact"),
        *([("moving average", memory.average, "exact")] if memory.average else []),
        ("activations of that batch", cost.activation_bytes, measured),
    ]
    table = Table(box=box.SIMPLE_HEAD, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim")
    for name, size, how in rows:
        table.add_row(f"  {name}", f"{size / MEGABYTE:,.1f} MiB", how)
    table.add_row("  in all", f"{(memory.total + cost.activation_bytes) / MEGABYTE:,.1f} MiB", "", style="bold")
    return table


def _steps(config: TrainConfig, costs: RunCosts) -> str:
    """Numbers of steps and the time of one, those of the head alone apart where they take another time."""
    seconds, head_steps = f"{costs.step_seconds:.2f} s", config.head_only_steps
    if costs.head_step_seconds is None or f"{costs.head_step_seconds:.2f} s" == seconds:
        return f"{counted(config.max_steps, 'step')} of {seconds}"
    of_head = f"{head_steps:,} of the head alone, of {costs.head_step_seconds:.2f} s"
    return f"{config.max_steps:,} steps, {of_head}, and {config.max_steps - head_steps:,} of {seconds}"


def _batches(count: int) -> str:
    return counted(count, "batch", "batches")


def _loaded_in(workers: int) -> str:
    """
    >>> _loaded_in(0), _loaded_in(1), _loaded_in(3)
    ('in the training process', 'in 1 other process', 'in 3 other processes')
    """
    return f"in {workers} other process{'es' if workers > 1 else ''}" if workers else "in the training process"


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
