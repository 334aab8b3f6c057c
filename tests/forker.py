"""A process that has imported what a command imports, and forks it: it begins in milliseconds instead of seconds.

`python -m tests.forker MODULES` reads a request a line from stdin, of `Request`'s fields, and answers with the
command's process id. A process between them writes its exit code and its seconds of processor time, those of the
processes that it has waited for included, to `status` when it has ended.
"""

import importlib
import json
import os
import resource
import runpy
import subprocess
import sys
import traceback
import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.conftest import ROOT


@dataclass(frozen=True)
class Request:
    """arguments: as after `python`, a script or -m MODULE first. environment: all of it. stdout, stderr: files, which
    may be one. cores: that it may run on. anew: Python is executed, and imports everything itself. file_limit:
    RLIMIT_FSIZE, in bytes.
    """

    arguments: list[str]
    environment: dict[str, str]
    stdout: str
    stderr: str
    status: str
    cores: list[int]
    anew: bool = False
    file_limit: int | None = None


class Forker:
    """The process, with these modules imported, kept until `close`.

    environment: its own, which libraries read at their import.
    """

    def __init__(self, environment: Mapping[str, str], *modules: str) -> None:
        words = [sys.executable, "-m", "tests.forker", *modules]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.environment = dict(environment)
        self._process = subprocess.Popen(words, cwd=ROOT, env=self.environment, text=True, bufsize=1, **pipes)

    def start(self, request: Request) -> int:
        """The process id of the command, which leads a session of its own."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(request)) + "\n")
        return int(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class _Main(types.ModuleType):
    """What is the main module at the time: multiprocessing looks for the classes of a child's main module here."""

    def __getattr__(self, name: str) -> object:
        return getattr(sys.modules["__main__"], name)


def main() -> None:
    for module in sys.argv[1:]:
        importlib.import_module(module)
    sys.modules["__mp_main__"] = _Main("__mp_main__")
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
    _, ended, usage = os.wait4(child, 0)
    seconds = usage.ru_utime + usage.ru_stime
    Path(request.status + ".partial").write_text(f"{os.waitstatus_to_exitcode(ended)} {seconds}")
    os.replace(request.status + ".partial", request.status)
    os._exit(0)


def _run(request: Request) -> None:
    os.setsid()
    os.sched_setaffinity(0, request.cores)
    written = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(request.stdout, written), 1)
    os.dup2(1 if request.stderr == request.stdout else os.open(request.stderr, written), 2)
    os.environ.clear()
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
