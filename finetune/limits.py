"""Numbers and switches of a configuration that cannot be, refused by flag name before anything is loaded."""

import math
from importlib.util import find_spec
from typing import TYPE_CHECKING

from preprocessing.errors import UsageError

if TYPE_CHECKING:
    from finetune.config import TrainConfig


def check_limits(config: "TrainConfig") -> None:
    """Raises UsageError naming the first number out of its range, or the first two keys that exclude each other."""
    data, optimisation = config.data, config.optimisation
    if data.max_seconds > data.max_batch_seconds:
        raise UsageError(
            f"--data.max_batch_seconds is {data.max_batch_seconds:g}, below --data.max_seconds "
            f"{data.max_seconds:g}; expected a cap that holds the longest: raise the one or lower the other"
        )
    if data.min_seconds >= data.max_seconds:
        raise UsageError(
            f"--data.min_seconds is {data.min_seconds:g} and --data.max_seconds {data.max_seconds:g}; expected room "
            "between them: lower the one or raise the other"
        )
    if optimisation.rise + optimisation.hold > 1:
        raise UsageError("--optimisation.rise and --optimisation.hold add up to over 1: lower one of them")
    for flag, number, least in _counts(config):
        if number < least:
            raise UsageError(f"{flag} is {number}; expected {least} or more: raise it")
    for flag, value, expected, right in _ranges(config):
        if not right or not math.isfinite(value):
            raise UsageError(f"{flag} is {value:g}; expected {expected}: change it")
    if config.dry_run and config.overfit_batch:
        raise UsageError("--dry_run and --overfit_batch are both true; expected one of them: leave one out")
    if optimisation.head_only_updates > 0 and config.model.family == "whisper":
        raise UsageError(
            f"--optimisation.head_only_updates is {optimisation.head_only_updates}, but --model.family is whisper, "
            "which has no output layer of its own; expected 0: leave it out"
        )
    if config.tracker in ("trackio", "wandb") and find_spec(config.tracker) is None:
        raise UsageError(
            f"--tracker is {config.tracker}, but its package is not installed; expected it, or another of tensorboard, "
            f"trackio, wandb and none: pip install {config.tracker}"
        )


def _counts(config: "TrainConfig") -> list[tuple[str, int, int]]:
    """Flag, number and the least that it may be."""
    return [
        ("--optimisation.updates", config.optimisation.updates, 1),
        ("--optimisation.accumulate", config.optimisation.accumulate, 1),
        ("--evaluate_every", config.evaluate_every, 1),
        ("--log_every", config.log_every, 1),
        ("--optimisation.average_best", config.optimisation.average_best, 1),
        ("--patience", 1 if config.patience is None else config.patience, 1),
        ("--optimisation.head_only_updates", config.optimisation.head_only_updates, 0),
        ("--data.workers", config.data.workers or 0, 0),
        ("--data.shuffle_buffer", config.data.shuffle_buffer, 1),
        ("--data.streaming_first", config.data.streaming_first, 1),
        ("--model.lora_rank", config.model.lora_rank, 0),
    ]


def _ranges(config: "TrainConfig") -> list[tuple[str, float, str, bool]]:
    """Flag, value, what is expected, and whether it is that."""
    model, optimisation = config.model, config.optimisation
    shares = [
        ("--model.dropout", model.dropout),
        ("--model.attention_dropout", model.attention_dropout),
        ("--model.mask_time_probability", model.mask_time_probability),
        ("--model.mask_channel_probability", model.mask_channel_probability),
        ("--optimisation.ema_decay", optimisation.ema_decay),
    ]
    return [
        *((flag, value, "0 or more, below 1", 0.0 <= value < 1.0) for flag, value in shares),
        ("--optimisation.learning_rate", optimisation.learning_rate, "over 0", optimisation.learning_rate > 0.0),
        ("--optimisation.weight_decay", optimisation.weight_decay, "0 or more", optimisation.weight_decay >= 0.0),
        ("--optimisation.max_gradient_norm", (norm := optimisation.max_gradient_norm), "over 0", norm > 0.0),
        ("--optimisation.layer_decay", (decay := optimisation.layer_decay), "over 0, up to 1", 0.0 < decay <= 1.0),
        ("--optimisation.rise", optimisation.rise, "0 to 1", 0.0 <= optimisation.rise <= 1.0),
        ("--optimisation.hold", optimisation.hold, "0 to 1", 0.0 <= optimisation.hold <= 1.0),
        ("--data.min_seconds", config.data.min_seconds, "0 or more", config.data.min_seconds >= 0.0),
    ]
