"""Parameter groups and learning-rate schedules.

A group is a depth of the model (layer-wise learning rates) with or without weight decay: vectors (biases and
normalisation) are never decayed. Freezing for the first updates is not here: what has no gradient is not moved.
"""

import math
from collections.abc import Callable
from typing import Any

from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from finetune.config import OptimisationConfig
from finetune.models.base import Recogniser

FINAL_SHARE = 0.05  # of the peak learning rate, at the last update (wav2vec 2.0's tri-stage schedule)


def make_optimiser(recogniser: Recogniser, config: OptimisationConfig) -> AdamW:
    """AdamW over what requires a gradient; a layer's learning rate is `layer_decay` times that of the one above."""
    groups = [
        {"params": parameters, "weight_decay": decay, "lr": config.learning_rate * config.layer_decay**below}
        for (below, decay), parameters in sorted(_groups(recogniser, config).items())
    ]
    return AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98), eps=1e-8, fused=True)


def _groups(recogniser: Recogniser, config: OptimisationConfig) -> dict[tuple[int, float], list[nn.Parameter]]:
    """Parameters by (layers above their own, weight decay); without layer-wise rates all are as the top."""
    groups: dict[tuple[int, float], list[nn.Parameter]] = {}
    for name, parameter in recogniser.module.named_parameters():
        if parameter.requires_grad:
            below = recogniser.layers_above(name) if config.layer_decay != 1.0 else 0
            decay = config.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((below, decay), []).append(parameter)
    return groups


def tri_stage(update: int, config: OptimisationConfig) -> float:
    """Share of the peak learning rate at an update counted from 0 (Baevski et al. 2020, section 4.2).

    >>> config = OptimisationConfig(max_steps=100, warmup_ratio=0.1, hold_ratio=0.4)
    >>> [round(tri_stage(update, config), 2) for update in (0, 9, 10, 49, 99)]
    [0.1, 1.0, 1.0, 1.0, 0.05]
    """
    rise, hold = round(config.warmup_ratio * config.max_steps), round(config.hold_ratio * config.max_steps)
    if update < rise:
        return (update + 1) / rise
    if update < rise + hold:
        return 1.0
    decay = max(config.max_steps - rise - hold, 1)
    return float(FINAL_SHARE ** min((update + 1 - rise - hold) / decay, 1.0))


def linear(update: int, config: OptimisationConfig) -> float:
    """Rises, holds, and falls in a straight line to 0 after the last update.

    >>> config = OptimisationConfig(max_steps=100, warmup_ratio=0.1, hold_ratio=0.0)
    >>> [round(linear(update, config), 2) for update in (0, 9, 54, 99)]
    [0.1, 1.0, 0.51, 0.01]
    """
    return _rise_and_fall(update, config, lambda left: left)


def cosine(update: int, config: OptimisationConfig) -> float:
    """Rises, holds, and falls along half a cosine to 0 (Loshchilov & Hutter 2017, arXiv 1608.03983, no restarts).

    >>> config = OptimisationConfig(max_steps=100, warmup_ratio=0.1, hold_ratio=0.0)
    >>> [round(cosine(update, config), 2) for update in (0, 9, 54, 99)]
    [0.1, 1.0, 0.52, 0.0]
    """
    return _rise_and_fall(update, config, lambda left: 0.5 * (1.0 - math.cos(math.pi * left)))


def _rise_and_fall(update: int, config: OptimisationConfig, fall: Callable[[float], float]) -> float:
    rise, hold = round(config.warmup_ratio * config.max_steps), round(config.hold_ratio * config.max_steps)
    if update < rise:
        return (update + 1) / rise
    if update < rise + hold:
        return 1.0
    return fall((config.max_steps - update) / max(config.max_steps - rise - hold, 1))


SCHEDULES = {"tri-stage": tri_stage, "linear": linear, "cosine": cosine}


def make_schedule(optimiser: Any, config: OptimisationConfig) -> LambdaLR:
    """Every group's learning rate follows the same curve below its own peak."""
    share = SCHEDULES[config.lr_scheduler_type]
    return LambdaLR(optimiser, lambda update: share(update, config))
