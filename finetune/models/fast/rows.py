"""wav2vec2's convolutions as dense matrix products over rows, for training, and for inference on a GPU.

As transformers computes them they take half of a pass: tensors are channels first, so that every convolution is
transposed to and fro, on a CPU in bfloat16 twice. On a GPU, no fast kernel exists for the positional one (128 wide, 16
groups of 48 channels), and cuDNN plans a convolution for each new shape, which takes longer than a pass, while batches
of speech hardly ever repeat a shape. Here frames are rows [frames, channels]. A strided convolution is one product over
as many neighbouring rows as it steps, and one for the rest of its kernel. Group normalisation after the first layer is
folded into its weights. The positional convolution computes BLOCK frames at once, with a matrix that holds its kernel
BLOCK times, each one frame further down: on a GPU, as on a CPU the copies take longer than they save.

Only classes are changed, no parameters; on devices other than ROWS and BLOCKS everything is computed as transformers
does.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from finetune.models.fast.folding import UNCHANGED, UnknownLayerError, check_feature_encoder, fold_group_norm, report

ROWS = frozenset({"cpu", "cuda"})  # where the feature encoder computes so
BLOCKS = frozenset({"cuda"})  # where the positional convolution does
BLOCK = 8  # frames: 8 times the kernel's memory, 6 % more arithmetic than needed at a kernel of 128
LAYERS = ("NormConvLayer", "Data2VecAudioConvLayer")  # ends of the class names of the layers known here
ALIGNED = 8  # elements of 16 bits in 16 bytes
SHORTEST_KERNEL = 16  # of a positional convolution that is replaced


def replace_convolutions(model: Any) -> str:
    """Replaces the feature encoder's and the positional convolution of a *ForCTC model, in place: their classes change,
    their parameters do not. Returns what computes each of the two where it is replaced, in one line.

    Also turns cuDNN's attention off in the whole process, as it plans for each new shape, too.
    """
    torch.backends.cuda.enable_cudnn_sdp(False)
    base = model.base_model
    return report(
        [
            ("feature encoder", _replace_encoder(getattr(base, "feature_extractor", None))),
            ("positions", _replace_positions(getattr(getattr(base, "encoder", None), "pos_conv_embed", None))),
        ]
    )


def _replace_encoder(encoder: Any) -> str:
    try:
        check_feature_encoder(encoder)
    except (UnknownLayerError, AttributeError) as error:
        return f"{UNCHANGED} ({error})"
    for layer in encoder.conv_layers:
        if not type(layer).__name__.endswith(LAYERS):
            return f"{UNCHANGED} ({type(layer).__name__})"
    _mix_in(RowFeatureEncoder, encoder)
    return "matrix products over rows"


def _replace_positions(positions: Any) -> str:
    convolution = getattr(positions, "conv", None)
    if not isinstance(convolution, nn.Conv1d) or not _is_wide(convolution):
        return f"{UNCHANGED} ({type(positions).__name__})"
    _mix_in(BlockedConvolution, convolution)
    return f"matrix products over blocks of {BLOCK} frames"


def _mix_in(mixin: type, module: nn.Module) -> None:
    module.__class__ = type(mixin.__name__, (mixin, type(module)), {})


def _is_wide(convolution: nn.Conv1d) -> bool:
    plain = (convolution.stride, convolution.dilation, convolution.padding_mode) == ((1,), (1,), "zeros")
    return plain and convolution.kernel_size[0] >= SHORTEST_KERNEL and not isinstance(convolution.padding, str)


class RowFeatureEncoder(nn.Module):
    """Mixed into a feature encoder's class: its forward pass as matrix products over rows."""

    conv_layers: Any
    gradient_checkpointing: bool

    def forward(self, input_values: Tensor) -> Tensor:
        """[batch, samples] -> [batch, channels, frames], a view of rows."""
        if input_values.device.type not in ROWS or (self.gradient_checkpointing and self.training):
            return super().forward(input_values)  # type: ignore[no-any-return]
        first, *others = self.conv_layers
        rows = _first_rows(first, input_values)
        for layer in others:
            rows = _normalised(layer, _convolved(layer.conv, rows))
        return rows.transpose(1, 2)


def _first_rows(layer: Any, waveforms: Tensor) -> Tensor:
    """[batch, samples] -> [batch, frames, channels] of the first layer, normalised and activated."""
    convolution, kernel = layer.conv, layer.conv.kernel_size[0]
    # zeros after the kernel: matrix products are faster over rows of a multiple of 16 bytes
    beyond = 1 + -(kernel + 1) % ALIGNED
    windows = functional.pad(waveforms.unfold(1, kernel, convolution.stride[0]), (0, beyond))
    weight = functional.pad(convolution.weight[:, 0], (0, beyond))
    norm = getattr(layer, "layer_norm", None)
    if not isinstance(norm, nn.GroupNorm):
        return _normalised(layer, functional.linear(windows, weight, convolution.bias))
    with torch.autocast(waveforms.device.type, enabled=False):
        weight, bias = fold_group_norm(norm, weight, windows, getattr(norm, "valid", None))
    # the bias is a weight of ones after the kernel: added to a product, it would take two more passes over the output
    windows[..., kernel] = 1.0
    weight = torch.cat([weight[..., :kernel], bias[..., None], weight[..., kernel + 1 :]], dim=-1)
    return layer.activation(torch.bmm(windows, weight.to(windows.dtype).transpose(1, 2)))  # type: ignore[no-any-return]


def _convolved(convolution: nn.Conv1d, rows: Tensor) -> Tensor:
    """[batch, frames, channels in] -> [batch, frames out, channels out], by products over views without a copy."""
    (kernel,), (stride,) = convolution.kernel_size, convolution.stride
    n_out = (rows.shape[1] - kernel) // stride + 1
    if torch.is_autocast_enabled(rows.device.type):
        rows = rows.to(torch.get_autocast_dtype(rows.device.type))
    taps = convolution.weight.to(rows.dtype).permute(2, 1, 0)  # [kernel, in, out]
    convolved: Tensor | None = None
    first = 0
    while first < kernel:
        together = stride if first + stride <= kernel else 1  # taps, of as many neighbouring rows
        if together == stride:
            neighbours = rows[:, first : first + n_out * stride]
            inputs = neighbours.view(len(rows), n_out, stride * rows.shape[2])
        else:
            inputs = rows[:, first::stride][:, :n_out]
        weight = taps[first : first + together].reshape(1, -1, taps.shape[-1]).expand(len(rows), -1, -1)
        # in place: else a copy of the sum so far is made first
        convolved = torch.bmm(inputs, weight) if convolved is None else convolved.baddbmm_(inputs, weight)
        first += together
    assert convolved is not None
    return convolved if convolution.bias is None else convolved.add_(convolution.bias.to(rows.dtype))


def _normalised(layer: Any, rows: Tensor) -> Tensor:
    norm = getattr(layer, "layer_norm", None)
    return layer.activation(rows if norm is None else norm(rows))  # type: ignore[no-any-return]


class BlockedConvolution(nn.Module):
    """Mixed into the class of an nn.Conv1d with a wide kernel, groups and no stride: convolves BLOCK frames at once."""

    padding: tuple[int, ...]
    groups: int

    def _conv_forward(self, hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """As nn.Conv1d's. hidden: [batch, channels, frames], fastest as a transposed view of contiguous rows."""
        if hidden.device.type not in BLOCKS:
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
    """`convolve_rows` with gradients that are matrix products, too."""

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
            to_rows = convolve_rows(padded, _flipped(weight, ctx.groups), ctx.groups)
        if ctx.needs_input_grad[1]:
            to_weight = _to_weight(rows, gradient, weight.shape[-1], ctx.groups).to(weight.dtype)
        return to_rows, to_weight, None


def convolve_rows(rows: Tensor, weight: Tensor, groups: int) -> Tensor:
    """The convolution that _Blocked differentiates.

    rows: [batch, frames + kernel - 1, channels in]; weight: [channels out, channels in / groups, kernel]. Returns rows
    [batch, frames, channels out].
    """
    kernel = weight.shape[-1]
    frames = rows.shape[1] - kernel + 1
    products = torch.bmm(_windows(rows, frames, kernel, groups), _toeplitz(weight, groups))
    return _unblocked(products, len(rows), frames)


def _blocks_in_window(kernel: int) -> int:
    """Blocks of input frames that BLOCK output frames depend on."""
    return -(-(BLOCK + kernel - 1) // BLOCK)


def _windows(rows: Tensor, frames: int, kernel: int, groups: int) -> Tensor:
    """The input frames of each block of output frames [groups, batch * blocks, frames of a window * channels of a
    group]; frames: of the output.
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
    """The weight's gradient [out, in / groups, kernel] from the gradient of its _toeplitz matrix."""
    batch, frames, channels = gradient.shape
    blocks, width = -(-frames // BLOCK), _blocks_in_window(kernel) * BLOCK
    padded = functional.pad(gradient, (0, 0, 0, blocks * BLOCK - frames))
    split = padded.view(batch, blocks, BLOCK, groups, -1).permute(3, 0, 1, 2, 4).reshape(groups, batch * blocks, -1)
    matrix = torch.bmm(_windows(rows, frames, kernel, groups).transpose(1, 2), split)
    shifted = matrix.view(groups, width, -1, BLOCK, channels // groups).permute(0, 4, 2, 3, 1).flatten(3).float()
    longer = functional.pad(shifted, (0, BLOCK)).view(*shifted.shape[:3], BLOCK, width + 1)
    return longer.sum(dim=3)[..., :kernel].flatten(0, 1)


def _flipped(weight: Tensor, groups: int) -> Tensor:
    """The kernel that convolves the output's gradient into the input's: [in, out / groups, kernel], reversed."""
    split = weight.view(groups, -1, *weight.shape[1:]).transpose(1, 2)  # [groups, in, out, kernel]
    return split.flip(-1).flatten(0, 1)


def _unblocked(products: Tensor, batch: int, frames: int) -> Tensor:
    """[groups, batch * blocks, BLOCK * channels of a group] -> [batch, frames, channels]."""
    split = products.view(len(products), batch, -1, BLOCK, products.shape[-1] // BLOCK)
    return split.permute(1, 2, 3, 0, 4).reshape(batch, -1, len(products) * split.shape[-1])[:, :frames]
