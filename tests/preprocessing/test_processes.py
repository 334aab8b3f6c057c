"""A command does not outlive the launcher that started it, whatever ended that; it does outlive a shell. What is
started leaves Ctrl-C to the process that started it, while it imports as well.
"""

import multiprocessing
import signal
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import pytest

from preprocessing.cli.processes import keeping_ctrl_c
from tests.conftest import ROOT

COMMAND = """
import signal, sys, time
from preprocessing.cli.processes import end_with_launcher
signal.signal(signal.SIGTERM, lambda *_: (open(sys.argv[1], "w").write("saved"), sys.exit(1)))
end_with_launcher()
print("begun", flush=True)
time.sleep(60)
"""
LAUNCHER = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[2:]])"


@pytest.mark.skipif(sys.platform != "linux", reason="prctl(2) is Linux's")
@pytest.mark.parametrize(("name", "ends"), [("accelerate", True), ("nohup.py", False)])
def test_a_launcher_that_is_killed_takes_its_command_along(tmp_path: Path, name: str, ends: bool) -> None:
    launcher, saved = tmp_path / name, tmp_path / "saved.txt"
    launcher.write_text(LAUNCHER)
    words = [sys.executable, str(launcher), "launch", COMMAND, str(saved)]
    with subprocess.Popen(words, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None and running.stdout.readline() == b"begun\n"
        (command,) = psutil.Process(running.pid).children()
        running.send_signal(signal.SIGKILL)
        running.wait()
        _, alive = psutil.wait_procs([command], timeout=20 if ends else 1)
        for process in alive:
            process.kill()
    assert bool(alive) != ends and saved.is_file() == ends


def blocked_from_the_start(pipe: Connection) -> None:
    pipe.send(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))


def test_ctrl_c_is_blocked_in_what_is_started_and_nowhere_else() -> None:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=blocked_from_the_start, args=(sender,))
    with keeping_ctrl_c():
        process.start()
    assert receiver.recv()
    process.join()
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
