"""Regularisation while training: wav2vec 2.0's masks over latent frames and channels, and a dropout fast on a CPU."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from finetune.config import ModelConfig
from preprocessing.augment.spec_augment import latent_channel_mask, latent_time_mask


class LatentMasks:
    """wav2vec 2.0's masking (Baevski et al. 2020, section 3.1 and appendix B), in place of the model's own.

    transformers draws masks by NumPy's global generator, over the whole padded batch, in every training pass. Here a
    torch generator draws them within each utterance's valid frames, and only inside `applied`: the model's
    `_mask_hidden_states` is replaced.
    """

    def __init__(self, model: Any, config: ModelConfig) -> None:
        self._config = config
        self._embedding: Any = getattr(model.base_model, "masked_spec_embed", None)
        self._generator: torch.Generator | None = None
        self._n_frames: Tensor | None = None
        model.base_model._mask_hidden_states = self._masked

    @contextmanager
    def applied(self, n_frames: Tensor, generator: torch.Generator | None) -> Iterator[None]:
        """A context in which the model's forward pass is masked.

        n_frames: valid latent frames of each utterance of the batch [batch], on the CPU. generator: draws the masks, on
        the CPU; None masks nothing.
        """
        self._generator, self._n_frames = generator, n_frames
        try:
            yield
        finally:
            self._generator = None

    def _masked(self, hidden: Tensor, **_: Any) -> Tensor:
        """hidden [batch, frames, channels] with the mask embedding in masked frames and 0 in masked channels."""
        generator, config = self._generator, self._config
        if generator is None or self._n_frames is None:
            return hidden
        size, n_frames, n_channels = hidden.shape
        if config.mask_time_prob > 0:
            frames = latent_time_mask(
                self._n_frames,
                n_frames,
                mask_probability=config.mask_time_prob,
                mask_length=config.mask_time_length,
                generator=generator,
            )
            frames = frames.to(hidden.device, non_blocking=True)
            hidden = torch.where(frames[..., None], self._embedding.to(hidden.dtype), hidden)
        if config.mask_feature_prob > 0:
            channels = latent_channel_mask(
                size,
                n_channels,
                mask_probability=config.mask_feature_prob,
                mask_length=config.mask_feature_length,
                generator=generator,
            )
            hidden = hidden.masked_fill(channels.to(hidden.device, non_blocking=True)[:, None], 0.0)
        return hidden


DRAW_LEVELS = 2**16  # values of a 16-bit draw: a probability is met to half of 1 / DRAW_LEVELS


class BitDropout(nn.Dropout):
    """nn.Dropout that on a CPU draws 16 bits an element, four elements a number of torch's global generator.

    nn.Dropout draws a number an element there, which takes longer than the layers around it. On other devices it is
    nn.Dropout.
    """

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden (any shape) with each element 0 with probability p, else divided by 1 - p; unchanged in evaluation."""
        dropped = round(self.p * DRAW_LEVELS)
        if not self.training or dropped in (0, DRAW_LEVELS) or hidden.device.type != "cpu":
            return super().forward(hidden)
        draws = torch.empty(-(-hidden.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        kept = draws.view(torch.int16)[: hidden.numel()].view(hidden.shape) >= dropped - DRAW_LEVELS // 2
        return hidden * kept.to(hidden.dtype).mul_(DRAW_LEVELS / (DRAW_LEVELS - dropped))


def use_bit_dropout(model: nn.Module) -> None:
    """Replaces every nn.Dropout of a model by a BitDropout of the same probability, in place."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Dropout:
                setattr(parent, name, BitDropout(child.p))


def use_bit_dropout_in_blocks(blocks: Iterable[nn.Module]) -> None:
    """The same for transformers' WhisperEncoderLayers, which call nn.functional.dropout on what attention and the
    feed-forward layers return: a hook on either does it instead.
    """
    for block in blocks:
        dropout = BitDropout(block.dropout)  # type: ignore[arg-type]
        block.dropout = 0.0  # type: ignore[assignment]

        def drop(layer: nn.Module, _: Any, output: Any, dropout: BitDropout = dropout) -> Any:
            dropout.train(layer.training)
            return (dropout(output[0]), *output[1:]) if isinstance(output, tuple) else dropout(output)

        block.self_attn.register_forward_hook(drop)  # type: ignore[union-attr]
        block.fc2.register_forward_hook(drop)  # type: ignore[union-attr]
