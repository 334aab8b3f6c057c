"""The waveform contract's numbers, what may be given as audio, and what every decoder returns; no decoding here."""

import io
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from preprocessing.cli.errors import InputError

SAMPLE_RATE = 16_000  # samples per second: what wav2vec 2.0 and Whisper were trained on
PCM_STEPS = 32_768  # 16-bit PCM: a sample is k / 32768 with k in [-32768, 32767]
MAX_SAMPLE_RATE = 384_000  # the highest rate of any converter sold; above it, a header lies
TAIL_SECONDS = 0.1  # what may be missing of what a header promises: less than a short word


class AudioError(InputError):
    """Audio that cannot be used: one sentence naming the file, what was found, what was expected, what to do."""


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What a file's header says, before any decoding."""

    sample_rate: int  # samples per second and channel
    n_channels: int
    n_samples: int  # per channel; 0 where the container does not say
    codec: str

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.n_samples / self.sample_rate


StoredAudio: TypeAlias = str | os.PathLike[str] | bytes  # what a corpus can hold and a process hand on
AudioSource: TypeAlias = StoredAudio | BinaryIO

HEAD_BYTES = 64


@dataclass(frozen=True, slots=True)
class Opened:
    """A readable, non-empty source."""

    name: str  # for messages
    file: str | BinaryIO  # what both decoders take: a path, or a seekable file at its start
    head: bytes  # the first HEAD_BYTES

    def reopened(self) -> str | BinaryIO:
        """The same for another reader."""
        if not isinstance(self.file, str):
            self.file.seek(0)
        return self.file


def describe_source(source: AudioSource) -> str:
    """How messages name a source: its path, or its size when it is bytes; always one line."""
    if isinstance(source, bytes):
        return f"<{len(source)} bytes of audio>"
    if isinstance(source, str | os.PathLike):
        return repr(os.fspath(source))[1:-1]
    name = getattr(source, "name", None)
    return f"<open file {name!r}>" if isinstance(name, str) else "<open file>"


def open_source(source: AudioSource) -> Opened:
    """Raises AudioError where there is nothing to read. An open file is read from its beginning where it can seek."""
    name = describe_source(source)
    if isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        return Opened(name, path, _head_of_path(name, path))
    if isinstance(source, bytes):
        return _opened_file(name, io.BytesIO(source))
    try:
        if source.seekable():
            return _opened_file(name, source)
        content = source.read()
    except (OSError, ValueError, AttributeError) as error:
        raise AudioError(f"{name}: cannot be read ({error}); expected audio: open it for reading") from None
    if not isinstance(content, bytes):
        raise AudioError(f"{name}: is open as text; expected a binary file: open it with 'rb'")
    return _opened_file(name, io.BytesIO(content))


def _opened_file(name: str, file: BinaryIO) -> Opened:
    file.seek(0)
    head = file.read(HEAD_BYTES)
    if not isinstance(head, bytes):
        raise AudioError(f"{name}: is open as text; expected a binary file: open it with 'rb'")
    if not head:
        raise AudioError(f"{name}: empty; expected an audio file: fetch it again")
    file.seek(0)
    return Opened(name, file, head)


def _head_of_path(name: str, path: str) -> bytes:
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise AudioError(f"{name}: is a folder; expected an audio file: name a file in it")
        if not stat.S_ISREG(mode):
            raise AudioError(f"{name}: is a pipe or device; expected a regular file: open it and pass the open file")
        with open(path, "rb", buffering=0) as file:
            head = file.read(HEAD_BYTES)
    except FileNotFoundError:
        what = "is a link to nothing" if Path(path).is_symlink() else "no such file"
        raise AudioError(f"{name}: {what}; expected an audio file: mend the path") from None
    except OSError as error:
        raise AudioError(f"{name}: {error.strerror}; expected a readable audio file: mend its permissions") from None
    except ValueError:  # a NUL in the name
        raise AudioError(f"{name}: no file can have this name; expected a path: mend it") from None
    if not head:
        raise AudioError(f"{name}: empty file; expected audio: fetch it again")
    return head


Samples = NDArray[np.float32]


class Decoder(Protocol):
    """What the decoders have in common."""

    info: AudioInfo
    on_grid: bool  # every sample is a 16-bit integer already

    def blocks(self, first: int, last: int | None, n_samples: int) -> Iterator[Samples]:
        """Blocks [samples, channels] between two sample indices, `n_samples` long or as the format has them.

        Raises AudioError on damage, and when the file ends before its header says.
        """


def truncated(opened: Opened, found_seconds: float, promised_seconds: float) -> AudioError:
    """The sentence for a file that ends too early."""
    return AudioError(
        f"{opened.name}: ends after {found_seconds:.2f} s; expected the {promised_seconds:.2f} s that its header "
        "promises: fetch it again, or cut it to what is there with a sound editor"
    )


def damaged(opened: Opened, reason: object, at_seconds: float) -> AudioError:
    return AudioError(
        f"{opened.name}: damaged after {at_seconds:.2f} s ({one_line(reason)}); expected samples that can be decoded: "
        "fetch it again"
    )


def one_line(reason: object) -> str:
    return " ".join(str(reason).split()).rstrip(".") or type(reason).__name__
