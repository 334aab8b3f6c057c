"""Padding invariance: an utterance gets the same logits in a padded batch as alone.

Four parts of transformers' models let padding change the logits: group normalisation in the feature encoder
(wav2vec2-base, HuBERT base, WavLM base ...), whose statistics are taken over the whole padded utterance; several
positional convolutions in a row (data2vec-audio), whose biases fill the padding that the next one reads; and the
convolutions over time in a conformer's layers and in an adapter after the transformer, which read the padding. They are
replaced in place. Parameters and their names stay, so a model saved afterwards is a plain transformers model.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from finetune.models.fast.cpu import FastFeatureEncoder


class ValidGroupNorm(nn.GroupNorm):
    """GroupNorm with one group for each channel, whose statistics are taken over valid frames only.

    valid: valid frames of each utterance of the next batch [batch]; None: all frames.
    """

    valid: Tensor | None = None

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden: [batch, channels, frames]. Returns the same shape; frames in the padding are undefined."""
        if self.valid is None:
            return super().forward(hidden)
        positions = torch.arange(hidden.shape[-1], device=hidden.device)
        valid = (positions < self.valid[:, None]).float()  # [batch, frames]
        frames = self.valid[:, None, None]
        values = hidden.float()
        # the longest tensors of the model, where each pass over them takes time: sums are products with the mask
        with torch.autocast(hidden.device.type, enabled=False):
            centred = (values - values @ valid[:, :, None] / frames).mul_(valid[:, None])
        variance = torch.linalg.vector_norm(centred, dim=-1, keepdim=True).square() / frames
        scale = (variance + self.eps).rsqrt() * self.weight[:, None]
        return torch.addcmul(self.bias[:, None], centred, scale).to(hidden.dtype)


class PaddingInvariance:
    """Makes a *ForCTC model of transformers padding-invariant; `set_lengths` announces each padded batch.

    The model's first GroupNorm becomes a ValidGroupNorm, its `_get_feature_vector_attention_mask` returns the announced
    frames, and hooks zero the padding that convolutions read. A forward pass without `set_lengths` before it
    is a plain call of the model: all of its batch counts as valid. Gradient checkpointing finds the lengths of its own
    batch, as they stay until the next forward pass.
    """

    def __init__(self, model: Any) -> None:
        self._base = model.base_model
        self._norm: ValidGroupNorm | None = None
        self._n_frames: Tensor | None = None
        self._announced = False
        self._base.register_forward_pre_hook(self._begin)
        if hasattr(self._base, "feature_extractor"):  # else its input is a log-mel, and it masks its own convolutions
            self._replace_parts()
        adapter = getattr(self._base, "adapter", None)
        for depth, layer in enumerate(adapter.layers if adapter is not None else ()):
            for part in layer.children():
                if isinstance(part, nn.Conv1d):
                    part.register_forward_pre_hook(partial(self._zero_padding_of_adapter, depth))

    def _replace_parts(self) -> None:
        """The first GroupNorm, transformers' count of the valid frames, and what convolutions read."""
        first = self._base.feature_extractor.conv_layers[0]
        original = getattr(first, "layer_norm", None)
        if isinstance(original, nn.GroupNorm):
            self._norm = ValidGroupNorm(original.num_groups, original.num_channels, original.eps)
            self._norm.weight, self._norm.bias = original.weight, original.bias  # the same parameters, frozen or not
            first.layer_norm = self._norm
        (self._kernel,), (self._stride,) = first.conv.kernel_size, first.conv.stride
        self._original_mask = self._base._get_feature_vector_attention_mask
        self._base._get_feature_vector_attention_mask = self._mask
        positional = self._base.encoder.pos_conv_embed
        conformers = [getattr(layer, "conv_module", None) for layer in self._base.encoder.layers]
        convolutions = [module.depthwise_conv for module in conformers if module is not None]
        for layer in [*list(getattr(positional, "layers", []))[1:], *convolutions]:
            layer.register_forward_pre_hook(self._zero_padding)

    def set_lengths(self, n_samples: Tensor, n_frames: Tensor) -> None:
        """Announces the lengths of the next forward pass's utterances.

        n_samples: valid samples [batch]; n_frames: valid frames of the transformer [batch]; both on the model's device.
        """
        self._announced = True
        self._n_frames = n_frames
        if self._norm is not None:
            self._norm.valid = (n_samples - self._kernel) // self._stride + 1
        if isinstance(getattr(self._base, "feature_extractor", None), FastFeatureEncoder):
            self._base.feature_extractor.n_samples = n_samples.tolist()

    def _begin(self, *_: object) -> None:
        """Before each forward pass: forgets the lengths of the batch before, unless new ones were announced."""
        if not self._announced:
            self._n_frames = None
            if self._norm is not None:
                self._norm.valid = None
        self._announced = False

    def _mask(self, n_frames: int, attention_mask: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Whether each frame is valid [batch, n_frames], in place of transformers' count from the attention mask."""
        if self._n_frames is None:
            return self._original_mask(n_frames, attention_mask, *args, **kwargs)  # type: ignore[no-any-return]
        return torch.arange(n_frames, device=attention_mask.device) < self._n_frames[:, None]

    def _zero_padding(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """inputs: one tensor [batch, channels, frames]; returned with zeros in the padding."""
        return inputs if self._n_frames is None else (_with_zeros_after(inputs[0], self._n_frames),)

    def _zero_padding_of_adapter(self, depth: int, layer: nn.Conv1d, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The same for a convolution of an adapter's layer that has `depth` layers of the adapter below it."""
        if self._n_frames is None:
            return inputs
        kernel, stride, padding = layer.kernel_size[0], layer.stride[0], int(layer.padding[0])
        n_frames = self._n_frames
        for _ in range(depth):
            n_frames = (n_frames + 2 * padding - kernel) // stride + 1
        return (_with_zeros_after(inputs[0], n_frames),)


def _with_zeros_after(hidden: Tensor, n_frames: Tensor) -> Tensor:
    """hidden [batch, channels, frames] with zeros after each utterance's n_frames [batch]."""
    in_padding = torch.arange(hidden.shape[-1], device=hidden.device) >= n_frames[:, None]
    return hidden.masked_fill(in_padding[:, None], 0.0)
