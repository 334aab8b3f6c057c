"""The base class of feature extractors (frames, their power in filter bands, padded batches) and the `Features` type.

The differences between conventions (edges, window, filters, logarithm) are in the module of each.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Self, TypeVar

import torch
from torch import Tensor, nn

Count = TypeVar("Count", int, Tensor)

BLOCK_FRAMES = 256  # frames a CPU transforms at once: their samples, spectra and powers stay in a core's cache


@dataclass(frozen=True, slots=True)
class Features:
    """A padded batch of feature sequences, as extractors return it and masks and models take it."""

    values: Tensor  # [batch, bins, frames], 0 after an utterance's last frame
    n_frames: Tensor  # [batch], integers: frames of each utterance

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or self.n_frames.shape != self.values.shape[:1]:
            raise ValueError(
                f"values {list(self.values.shape)} with n_frames {list(self.n_frames.shape)}; expected values "
                "[batch, bins, frames] with n_frames [batch]: add the missing dimension"
            )

    @classmethod
    def of(cls, values: Tensor) -> Self:
        """Features without padding, of values [batch, bins, frames], or [bins, frames] of one utterance."""
        batch = values if values.ndim == 3 else values[None]
        return cls(batch, torch.full((len(batch),), batch.shape[-1], device=values.device))

    @property
    def valid(self) -> Tensor:
        """bool [batch, 1, frames], True where a frame belongs to its utterance."""
        return (torch.arange(self.values.shape[-1], device=self.values.device) < self.n_frames[:, None])[:, None]

    def utterance(self, index: int) -> Tensor:
        """The values [bins, frames] of one utterance, without its padding."""
        return self.values[index, :, : int(self.n_frames[index])]

    def to(self, device: torch.device | str) -> Self:
        return type(self)(self.values.to(device), self.n_frames.to(device))


class FeatureExtractor(nn.Module, ABC):
    """Features of waveforms at 16 kHz: their edges, frames, band energies, and the convention's function of these.

    win_length, hop_length: samples in a frame and from a frame to the next.
    n_fft: samples of the transform, `win_length` and zeros after it.
    n_bins: rows of the features. shortest: the minimum number of samples of a waveform.
    """

    window: Tensor  # [win_length]
    filters: Tensor  # [bands, n_fft // 2 + 1]

    def __init__(
        self, window: Tensor, filters: Tensor, *, n_bins: int, hop_length: int, n_fft: int, shortest: int
    ) -> None:
        super().__init__()
        self.n_bins = n_bins
        self.win_length = len(window)
        self.hop_length = hop_length
        self.n_fft = n_fft
        self.shortest = shortest
        self.register_buffer("window", window.contiguous(), persistent=False)
        self.register_buffer("filters", filters.contiguous(), persistent=False)
        self._cut = cheapest_cut(filters)

    def forward(self, waveform: Tensor) -> Tensor:
        """The features [..., bins, frames] of waveforms [..., samples] at 16 kHz, floating-point, all of one length.

        Computed in the precision of the module's buffers, inside autocast too. Raises ValueError when the waveform is
        shorter than `shortest` samples, TypeError when its samples are integers.
        """
        waveforms = self._checked(waveform).reshape(-1, waveform.shape[-1])
        values = self._extract(waveforms, None)
        return values.reshape(*waveform.shape[:-1], *values.shape[-2:])

    def batch(self, waveforms: Tensor, n_samples: Tensor) -> Features:
        """The features of a padded batch, each utterance's as it has them alone; padding frames are 0.

        waveforms: [batch, samples], padded with any values; n_samples: [batch], of each utterance.
        Raises ValueError when the shapes do not fit, or an utterance is longer than the batch or shorter than
        `shortest` samples.
        """
        if waveforms.ndim != 2 or n_samples.shape != waveforms.shape[:1]:
            raise ValueError(
                f"waveforms {list(waveforms.shape)} with n_samples {list(n_samples.shape)}; expected waveforms "
                "[batch, samples] with n_samples [batch]: add the missing dimension"
            )
        minimum, maximum = torch.stack(torch.aminmax(n_samples)).tolist()
        if minimum < self.shortest or maximum > waveforms.shape[-1]:
            raise ValueError(
                f"utterances of {minimum} to {maximum} samples in a batch of {waveforms.shape[-1]}; expected "
                f"{self.shortest} to {waveforms.shape[-1]}: leave the short ones out, or check n_samples"
            )
        n_samples = n_samples.to(waveforms.device)
        features = Features(self._extract(self._checked(waveforms), n_samples), self.n_frames(n_samples))
        return Features(features.values.masked_fill(~features.valid, 0.0), features.n_frames)

    def _checked(self, waveform: Tensor) -> Tensor:
        if not waveform.is_floating_point():
            raise TypeError(f"samples are {waveform.dtype}; expected floating-point ones in [-1, 1): scale them first")
        if waveform.shape[-1] < self.shortest:
            raise ValueError(
                f"{waveform.shape[-1]} samples; {type(self).__name__} needs {self.shortest} or more: pad the waveform"
            )
        return waveform.to(self.window.dtype)

    def _extract(self, waveforms: Tensor, n_samples: Tensor | None) -> Tensor:
        """Values [batch, bins, frames] of waveforms [batch, samples]; n_samples None: all are as long as the batch."""
        with torch.autocast(waveforms.device.type, enabled=False):
            energies = self._energies(self._with_edges(waveforms, n_samples), self.n_frames(waveforms.shape[-1]))
            valid = None if n_samples is None else Features(energies, self.n_frames(n_samples)).valid
            return self._finish(energies, valid)

    def _energies(self, waveforms: Tensor, n_frames: int) -> Tensor:
        """The power in each band [batch, bands, frames] of waveforms [batch, samples] that have their edges.

        On a CPU in blocks of frames: otherwise most of the time goes into memory, not into the transform.
        """
        frames = waveforms.unfold(-1, self.win_length, self.hop_length)[:, :n_frames]
        if frames.device.type != "cpu":
            return self._block_energies(frames)
        n_blocks = -(-n_frames // BLOCK_FRAMES)
        rows = [torch.cat([self._block_energies(block) for block in row.chunk(n_blocks)], dim=-1) for row in frames]
        return torch.stack(rows) if len(rows) > 1 else rows[0][None]

    def _block_energies(self, frames: Tensor) -> Tensor:
        """The power in each band [..., bands, frames] of frames [..., frames, win_length]."""
        spectrum = torch.fft.rfft(self._shaped(frames), self.n_fft)
        power = spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag).transpose(-1, -2)
        cut, stop, start = self._cut
        low, high = self.filters[:cut, :stop], self.filters[cut:, start:]
        return torch.cat([low @ power[..., :stop, :], high @ power[..., start:, :]], dim=-2)

    def _shaped(self, frames: Tensor) -> Tensor:
        """Frames [..., win_length] before the transform: here, times the window."""
        return frames * self.window

    @abstractmethod
    def n_frames(self, n_samples: Count) -> Count:
        """The number of frames of `n_samples` samples, element by element."""

    @abstractmethod
    def _with_edges(self, waveforms: Tensor, n_samples: Tensor | None) -> Tensor:
        """Waveforms [batch, samples] with the convention's samples before and after each utterance."""

    @abstractmethod
    def _finish(self, energies: Tensor, valid: Tensor | None) -> Tensor:
        """The values [batch, bins, frames] of band energies [batch, bands, frames].

        valid: bool [batch, 1, frames], or None where every frame is valid.
        """


def cheapest_cut(filters: Tensor) -> tuple[int, int, int]:
    """The cut of ordered filters [bands, bins] into two parts whose products without their zeros cost least.

    Returns (cut, stop, start): filters before `cut` are zero from bin `stop` on, the others before bin `start`.

    >>> cheapest_cut(torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]]))
    (2, 2, 2)
    """
    n_bands, n_bins = filters.shape
    bins, is_used = torch.arange(n_bins), filters > 0
    stops = torch.where(is_used, bins + 1, 0).amax(dim=1).cummax(dim=0).values
    starts = torch.where(is_used, bins, n_bins).amin(dim=1).flip(0).cummin(dim=0).values.flip(0)
    starts = torch.cat([starts[1:], torch.tensor([n_bins])])
    below = torch.arange(1, n_bands + 1)
    best = int((below * stops + (n_bands - below) * (n_bins - starts)).argmin())
    return best + 1, int(stops[best]), int(starts[best])


def keep_dynamic_range(energies: Tensor, floor: float, decades: float, valid: Tensor | None) -> Tensor:
    """Energies [batch, bands, frames], raised to `floor` and to `decades` (10 dB each) below their utterance's peak."""
    counted = energies if valid is None else energies.masked_fill(~valid, 0.0)
    return energies.maximum((counted.amax(dim=(-2, -1), keepdim=True) * 10.0**-decades).clamp(min=floor))
