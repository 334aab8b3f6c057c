"""How weights move."""

from dataclasses import dataclass
from typing import Literal

from finetune.config.limits import check_counts, check_ranges, check_shares
from preprocessing.errors import UsageError


@dataclass(frozen=True)
class OptimisationConfig:
    """How weights move: AdamW under a schedule that rises, holds and falls."""

    updates: int = 1000
    """Optimiser steps."""

    learning_rate: float = 3e-4
    """At its peak."""

    schedule: Literal["tri-stage", "linear", "cosine"] = "tri-stage"
    """How the learning rate falls: tri-stage exponentially to 5 %, as wav2vec 2.0 is fine-tuned; the others to 0."""

    rise: float = 0.1
    """Share of updates in which the learning rate rises from 0."""

    hold: float = 0.4
    """Share of updates at the peak; in the rest it falls."""

    layer_decay: float = 1.0
    """A layer's learning rate over that of the layer above it; 0.9 leaves the lower ones nearly as they were."""

    head_only_updates: int = 0
    """Updates at the start in which only the output layer learns, as wav2vec 2.0 is fine-tuned on little data."""

    weight_decay: float = 0.01
    """On matrices; biases and normalisation are left out."""

    accumulate: int = 1
    """Batches in an update, weighted by labels, for each process."""

    max_gradient_norm: float = 1.0
    """Gradients are scaled down to this norm."""

    ema_decay: float = 0.0
    """Evaluate and keep an exponential moving average of the weights: 0.999 averages about 1,000 updates; 0: none."""

    average_best: int = 1
    """At the end, try the mean of the weights of so many of the best evaluations, and keep it where it is better."""

    def check_limits(self) -> None:
        """Raises UsageError naming the first number that cannot be."""
        if self.rise + self.hold > 1:
            raise UsageError("--optimisation.rise and --optimisation.hold add up to over 1: lower one of them")
        check_counts(
            ("--optimisation.updates", self.updates, 1),
            ("--optimisation.accumulate", self.accumulate, 1),
            ("--optimisation.average_best", self.average_best, 1),
            ("--optimisation.head_only_updates", self.head_only_updates, 0),
        )
        check_shares(("--optimisation.ema_decay", self.ema_decay))
        check_ranges(
            ("--optimisation.learning_rate", self.learning_rate, "over 0", self.learning_rate > 0.0),
            ("--optimisation.weight_decay", self.weight_decay, "0 or more", self.weight_decay >= 0.0),
            ("--optimisation.max_gradient_norm", self.max_gradient_norm, "over 0", self.max_gradient_norm > 0.0),
            ("--optimisation.layer_decay", self.layer_decay, "over 0, up to 1", 0.0 < self.layer_decay <= 1.0),
            ("--optimisation.rise", self.rise, "0 to 1", 0.0 <= self.rise <= 1.0),
            ("--optimisation.hold", self.hold, "0 to 1", 0.0 <= self.hold <= 1.0),
        )
