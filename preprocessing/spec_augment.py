"""Masks over time. So far the latent variant that wav2vec 2.0 trains with (Baevski et al. 2020, section 3.1).

Masks are drawn for each utterance on its own, within its own length, from a generator; applying them is the model's.
"""

import torch
from torch import Tensor


def latent_time_mask(
    lengths: Tensor, n_frames: int, *, mask_probability: float, mask_length: int, generator: torch.Generator
) -> Tensor:
    """Spans of masked frames, as wav2vec 2.0 draws them: starts without replacement, spans may overlap.

    lengths: valid frames of each utterance [batch]; n_frames: the padded length.
    mask_probability: the share of frames that would be masked if no spans overlapped; the number of spans is
        probability * length / mask_length, rounded up or down at random.
    mask_length: frames in a span, cut to the utterance where that is shorter.
    Returns a bool tensor [batch, n_frames], True where masked.
    """
    mask = torch.zeros(len(lengths), n_frames, dtype=torch.bool)
    chances = torch.rand(len(lengths), generator=generator).tolist()
    for row, (length, chance) in enumerate(zip(lengths.tolist(), chances, strict=True)):
        span = min(mask_length, length)
        n_starts = length - span + 1
        n_spans = min(int(mask_probability * length / mask_length + chance), n_starts)
        if n_spans == 0 or span == length:
            continue  # one span over the whole utterance would leave nothing to learn from
        starts = torch.randperm(n_starts, generator=generator)[:n_spans]
        mask[row, (starts[:, None] + torch.arange(span)).flatten()] = True
    return mask
