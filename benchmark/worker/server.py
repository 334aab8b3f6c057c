"""What runs in a system's own process: load it, then task after task until the parent closes the line.

A process for each system keeps memory figures apart, and a crash in one from stopping the others. Its terminal is the
parent's, by file descriptor, so that prints of libraries in C arrive there too. It ends when its parent does.
"""

import multiprocessing
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from benchmark.dataset import loader
from benchmark.systems.base import System
from benchmark.worker.protocol import Batch, BatchDone, Ended, Item, Loaded, Refused, Setup, Task
from benchmark.worker.resources import EnergyCounter, peak_device_memory_bytes, peak_memory_bytes
from benchmark.worker.stage_clock import Clock, Sound, transcribe
from preprocessing.cli.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor


LAUNCHER_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def serve(setup: Setup, line: Connection, terminal: Connection) -> None:
    """The process's main function."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"  # the Hub's and transformers'; what a system prints is counted
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _redirect(terminal)
    _take_place(setup)
    clock = Clock(setup.options.device)
    system = _load(setup, clock, line)
    if system is None:
        return
    load = loader(setup.material, denoise=setup.options.denoise)
    energy = EnergyCounter(setup.options.device)
    while True:
        try:
            task: Task = line.recv()
        except EOFError:
            return
        before = energy.joules()
        began = clock.now()
        for done in _run(system, sounds(task.batches, load, overlap=task.overlap), clock):
            line.send(done)
        wall_seconds = clock.now() - began
        after = energy.joules()
        line.send(
            Ended(
                wall_seconds=wall_seconds,
                joules=None if before is None or after is None else after - before,
                peak_memory_bytes=peak_memory_bytes(),
                peak_device_memory_bytes=peak_device_memory_bytes(setup.options.device),
            )
        )


def _run(system: System, heard: Iterator[tuple[Batch, list[Sound]]], clock: Clock) -> Iterator[BatchDone]:
    for batch, waveforms in heard:
        yield transcribe(system, batch, waveforms, clock)


def _load(setup: Setup, clock: Clock, line: Connection) -> System | None:
    """The system; None where the parent was told why there is none."""
    from benchmark.systems import load_system

    began = time.perf_counter()
    try:
        system = load_system(setup.spec, setup.options)
        loaded = Loaded(system.facts, clock.now() - began, bool(system.batched), float(system.longest_in_batch_seconds))
    except UserError as error:
        line.send(Refused(str(error)))
        return None
    except Exception as error:
        traceback.print_exc()
        line.send(Refused(f"{type(error).__name__}: {error}"))
        return None
    line.send(loaded)
    return system


def _redirect(terminal: Connection) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(terminal.fileno(), 1)
    os.dup2(terminal.fileno(), 2)
    terminal.close()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True)


def _take_place(setup: Setup) -> None:
    """Among processes of `accelerate launch`: its own GPU, its share of the cores, and nothing of the launcher's."""
    launched = "WORLD_SIZE" in os.environ
    for name in LAUNCHER_VARIABLES:
        os.environ.pop(name, None)
    if setup.options.device.startswith("cuda") and setup.local_processes > 1:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        devices = visible.split(",") if visible else [str(place) for place in range(setup.local_processes)]
        os.environ["CUDA_VISIBLE_DEVICES"] = devices[setup.local_rank % len(devices)]
    if launched and hasattr(os, "sched_getaffinity"):
        import torch

        torch.set_num_threads(max(len(os.sched_getaffinity(0)) // setup.local_processes, 1))


def _end_with_parent() -> None:
    """A parent that was killed cannot end what it started."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


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
