"""Each system in a process of its own: given batches, timed stage by stage, restarted where it hangs or dies.

protocol.py has the messages, client.py the parent's side with SupervisedSystem, server.py what runs in the process,
stage_clock.py one batch through a system's stages, resources.py memory and energy.
"""

from benchmark.worker.client import SupervisedSystem, SystemFailed, WorkerDied
from benchmark.worker.protocol import Batch, BatchDone, Hypothesis, Loaded, LoadFailed, TaskFinished, WorkerSetup
from benchmark.worker.resources import peak_memory_bytes

__all__ = [
    "Batch",
    "BatchDone",
    "Hypothesis",
    "LoadFailed",
    "Loaded",
    "SupervisedSystem",
    "SystemFailed",
    "TaskFinished",
    "WorkerDied",
    "WorkerSetup",
    "peak_memory_bytes",
]
