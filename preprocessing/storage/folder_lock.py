"""One run at a time in an output folder: a second one is refused, by the first one's process id.

The lock is the operating system's (flock): it ends with its process, however that ends. Processes that it forks close
their copy of it, as a killed run's last worker would hold the folder otherwise.
"""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from preprocessing.errors import UsageError
from preprocessing.storage.atomic_write import TEMPORARY

LOCK = ".lock"  # the file in the folder while it is written to: process id and machine

_held: set[int] = set()  # descriptors of locks


@contextmanager
def only_writer(folder: Path, flag: str = "") -> Iterator[None]:
    """Hold `folder`, which is made where there is none, while the block runs.

    What a killed run left in it and below under temporary names of `atomic_file` is removed. A folder that was made
    here and is still empty at the end is removed, too. flag: the option that named the folder, for messages.

    Raises UsageError where another process holds the folder, or it cannot be written to.
    """
    named = f"{flag} {folder}".lstrip()
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{named} is a file; expected a folder: choose another name")
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = _locked(folder / LOCK)
        if lock is None:
            raise UsageError(
                f"{named} is being written to by process {_holder(folder / LOCK)}; expected one run at a time: wait "
                "for it to end, or choose another folder"
            )
        for unfinished in [path for path in folder.rglob(".*.partial*") if TEMPORARY.fullmatch(path.name)]:
            unfinished.unlink()
    except OSError as error:
        raise UsageError(
            f"{named}: cannot be written to ({error.strerror}); expected a writable folder with free space: choose "
            "another, or free some space"
        ) from None
    _held.add(lock)
    try:
        yield
    finally:
        with suppress(OSError):
            (folder / LOCK).unlink()
        _held.discard(lock)
        os.close(lock)
        if is_new:
            with suppress(OSError):
                folder.rmdir()


def _locked(path: Path) -> int | None:
    """A descriptor of the file, locked, with this process's id in it; None where another process has the lock."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, path):  # else its holder removed it between opening and locking
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"{os.getpid()} on {socket.gethostname()}\n".encode())
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _holder(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip() or "unknown"
    except OSError:
        return "unknown"


def _close_in_child() -> None:
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_close_in_child)
