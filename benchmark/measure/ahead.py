"""Waveforms of a task's batches: got when they are needed, or by a thread while the batch before is computed."""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from benchmark.measure.messages import Batch, Item
from benchmark.measure.stages import Sound

if TYPE_CHECKING:
    from torch import Tensor

BATCHES_AHEAD = 2


def sounds(
    batches: Sequence[Batch], load: "Callable[[Item], Tensor]", *, overlap: bool
) -> Iterator[tuple[Batch, list[Sound]]]:
    """Each batch with its waveforms, in order."""
    found = ((batch, [_get(item, load) for item in batch]) for batch in batches)
    return _ahead(found, len(batches)) if overlap else found


def _get(item: Item, load: "Callable[[Item], Tensor]") -> Sound:
    began = time.perf_counter()
    try:
        waveform = load(item)
    except Exception as error:  # a damaged file is the utterance's failure, whatever the reader raises
        return Sound(None, time.perf_counter() - began, f"{type(error).__name__}: {error}")
    return Sound(waveform, time.perf_counter() - began)


def _ahead(found: Iterator[tuple[Batch, list[Sound]]], count: int) -> Iterator[tuple[Batch, list[Sound]]]:
    waiting: queue.Queue[tuple[Batch, list[Sound]]] = queue.Queue(maxsize=BATCHES_AHEAD)

    def fill() -> None:
        for one in found:
            waiting.put(one)

    threading.Thread(target=fill, daemon=True).start()
    for _ in range(count):
        yield waiting.get()
