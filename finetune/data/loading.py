"""Batches of examples: collated, and loaded in the training process or ahead of it in worker processes."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from finetune.models.base import Batch, Example, pad_batch
from preprocessing.cli.cores import usable_cores
from preprocessing.corpus import Reject

MAX_DEFAULT_WORKERS = 12
PREFETCH_FACTOR = 4  # batches that each worker loads ahead


@dataclass(frozen=True, slots=True)
class LoadedBatch:
    """A batch, None if every utterance of it was rejected, and the rejects."""

    batch: Batch | None
    rejects: tuple[Reject, ...]

    def pin_memory(self) -> "LoadedBatch":
        """The same in page-locked memory; torch's DataLoader calls this for a GPU."""
        return self if self.batch is None else LoadedBatch(self.batch.pin_memory(), self.rejects)


def collate(items: Sequence["Example | Reject"]) -> LoadedBatch:
    """The examples padded to one batch, and the rejects."""
    examples = [item for item in items if isinstance(item, Example)]
    rejects = tuple(item for item in items if isinstance(item, Reject))
    return LoadedBatch(pad_batch(examples) if examples else None, rejects)


def load_batches(
    examples: Dataset[Any], keys: Iterable[list[Any]], device: torch.device, *, workers: int, seed: int = 0
) -> Iterator[LoadedBatch]:
    """Batches of the examples, in the order of `keys`, which holds the keys of each batch.

    Tensors are on the CPU, in page-locked memory if the device is a GPU. workers: processes that load ahead; 0 loads in
    this process.
    """
    loader: DataLoader[Any] = DataLoader(
        examples,
        batch_sampler=keys,
        collate_fn=collate,
        num_workers=workers,
        prefetch_factor=PREFETCH_FACTOR if workers else None,
        pin_memory=device.type == "cuda",
        # without its own, it draws from the random state of dropout, and no run resumes exactly
        generator=torch.Generator().manual_seed(seed),
    )
    return iter(loader)


def default_workers(device: torch.device) -> int:
    """0 on a CPU, whose cores compute; on a GPU the cores of this process but one, up to MAX_DEFAULT_WORKERS."""
    if device.type == "cpu":
        return 0
    return max(min(usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", 1)) - 1, MAX_DEFAULT_WORKERS), 0)
