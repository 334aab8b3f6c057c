"""One system in a process of its own, given batches and timed stage by stage; replaced where it hangs or dies.

worker.py is what runs there, process.py what its parent holds of it, entrant.py what goes on after a crash.
"""

from benchmark.worker.client import Entrant, GaveUp, Stopped
from benchmark.worker.protocol import Batch, BatchDone, Ended, Heard, Item, Loaded, Setup
from benchmark.worker.resources import peak_memory_bytes

__all__ = [
    "Batch",
    "BatchDone",
    "Ended",
    "Entrant",
    "GaveUp",
    "Heard",
    "Item",
    "Loaded",
    "Setup",
    "Stopped",
    "peak_memory_bytes",
]
