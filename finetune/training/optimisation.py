"""AdamW with its parameter groups, and learning-rate schedules.

A group is a depth of the model (layer-wise learning rates) with or without weight decay: vectors (biases and
normalisation) have none, nor have matrices that are biases by name (a conformer's, of positions). `head_only_steps` is
not here: `TrainableRecogniser.train_head_only` stops the gradients instead.
"""

import math
from collections.abc import Callable
from typing import Any

from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from finetune.config import OptimisationConfig
from finetune.models.base import TrainableRecogniser

FINAL_SHARE = 0.05  # of the peak learning rate, at the last step (wav2vec 2.0's tri-stage schedule)


def make_optimiser(recogniser: TrainableRecogniser, config: OptimisationConfig) -> AdamW:
    """AdamW over the parameters that require a gradient.

    A layer's learning rate is `layer_decay` times that of the layer above it.
    """
    groups = [
        {"params": parameters, "weight_decay": decay, "lr": config.learning_rate * config.layer_decay**below}
        for (below, decay), parameters in sorted(_groups(recogniser, config).items())
    ]
    return AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98), eps=1e-8, fused=True)


def _groups(recogniser: TrainableRecogniser, config: OptimisationConfig) -> dict[tuple[int, float], list[nn.Parameter]]:
    """Parameters by (layers above their own, weight decay); without layer_decay the first is always 0."""
    groups: dict[tuple[int, float], list[nn.Parameter]] = {}
    for name, parameter in recogniser.module.named_parameters():
        if parameter.requires_grad:
            below = recogniser.layers_above(name) if config.layer_decay != 1.0 else 0
            is_bias = parameter.ndim < 2 or "bias" in name.rpartition(".")[2]
            decay = 0.0 if is_bias else config.weight_decay
            groups.setdefault((below, decay), []).append(parameter)
    return groups


def tri_stage(step: int, config: OptimisationConfig) -> float:
    """Share of the peak learning rate at a step, counted from 0: exponential decay (Baevski et al. 2020, section 4.2).

    >>> config = OptimisationConfig(max_steps=100, warmup_ratio=0.1, hold_ratio=0.4)
    >>> [round(tri_stage(step, config), 2) for step in (0, 9, 10, 49, 99)]
    [0.1, 1.0, 1.0, 1.0, 0.05]
    """
    return _warm_up_and_decay(
        step, config, lambda left, decaying: float(FINAL_SHARE ** min((decaying - left + 1) / decaying, 1.0))
    )


def linear(step: int, config: OptimisationConfig) -> float:
    """Share of the peak learning rate at a step, counted from 0: decay in a straight line to 0.

    >>> config = OptimisationConfig(max_steps=100, warmup_ratio=0.1, hold_ratio=0.0)
    >>> [round(linear(step, config), 2) for step in (0, 9, 54, 99)]
    [0.1, 1.0, 0.51, 0.01]
    """
    return _warm_up_and_decay(step, config, lambda left, decaying: left / decaying)


def cosine(step: int, config: OptimisationConfig) -> float:
    """Share of the peak learning rate at a step, counted from 0: decay along half a cosine to 0.

    Loshchilov & Hutter 2017, arXiv 1608.03983, without restarts.

    >>> config = OptimisationConfig(max_steps=100, warmup_ratio=0.1, hold_ratio=0.0)
    >>> [round(cosine(step, config), 2) for step in (0, 9, 54, 99)]
    [0.1, 1.0, 0.52, 0.0]
    """
    return _warm_up_and_decay(step, config, lambda left, decaying: 0.5 * (1.0 - math.cos(math.pi * (left / decaying))))


def _warm_up_and_decay(step: int, config: OptimisationConfig, decay: Callable[[int, int], float]) -> float:
    """The share rises in a straight line, holds and decays. decay: from the steps that are left, this one included, and
    the number of decaying steps to the share of the peak.
    """
    warmup, hold = round(config.warmup_ratio * config.max_steps), round(config.held_share * config.max_steps)
    if step < warmup:
        return (step + 1) / warmup
    if step < warmup + hold:
        return 1.0
    return decay(config.max_steps - step, max(config.max_steps - warmup - hold, 1))


SCHEDULES = {"tri-stage": tri_stage, "linear": linear, "cosine": cosine}


def make_schedule(optimiser: Any, config: OptimisationConfig) -> LambdaLR:
    """The schedule that `lr_scheduler_type` names; every group follows it below its own peak."""
    share = SCHEDULES[config.lr_scheduler_type]
    return LambdaLR(optimiser, lambda step: share(step, config))
