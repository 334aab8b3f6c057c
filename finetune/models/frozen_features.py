"""Encoder states of frozen blocks, kept on the disk: a small machine computes them once instead of in every epoch.

A state is found again by the frozen weights and by the waveform's samples, so several runs over the same audio share a
folder, and an augmented waveform never meets the state of another one. The folder is bounded: what has no room is
computed each time.
"""

import contextlib
import hashlib
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from finetune.config import ModelConfig
from preprocessing.storage.atomic_write import atomic_file

GIB = 2**30
RECOUNT_WRITES = 200  # files that a process writes until it counts anew what all processes have written


class FeatureCache:
    """What `compute` returns for a waveform, read from the disk where it was computed before.

    folder: made where it is missing. max_gib: bound on all files below it, those of other weights included, 0 to write
    nothing; several processes may each exceed it by RECOUNT_WRITES files, and the first that finds it full says so on
    stderr, once for all that were started from the one that has opened it. weights: the tensors that
    `compute` depends on. compute: waveform [samples] -> states [channels, frames], without randomness; what it is
    called with besides is part of what a state is found by. They are kept in half precision.
    """

    def __init__(
        self, folder: Path, max_gib: float, weights: Iterable[tuple[str, Tensor]], compute: Callable[..., Tensor]
    ) -> None:
        self._folder = folder / _digest_of_weights(weights)
        self._compute = compute
        self._shared_folder = folder
        self._max_gib = max_gib
        self._free_bytes = self._count_free_bytes()
        self._writes = 0  # since they were counted
        # shared with the processes that load data, however they are started
        self._noted = torch.zeros(1, dtype=torch.bool).share_memory_()  # type: ignore[no-untyped-call]

    def __call__(self, waveform: Tensor, **options: object) -> Tensor:
        """States [channels, frames] of a waveform [samples], float32; the same on the first call and on later ones.

        options: further arguments of `compute`.
        """
        digest = hashlib.blake2b(waveform.contiguous().numpy().tobytes(), digest_size=16)
        digest.update(repr(sorted(options.items())).encode() if options else b"")
        name = digest.hexdigest()
        path = self._folder / name[:2] / f"{name}.safetensors"
        try:
            return load_file(path)["states"].float()
        except (OSError, SafetensorError):  # not there yet, or damaged: computed again
            pass
        with torch.no_grad():
            states = self._compute(waveform, **options).half().contiguous()
        size = states.numel() * states.element_size()
        if size <= self._free_bytes:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(path) as temporary:
                save_file({"states": states}, temporary)
            self._free_bytes -= size
            self._writes += 1
            if self._writes == RECOUNT_WRITES:
                self._free_bytes, self._writes = self._count_free_bytes(), 0
        elif self._max_gib > 0.0 and not self._noted:
            self._note_full()
        return states.float()

    def _count_free_bytes(self) -> float:
        """The bytes that may still be written, after what all processes have written so far."""
        used = 0
        for path in self._shared_folder.rglob("*.safetensors"):
            with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                used += path.stat().st_size
        return self._max_gib * GIB - used

    def _note_full(self) -> None:
        self._noted.fill_(True)
        if os.environ.get("RANK", "0") == "0":
            print(
                f"the feature cache is full: {self._max_gib:g} GiB in {self._shared_folder}, so the frozen "
                "blocks are computed anew for all further utterances; raise --model.feature_cache_gib, or delete what "
                "other runs have left there",
                file=sys.stderr,
            )


def open_cache(
    config: ModelConfig, weights: Iterable[tuple[str, Tensor]], compute: Callable[..., Tensor]
) -> FeatureCache | None:
    """The cache that a configuration asks for; None where it asks for none, or a cache does not pay.

    weights, compute: see `FeatureCache`.
    """
    if config.feature_cache is None or not cache_pays():
        return None
    return FeatureCache(config.feature_cache, config.feature_cache_gib, weights, compute)


def cache_pays() -> bool:
    """Whether states are read from the disk: on a CPU. A GPU computes them sooner than the disk gives them, and the
    processes that load data have no access to it.
    """
    return not torch.accelerator.is_available()


def _digest_of_weights(weights: Iterable[tuple[str, Tensor]]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for name, weight in weights:
        digest.update(name.encode())
        digest.update(weight.detach().float().contiguous().numpy().tobytes())
    return digest.hexdigest()
