"""wav2vec 2.0's masks over latent frames and channels while training, drawn by `preprocessing.spec_augment`.

transformers draws such masks from NumPy's global state. Here they come from the generator that the loop hands over,
within each utterance; the model's way of applying them is kept (its learned vector in hidden frames, then 0 in hidden
channels), and its weights and saved form are untouched.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from finetune.config import ModelConfig
from preprocessing.spec_augment import latent_channel_mask, latent_time_mask


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
