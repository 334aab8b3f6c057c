"""What training costs, measured on one batch: seconds of its parts, and the memory that is held and that it needs.

Parameters, gradients and optimiser states are counted exactly. Activations are a peak: of CUDA's allocator on a GPU; on
a CPU the growth of the process's resident memory while the batch is computed, which is less where memory is reused.
"""

import os
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass

import psutil
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from finetune.models.base import Batch

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
