"""Notes on stderr: what a user should know of an input or a choice that is used all the same."""

import multiprocessing
import os
import sys

from preprocessing.errors import printable

_noted: set[str] = set()  # kinds of notes that were printed


def is_first_process() -> bool:
    """False in a process that multiprocessing started, and in all but the first of distributed training: they read the
    same files as another process, which says what there is to say.
    """
    return multiprocessing.parent_process() is None and os.environ.get("RANK", "0") == "0"


def note_once(kind: str, note: str) -> None:
    """Print a note on stderr, the first of its kind, where this `is_first_process`."""
    if is_first_process() and kind not in _noted:
        _noted.add(kind)
        print(f"note: {printable(note)}", file=sys.stderr)
