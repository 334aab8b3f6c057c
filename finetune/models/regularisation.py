"""What is hidden from a model while it trains: wav2vec 2.0's latent masks, and dropout that is cheap on a CPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from finetune.config import ModelConfig
from preprocessing.augment.spec_augment import latent_channel_mask, latent_time_mask


class LatentMasks:
    """Takes the masking of a transformers model over; outside `drawn` nothing is hidden, whatever its mode."""

    def __init__(self, model: Any, config: ModelConfig) -> None:
        self._config = config
        self._embedding: Any = getattr(model.base_model, "masked_spec_embed", None)
        self._generator: torch.Generator | None = None
        self._n_frames: Tensor | None = None
        model.base_model._mask_hidden_states = self._hide

    @contextmanager
    def drawn(self, n_frames: Tensor, generator: torch.Generator | None) -> Iterator[None]:
        """For one forward pass over utterances of n_frames [batch], on the CPU; a generator of None hides nothing."""
        self._generator, self._n_frames = generator, n_frames
        try:
            yield
        finally:
            self._generator = None

    def _hide(self, hidden: Tensor, **_: Any) -> Tensor:
        """hidden: [batch, frames, channels]; what transformers passes besides is not needed."""
        generator, config = self._generator, self._config
        if generator is None or self._n_frames is None:
            return hidden
        size, n_frames, n_channels = hidden.shape
        if config.mask_time_probability > 0:
            frames = latent_time_mask(
                self._n_frames,
                n_frames,
                mask_probability=config.mask_time_probability,
                mask_length=config.mask_time_length,
                generator=generator,
            )
            frames = frames.to(hidden.device, non_blocking=True)
            hidden = torch.where(frames[..., None], self._embedding.to(hidden.dtype), hidden)
        if config.mask_channel_probability > 0:
            channels = latent_channel_mask(
                size,
                n_channels,
                mask_probability=config.mask_channel_probability,
                mask_length=config.mask_channel_length,
                generator=generator,
            )
            hidden = hidden.masked_fill(channels.to(hidden.device, non_blocking=True)[:, None], 0.0)
        return hidden


STEPS = 2**16  # of a 16-bit draw; a probability is met to half a step


class BitDropout(nn.Dropout):
    """nn.Dropout from 16-bit draws of torch's generator, so that a resumed run draws the same."""

    def forward(self, hidden: Tensor) -> Tensor:
        """Any shape. Each element is 0 with probability p, else divided by the probability of being kept."""
        dropped = round(self.p * STEPS)
        if not self.training or dropped in (0, STEPS) or hidden.device.type != "cpu":
            return super().forward(hidden)
        draws = torch.empty(-(-hidden.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        kept = draws.view(torch.int16)[: hidden.numel()].view(hidden.shape) >= dropped - STEPS // 2
        return hidden * kept.to(hidden.dtype).mul_(STEPS / (STEPS - dropped))


def draw_cheaply(model: nn.Module) -> None:
    """Let every nn.Dropout of a model draw so."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Dropout:
                setattr(parent, name, BitDropout(child.p))
