"""One optimiser step: gradients over all its batches and processes, clipped and applied, or skipped.

The loss is summed over labels and divided by their number over all batches and processes, so that the result does not
depend on gradient accumulation, on the number of processes, or on a batch that is computed in parts to fit into memory,
but for the masks and dropout that are drawn.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from finetune.config import OptimisationConfig
from finetune.models.base import Batch, TrainableRecogniser
from finetune.training.distributed import StepTotals, step_totals
from preprocessing.errors import InputError, counted

MAX_SKIPPED = 50  # steps in a row without a finite gradient, or without audio, after which the run ends


@dataclass(frozen=True, slots=True)
class StepResult:
    """A step over all processes, but for `loss_sum`, which is of this process.

    grad_norm: before clipping. skipped: the gradient was not finite, and no weight changed.
    """

    loss_sum: float
    n_labels: int
    audio_seconds: float
    padded_seconds: float
    grad_norm: float
    skipped: bool


class Stepper:
    """Makes the steps of a prepared module. parts: into how many a batch is cut to fit into memory."""

    def __init__(
        self,
        accelerator: Accelerator,
        recogniser: TrainableRecogniser,
        optimiser: Any,
        schedule: Any,
        config: OptimisationConfig,
    ) -> None:
        self._accelerator = accelerator
        self._recogniser = recogniser
        self._optimiser = optimiser
        self._schedule = schedule
        self._config = config
        self._skipped_in_a_row = 0
        self._empty_in_a_row = 0
        self._idle_batch: Batch | None = None
        self.parts = 1

    def step(
        self,
        module: nn.Module,
        batches: Sequence[Batch],
        mask_generator: Callable[[int], torch.Generator],
        totals: StepTotals | None = None,
    ) -> StepResult:
        """Update the weights once. All processes call it, each with its own batches.

        mask_generator: a new generator for the masks of the n-th batch at each call, seeded the same.
        totals: of all processes, computed if None. Without any batch, no weight changes.
        Raises InputError after MAX_SKIPPED steps in a row without a finite gradient or without a batch.
        """
        totals = step_totals(self._accelerator, self._recogniser, batches) if totals is None else totals
        if totals.batches == 0:
            return self._without_batches()
        self._empty_in_a_row = 0
        n_labels, idle = max(totals.labels, 1), self._idle_passes(len(batches))
        while True:
            try:
                loss_sum = self._backward(module, batches, mask_generator, n_labels, idle_follows=len(idle) > 0)
                break
            except torch.OutOfMemoryError:
                self._cut_smaller(batches)
        if idle:
            self._idle_backward(module, idle, mask_generator)
        norm = float(self._accelerator.clip_grad_norm_(module.parameters(), self._config.max_grad_norm))
        skipped = self._apply(norm)
        self._schedule.step()
        self._optimiser.zero_grad()
        return StepResult(loss_sum, n_labels, totals.audio_seconds, totals.padded_seconds, norm, skipped)

    def _backward(
        self,
        module: nn.Module,
        batches: Sequence[Batch],
        mask_generator: Callable[[int], torch.Generator],
        n_labels: int,
        *,
        idle_follows: bool,
    ) -> float:
        """Accumulate the gradients of all batches. Returns the sum of the losses.

        idle_follows: further passes of this step follow, and gradients are synchronised in the last of them.
        """
        losses = []
        for part, generator, is_last in self._parts(batches, mask_generator):
            with contextlib.nullcontext() if is_last and not idle_follows else self._accelerator.no_sync(module):
                with self._accelerator.autocast():
                    loss: Tensor = module(part, generator)
                # gradients are averaged over processes; times their number, they are summed
                self._accelerator.backward(loss * (self._accelerator.num_processes / n_labels))
            losses.append(loss.detach())
        return sum(torch.stack(losses).tolist()) if losses else 0.0  # waits for the device once

    def _parts(
        self, batches: Sequence[Batch], mask_generator: Callable[[int], torch.Generator]
    ) -> Iterator[tuple[Batch, torch.Generator, bool]]:
        """The parts of all batches, with the generator of their batch, and whether it is the last part."""
        for number, batch in enumerate(batches):
            generator, parts = mask_generator(number), batch.split(self.parts)
            for place, part in enumerate(parts):
                yield part, generator, number == len(batches) - 1 and place == len(parts) - 1

    def _idle_passes(self, n_batches: int) -> range:
        """Numbers of the passes that this process lacks with so many batches of its own."""
        several = self._accelerator.num_processes > 1
        return range(n_batches, self._config.gradient_accumulation_steps if several else n_batches)

    def _idle_backward(
        self, module: nn.Module, passes: range, mask_generator: Callable[[int], torch.Generator]
    ) -> None:  # fmt: skip
        """Make the last passes of a step with a loss of weight 0.

        A process all of whose utterances in a batch were rejected has a batch less than the others, which would wait
        for it for ever: DDP reduces gradients in the last backward pass, and FSDP gathers weights in every pass. So
        each process makes gradient_accumulation_steps passes, the missing ones over a batch of noise. Its gradient is
        0, and its changes of buffers (batch normalisation's statistics) are undone.
        """
        if self._idle_batch is None:
            self._idle_batch = self._recogniser.idle_batch().to(self._accelerator.device)
        buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
        for number in passes:
            with contextlib.nullcontext() if number == passes[-1] else self._accelerator.no_sync(module):
                with self._accelerator.autocast():
                    loss: Tensor = module(self._idle_batch, mask_generator(number))
                self._accelerator.backward(loss * 0.0)
        for buffer, value in buffers:
            buffer.copy_(value)

    def _without_batches(self) -> StepResult:
        """A step in which no process has a batch: only the schedule moves on.

        Raises InputError after MAX_SKIPPED of them in a row.
        """
        self._empty_in_a_row += 1
        if self._empty_in_a_row >= MAX_SKIPPED:
            raise InputError(
                f"no utterance could be decoded in {MAX_SKIPPED} consecutive steps; expected audio to train on: "
                "rejects.jsonl in the run's folder gives the reasons"
            )
        self._step_without_gradients()
        self._schedule.step()
        return StepResult(0.0, 0, 0.0, 0.0, 0.0, False)

    def _apply(self, norm: float) -> bool:
        """Step the optimiser unless the gradient is not finite. Returns whether it was skipped."""
        if self._accelerator.scaler is not None:  # fp16: the gradient scaler itself skips, and lowers its scale
            self._optimiser.step()
            skipped = bool(self._optimiser.step_was_skipped)
        else:
            skipped = not math.isfinite(norm)
            if not skipped:
                self._optimiser.step()
        if skipped:
            self._step_without_gradients()
        self._skipped_in_a_row = self._skipped_in_a_row + 1 if skipped else 0
        if self._skipped_in_a_row >= MAX_SKIPPED:
            raise InputError(
                f"the gradient has not been finite for {MAX_SKIPPED} consecutive steps; expected a falling loss: begin "
                "a new run with a lower --learning_rate, or with --mixed_precision bf16 or no"
            )
        return skipped

    def _step_without_gradients(self) -> None:
        """Step the optimiser without changing a weight: torch's schedule expects a step before each of its own."""
        self._optimiser.zero_grad()
        getattr(self._optimiser, "optimizer", self._optimiser).step()

    def _cut_smaller(self, batches: Sequence[Batch]) -> None:
        """Double the number of parts, after a batch did not fit. Raises InputError if there is nothing to cut."""
        self._optimiser.zero_grad()
        torch.cuda.empty_cache()
        largest = max(len(batch.indices) for batch in batches)
        if self._accelerator.num_processes > 1 or self.parts >= largest:
            recomputes = self._config.gradient_checkpointing
            resume = "" if recomputes else "resume with --gradient_checkpointing true, or "
            raise InputError(
                f"a batch of {counted(largest, 'utterance')}, {max(batch.seconds[1] for batch in batches):.0f} s with "
                f"padding, does not fit into the device's memory; expected a smaller one: {resume}begin a new run with "
                "a lower --data.max_batch_seconds or --data.max_seconds"
            ) from None
        self.parts *= 2
        self._accelerator.print(
            f"out of memory: from here on, batches are computed in {self.parts} parts, with the same result but for "
            "the masks and dropout drawn; a lower --data.max_batch_seconds would be faster"
        )


@dataclass(frozen=True, slots=True)
class IntervalSums:
    """What a checkpoint keeps of a `LogInterval`, so that the resumed run's next line is of all its steps.

    loss_sums: of each process, by rank.
    """

    loss_sums: tuple[float, ...] = ()
    n_labels: int = 0
    audio_seconds: float = 0.0
    padded_seconds: float = 0.0
    skipped: int = 0
    grad_norm: float | None = None


@dataclass(slots=True)
class LogInterval:
    """Sums over the steps since the last line of the log; times are in seconds of wall clock.

    loss_sum is of this process until the loop sets the sum over all. skipped: steps whose gradient was not finite,
    which loss_sum, n_labels and grad_norm leave out. grad_norm: of the last step that changed weights, if any.
    waiting: for data. paused: for evaluations and checkpoints, which the rates leave out, as they do audio_before: of
    steps before the run was resumed.
    """

    loss_sum: float = 0.0
    n_labels: int = 0
    audio_seconds: float = 0.0
    padded_seconds: float = 0.0
    skipped: int = 0
    grad_norm: float | None = None
    audio_before: float = 0.0
    waiting: float = 0.0
    paused: float = 0.0
    _began: float = field(default_factory=time.perf_counter)

    @classmethod
    def resumed(cls, sums: IntervalSums, process: int = 0, n_processes: int = 1) -> "LogInterval":
        """The interval of one process of a run that goes on from a checkpoint.

        Its loss_sum is that of its rank, and of ranks that are no more where the run had more processes.
        """
        values = asdict(sums)
        loss_sum = sum(values.pop("loss_sums")[process::n_processes])
        return cls(loss_sum=loss_sum, audio_before=sums.audio_seconds, **values)

    def sums(self, loss_sums: Sequence[float]) -> IntervalSums:
        """What a checkpoint keeps. loss_sums: `loss_sum` of every process."""
        shared = {one.name: getattr(self, one.name) for one in fields(IntervalSums) if one.name != "loss_sums"}
        return IntervalSums(tuple(loss_sums), **shared)

    def add(self, result: StepResult) -> None:
        """Add the loss, labels and times of one step to the sums."""
        self.audio_seconds += result.audio_seconds
        self.padded_seconds += result.padded_seconds
        self.skipped += result.skipped
        if result.n_labels and not result.skipped:
            self.loss_sum += result.loss_sum
            self.n_labels += result.n_labels
            self.grad_norm = result.grad_norm

    def values(self) -> dict[str, float]:
        """The fields of a line of kind "train" in log.jsonl; the loss is per label, NaN without any."""
        elapsed = time.perf_counter() - self._began - self.paused
        return {
            "loss": self.loss_sum / self.n_labels if self.n_labels else math.nan,
            "grad_norm": math.nan if self.grad_norm is None else self.grad_norm,
            "audio_seconds_per_second": (self.audio_seconds - self.audio_before) / elapsed,
            "padding_share": 1.0 - self.audio_seconds / max(self.padded_seconds, 1e-9),
            "stall_share": self.waiting / elapsed,
            "skipped_steps": self.skipped,
        }
