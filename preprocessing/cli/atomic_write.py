"""Files that appear whole or not at all: written under another name beside their own, then renamed."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from preprocessing.cli.errors import UsageError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields the name to write to; `path` is replaced when the block ends, and left as it was when the block fails.

    The name keeps the suffix, which some writers choose the format by, and is no other process's.
    """
    beside = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.partial{path.suffix}")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """UTF-8."""
    with whole_file(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_output(path: Path, flag: str, content: bytes) -> None:
    """What a flag asked for, its folder made. Raises UsageError naming flag and path where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as beside:
            beside.write_bytes(content)
    except OSError as error:
        raise UsageError(f"{flag} {path}: {error.strerror}; expected a place to write to: mend it") from None
