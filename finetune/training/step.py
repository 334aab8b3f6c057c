"""One update: gradients of the loss over all its batches and processes, clipped and applied, or skipped.

The loss is summed over labels and divided by their number across batches and processes, so that neither accumulation,
nor the number of processes, nor a batch cut in parts for want of memory changes what is optimised.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from finetune.config import OptimisationConfig
from finetune.models.base import Batch, Recogniser
from preprocessing.cli.errors import InputError

MOST_SKIPPED = 50  # updates in a row without a finite gradient: the run is lost, not unlucky


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an update was made of, over all processes. `skipped`: its gradient was not finite, no weight moved."""

    loss_sum: float
    n_labels: int
    audio_seconds: float
    padded_seconds: float
    gradient_norm: float  # before clipping
    skipped: bool


class Stepper:
    """Makes updates of one prepared module. `parts` counts into how many a batch is cut to fit into memory."""

    def __init__(
        self,
        accelerator: Accelerator,
        recogniser: Recogniser,
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
        self.parts = 1

    def update(
        self, module: nn.Module, batches: Sequence[Batch], generator_of: Callable[[int], torch.Generator]
    ) -> Outcome:
        """Move the weights once. generator_of: the chance of the n-th batch's masks, begun anew at each call.

        Raises InputError when no gradient has been finite for long.
        """
        counted = sum(self._recogniser.count_labels(batch) for batch in batches)
        n_labels = max(sum(gather_object([counted])), 1)
        while True:
            try:
                loss_sum = self._gradients(module, batches, generator_of, n_labels)
                break
            except torch.OutOfMemoryError:
                self._cut_smaller(batches)
        norm = float(self._accelerator.clip_grad_norm_(module.parameters(), self._config.max_grad_norm))
        skipped = self._apply(norm)
        self._schedule.step()
        self._optimiser.zero_grad()
        seconds = [batch.seconds for batch in batches]
        totals = gather_object([(loss_sum, sum(s for s, _ in seconds), sum(p for _, p in seconds))])
        sums = [sum(total[column] for total in totals) for column in range(3)]
        return Outcome(sums[0], n_labels, sums[1], sums[2], norm, skipped)

    def _gradients(
        self,
        module: nn.Module,
        batches: Sequence[Batch],
        generator_of: Callable[[int], torch.Generator],
        n_labels: int,
    ) -> float:
        """Add up gradients of every part of every batch. Returns the sum of the losses."""
        losses = []
        for part, generator, last in self._parts_of(batches, generator_of):
            with contextlib.nullcontext() if last else self._accelerator.no_sync(module):
                with self._accelerator.autocast():
                    loss: Tensor = module(part, generator)
                # gradients are averaged over processes: undo that, so that they are summed
                self._accelerator.backward(loss * (self._accelerator.num_processes / n_labels))
            losses.append(loss.detach())
        return sum(torch.stack(losses).tolist()) if losses else 0.0  # waits for the device once

    def _parts_of(
        self, batches: Sequence[Batch], generator_of: Callable[[int], torch.Generator]
    ) -> Iterator[tuple[Batch, torch.Generator, bool]]:
        for number, batch in enumerate(batches):
            generator, parts = generator_of(number), batch.split(self.parts)
            for place, part in enumerate(parts):
                yield part, generator, number == len(batches) - 1 and place == len(parts) - 1

    def _cut_smaller(self, batches: Sequence[Batch]) -> None:
        """After a batch did not fit: twice as many parts from now on. Raises InputError where none is left to cut."""
        self._optimiser.zero_grad()
        torch.cuda.empty_cache()
        largest = max(len(batch.indices) for batch in batches)
        if self._accelerator.num_processes > 1 or self.parts >= largest:
            raise InputError(
                f"a batch of {largest} utterances, {max(batch.seconds[1] for batch in batches):.0f} s with padding, "
                "does not fit into the device's memory; expected one that does: lower --data.max_batch_seconds or "
                "--data.max_seconds, or set --gradient_checkpointing true"
            ) from None
        self.parts *= 2
        self._accelerator.print(
            f"out of memory: batches are computed in {self.parts} parts from here on, with the same result; a lower "
            "--data.max_batch_seconds would be faster"
        )

    def _apply(self, norm: float) -> bool:
        """Take the step, unless the gradient is not finite. Returns whether it was skipped."""
        if self._accelerator.scaler is not None:  # fp16: the scaler itself skips, and lowers its scale
            self._optimiser.step()
            skipped = bool(self._optimiser.step_was_skipped)
        else:
            skipped = not math.isfinite(norm)
            if not skipped:
                self._optimiser.step()
        if skipped:  # a step without gradients, which moves nothing: the schedule counts on one before each of its own
            self._optimiser.zero_grad()
            getattr(self._optimiser, "optimizer", self._optimiser).step()
        self._skipped_in_a_row = self._skipped_in_a_row + 1 if skipped else 0
        if self._skipped_in_a_row >= MOST_SKIPPED:
            raise InputError(
                f"the gradient has not been finite for {MOST_SKIPPED} updates in a row; expected a loss that falls: "
                "lower --learning_rate, or use bf16 or no for --mixed_precision"
            )
        return skipped


@dataclass(slots=True)
class Window:
    """What the updates since the last line were made of; times are wall-clock seconds."""

    loss: float = 0.0
    labels: int = 0
    audio_seconds: float = 0.0
    padded_seconds: float = 0.0
    skipped: int = 0  # updates whose gradient was not finite
    gradient_norm: float = 0.0  # of the last update
    stalled: float = 0.0  # waited for data
    paused: float = 0.0  # evaluated and saved, which counts for neither speed nor stall
    _since: float = field(default_factory=time.perf_counter)

    def add(self, outcome: Outcome) -> None:
        self.loss += outcome.loss_sum
        self.labels += outcome.n_labels
        self.audio_seconds += outcome.audio_seconds
        self.padded_seconds += outcome.padded_seconds
        self.skipped += outcome.skipped
        self.gradient_norm = outcome.gradient_norm

    def values(self) -> dict[str, float]:
        """As the log names them."""
        elapsed = time.perf_counter() - self._since - self.paused
        return {
            "loss": self.loss / max(self.labels, 1),
            "grad_norm": self.gradient_norm,
            "audio_seconds_per_second": self.audio_seconds / elapsed,
            "padding_share": 1.0 - self.audio_seconds / max(self.padded_seconds, 1e-9),
            "stall_share": self.stalled / elapsed,
            "skipped_updates": self.skipped,
        }
