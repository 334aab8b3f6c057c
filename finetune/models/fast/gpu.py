"""wav2vec2's convolutions as what a GPU is fast at: dense matrix products over rows, forward and backward.

As transformers has them they are half of a pass on a GPU: channels lie apart, so that every convolution is transposed
to and fro, and no fast kernel knows the positional one (128 wide, 16 groups of 48 channels). What is more, cuDNN plans
a convolution anew for each shape that it meets, which takes longer than a pass, and batches of speech hardly ever
repeat a shape. Here frames are rows [frames, channels], and a strided convolution is a product over as many rows as it
steps, and one over what its kernel holds beyond. Group normalisation after the first layer is folded into its weights,
as mean and variance of a linear map follow from mean and covariance of its windows. The positional convolution takes
BLOCK frames at once: one dense product whose matrix holds its kernel BLOCK times, each a frame further down.

Classes are exchanged, weights and their names are not; on other devices all is computed as transformers does.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

DEVICES = frozenset({"cuda"})  # where it pays
BLOCK = 8  # frames: 8 times the kernel's memory, 6 % more arithmetic than needed at a kernel of 128
LAYERS = ("NormConvLayer", "Data2VecAudioConvLayer")  # how the names of those known here end
ALIGNED = 8  # numbers of 16 bits
SHORTEST_KERNEL = 16  # of a positional convolution


def arrange_for_gpu(model: Any) -> bool:
    """Give a *ForCTC model of wav2vec2's kind these convolutions, as far as it is built of layers known here. Returns
    whether any is. In the whole process, torch's attention then does without cuDNN, which plans for each shape, too.
    """
    arranged = False
    torch.backends.cuda.enable_cudnn_sdp(False)
    encoder = getattr(model.base_model, "feature_extractor", None)
    if encoder is not None and _is_known(encoder):
        _become(encoder, RowFeatureEncoder)
        arranged = True
    positions = getattr(getattr(model.base_model, "encoder", None), "pos_conv_embed", None)
    convolution = getattr(positions, "conv", None)
    if isinstance(convolution, nn.Conv1d) and _is_positional(convolution):
        _become(convolution, BlockedConvolution)
        arranged = True
    return arranged


def _become(module: nn.Module, mixin: type) -> None:
    module.__class__ = type(mixin.__name__, (mixin, type(module)), {})


def _is_known(encoder: Any) -> bool:
    layers = list(getattr(encoder, "conv_layers", []))
    norms = [getattr(layer, "layer_norm", None) for layer in layers]
    plain = all(
        type(layer).__name__.endswith(LAYERS)
        and type(layer.conv) is nn.Conv1d
        and (layer.conv.groups, layer.conv.dilation, layer.conv.padding) == (1, (1,), (0,))
        for layer in layers
    )
    first_norm = norms[0] if norms else None
    channelwise = isinstance(first_norm, nn.GroupNorm) and first_norm.num_groups == first_norm.num_channels
    return (
        len(layers) > 1
        and plain
        and layers[0].conv.in_channels == 1
        and (channelwise or first_norm is None or isinstance(first_norm, nn.LayerNorm))
        and all(norm is None or isinstance(norm, nn.LayerNorm) for norm in norms[1:])
    )


def _is_positional(convolution: nn.Conv1d) -> bool:
    plain = (convolution.stride, convolution.dilation, convolution.padding_mode) == ((1,), (1,), "zeros")
    return plain and convolution.kernel_size[0] >= SHORTEST_KERNEL and not isinstance(convolution.padding, str)


class RowFeatureEncoder(nn.Module):
    """A mixin over a feature encoder of transformers."""

    conv_layers: Any
    gradient_checkpointing: bool

    def forward(self, input_values: Tensor) -> Tensor:
        """[batch, samples] -> [batch, channels, frames], a view of rows."""
        if input_values.device.type not in DEVICES or (self.gradient_checkpointing and self.training):
            return super().forward(input_values)  # type: ignore[no-any-return]
        first, *others = self.conv_layers
        rows = _first_rows(first, input_values)
        for layer in others:
            rows = _normalised(layer, _convolved(layer.conv, rows))
        return rows.transpose(1, 2)


def _first_rows(layer: Any, waveforms: Tensor) -> Tensor:
    """[batch, samples] -> [batch, frames, channels] of the first layer, normalised and activated."""
    convolution = layer.conv
    # zeros beyond the kernel: matrix products are faster over rows of whole 16 bytes
    beyond = -convolution.kernel_size[0] % ALIGNED
    windows = functional.pad(waveforms.unfold(1, convolution.kernel_size[0], convolution.stride[0]), (0, beyond))
    weight = functional.pad(convolution.weight[:, 0], (0, beyond))
    norm = getattr(layer, "layer_norm", None)
    if not isinstance(norm, nn.GroupNorm):
        return _normalised(layer, functional.linear(windows, weight, convolution.bias))
    with torch.autocast(waveforms.device.type, enabled=False):
        weight, bias = _folded(norm, weight, windows)
    rows = torch.baddbmm(bias.to(windows.dtype)[:, None], windows, weight.to(windows.dtype).transpose(1, 2))
    return layer.activation(rows)  # type: ignore[no-any-return]


def _folded(norm: nn.GroupNorm, weight: Tensor, windows: Tensor) -> tuple[Tensor, Tensor]:
    """The first convolution with the normalisation of each utterance in it.

    weight: [channels, kernel]; windows: [batch, frames, kernel]. Returns weights [batch, channels, kernel] and biases
    [batch, channels] in float64: the convolution's own bias would cancel out. `norm.valid`, where it has any, holds the
    valid frames of each utterance [batch].
    """
    values, weight = windows.double(), weight.double()
    valid: Tensor | None = getattr(norm, "valid", None)
    if valid is None:
        mean = values.mean(dim=1, keepdim=True)
        centred, frames = values - mean, values.new_tensor(values.shape[1])
    else:
        kept = (torch.arange(values.shape[1], device=values.device) < valid[:, None])[..., None]
        frames = valid[:, None, None].double()
        mean = (values * kept).sum(dim=1, keepdim=True) / frames
        centred = (values - mean) * kept
    covariance = centred.transpose(1, 2) @ centred / frames  # [batch, kernel, kernel]
    variance = ((weight @ covariance) * weight).sum(dim=-1).clamp(min=0.0)  # [batch, channels]
    scale = (variance + norm.eps).rsqrt() * norm.weight.double()
    return weight * scale[..., None], norm.bias.double() - scale * (mean[:, 0] @ weight.T)


def _convolved(convolution: nn.Conv1d, rows: Tensor) -> Tensor:
    """[batch, frames, channels] -> the same, strided. What is multiplied are views: nothing is copied."""
    (kernel,), (stride,) = convolution.kernel_size, convolution.stride
    n_out = (rows.shape[1] - kernel) // stride + 1
    if torch.is_autocast_enabled(rows.device.type):
        rows = rows.to(torch.get_autocast_dtype(rows.device.type))
    taps = convolution.weight.to(rows.dtype).permute(2, 1, 0)  # [kernel, in, out]
    convolved: Tensor | None = None if convolution.bias is None else convolution.bias.to(rows.dtype)
    first = 0
    while first < kernel:
        together = stride if first + stride <= kernel else 1  # taps, of as many neighbouring rows
        if together == stride:
            neighbours = rows[:, first : first + n_out * stride]
            seen = neighbours.view(len(rows), n_out, stride * rows.shape[2])
        else:
            seen = rows[:, first::stride][:, :n_out]
        weight = taps[first : first + together].reshape(1, -1, taps.shape[-1]).expand(len(rows), -1, -1)
        convolved = torch.bmm(seen, weight) if convolved is None else torch.baddbmm(convolved, seen, weight)
        first += together
    assert convolved is not None
    return convolved


def _normalised(layer: Any, rows: Tensor) -> Tensor:
    norm = getattr(layer, "layer_norm", None)
    return layer.activation(rows if norm is None else norm(rows))  # type: ignore[no-any-return]


class BlockedConvolution(nn.Module):
    """A mixin over nn.Conv1d with a wide kernel, many groups and no stride."""

    padding: tuple[int, ...]
    groups: int

    def _conv_forward(self, hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """hidden: [batch, channels, frames], best as a view of rows; as nn.Conv1d."""
        if hidden.device.type not in DEVICES:
            return super()._conv_forward(hidden, weight, bias)  # type: ignore[no-any-return,misc]
        if torch.is_autocast_enabled(hidden.device.type):
            dtype = torch.get_autocast_dtype(hidden.device.type)
            hidden, weight = hidden.to(dtype), weight.to(dtype)
        rows = functional.pad(hidden.transpose(1, 2), (0, 0, self.padding[0], self.padding[0]))
        with torch.autocast(hidden.device.type, enabled=False):
            convolved = _Blocked.apply(rows, weight, self.groups)  # type: ignore[no-untyped-call]
        if bias is not None:
            convolved = convolved + bias.to(convolved.dtype)
        return convolved.transpose(1, 2)  # type: ignore[no-any-return]


class _Blocked(torch.autograd.Function):
    """Rows [batch, frames + kernel - 1, channels in], weight [channels out, channels in / groups, kernel], and groups
    -> rows [batch, frames, channels out].
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, groups: int) -> Tensor:
        ctx.save_for_backward(rows, weight)
        ctx.groups = groups
        return convolve_rows(rows, weight, groups)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        rows, weight = ctx.saved_tensors
        to_rows = to_weight = None
        if ctx.needs_input_grad[0]:
            beyond = weight.shape[-1] - 1
            padded = functional.pad(gradient, (0, 0, beyond, beyond))
            to_rows = convolve_rows(padded, _turned(weight, ctx.groups), ctx.groups)
        if ctx.needs_input_grad[1]:
            to_weight = _to_weight(rows, gradient, weight.shape[-1], ctx.groups).to(weight.dtype)
        return to_rows, to_weight, None


def convolve_rows(rows: Tensor, weight: Tensor, groups: int) -> Tensor:
    """As _Blocked, without gradients."""
    kernel = weight.shape[-1]
    frames = rows.shape[1] - kernel + 1
    products = torch.bmm(_windows(rows, frames, kernel, groups), _toeplitz(weight, groups))
    return _unblocked(products, len(rows), frames)


def _blocks_in_window(kernel: int) -> int:
    """Blocks of input frames that BLOCK output frames depend on."""
    return -(-(BLOCK + kernel - 1) // BLOCK)


def _windows(rows: Tensor, frames: int, kernel: int, groups: int) -> Tensor:
    """What each block of output frames depends on: [groups, batch * blocks, frames of a window * channels of a group].

    frames: of the output.
    """
    batch, _, channels = rows.shape
    blocks, reach = -(-frames // BLOCK), _blocks_in_window(kernel)
    rows = functional.pad(rows, (0, 0, 0, (blocks + reach - 1) * BLOCK - rows.shape[1]))
    grouped = rows.view(batch, -1, groups, channels // groups).permute(2, 0, 1, 3).contiguous()
    windows = grouped.flatten(2).unfold(2, reach * BLOCK * channels // groups, BLOCK * channels // groups)
    return windows.reshape(groups, batch * blocks, -1)


def _toeplitz(weight: Tensor, groups: int) -> Tensor:
    """[out, in / groups, kernel] -> [groups, frames of a window * in / groups, BLOCK * out / groups]."""
    kernel = weight.shape[-1]
    width = _blocks_in_window(kernel) * BLOCK
    # a row of width + 1, BLOCK times, read in rows of width: each begins one later, and is the kernel one further down
    longer = functional.pad(weight, (0, width + 1 - kernel))
    shifted = longer.repeat(1, 1, BLOCK)[..., : BLOCK * width].view(*weight.shape[:2], BLOCK, width)
    split = shifted.view(groups, -1, *shifted.shape[1:])  # [groups, out, in, BLOCK, width]
    return split.permute(0, 4, 2, 3, 1).flatten(3).flatten(1, 2)


def _to_weight(rows: Tensor, gradient: Tensor, kernel: int, groups: int) -> Tensor:
    """The weight's gradient [out, in / groups, kernel]: _toeplitz backwards, of the gradient of its matrix."""
    batch, frames, channels = gradient.shape
    blocks, width = -(-frames // BLOCK), _blocks_in_window(kernel) * BLOCK
    padded = functional.pad(gradient, (0, 0, 0, blocks * BLOCK - frames))
    split = padded.view(batch, blocks, BLOCK, groups, -1).permute(3, 0, 1, 2, 4).reshape(groups, batch * blocks, -1)
    matrix = torch.bmm(_windows(rows, frames, kernel, groups).transpose(1, 2), split)
    shifted = matrix.view(groups, width, -1, BLOCK, channels // groups).permute(0, 4, 2, 3, 1).flatten(3).float()
    longer = functional.pad(shifted, (0, BLOCK)).view(*shifted.shape[:3], BLOCK, width + 1)
    return longer.sum(dim=3)[..., :kernel].flatten(0, 1)


def _turned(weight: Tensor, groups: int) -> Tensor:
    """The kernel of the gradient's way back: [in, out / groups, kernel], from its end to its beginning."""
    split = weight.view(groups, -1, *weight.shape[1:]).transpose(1, 2)  # [groups, in, out, kernel]
    return split.flip(-1).flatten(0, 1)


def _unblocked(products: Tensor, batch: int, frames: int) -> Tensor:
    """[groups, batch * blocks, BLOCK * channels of a group] -> [batch, frames, channels]."""
    split = products.view(len(products), batch, -1, BLOCK, products.shape[-1] // BLOCK)
    return split.permute(1, 2, 3, 0, 4).reshape(batch, -1, len(products) * split.shape[-1])[:, :frames]
