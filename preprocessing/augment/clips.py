"""The audio files that an augmentation draws from: found once in a fixed order, the latest decoded kept in memory."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

from preprocessing.errors import UsageError

AUDIO_SUFFIXES = (".aif", ".aiff", ".flac", ".m4a", ".mp3", ".ogg", ".opus", ".wav", ".webm")  # of a folder's files

Files: TypeAlias = str | Path | Sequence[str | Path]
Clip = TypeVar("Clip")


def find_audio(name: str, files: Files, root: Path | None) -> list[Path]:
    """The audio files that `files` names, in an order that depends on their names alone.

    name: the augmentation, for messages. files: files and folders, which are searched to the bottom; relative ones
    start at `root`, or at the current folder. Raises UsageError where one does not exist or none is audio.
    """
    listed = [files] if isinstance(files, (str, Path)) else files
    if not isinstance(listed, (list, tuple)) or not listed or not all(isinstance(one, (str, Path)) for one in listed):
        raise UsageError(f"augmentation {name}: files is {files!r}; expected a path or a list of paths: name one")
    found: list[Path] = []
    for path in ((root or Path()) / Path(one) for one in listed):
        if path.is_dir():
            inside = (child for child in path.rglob("*") if child.suffix.lower() in AUDIO_SUFFIXES and child.is_file())
            found.extend(sorted(inside, key=lambda child: child.relative_to(path).as_posix()))
        elif path.is_file():
            found.append(path)
        else:
            raise UsageError(f"augmentation {name}: files names {path}; expected a file or folder there: mend the path")
    if not found:
        raise UsageError(f"augmentation {name}: no audio file in {files!r}; expected at least one: name another folder")
    return found


class RecentClips(Generic[Clip]):
    """`read(path)`, remembered for the paths asked for last, up to a bound on memory.

    read: decodes a path. n_bytes: the memory that a decoded clip takes; one beyond the bound is never kept.
    A copy sent to another process starts empty.
    """

    def __init__(self, read: Callable[[Path], Clip], n_bytes: Callable[[Clip], int], max_bytes: int) -> None:
        self._read = read
        self._n_bytes = n_bytes
        self._max_bytes = max_bytes
        self._clips: OrderedDict[Path, Clip] = OrderedDict()
        self.held_bytes = 0

    def __getitem__(self, path: Path) -> Clip:
        if path in self._clips:
            self._clips.move_to_end(path)
            return self._clips[path]
        clip = self._read(path)
        if self._n_bytes(clip) <= self._max_bytes:
            self._clips[path] = clip
            self.held_bytes += self._n_bytes(clip)
            while self.held_bytes > self._max_bytes:
                self.held_bytes -= self._n_bytes(self._clips.popitem(last=False)[1])
        return clip

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_clips": OrderedDict(), "held_bytes": 0}
