"""Where a run's weights and optimiser states lie: whole in every process, or in shards over them (FSDP 2).

What is evaluated, saved and published is whole in both cases, and so is a checkpoint: one written by eight processes is
resumed by four. Sharding itself is accelerate's; which layers are gathered one by one is said here.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

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
from preprocessing.cli.errors import UsageError


class Whole:
    """Every process holds everything."""

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator

    def prepare(self, module: nn.Module, optimiser: Any) -> tuple[nn.Module, Any]:
        """As accelerate wraps the two."""
        module, optimiser = self._accelerator.prepare(module, optimiser)
        return module, optimiser

    @contextmanager
    def whole(self, module: nn.Module) -> Iterator[nn.Module]:
        """The prepared module's weights in one that each process computes with by itself. All processes call it."""
        yield module

    def optimiser_state(self, _: nn.Module, optimiser: Any) -> Mapping[str, Any]:
        """Of all processes together, in the main one. All processes call it."""
        state: Mapping[str, Any] = optimiser.state_dict()
        return state

    def restore(self, optimiser: Any, state: Mapping[str, Any]) -> None:
        """Put back what `optimiser_state` gave, before `prepare`. Raises ValueError where it does not fit."""
        optimiser.load_state_dict(state)


class Sharded(Whole):
    """Every process holds a part of weights, gradients and optimiser states."""

    def __init__(self, accelerator: Accelerator) -> None:
        super().__init__(accelerator)
        self._copy: nn.Module | None = None
        self._restored: Mapping[str, Any] | None = None

    def prepare(self, module: nn.Module, optimiser: Any) -> tuple[nn.Module, Any]:
        self._copy = copy.deepcopy(module)  # on the CPU; a plain one, whatever becomes of the other
        self._accelerator.state.fsdp_plugin.transformer_cls_names_to_wrap = layer_classes(module)
        module, optimiser = super().prepare(module, optimiser)
        if self._restored is not None:
            options = StateDictOptions(full_state_dict=True)
            set_optimizer_state_dict(module, optimiser.optimizer, dict(self._restored), options=options)
            self._restored = None
        return module, optimiser

    @contextmanager
    def whole(self, module: nn.Module) -> Iterator[nn.Module]:
        assert self._copy is not None
        state = get_model_state_dict(module, options=StateDictOptions(full_state_dict=True))
        self._copy.to(self._accelerator.device).load_state_dict(state)
        del state
        yield self._copy
        self._copy.to("cpu")

    def optimiser_state(self, module: nn.Module, optimiser: Any) -> Mapping[str, Any]:
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        return get_optimizer_state_dict(module, optimiser.optimizer, options=options)

    def restore(self, optimiser: Any, state: Mapping[str, Any]) -> None:
        if not all(isinstance(key, str) for key in state["state"]):
            raise ValueError("its optimiser was not sharded: resume it with the accelerate configuration of the run")
        self._restored = state


def layer_classes(module: nn.Module) -> list[str]:
    """Names of the classes of the repeated layers that hold attention: each such layer is gathered when it is computed.

    >>> layer_classes(nn.ModuleList([nn.TransformerEncoderLayer(4, 2), nn.Linear(4, 4)]))
    ['TransformerEncoderLayer']
    """
    lists = (found for found in module.modules() if isinstance(found, nn.ModuleList))
    return sorted({type(layer).__name__ for layers in lists for layer in layers if _holds_attention(layer)})


def _holds_attention(layer: nn.Module) -> bool:
    return any("att" in name for name, _ in layer.named_children())


def placement(accelerator: Accelerator) -> Whole:
    """As the accelerate configuration of this run has it."""
    return Sharded(accelerator) if is_sharded(accelerator) else Whole(accelerator)


def is_sharded(accelerator: Accelerator) -> bool:
    return bool(accelerator.distributed_type == DistributedType.FSDP)


def check_launch(environment: Mapping[str, str], *, on_cpu: bool) -> None:
    """Raises UsageError where accelerate was launched with what this project cannot run, before it is begun.

    environment: variables of this process, by which `accelerate launch` tells what its configuration file says.
    """
    if environment.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true":
        raise UsageError(
            "accelerate is configured for DeepSpeed; expected FSDP, DDP or one process: launch with "
            "configs/accelerate/zero2.yaml, which shards as ZeRO's stage 2 does, or fsdp.yaml for stage 3"
        )
    if on_cpu and environment.get("ACCELERATE_USE_FSDP", "false").lower() == "true":
        raise UsageError(
            "accelerate is configured for FSDP, which it has for GPUs alone, and there is none; expected DDP or one "
            "process: launch with configs/accelerate/cpu.yaml or cpu-2.yaml"
        )


def check_placement(accelerator: Accelerator, config: TrainConfig) -> None:
    """Raises UsageError naming the first key that shards do not go with, before any model is loaded."""
    if not is_sharded(accelerator):
        return
    if not accelerator.is_fsdp2:
        raise UsageError("accelerate's fsdp_version is 1; expected 2: see configs/accelerate/fsdp.yaml")
    refused = [
        ("--ema_decay", config.ema_decay, "0", config.ema_decay > 0),
        ("--average_best", config.average_best, "1", config.average_best > 1),
        ("--torch_compile", config.torch_compile, "false", config.torch_compile),
        ("--model.family", config.model.family, "wav2vec2 or whisper", config.model.family == "lstm"),
    ]
    for flag, value, expected, wrong in refused:
        if wrong:
            raise UsageError(
                f"{flag} is {value}, and the model is sharded (FSDP); expected {expected} with it: leave it out, or "
                "launch with configs/accelerate/ddp.yaml, which keeps a whole model on each GPU"
            )
