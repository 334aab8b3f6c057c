"""Files that appear complete or not at all: written under a temporary name beside their own, then renamed.

`os.replace` is atomic within a file system: a reader sees the old file or the new one, also after a kill.
"""

import errno
import json
import math
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from preprocessing.errors import UsageError

TEMPORARY = re.compile(r"\..*\.[0-9a-f]{8}\.partial(\.[^.]*)?")  # names of `atomic_file`
UMASK = os.umask(0)
os.umask(UMASK)  # which cannot be read without being set
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # of OSError.errno


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; it replaces `path` when the block ends, and is removed when the block raises.

    The temporary name is hidden, in the same folder, unique to this call, and keeps the suffix, by which soundfile and
    matplotlib choose the format. The file has at least the permissions that the umask leaves, whatever has written it.
    """
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.partial{path.suffix}")
    try:
        yield temporary
        _permit(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def permit_readers(folder: Path) -> None:
    """Let all whom the umask allows read the files in a folder: safetensors and onnx write theirs for
    their owner alone.
    """
    for path in folder.iterdir():
        if path.is_file():
            _permit(path)


def _permit(path: Path) -> None:
    with suppress(OSError):  # a file system may have no permissions
        before = path.stat().st_mode & 0o777
        permissions = before | 0o666 & ~UMASK  # none is taken: an access list of the folder may give more
        if permissions != before:
            path.chmod(permissions)


def write_text_atomically(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, complete or not at all. OSError passes through."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def json_line(fields: Mapping[str, Any]) -> str:
    """A line of a .jsonl file, with its end; letters beyond ASCII stay readable.

    A number that is not finite is null, as JSON has none.

    >>> json_line({"loss": float("inf"), "rates": [0.5, float("nan")]})
    '{"loss": null, "rates": [0.5, null]}\\n'
    """
    return json.dumps(finite(fields), ensure_ascii=False, allow_nan=False) + "\n"


def finite(value: Any) -> Any:
    """The value with None in place of each number in it that is not finite."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {key: finite(inner) for key, inner in value.items()}
        case list() | tuple():
            return [finite(inner) for inner in value]
    return value


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a .jsonl file of a line for each row, complete or not at all. OSError passes through."""
    write_text_atomically(path, "".join(map(json_line, rows)))


def read_json_lines(path: Path, *, appended: bool = False) -> list[dict[str, Any]]:
    """The rows of a .jsonl file. OSError passes through, and ValueError of a line that is no JSON.

    appended: the file grows line by line while a program runs: there are no rows where it is not there yet, and a last
    line without its end, which a kill cut off, is left out.
    """
    if appended and not path.is_file():
        return []
    *lines, last = path.read_bytes().split(b"\n")  # bytes, as a kill may cut a letter off, too
    return [json.loads(line.decode("utf-8")) for line in ([*lines, last] if last and not appended else lines)]


def write_output(path: Path, flag: str, content: bytes) -> None:
    """Write `content` to the path that the option `flag` named, making its folder; complete or not at all.

    Raises UsageError naming flag and path where it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise UsageError(f"{flag} {path}: {error.strerror}; expected a writable path: change the path") from None
