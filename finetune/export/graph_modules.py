"""CTC models as modules that can be traced: waveforms and their lengths in, logits and frame counts out.

Normalisation and features are inside, and what `torch.onnx` cannot write, or writes slowly, is computed as matrix
products.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from finetune.models.fast.folding import UnknownLayerError, check_feature_encoder, fold_group_norm, fold_weight_norm
from finetune.models.padding_invariance import PaddingInvariance
from preprocessing.features import FeatureExtractor

LONGEST_CONVOLUTION = ".matrices.1"  # how the name of its matrix ends in a graph: the second of a RowEncoder


class Wav2Vec2Graph(nn.Module):
    """A model with wav2vec 2.0's convolutions, with normalisation before it."""

    def __init__(self, model: Any, normalise: bool) -> None:
        super().__init__()
        fold_weight_norm(model)
        self._invariance = PaddingInvariance(model)
        self._encoder: RowEncoder | None = None
        try:
            self._encoder = RowEncoder(model.base_model.feature_extractor)
        except UnknownLayerError:
            pass  # as it is
        else:
            model.base_model.feature_extractor = self._encoder
        self.model = model
        self._normalise = normalise

    def forward(self, waveforms: Tensor, n_samples: Tensor) -> tuple[Tensor, Tensor]:
        valid = torch.arange(waveforms.shape[1]) < n_samples[:, None]
        if self._normalise:
            waveforms = _normalised(waveforms, valid, n_samples)
        n_frames = self.n_frames(n_samples)
        self._invariance.set_lengths(n_samples, n_frames)
        if self._encoder is not None:
            self._encoder.n_samples = n_samples
        return self.model(waveforms, attention_mask=valid.long()).logits, n_frames

    def n_frames(self, n_samples: Tensor) -> Tensor:
        """Frames of utterances of n_samples [batch] -> [batch]; 0 where there is none."""
        return self.model._get_feat_extract_output_lengths(n_samples).clamp(min=0)  # type: ignore[no-any-return]


class OwnGraph(nn.Module):
    """An lstm or a whisper-ctc, whose features are computed as matrix products in float64."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        model.extractor._energies = partial(_energies, model.extractor, _spectra_of_samples(model.extractor))

    def forward(self, waveforms: Tensor, n_samples: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.model.encode(self.model.features(waveforms, n_samples))
        return self.model.lm_head(hidden), self.n_frames(n_samples)

    def n_frames(self, n_samples: Tensor) -> Tensor:
        """Frames of utterances of n_samples [batch] -> [batch]; 0 where there is none."""
        return self.model.n_frames(n_samples).clamp(min=0)  # type: ignore[no-any-return]


class RowEncoder(nn.Module):
    """wav2vec 2.0's feature encoder on rows [batch, frames, channels]: each convolution is a product of its windows
    with a matrix, and group normalisation is folded into the first one (`finetune.models.fast`).

    n_samples: valid samples of each utterance of the next batch [batch]. Raises UnknownLayerError.
    """

    n_samples: Tensor

    def __init__(self, original: Any) -> None:
        super().__init__()
        check_feature_encoder(original)
        self.conv_layers = original.conv_layers
        weights = [layer.conv.weight.detach() for layer in self.conv_layers]  # [out, in, kernel]
        # [kernel * in, out], as a graph needs them to quantise them
        self.matrices = nn.ParameterList([one.transpose(1, 2).flatten(1).T.contiguous() for one in weights])

    def forward(self, input_values: Tensor) -> Tensor:
        """[batch, samples] -> [batch, channels, frames]."""
        rows = input_values[..., None]
        for layer, matrix in zip(self.conv_layers, self.matrices, strict=True):
            (kernel,), (stride,) = layer.conv.kernel_size, layer.conv.stride
            norm = getattr(layer, "layer_norm", None)
            windows = windows_of(rows, kernel, stride)
            if isinstance(norm, nn.GroupNorm):
                valid = (self.n_samples - kernel) // stride + 1
                folded, bias = fold_group_norm(norm, matrix.T, windows, valid)
                with_bias = torch.cat([folded, bias[..., None]], dim=-1).float()
                rows = functional.pad(windows, (0, 1), value=1.0) @ with_bias.transpose(1, 2)
            else:
                rows = windows @ matrix
                rows = rows if layer.conv.bias is None else rows + layer.conv.bias
                rows = rows if norm is None else norm(rows)
            rows = layer.activation(rows)
        return rows.transpose(1, 2)


def windows_of(rows: Tensor, kernel: int, stride: int) -> Tensor:
    """The windows [batch, n, kernel * channels] of a strided convolution over rows [batch, frames, channels].

    >>> windows_of(torch.arange(5.0)[None, :, None], kernel=3, stride=2).tolist()
    [[[0.0, 1.0, 2.0], [2.0, 3.0, 4.0]]]
    """
    batch, frames, channels = rows.shape
    n = (frames - kernel) // stride + 1
    pieces = []
    for begin in range(0, kernel, stride):
        width = min(stride, kernel - begin)
        if width == 1:
            pieces.append(rows[:, begin : begin + (n - 1) * stride + 1 : stride])
            continue
        piece = rows[:, begin : begin + n * stride]
        if width < stride:  # its last window may reach past the end
            piece = functional.pad(piece, (0, 0, 0, stride))[:, : n * stride]
        piece = piece.reshape(batch, n, stride * channels)
        pieces.append(piece if width == stride else piece[..., : width * channels])
    return torch.cat(pieces, dim=-1) if len(pieces) > 1 else pieces[0]


def _normalised(waveforms: Tensor, valid: Tensor, n_samples: Tensor) -> Tensor:
    """Each utterance at zero mean and unit variance, and zeros after it: `normalise_waveform`."""
    count = n_samples[:, None].clamp(min=1).double()
    centred = (waveforms.double() - (waveforms * valid).double().sum(dim=1, keepdim=True) / count) * valid
    variance = centred.square().sum(dim=1, keepdim=True) / count
    return (centred / (variance + 1e-7).sqrt()).float()


def _spectra_of_samples(extractor: FeatureExtractor) -> Tensor:
    """The matrix [win_length, 2 * bins] in float64 from a frame's samples to the real and imaginary parts of its
    spectrum: an extractor's window, and what else it does before the transform, is linear.
    """
    extractor.double()
    spectra = torch.fft.rfft(extractor._shaped(torch.eye(extractor.win_length, dtype=torch.float64)), extractor.n_fft)
    extractor.float()
    return torch.cat([spectra.real, spectra.imag], dim=-1)


def _energies(extractor: FeatureExtractor, spectra: Tensor, waveforms: Tensor, n_frames: int) -> Tensor:
    """In place of `FeatureExtractor._energies`: ONNX has a transform, but none that is fast."""
    frames = windows_of(waveforms[..., None], extractor.win_length, extractor.hop_length)[:, :n_frames]
    real, imaginary = (frames.double() @ spectra).chunk(2, dim=-1)
    power = real.square() + imaginary.square()
    return (power @ extractor.filters.double().T).transpose(1, 2).float()
