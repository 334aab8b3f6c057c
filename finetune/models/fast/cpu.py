"""wav2vec2's convolutions faster on a CPU in float32, equal to 1e-4: matrix products over views, and an FFT.

With frames as rows [frames, channels], the windows of a strided convolution are overlapping rows of the same memory.
BLAS wants them apart, so each window is taken in pieces of a stride, a product for each, without a copy. Group
normalisation after the first layer is folded into its weights, as mean and variance of a linear map follow from mean
and covariance of the windows (kernel x kernel). The lowest two layers run in blocks that stay in the cache. Each
utterance is convolved alone and without its padding. The positional convolution (kernel 128) is a product of spectra,
overlap-save.

What is not known here, or does not agree with the original on noise, is left as it is (`speed_up` says so).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

BLOCK_ROWS = 1024  # of the second layer's output: 2 MB of 512 channels, made of 4 MB of the first layer's
N_FFT = 512  # of the positional convolution; at a kernel of 128, 385 frames a block
AGREES = 1e-4  # largest difference, relative to the original's largest value, beyond 1


class UnknownLayerError(Exception):
    """An encoder that is not built of the layers that this module knows; the message says which."""


class RowConvolution:
    """One layer of a feature encoder on rows: convolution, normalisation, activation."""

    def __init__(self, layer: Any) -> None:
        convolution = layer.conv
        norm = getattr(layer, "layer_norm", None)
        self.group_norm = norm if isinstance(norm, nn.GroupNorm) else None
        self.layer_norm = norm if isinstance(norm, nn.LayerNorm) else None
        known_norm = norm is None or self.layer_norm is not None
        if self.group_norm is not None:
            known_norm = self.group_norm.num_groups == convolution.out_channels and convolution.in_channels == 1
        plain = (convolution.groups, convolution.dilation, convolution.padding) == (1, (1,), (0,))
        if not (known_norm and plain and type(convolution) is nn.Conv1d):
            raise UnknownLayerError(type(layer).__name__)
        (self.kernel,), (self.stride,) = convolution.kernel_size, convolution.stride
        # one copy in memory: the original's weight becomes a view of this one
        rows = convolution.weight.detach().transpose(1, 2).contiguous()
        convolution.weight.data = rows.transpose(1, 2)
        self.weight = rows.flatten(1)  # [out, kernel * in]
        self.bias = None if convolution.bias is None else convolution.bias.detach()
        self.activation = layer.activation
        self._gelu = type(layer.activation).__name__ == "GELUActivation" or type(layer.activation) is nn.GELU
        if getattr(layer.activation, "approximate", "none") != "none":
            self._gelu = False

    def n_rows(self, n_rows: int) -> int:
        return (n_rows - self.kernel) // self.stride + 1

    def windows(self, rows: Tensor) -> Tensor:
        """[rows, channels] -> a view [rows out, kernel * channels]."""
        channels = rows.shape[1]
        return rows.as_strided(
            (self.n_rows(len(rows)), self.kernel * channels), (self.stride * channels, 1), rows.storage_offset()
        )

    def normalising(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """Weight and bias for an utterance [samples, 1]: group normalisation is over all of it."""
        if self.group_norm is None:
            return self.weight, self.bias
        windows = self.windows(rows).double()
        mean = windows.mean(dim=0)
        centred = windows - mean
        covariance = centred.T @ centred / len(windows)
        weight = self.weight.double()
        variance = ((weight @ covariance) * weight).sum(dim=1).clamp_(min=0.0)
        scale = (variance + self.group_norm.eps).rsqrt() * self.group_norm.weight.detach()
        bias = self.group_norm.bias.detach() - scale * (weight @ mean)  # a bias of the convolution cancels out
        return (weight * scale[:, None]).float(), bias.float()

    def products(self, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
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
        """[rows, in] contiguous -> [rows out, out]."""
        hidden = self.products(rows, weight, bias)
        if self.layer_norm is not None:
            norm = self.layer_norm
            hidden = functional.layer_norm(hidden, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
        if self._gelu:
            return torch.ops.aten.gelu_(hidden)  # type: ignore[no-any-return]
        return self.activation(hidden)  # type: ignore[no-any-return]


class FastFeatureEncoder(nn.Module):
    """Stands where a model's `feature_extractor` stood; holds its layers, and shares their weights.

    n_samples: valid samples of each utterance of the next batch [batch]; None: all.
    """

    def __init__(self, original: Any) -> None:
        super().__init__()
        self.conv_layers = original.conv_layers
        self.n_samples: list[int] | None = None
        self._rows = [RowConvolution(layer) for layer in original.conv_layers]
        if len(self._rows) < 2 or any(layer.group_norm is not None for layer in self._rows[1:]):
            raise UnknownLayerError(type(original).__name__)

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
        waveform = waveform.contiguous()
        weight, bias = first.normalising(waveform)
        total = second.n_rows(first.n_rows(len(waveform)))
        rows = waveform.new_empty(total, len(second.weight))
        for start in range(0, total, BLOCK_ROWS):
            stop = min(start + BLOCK_ROWS, total)
            begin, end = start * second.stride, (stop - 1) * second.stride + second.kernel  # of the first layer's rows
            samples = waveform[begin * first.stride : (end - 1) * first.stride + first.kernel]
            rows[start:stop] = second(first(samples, weight, bias), second.weight, second.bias)
        for layer in others:
            rows = layer(rows, layer.weight, layer.bias)
        return rows


class FastPositions(nn.Module):
    """Stands where `pos_conv_embed` stood: a grouped convolution that keeps the number of frames, then an activation.

    Its spectra take 2 * N_FFT / kernel times the memory of its weights.
    """

    def __init__(self, original: Any) -> None:
        super().__init__()
        convolution: Any = getattr(original, "conv", None)
        expected = ["conv", "padding", "activation"]
        has = [name for name, _ in original.named_children()]
        if sorted(has) != sorted(expected) or type(convolution).__name__ not in ("Conv1d", "ParametrizedConv1d"):
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
        """[batch, frames, channels] -> the same shape."""
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
        return self.activation(rows + self._bias)  # type: ignore[no-any-return]


@torch.inference_mode()
def speed_up(model: Any) -> str:
    """Replace what can be replaced in a loaded float32 *ForCTC model on the CPU; says what was, for the report."""
    base = model.base_model
    told = []
    noise = torch.Generator().manual_seed(0)
    channels = model.config.hidden_size
    for what, parent, name, made, inputs in (
        ("feature encoder", base, "feature_extractor", FastFeatureEncoder, torch.randn(1, 24_000, generator=noise)),
        ("positions", base.encoder, "pos_conv_embed", FastPositions, torch.randn(1, 70, channels, generator=noise)),
    ):
        original = getattr(parent, name)
        try:
            fast = made(original)
        except (UnknownLayerError, AttributeError) as error:
            told.append(f"{what} as transformers has it ({error})")
            continue
        expected, found = original(inputs), fast(inputs)
        if expected.shape != found.shape or (expected - found).abs().max() > AGREES * max(1.0, expected.abs().max()):
            told.append(f"{what} as transformers has it (the faster one differs)")
            continue
        setattr(parent, name, fast)
        told.append(f"{what} as {'products of spectra' if made is FastPositions else 'matrix products'}")
    return "; ".join(told)
