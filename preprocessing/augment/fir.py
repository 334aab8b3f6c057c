"""Convolution with one fixed filter by overlap-save: the filter is transformed once, for waveforms of any length.

Oppenheim & Schafer, "Discrete-Time Signal Processing", section 8.7.3.
"""

import numpy as np

from preprocessing.augment.base import Samples

_SHORTEST_BLOCK = 8192  # samples: below, the transforms are too small to be worth calling


class FixedFilter:
    """out[i] = sum over k of taps[k] * samples[i + delay - k], as long as the input: `delay` samples are undone.

    taps: [n_taps]. delay: where in `taps` time zero lies: the middle of a symmetric filter, the direct path of a room.
    """

    def __init__(self, taps: Samples, delay: int) -> None:
        self._n_taps = taps.size
        self._delay = delay
        self._block = max(_SHORTEST_BLOCK, 1 << (5 * taps.size // 2 - 1).bit_length())  # 60 % new samples or more
        self._spectrum = np.fft.rfft(taps.astype(np.float32), self._block)

    @property
    def n_bytes(self) -> int:
        """Memory held."""
        return self._spectrum.nbytes

    def __call__(self, samples: Samples) -> Samples:
        hop = self._block - self._n_taps + 1  # samples of a block that no wrap-around touches
        n_blocks = -(-samples.size // hop)
        before = self._n_taps - 1 - self._delay
        padded = np.zeros(self._block + (n_blocks - 1) * hop, dtype=np.float32)
        padded[before : before + samples.size] = samples
        filtered = np.empty(n_blocks * hop, dtype=np.float32)
        for first in range(0, n_blocks * hop, hop):  # block by block: a batch of them leaves the processor's cache
            spectrum = np.fft.rfft(padded[first : first + self._block])
            spectrum *= self._spectrum
            filtered[first : first + hop] = np.fft.irfft(spectrum, self._block)[self._n_taps - 1 :]
        return filtered[: samples.size]
