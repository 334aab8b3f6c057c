"""Transforms of features: deltas over time, and normalisation to zero mean and unit variance."""

import math
from collections.abc import Iterable
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from preprocessing.features.base import Features

BLOCK_SAMPLES = 1 << 22  # squared at a time: hours of audio are held once more, not three times
MIN_DEVIATION = 1e-5  # a bin that never changes is centred and not scaled up


class Deltas(nn.Module):
    """Appends the deltas of features, and the deltas of these, as further bins.

    The delta at frame t is the slope of the least-squares line through frames t - N to t + N (HTK Book, section 5.9):

        d[t] = sum over n = 1..N of n (c[t + n] - c[t - n])  /  (2 sum over n = 1..N of n^2)

    where frames before the first and after the last equal these two. The next order is the delta of the deltas.

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


def normalise_waveform(waveform: Tensor) -> Tensor:
    """The waveform [samples] at zero mean and unit variance, as by Wav2Vec2FeatureExtractor's `do_normalize`.

    The variance is the population's, with 1e-7 added. On a CPU the result has the same bits in any process.
    """
    if not waveform.numel():
        return waveform
    if waveform.requires_grad or waveform.device.type != "cpu":
        centred = waveform - waveform.mean()
        return centred / (centred.square().mean() + 1e-7).sqrt()
    # numpy sums on one thread; torch's sums change in the last bit with the number of threads, which a worker has fewer
    centred = waveform - float(waveform.numpy().mean(dtype=np.float64))
    samples, squares = centred.numpy(), 0.0
    for first in range(0, samples.size, BLOCK_SAMPLES):
        squares += float(np.square(samples[first : first + BLOCK_SAMPLES]).sum(dtype=np.float64))
    return centred.div_(math.sqrt(squares / samples.size + 1e-7))


class UtteranceNorm(nn.Module):
    """Normalises each bin of each utterance to mean 0 and, with `scale`, standard deviation 1 over its own frames.

    scale: divide by the standard deviation too (the population's, at least 1e-5).
    """

    def __init__(self, *, scale: bool = True) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, features: Features) -> Features:
        """Returns Features of the same shape."""
        padding, count = ~features.valid, features.n_frames.clamp(min=1)[:, None, None]
        mean = features.values.masked_fill(padding, 0.0).sum(dim=-1, keepdim=True) / count
        values = (features.values - mean).masked_fill(padding, 0.0)
        if self.scale:
            variance = values.square().sum(dim=-1, keepdim=True) / count
            values = values / variance.clamp(min=MIN_DEVIATION**2).sqrt()
        return Features(values, features.n_frames)


class GlobalNorm(nn.Module):
    """Normalises each bin by the mean and standard deviation that it has in a corpus.

    mean, deviation: [bins], found by `fit`; buffers, so that they are saved with a model's weights.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        if mean.ndim != 1 or mean.shape != deviation.shape:
            raise ValueError(f"mean {list(mean.shape)}, deviation {list(deviation.shape)}; expected [bins] for both")
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation.clamp(min=MIN_DEVIATION))

    @classmethod
    def fit(cls, corpus: Iterable[Features]) -> Self:
        """The normalisation by the mean and population deviation over all frames of a corpus, in one pass, in float64.

        Raises ValueError when the corpus has no frames.
        """
        count, mean, squares = 0, torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
        for features in corpus:
            frames = features.values.detach().transpose(1, 2)[features.valid[:, 0]].double().cpu()
            if not len(frames):
                continue
            # Chan, Golub and LeVeque 1983: two sets' means and squared deviations from their means make those of both.
            step, share = frames.mean(dim=0) - mean, len(frames) / (count + len(frames))
            squares = squares + frames.var(dim=0, correction=0) * len(frames) + step.square() * count * share
            mean = mean + step * share
            count += len(frames)
        if count == 0:
            raise ValueError("the corpus has no frame; expected one or more: give it utterances")
        return cls(mean.float(), (squares / count).sqrt().float())

    def forward(self, features: Features) -> Features:
        """Returns Features of the same shape."""
        values = (features.values - self.mean[:, None]) / self.deviation[:, None]
        return Features(values.masked_fill(~features.valid, 0.0), features.n_frames)
