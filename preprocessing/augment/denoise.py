"""Noise removal by spectral gating. Off by default: a recogniser trained on noise often does better without it.

Time-frequency bins near the noise floor are attenuated, the rest is left. The floor at each frequency is a low quantile
of its power over the waveform, so no pause has to be found first. The gate is a Wiener gain in two steps
(Plapous, Marro & Scalart 2006, "Improved signal-to-noise ratio estimation for speech enhancement", IEEE TASLP 14(6)): a
first gain from the signal-to-noise ratio smoothed over time and frequency finds where speech is; the ratio of what it
lets through, hardly smoothed, gives the second, which keeps onsets and harmonics sharp.

Chosen by SI-SDR on read speech with recorded noise at 0 to 20 dB: the second step improves it by a third over one step,
and smoothing both ways in time beats the causal decision-directed estimate, Wiener or log-MMSE (Ephraim & Malah 1984,
1985), which costs SI-SDR at 20 dB. A floor that changes over time brought nothing at the length of an utterance, so
each waveform has one: cut long recordings first. Stationary noise is removed (rain: 8 to 12 dB better), and so is a
recording's own faint background; a dog's bark is not. On utterances and noises on which nothing was chosen, SI-SDR
gains 1.8 dB at 0 dB, 1.6 at 5 and 1.2 at 10, and loses 0.7 at 20 (`python -m experiments.denoising`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from preprocessing.audio import SAMPLE_RATE, quantise
from preprocessing.errors import UsageError

MIN_POWER = 1e-10  # of a bin, full scale being 1: a frame below is digital silence and tells nothing about the noise
SECOND_SMOOTHING_MS = 20.0  # half the base of the second step's triangle
BLOCK_FRAMES = 3000  # whose spectra are held at a time: an hour takes little more memory than half a minute


@dataclass(frozen=True, slots=True)
class Block:
    """The short-time spectrum of a stretch of a batch, with the frames around it that smoothing takes in.

    own: the frames that its samples are made of. sampled: those that the noise floor is taken from; in all blocks
    together, each `first_hops`-th frame once.
    """

    spectrum: Tensor  # complex [batch, frames, bins]
    power: Tensor  # [batch, frames, bins], zero in frames without a valid sample
    smooth: Tensor  # power, after the first step's smoothing over time
    inside: Tensor  # [batch, frames, 1], 1.0 in frames with a valid sample, else 0.0
    own: slice
    sampled: slice


class SpectralGate(nn.Module):
    """Attenuates stationary noise in waveforms of the contract.

    window_ms, hop_ms: of the short-time spectrum, in square-root Hann windows of a whole number of hops, 2 or more.
    threshold_db: bins that rise less above the floor count as noise.
    attenuation_db: the maximum by which a bin is attenuated.
    quiet_share: the share of frames that lies below the floor, at each frequency.
    smoothing_ms, smoothing_hz: half the base of the triangle by which the first step smooths.

    Raises UsageError where one is out of range.
    """

    window: Tensor  # [window_length]

    def __init__(
        self,
        *,
        window_ms: float = 40.0,
        hop_ms: float = 10.0,
        threshold_db: float = 5.0,
        attenuation_db: float = 20.0,
        quiet_share: float = 0.2,
        smoothing_ms: float = 50.0,
        smoothing_hz: float = 250.0,
    ) -> None:
        super().__init__()
        self.window_length, self.hop_length = (round(ms * SAMPLE_RATE / 1000.0) for ms in (window_ms, hop_ms))
        if self.hop_length < 1 or self.window_length < 2 * self.hop_length or self.window_length % self.hop_length:
            raise UsageError(
                f"denoise: window_ms is {window_ms:g}, hop_ms {hop_ms:g}; expected a window of a whole number "
                "of hops, 2 or more: change one"
            )
        for name, value, maximum in (
            ("threshold_db", threshold_db, 60.0),
            ("attenuation_db", attenuation_db, 120.0),
            ("quiet_share", quiet_share, 1.0),
            ("smoothing_ms", smoothing_ms, 1000.0),
            ("smoothing_hz", smoothing_hz, 4000.0),
        ):
            if not 0.0 <= value <= maximum:
                raise UsageError(f"denoise: {name} is {value:g}; expected 0 to {maximum:g}: change it")
        self.threshold = 10.0 ** (threshold_db / 10.0)
        self.min_gain = 10.0 ** (-attenuation_db / 20.0)
        self.quiet_share = quiet_share
        self.first_hops, self.second_hops = (max(1, round(ms / hop_ms)) for ms in (smoothing_ms, SECOND_SMOOTHING_MS))
        self.first_bins = max(1, round(smoothing_hz * self.window_length / SAMPLE_RATE))
        self.register_buffer("window", torch.hann_window(self.window_length).sqrt(), persistent=False)

    @torch.no_grad()
    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The waveform with less noise, of the same shape, every value k / 32768, zero beyond each length.

        waveform: [samples] or [batch, samples], float32 at 16 kHz; lengths: valid samples of each [batch]. A waveform
        in a batch gives the result that it gives alone.
        """
        if waveform.numel() == 0:
            return waveform.clone()
        batch = waveform.reshape(-1, waveform.shape[-1])
        if lengths is None:
            lengths = torch.full((batch.shape[0],), batch.shape[1], device=batch.device)
        else:
            batch = batch.masked_fill(self._padding(batch, lengths), 0.0)
        held = list(self._blocks(batch, lengths)) if len(self._starts(batch)) == 1 else None
        floor = self._floor(held or self._blocks(batch, lengths)) * self.threshold + MIN_POWER
        clean = torch.empty_like(batch)
        # A longer waveform is analysed again.
        for start, block in zip(self._starts(batch), held or self._blocks(batch, lengths), strict=True):
            place = clean[:, start * self.hop_length :][:, : BLOCK_FRAMES * self.hop_length]
            place.copy_(quantise(self._clean(block, floor)[:, : place.shape[1]]))
        if int(lengths.min()) < batch.shape[1]:
            clean.masked_fill_(self._padding(batch, lengths), 0.0)
        return clean.reshape(waveform.shape)

    def _padding(self, batch: Tensor, lengths: Tensor) -> Tensor:
        return torch.arange(batch.shape[1], device=batch.device) >= lengths[:, None]

    def _starts(self, batch: Tensor) -> range:
        """The hops that blocks begin at."""
        return range(0, -(-batch.shape[1] // self.hop_length), BLOCK_FRAMES)

    def _blocks(self, batch: Tensor, lengths: Tensor) -> Iterator[Block]:
        """Yield the blocks of waveforms [batch, samples], zero beyond each length.

        The outermost frames reach beyond the waveform, so that all samples weigh alike.
        """
        margin = self.window_length - self.hop_length
        reach = self.first_hops + self.second_hops
        n_hops = -(-batch.shape[1] // self.hop_length)
        n_frames = n_hops + margin // self.hop_length
        n_inside = (lengths - 1 + margin) // self.hop_length + 1
        for start in self._starts(batch):
            stop = min(start + BLOCK_FRAMES, n_hops)
            own_stop = stop + margin // self.hop_length
            first, last = max(start - reach, 0), min(own_stop + reach, n_frames)
            begin, end = first * self.hop_length - margin, last * self.hop_length
            samples = functional.pad(batch[:, max(begin, 0) : end], (max(-begin, 0), max(end - batch.shape[1], 0)))
            spectrum = torch.fft.rfft(samples.unfold(-1, self.window_length, self.hop_length) * self.window)
            power = spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag)
            frames = torch.arange(first, last, device=batch.device)
            inside = (frames < n_inside[:, None])[..., None].to(batch.dtype)
            sampled_stop = stop if stop < n_hops else n_frames
            yield Block(
                spectrum,
                power,
                _smooth_over_time(power, inside, self.first_hops),
                inside,
                slice(start - first, own_stop - first),
                slice(start - first + -start % self.first_hops, sampled_stop - first, self.first_hops),
            )

    def _floor(self, blocks: Iterable[Block]) -> Tensor:
        """The power [batch, 1, bins] that `quiet_share` of the frames in each waveform lie below."""
        parts = [(block.smooth[:, block.sampled].clone(), block.inside[:, block.sampled, 0] > 0.0) for block in blocks]
        sampled, inside = (torch.cat(part, dim=1) for part in zip(*parts, strict=True))
        floors = [_quiet_power(row[own], self.quiet_share) for row, own in zip(sampled, inside, strict=True)]
        return torch.stack(floors)[:, None]

    def _clean(self, block: Block, floor: Tensor) -> Tensor:
        """The samples [batch, samples] that a block's own frames make, with less noise."""
        # In place, also in the block: at these sizes, fetching memory costs more than the arithmetic.
        ratio = _smooth_over_frequency(block.smooth.div_(floor), self.first_bins)
        first_gain = ratio.clamp_(min=1.0).reciprocal_().neg_().add_(1.0)
        ratio = _smooth_over_time(first_gain.square_().mul_(block.power).div_(floor), block.inside, self.second_hops)
        gain = ratio.div_(ratio + 1.0).mul_(1.0 - self.min_gain).add_(self.min_gain)
        torch.view_as_real(block.spectrum).mul_(gain[..., None])
        return self._synthesise(block.spectrum[:, block.own])

    def _synthesise(self, spectrum: Tensor) -> Tensor:
        """Overlap-add: the samples [batch, samples] that lie in as many frames as overlap.

        n squared square-root Hann windows to a hop add up to n / 2 everywhere.
        """
        n_overlapping = self.window_length // self.hop_length
        frames = torch.fft.irfft(spectrum, self.window_length).mul_(self.window * (2.0 / n_overlapping))
        pieces = frames.unflatten(-1, (n_overlapping, self.hop_length))
        laid: Tensor = pieces.new_zeros(pieces.shape[0], pieces.shape[1] + n_overlapping - 1, self.hop_length)
        for k in range(n_overlapping):
            laid[:, k : k + pieces.shape[1]] += pieces[:, :, k]
        margin = self.window_length - self.hop_length
        return laid.flatten(1)[:, margin : laid.shape[1] * self.hop_length - margin]


def _quiet_power(sampled: Tensor, share: float) -> Tensor:
    """The power [bins] that `share` of the frames [frames, bins] lies below."""
    sounding = sampled[sampled.amax(dim=1) > MIN_POWER]
    if sounding.shape[0] == 0:
        return sampled.new_zeros(sampled.shape[1])
    return sounding.kthvalue(1 + int(share * (sounding.shape[0] - 1)), dim=0).values


def _smooth_over_time(values: Tensor, inside: Tensor, reach: int) -> Tensor:
    """Means over the frames inside, their weights falling evenly to zero `reach` frames away.

    values: [batch, frames, bins], zero outside; inside: [batch, frames, 1].
    """
    return _triangle(values, reach, -2).div_(_triangle(inside, reach, -2).clamp_(min=1.0))


def _smooth_over_frequency(values: Tensor, reach: int) -> Tensor:
    """Means over the bins, their weights falling evenly to zero `reach` bins away."""
    return _triangle(values, reach, -1).div_(_triangle(torch.ones_like(values[:1, :1]), reach, -1))


def _triangle(values: Tensor, reach: int, dim: int) -> Tensor:
    """Sums along a dimension with the weights 1, 2, ... reach, ... 2, 1: a sliding sum of a sliding sum."""
    padding = [reach - 1, reach - 1] if dim == -1 else [0, 0, reach - 1, reach - 1]
    return _sliding_sum(_sliding_sum(functional.pad(values, padding), reach, dim), reach, dim)


def _sliding_sum(values: Tensor, width: int, dim: int) -> Tensor:
    """Sums of `width` neighbours, as many as fit, by doubling: exact where differences of a running sum are not."""
    if width == 1:
        return values
    half = _sliding_sum(values, width // 2, dim)
    n_sums = values.shape[dim] - width + 1
    summed = half.narrow(dim, 0, n_sums) + half.narrow(dim, width // 2, n_sums)
    return summed.add_(values.narrow(dim, width - 1, n_sums)) if width % 2 else summed
