"""Batches that do not change what a model says: group normalisation over valid frames only.

wav2vec2-base and its kin normalise each channel of their first convolution over the whole, padded utterance, so that
padding moves every logit. Here the statistics are taken over valid frames; parameters and their names stay, so that a
model saved afterwards is a plain transformers model.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class ValidGroupNorm(nn.GroupNorm):
    """GroupNorm with one group a channel whose statistics leave padding out.

    `valid` holds the valid frames of each utterance of the batch at hand [batch], None where nothing is padded.
    """

    valid: Tensor | None = None

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden: [batch, channels, frames]. Returns the same shape; what lies in the padding means nothing."""
        if self.valid is None:
            return super().forward(hidden)
        positions = torch.arange(hidden.shape[-1], device=hidden.device)
        mask = (positions < self.valid[:, None])[:, None]
        frames = self.valid[:, None, None]
        values = hidden.float()
        centred = values - (values * mask).sum(dim=-1, keepdim=True) / frames
        variance = (centred.square() * mask).sum(dim=-1, keepdim=True) / frames
        normal = centred * (variance + self.eps).rsqrt()
        return (normal * self.weight[:, None] + self.bias[:, None]).to(hidden.dtype)


class ValidFrames:
    """Tells a model's normalisation how long each utterance of a batch is.

    Models whose feature encoder normalises over channels ("layer") are exact as they come: for them it does nothing.
    """

    def __init__(self, model: Any) -> None:
        first = model.base_model.feature_extractor.conv_layers[0]
        self._norm: ValidGroupNorm | None = None
        before = getattr(first, "layer_norm", None)
        if isinstance(before, nn.GroupNorm):
            self._norm = ValidGroupNorm(before.num_groups, before.num_channels, before.eps)
            self._norm.load_state_dict(before.state_dict())
            self._norm.to(before.weight.device)
            first.layer_norm = self._norm
        (self._kernel,), (self._stride,) = first.conv.kernel_size, first.conv.stride

    @contextmanager
    def of(self, n_samples: Tensor) -> Iterator[None]:
        """For one forward pass over a batch with n_samples valid samples in each utterance [batch]."""
        if self._norm is None:
            yield
            return
        self._norm.valid = (n_samples - self._kernel) // self._stride + 1
        try:
            yield
        finally:
            self._norm.valid = None
