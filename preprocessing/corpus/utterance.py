"""Utterance, Segment, Reject and Corpus: the plain data that every reader makes and every stage takes."""

import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, TypeAlias

from preprocessing import audio
from preprocessing.audio import StoredAudio
from preprocessing.audio.contract import file_not_found
from preprocessing.cli.notes import note_once
from preprocessing.errors import InputError, counted

if TYPE_CHECKING:
    from torch import Tensor

# How far a stated duration may be off, whichever is more.
DURATION_TOLERANCE_SECONDS, DURATION_TOLERANCE_SHARE = 0.1, 0.02


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a recording, or one word of it, and what was said in it; seconds into `Utterance.audio`."""

    start: float
    stop: float
    text: str


@dataclass(frozen=True, slots=True)
class Utterance:
    """One stretch of speech and its transcript; None where a corpus does not say."""

    id: str
    audio: StoredAudio  # a path, or the encoded bytes of a file
    text: str  # raw: profiles of preprocessing.text normalise it
    duration: float  # seconds, of the part between start and stop
    speaker: str | None = None
    sex: str | None = None  # F or M, or the corpus's own word where it is none of the usual ones
    language: str | None = None
    domain: str | None = None
    start: float = 0.0  # seconds into `audio`
    stop: float | None = None  # seconds into `audio`; None is its end
    segments: tuple[Segment, ...] = ()  # of a long recording, where the corpus lists them
    words: tuple[Segment, ...] = ()  # with their true times, where the corpus knows them
    channel: int | None = None  # of `audio`, from 0, that it is spoken in; None: all are mixed
    recording_id: str | None = None  # of the recording that it is from; None: that is `audio`
    columns: tuple[tuple[str, str], ...] = ()  # further ones of the corpus that were asked for, with their values

    @property
    def is_whole_file(self) -> bool:
        """Whether it is all of its audio, of a channel or of all."""
        return self.start == 0.0 and self.stop is None

    def has_duration(self, seconds: float) -> bool:
        """Whether `seconds` equals `duration` within 0.1 s or 2 %, whichever is more."""
        tolerance = max(DURATION_TOLERANCE_SECONDS, DURATION_TOLERANCE_SHARE * self.duration)
        return abs(seconds - self.duration) <= tolerance


def manifest_fields(utterance: Utterance) -> dict[str, Any]:
    """The fields of a manifest line that is read as the same utterance, without those that say nothing.

    >>> manifest_fields(Utterance("a", "a.wav", "ONE", 1.5, start=2.0, channel=1))
    {'id': 'a', 'audio': 'a.wav', 'text': 'ONE', 'duration': 1.5, 'start': 2.0, 'channel': 1}

    Raises InputError where its audio is in no file.
    """
    if isinstance(utterance.audio, bytes):
        raise InputError(f"{utterance.id}: its audio is in no file; expected a path: save it, then name its file")
    values = {field.name: getattr(utterance, field.name) for field in fields(utterance)}
    values["audio"] = os.fspath(utterance.audio)
    values = dict(values.pop("columns")) | values
    if utterance.is_whole_file:
        del values["start"]
    values["segments"] = [asdict(segment) for segment in utterance.segments] or None
    words = [{"word": word.text, "start": word.start, "end": word.stop} for word in utterance.words]
    values["words"] = words or None
    return {key: value for key, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Reject:
    """A line or utterance that cannot be used."""

    where: str  # file:line, or the utterance's id
    reason: str  # one sentence


@dataclass(frozen=True)
class Corpus:
    """The utterances of a reference in their order, and the lines that could not be one.

    wrong_durations: ids of the utterances whose stated duration was not their file's, where that was looked at.
    unread: how many rows a limit has left unread; None where that is not known.
    """

    reference: str
    utterances: tuple[Utterance, ...]
    rejects: tuple[Reject, ...]
    wrong_durations: tuple[str, ...] = ()
    unread: int | None = 0

    @property
    def whole(self) -> int | None:
        """How many utterances there are, where some are unread; None where none is, or it is not known."""
        return len(self.utterances) + self.unread if self.unread else None

    @property
    def seconds(self) -> float:
        """The sum of all durations."""
        return sum(utterance.duration for utterance in self.utterances)

    @property
    def duration_note(self) -> str:
        """A sentence that stated durations were not the files', which are counted instead; "" where all were."""
        if not self.wrong_durations:
            return ""
        return (
            f"{self.reference}: the stated duration of {counted(len(self.wrong_durations), 'utterance')}, such as "
            f"{self.wrong_durations[0]!r}, is not the file's; counted by the files"
        )

    @property
    def same_audio_note(self) -> str:
        """A sentence that utterances are the same part of the same file as others with another text; "" where none is.

        Audio that is in no file is not looked at.
        """
        others: dict[tuple[str, float, float | None, int | None], Utterance] = {}
        differing: dict[str, Utterance] = {}  # by id, with the first utterance of the same audio
        for one in self.utterances:
            if isinstance(one.audio, bytes):
                continue
            first = others.setdefault((os.fspath(one.audio), one.start, one.stop, one.channel), one)
            if first is not one and first.text.split() != one.text.split():
                differing[one.id] = first
        if not differing:
            return ""
        id, first = next(iter(differing.items()))
        part = "part" if first.start or first.stop is not None else "whole file"
        return (
            f"{self.reference}: {counted(len(differing), 'utterance')}, such as {id!r} and {first.id!r}, have the same "
            f"{part} as another one has, and another text; each text is taken for all that is said in it: give the "
            "parts' times as 'start' and 'stop' where they are of one recording"
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what may be wrong with the corpus, and is used all the same."""
        return tuple(filter(None, (self.duration_note, self.same_audio_note)))

    def print_notes(self) -> None:
        """Say each of `notes` once, on stderr."""
        for note in self.notes:
            note_once(note, note)

    def require_complete(self) -> "Corpus":
        """The corpus itself. Raises InputError when anything was set aside or an audio file is missing.

        For a benchmark, which drops no utterance.
        """
        rejects = self.rejects or tuple(missing_files(self.utterances))
        if rejects:
            first, more = rejects[0], len(rejects) - 1
            also = f" ({more} more like it)" if more else ""
            raise InputError(f"{first.where}: {first.reason}{also}")
        return self


def missing_files(utterances: Iterable[Utterance]) -> list[Reject]:
    """A Reject for each utterance whose audio is no readable file. Each path is looked up once, and none is opened.

    `open_corpus` does not look at audio whose duration the corpus states; this is the check to make before using it.
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
        status = os.stat(path)
    except FileNotFoundError:
        return file_not_found(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return f"{reason}; expected a readable audio file: correct the path or its permissions"
    if stat.S_ISDIR(status.st_mode):
        return "is a folder; expected an audio file: name a file in it"
    return None if status.st_size else "empty file; expected audio: fetch it again"


Load: TypeAlias = Callable[..., "Tensor"]  # `audio.load`, or one that takes and returns the same


def load_part(utterance: Utterance, load: Load | None = None) -> "Tensor":
    """The utterance's part and channel of its audio, as `audio.load` (or `load`) gives it, however long it is."""
    return (load or audio.load)(utterance.audio, start=utterance.start, stop=utterance.stop, channel=utterance.channel)


def load_waveform(utterance: Utterance, load: Load | None = None) -> "Tensor":
    """The utterance's part of its audio: float32 [samples] at 16 kHz, as `audio.load` (or `load`) gives it.

    Raises InputError when it cannot be decoded, or is not as long as the utterance says (`has_duration`): batches are
    planned by duration, and memory with them.
    """
    waveform = load_part(utterance, load)
    seconds = len(waveform) / audio.SAMPLE_RATE
    if not utterance.has_duration(seconds):
        tolerance = f"{DURATION_TOLERANCE_SECONDS:g} s or {DURATION_TOLERANCE_SHARE:.0%}"
        raise InputError(
            f"manifest says {utterance.duration:.2f} s, the audio holds {seconds:.2f} s; expected the two within "
            f"{tolerance}: correct 'duration', or leave it out to have it read"
        )
    return waveform
