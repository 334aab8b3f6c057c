"""Engines that work on shards in parallel: processes on this machine, or Ray Data on a cluster.

Both yield the shards that are done, in any order. Ray's tasks write to the output folder themselves, so it must be at
the same path on every machine (a shared file system).
"""

import logging
import multiprocessing
import os
import pickle
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver
from typing import TYPE_CHECKING, Any, TypeAlias

from preprocessing.cli.options import what_ran_out
from preprocessing.cli.processes import keeping_ctrl_c
from preprocessing.errors import InputError, UsageError, UserError, first_line, install_extra
from preprocessing.prepare.division import Shard

if TYPE_CHECKING:
    from ray.exceptions import RayError

WriteShard: TypeAlias = Callable[[Shard], None]  # picklable
CONNECTS_WITHIN = 10.0  # seconds, to a cluster
CRASHED = (
    "a process that decoded audio crashed; expected files that do not crash the decoder: run again with --workers 1, "
    "and the shard at which it stops contains the file"
)


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
            raise InputError(CRASHED) from None
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
    installed or does not start, or the cluster does not answer, and InputError where machines or processes fail.
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
        _start(ray, workers)
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # errors are raised, too
    by_name = {shard.name: shard for shard in shards}
    # Arrow has no type for utterances. Only this process makes the rows, and Ray pickles the task itself, too.
    rows = [{"name": shard.name, "shard": pickle.dumps(shard)} for shard in shards]

    def task(row: dict[str, Any]) -> dict[str, Any]:
        return write_row(row, write)

    jobs = ray.data.from_items(rows, override_num_blocks=len(shards))
    del rows
    try:
        for row in jobs.map(task, num_cpus=1, compute=ray.data.TaskPoolStrategy(size=workers)).iter_rows():
            if row["error"]:
                raise InputError(row["error"])
            yield by_name[str(row["name"])]
    except ray.exceptions.RayError as error:
        known = as_user_error(error)
        if known is None:
            raise
        raise known from None
    finally:
        ray.shutdown()


def write_row(row: dict[str, Any], write: WriteShard) -> dict[str, Any]:
    """A task of Ray: write the shard of a row. Returns its name and the sentence of an InputError, or of a full disk or
    memory, or "": an error that is raised would reach the user in Ray's traceback, with advice of Ray's behind it.
    """
    try:
        write(pickle.loads(row["shard"]))
    except (InputError, OSError, MemoryError, RuntimeError) as error:
        sentence = str(error) if isinstance(error, InputError) else what_ran_out(error)
        if sentence is None:
            raise
        return {"name": row["name"], "error": sentence}
    return {"name": row["name"], "error": ""}


def as_user_error(error: "RayError") -> UserError | None:
    """What the user can do about an error of Ray, as of a process or machine that is gone; None of one that a task
    raised, which is a defect of the program.
    """
    from ray.exceptions import OutOfMemoryError, RayTaskError, WorkerCrashedError

    if isinstance(error, RayTaskError):
        return None
    if isinstance(error, OutOfMemoryError):
        return InputError(
            "Ray stopped a task that took too much memory; expected memory for --workers tasks at once: run again with "
            "fewer"
        )
    if isinstance(error, WorkerCrashedError):
        return InputError(CRASHED)
    return InputError(
        f"Ray failed: {first_line(error)}; expected a cluster whose machines stay: run the same command again, which "
        "goes on with the shards that are not done"
    )


def _start(ray: Any, workers: int) -> None:
    """Raises UsageError where Ray does not start on this machine, as where it has too little memory or is too busy."""
    try:
        ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # Ray raises Exception itself, and many others
        raise UsageError(
            f"--engine is ray, but Ray does not start on this machine: {first_line(error)}; expected free memory and "
            "cores: try again, or --engine local"
        ) from None


def _connect(ray: Any, address: str) -> None:
    """Raises UsageError where no cluster answers, for which Ray itself waits many minutes, or it refuses."""
    try:
        host, _, port = address.rpartition(":")
        if host and port.isdigit() and "/" not in host:
            socket.create_connection((host, int(port)), timeout=CONNECTS_WITHIN).close()
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # OSError, and many others of Ray's
        raise UsageError(
            f"RAY_ADDRESS is {address}: {first_line(error)}; expected a cluster that `ray start --head` has "
            "begun: check the address, and set RAY_AUTH_MODE as it is set there (`token` where nothing was set)"
        ) from None


ENGINES = {"local": run_local, "ray": run_on_ray}
