"""Contenders in a process of their own each, taking turns: a round of one, a round of the next, and around again.

Apart, none shares another's caches, threads or memory; taking turns, all meet the same machine. Times are wall-clock,
as some contenders wait for programs of their own. The first rounds warm up and are not counted.
"""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeAlias

from preprocessing.cli.errors import UserError

WARM_UP_ROUNDS = 1

Contender: TypeAlias = Callable[[Any], Callable[[], object]]  # material -> one round over all of it


@dataclass(frozen=True)
class Absent:
    """Why a contender could not take part, in a sentence."""

    reason: str


@dataclass(frozen=True)
class Turn:
    """One round of a contender: its wall-clock seconds, and what it returned where results are kept."""

    seconds: float
    result: Any


def seconds_of(
    contenders: Mapping[str, Contender], paths: Sequence[Path], rounds: int
) -> dict[str, list[float] | Absent]:
    """Seconds of each contender's rounds, in order; Absent for one whose libraries or programs are not there."""
    turns = turns_of(contenders, list(paths), WARM_UP_ROUNDS + rounds)
    return {
        name: found if isinstance(found, Absent) else [turn.seconds for turn in found[WARM_UP_ROUNDS:]]
        for name, found in turns.items()
    }


def turns_of(
    contenders: Mapping[str, Contender],
    material: Any,
    rounds: int,
    *,
    threads: int = 1,
    keep_results: bool = False,
    environments: Mapping[str, Mapping[str, str]] | None = None,
) -> dict[str, list[Turn] | Absent]:
    """Each contender's rounds in order, the first ones too; what contenders are given and return must pickle.

    threads: of torch, in each contender's process. environments: variables that a contender's process begins with.
    """
    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    found: dict[str, list[Turn] | Absent] = {}
    processes = []
    for name, contender in contenders.items():
        pipes[name], theirs = context.Pipe()
        given = (contender, material, theirs, threads, keep_results)
        processes.append(context.Process(target=_serve, args=given))
        with _environment((environments or {}).get(name, {})):
            processes[-1].start()
        theirs.close()
        reason: str | None = pipes[name].recv()
        found[name] = [] if reason is None else Absent(reason)
    for _ in range(rounds):
        for name, turns in found.items():
            if isinstance(turns, Absent):
                continue
            pipes[name].send(True)
            answer: Turn | str = pipes[name].recv()
            if isinstance(answer, str):
                found[name] = Absent(answer)
            else:
                turns.append(answer)
    for pipe, process in zip(pipes.values(), processes, strict=True):
        pipe.close()
        process.join()
    return found


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Variables that a process started meanwhile inherits."""
    before = {key: os.environ.get(key) for key in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value


def _serve(contender: Contender, material: Any, pipe: Connection, threads: int, keep_results: bool) -> None:
    """Make the contender ready, then a round for each message until the pipe closes."""
    import torch

    torch.set_num_threads(threads)
    try:
        one_round = contender(material)
    except (ImportError, RuntimeError, OSError, UserError) as error:
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
            result = one_round()
        except (ImportError, RuntimeError, OSError, UserError) as error:
            pipe.send(_sentence(error))
            return
        pipe.send(Turn(time.perf_counter() - began, result if keep_results else None))


def _sentence(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
