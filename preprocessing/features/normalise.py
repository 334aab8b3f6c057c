"""Zero mean and unit variance: of a waveform, of each feature bin over an utterance, or over a whole corpus."""

import math
from collections.abc import Iterable
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from preprocessing.features.base import Features

BLOCK_SAMPLES = 1 << 22  # squared at a time: hours of audio are held once more, not three times
LEAST_DEVIATION = 1e-5  # a bin that never changes is centred, not blown up


def normalise_waveform(waveform: Tensor) -> Tensor:
    """Zero mean and unit variance over one utterance, as Wav2Vec2FeatureExtractor's `do_normalize` (epsilon 1e-7).

    waveform: [samples]; variance is the population's. Returns the same shape; on a CPU the same bits in any process.
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
    """Each bin of each utterance to mean 0 and, unless told otherwise, deviation 1 over its own frames.

    scale: divide by the standard deviation (the population's, at least 1e-5) as well.
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
            values = values / variance.clamp(min=LEAST_DEVIATION**2).sqrt()
        return Features(values, features.n_frames)


class GlobalNorm(nn.Module):
    """Each bin to mean 0 and deviation 1 by statistics of a corpus, kept as buffers and saved with the model's weights.

    mean, deviation: [bins]; `fit` finds them.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        if mean.ndim != 1 or mean.shape != deviation.shape:
            raise ValueError(f"mean {list(mean.shape)}, deviation {list(deviation.shape)}; expected [bins] for both")
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation.clamp(min=LEAST_DEVIATION))

    @classmethod
    def fit(cls, corpus: Iterable[Features]) -> Self:
        """Mean and population deviation of each bin over every frame of a corpus, in one pass in double precision.

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
            raise ValueError("a corpus without a single frame; expected features to take statistics of: give it some")
        return cls(mean.float(), (squares / count).sqrt().float())

    def forward(self, features: Features) -> Features:
        """Returns Features of the same shape."""
        values = (features.values - self.mean[:, None]) / self.deviation[:, None]
        return Features(values.masked_fill(~features.valid, 0.0), features.n_frames)
