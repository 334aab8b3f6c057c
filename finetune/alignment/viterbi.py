"""The best CTC path of a text through a recording of any length, by the Viterbi algorithm in a band (`viterbi`).

A band of the text follows the best partial path, and back-pointers are kept for BLOCK_FRAMES at a time and computed
again from checkpoints. The inner loop is compiled (`viterbi_kernel`). Words and times are made of the path in
`alignment`, which has the sources.

The memory is at most BYTES_PER_LABEL for each label of the band and 8 bytes for each frame, beside the
log-probabilities and a copy of them: 13 MB for the default band, in which about five minutes of speech are.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from preprocessing.errors import InputError

STAR_LOG_PROB = -1.0  # of a frame without text, against the frame's best unit (experiments.align_corpus)
BAND_LABELS = 4096
MAX_BAND_LABELS = 65_536
BLOCK_FRAMES = 1024  # whose back-pointers are held at once
FAN_OUT = 128  # checkpoints at each level: one level reaches 131,072 frames (44 minutes), two 93 hours
MOVE_FRAMES = 32  # after so many frames the band may move
BYTES_PER_LABEL = BLOCK_FRAMES + 2 * FAN_OUT * 8  # a byte each frame of a block; two float32 each checkpoint
IMPOSSIBLE = (
    "no path of the text has a probability above 0; expected log-probabilities that allow its units: check the model"
)

Floats: TypeAlias = NDArray[np.float32]


def viterbi(
    log_probs: Tensor,
    labels: Sequence[int],
    blank: int,
    *,
    star_slots: Sequence[int] = (),
    star_log_prob: float = STAR_LOG_PROB,
    band_labels: int = BAND_LABELS,
) -> NDArray[np.int32]:
    """The state of each frame [frames] on the best path: 2 k + 1 is label k, 2 k the blank before it.

    log_probs: [frames, units] with as many frames as `frames_needed` at least. star_slots: values of k whose blank may
    be a star. band_labels: of the text that are searched at a time; twice as many, up to MAX_BAND_LABELS, where the
    best path comes close to an edge of the band. Raises InputError where it does so with these, too.
    """
    emissions = _emissions(log_probs, blank, star_log_prob)
    width = min(band_labels, len(labels) + 1)
    while True:
        search = _Band(emissions, labels, blank, star_slots, width)
        states = search.best_path()
        if states is not None:
            return states
        if width > len(labels):
            raise InputError(IMPOSSIBLE)
        if width >= MAX_BAND_LABELS:
            raise InputError(
                f"text and recording diverge by more than {width // 2} letters; expected matching ones: check that "
                "they belong together, or split both"
            )
        width = min(2 * width, len(labels) + 1)


class _Band:
    """The search of one band: slots [low, low + width) of the text, each a blank and the label after it.

    The last slot's label does not exist and is never entered. emissions: [frames, units + 2], of which the last two are
    that of a blank or star, and minus infinity.
    """

    def __init__(
        self, emissions: Floats, labels: Sequence[int], blank: int, star_slots: Sequence[int], width: int
    ) -> None:
        n_units = emissions.shape[1]
        self._emissions = emissions
        self._n_slots = len(labels) + 1
        self._width = width
        self._label = np.array([*labels, n_units - 1], dtype=np.intp)
        self._blank = np.full(self._n_slots, blank, dtype=np.intp)
        self._blank[list(star_slots)] = n_units - 2
        same = np.zeros(self._n_slots, dtype=bool)
        same[1:] = self._label[1:] == self._label[:-1]
        self._skip = np.where(same, -np.inf, 0.0).astype(np.float32)  # a blank stands between equal labels
        self._lows = np.full(-(-len(emissions) // MOVE_FRAMES), -1, dtype=np.int32)

    def best_path(self) -> NDArray[np.int32] | None:
        """The state of each frame; None where the path comes close to the band's edge."""
        n_frames = len(self._emissions)
        path = np.empty(n_frames, dtype=np.int32)
        blanks = np.full(self._width, -np.inf, dtype=np.float32)
        blanks[0] = 0.0  # before the first frame: in the blank of slot 0
        begin = (blanks, np.full(self._width, -np.inf, dtype=np.float32))
        self._lows[0] = 0
        found = self._trace(0, n_frames, begin, None, path)
        return None if found is None or self._near_edge(path) else path

    def _trace(
        self, first: int, stop: int, begin: tuple[Floats, Floats], end: int | None, path: NDArray[np.int32]
    ) -> int | None:
        """Fill path[first:stop], the best path that ends in the state `end`; returns the state before `first`.

        begin: scores after frame first - 1. end: None is the better of the text's two last states.
        """
        n_frames = stop - first
        if n_frames <= BLOCK_FRAMES:
            pointers = np.empty((n_frames, self._width), dtype=np.uint8)
            blanks, labels = self._forward(first, stop, begin, pointers)
            if end is None:
                last = self._n_slots - 1 - int(self._lows[(stop - 1) // MOVE_FRAMES])
                if last >= self._width:
                    return None
                before = labels[last - 1] if last > 0 else -np.inf
                if not np.isfinite(max(blanks[last], before)):
                    return None
                end = 2 * (self._n_slots - 1) - int(before > blanks[last])
            return self._follow(first, stop, pointers, end, path)
        part = BLOCK_FRAMES
        while part * FAN_OUT < n_frames:
            part *= FAN_OUT
        starts = range(first, stop, part)
        checkpoints = [begin]
        for start in starts[:-1]:
            checkpoints.append(self._forward(start, start + part, checkpoints[-1], None))
        for start in reversed(starts):
            end = self._trace(start, min(start + part, stop), checkpoints.pop(), end, path)
            if end is None:
                return None
        return end

    def _forward(
        self, first: int, stop: int, begin: tuple[Floats, Floats], pointers: NDArray[np.uint8] | None
    ) -> tuple[Floats, Floats]:
        """Scores of each slot's blank and label after frame stop - 1, from those after first - 1; fills `pointers`
        [stop - first, width] (`viterbi_kernel.advance`). Scores are relative to the best of some earlier frame.
        """
        from finetune.alignment.viterbi_kernel import advance

        width, nothing = self._width, np.empty((0, self._width), dtype=np.uint8)
        blanks, labels = begin[0].copy(), begin[1].copy()
        low = int(self._lows[max(first - 1, 0) // MOVE_FRAMES])
        for start in range(first, stop, MOVE_FRAMES):
            end, edge = min(start + MOVE_FRAMES, stop), np.float32(-np.inf)
            new = self._low_at(start, low, blanks, labels)
            if new > low:
                edge = labels[new - low - 1]
                for scores in (blanks, labels):
                    scores[: width - (new - low)] = scores[new - low :]
                    scores[width - (new - low) :] = -np.inf
                low = new
            highest = max(blanks.max(), labels.max())
            if np.isfinite(highest):
                for scores in (blanks, labels):
                    scores -= highest
                edge -= highest
            band = slice(low, low + width)
            advance(
                self._emissions, start, end, self._label[band], self._blank[band], self._skip[band], blanks, labels,
                edge, nothing if pointers is None else pointers[start - first : end - first],
            )  # fmt: skip
        return blanks, labels

    def _low_at(self, frame: int, low: int, blanks: Floats, labels: Floats) -> int:
        """The band's first slot from `frame` on, set once: the best partial path in its middle, the end in reach."""
        place = frame // MOVE_FRAMES
        if self._lows[place] < 0:
            best = low + int(np.maximum(blanks, labels).argmax())
            in_reach = self._n_slots - self._width - max(len(self._emissions) - frame - MOVE_FRAMES, 0)
            wanted = max(best - self._width // 2, in_reach)
            self._lows[place] = max(low, min(wanted, low + self._width - 1, self._n_slots - self._width))
        return int(self._lows[place])

    def _follow(self, first: int, stop: int, pointers: NDArray[np.uint8], end: int, path: NDArray[np.int32]) -> int:
        """Fill path[first:stop] along the pointers back from the state `end`; returns the state before `first`."""
        state, lows = end, self._lows.tolist()
        for frame in range(stop - 1, first - 1, -1):
            path[frame] = state
            slot, is_label = divmod(state, 2)
            pointer = int(pointers[frame - first, slot - lows[frame // MOVE_FRAMES]])
            if not is_label:
                state -= pointer >> 2 & 1
            elif pointer & 2:
                state -= 2
            else:
                state -= pointer & 1
        return state

    def _near_edge(self, path: NDArray[np.int32]) -> bool:
        """Whether the path comes within a sixteenth of the band's width to an edge inside the text."""
        if self._width >= self._n_slots:
            return False
        lows = np.repeat(self._lows, MOVE_FRAMES)[: len(path)]
        below = path // 2 - lows
        margin = self._width // 16
        return bool(
            ((below < margin) & (lows > 0)).any()
            or ((self._width - below <= margin) & (lows + self._width < self._n_slots)).any()
        )


def _emissions(log_probs: Tensor, blank: int, star_log_prob: float) -> Floats:
    """[frames, units + 2]: log-probabilities, that of a blank or star, and minus infinity."""
    values = log_probs.float()
    star = values.max(dim=1).values + star_log_prob
    or_star = torch.maximum(values[:, blank], star)[:, None]
    return torch.cat([values, or_star, torch.full_like(or_star, -torch.inf)], dim=1).numpy()
