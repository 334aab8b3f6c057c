"""`PartLoader`: parts of files, one after another, where the parts of one MP3 ascend.

libsndfile seeks in MP3 by a table of percentages, not to the sample, so that `load` decodes an MP3 from its beginning
for each part: an hour cut into utterances would be decoded some two hundred times. Here its decoder stays open from
one part to the next. Each part is resampled by itself, and is `load`'s to the bit. Other formats seek: their parts are
loaded one by one.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Self

import numpy as np
from torch import Tensor

from preprocessing.audio.contract import AudioError, AudioInfo, AudioSource, Decoder, Samples
from preprocessing.audio.waveform import CODEC_BLOCKS, check_window, decoded, load, open_decoder

SEQUENTIAL_CODEC = "MP3 "  # begins the name of libsndfile's
MAX_HELD_SECONDS = 120.0  # of a part, whose samples are held for the next: a longer one is loaded by itself

END: Samples = np.zeros((0, 0), dtype=np.float32)  # after the last block


class PartLoader:
    """A context in which one decoder is open at most, closed at its end."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._source: AudioSource | None = None
        self._decoder: AscendingDecoder | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def load(
        self, source: AudioSource, *, start: float = 0.0, stop: float | None = None, channel: int | None = None
    ) -> Tensor:
        """What `preprocessing.audio.load` returns, or raises, for the same part."""
        check_window(source, start, stop)
        if stop is None or stop - start > MAX_HELD_SECONDS:
            return load(source, start=start, stop=stop, channel=channel)
        try:
            if self._decoder is None or source != self._source:
                return self._load_first(source, start, stop, channel)
            return decoded(source, self._decoder, start, stop, channel)
        except BeforeHeldError:
            return self._load_first(source, start, stop, channel)
        except AudioError:  # of damage after the part, perhaps, which `load` does not reach
            self._close()
            return load(source, start=start, stop=stop, channel=channel)

    def _load_first(self, source: AudioSource, start: float, stop: float, channel: int | None) -> Tensor:
        """A part by a decoder opened for it, which stays open where the next part can go on."""
        self._close()
        decoder = self._open.enter_context(open_decoder(source, stop))
        if not decoder.info.codec.startswith(SEQUENTIAL_CODEC):
            try:
                return decoded(source, decoder, start, stop, channel)
            finally:
                self._close()
        self._source, self._decoder = source, AscendingDecoder(decoder)
        return decoded(source, self._decoder, start, stop, channel)

    def _close(self) -> None:
        self._source = self._decoder = None
        self._open.close()


class BeforeHeldError(Exception):
    """A part begins before the samples that are held."""


class AscendingDecoder:
    """The `Decoder` of parts of a source, each of which begins where the one before does, or later."""

    def __init__(self, decoder: Decoder) -> None:
        self.info: AudioInfo = decoder.info
        self.is_pcm16, self.can_seek = decoder.is_pcm16, False
        self._count = decoder.count_samples
        self._blocks = decoder.blocks(0, None, CODEC_BLOCKS)
        self._held: deque[Samples] = deque()  # those from the beginning of the last part on
        self._position = 0  # of the first sample held

    def blocks(self, first: int, last: int | None, n_samples: int) -> Iterator[Samples]:
        """See `Decoder.blocks`; the blocks are the codec's own. Raises BeforeHeldError."""
        if first < self._position:
            raise BeforeHeldError
        while self._held and self._position + len(self._held[0]) <= first:
            self._position += len(self._held.popleft())
        at = self._position
        for block in tuple(self._held):
            yield from _cut(block, at, first, last)
            at += len(block)
        while (last is None or at < last) and len(block := next(self._blocks, END)):
            if at + len(block) <= first and not self._held:
                self._position += len(block)
            else:
                self._held.append(block)
            yield from _cut(block, at, first, last)
            at += len(block)

    def count_samples(self) -> int:
        """See `Decoder.count_samples`."""
        return self._count()


def _cut(block: Samples, at: int, first: int, last: int | None) -> Iterator[Samples]:
    """What samples first to last - 1 have of a block that begins at sample `at`, where that is any."""
    kept = block[max(first - at, 0) : None if last is None else max(last - at, 0)]
    if len(kept):
        yield kept
