"""Whisper's encoder with a CTC head, as a transformers model: waveforms in, one logit a unit for each 20 ms out.

The encoder is transformers' WhisperEncoder (Radford et al. 2022, arXiv 2212.04356) on positions cut to the utterance
instead of 30 s of padding, the head is light, and CTC (Graves et al. 2006) makes decoding non-autoregressive: text is
not invented in silence, and each frame has its time. Importing this module registers the model with AutoConfig and
AutoModelForCTC. Training it is in `whisper_ctc.py`.

An utterance has the same logits in a padded batch as alone: log-mel is computed for each utterance, the convolutions
see zeros after it, attention is masked, and the head knows each utterance's length.
"""

from typing import Any, Literal

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCTC, PreTrainedConfig, PreTrainedModel, WhisperConfig
from transformers import initialization as init
from transformers.modeling_outputs import CausalLMOutput
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from finetune.models.lstm_ctc import BidirectionalLayer, check_sizes, init_lstm, mirror_of, valid_samples
from finetune.models.regularisation import use_bit_dropout, use_bit_dropout_in_blocks
from preprocessing.features import Features, LogMel


@strict
class WhisperCTCConfig(PreTrainedConfig):  # type: ignore[misc]
    """The configuration of WhisperForCTC. The encoder's keys have WhisperConfig's names and meanings.

    mixed_layers: encoder states that the head reads, from the top: 1, the last one; n > 1, a learned weighted mean of
        the outputs of the n top blocks (Yang et al. 2021, SUPERB, section 3).
    head: linear; conv, residual convolutions over 5 frames; lstm, bidirectional LSTM layers. head_layers, head_size:
        their number, and channels (conv) or cells in each direction (lstm).
    dropout: before the head, in its layers, and in unfrozen encoder blocks.
    """

    model_type = "whisper-ctc"

    num_mel_bins: int = 80
    d_model: int = 512
    encoder_layers: int = 6
    encoder_attention_heads: int = 8
    encoder_ffn_dim: int = 2048
    max_source_positions: int = 1500
    mixed_layers: int = 1
    head: Literal["linear", "conv", "lstm"] = "lstm"
    head_layers: int = 2
    head_size: int = 256
    dropout: float | int = 0.1
    sampling_rate: Literal[16000] = 16_000
    vocab_size: int = 32
    pad_token_id: int | None = 0  # the blank

    def validate_sizes(self) -> None:
        """Raises ValueError on a size below 1, or more mixed layers than the encoder has."""
        check_sizes(
            self,
            (
                *("num_mel_bins", "d_model", "encoder_layers", "encoder_attention_heads", "encoder_ffn_dim"),
                *("max_source_positions", "mixed_layers", "head_layers", "head_size", "vocab_size"),
            ),
        )
        if self.mixed_layers > self.encoder_layers:
            raise ValueError(
                f"mixed_layers is {self.mixed_layers} and encoder_layers {self.encoder_layers}; expected at most "
                "these: lower it"
            )

    def encoder_config(self) -> WhisperConfig:
        """The encoder as transformers describes it."""
        return WhisperConfig(
            num_mel_bins=self.num_mel_bins,
            d_model=self.d_model,
            encoder_layers=self.encoder_layers,
            encoder_attention_heads=self.encoder_attention_heads,
            encoder_ffn_dim=self.encoder_ffn_dim,
            max_source_positions=self.max_source_positions,
            dropout=self.dropout,
            attn_implementation="sdpa",
        )


class ConvBlock(nn.Module):
    """Layer norm, a convolution over 5 frames with a gated linear unit, dropout, added to the input."""

    def __init__(self, size: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size)
        self.convolution = nn.Conv1d(size, 2 * size, 5, padding=2)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, valid: Tensor) -> Tensor:
        """hidden: [batch, frames, size]; valid: [batch, frames, 1], 1 where a frame is the utterance's own."""
        convolved = self.convolution((self.norm(hidden) * valid).transpose(1, 2)).transpose(1, 2)
        return hidden + self.dropout(nn.functional.glu(convolved, dim=-1))  # type: ignore[no-any-return]


class WhisperForCTC(PreTrainedModel):  # type: ignore[misc]
    """Waveforms -> log-mel -> Whisper's encoder -> head -> logits.

    `forward` is `lm_head(dropout(head(states)))` over the encoder's states; the stages can be called one by one, and
    the encoder in two parts: `lower` up to a block, and `upper` from there, so that what is frozen is computed once.
    """

    config_class = WhisperCTCConfig
    main_input_name = "input_values"
    _supports_sdpa = True

    def __init__(self, config: WhisperCTCConfig) -> None:
        super().__init__(config)
        with torch.device("cpu"):  # transformers builds models on the meta device, where filters have no values
            self.extractor = LogMel(config.num_mel_bins)
        self.encoder = WhisperEncoder(config.encoder_config())
        self.mix = nn.Parameter(torch.zeros(config.mixed_layers))
        size = config.d_model
        self.layers = nn.ModuleList()
        if config.head == "conv":
            self.project: nn.Module = nn.Linear(size, config.head_size)
            size = config.head_size
            self.layers.extend(ConvBlock(size, config.dropout) for _ in range(config.head_layers))
        else:
            self.project = nn.Identity()
        if config.head == "lstm":
            for _ in range(config.head_layers):
                self.layers.append(BidirectionalLayer(size, config.head_size, config.dropout))
                size = 2 * config.head_size
        self.norm_out = nn.LayerNorm(size)
        self.dropout = nn.Dropout(config.dropout)
        self.lm_head = nn.Linear(size, config.vocab_size)
        use_bit_dropout(self)
        use_bit_dropout_in_blocks(self.encoder.layers)
        self.post_init()

    def features(self, waveforms: Tensor, n_samples: Tensor) -> Features:
        """Whisper's log-mel of waveforms [batch, samples], of which n_samples [batch] are valid."""
        return self.extractor.batch(waveforms, n_samples)

    def n_frames(self, n_samples: Tensor) -> Tensor:
        """Output frames of utterances of n_samples [batch] -> [batch]; 0 for one shorter than a log-mel frame."""
        frames = (self.extractor.n_frames(n_samples) + 1) // 2
        return torch.where(n_samples < self.extractor.shortest, 0, frames)

    def lower(self, features: Features, n_blocks: int) -> list[Tensor]:
        """States of the first n_blocks blocks that `upper` needs: each [batch, frames, d_model].

        They are the outputs of those blocks that the mix reads, and that of the last one (of the convolutions, for 0).
        Raises ValueError for more frames than the encoder has positions.
        """
        encoder, n_frames = self.encoder, features.n_frames
        hidden = nn.functional.gelu(encoder.conv1(features.values))
        hidden = hidden * _valid(n_frames, hidden.shape[-1])[:, None]
        hidden = nn.functional.gelu(encoder.conv2(hidden)).transpose(1, 2)
        if hidden.shape[1] > encoder.max_source_positions:
            raise ValueError(
                f"{hidden.shape[1]} frames; expected at most the encoder's {encoder.max_source_positions} positions: "
                "cut the audio"
            )
        hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
        hidden = nn.functional.dropout(hidden, p=encoder.dropout, training=self.training and n_blocks == 0)
        states = self._blocks([hidden], 0, n_blocks, (n_frames + 1) // 2)
        return self._needed(states, n_blocks)

    def upper(self, lower: list[Tensor], n_blocks: int, n_frames: Tensor) -> Tensor:
        """The mixed encoder states [batch, frames, d_model], from what `lower` returned for the first n_blocks.

        n_frames: valid frames [batch], at 20 ms.
        """
        states = self._blocks(list(lower), n_blocks, self.config.encoder_layers, n_frames)[-self.config.mixed_layers :]
        states = [self.encoder.layer_norm(state) for state in states]
        if len(states) == 1:
            return states[0]
        weights = self.mix.float().softmax(dim=0)
        return torch.stack([weight * state for weight, state in zip(weights, states, strict=True)]).sum(dim=0)

    def head(self, hidden: Tensor, n_frames: Tensor) -> Tensor:
        """Frames [batch, frames, size] below the output layer, from the encoder's [batch, frames, d_model]."""
        hidden = self.project(self.dropout(hidden))
        if self.config.head == "conv":
            valid = _valid(n_frames, hidden.shape[1])[..., None].to(hidden.dtype)
            for layer in self.layers:
                hidden = layer(hidden, valid)
        elif self.config.head == "lstm":
            mirror = mirror_of(n_frames, hidden.shape[1])
            for layer in self.layers:
                hidden = layer(hidden, mirror)
        return self.norm_out(hidden)  # type: ignore[no-any-return]

    def encode(self, features: Features) -> Tensor:
        """Frames [batch, frames, size] below the output layer; method `n_frames` gives how many are valid."""
        n_frames = (features.n_frames + 1) // 2
        return self.head(self.upper(self.lower(features, 0), 0, n_frames), n_frames)

    def forward(self, input_values: Tensor, attention_mask: Tensor | None = None, **_: Any) -> CausalLMOutput:
        """CausalLMOutput with logits [batch, frames, vocab_size].

        input_values: [batch, samples] at 16 kHz; attention_mask: [batch, samples], 1 where valid; None: everywhere.
        """
        n_samples = valid_samples(input_values, attention_mask)
        return CausalLMOutput(logits=self.lm_head(self.dropout(self.encode(self.features(input_values, n_samples)))))

    def _blocks(self, states: list[Tensor], first: int, last: int, n_frames: Tensor) -> list[Tensor]:
        """`states` and the output of each of the blocks from `first` to before `last`."""
        longest = states[-1].shape[1]
        mask = None
        if bool((n_frames < longest).any()):
            mask = _valid(n_frames, longest)[:, None, None]
            mask = mask.expand(-1, 1, longest, -1)
        for block in self.encoder.layers[first:last]:
            states.append(block(states[-1], mask))
        return states

    def _needed(self, states: list[Tensor], n_blocks: int) -> list[Tensor]:
        read_below = n_blocks - (self.config.encoder_layers - self.config.mixed_layers)
        return states[-max(read_below, 1) :]

    def _init_weights(self, module: nn.Module) -> None:
        """transformers calls it for each module of a new or loaded model; buffers that are not saved are made again."""
        if isinstance(module, LogMel):
            with torch.device("cpu"):
                fresh = LogMel(self.config.num_mel_bins)
            for name, value in fresh.named_buffers(recurse=False):
                init.copy_(getattr(module, name), value)
        elif isinstance(module, WhisperForCTC):
            init.zeros_(module.mix)
        elif isinstance(module, nn.LSTM):
            init_lstm(module)
        elif isinstance(module, nn.Linear | nn.Conv1d):
            init.normal_(module.weight, std=0.02)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            from whisper.model import sinusoids

            init.copy_(module.weight, sinusoids(*module.weight.shape))


def _valid(n_frames: Tensor, longest: int) -> Tensor:
    """[batch, longest], true where a frame is the utterance's own."""
    return torch.arange(longest, device=n_frames.device) < n_frames[:, None]


AutoConfig.register(WhisperCTCConfig.model_type, WhisperCTCConfig, exist_ok=True)
AutoModelForCTC.register(WhisperCTCConfig, WhisperForCTC, exist_ok=True)
