"""Fewer frames for the recurrent layers: convolutions with strides, or neighbouring frames side by side.

Both make ceil(frames / factor) of an utterance's frames, in a padded batch as alone.
"""

from abc import ABC, abstractmethod
from typing import TypeVar

import torch
from torch import Tensor, nn

from preprocessing.features import Features

Count = TypeVar("Count", int, Tensor)


class Subsampling(nn.Module, ABC):
    """Features -> (frames [batch, ceil(frames / factor), size], valid frames [batch])."""

    def __init__(self, factor: int, size: int) -> None:
        super().__init__()
        self.factor = factor
        self.size = size  # of an output frame

    def n_frames(self, n_frames: Count) -> Count:
        """Frames that come out of n_frames, element by element."""
        return -(-n_frames // self.factor)

    @abstractmethod
    def forward(self, features: Features) -> tuple[Tensor, Tensor]: ...


class FrameStacking(Subsampling):
    """`factor` neighbouring frames side by side; zeros stand in where the last ones are missing."""

    def __init__(self, n_bins: int, factor: int) -> None:
        super().__init__(factor, factor * n_bins)

    def forward(self, features: Features) -> tuple[Tensor, Tensor]:
        """values: [batch, bins, frames], 0 in the padding."""
        frames = features.values.transpose(1, 2)
        missing = -frames.shape[1] % self.factor
        stacked = nn.functional.pad(frames, (0, 0, 0, missing)).reshape(len(frames), -1, self.size)
        return stacked, self.n_frames(features.n_frames)


class ConvSubsampling(Subsampling):
    """Two 3x3 convolutions over time and frequency, each halving the bins.

    Factor 2 halves time in the first, 4 in both. Deltas are further input channels. Beyond an utterance's end both see
    zeros, as they do beyond the batch's.
    """

    def __init__(self, n_bins: int, n_orders: int, n_channels: int, factor: int) -> None:
        super().__init__(factor, n_channels * -(-n_bins // 4))
        self.n_orders = n_orders
        self.strides = (2 if factor > 1 else 1, 2 if factor > 2 else 1)
        self.first = nn.Conv2d(n_orders, n_channels, 3, stride=(2, self.strides[0]), padding=1)
        self.second = nn.Conv2d(n_channels, n_channels, 3, stride=(2, self.strides[1]), padding=1)

    def forward(self, features: Features) -> tuple[Tensor, Tensor]:
        """values: [batch, orders * bins, frames], 0 in the padding."""
        values, n_frames = features.values, features.n_frames
        hidden = values.reshape(len(values), self.n_orders, -1, values.shape[-1])
        for convolution, stride in zip((self.first, self.second), self.strides, strict=True):
            hidden, n_frames = convolution(hidden).relu(), -(-n_frames // stride)
            padding = torch.arange(hidden.shape[-1], device=hidden.device) >= n_frames[:, None]
            hidden = hidden.masked_fill(padding[:, None, None], 0.0)
        return hidden.flatten(1, 2).transpose(1, 2), n_frames
