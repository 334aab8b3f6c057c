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
from torch import Tensor, nn

from finetune.config import OptimisationConfig
from finetune.models.base import Batch, Recogniser
from finetune.training.agreement import Agreed, agree
from preprocessing.cli.errors import InputError

MOST_SKIPPED = 50  # updates in a row without a finite gradient, or without audio: the run is lost, not unlucky


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an update was made of, over all processes but for `loss_sum`, which is this one's own.

    skipped: its gradient was not finite, no weight moved.
    """

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
        self._empty_in_a_row = 0
        self._idle_batch: Batch | None = None
        self.parts = 1

    def update(
        self,
        module: nn.Module,
        batches: Sequence[Batch],
        generator_of: Callable[[int], torch.Generator],
        agreed: Agreed | None = None,
    ) -> Outcome:
        """Move the weights once. generator_of: the chance of the n-th batch's masks, begun anew at each call.

        agreed: what `agree` told of the batches; None asks it. Where no process has any, no weight moves.
        Raises InputError when no gradient has been finite, or no process has had a batch, for long.
        """
        agreed = agree(self._accelerator, self._recogniser, batches) if agreed is None else agreed
        if agreed.batches == 0:
            return self._without_batches()
        self._empty_in_a_row = 0
        n_labels, idle = max(agreed.labels, 1), self._idle_passes(len(batches))
        while True:
            try:
                loss_sum = self._gradients(module, batches, generator_of, n_labels, more=len(idle) > 0)
                break
            except torch.OutOfMemoryError:
                self._cut_smaller(batches)
        if idle:
            self._join(module, idle, generator_of)
        norm = float(self._accelerator.clip_grad_norm_(module.parameters(), self._config.max_grad_norm))
        skipped = self._apply(norm)
        self._schedule.step()
        self._optimiser.zero_grad()
        return Outcome(loss_sum, n_labels, agreed.audio_seconds, agreed.padded_seconds, norm, skipped)

    def _gradients(
        self,
        module: nn.Module,
        batches: Sequence[Batch],
        generator_of: Callable[[int], torch.Generator],
        n_labels: int,
        *,
        more: bool,
    ) -> float:
        """Add up gradients of every part of every batch. Returns the sum of the losses.

        more: other passes of this update follow, and the last of them is the one that processes meet in.
        """
        losses = []
        for part, generator, last in self._parts_of(batches, generator_of):
            with contextlib.nullcontext() if last and not more else self._accelerator.no_sync(module):
                with self._accelerator.autocast():
                    loss: Tensor = module(part, generator)
                # gradients are averaged over processes: undo that, so that they are summed
                self._accelerator.backward(loss * (self._accelerator.num_processes / n_labels))
            losses.append(loss.detach())
        return sum(torch.stack(losses).tolist()) if losses else 0.0  # waits for the device once

    def _idle_passes(self, made: int) -> range:
        """Numbers of the passes that this process lacks after so many batches of its own."""
        return range(made, self._config.gradient_accumulation_steps if self._accelerator.num_processes > 1 else made)

    def _join(self, module: nn.Module, passes: range, generator_of: Callable[[int], torch.Generator]) -> None:
        """Make passes that count for nothing, the last of an update.

        Where every utterance of a batch has failed, this process has a batch less than others, and they would wait for
        it for ever: DDP adds gradients up within the last backward pass, and FSDP gathers weights within every pass. So
        each process makes `accumulate` passes, some over a batch that is nobody's, with a weight of 0: its gradient is
        0, and what it leaves in buffers (batch normalisation's statistics) is undone.
        """
        if self._idle_batch is None:
            self._idle_batch = self._recogniser.idle_batch().to(self._accelerator.device)
        kept = [(buffer, buffer.clone()) for buffer in module.buffers()]
        for number in passes:
            with contextlib.nullcontext() if number == passes[-1] else self._accelerator.no_sync(module):
                with self._accelerator.autocast():
                    loss: Tensor = module(self._idle_batch, generator_of(number))
                self._accelerator.backward(loss * 0.0)
        for buffer, value in kept:
            buffer.copy_(value)

    def _without_batches(self) -> Outcome:
        """An update in which no process could use an utterance: nothing moves but the schedule.

        Raises InputError where it has been so for long.
        """
        self._empty_in_a_row += 1
        if self._empty_in_a_row >= MOST_SKIPPED:
            raise InputError(
                f"no utterance of {MOST_SKIPPED} updates in a row could be decoded; expected audio to train on: "
                "rejects.jsonl in the run's folder says what is wrong with each"
            )
        self._step_nowhere()
        self._schedule.step()
        return Outcome(0.0, 0, 0.0, 0.0, 0.0, False)

    def _step_nowhere(self) -> None:
        """A step without gradients, which moves nothing: the schedule counts on one before each of its own."""
        self._optimiser.zero_grad()
        getattr(self._optimiser, "optimizer", self._optimiser).step()

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
        if skipped:
            self._step_nowhere()
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

    loss: float = 0.0  # of this process, unless told those of all
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
