"""CTC systems whose model takes audio of limited length: recordings whole or in chunks, in batches of like length.

A recording that is too long to be computed whole is computed in overlapping chunks, whose frames are joined and
collapsed once, so that no letter is doubled or lost at a seam. The logits of one batch exist at a time.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from finetune.decoding.frame_times import FrameTimes
from finetune.models.frame_geometry import LONGEST_WHOLE_SECONDS, LongForm
from finetune.systems.ctc import NAN_LOGITS, NO_FRAMES, Advance, CTCSystem, frames_to_decode, split_batch
from finetune.systems.ctc_decoding import CTCDecoding
from preprocessing.audio import SAMPLE_RATE
from preprocessing.errors import InputError
from preprocessing.segment import Chunk, chunks, keep
from preprocessing.units import Vocabulary

PASS_COST_SECONDS = {"cpu": 5.0, "cuda": 100.0}  # of audio: what a forward pass costs beside the audio that is in it
MAX_PASS_SECONDS = {"cpu": 60.0, "cuda": 480.0}  # of audio in a forward pass, padding included


@dataclass(frozen=True, slots=True)
class Piece:
    """What a model is given at once of a recording: all of it, or a chunk.

    recording: its place in the batch. chunk: which samples of it. values: the model's input, on its device. length: by
    which pieces are put into batches, in the unit of `Batching.length_rate`.
    """

    recording: int
    chunk: Chunk
    values: Tensor
    length: int

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the recording."""
        return self.chunk.start == 0 and self.chunk.stop == self.chunk.keep_stop

    @property
    def kept_seconds(self) -> float:
        """Seconds of the recording without the chunk's context."""
        return (self.chunk.keep_stop - self.chunk.keep_start) / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Pieces:
    """The pieces of a batch of recordings, in order; a recording that is shorter than a frame has none."""

    n_recordings: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Batching:
    """Which pieces are computed in one pass.

    device: "cpu" or "cuda". length_rate: of `Piece.length`, in a second. padded: whether a pass may have recordings of
    unlike length. chunks_at_once: so many equally long chunks of a recording are a pass of their own; None: chunks
    share passes with recordings.
    """

    device: str = "cpu"
    length_rate: int = SAMPLE_RATE
    padded: bool = True
    chunks_at_once: int | None = None

    def batches(self, pieces: Sequence[Piece]) -> list[list[int]]:
        """The places of the pieces of each pass."""
        apart: list[int] = []
        shared: list[int] = []
        for place, piece in enumerate(pieces):
            (shared if piece.is_whole or self.chunks_at_once is None else apart).append(place)
        batches = []
        for _, equal in groupby(apart, key=lambda place: (pieces[place].recording, pieces[place].length)):
            places = list(equal)
            size = self.chunks_at_once or len(places)
            batches += [places[first : first + size] for first in range(0, len(places), size)]
        optimal = optimal_batches(
            [pieces[place].length for place in shared],
            pass_cost=PASS_COST_SECONDS[self.device] * self.length_rate,
            maximum=MAX_PASS_SECONDS[self.device] * self.length_rate if self.padded else 0.0,
        )
        return batches + [[shared[index] for index in batch] for batch in optimal]


@dataclass(frozen=True, slots=True)
class _Pass:
    """Of one pass: frames to decode [batch, frames, ...] on the device, how many of each are its own, and whether all
    logits are finite, on the device.
    """

    frames: Tensor
    n_frames: Sequence[int]
    finite: Tensor


class PiecewiseCTCSystem(CTCSystem):
    """A family makes Pieces of those that `_planned` gives it in `features`, and computes their logits in `_compute`.

    long_form: how recordings of any length are computed; of one that cannot be chunked, `finetune.transcribe` gives no
    longer pieces than can be computed whole.
    """

    _dtype = torch.float32  # of activations

    def __init__(
        self,
        vocabulary: Vocabulary,
        decoding: CTCDecoding,
        times: FrameTimes | None,
        long_form: LongForm,
        batching: Batching,
    ) -> None:
        super().__init__(vocabulary, decoding, times)
        self.long_form = long_form
        self._batching = batching
        if long_form.chunking is None and long_form.max_whole_samples is not None:
            self.longest_piece_seconds = long_form.max_whole_samples / SAMPLE_RATE

    @abstractmethod
    def features(self, waveforms: Sequence[Tensor]) -> Pieces:
        """The model's input. Raises InputError for a recording that is too long (`_planned`)."""

    @abstractmethod
    def _compute(self, inputs: list[Tensor]) -> tuple[Tensor, Sequence[int]]:
        """Logits [batch, frames, units] of one pass on the device, padding included, and the frames of each input."""

    def _planned(self, waveforms: Sequence[Tensor]) -> Iterator[tuple[int, Chunk]]:
        """The place of each recording [samples] with each chunk of it; with one of all samples where it is computed
        whole.

        Raises InputError where one can be computed neither whole nor in chunks.
        """
        for place, n_samples in enumerate(map(len, waveforms)):
            if self.long_form.is_too_long(n_samples):
                raise InputError(
                    f"lasts {n_samples / SAMPLE_RATE:.0f} s; expected at most {LONGEST_WHOLE_SECONDS:g} s of a model "
                    "that cannot be run in chunks: cut the recording"
                )
            chunking = self.long_form.chunking
            if chunking is None or self.long_form.is_whole(n_samples):
                yield place, Chunk(0, n_samples, 0, n_samples)
            else:
                yield from ((place, chunk) for chunk in chunks(n_samples, chunking))

    @torch.inference_mode()
    def _frames(self, features: Pieces, *, log_probs: bool, advance: Advance | None = None) -> list[Tensor]:
        pieces = features.pieces
        batches = self._batching.batches(pieces)
        passes = []
        for batch in batches:
            passes.append(self._pass([pieces[place].values for place in batch], log_probs=log_probs))
            if advance is not None:
                advance(sum(pieces[place].kept_seconds for place in batch))
        if not all(one.finite for one in passes):
            overflow = "activations leave the range of float16; expected finite logits: set --precision bfloat16"
            raise InputError(overflow if self._dtype == torch.float16 else NAN_LOGITS)
        own: dict[int, Tensor] = {}  # by the place of the piece
        for batch, one in zip(batches, passes, strict=True):  # only here is the device waited for
            own |= dict(zip(batch, split_batch(one.frames, one.n_frames), strict=True))
        return self._joined(features, own)

    def _pass(self, inputs: list[Tensor], *, log_probs: bool) -> _Pass:
        """`_compute` with frames to decode in place of logits, which do not outlive it."""
        logits, n_frames = self._compute(inputs)
        return _Pass(frames_to_decode(logits, log_probs=log_probs), n_frames, logits.isfinite().all())

    def _joined(self, features: Pieces, own: dict[int, Tensor]) -> list[Tensor]:
        """The frames of each recording from those of its pieces, by their place."""
        parts: list[list[Tensor]] = [[] for _ in range(features.n_recordings)]
        chunking = self.long_form.chunking
        for place, piece in enumerate(features.pieces):
            frames = own[place] if chunking is None or piece.is_whole else keep(own[place], piece.chunk, chunking.grid)
            parts[piece.recording].append(frames)
        return [torch.cat(one) if one else NO_FRAMES for one in parts]


def optimal_batches(lengths: Sequence[int], *, pass_cost: float, maximum: float) -> list[list[int]]:
    """Indices of utterances in the batches that cost least in all, longest first.

    A batch costs its padded length and `pass_cost`, and holds at most `maximum`, padding included, or one utterance;
    all in the unit of lengths. Dynamic programming over the sorted lengths: time grows with the square of their number.

    >>> optimal_batches([100, 30, 96, 29], pass_cost=10, maximum=1000)
    [[0, 2], [1, 3]]
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    costs, begins = [0.0], [0]  # of the cheapest batches of the first so many, and where the last of them begins
    for end in range(1, len(order) + 1):
        found = []
        for begin in range(end - 1, -1, -1):
            padded = lengths[order[begin]] * (end - begin)
            if padded > maximum and begin < end - 1:
                break
            found.append((costs[begin] + pass_cost + padded, begin))
        cost, begin = min(found)
        costs.append(cost)
        begins.append(begin)
    batches = []
    while order:
        begin = begins[len(order)]
        batches.append(order[begin:])
        order = order[:begin]
    return batches[::-1]
