"""Batches that do not change what a model says: padding kept out of normalisation and positional convolutions.

wav2vec2-base and its kin normalise each channel of their first convolution over the whole, padded utterance, so that
padding moves every logit. Here the statistics are taken over valid frames; parameters and their names stay, so that a
model saved afterwards is a plain transformers model.
"""

from typing import Any

import torch
from torch import Tensor, nn


class ValidGroupNorm(nn.GroupNorm):
    """GroupNorm with one group a channel whose statistics leave padding out.

    `valid` holds the valid frames of each utterance of the batch at hand [batch], None where nothing is padded.
    """

    valid: Tensor | None = None

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden: [batch, channels, frames]. Returns the same shape; what lies in the padding means nothing."""
        if self.valid is None:
            return super().forward(hidden)
        positions = torch.arange(hidden.shape[-1], device=hidden.device)
        valid = (positions < self.valid[:, None]).float()  # [batch, frames]
        frames = self.valid[:, None, None]
        values = hidden.float()
        # the longest tensors of the model: each pass over them counts, so that sums are products with the mask
        with torch.autocast(hidden.device.type, enabled=False):
            centred = (values - values @ valid[:, :, None] / frames).mul_(valid[:, None])
        variance = torch.linalg.vector_norm(centred, dim=-1, keepdim=True).square() / frames
        scale = (variance + self.eps).rsqrt() * self.weight[:, None]
        return torch.addcmul(self.bias[:, None], centred, scale).to(hidden.dtype)


class ValidFrames:
    """Tells a model's parts how long each utterance of a batch is, where padding would otherwise leak into speech.

    Two places leak: group normalisation in the feature encoder (wav2vec2-base, HuBERT base, WavLM base ...), and
    positional convolutions one after another (data2vec-audio), whose biases fill the padding that the next one reads.
    Everything else is exact as it comes, and left alone. A pass that is run again for its gradients (checkpointing)
    finds the lengths of its own batch, as they stay until the next one.
    """

    def __init__(self, model: Any) -> None:
        first = model.base_model.feature_extractor.conv_layers[0]
        self._norm: ValidGroupNorm | None = None
        before = getattr(first, "layer_norm", None)
        if isinstance(before, nn.GroupNorm):
            self._norm = ValidGroupNorm(before.num_groups, before.num_channels, before.eps)
            self._norm.weight, self._norm.bias = before.weight, before.bias  # frozen where they were
            first.layer_norm = self._norm
        (self._kernel,), (self._stride,) = first.conv.kernel_size, first.conv.stride
        self._n_frames: Tensor | None = None
        self._announced = False
        model.base_model.register_forward_pre_hook(self._begin)
        self._plain_mask = model.base_model._get_feature_vector_attention_mask
        if not getattr(model.config, "add_adapter", False):  # else frames are fewer than what is masked
            model.base_model._get_feature_vector_attention_mask = self._mask
        positional = model.base_model.encoder.pos_conv_embed
        for layer in list(getattr(positional, "layers", []))[1:]:
            layer.register_forward_pre_hook(self._without_padding)

    def of(self, n_samples: Tensor, n_frames: Tensor) -> None:
        """For the next forward pass: valid samples and latent frames of each utterance, both [batch]."""
        self._announced = True
        self._n_frames = n_frames
        if self._norm is not None:
            self._norm.valid = (n_samples - self._kernel) // self._stride + 1

    def _begin(self, *_: object) -> None:
        """A pass that nobody announced is a plain call of the model: all of its batch counts as valid."""
        if not self._announced:
            self._n_frames = None
            if self._norm is not None:
                self._norm.valid = None
        self._announced = False

    def _mask(self, n_frames: int, attention_mask: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """[batch, frames], whether each is valid: transformers counts samples to know what was announced."""
        if self._n_frames is None:
            return self._plain_mask(n_frames, attention_mask, *args, **kwargs)  # type: ignore[no-any-return]
        return torch.arange(n_frames, device=attention_mask.device) < self._n_frames[:, None]

    def _without_padding(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """hidden: [batch, channels, frames], 0 beyond each utterance."""
        (hidden,) = inputs
        if self._n_frames is None:
            return inputs
        beyond = torch.arange(hidden.shape[-1], device=hidden.device) >= self._n_frames[:, None]
        return (hidden.masked_fill(beyond[:, None], 0.0),)
