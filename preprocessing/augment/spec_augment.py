"""SpecAugment (Park et al. 2019, arXiv 1904.08779) on features, and the masks that wav2vec 2.0 draws on its latents.

One vocabulary for both: a *frame* is a step in time, a *bin* a row of the features, a *channel* a dimension of a
latent; a *span* is a run of neighbouring frames, bins or channels; a *mask* is a bool tensor, True where something is
hidden. `SpecAugment` warps and hides features itself. The latent masks are only drawn: what is put there is the model's
(a learned vector for frames, 0 for channels).

Everything is drawn for each utterance on its own, within its own length, from the generator that is given, on that
generator's device: a CPU generator gives the same masks whether the features are on a CPU or a GPU.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from preprocessing.errors import UsageError
from preprocessing.features.base import Features

Fill: TypeAlias = Literal["mean", "zero"]


@dataclass(frozen=True, slots=True)
class Policy:
    """The parameters of SpecAugment: the columns of the paper's Table 1."""

    time_warp_frames: int  # W: frames by which a point in time moves at most; 0 for no warp
    frequency_mask_bins: int  # F: bins that a frequency mask spans at most
    n_frequency_masks: int  # m_F
    time_mask_frames: int  # T: frames that a time mask spans at most
    time_mask_share: float  # p: the share of its utterance that a time mask spans at most
    n_time_masks: int  # m_T


POLICIES = {
    "none": Policy(0, 0, 0, 0, 1.0, 0),
    "LB": Policy(80, 27, 1, 100, 1.0, 1),  # LibriSpeech basic
    "LD": Policy(80, 27, 2, 100, 1.0, 2),  # LibriSpeech double
    "SM": Policy(40, 15, 2, 70, 0.2, 2),  # Switchboard mild
    "SS": Policy(40, 27, 2, 70, 0.2, 2),  # Switchboard strong
}


def policy_named(name: str) -> Policy:
    """The paper's policy of that name. Raises UsageError listing the known names."""
    if name not in POLICIES:
        raise UsageError(
            f"unknown SpecAugment policy {name!r}; expected one of {', '.join(POLICIES)}: choose one of them"
        )
    return POLICIES[name]


@dataclass(frozen=True, slots=True)
class Draw:
    """The random choices for a batch. A span covers `starts` to `starts + widths - 1`; a width of 0 hides nothing."""

    warp_from: Tensor  # [batch], frames, fractional: the point of the time axis that moves; 0 where nothing is warped
    warp_to: Tensor  # [batch], where it moves to
    frequency_starts: Tensor  # [batch, m_F], bins
    frequency_widths: Tensor  # [batch, m_F]
    time_starts: Tensor  # [batch, m_T], frames
    time_widths: Tensor  # [batch, m_T]

    def frequency_mask(self, n_bins: int) -> Tensor:
        """bool [batch, bins]"""
        return spans_mask(self.frequency_starts, self.frequency_widths, n_bins)

    def time_mask(self, n_frames: int) -> Tensor:
        """bool [batch, frames]"""
        return spans_mask(self.time_starts, self.time_widths, n_frames)


def draw(policy: Policy, n_frames: Tensor, n_bins: int, generator: torch.Generator) -> Draw:
    """Random choices as in the paper's section 2, for utterances of `n_frames` [batch] (tau) by `n_bins` bins (nu).

    Time warp: a point in (W, tau - W) moves by up to W frames to either side; an utterance of 2 W frames or fewer has
    no such point and keeps its time. Frequency masks: width f uniform in {0..F}, start uniform in [0, nu - f). Time
    masks: width t uniform in {0..min(T, p tau)}, start uniform in [0, tau - t). As the paper writes it, neither range
    of starts holds its end: a mask reaches the last bin or frame only when it spans them all.
    """
    n_frequency, n_time = policy.n_frequency_masks, policy.n_time_masks
    chances = torch.rand(
        len(n_frames), 2 + 2 * (n_frequency + n_time), generator=generator, device=generator.device, dtype=torch.float64
    )
    warp, frequency, time = torch.split(chances, [2, 2 * n_frequency, 2 * n_time], dim=1)
    lengths = n_frames.to(generator.device)[:, None]
    reach = policy.time_warp_frames
    room = lengths[:, 0] - 2 * reach
    source = reach + warp[:, 0] * room
    target = source + reach * (2.0 * warp[:, 1] - 1.0)
    warped = (room > 0) & (reach > 0)
    bins = torch.full_like(lengths, n_bins)
    longest = (policy.time_mask_share * lengths.double()).long().clamp(max=policy.time_mask_frames)
    return Draw(
        torch.where(warped, source, 0.0),
        torch.where(warped, target, 0.0),
        *_spans(frequency, bins.clamp(max=policy.frequency_mask_bins), bins),
        *_spans(time, longest.minimum(lengths), lengths),
    )


def _spans(chances: Tensor, longest: Tensor, extent: Tensor) -> tuple[Tensor, Tensor]:
    """Uniform chances [batch, 2 m] -> starts and widths [batch, m] of spans in `extent` [batch, 1] places."""
    for_width, for_start = chances.chunk(2, dim=1)
    widths = (for_width * (longest + 1)).long()
    return (for_start * (extent - widths)).long(), widths


def spans_mask(starts: Tensor, widths: Tensor, size: int) -> Tensor:
    """The union of each row's spans. starts, widths: integers [batch, spans]. Returns bool [batch, size].

    >>> spans_mask(torch.tensor([[0, 3]]), torch.tensor([[2, 1]]), 5).tolist()
    [[True, True, False, True, False]]
    """
    positions = torch.arange(size, device=starts.device)
    inside = (positions >= starts[..., None]) & (positions < (starts + widths)[..., None])
    return inside.any(dim=1)


def warp_time(features: Features, warp_from: Tensor, warp_to: Tensor) -> Features:
    """Move the point `warp_from` [batch] of each utterance's time axis to `warp_to` [batch], both in frames.

    Its first and last frame stay; between the three points time is stretched evenly (the paper's warp of a single point
    on the horizontal line, with straight pieces for its spline), values in between are interpolated. Padding stays.
    """
    n_bins, n_frames = features.values.shape[1:]
    device = features.values.device
    source, target = warp_from.to(device).float()[:, None], warp_to.to(device).float()[:, None]
    last = (features.n_frames[:, None] - 1).clamp(min=0).float()
    positions = torch.arange(n_frames, device=device, dtype=torch.float32)
    tiny = torch.finfo(torch.float32).tiny
    before = positions * (source / target.clamp(min=tiny))
    after = source + (positions - target) * ((last - source) / (last - target).clamp(min=tiny))
    origins = torch.where(positions < target, before, after).clamp(min=0).minimum(last)
    origins = torch.where(positions > last, positions, origins)
    floor = origins.floor()
    first = floor.long()[:, None].expand(-1, n_bins, -1)
    second = (first + 1).minimum(last.long()[:, None]).maximum(first)
    earlier, later = features.values.gather(-1, first), features.values.gather(-1, second)
    return Features(earlier.lerp(later, (origins - floor)[:, None].to(earlier.dtype)), features.n_frames)


class SpecAugment(nn.Module):
    """Time warp, frequency masks and time masks over a batch of features in training mode; nothing in evaluation mode.

    policy: one of POLICIES by name, or one's own.
    fill: of masked places: "mean", the mean of the utterance's own features, or "zero". The paper writes 0 into
        features whose mean is 0, which is both; in features of another mean, such as LogMel's, 0 is a loud sound.
    n_orders: of the features [batch, n_orders * bins, frames], such as 3 with two orders of deltas. A frequency mask
        hides the same bins in each order: an order that is left would show what the others hide.
    """

    def __init__(self, policy: Policy | str, *, fill: Fill, n_orders: int = 1) -> None:
        super().__init__()
        self.policy = policy_named(policy) if isinstance(policy, str) else policy
        if fill not in ("mean", "zero"):
            raise ValueError(f"fill {fill!r}; expected 'mean' or 'zero'")
        self.fill = fill
        self.n_orders = n_orders

    def forward(self, features: Features, generator: torch.Generator) -> Features:
        """The masked features, of the same shape and lengths; the same generator state gives the same result."""
        if not self.training:
            return features
        n_bins = features.values.shape[1] // self.n_orders
        return self.apply_draw(features, draw(self.policy, features.n_frames, n_bins, generator))

    def apply_draw(self, features: Features, drawn: Draw) -> Features:
        """The features warped and masked as `drawn` says."""
        if self.policy.time_warp_frames > 0:
            features = warp_time(features, drawn.warp_from, drawn.warp_to)
        values = features.values
        bins = drawn.frequency_mask(values.shape[1] // self.n_orders).repeat(1, self.n_orders)
        hidden = bins[:, :, None] | drawn.time_mask(values.shape[2])[:, None]
        hidden = hidden.to(values.device) & features.valid
        return Features(torch.where(hidden, self._filling(features), values), features.n_frames)

    def _filling(self, features: Features) -> Tensor:
        """[batch, 1, 1]"""
        if self.fill == "zero":
            return features.values.new_zeros(len(features.values), 1, 1)
        total = features.values.masked_fill(~features.valid, 0.0).sum(dim=(1, 2), keepdim=True)
        return total / (features.n_frames.clamp(min=1)[:, None, None] * features.values.shape[1])


def latent_time_mask(
    lengths: Tensor, n_frames: int, *, mask_probability: float, mask_length: int, generator: torch.Generator
) -> Tensor:
    """A mask of spans of latent frames, as wav2vec 2.0 draws them (Baevski et al. 2020, section 3.1).

    lengths: valid frames of each utterance [batch]; n_frames: the padded length.
    mask_probability: the share of frames that would be masked if no spans overlapped; the number of spans is
        probability * length / mask_length, rounded up or down at random.
    mask_length: frames in a span.
    Starts are drawn without replacement. Returns a mask [batch, n_frames] on the generator's device. An utterance no
    longer than one span stays unmasked, as a model could learn nothing from it.
    """
    lengths = lengths.to(generator.device)
    n_starts = (lengths - mask_length + 1).clamp(min=0)
    chances = torch.rand(len(lengths), generator=generator, device=generator.device)
    n_spans = (mask_probability * lengths / mask_length + chances).long().minimum(n_starts)
    n_spans = torch.where(lengths > mask_length, n_spans, 0)
    keys = torch.rand(len(lengths), n_frames, generator=generator, device=generator.device)
    keys = keys.masked_fill(torch.arange(n_frames, device=keys.device) >= n_starts[:, None], torch.inf)
    ranks = keys.argsort(dim=1)[:, : int(n_spans.max()) if len(n_spans) else 0]
    taken = torch.arange(ranks.shape[1], device=keys.device) < n_spans[:, None]
    edges = torch.zeros(len(lengths), n_frames + 1, dtype=torch.long, device=keys.device)
    edges.scatter_add_(1, ranks, taken.long())
    edges.scatter_add_(1, (ranks + mask_length).clamp(max=n_frames), -taken.long())
    return edges.cumsum(dim=1)[:, :n_frames] > 0


def latent_channel_mask(
    n_utterances: int, n_channels: int, *, mask_probability: float, mask_length: int, generator: torch.Generator
) -> Tensor:
    """A mask of spans of latent channels, for every frame of an utterance, drawn as `latent_time_mask` draws frames.

    Returns a mask [batch, n_channels].
    """
    channels = torch.full((n_utterances,), n_channels, device=generator.device)
    return latent_time_mask(
        channels, n_channels, mask_probability=mask_probability, mask_length=mask_length, generator=generator
    )
