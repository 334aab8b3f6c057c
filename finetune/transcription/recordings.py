"""The recordings that a command line names: files, folders and standard input, their names, and pieces of long ones."""

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from preprocessing.errors import InputError, UsageError
from preprocessing.storage.file_identity import file_state

if TYPE_CHECKING:
    from torch import Tensor

    from preprocessing.audio import AudioSource

STDIN = "-"
VIDEO_SUFFIXES = frozenset(
    (".avi", ".flv", ".m2ts", ".m4v", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".wmv")
)  # of a folder's files, beside those of audio; a file that is named itself may have any suffix


@dataclass(frozen=True)
class Recording:
    """A recording to transcribe.

    source: its file, or standard input as a temporary file. name: of its results, without suffix; of a file in a folder
    with the folders below that, "monday/call-1". shown: what messages call it. channel: from 0; None: all are mixed.
    n_channels: how many its file must have; None: any number.
    """

    source: "Path | BinaryIO"
    name: str
    shown: str
    channel: int | None = None
    n_channels: int | None = None

    @property
    def identity(self) -> str | None:
        """Path, size and time of change as they are now; None of standard input, which cannot be known again, and of a
        file that is gone.
        """
        if not isinstance(self.source, Path) or (state := file_state(self.source)) is None:
            return None
        n_bytes, changed = state
        return f"{self.source.resolve()}|{n_bytes}|{changed}"


def find_recordings(inputs: Sequence[str]) -> list[Recording]:
    """The recordings of files, folders (all levels; hidden files are left out) and "-", in the order given.

    Raises UsageError where one does not exist, a folder holds no audio, or standard input is named twice.
    """
    found: list[Recording] = []
    for given in inputs:
        path = Path(given)
        if given == STDIN:
            if any(not isinstance(one.source, Path) for one in found):
                raise UsageError("- occurs twice; expected standard input once: leave one out")
            found.append(Recording(_standard_input(), "stdin", "standard input"))
        elif path.is_dir():
            in_folder = list(_of_folder(path))
            if not in_folder:
                raise UsageError(
                    f"{given}: the folder holds no audio or video file; expected one or more: name another"
                )
            found += in_folder
        elif path.exists():
            found.append(Recording(path, path.stem, given))
        else:
            raise UsageError(f"{given}: no such file or folder; expected recordings: check the name")
    return found


def check_names(recordings: Sequence[Recording]) -> None:
    """Raises UsageError where the results of two recordings would have one name, also where only the case differs."""
    seen: dict[str, Recording] = {}
    for recording in recordings:
        other = seen.setdefault(recording.name.casefold(), recording)
        if other is not recording:
            raise UsageError(
                f"{other.shown} and {recording.shown} have the same name, {recording.name}; expected different names, "
                "as results are named after recordings: rename one, or transcribe them into two folders"
            )


def check_paths(recordings: Sequence[Recording]) -> None:
    """Raises UsageError where the path of a recording is not UTF-8, as that of a manifest is."""
    for recording in recordings:
        try:
            str(recording.source).encode()
        except UnicodeEncodeError:
            raise UsageError(
                f"{recording.shown}: the path is not UTF-8; expected one that a manifest can name: rename it"
            ) from None


def pieces(
    source: "AudioSource", longest_seconds: float, channel: int | None = None, ends: Sequence[float] = ()
) -> "Iterator[tuple[float, Tensor]]":
    """A recording's waveform [samples] in pieces of at most `longest_seconds`, each with the seconds it begins at.

    A longer recording is cut at pauses (`preprocessing.segment.voice_activity`), and two pieces are held at most,
    however long it is. ends: the seconds at which the first pieces end, where that is known: they are cut there without
    a search for pauses. Raises AudioError like `preprocessing.audio.load`.
    """
    import torch

    from preprocessing import audio
    from preprocessing.segment.voice_activity import split_at_pauses

    longest = round(longest_seconds * audio.SAMPLE_RATE)
    known = [round(end * audio.SAMPLE_RATE) for end in reversed(ends)]
    held: list[Tensor] = []
    n_held, begin = 0, 0
    for block in audio.stream(source, channel=channel):
        held.append(block)
        n_held += len(block)
        while n_held > longest:
            together = held[0] if len(held) == 1 else torch.cat(held)
            held = []
            stop = known.pop() - begin if known else split_at_pauses(together, longest_seconds)[0].stop
            piece, held = together[:stop].clone(), [together[stop:].clone()]
            del together  # before what is done with the piece
            yield begin / audio.SAMPLE_RATE, piece
            del piece
            begin, n_held = begin + stop, n_held - stop
    if n_held:
        yield begin / audio.SAMPLE_RATE, torch.cat(held)


def _of_folder(folder: Path) -> Iterator[Recording]:
    from preprocessing.corpus.readers.rows import AUDIO_SUFFIXES, files_below

    for name in files_below(str(folder)):
        path = Path(name)
        below = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in below.parts)
        if not hidden and path.suffix.lower() in AUDIO_SUFFIXES | VIDEO_SUFFIXES:
            yield Recording(path, str(below.with_suffix("")), str(path))


def _standard_input() -> BinaryIO:
    """Standard input in a temporary file, as decoders must seek. Raises UsageError where it is a terminal."""
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("- is standard input, which is a terminal here; expected audio in a pipe: name a file instead")
    file = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the process)
    try:
        shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
        if file.tell() == 0:
            raise InputError("standard input is empty; expected audio: check the command before the pipe")
        file.seek(0)
    except OSError as error:
        raise UsageError(
            f"standard input cannot be kept in {tempfile.gettempdir()}: {error.strerror}; expected free disk space "
            "there: free some, or set TMPDIR"
        ) from None
    return file
