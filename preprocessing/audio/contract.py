"""The numbers of the waveform contract, the sources of audio, and the interface of a decoder. No decoding."""

import io
import os
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from preprocessing.errors import InputError

SAMPLE_RATE = 16_000  # samples per second: what wav2vec 2.0 and Whisper were trained on
PCM_STEPS = 32_768  # 16-bit PCM: a sample is k / 32768 with k in [-32768, 32767]
MAX_SAMPLE_RATE = 384_000  # the highest rate of any converter sold; a header that says more is wrong
# The resampling filter reaches no further on either side of a sample: 20 ms of the source, and more below 8 kHz.
FILTER_SECONDS, FILTER_SAMPLES = 0.02, 160
TAIL_SECONDS = 0.1  # of the length in a header that may be missing: less than a short word
HEAD_BYTES = 64  # read of each source, to choose its decoder

StoredAudio: TypeAlias = str | os.PathLike[str] | bytes  # what a corpus holds and another process can be sent
AudioSource: TypeAlias = StoredAudio | BinaryIO
Samples: TypeAlias = NDArray[np.float32]  # [samples, channels] of a decoder, full scale being 1


def filter_margin(rate: int) -> int:
    """The samples of a source at this rate that a part's resampling needs on either side of the part.

    >>> filter_margin(44_100), filter_margin(4_000), filter_margin(16_000)
    (882, 160, 0)
    """
    return 0 if rate == SAMPLE_RATE else max(round(FILTER_SECONDS * rate), FILTER_SAMPLES)


def gathered(blocks: Iterator[NDArray[np.float32]], n_samples: int) -> Iterator[NDArray[np.float32]]:
    """The same samples in blocks of `n_samples` or a few more along the first axis, the last one shorter."""
    held: list[NDArray[np.float32]] = []
    n_held = 0
    for block in blocks:
        held.append(block)
        n_held += len(block)
        if n_held >= n_samples:
            yield np.concatenate(held)
            held, n_held = [], 0
    if held:
        yield np.concatenate(held)


class AudioError(InputError):
    """Audio that cannot be used: one sentence naming the file, what was found, what was expected and the remedy."""


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """The facts in a file's header."""

    sample_rate: int  # samples per second and channel
    n_channels: int
    n_samples: int  # per channel; of a decoder 0 where the container does not say, or estimates it
    codec: str

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.n_samples / self.sample_rate


@dataclass(frozen=True, slots=True)
class OpenedSource:
    """A readable source that is not empty."""

    name: str  # for messages
    file: str | BinaryIO  # a path, or a seekable file at its start
    head: bytes  # the first HEAD_BYTES

    @property
    def may_be_mp3(self) -> bool:
        """Whether it begins with an ID3v2 tag, or with the header of a frame of MPEG layer III: eleven bits of sync,
        then a version and a layer that exist (ADTS has layer 0).
        """
        head = self.head
        return head[:3] == b"ID3" or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2)

    def rewound(self) -> str | BinaryIO:
        """`file` at its start again, for another reader."""
        if not isinstance(self.file, str):
            self.file.seek(0)
        return self.file

    @contextmanager
    def binary(self) -> Iterator[BinaryIO]:
        """Yield a file to read its bytes from, at any place; an open file is at its start afterwards."""
        if isinstance(self.file, str):
            with open(self.file, "rb", buffering=0) as file:
                yield file
        else:
            yield self.file
            self.file.seek(0)


class Decoder(Protocol):
    """The samples of one opened source, at its own rate and with its own channels."""

    info: AudioInfo
    is_pcm16: bool  # every sample is a 16-bit integer already

    @property
    def can_seek(self) -> bool:
        """Whether `blocks` from a later sample on decodes about that part alone, not all from the beginning."""

    def blocks(self, first: int, last: int | None, n_samples: int) -> Iterator[Samples]:
        """Yield blocks [samples, channels] of samples first to last - 1 (None: to the end), in order.

        n_samples: length of a block; a decoder may yield the codec's own blocks instead.
        Raises AudioError on damage, and when the file ends before the length in its header.
        """

    def count_samples(self) -> int:
        """Samples per channel of a source just opened whose container does not say: it is read, or decoded, to its end.

        Raises AudioError on damage.
        """


def describe_source(source: AudioSource) -> str:
    """The name of a source in messages: its path, or its size when it is bytes; always one line."""
    if isinstance(source, bytes):
        return f"<{len(source)} bytes of audio>"
    if isinstance(source, str | os.PathLike):
        return repr(os.fspath(source))[1:-1]
    name = getattr(source, "name", None)
    return f"<open file {name!r}>" if isinstance(name, str) else "<open file>"


def open_source(source: AudioSource) -> OpenedSource:
    """The source, opened and its first bytes read; an open file that can seek is read from its beginning.

    Raises AudioError when it is missing, empty, unreadable or no regular file.
    """
    name = describe_source(source)
    if isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        return OpenedSource(name, path, _head_of_path(name, path))
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


def truncation_error(opened: OpenedSource, found_seconds: float, expected_seconds: float) -> AudioError:
    """The error for a file that ends before the length in its header."""
    return AudioError(
        f"{opened.name}: ends after {found_seconds:.2f} s; expected the {expected_seconds:.2f} s that its header "
        "states: fetch it again, or save the readable part with an audio editor"
    )


def damage_error(opened: OpenedSource, reason: object, at_seconds: float) -> AudioError:
    """The error for a file that cannot be decoded from `at_seconds` on."""
    return AudioError(
        f"{opened.name}: damaged after {at_seconds:.2f} s ({one_line(reason)}); expected samples that can be decoded: "
        "fetch it again"
    )


def one_line(reason: object) -> str:
    """A message, or that of an error of the system or a library, on one line, without its full stop; the name of its
    type where it is empty.
    """
    message = getattr(reason, "strerror", None) or getattr(reason, "error_string", None) or reason
    return " ".join(str(message).split()).rstrip(".") or type(reason).__name__


def _opened_file(name: str, file: BinaryIO) -> OpenedSource:
    file.seek(0)
    head = file.read(HEAD_BYTES)
    if not isinstance(head, bytes):
        raise AudioError(f"{name}: is open as text; expected a binary file: open it with 'rb'")
    if not head:
        raise AudioError(f"{name}: empty; expected an audio file: fetch it again")
    file.seek(0)
    return OpenedSource(name, file, head)


def file_not_found(path: str) -> str:
    """What is wrong with a path to audio that does not exist, and what to do."""
    if Path(path).is_symlink():
        return "is a broken link; expected an audio file: correct the path"
    if any(os.path.exists(unicodedata.normalize(form, path)) for form in ("NFC", "NFD")):
        return (
            "no such file, but one whose name has its accents in another Unicode form, as macOS writes them; expected "
            "the same form: rename the file, or name it in that form"
        )
    return "no such file; expected an audio file: correct the path"


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
        raise AudioError(f"{name}: {file_not_found(path)}") from None
    except OSError as error:
        raise AudioError(f"{name}: {error.strerror}; expected a readable audio file: change its permissions") from None
    except ValueError:  # a NUL in the name
        raise AudioError(f"{name}: is not a valid file name; expected a path: correct it") from None
    if not head:
        raise AudioError(f"{name}: empty file; expected audio: fetch it again")
    return head
