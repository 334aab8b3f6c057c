"""How weights move; finetune/limits.py holds the ranges of its numbers."""

from dataclasses import dataclass
from typing import Literal


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
