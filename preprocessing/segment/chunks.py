"""Overlapping chunks of long audio on a model's frame grid, and the joining of their frames; one duration for all.

A stack of unpadded convolutions, such as wav2vec 2.0's, makes frame i of a recording from the samples
[i * stride, i * stride + receptive field). A chunk that begins on a multiple of the stride therefore has the same
frames as the recording. Of each chunk the frames that begin in [keep_start, keep_stop) are kept; the samples around are
context. Models without attention that normalise each frame by itself give exactly the frames of the whole recording
where the context covers their receptive field; other models nearly. `preprocessing.segment.voice_activity` cuts at
pauses instead.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from preprocessing.frames import WAV2VEC2_GRID, FrameGrid

if TYPE_CHECKING:  # the command's --help waits for no torch
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Chunk:
    """Samples [start, stop) that a model is given; frames that begin in [keep_start, keep_stop) are kept."""

    start: int
    stop: int
    keep_start: int
    keep_stop: int


@dataclass(frozen=True, slots=True)
class Chunking:
    """The sizes of chunks, in samples: `keep` of each chunk are kept, `context` on either side are given as well.

    Kept spans are rounded down to the grid, though to one frame at least; context is rounded up, after the span to a
    receptive field at least. At the ends of a recording the context lies on the other side, so that all chunks but
    the last ones are `window` samples long, and none is longer.

    >>> Chunking(keep=320_000, context=32_000).window
    384000
    """

    keep: int
    context: int
    grid: FrameGrid = WAV2VEC2_GRID

    def __post_init__(self) -> None:
        if self.keep < 1 or self.context < 0:
            raise ValueError(f"keep {self.keep}, context {self.context} samples; expected 1 and 0 or more")

    @property
    def hop(self) -> int:
        """Samples from the start of one kept span to the start of the next."""
        return max(1, self.keep // self.grid.stride) * self.grid.stride

    @property
    def before(self) -> int:
        """Samples of context before the kept span."""
        return -(-self.context // self.grid.stride) * self.grid.stride

    @property
    def window(self) -> int:
        """Samples of a chunk with all its context."""
        minimum = self.grid.receptive_field - 1  # so that the last chunk reaches the end
        return self.before + self.hop + -(-max(self.context, minimum) // self.grid.stride) * self.grid.stride

    def count(self, n_samples: int) -> int:
        """The number of chunks of a recording; each has a kept frame, if the recording has a frame at all."""
        if n_samples == 0:
            return 0
        return max(1, -(-self.grid.frames(n_samples) * self.grid.stride // self.hop))

    def chunk(self, index: int, n_samples: int) -> Chunk:
        """Chunk number `index`, from 0, of a recording of n_samples."""
        keep_start = index * self.hop
        last = index == self.count(n_samples) - 1
        latest = -(-(n_samples - self.window) // self.grid.stride) * self.grid.stride
        start = max(0, min(keep_start - self.before, latest))
        stop = min(n_samples, start + self.window)
        return Chunk(start, stop, keep_start, n_samples if last else keep_start + self.hop)

    def settled(self, index: int) -> int:
        """The number of samples from which on chunk `index` is the same, however long the recording becomes."""
        keep_start = index * self.hop
        return max(
            max(0, keep_start - self.before) + self.window,
            keep_start + self.hop + self.grid.receptive_field,
        )


def chunks(n_samples: int, chunking: Chunking) -> tuple[Chunk, ...]:
    """The chunks of a recording of `n_samples`, in order. Their kept spans are a partition of [0, n_samples), their
    kept frames of the recording's frames.

    >>> [(c.start, c.stop, c.keep_start, c.keep_stop) for c in chunks(8_000, Chunking(keep=3_200, context=320))]
    [(0, 4160, 0, 3200), (2880, 7040, 3200, 6400), (3840, 8000, 6400, 8000)]
    """
    return tuple(chunking.chunk(index, n_samples) for index in range(chunking.count(n_samples)))


def chunk_stream(blocks: "Iterable[Tensor]", chunking: Chunking) -> "Iterator[tuple[Chunk, Tensor]]":
    """The chunks of a recording that arrives in blocks [samples] of any lengths, each with its waveform [samples].

    They are those that `chunks` gives; each is yielded as soon as later samples cannot change it. At most a window, a
    block, and the hop between two chunks are held in memory.
    """
    held, pending, n_held_from, n_samples, index = None, [], 0, 0, 0
    for block in blocks:
        pending.append(block)
        n_samples += block.shape[-1]
        if n_samples < chunking.settled(index):
            continue
        held, pending = _appended(held, pending), []
        while n_samples >= chunking.settled(index):
            chunk = chunking.chunk(index, n_samples)
            yield chunk, held[chunk.start - n_held_from : chunk.stop - n_held_from]
            index += 1
        # The recording may end here: its last chunks then begin a window before its end.
        needed_from = max(0, min(index * chunking.hop - chunking.before, n_samples - chunking.window))
        held, n_held_from = held[max(0, needed_from - n_held_from) :], max(needed_from, n_held_from)
    if n_samples:
        held = _appended(held, pending)
        for rest in range(index, chunking.count(n_samples)):
            chunk = chunking.chunk(rest, n_samples)
            yield chunk, held[chunk.start - n_held_from : chunk.stop - n_held_from]


def _appended(held: "Tensor | None", blocks: "Sequence[Tensor]") -> "Tensor":
    import torch

    whole = [*([] if held is None else [held]), *blocks]
    return whole[0] if len(whole) == 1 else torch.cat(whole)


def keep(part: "Tensor", chunk: Chunk, grid: FrameGrid = WAV2VEC2_GRID) -> "Tensor":
    """The kept frames of a model's output for one chunk [frames, ...].

    Raises ValueError when there are not as many as the grid gives the chunk.
    """
    expected = grid.frames(chunk.stop - chunk.start)
    if part.shape[0] != expected:
        raise ValueError(f"{chunk}: {part.shape[0]} frames; expected {expected}: another grid than the model's?")
    return part[_kept_frames(chunk, grid)]


def _kept_frames(chunk: Chunk, grid: FrameGrid) -> slice:
    """The frames of a chunk, numbered from its own first one, that begin in its kept span."""
    first = (chunk.keep_start - chunk.start) // grid.stride
    if chunk.keep_stop == chunk.stop:
        return slice(first, grid.frames(chunk.stop - chunk.start))
    return slice(first, (chunk.keep_stop - chunk.start) // grid.stride)


def pad_or_trim(waveform: "Tensor", n_samples: int) -> "tuple[Tensor, int]":
    """The waveform [..., samples] cut off at, or padded with zeros to, `n_samples`, as by Whisper's pad_or_trim.

    Returns [..., n_samples], a new tensor, and how many of them are the waveform's. Raises ValueError below 1 sample.

    >>> import torch
    >>> pad_or_trim(torch.ones(2), 4)
    (tensor([1., 1., 0., 0.]), 2)
    """
    if n_samples < 1:
        raise ValueError(f"{n_samples} samples; expected 1 or more")
    n_valid = min(waveform.shape[-1], n_samples)
    padded = waveform.new_zeros((*waveform.shape[:-1], n_samples))
    padded[..., :n_valid] = waveform[..., :n_valid]
    return padded, n_valid
