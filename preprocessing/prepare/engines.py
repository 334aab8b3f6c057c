"""Engines that work on shards in parallel: processes on this machine, or Ray Data on a cluster.

Both yield the shards that are done, in any order. Ray's tasks write to the output folder themselves, so it must be at
the same path on every machine (a shared file system).
"""

import logging
import multiprocessing
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver
from typing import Any, TypeAlias

from preprocessing.cli.processes import keeping_ctrl_c
from preprocessing.errors import InputError, UsageError, first_line, install_extra
from preprocessing.prepare.shards import Shard

WriteShard: TypeAlias = Callable[[Shard], None]  # picklable
CONNECTS_WITHIN = 10.0  # seconds, to a cluster


def run_local(shards: Sequence[Shard], write: WriteShard, workers: int) -> Iterator[Shard]:
    """Call `write` on the shards in `workers` processes; yield each shard when it is done.

    The processes end when this one does, killed or not. Raises InputError when a decoder takes one of them down.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["preprocessing.prepare.shards"])  # torch is imported once, not once a worker
    with keeping_ctrl_c():
        forkserver.ensure_running()  # workers are forked from it
    with ProcessPoolExecutor(workers, context, _begin_worker) as pool:
        futures = {pool.submit(write, shard): shard for shard in shards}
        try:
            for future in as_completed(futures):
                future.result()
                yield futures[future]
        except BrokenProcessPool:
            raise InputError(
                "a process that decoded audio crashed; expected files that do not crash the decoder: run again with "
                "--workers 1, and the shard at which it stops contains the file"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _begin_worker() -> None:
    """Keep torch to one thread, as other workers have the other cores, and end this process when its parent is gone."""
    import torch

    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def run_on_ray(shards: Sequence[Shard], write: WriteShard, workers: int) -> Iterator[Shard]:
    """Call `write` on the shards by Ray Data's map, `workers` at a time; yield each shard when it is done.

    On the cluster that RAY_ADDRESS names, or on one started on this machine. Raises UsageError where ray is not
    installed, or the cluster does not answer.
    """
    try:
        import ray
        import ray.data
    except ImportError:
        raise UsageError(
            f"--engine is ray, but ray is not installed; expected it on every machine: {install_extra('ray')}"
        ) from None
    address = os.environ.get("RAY_ADDRESS")
    if address is not None:
        _connect(ray, address)
    elif not ray.is_initialized():
        ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    by_number = {shard.number: shard for shard in shards}
    stored = {shard.number: ray.put(shard) for shard in shards}  # arrow has no type for an utterance

    def write_row(row: dict[str, Any]) -> dict[str, Any]:
        write(ray.get(stored[int(row["number"])]))
        return row

    jobs = ray.data.from_items([{"number": number} for number in stored], override_num_blocks=len(shards))
    try:
        for row in jobs.map(write_row, num_cpus=1, compute=ray.data.TaskPoolStrategy(size=workers)).iter_rows():
            yield by_number[int(row["number"])]
    finally:
        ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    """Raises UsageError where no cluster answers, for which Ray itself waits many minutes, or it refuses."""
    try:
        host, _, port = address.rpartition(":")
        if host and port.isdigit() and "/" not in host:
            socket.create_connection((host, int(port)), timeout=CONNECTS_WITHIN).close()
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except OSError as error:  # ConnectionError, Ray's own, too
        raise UsageError(
            f"RAY_ADDRESS is {address}: {first_line(error)}; expected a cluster that `ray start --head` has "
            "begun: check the address, and set RAY_AUTH_MODE as it is set there (`token` where nothing was set)"
        ) from None


ENGINES = {"local": run_local, "ray": run_on_ray}
