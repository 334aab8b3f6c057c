"""The process of one system: loads it, then answers task after task until the parent closes the pipe.

A process for each system keeps their memory figures apart and a crash of one from stopping the others. Its stdout and
stderr are redirected to the parent by file descriptor, so that prints of C libraries arrive there too. It exits when
its parent does.
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
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from benchmark.dataset import Item, waveform_loader
from benchmark.worker.protocol import Batch, Loaded, LoadFailed, Task, TaskFinished, WorkerSetup
from benchmark.worker.resources import EnergyCounter, peak_device_memory_bytes, peak_memory_bytes
from benchmark.worker.stage_clock import DeviceClock, LoadedWaveform, transcribe_batch
from benchmark.worker.words import recognise_words
from finetune.systems.base import System
from finetune.systems.facts import NOISE_REMOVAL
from preprocessing.cli.options import what_ran_out
from preprocessing.errors import UserError, described

if TYPE_CHECKING:
    from torch import Tensor

LAUNCHER_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
BATCHES_AHEAD = 2  # decoded and waiting while one is computed


def serve(setup: WorkerSetup, pipe: Connection, terminal: Connection) -> None:
    """The main function of the process.

    pipe: Tasks come in, replies go out (`benchmark.worker.protocol`). terminal: takes what is printed.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers Ctrl-C
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"  # the Hub's and transformers'; what a system prints is counted
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    _redirect_output(terminal)
    _leave_launcher(setup)
    clock = DeviceClock(setup.options.device)
    before_loading = peak_memory_bytes()
    system = _load(setup, clock, pipe)
    if system is None:
        return
    load = waveform_loader(setup.evaluation_set, denoise=setup.options.denoise)
    energy = EnergyCounter(setup.options.device)
    while True:
        try:
            task: Task = pipe.recv()
        except EOFError:
            return
        joules_before = energy.joules()
        began = clock.now()
        of_task = partial(load, longest_seconds=task.longest_seconds)
        for batch, waveforms in load_ahead(task.batches, of_task, overlap=task.overlap):
            if task.words:
                pipe.send(recognise_words(system, batch, waveforms))
            else:
                pipe.send(transcribe_batch(system, batch, waveforms, clock))
        wall_seconds = clock.now() - began
        joules = energy.joules()
        pipe.send(
            TaskFinished(
                wall_seconds=wall_seconds,
                joules=None if joules_before is None or joules is None else joules - joules_before,
                peak_memory_bytes=peak_memory_bytes(),
                memory_before_loading_bytes=before_loading,
                peak_device_memory_bytes=peak_device_memory_bytes(setup.options.device),
            )
        )


def load_ahead(
    batches: Sequence[Batch], load: "Callable[[Item], Tensor]", *, overlap: bool
) -> Iterator[tuple[Batch, list[LoadedWaveform]]]:
    """Each batch with its waveforms, in order.

    overlap: a thread loads up to BATCHES_AHEAD batches beforehand; otherwise each is loaded when it is asked for.
    """
    loaded = ((batch, [_load_waveform(item, load) for item in batch]) for batch in batches)
    return _in_background(loaded, len(batches)) if overlap else loaded


def _load_waveform(item: Item, load: "Callable[[Item], Tensor]") -> LoadedWaveform:
    began = time.perf_counter()
    try:
        waveform = load(item)
    except Exception as error:  # a damaged file is the utterance's failure, whatever its decoder raises
        return LoadedWaveform(None, time.perf_counter() - began, described(error))
    return LoadedWaveform(waveform, time.perf_counter() - began)


def _in_background(
    loaded: Iterator[tuple[Batch, list[LoadedWaveform]]], count: int
) -> Iterator[tuple[Batch, list[LoadedWaveform]]]:
    waiting: queue.Queue[tuple[Batch, list[LoadedWaveform]]] = queue.Queue(maxsize=BATCHES_AHEAD)

    def fill() -> None:
        for one in loaded:
            waiting.put(one)

    threading.Thread(target=fill, daemon=True).start()
    for _ in range(count):
        yield waiting.get()


def _load(setup: WorkerSetup, clock: DeviceClock, pipe: Connection) -> System | None:
    """The loaded system, after Loaded was sent; None after LoadFailed was sent."""
    from finetune.systems.identity import identified
    from finetune.systems.registry import load_system

    began = time.perf_counter()
    try:
        system = load_system(setup.spec, setup.options)
        seconds = clock.now() - began
        batched, longest = bool(system.batched), float(system.longest_in_batch_seconds)
        facts = replace(system.facts, settings=system.facts.settings | _given_audio(setup))
        loaded = Loaded(identified(facts), seconds, batched, longest, bool(system.has_word_times))
    except UserError as error:
        pipe.send(LoadFailed(str(error)))
        return None
    except Exception as error:
        traceback.print_exc()
        pipe.send(LoadFailed(what_ran_out(error) or described(error)))
        return None
    pipe.send(loaded)
    return system


def _given_audio(setup: WorkerSetup) -> dict[str, str]:
    """The setting that says what is done to the audio before the system gets it."""
    return {NOISE_REMOVAL: "on" if setup.options.denoise else "off"}


def _redirect_output(terminal: Connection) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(terminal.fileno(), 1)
    os.dup2(terminal.fileno(), 2)
    terminal.close()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True)


def _leave_launcher(setup: WorkerSetup) -> None:
    """Take the threads that the setup names, under `accelerate launch` also one GPU, and drop the launcher's variables,
    which would make libraries in this process join its process group.
    """
    for name in LAUNCHER_VARIABLES:
        os.environ.pop(name, None)
    if setup.options.device.startswith("cuda") and setup.local_processes > 1:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        devices = visible.split(",") if visible else [str(place) for place in range(setup.local_processes)]
        os.environ["CUDA_VISIBLE_DEVICES"] = devices[setup.local_rank % len(devices)]
    if setup.threads is not None:
        import torch

        if torch.get_num_threads() != setup.threads:
            torch.set_num_threads(setup.threads)


def _exit_with_parent() -> None:
    """Waits until the parent has ended, then exits: a parent that was killed cannot end the processes it started."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
