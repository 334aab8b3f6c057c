"""Running the project's commands as a user does, from the repository root, without a network."""

import atexit
import itertools
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.forker import Forker, Request

ENDS_WITHIN = 45  # seconds: a launcher gives its processes 30
IMPORTED = (  # and with them all large libraries
    "benchmark.session",
    "finetune.training_run",
    "jsonargparse",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "transformers.models.wav2vec2.modeling_wav2vec2",
)
READ_LATE = ("PYTEST_", "ASR_", "COLUMNS", "ACCELERATE_", "RANK", "LOCAL_", "WORLD_SIZE", "MASTER_")  # by no import
SET_HERE = ("OMP_NUM_THREADS", "THP_MEM_ALLOC_ENABLE", "GOMP_SPINCOUNT")

_forkers: list[Forker] = []  # one at most


@dataclass(frozen=True)
class Finished:
    """How a command ended. cpu_seconds: of processor time, of the processes that it has waited for as well."""

    returncode: int
    stdout: str
    stderr: str
    cpu_seconds: float


def run(*arguments: str | Path, timeout: float = 580, fresh: bool = False, **environment: str) -> Finished:
    """`python ARGUMENTS`, for which the Hub counts as unreachable: in a process that is forked from one that has
    imported the libraries. In a fresh one where so told, where ARGUMENTS are options of Python such as -c, and where a
    variable of the environment differs that a library may have read.

    Raises TimeoutExpired after `timeout` seconds; the process is asked to end before it is killed, so that a launcher
    takes those along that it has started.
    """
    with _Running(arguments, environment, _cores(), fresh=fresh) as running:
        return running.wait(timeout)


def run_ranks(*arguments: str | Path, processes: int = 2, timeout: float = 580) -> Finished:
    """As `accelerate launch --config_file configs/accelerate/cpu-2.yaml ARGUMENTS`, without the launcher, whose imports
    take longer than small runs: what the processes said, the first one's before the second one's, and the first exit
    code that is not 0.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    count = str(processes)
    shared = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    shared |= {"ACCELERATE_MIXED_PRECISION": "no"}
    with ExitStack() as stack:
        ranks = [
            stack.enter_context(_Running(arguments, shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, [core]))
            for rank, core in zip(range(processes), itertools.cycle(sorted(os.sched_getaffinity(0))))
        ]
        ended = [rank.wait(timeout) for rank in ranks]
    return Finished(
        next((one.returncode for one in ended if one.returncode), 0),
        "".join(one.stdout for one in ended),
        "".join(one.stderr for one in ended),
        sum(one.cpu_seconds for one in ended),
    )


class _Running:
    """A command that has begun, which is ended with the block."""

    def __init__(
        self,
        arguments: Sequence[str | Path],
        environment: Mapping[str, str],
        cores: list[int],
        *,
        fresh: bool = False,
    ) -> None:
        forker = _forker()
        own = os.environ | {"HF_HUB_OFFLINE": "1", "COLUMNS": "200"} | environment
        self._folder = tempfile.TemporaryDirectory()
        self._stdout, self._stderr, self._status = (Path(self._folder.name) / name for name in ("out", "err", "status"))
        self._arguments = [str(argument) for argument in arguments]
        is_command = self._arguments[0] == "-m" or not self._arguments[0].startswith("-")
        self._pid = forker.start(
            Request(
                self._arguments,
                own,
                stdout=str(self._stdout),
                stderr=str(self._stderr),
                status=str(self._status),
                cores=cores,
                anew=fresh or not is_command or _differs(own, forker.environment),
            )
        )

    def __enter__(self) -> "_Running":
        return self

    def wait(self, seconds: float) -> Finished:
        """Raises TimeoutExpired."""
        if not self._has_ended(seconds):
            raise subprocess.TimeoutExpired(self._arguments, seconds, *self._said())
        code, cpu_seconds = self._status.read_text().split()
        return Finished(int(code), *self._said(), float(cpu_seconds))

    def _said(self) -> tuple[str, str]:
        return self._stdout.read_text(), self._stderr.read_text()

    def _has_ended(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not self._status.exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        return self._status.exists()

    def __exit__(self, *_: object) -> None:
        if not self._has_ended(0.0):
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGTERM)
            self._has_ended(ENDS_WITHIN)
            with suppress(ProcessLookupError):
                os.killpg(self._pid, signal.SIGKILL)
        self._folder.cleanup()


def _cores() -> list[int]:
    """One where tests run side by side on all of them, and threads would wait for each other; else all."""
    cores = sorted(os.sched_getaffinity(0))
    if int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) < len(cores):
        return cores
    return [cores[int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % len(cores)]]


def _forker() -> Forker:
    if not _forkers:
        threads = max(len(os.sched_getaffinity(0)) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")), 1)
        set_here = {"HF_HUB_OFFLINE": "1", "COLUMNS": "200", "OMP_NUM_THREADS": str(threads)}
        set_here["THP_MEM_ALLOC_ENABLE"] = "1"  # as finetune/train.py and benchmark/run.py do before they import torch
        _forkers.append(Forker(os.environ | set_here, *IMPORTED))
        atexit.register(close_forker)
    return _forkers[0]


def close_forker() -> None:
    """End the process that commands are forked from."""
    while _forkers:
        _forkers.pop().close()


def _differs(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    names = [name for name in {*one, *other} if not name.startswith((*READ_LATE, *SET_HERE))]
    return any(one.get(name) != other.get(name) for name in names)


def assert_one_sentence(result: Finished, exit_code: int, *expected: str) -> None:
    """It failed with that exit code and said why in one line, without a traceback."""
    assert result.returncode == exit_code, result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, result.stderr
    assert "Traceback" not in result.stderr
    for part in expected:
        assert part in errors[0]
