"""Who does the shards: processes on this machine, or Ray Data on as many as a cluster has.

Both yield the shards that are done, in any order; neither knows what a shard is. Ray's side needs the output folder
at the same path on every machine (a shared file system), as its tasks write there.
"""

import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeAlias

from preprocessing.cli.errors import InputError, UsageError
from preprocessing.prepare.shards import Shard

Work: TypeAlias = Callable[[Shard], None]  # picklable


def local(shards: Sequence[Shard], work: Work, workers: int) -> Iterator[Shard]:
    """Processes that end when this one does, however it ends. Raises InputError when a decoder takes one down."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["preprocessing.prepare.shards"])  # torch is imported once, not once a worker
    with ProcessPoolExecutor(workers, context, _begin_worker, (os.getpid(),)) as pool:
        futures = {pool.submit(work, shard): shard for shard in shards}
        try:
            for future in as_completed(futures):
                future.result()
                yield futures[future]
        except BrokenProcessPool:
            raise InputError(
                "a process that decoded audio died; expected files that decoders survive: run again with --workers 1, "
                "and the shard that it stops at holds the file"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _begin_worker(parent: int) -> None:
    """On one thread, as there are workers for the other cores; watches the process that wants the work, and ends when
    it is gone, a kill -9 included.
    """
    import torch

    torch.set_num_threads(1)

    def watch() -> None:
        while _alive(parent):
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def on_ray(shards: Sequence[Shard], work: Work, workers: int) -> Iterator[Shard]:
    """Ray Data's map over the shards, on the cluster that RAY_ADDRESS names, or on one started on this machine.

    workers: tasks at a time. Raises UsageError where ray is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError:
        raise UsageError(
            "--engine is ray, but ray is not installed; expected it: pip install 'speech-on-your-own[ray]'"
        ) from None
    address = os.environ.get("RAY_ADDRESS")
    if address is not None:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    elif not ray.is_initialized():
        ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    by_number = {shard.number: shard for shard in shards}
    held = {shard.number: ray.put(shard) for shard in shards}  # arrow has no type for an utterance

    def do(row: dict[str, Any]) -> dict[str, Any]:
        work(ray.get(held[int(row["number"])]))
        return row

    jobs = ray.data.from_items([{"number": number} for number in held], override_num_blocks=len(shards))
    try:
        for row in jobs.map(do, num_cpus=1, compute=ray.data.TaskPoolStrategy(size=workers)).iter_rows():
            yield by_number[int(row["number"])]
    finally:
        ray.shutdown()


ENGINES = {"local": local, "ray": on_ray}
