"""The base class of waveform augmentations, its checks of parameters, and the filter that several of them use.

Samples are computed by numpy, on one thread: torch's sums and its long FFTs change in the last bit with the number of
threads, and a training worker has another number of them than the main process.
"""

import difflib
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, TypeAlias, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from preprocessing.errors import UsageError

Samples: TypeAlias = NDArray[np.float32]
Range: TypeAlias = float | Sequence[float]  # [low, high], from which a value is drawn evenly, or the one value
MIN_BLOCK = 8192  # samples of an FFT: smaller transforms cost more to call than to compute


class Augmentation(nn.Module, ABC):
    """A random change of a waveform [samples], float32 at 16 kHz on the CPU.

    probability: of changing a waveform at all.

    A subclass sets `name`, by which configurations name it, and `changes_duration` where it does, keeps each
    constructor argument as the attribute of that name, and implements `transform`. All randomness comes from the
    generator that it is given.
    """

    name: ClassVar[str]
    changes_duration: ClassVar[bool] = False

    def __init__(self, probability: float = 1.0) -> None:
        super().__init__()
        self.probability = checked_number(self.name, "probability", probability, 0.0, 1.0)

    def forward(self, waveform: Tensor, generator: torch.Generator) -> Tensor:
        """The augmented waveform [samples], of the same length unless `changes_duration`; the input is kept."""
        if draw(generator, 0.0, 1.0) >= self.probability:
            return waveform
        return torch.from_numpy(self.transform(waveform.numpy(), generator))

    @abstractmethod
    def transform(self, samples: Samples, generator: torch.Generator) -> Samples:
        """The changed samples, of one sample or more, in a new array."""

    def extra_repr(self) -> str:
        return ", ".join(f"{key}={getattr(self, key)!r}" for key in parameters(type(self)))


class FixedFilter:
    """A finite impulse response filter, by overlap-save: out[i] = sum over k of taps[k] * samples[i + delay - k].

    taps: [n_taps]. delay: the index of time zero in them: the middle of a symmetric filter, the direct path of a room.
    The output is as long as the input.
    """

    def __init__(self, taps: Samples, delay: int) -> None:
        self._n_taps = taps.size
        self._delay = delay
        self._block = max(MIN_BLOCK, 1 << (5 * taps.size // 2 - 1).bit_length())  # 60 % new samples or more
        self._spectrum = np.fft.rfft(taps.astype(np.float32), self._block)

    @property
    def n_bytes(self) -> int:
        """Memory that the filter takes."""
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


def parameters(augmentation: type[Augmentation]) -> list[str]:
    """The keys of an augmentation's entry in a configuration, without its name."""
    return list(inspect.signature(augmentation).parameters)


def required_parameters(augmentation: type[Augmentation]) -> list[str]:
    """The keys without a default."""
    signature = inspect.signature(augmentation).parameters
    return [key for key in parameters(augmentation) if signature[key].default is inspect.Parameter.empty]


def draw(generator: torch.Generator, low: float, high: float) -> float:
    """A number drawn evenly from [low, high)."""
    return low + (high - low) * torch.rand(1, dtype=torch.float64, generator=generator).item()


def draw_index(generator: torch.Generator, count: int) -> int:
    """A number drawn evenly from 0, 1, ... count - 1."""
    return int(torch.randint(count, (1,), generator=generator).item())


def rms(samples: Samples) -> float:
    """Root mean square, summed in double precision."""
    return math.sqrt(np.mean(np.square(samples, dtype=np.float64)))


def peak(samples: Samples) -> float:
    """The largest magnitude."""
    return max(float(samples.max()), -float(samples.min()))


def amplitude_ratio(db: float) -> float:
    """The amplitude ratio of a level difference in dB.

    >>> amplitude_ratio(-20.0)
    0.1
    """
    return float(10.0 ** (db / 20.0))


def checked_number(name: str, key: str, value: object, minimum: float, maximum: float, unit: str = "") -> float:
    """`value` as a float. Raises UsageError unless it is a number from minimum to maximum."""
    if not _is_number(value) or not minimum <= value <= maximum:
        raise UsageError(
            f"augmentation {name}: {key} is {value!r}; expected a number from {minimum:g} to "
            f"{maximum:g} {unit}".rstrip()
        )
    return float(value)


def checked_range(
    name: str, key: str, value: object, minimum: float, maximum: float, unit: str = ""
) -> tuple[float, float]:
    """`value` as (low, high). Raises UsageError unless it is a number or [low, high] from minimum to maximum."""
    listed = list(value) if isinstance(value, (list, tuple)) else [value, value]
    bounds = [bound for bound in listed if _is_number(bound) and minimum <= bound <= maximum]
    if not len(bounds) == len(listed) == 2:
        raise UsageError(
            f"augmentation {name}: {key} is {value!r}; expected a number or [low, high] from {minimum:g} to "
            f"{maximum:g} {unit}".rstrip()
        )
    if bounds[0] > bounds[1]:
        raise UsageError(f"augmentation {name}: {key} is {value!r}; expected [low, high], low first: swap the two")
    return float(bounds[0]), float(bounds[1])


def nearest(word: object, known: Sequence[str]) -> str:
    """The end of a message about an unknown word: the known word most like it, if there is one, and all known words."""
    close = difflib.get_close_matches(str(word), known, n=1, cutoff=0.5)
    return (f"did you mean {close[0]!r}? " if close else "") + f"There is {', '.join(known)}"


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
