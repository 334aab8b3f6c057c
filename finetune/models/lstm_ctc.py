"""A bidirectional LSTM with a CTC head on spectral features, as a transformers model: waveforms in, logits out.

Graves & Schmidhuber 2005 (bidirectional LSTM), Graves et al. 2006 (CTC), Amodei et al. 2016 (Deep Speech 2: two
convolutions before the recurrent layers, a stride of 2 in time for characters of English). Importing this module
registers the model with AutoConfig and AutoModelForCTC. Training it is in `lstm.py`.

An utterance has the same logits in a padded batch as alone: features are computed for each utterance, convolutions see
zeros after it, and the backward LSTM starts at its last frame. Each layer therefore is two one-way LSTMs, the second
over utterances reversed within their length. Packed sequences would give the same result, but torch's CPU path for them
skips oneDNN and copies the whole sequence at every step of the backward pass: 9 s of audio a second instead of 76
(6 utterances of 12 s, 3 layers of 256 cells, one core, 2026-11-23).

On a CPU the same seed gives the same weights. On a GPU cuDNN's recurrent backward passes and the CTC loss are not
deterministic, so two runs agree only closely.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, TypeVar

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCTC, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import CausalLMOutput

from finetune.models.regularisation import use_bit_dropout
from preprocessing.features import (
    Deltas,
    FeatureExtractor,
    Features,
    GlobalNorm,
    KaldiFbank,
    KaldiMfcc,
    LogMel,
    UtteranceNorm,
)

INT16_SCALE = 32_768.0  # Kaldi reads 16-bit integers: its floor of energies lies below their quantisation noise


@strict
class LSTMConfig(PreTrainedConfig):  # type: ignore[misc]
    """The configuration of LSTMForCTC. Before subsampling a frame is 10 ms.

    features: log_mel (Whisper's convention), kaldi_fbank or mfcc (Kaldi's).
    n_mels, n_mfcc: bins of the features.
    deltas: number of orders of time derivatives appended to the features.
    normalisation: of each bin, over each utterance or by the training corpus's mean and deviation, saved with the
        weights.
    subsampling: conv, two 3x3 convolutions of `conv_channels` channels that halve the bins twice; stack, neighbouring
        frames concatenated.
    subsampling_factor: frames that become one: 1, 2 or 4 give output frames of 10, 20 or 40 ms. CTC needs at least one
        for each label.
    hidden_size: LSTM cells in each direction. num_layers: bidirectional layers. dropout: before each layer and the
        output.
    """

    model_type = "lstm-ctc"

    features: Literal["log_mel", "kaldi_fbank", "mfcc"] = "log_mel"
    n_mels: int = 80
    n_mfcc: int = 13
    deltas: Literal[0, 1, 2] = 0
    normalisation: Literal["utterance", "global"] = "utterance"
    subsampling: Literal["conv", "stack"] = "conv"
    subsampling_factor: Literal[1, 2, 4] = 2
    conv_channels: int = 32
    hidden_size: int = 256
    num_layers: int = 3
    dropout: float | int = 0.1
    sampling_rate: Literal[16000] = 16_000
    vocab_size: int = 32
    pad_token_id: int | None = 0  # the blank

    def validate_sizes(self) -> None:
        """Raises ValueError on a size below 1; `strict` calls it on every new configuration."""
        check_sizes(self, ("n_mels", "n_mfcc", "conv_channels", "hidden_size", "num_layers", "vocab_size"))


def check_sizes(config: PreTrainedConfig, names: Sequence[str]) -> None:
    """Raises ValueError naming the first of these sizes of a configuration that is below 1."""
    for name in names:
        if getattr(config, name) < 1:
            raise ValueError(f"{name} is {getattr(config, name)}; expected 1 or more: raise it")


def make_extractor(config: LSTMConfig) -> FeatureExtractor:
    """The configuration's feature extractor, on the CPU whatever the default device is."""
    with torch.device("cpu"):  # transformers builds models on the meta device, where filters have no values
        if config.features == "mfcc":
            return KaldiMfcc(config.n_mfcc, config.n_mels, full_scale=INT16_SCALE)
        return (
            KaldiFbank(config.n_mels, full_scale=INT16_SCALE)
            if config.features == "kaldi_fbank"
            else LogMel(config.n_mels)
        )


class BidirectionalLayer(nn.Module):
    """Layer norm, dropout, then an LSTM in each direction: [batch, frames, size] -> [batch, frames, 2 * hidden_size].

    The backward LSTM starts at the utterance's last frame, not the batch's. Output frames in the padding are undefined.
    """

    def __init__(self, size: int, hidden_size: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size)
        self.dropout = nn.Dropout(dropout)
        self.forwards = nn.LSTM(size, hidden_size, batch_first=True)
        self.backwards = nn.LSTM(size, hidden_size, batch_first=True)

    def forward(self, frames: Tensor, mirror: Tensor) -> Tensor:
        """frames: [batch, frames, size]; mirror: `mirror_of` the utterances' lengths [batch * frames]."""
        # on a CPU autocast does not cast an LSTM's input to the dtype of its weights
        frames = self.dropout(self.norm(frames)).to(self.forwards.weight_ih_l0.dtype)
        forward, _ = self.forwards(frames)
        backward, _ = self.backwards(_reordered(frames, mirror))
        return torch.cat([forward, _reordered(backward, mirror)], dim=-1)


def init_lstm(lstm: nn.LSTM) -> None:
    """Orthogonal recurrent weights, a forget-gate bias of 1 (Jozefowicz et al. 2015), unless loaded."""
    for name, parameter in lstm.named_parameters(recurse=False):
        if name.startswith("weight_ih"):
            init.xavier_uniform_(parameter)
        elif name.startswith("weight_hh"):
            for gate in parameter.chunk(4) if not getattr(parameter, "_is_hf_initialized", False) else ():
                init.orthogonal_(gate)
        else:
            gates = torch.zeros(4, lstm.hidden_size)
            gates[1] = 1.0 if name.startswith("bias_ih") else 0.0  # input, forget, cell, output
            init.copy_(parameter, gates.flatten())


def valid_samples(input_values: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Samples of each utterance [batch] of a padded batch [batch, samples]; all of them without a mask."""
    if attention_mask is None:
        return torch.full((len(input_values),), input_values.shape[-1], device=input_values.device)
    return attention_mask.sum(dim=-1).long()


def mirror_of(n_frames: Tensor, longest: int) -> Tensor:
    """Indices [batch * longest] into a flattened [batch, longest, ...] that reverse each utterance within its n_frames.

    n_frames: [batch]. Padding stays where it is, and applying the indices twice gives the original order.

    >>> mirror_of(torch.tensor([3, 2]), 3).tolist()
    [2, 1, 0, 4, 3, 5]
    """
    positions = torch.arange(longest, device=n_frames.device)
    last = n_frames[:, None] - 1
    reversed_ = torch.where(positions <= last, last - positions, positions)
    return (reversed_ + longest * torch.arange(n_frames.shape[0], device=n_frames.device)[:, None]).flatten()


def _reordered(frames: Tensor, order: Tensor) -> Tensor:
    """[batch, frames, size] with the flattened frames taken in `order` [batch * frames]."""
    return frames.flatten(0, 1).index_select(0, order).view(frames.shape)


class LSTMForCTC(PreTrainedModel):  # type: ignore[misc]
    """Waveforms -> features -> subsampling -> bidirectional LSTM -> logits.

    `forward` is `lm_head(dropout(encode(features(...))))`; the stages can be called one by one.
    """

    config_class = LSTMConfig
    main_input_name = "input_values"

    def __init__(self, config: LSTMConfig) -> None:
        super().__init__(config)
        self.extractor = make_extractor(config)
        self.deltas = Deltas(config.deltas) if config.deltas else None
        n_bins = self.extractor.n_bins
        with torch.device("cpu"):
            ones = torch.ones(n_bins * (1 + config.deltas))
        self.norm: nn.Module = UtteranceNorm() if config.normalisation == "utterance" else GlobalNorm(0 * ones, ones)
        self.subsampling: Subsampling = (
            ConvSubsampling(n_bins, 1 + config.deltas, config.conv_channels, config.subsampling_factor)
            if config.subsampling == "conv"
            else FrameStacking(len(ones), config.subsampling_factor)
        )
        sizes = [self.subsampling.size, *[2 * config.hidden_size] * config.num_layers]
        self.layers = nn.ModuleList(BidirectionalLayer(size, config.hidden_size, config.dropout) for size in sizes[:-1])
        self.norm_out = nn.LayerNorm(sizes[-1])
        self.dropout = nn.Dropout(config.dropout)
        self.lm_head = nn.Linear(sizes[-1], config.vocab_size)
        use_bit_dropout(self)
        self.post_init()

    def raw_features(self, waveforms: Tensor, n_samples: Tensor) -> Features:
        """Features and their deltas of waveforms [batch, samples] before normalisation, for GlobalNorm's statistics."""
        features = self.extractor.batch(waveforms, n_samples)
        return features if self.deltas is None else self.deltas(features)

    def features(self, waveforms: Tensor, n_samples: Tensor) -> Features:
        """Normalised features of waveforms [batch, samples], of which n_samples [batch] are valid."""
        return self.norm(self.raw_features(waveforms, n_samples))  # type: ignore[no-any-return]

    def encode(self, features: Features) -> Tensor:
        """Hidden frames [batch, frames, 2 * hidden_size] of features; method `n_frames` gives how many are valid."""
        hidden, n_frames = self.subsampling(features)
        mirror = mirror_of(n_frames, hidden.shape[1])
        for layer in self.layers:
            hidden = layer(hidden, mirror)
        return self.norm_out(hidden)  # type: ignore[no-any-return]

    def n_frames(self, n_samples: Tensor) -> Tensor:
        """Output frames of utterances of n_samples [batch] -> [batch]; 0 for one shorter than a feature frame."""
        frames = self.subsampling.n_frames(self.extractor.n_frames(n_samples))
        return torch.where(n_samples < self.extractor.shortest, 0, frames)

    def forward(self, input_values: Tensor, attention_mask: Tensor | None = None, **_: Any) -> CausalLMOutput:
        """CausalLMOutput with logits [batch, frames, vocab_size].

        input_values: [batch, samples] at 16 kHz; attention_mask: [batch, samples], 1 where valid; None: everywhere.
        """
        hidden = self.encode(self.features(input_values, valid_samples(input_values, attention_mask)))
        return CausalLMOutput(logits=self.lm_head(self.dropout(hidden)))

    def _init_weights(self, module: nn.Module) -> None:
        """Initialises a module that no checkpoint has filled, and buffers that are not saved.

        transformers calls it for each module of a new or loaded model.
        """
        if isinstance(module, FeatureExtractor):
            for name, value in make_extractor(self.config).named_buffers(recurse=False):
                init.copy_(getattr(module, name), value)
        elif isinstance(module, GlobalNorm):
            init.zeros_(module.mean)
            init.ones_(module.deviation)
        elif isinstance(module, nn.LSTM):
            init_lstm(module)
        elif isinstance(module, nn.Conv2d):
            init.kaiming_uniform_(module.weight, nonlinearity="relu")
            init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            init.normal_(module.weight, std=0.02)  # all units about equally likely
            init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)


AutoConfig.register(LSTMConfig.model_type, LSTMConfig, exist_ok=True)
AutoModelForCTC.register(LSTMConfig, LSTMForCTC, exist_ok=True)


Count = TypeVar("Count", int, Tensor)


class Subsampling(nn.Module, ABC):
    """Features -> (frames [batch, ceil(frames / factor), size], valid frames [batch]).

    factor: input frames for each output frame. size: channels of an output frame.
    """

    def __init__(self, factor: int, size: int) -> None:
        super().__init__()
        self.factor = factor
        self.size = size

    def n_frames(self, n_frames: Count) -> Count:
        """Output frames of n_frames input frames; of a tensor element by element."""
        return (n_frames + self.factor - 1) // self.factor  # ONNX divides integers towards 0: no -(-n // factor)

    @abstractmethod
    def forward(self, features: Features) -> tuple[Tensor, Tensor]: ...


class FrameStacking(Subsampling):
    """Concatenates `factor` neighbouring frames; the last ones are filled up with zeros."""

    def __init__(self, n_bins: int, factor: int) -> None:
        super().__init__(factor, factor * n_bins)

    def forward(self, features: Features) -> tuple[Tensor, Tensor]:
        """features.values: [batch, bins, frames], 0 in the padding."""
        frames = features.values.transpose(1, 2)
        missing = -frames.shape[1] % self.factor
        stacked = nn.functional.pad(frames, (0, 0, 0, missing)).reshape(frames.shape[0], -1, self.size)
        return stacked, self.n_frames(features.n_frames)


class ConvSubsampling(Subsampling):
    """Two 3x3 convolutions over time and frequency with ReLU, each halving the bins.

    A factor of 2 halves time in the first convolution, 4 in both. Orders of deltas are input channels. Both
    convolutions see zeros beyond an utterance's end, as beyond the batch's.
    """

    def __init__(self, n_bins: int, n_orders: int, n_channels: int, factor: int) -> None:
        super().__init__(factor, n_channels * -(-n_bins // 4))
        self.n_orders = n_orders
        self.strides = (2 if factor > 1 else 1, 2 if factor > 2 else 1)
        self.first = nn.Conv2d(n_orders, n_channels, 3, stride=(2, self.strides[0]), padding=1)
        self.second = nn.Conv2d(n_channels, n_channels, 3, stride=(2, self.strides[1]), padding=1)

    def forward(self, features: Features) -> tuple[Tensor, Tensor]:
        """features.values: [batch, orders * bins, frames], 0 in the padding."""
        values, n_frames = features.values, features.n_frames
        hidden = values.reshape(values.shape[0], self.n_orders, -1, values.shape[-1])
        for convolution, stride in zip((self.first, self.second), self.strides, strict=True):
            hidden, n_frames = convolution(hidden).relu(), (n_frames + stride - 1) // stride
            in_padding = torch.arange(hidden.shape[-1], device=hidden.device) >= n_frames[:, None]
            hidden = hidden.masked_fill(in_padding[:, None, None], 0.0)
        return hidden.flatten(1, 2).transpose(1, 2), n_frames
