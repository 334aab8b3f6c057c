"""Several processes: what they sum up before each step, and weights that are replicated (DDP) or sharded (FSDP 2).

Evaluation, checkpoints and saved models always have complete weights, so that a checkpoint written by eight processes
is resumed by four with twice the gradient accumulation. Sharding itself is accelerate's.
"""

import copy
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

from finetune.config import TrainConfig
from finetune.config.families import FAMILIES
from finetune.models.base import Batch, TrainableRecogniser
from preprocessing.errors import UsageError

LAUNCHED = "ACCELERATE_MIXED_PRECISION"  # a variable that `accelerate launch` always sets
LOST_PEER = ("closed by peer", "reset by peer", "Broken pipe")  # in the messages of gloo's RuntimeErrors


@dataclass(frozen=True, slots=True)
class StepTotals:
    """What all processes together have for a step.

    new_rejects: rejects that they have not shared yet; interrupted: processes that were asked to stop.
    """

    batches: int
    labels: int
    audio_seconds: float
    padded_seconds: float
    new_rejects: int
    interrupted: int


def step_totals(
    accelerator: Accelerator,
    recogniser: TrainableRecogniser,
    batches: Sequence[Batch],
    *,
    new_rejects: int = 0,
    interrupted: bool = False,
) -> StepTotals:
    """The totals of a step over all processes, in one reduction. All processes call it with their own values."""
    labels = sum(recogniser.count_labels(batch) for batch in batches)
    audio = sum(batch.seconds[0] for batch in batches)
    padded = sum(batch.seconds[1] for batch in batches)
    own = StepTotals(len(batches), labels, audio, padded, new_rejects, int(interrupted))
    n_batches, n_labels, audio, padded, n_rejects, n_interrupted = sum_over_processes(accelerator, astuple(own))
    return StepTotals(round(n_batches), round(n_labels), audio, padded, round(n_rejects), round(n_interrupted))


def sum_over_processes(accelerator: Accelerator, values: Sequence[float]) -> list[float]:
    """Each value summed over all processes, in float64. All processes call it, with as many values."""
    if accelerator.num_processes == 1:
        return [float(value) for value in values]
    own = torch.tensor(values, dtype=torch.float64, device=accelerator.device)
    sums: list[float] = accelerator.reduce(own, reduction="sum").tolist()
    return sums


@contextmanager
def lost_process_is_said(accelerator: Accelerator, output_dir: Path) -> Iterator[None]:
    """Where several processes compute together and another of them ends, exit with code 1 in place of the error of the
    operation that waited for it; one of those that are left says so on stderr.
    """
    try:
        yield
    except RuntimeError as error:
        message = str(error)
        is_lost = isinstance(error, torch.distributed.DistError) or any(words in message for words in LOST_PEER)
        if accelerator.num_processes == 1 or not is_lost:
            raise
        if _is_first_of_living():
            print(
                f"error: another of the {accelerator.num_processes} processes ended during training (killed, or out of "
                "memory?); expected all of them to run: run the same command again to resume from the last checkpoint "
                f"in {output_dir}",
                file=sys.stderr,
            )
        sys.exit(1)


def _is_first_of_living() -> bool:
    """Whether no process of this training that its launcher started before this one on this machine is alive."""
    own = psutil.Process()
    parent = own.parent()
    for other in parent.children() if parent is not None else ():
        with suppress(psutil.Error):
            is_rank = "LOCAL_RANK" in other.environ()  # unreadable of a process that has ended
            if is_rank and other.pid < own.pid and other.status() != psutil.STATUS_ZOMBIE:
                return False
    return True


def threads_per_process(environment: Mapping[str, str], cores: int) -> int:
    """Threads of torch in a process that computes on a CPU: its share of the cores, or fewer where the user says so.

    environment: variables of this process. OMP_NUM_THREADS counts in a single process, but not as 1 below `accelerate
    launch`, which sets that itself where the user sets nothing, as it does for several processes.

    >>> threads_per_process({"OMP_NUM_THREADS": "2"}, 8), threads_per_process({"LOCAL_WORLD_SIZE": "4"}, 8)
    (2, 2)
    """
    processes = int(environment.get("LOCAL_WORLD_SIZE", 1))
    given = environment.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    by_launcher = processes > 1 or (LAUNCHED in environment and given == "1")
    share = max(cores // processes, 1)
    return share if by_launcher or not given.isdecimal() else min(share, max(int(given), 1))


class Replicated:
    """Every process has all weights and optimiser states (one process, or DDP)."""

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator

    def prepare(self, module: nn.Module, optimiser: Any) -> tuple[nn.Module, Any]:
        """Both as accelerate wraps them."""
        module, optimiser = self._accelerator.prepare(module, optimiser)
        return module, optimiser

    @contextmanager
    def gathered(self, module: nn.Module) -> Iterator[nn.Module]:
        """A module with the complete weights of the prepared `module`, with which each process can compute alone.

        All processes call it.
        """
        yield module

    def optimiser_state(self, _: nn.Module, optimiser: Any) -> Mapping[str, Any]:
        """The complete state dict of the optimiser, in the main process. All processes call it."""
        state: Mapping[str, Any] = optimiser.state_dict()
        return state

    def restore_optimiser(self, optimiser: Any, state: Mapping[str, Any]) -> None:
        """Load what `optimiser_state` returned; call it before `prepare`. Raises ValueError if it does not fit."""
        optimiser.load_state_dict(state)


class Sharded(Replicated):
    """Every process has a shard of weights, gradients and optimiser states (FSDP 2)."""

    def __init__(self, accelerator: Accelerator) -> None:
        super().__init__(accelerator)
        self._complete: nn.Module | None = None
        self._state_to_restore: Mapping[str, Any] | None = None

    def prepare(self, module: nn.Module, optimiser: Any) -> tuple[nn.Module, Any]:
        self._complete = copy.deepcopy(module)  # on the CPU, not wrapped
        self._accelerator.state.fsdp_plugin.transformer_cls_names_to_wrap = attention_layer_classes(module)
        module, optimiser = super().prepare(module, optimiser)
        if self._state_to_restore is not None:
            options = StateDictOptions(full_state_dict=True)
            set_optimizer_state_dict(module, optimiser.optimizer, dict(self._state_to_restore), options=options)
            self._state_to_restore = None
        return module, optimiser

    @contextmanager
    def gathered(self, module: nn.Module) -> Iterator[nn.Module]:
        assert self._complete is not None
        state = get_model_state_dict(module, options=StateDictOptions(full_state_dict=True))
        self._complete.to(self._accelerator.device).load_state_dict(state)
        del state
        try:
            yield self._complete
        finally:
            self._complete.to("cpu")

    def optimiser_state(self, module: nn.Module, optimiser: Any) -> Mapping[str, Any]:
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        return get_optimizer_state_dict(module, optimiser.optimizer, options=options)

    def restore_optimiser(self, optimiser: Any, state: Mapping[str, Any]) -> None:
        if not all(isinstance(key, str) for key in state["state"]):
            raise ValueError("its optimiser was not sharded: resume it with the accelerate configuration of the run")
        self._state_to_restore = state


def weight_distribution(accelerator: Accelerator) -> Replicated:
    """Replicated or Sharded, as accelerate is configured."""
    return Sharded(accelerator) if is_sharded(accelerator) else Replicated(accelerator)


def is_sharded(accelerator: Accelerator) -> bool:
    """Whether accelerate is configured for FSDP."""
    return bool(accelerator.distributed_type == DistributedType.FSDP)


def attention_layer_classes(module: nn.Module) -> list[str]:
    """Names of the classes of the repeated layers with attention, which FSDP gathers one by one.

    >>> attention_layer_classes(nn.ModuleList([nn.TransformerEncoderLayer(4, 2), nn.Linear(4, 4)]))
    ['TransformerEncoderLayer']
    """
    lists = (part for part in module.modules() if isinstance(part, nn.ModuleList))
    return sorted({type(layer).__name__ for layers in lists for layer in layers if _has_attention(layer)})


def _has_attention(layer: nn.Module) -> bool:
    return any("att" in name for name, _ in layer.named_children())


def check_launch(environment: Mapping[str, str], *, on_cpu: bool) -> None:
    """Raises UsageError if `accelerate launch` was configured for what this project does not support.

    environment: variables of this process, in which `accelerate launch` passes its configuration on.
    """
    if environment.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true":
        raise UsageError(
            "accelerate is configured for DeepSpeed; expected FSDP, DDP or one process: launch with "
            "configs/accelerate/zero2.yaml, which shards as ZeRO's stage 2 does, or fsdp.yaml for stage 3"
        )
    if on_cpu and environment.get("ACCELERATE_USE_FSDP", "false").lower() == "true":
        raise UsageError(
            "accelerate is configured for FSDP, which it supports on GPUs only, and there is none; expected DDP or one "
            "process: launch with configs/accelerate/cpu.yaml or cpu-2.yaml"
        )


def check_sharding(accelerator: Accelerator, config: TrainConfig) -> None:
    """Raises UsageError naming the first option that does not work with sharding, if the model is sharded."""
    if not is_sharded(accelerator):
        return
    if not accelerator.is_fsdp2:
        raise UsageError("accelerate's fsdp_version is 1; expected 2: see configs/accelerate/fsdp.yaml")
    sharded = " or ".join(name for name, family in FAMILIES.items() if family.is_sharded)
    unsupported = [
        ("--ema_decay", config.ema_decay, "0", config.ema_decay > 0),
        ("--average_best", config.average_best, "1", config.average_best > 1),
        ("--torch_compile", config.torch_compile, "false", config.torch_compile),
        ("--model.family", config.model.family, sharded, not config.model.traits.is_sharded),
    ]
    for flag, value, expected, is_set in unsupported:
        if is_set:
            raise UsageError(
                f"{flag} is {value}, and the model is sharded (FSDP); expected {expected} with it: leave it out, or "
                "launch with configs/accelerate/ddp.yaml, which keeps a complete model on each GPU"
            )
