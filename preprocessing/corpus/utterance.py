"""Utterance, what was set aside, and the corpus of both: plain data, read by every reader and used by every stage."""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, replace

from torch import Tensor

from preprocessing import audio
from preprocessing.audio import StoredAudio
from preprocessing.cli.errors import InputError

DURATION_SECONDS, DURATION_SHARE = 0.1, 0.02  # how far a stated duration may be off, whichever is more


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a long recording and what was said in it; seconds into `Utterance.audio`."""

    start: float
    stop: float
    text: str


@dataclass(frozen=True, slots=True)
class Utterance:
    """One stretch of speech and what was said. `text` is raw; `start` and `stop` are seconds into `audio`."""

    id: str
    audio: StoredAudio
    text: str
    duration: float  # seconds, of the part between start and stop
    speaker: str | None = None
    sex: str | None = None  # "F" and "M" where the corpus says so in any of the usual words
    language: str | None = None
    domain: str | None = None
    start: float = 0.0
    stop: float | None = None
    segments: tuple[Segment, ...] = ()  # of a long recording, where the corpus lists them

    def lasts(self, seconds: float) -> bool:
        """Whether audio of so many seconds is as long as `duration` says."""
        return abs(seconds - self.duration) <= max(DURATION_SECONDS, DURATION_SHARE * self.duration)


@dataclass(frozen=True, slots=True)
class Reject:
    """What was set aside: where it stands (file and line, or the utterance's id) and why, in one sentence."""

    where: str
    reason: str


@dataclass(frozen=True)
class Corpus:
    """What a reference held: utterances in their order, and what could not be one."""

    reference: str
    utterances: tuple[Utterance, ...]
    rejects: tuple[Reject, ...]

    @property
    def seconds(self) -> float:
        return sum(utterance.duration for utterance in self.utterances)

    def whole(self) -> "Corpus":
        """Itself. Raises InputError when anything was set aside or a file is missing: a benchmark drops nothing."""
        rejects = self.rejects or tuple(missing_files(self.utterances))
        if rejects:
            first, more = rejects[0], len(rejects) - 1
            also = f" ({more} more like it)" if more else ""
            raise InputError(f"{first.where}: {first.reason}{also}")
        return self

    def first(self, count: int | None) -> "Corpus":
        return self if count is None else replace(self, utterances=self.utterances[:count])


def missing_files(utterances: Iterable[Utterance]) -> list[Reject]:
    """The utterances whose audio is no readable file, each file asked for once and none opened.

    A manifest that gives durations is opened without touching its audio; this is the cheap check made up for later.
    """
    reasons: dict[str, str | None] = {}
    rejects = []
    for utterance in utterances:
        if isinstance(utterance.audio, bytes):
            continue
        path = os.fspath(utterance.audio)
        if path not in reasons:
            reasons[path] = _missing(path)
        reason = reasons[path]
        if reason is not None:
            rejects.append(Reject(utterance.id, f"{path!r}"[1:-1] + f": {reason}"))
    return rejects


def _missing(path: str) -> str | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return "no such file; expected an audio file: mend the path"
    except (OSError, ValueError) as error:
        told = error.strerror if isinstance(error, OSError) else str(error)
        return f"{told}; expected a readable audio file: mend the path or its permissions"
    if stat.S_ISDIR(found.st_mode):
        return "is a folder; expected an audio file: name a file in it"
    return None if found.st_size else "empty file; expected audio: fetch it again"


def load_waveform(utterance: Utterance) -> Tensor:
    """The utterance's part of its audio, under the waveform contract [samples].

    Raises InputError when it cannot be decoded, or is not as long as the utterance says: batches are planned by that,
    and memory with them.
    """
    waveform = audio.load(utterance.audio, start=utterance.start, stop=utterance.stop)
    seconds = len(waveform) / audio.SAMPLE_RATE
    if not utterance.lasts(seconds):
        raise InputError(
            f"manifest says {utterance.duration:.2f} s, the audio holds {seconds:.2f} s; expected the two within "
            f"{DURATION_SECONDS:g} s or {DURATION_SHARE:.0%}: mend 'duration', or leave it out to have it read"
        )
    return waveform
