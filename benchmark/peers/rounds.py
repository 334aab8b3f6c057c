"""Contenders in a process of their own each, taking turns: a round of one, a round of the next, and around again.

Apart, none shares another's caches, threads or memory; taking turns, all meet the same machine. Times are wall-clock,
as some contenders wait for programs of their own. The first rounds warm up and are not counted.
"""

import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeAlias

WARM_UP_ROUNDS = 1

Contender: TypeAlias = Callable[[Sequence[Path]], Callable[[], object]]  # paths -> one round over all of them


@dataclass(frozen=True)
class Absent:
    """Why a contender could not take part, in a sentence."""

    reason: str


def seconds_of(
    contenders: Mapping[str, Contender], paths: Sequence[Path], rounds: int
) -> dict[str, list[float] | Absent]:
    """Seconds of each contender's rounds, in order; Absent for one whose libraries or programs are not there."""
    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    found: dict[str, list[float] | Absent] = {}
    processes = []
    for name, contender in contenders.items():
        pipes[name], theirs = context.Pipe()
        processes.append(context.Process(target=_serve, args=(contender, list(paths), theirs)))
        processes[-1].start()
        theirs.close()
        reason: str | None = pipes[name].recv()
        found[name] = [] if reason is None else Absent(reason)
    for number in range(WARM_UP_ROUNDS + rounds):
        for name, seconds in found.items():
            if isinstance(seconds, Absent):
                continue
            pipes[name].send(True)
            answer: float | str = pipes[name].recv()
            if isinstance(answer, str):
                found[name] = Absent(answer)
            elif number >= WARM_UP_ROUNDS:
                seconds.append(answer)
    for pipe, process in zip(pipes.values(), processes, strict=True):
        pipe.close()
        process.join()
    return found


def _serve(contender: Contender, paths: list[Path], pipe: Connection) -> None:
    """Make the contender ready, then a round for each message until the pipe closes."""
    import torch

    torch.set_num_threads(1)
    try:
        one_round: Callable[[], Any] = contender(paths)
    except (ImportError, RuntimeError, OSError) as error:
        pipe.send(_sentence(error))
        return
    pipe.send(None)
    while True:
        try:
            pipe.recv()
        except EOFError:
            return
        began = time.perf_counter()
        try:
            one_round()
        except (ImportError, RuntimeError, OSError) as error:
            pipe.send(_sentence(error))
            return
        pipe.send(time.perf_counter() - began)


def _sentence(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
