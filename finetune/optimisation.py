"""Parameter groups and the learning-rate schedule."""

from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from finetune.config import OptimisationConfig

FINAL_SHARE = 0.05  # of the peak learning rate, at the last update (wav2vec 2.0's tri-stage schedule)


def make_optimiser(module: nn.Module, config: OptimisationConfig) -> AdamW:
    """AdamW over what requires a gradient, without weight decay on vectors (biases, normalisation)."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98), eps=1e-8, fused=True)


def tri_stage(update: int, config: OptimisationConfig) -> float:
    """Share of the peak learning rate at an update counted from 0 (Baevski et al. 2020, section 4.2).

    >>> config = OptimisationConfig(updates=100, rise=0.1, hold=0.4)
    >>> [round(tri_stage(update, config), 2) for update in (0, 9, 10, 49, 99)]
    [0.1, 1.0, 1.0, 1.0, 0.05]
    """
    rise, hold = round(config.rise * config.updates), round(config.hold * config.updates)
    if update < rise:
        return (update + 1) / rise
    if update < rise + hold:
        return 1.0
    decay = max(config.updates - rise - hold, 1)
    return float(FINAL_SHARE ** min((update + 1 - rise - hold) / decay, 1.0))


def make_schedule(optimiser: AdamW, config: OptimisationConfig) -> LambdaLR:
    return LambdaLR(optimiser, lambda update: tri_stage(update, config))
