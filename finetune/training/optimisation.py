"""AdamW with its parameter groups, and learning-rate schedules.

A group is a depth of the model (layer-wise learning rates) with or without weight decay: vectors (biases and
normalisation) have none, nor have matrices that are biases by name (a conformer's, of positions). `head_only_steps` is
not here: `TrainableRecogniser.train_head_only` stops the gradients instead.
"""

import math
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


def peak_share(step: int, config: OptimisationConfig) -> float:
    """Share of the peak learning rate at a step, counted from 0: it rises in a straight line, holds, and decays.

    The decay is exponential (tri-stage: Baevski et al. 2020, section 4.2), in a straight line, or along half a cosine
    (Loshchilov & Hutter 2017, arXiv 1608.03983, without restarts).

    >>> for decay in ("tri-stage", "linear", "cosine"):
    ...     config = OptimisationConfig(max_steps=100, lr_scheduler_type=decay, warmup_ratio=0.1, hold_ratio=0.4)
    ...     [round(peak_share(step, config), 2) for step in (0, 9, 49, 74, 99)]
    [0.1, 1.0, 1.0, 0.22, 0.05]
    [0.1, 1.0, 1.0, 0.52, 0.02]
    [0.1, 1.0, 1.0, 0.53, 0.0]
    """
    warmup, hold = round(config.warmup_ratio * config.max_steps), round(config.held_share * config.max_steps)
    if step < warmup:
        return (step + 1) / warmup
    if step < warmup + hold:
        return 1.0
    decaying = max(config.max_steps - warmup - hold, 1)
    left = config.max_steps - step  # this step included
    if config.lr_scheduler_type == "tri-stage":
        return float(FINAL_SHARE ** min((decaying - left + 1) / decaying, 1.0))
    if config.lr_scheduler_type == "linear":
        return left / decaying
    return 0.5 * (1.0 - math.cos(math.pi * (left / decaying)))


def make_schedule(optimiser: Any, config: OptimisationConfig) -> LambdaLR:
    """The schedule that `lr_scheduler_type` names; every group follows it below its own peak."""
    return LambdaLR(optimiser, lambda step: peak_share(step, config))
