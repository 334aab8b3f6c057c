"""How features change over time: deltas, and deltas of deltas."""

import torch
from torch import Tensor, nn

from preprocessing.features.base import Features


class Deltas(nn.Module):
    """Features with their deltas, and deltas of those, appended as further bins.

    The delta at frame t is the slope of the least-squares line through frames t - N to t + N (HTK Book, section 5.9):

        d[t] = sum over n = 1..N of n (c[t + n] - c[t - n])  /  (2 sum over n = 1..N of n^2)

    where frames before the first and after the last equal those. The next order applies it to the deltas.

    order: 1 for deltas, 2 for delta-deltas too; n_neighbours: N, frames on either side.
    """

    def __init__(self, order: int = 2, n_neighbours: int = 2) -> None:
        super().__init__()
        if order < 1 or n_neighbours < 1:
            raise ValueError(f"order {order}, n_neighbours {n_neighbours}; expected 1 or more of each")
        self.order = order
        self.n_neighbours = n_neighbours

    def forward(self, features: Features) -> Features:
        """Returns Features of (1 + order) * bins bins: the features, their deltas, the deltas of these."""
        orders = [features.values]
        for _ in range(self.order):
            orders.append(self._slopes(Features(orders[-1], features.n_frames)))
        return Features(torch.cat(orders, dim=1).masked_fill(~features.valid, 0.0), features.n_frames)

    def _slopes(self, features: Features) -> Tensor:
        reach, (_, n_bins, n_frames) = self.n_neighbours, features.values.shape
        positions = torch.arange(-reach, n_frames + reach, device=features.values.device)
        inside = positions.clamp(min=0).minimum((features.n_frames[:, None] - 1).clamp(min=0))
        extended = features.values.gather(-1, inside[:, None].expand(-1, n_bins, -1))
        slopes = torch.zeros_like(features.values)
        for n in range(1, reach + 1):
            later, earlier = extended[..., reach + n :][..., :n_frames], extended[..., reach - n :][..., :n_frames]
            slopes = slopes + n * (later - earlier)
        return slopes / (2 * sum(n * n for n in range(1, reach + 1)))
