"""Processes and those that they start: a command that ends with its launcher, and Ctrl-C that one of them answers.

A launcher (`accelerate launch`, `torchrun`) that is killed leaves what it has launched running, out of sight, in the
same output folder and with the same memory of a GPU. Linux's prctl(2) tells the command that its parent has ended.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path

PR_SET_PDEATHSIG = 1  # prctl(2): the signal that a process gets when its parent dies
LAUNCHERS = ("accelerate", "torchrun")
MODULES = ("accelerate.commands", "torch.distributed")


def end_with_parent() -> None:
    """This process gets SIGTERM, at which commands save, when its parent ends; also as a `preexec_fn`."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))


def end_with_launcher() -> None:
    """`end_with_parent` where the parent is a launcher: not a shell, which a command may outlive by `nohup`."""
    parent = os.getppid()
    if not is_launcher(_words(parent)):
        return
    end_with_parent()
    if os.getppid() != parent:  # it has ended meanwhile
        sys.exit(128 + signal.SIGTERM)


def is_launcher(words: list[str]) -> bool:
    """Whether a command line starts a launcher.

    >>> is_launcher(["python", "/env/bin/accelerate", "launch", "finetune/train.py"])
    True
    >>> is_launcher(["bash", "-c", "accelerate launch finetune/train.py"])
    False
    """
    program = [word for word in words[:5] if not word.startswith("-")][:2]  # an interpreter, its script or module
    return any(Path(word).name in LAUNCHERS or word.startswith(MODULES) for word in program)


@contextmanager
def keeping_ctrl_c() -> Iterator[None]:
    """What multiprocessing starts within leaves Ctrl-C, which a terminal sends to all processes, to this one: the
    signal stays blocked there, from before its imports.
    """
    resource_tracker.ensure_running()  # which unblocks the signal when it is started by another start
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _words(process: int) -> list[str]:
    """Its command line; empty where there is none to read."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text(encoding="utf-8", errors="replace").split("\0")[:-1]
    except OSError:
        return []
