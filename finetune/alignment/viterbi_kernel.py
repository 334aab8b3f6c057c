"""The compiled inner loop of `finetune.alignment.viterbi`, in numba; compiled at the first use and cached.

A file of its own because importing numba takes a second, which short recordings need not wait for. Slots are computed
from the frame before, in arrays of their own and without branches, which the compiler makes fast.
"""

from typing import Any

import numpy as np

from finetune.decoding.compiled import compiled

Array = np.ndarray[Any, Any]


@compiled
def advance(
    emissions: Array,
    first: int,
    stop: int,
    label_units: Array,
    blank_units: Array,
    skip: Array,
    blanks: Array,
    labels: Array,
    edge: np.float32,
    pointers: Array,
) -> None:
    """Take the scores of a band from before frame `first` to after frame stop - 1, in place; all floats are float32.

    emissions: [frames, units]. label_units, blank_units: units of each slot's label and of the blank before it [width].
    skip: 0 where a label may follow the label before without a blank, else minus infinity [width]. blanks, labels:
    scores [width]. edge: score of the label before the band. pointers: [stop - first, width], or [0, width] for none:
    bit 0: the label comes from its blank; bit 1: from the label before, whatever bit 0 is; bit 2: the blank comes from
    the label before it.
    """
    width = len(blanks)
    keeps = len(pointers) > 0
    old_blanks = np.empty(width, dtype=np.float32)
    old_labels = np.empty(width + 1, dtype=np.float32)  # from the one before the band on
    for frame in range(first, stop):
        row = emissions[frame]
        old_blanks[:] = blanks
        old_labels[0] = edge
        old_labels[1:] = labels
        edge = np.float32(-np.inf)
        if keeps:
            kept = pointers[frame - first]
            for slot in range(width):
                blank, label, before = old_blanks[slot], old_labels[slot + 1], old_labels[slot]
                best = max(blank, label)
                kept[slot] = (
                    np.uint8(blank > label) + 2 * np.uint8(before + skip[slot] > best) + 4 * np.uint8(before > blank)
                )
        for slot in range(width):
            blank, label, before = old_blanks[slot], old_labels[slot + 1], old_labels[slot]
            best = max(blank, label, before + skip[slot])
            labels[slot] = best + row[label_units[slot]]
            blanks[slot] = max(blank, before) + row[blank_units[slot]]
