"""How files are recognised in a later run without reading them whole: by their place among others, by size and time of
change, and by a part of their content.
"""

import os
from collections.abc import Iterable
from typing import TypeAlias

SAMPLED_BYTES = 4096

FileState: TypeAlias = tuple[int, int]  # size in bytes, time of change in ns


def file_state(path: str | os.PathLike[str]) -> FileState | None:
    """Size and time of change of a file; None where there is none. Whoever changes a file changes one of them."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns


def sampled(path: str | os.PathLike[str]) -> tuple[int, bytes]:
    """The size of a file and SAMPLED_BYTES from its middle, which a copy has, too, and which are quick to read;
    (0, b"") where there is none.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(size // 2)
            return size, file.read(SAMPLED_BYTES)
    except (OSError, ValueError):
        return 0, b""


def common_folder(paths: Iterable[str | os.PathLike[str]]) -> str:
    """The absolute path of the deepest folder that all files are in or below; "" of no files.

    A path relative to it is the same however the files are named, and wherever their folder is moved.

    >>> common_folder(["/speech/ann/1.wav", "/speech/ben/1.wav"])
    '/speech'
    """
    folders = {os.path.dirname(os.fspath(path)) for path in paths}
    return os.path.commonpath([os.path.abspath(folder) for folder in folders]) if folders else ""
