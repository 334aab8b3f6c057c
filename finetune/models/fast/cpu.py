"""wav2vec2's convolutions for inference on a CPU, in float32 equal to transformers' to 1e-4.

The feature encoder works on frames as rows [frames, channels], where the windows of a strided convolution are
overlapping rows of one memory. BLAS takes no overlapping rows, so a window is cut into pieces of a stride, each
multiplied by its part of the kernel, without copying. Group normalisation after the first layer is folded into its
weights. The lowest two layers are computed in blocks that stay in the cache. Each utterance is convolved alone, without
its padding. The positional convolution (kernel 128) is a product of spectra, overlap-save.

In bfloat16, the first layer, whose input is the waveform, and the spectra stay in float32. torch's own convolutions
copy every layer's frames between two memory layouts there, which takes longer than the products.

Parts that are not built as known here, or differ from the original on noise, are left as they are.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from finetune.models.fast.folding import UNCHANGED, UnknownLayerError, check_feature_encoder, fold_group_norm, report

BLOCK_ROWS = 1024  # of the second layer's output: 2 MB of 512 channels, made of 4 MB of the first layer's
N_FFT = 512  # of the positional convolution; at a kernel of 128, 385 frames a block
TOLERANCE = 1e-4  # of the largest difference from the original, relative to its largest value or 1


@torch.inference_mode()
def replace_convolutions(model: Any, dtype: torch.dtype = torch.float32) -> str:
    """Replaces the feature encoder and the positional convolution of a *ForCTC model in float32, in place, for
    inference on the CPU in `dtype`. Returns what computes each of the two, in one line.

    Each replacement is compared with the original on noise first, in float32, and taken only where they agree to
    TOLERANCE. The model itself is cast to `dtype` by the caller.
    """
    base, generator = model.base_model, torch.Generator().manual_seed(0)
    waveform = torch.randn(1, 24_000, generator=generator)
    hidden = torch.randn(1, 70, model.config.hidden_size, generator=generator)
    found = [
        ("feature encoder", _replaced(base, "feature_extractor", FastFeatureEncoder, waveform)),
        ("positions", _replaced(base.encoder, "pos_conv_embed", FastPositions, hidden)),
    ]
    if isinstance(base.feature_extractor, FastFeatureEncoder):
        base.feature_extractor.compute_in(dtype)
    return report(found)


def _replaced(
    parent: Any, name: str, replacement: "type[FastFeatureEncoder] | type[FastPositions]", noise: Tensor
) -> str:
    """Replaces an attribute of `parent` where that computes the same; returns what computes it now."""
    original = getattr(parent, name)
    try:
        fast = replacement(original)
    except (UnknownLayerError, AttributeError) as error:
        return f"{UNCHANGED} ({error})"
    expected, found = original(noise), fast(noise)
    if expected.shape != found.shape or (expected - found).abs().max() > TOLERANCE * max(1.0, expected.abs().max()):
        return f"{UNCHANGED} (the faster one differs)"
    setattr(parent, name, fast)
    return replacement.method


class RowConvolution:
    """One layer of a feature encoder on rows: convolution, normalisation, activation."""

    def __init__(self, layer: Any) -> None:
        convolution = layer.conv
        norm = getattr(layer, "layer_norm", None)
        self.group_norm = norm if isinstance(norm, nn.GroupNorm) else None
        self.layer_norm = norm if isinstance(norm, nn.LayerNorm) else None
        # of the layer normalisation, in the precision of this layer
        self.scale: Tensor | None = None if self.layer_norm is None else self.layer_norm.weight.detach()
        self.shift: Tensor | None = None if self.layer_norm is None else self.layer_norm.bias.detach()
        self.kernel: int = convolution.kernel_size[0]
        self.stride: int = convolution.stride[0]
        # one copy in memory: the original's weight becomes a view of this one
        rows = convolution.weight.detach().transpose(1, 2).contiguous()
        convolution.weight.data = rows.transpose(1, 2)
        self.weight = rows.flatten(1)  # [out, kernel * in]
        self.bias = None if convolution.bias is None else convolution.bias.detach()
        self.activation = layer.activation
        self._gelu = type(layer.activation).__name__ == "GELUActivation" or type(layer.activation) is nn.GELU
        if getattr(layer.activation, "approximate", "none") != "none":
            self._gelu = False

    def compute_in(self, dtype: torch.dtype) -> None:
        """Cast the layer's own weights."""
        self.weight = self.weight.to(dtype)
        self.bias, self.scale, self.shift = (
            None if one is None else one.to(dtype) for one in (self.bias, self.scale, self.shift)
        )

    def n_rows(self, n_rows: int) -> int:
        """Output rows of `n_rows` input rows."""
        return (n_rows - self.kernel) // self.stride + 1

    def folded(self, samples: Tensor) -> tuple[Tensor, Tensor | None]:
        """Weight and bias for an utterance [samples, 1], with its group normalisation where the layer has one."""
        if self.group_norm is None:
            return self.weight, self.bias
        windows = samples[:, 0].unfold(0, self.kernel, self.stride)
        weight, bias = fold_group_norm(self.group_norm, self.weight, windows[None])
        return weight[0].float(), bias[0].float()

    def convolved(self, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """[rows, in] contiguous -> [rows out, out], before normalisation: a product for each stride of the kernel."""
        channels, n_rows = rows.shape[1], self.n_rows(len(rows))
        step, hidden = self.stride * channels, None
        for begin in range(0, self.kernel * channels, step):
            width = min(step, self.kernel * channels - begin)
            piece = rows.as_strided((n_rows, width), (step, 1), rows.storage_offset() + begin)
            taps = weight[:, begin : begin + width]
            hidden = functional.linear(piece, taps, bias) if hidden is None else hidden.addmm_(piece, taps.T)
        assert hidden is not None
        return hidden

    def __call__(self, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """[rows, in] contiguous -> [rows out, out], normalised and activated; weight and bias as of `folded`."""
        hidden = self.convolved(rows, weight, bias)
        if self.layer_norm is not None:
            norm = self.layer_norm
            hidden = functional.layer_norm(hidden, norm.normalized_shape, self.scale, self.shift, norm.eps)
        if self._gelu:
            return torch.ops.aten.gelu_(hidden)  # type: ignore[no-any-return]
        return self.activation(hidden)  # type: ignore[no-any-return]


class FastFeatureEncoder(nn.Module):
    """Replaces a model's `feature_extractor`, whose layers and weights it keeps. Raises UnknownLayerError.

    n_samples: valid samples of each utterance of the next batch; None: all. Forgotten after each forward pass.
    """

    method = "matrix products over rows"

    def __init__(self, original: Any) -> None:
        super().__init__()
        check_feature_encoder(original)
        self.conv_layers = original.conv_layers
        self.n_samples: list[int] | None = None
        self._rows = [RowConvolution(layer) for layer in original.conv_layers]
        self._dtype = torch.float32

    def compute_in(self, dtype: torch.dtype) -> None:
        """Compute all layers but the first in another precision, which the frames are returned in."""
        self._dtype = dtype
        for layer in self._rows[1:]:
            layer.compute_in(dtype)

    def forward(self, input_values: Tensor) -> Tensor:
        """[batch, samples] -> [batch, channels, frames], zeros beyond each utterance."""
        lengths, self.n_samples = self.n_samples or [input_values.shape[1]] * len(input_values), None
        encoded = [self._encode(row[:n, None]) for row, n in zip(input_values, lengths, strict=True)]
        frames = input_values.shape[1]
        for layer in self._rows:
            frames = layer.n_rows(frames)
        if len(encoded) == 1 and len(encoded[0]) == frames:
            return encoded[0].T[None]
        batch = encoded[0].new_zeros(len(encoded), frames, encoded[0].shape[1])
        for row, hidden in zip(batch, encoded, strict=True):
            row[: len(hidden)] = hidden
        return batch.transpose(1, 2)

    def _encode(self, waveform: Tensor) -> Tensor:
        """[samples, 1] -> [frames, channels]."""
        first, second, *others = self._rows
        waveform = waveform.contiguous().float()
        weight, bias = first.folded(waveform)
        total = second.n_rows(first.n_rows(len(waveform)))
        rows = waveform.new_empty(total, len(second.weight), dtype=self._dtype)
        for start in range(0, total, BLOCK_ROWS):
            stop = min(start + BLOCK_ROWS, total)
            begin, end = start * second.stride, (stop - 1) * second.stride + second.kernel  # of the first layer's rows
            samples = waveform[begin * first.stride : (end - 1) * first.stride + first.kernel]
            rows[start:stop] = second(first(samples, weight, bias).to(self._dtype), second.weight, second.bias)
        for layer in others:
            rows = layer(rows, layer.weight, layer.bias)
        return rows


class FastPositions(nn.Module):
    """Replaces a model's `pos_conv_embed`: a grouped convolution that keeps the number of frames, then an activation.

    Its spectra take 2 * N_FFT / kernel times the memory of the weights. Raises UnknownLayerError.
    """

    method = "products of spectra"

    def __init__(self, original: Any) -> None:
        super().__init__()
        convolution: Any = getattr(original, "conv", None)
        children = {name for name, _ in original.named_children()}
        if children != {"conv", "padding", "activation"} or type(convolution).__name__ not in (
            "Conv1d",
            "ParametrizedConv1d",
        ):
            raise UnknownLayerError(type(original).__name__)
        (self._kernel,), (self._padding,) = convolution.kernel_size, convolution.padding
        if not 64 <= self._kernel <= N_FFT // 2:
            raise UnknownLayerError(f"a positional convolution of kernel {self._kernel}")
        self._groups: int = convolution.groups
        weight = convolution.weight.detach()  # [out, in / groups, kernel], weight normalisation applied
        spectra = torch.fft.rfft(weight.unflatten(0, (self._groups, -1)), N_FFT).conj()
        self._spectra = spectra.permute(3, 0, 1, 2).resolve_conj().contiguous()  # [bins, groups, out, in]
        self._bias = convolution.bias.detach()
        self.activation = original.activation

    def forward(self, hidden: Tensor) -> Tensor:
        """[batch, frames, channels] -> the same shape and type."""
        dtype, hidden = hidden.dtype, hidden.float()
        batch, frames, channels = hidden.shape
        hop = N_FFT - self._kernel + 1
        blocks = -(-frames // hop)
        after = (blocks - 1) * hop + N_FFT - frames - self._padding
        padded = functional.pad(hidden.transpose(1, 2), (self._padding, after))
        spectra = torch.fft.rfft(padded.unfold(2, N_FFT, hop))  # [batch, channels, blocks, bins]
        columns = spectra.permute(3, 1, 0, 2).reshape(len(self._spectra), self._groups, -1, batch * blocks)
        products = (self._spectra @ columns).reshape(-1, channels, batch, blocks)
        summed = torch.fft.irfft(products.permute(2, 3, 1, 0), N_FFT)[..., :hop]  # [batch, blocks, channels, hop]
        rows = summed.transpose(2, 3).reshape(batch, blocks * hop, channels)[:, :frames]
        return self.activation(rows + self._bias).to(dtype)  # type: ignore[no-any-return]
