"""Notes on stderr: what a user should know of an input or a choice that is used all the same."""

import multiprocessing
import os
import sys

from preprocessing.errors import printable

_noted: set[str] = set()  # kinds of notes that were printed


def note_once(kind: str, note: str) -> None:
    """Print a note on stderr, the first of its kind in this process.

    Nothing in a process that multiprocessing started, and in all but the first of distributed training: they read the
    same files as another that prints it.
    """
    is_first = multiprocessing.parent_process() is None and os.environ.get("RANK", "0") == "0"
    if is_first and kind not in _noted:
        _noted.add(kind)
        print(f"note: {printable(note)}", file=sys.stderr)
