"""Shared by `cpu` and `rows`: which layers they know, and group and weight normalisation folded into weights."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

UNCHANGED = "as transformers computes it"  # in a report, of a part that was not replaced


class UnknownLayerError(Exception):
    """A model part that is not built as `finetune.models.fast` knows it; the message names it."""


def check_feature_encoder(encoder: Any) -> None:
    """Raises UnknownLayerError unless a feature encoder is two or more plain convolutions from one channel on.

    Plain is a Conv1d without groups, dilation or padding. Layer normalisation may follow any of them, group
    normalisation with a group for each channel the first. The order of a layer's operations is not checked.
    """
    layers = list(encoder.conv_layers)
    if len(layers) < 2 or layers[0].conv.in_channels != 1:
        raise UnknownLayerError(type(encoder).__name__)
    for place, layer in enumerate(layers):
        convolution, norm = layer.conv, getattr(layer, "layer_norm", None)
        plain = type(convolution) is nn.Conv1d and (
            (convolution.groups, convolution.dilation, convolution.padding) == (1, (1,), (0,))
        )
        known_norm = norm is None or isinstance(norm, nn.LayerNorm)
        if isinstance(norm, nn.GroupNorm):
            known_norm = place == 0 and norm.num_groups == norm.num_channels
        if not (plain and known_norm):
            raise UnknownLayerError(type(layer).__name__)


def fold_group_norm(
    norm: nn.GroupNorm, weight: Tensor, windows: Tensor, valid: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Weights [batch, channels, kernel] and biases [batch, channels] in float64 of one linear map that equals a
    convolution of one input channel followed by group normalisation over each utterance.

    norm: with a group for each channel.
    weight: of the convolution [channels, kernel]; its bias cancels out.
    windows: the samples that each output frame is computed from [batch, frames, kernel].
    valid: valid frames of each utterance [batch]; None: all.

    The output of channel c is w_c . x over windows x, so its mean is w_c . mean(x) and its variance is
    w_c^T Cov(x) w_c: the statistics need no pass over the output, which is hundreds of channels wide.
    """
    values, weight = windows.double(), weight.double()
    if valid is None:
        mean = values.mean(dim=1, keepdim=True)
        centred, frames = values - mean, values.new_tensor(values.shape[1])
    else:
        is_valid = (torch.arange(values.shape[1], device=values.device) < valid[:, None])[..., None]
        frames = valid[:, None, None].double()
        mean = (values * is_valid).sum(dim=1, keepdim=True) / frames
        centred = (values - mean) * is_valid
    covariance = centred.transpose(1, 2) @ centred / frames  # [batch, kernel, kernel]
    variance = ((weight @ covariance) * weight).sum(dim=-1).clamp(min=0.0)  # [batch, channels]
    scale = (variance + norm.eps).rsqrt() * norm.weight.double()
    return weight * scale[..., None], norm.bias.double() - scale * (mean[:, 0] @ weight.T)


def report(parts: Sequence[tuple[str, str]]) -> str:
    """The line that `replace_convolutions` returns, of each part and what computes it.

    >>> report([("feature encoder", "matrix products over rows"), ("positions", UNCHANGED)])
    'feature encoder: matrix products over rows; positions: as transformers computes it'
    """
    return "; ".join(f"{part}: {what}" for part, what in parts)


def fold_weight_norm(model: nn.Module) -> None:
    """Compute parametrised weights, as the weight norm of positional convolutions, once instead of in every pass."""
    for module in list(model.modules()):
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")
