"""A process that has imported what a command imports, and forks it: it begins in milliseconds instead of seconds.

`python -m tests.attack.forker MODULE` reads a request a line from stdin, of `Request`'s fields, and answers with the
command's process id. A process between them writes its exit code to `status` when it has ended.
"""

import importlib
import json
import os
import resource
import runpy
import subprocess
import sys
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.conftest import ROOT


@dataclass(frozen=True)
class Request:
    """arguments: as after `python`, a script or -m MODULE first. said: file for stdout and stderr. anew: Python is
    executed, and imports everything itself. file_limit: RLIMIT_FSIZE, in bytes.
    """

    arguments: list[str]
    environment: dict[str, str]
    said: str
    status: str
    anew: bool = False
    file_limit: int | None = None


class Forker:
    """The process, kept until `close`."""

    def __init__(self, module: str, environment: Mapping[str, str]) -> None:
        words = [sys.executable, "-m", "tests.attack.forker", module]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen(words, cwd=ROOT, env=dict(environment), text=True, bufsize=1, **pipes)

    def start(self, request: Request) -> int:
        """The process id of the command, which leads a session of its own."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(request)) + "\n")
        return int(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def main() -> None:
    importlib.import_module(sys.argv[1])
    for line in iter(sys.stdin.readline, ""):
        request = Request(**json.loads(line))
        sys.stdout.flush()
        if os.fork() == 0:
            _start_and_wait(request)
        while True:  # of former requests
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    break
            except ChildProcessError:
                break


def _start_and_wait(request: Request) -> None:
    child = os.fork()
    if child == 0:
        _run(request)
    print(child, flush=True)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    Path(request.status + ".partial").write_text(str(code))
    os.replace(request.status + ".partial", request.status)
    os._exit(0)


def _run(request: Request) -> None:
    os.setsid()
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(
        0, {cores[os.getpid() % len(cores)]}
    )  # threads of one job wait for each other on a busy machine
    written = os.open(request.said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for place, descriptor in ((0, os.open(os.devnull, os.O_RDONLY)), (1, written), (2, written)):
        os.dup2(descriptor, place)
    os.environ.update(request.environment)
    if request.file_limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request.file_limit, resource.RLIM_INFINITY))
    if request.anew:
        os.execve(sys.executable, [sys.executable, *request.arguments], os.environ)
    code: object = 0
    try:
        if request.arguments[0] == "-m":
            sys.argv = request.arguments[1:]
            runpy.run_module(request.arguments[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = request.arguments
            runpy.run_path(request.arguments[0], run_name="__main__")
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.exit(code)  # through the interpreter's end, where libraries stop what they have started


if __name__ == "__main__":
    main()
