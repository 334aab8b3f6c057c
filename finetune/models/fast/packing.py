"""The transformer of a padded batch over its valid frames alone, one utterance after the other, on a GPU.

With a mask of padding, torch's attention takes a kernel that is several times slower than its flash attention (a
quarter of all time that training wav2vec2-base takes on an H200), and transformers waits for the device in every pass
to see whether there is any padding. Here all utterances of a batch are one row of frames between the first and the
last layer, and attention is torch.nn.attention.varlen's flash attention, which keeps the utterances apart. Positional
convolutions come before, an adapter after, and both see padded batches as ever.

Models are packed where the arithmetic is float16 or bfloat16 on an NVIDIA GPU of compute capability 8.0 or later and
attention has no dropout; else everything is computed as transformers does.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

IMPLEMENTATION = "packed"  # its name in transformers' AttentionInterface
ATTENTIONS = frozenset(  # classes that compute nothing but transformers' attention interface between their projections
    {
        "Wav2Vec2Attention",
        "HubertAttention",
        "Data2VecAudioAttention",
        "UniSpeechAttention",
        "UniSpeechSatAttention",
    }
)
CAPABILITY = (8, 0)  # the least that flash attention needs
LARGEST_HEAD = 256  # channels of a head that flash attention takes, in steps of ALIGNED_HEAD
ALIGNED_HEAD = 8
# Frames of a packed batch are a multiple of this, so that shapes repeat: for a new one, cuBLAS chooses its kernels
# anew, and memory is allocated. The added frames are a sequence of their own.
MULTIPLE = 128
# Of the longest sequence, flash attention is told a power of two from this on, 20 s: torch.compile compiles for each
# value that it is told, and blocks of frames beyond a sequence take almost no time.
LEAST_LONGEST = 1024


@dataclass(frozen=True, slots=True)
class Packed:
    """Where the frames of a padded batch [batch, frames] lie in a packed one, with tensors on the model's device.

    to_packed: the padded frame of each packed one [packed]; to_padded: the packed frame of each padded one [batch *
    frames], an added one for padding. n_valid: packed frames before those that are added. boundaries: where sequences
    begin, and where the last ends [sequences + 1], int32. longest: as many frames as the longest sequence has, or more.
    """

    to_packed: Tensor
    to_padded: Tensor
    n_valid: int
    boundaries: Tensor
    longest: int


def packed(n_frames: Tensor, frames: int, device: torch.device) -> Packed:
    """How a batch of utterances with n_frames [batch] valid frames, on the CPU, padded to `frames`, is packed."""
    is_valid = torch.arange(frames) < n_frames[:, None]
    n_valid = int(n_frames.sum())
    n_packed = (n_valid // MULTIPLE + 1) * MULTIPLE  # at least one is added
    to_packed = torch.zeros(n_packed, dtype=torch.long)
    to_packed[:n_valid] = is_valid.flatten().nonzero()[:, 0]
    to_padded = torch.full((is_valid.numel(),), n_packed - 1)
    to_padded[to_packed[:n_valid]] = torch.arange(n_valid)
    boundaries = torch.tensor([0, *n_frames.cumsum(0).tolist(), n_packed])
    together = torch.cat([to_packed, to_padded, boundaries])
    if device.type == "cuda":
        together = together.pin_memory()
    sizes = [len(to_packed), len(to_padded), len(boundaries)]
    to_packed, to_padded, boundaries = torch.split(together.to(device, non_blocking=True), sizes)
    longest = max(int(n_frames.max()), LEAST_LONGEST)
    return Packed(to_packed, to_padded, n_valid, boundaries.int(), 1 << (longest - 1).bit_length())


class PackedLayers:
    """Packs the transformer layers of a *ForCTC model; `set_lengths` announces the lengths of each padded batch.

    A forward pass without `set_lengths` before it is a plain call of the model. With gradient checkpointing, a
    backward pass finds the lengths of its own batch, as they stay until the next forward pass.
    """

    def __init__(self, model: Any) -> None:
        AttentionInterface.register(IMPLEMENTATION, packed_attention)
        AttentionMaskInterface.register(IMPLEMENTATION, padding_mask)
        self._n_frames: Tensor | None = None  # as announced
        self._packed: Packed | None = None  # while layers compute packed frames
        self._shape = torch.Size()
        model.set_attn_implementation(IMPLEMENTATION)
        layers = model.base_model.encoder.layers
        for layer in layers:
            layer.attention.packed_layers = self
        model.base_model.register_forward_pre_hook(self._begin)
        layers[0].register_forward_pre_hook(self._pack)
        layers[-1].register_forward_hook(self._unpack)
        self._announced = False

    @property
    def current(self) -> Packed | None:
        """How the frames that the layers now compute are packed; None if they are not."""
        return self._packed

    def set_lengths(self, n_frames: Tensor) -> None:
        """n_frames: valid frames of the transformer [batch], on the CPU, of the next forward pass's utterances."""
        self._n_frames = n_frames
        self._announced = True

    def _begin(self, *_: object) -> None:
        if not self._announced:
            self._n_frames = None
        self._announced = False

    def _pack(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden, *others = inputs
        self._packed = None
        if self._n_frames is None or not can_pack(layer, hidden):
            return inputs
        self._shape = hidden.shape
        self._packed = packed(self._n_frames, hidden.shape[1], hidden.device)
        row, now = hidden.flatten(0, 1)[None], self._packed
        # frames of padding get the gradient of the last added one: zero, as nothing reads it
        return (_Select.apply(row, now.to_packed, now.to_padded, row.shape[1]), *others)  # type: ignore[no-untyped-call]

    def _unpack(self, _: nn.Module, __: tuple[Tensor, ...], output: Any) -> Any:
        if self._packed is None:
            return output
        row, now = output[0] if isinstance(output, tuple) else output, self._packed
        padded: Any = _Select.apply(row, now.to_padded, now.to_packed, now.n_valid)  # type: ignore[no-untyped-call]
        hidden = padded.view(self._shape)
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden


def pack_layers(model: Any) -> PackedLayers | None:
    """Packs the layers of a *ForCTC model that is built as this module knows it; None for another, left unchanged."""
    layers = getattr(getattr(model.base_model, "encoder", None), "layers", None)
    if not layers or model.config._attn_implementation != "sdpa":
        return None
    attentions = [getattr(layer, "attention", None) for layer in layers]
    known = all(type(attention).__name__ in ATTENTIONS for attention in attentions)
    head = getattr(attentions[0], "head_dim", LARGEST_HEAD + 1)
    return PackedLayers(model) if known and head <= LARGEST_HEAD and head % ALIGNED_HEAD == 0 else None


def can_pack(layer: Any, hidden: Tensor) -> bool:
    """Whether the layer's attention can be computed over packed frames, of hidden states as these."""
    if hidden.device.type != "cuda" or torch.version.cuda is None or (layer.training and layer.attention.dropout > 0):
        return False
    dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else hidden.dtype
    halved = dtype in (torch.float16, torch.bfloat16)
    return halved and torch.cuda.get_device_capability(hidden.device) >= CAPABILITY


def packed_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface: [batch, heads, frames, channels] -> [batch, frames, heads, channels]."""
    layers = getattr(module, "packed_layers", None)
    if layers is None or layers.current is None:
        padded: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **options
        )
        return padded
    q, k, v = (one[0].transpose(0, 1) for one in (query, key, value))
    now: Packed = layers.current
    found: Any = varlen_attn(q, k, v, now.boundaries, now.boundaries, now.longest, now.longest, scale=scaling)
    return found[None], None


def padding_mask(
    *, attention_mask: Tensor | None = None, device: torch.device | None = None, **options: Any
) -> Tensor | None:
    """transformers' mask interface. attention_mask: the valid frames [batch, frames].

    On a GPU [batch, 1, 1, frames], without waiting for the device to see whether all are valid, as transformers does.
    """
    if device is None or device.type != "cuda":
        return sdpa_mask(attention_mask=attention_mask, device=device, **options)  # type: ignore[no-any-return]
    return None if attention_mask is None else attention_mask.bool()[:, None, None]


class _Select(torch.autograd.Function):
    """The frames of a row [1, frames, channels] at the places `taken` [frames taken]. `back`: the place among them that
    each frame's gradient is at; it is zero from the frame `first_unread` on.
    """

    @staticmethod
    def forward(ctx: Any, row: Tensor, taken: Tensor, back: Tensor, first_unread: int) -> Tensor:
        ctx.back, ctx.first_unread = back, first_unread
        return row.index_select(1, taken)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        row = gradient.index_select(1, ctx.back)
        if ctx.first_unread < row.shape[1]:
            row[:, ctx.first_unread :] = 0.0
        return row, None, None, None
