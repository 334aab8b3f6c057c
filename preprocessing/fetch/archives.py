"""Reading what was downloaded: files out of an archive, checked against the id that git gives to their folder.

A host of repositories publishes no checksum of the archives that it makes; the tree id of a commit is one of the
content.
"""

import hashlib
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from preprocessing.errors import InputError, first_line


def read_members(archive: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, int, bytes]]:
    """Yield (path below the archive's top folder, mode, content) of the regular files that are wanted, in their order.

    A path that leaves the archive's folder is refused, links are left out.
    Raises InputError where it is no readable tar archive; the caller removes it (`fill.fetch`).
    """
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts:
                    raise InputError(f"{archive}: holds {member.name!r}, outside of its folder; expected a data set")
                name = "/".join(path.parts[1:])
                if member.isreg() and wanted(name):
                    stream = tar.extractfile(member)
                    assert stream is not None  # of a regular file
                    yield name, member.mode, stream.read()
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's
        # tarfile's message has a line for each compression.
        reason = first_line(error).rstrip(":")
        raise InputError(
            f"{archive}: not a complete tar archive ({reason}); expected the data set's archive: it has been removed, "
            "run the same command again"
        ) from None


class GitTree:
    """The id of a folder as git computes it, from its files (git's documentation: "Git Objects")."""

    def __init__(self) -> None:
        self._root: dict[str, object] = {}

    def add(self, path: str, mode: int, content: bytes) -> None:
        """Add a file by its path below the folder, with slashes; of the mode only the executable bit counts."""
        *folders, name = path.split("/")
        place = self._root
        for folder in folders:
            place = place.setdefault(folder, {})  # type: ignore[assignment]
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).digest()
        place[name] = (b"100755" if mode & 0o100 else b"100644", blob)

    def id(self) -> str:
        """40 hexadecimal digits."""
        return _tree(self._root).hex()

    def check(self, expected: str, source: str) -> None:
        """Raises InputError where the id is another one."""
        if self.id() != expected:
            raise InputError(
                f"{source}: the folder's git tree is {self.id()}; expected {expected}: the archive is damaged or was "
                "replaced; it has been removed: run the same command again"
            )


def _tree(place: dict[str, object]) -> bytes:
    entries = []
    for name, entry in place.items():
        if isinstance(entry, dict):
            entries.append((f"{name}/".encode(), b"40000 %s\0" % name.encode(), _tree(entry)))
        else:
            assert isinstance(entry, tuple)
            entries.append((name.encode(), b"%s %s\0" % (entry[0], name.encode()), entry[1]))
    body = b"".join(header + digest for _, header, digest in sorted(entries))
    return hashlib.sha1(b"tree %d\0" % len(body) + body, usedforsecurity=False).digest()
