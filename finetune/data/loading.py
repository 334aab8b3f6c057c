"""Batches from examples: in the process itself, or in workers that decode while the device computes."""

import os
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from finetune.data.examples import Collated, collate

MOST_WORKERS = 12  # by default
PREFETCHED = 4  # batches that each worker is ahead


def default_workers(device: torch.device) -> int:
    """Beside a GPU a process for each core that this process has, but one; a CPU has its cores to compute with."""
    if device.type == "cpu":
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(min(cores // int(os.environ.get("LOCAL_WORLD_SIZE", 1)) - 1, MOST_WORKERS), 0)


def load_batches(
    examples: Dataset[Any], keys: Iterable[list[Any]], device: torch.device, *, workers: int, seed: int = 0
) -> Iterator[Collated]:
    """keys: of the examples of each batch; what comes is on the CPU, in pinned memory where it goes to a GPU."""
    loader: DataLoader[Any] = DataLoader(
        examples,
        batch_sampler=_Stream(keys),
        collate_fn=collate,
        num_workers=workers,
        prefetch_factor=PREFETCHED if workers else None,
        pin_memory=device.type == "cuda",
        # its own: otherwise it draws from the state that dropout draws from, and no run resumes exactly
        generator=torch.Generator().manual_seed(seed),
    )
    return iter(loader)


class _Stream(Sampler[list[Any]]):
    """Keys as they come, without a length."""

    def __init__(self, keys: Iterable[list[Any]]) -> None:
        self._keys = keys

    def __iter__(self) -> Iterator[list[Any]]:
        return iter(self._keys)
