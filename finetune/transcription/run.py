"""Recordings through a system: short ones in batches of like duration, long ones piece by piece, with time left.

The files of the next batch are decoded while the model computes. A recording that fails costs one line.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.console import Console

from finetune.systems.base import System
from finetune.systems.transcript import Transcript, joined
from finetune.transcription.kept_pieces import KeptPieces
from finetune.transcription.notes import missed_speech
from finetune.transcription.recordings import Recording, pieces
from finetune.transcription.results import Results
from preprocessing import audio
from preprocessing.audio import SAMPLE_RATE, AudioError, AudioSource
from preprocessing.augment.denoise import SpectralGate
from preprocessing.batching import plan_batches
from preprocessing.cli.progress import CappedProgress, Steps
from preprocessing.errors import UserError, counted, described, printable

if TYPE_CHECKING:
    from torch import Tensor

BATCH_SECONDS = {"cpu": 240.0, "cuda": 1920.0}  # of audio given to a system at once
WINDOW = 1000  # recordings that are sorted by duration together: results come in order of the windows


@dataclass(frozen=True)
class Timed:
    """A recording, its place among those to do, and the seconds that its header states."""

    place: int
    recording: Recording
    seconds: float


@dataclass(frozen=True)
class Done:
    """A transcript, with the recording's seconds and, where it was not read in pieces, its waveform [samples]."""

    transcript: Transcript
    seconds: float
    waveform: "Tensor | None" = None


@dataclass(frozen=True)
class Failed:
    """Why there is no waveform, or no transcript, in a sentence."""

    reason: str


Outcome = Done | Failed
Cleaning = Callable[["Tensor"], "Tensor"]


def transcribe(
    system: System,
    recordings: Sequence[Recording],
    results: Results,
    console: Console,
    *,
    words: bool,
    device: str,
    language: str | None = None,
    denoise: bool = False,
) -> int:
    """Transcribe the recordings into `results`; returns how many failed.

    words: whether their times are wanted. language: that of the speech, of systems that do not say it themselves.
    denoise: stationary noise is taken out first, of a long recording piece by piece.

    Raises UserError where results cannot be written.
    """
    reporter = _Reporter(system, results, console, language)
    clean = SpectralGate() if denoise else as_it_is
    timed = []
    for place, recording in enumerate(recordings):
        try:
            info = audio.probe(recording.source)
        except AudioError as error:
            reporter.failed(place, recording, _unreadable(recording, error))
            continue
        if recording.n_channels in (None, info.n_channels):
            timed.append(Timed(place, recording, info.duration))
        else:
            expected = f"{recording.n_channels}, as many as --speakers names"
            found = counted(info.n_channels, "channel")
            reporter.failed(place, recording, Failed(f"{found}; expected {expected}: name each one's speaker"))
    total = max(round(sum(planned.seconds for planned in timed)), 1)
    with (
        Steps(console, 1, "s of audio").step("transcribing", total) as advance,
        ThreadPoolExecutor(1, "decoding") as decoder,
    ):
        count = CappedProgress(advance)
        for batch, loaded in _loaded_ahead(_planned(system, timed, device), system, decoder, clean):
            count.begin(sum(planned.seconds for planned in batch))
            if loaded is None:
                long = batch[0]
                longest = system.longest_piece_seconds
                kept = results.kept_pieces(long.recording, longest) if long.seconds > longest else None
                if kept is not None and kept.found:
                    reporter.resumed(long.recording, kept.found[-1][0])
                outcomes = [_transcribe_long(system, long, clean, kept, words=words, count=count)]
            else:
                outcomes = _transcribe_batch(system, loaded, words=words, advance=count)
            for planned, outcome in zip(batch, outcomes, strict=True):
                if isinstance(outcome, Failed):
                    reporter.failed(planned.place, planned.recording, outcome)
                else:
                    reporter.done(planned.place, planned.recording, outcome)
            count.end()
    return reporter.n_failed


class _Reporter:
    """Writes outcomes into `results` and prints what is to be said of them.

    language: of the transcripts that name none. n_failed: how many recordings failed so far.
    """

    def __init__(self, system: System, results: Results, console: Console, language: str | None) -> None:
        self.n_failed = 0
        self._system = system
        self._results, self._console, self._language = results, console, language
        self._printed: set[str] = set()  # of several channels of a recording, each fails for the same reason

    def failed(self, place: int, recording: Recording, outcome: Failed) -> None:
        self.n_failed += 1
        self._results.write(place, recording, None, 0.0)
        reason = outcome.reason
        line = reason if reason.startswith(recording.shown) else f"{recording.shown}: {reason}"
        if line not in self._printed:
            self._printed.add(line)
            self._print(line)

    def resumed(self, recording: Recording, seconds: float) -> None:
        self._print(f"{_with_channel(recording)}: resuming after {seconds:.0f} s")

    def done(self, place: int, recording: Recording, outcome: Done) -> None:
        transcript = outcome.transcript
        missed = None if outcome.waveform is None else missed_speech(outcome.waveform, transcript, self._system)
        if missed is not None:
            self._print(f"note: {_with_channel(recording)}: {missed}")
        transcript = replace(transcript, language=transcript.language or self._language)
        self._results.write(place, recording, transcript, outcome.seconds)

    def _print(self, line: str) -> None:
        self._console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


def _with_channel(recording: Recording) -> str:
    """The recording, and which channel of it where it is one."""
    return recording.shown if recording.channel is None else f"{recording.shown}, channel {recording.channel}"


def _planned(system: System, timed: Sequence[Timed], device: str) -> Iterator[list[Timed]]:
    """Batches of the recordings, the longest of a window first."""
    cap = BATCH_SECONDS[device] if system.batched else None
    for first in range(0, len(timed), WINDOW):
        window = timed[first : first + WINDOW]
        durations = [planned.seconds for planned in window]
        for batch in plan_batches(durations, cap, system.longest_in_batch_seconds):
            yield [window[index] for index in batch]


def as_it_is(waveform: "Tensor") -> "Tensor":
    """The waveform: what is done to one from which no noise is removed."""
    return waveform


def _loaded_ahead(
    batches: Iterator[list[Timed]], system: System, decoder: ThreadPoolExecutor, clean: Cleaning
) -> Iterator[tuple[list[Timed], "list[Tensor | Failed] | None"]]:
    """Each batch with its waveforms; None for a recording that is longer than a piece, which is read as it goes."""
    waiting: tuple[list[Timed], Future[list[Tensor | Failed]] | None] | None = None
    for batch in batches:
        is_long = len(batch) == 1 and batch[0].seconds > system.longest_in_batch_seconds
        following = (batch, None if is_long else decoder.submit(_load, batch, clean))
        if waiting is not None:
            yield waiting[0], None if waiting[1] is None else waiting[1].result()
        waiting = following
    if waiting is not None:
        yield waiting[0], None if waiting[1] is None else waiting[1].result()


def _load(batch: Sequence[Timed], clean: Cleaning) -> "list[Tensor | Failed]":
    loaded: list[Tensor | Failed] = []
    for planned in batch:
        recording = planned.recording
        try:
            loaded.append(clean(audio.load(recording.source, channel=recording.channel)))
        except AudioError as error:
            loaded.append(_unreadable(recording, error))
    return loaded


def _transcribe_batch(
    system: System, loaded: "Sequence[Tensor | Failed]", *, words: bool, advance: Callable[[float], None]
) -> list[Outcome]:
    """The outcomes of a batch, those that could not be loaded included."""
    waveforms = [waveform for waveform in loaded if not isinstance(waveform, Failed)]
    outcomes = iter(_outcomes(system, waveforms, words=words, advance=advance))
    return [waveform if isinstance(waveform, Failed) else next(outcomes) for waveform in loaded]


def _outcomes(
    system: System, waveforms: "Sequence[Tensor]", *, words: bool, advance: Callable[[float], None]
) -> list[Outcome]:
    """The outcome of each waveform: of all at once, or of one after the other where that fails."""
    if not waveforms:
        return []
    try:
        transcripts = system.transcribe(waveforms, words=words, advance=advance)
    except Exception as error:  # a system of the user's own may raise anything
        failed = _failed(error)
    else:
        return [
            Done(transcript, len(waveform) / SAMPLE_RATE, waveform)
            for transcript, waveform in zip(transcripts, waveforms, strict=True)
        ]
    if len(waveforms) == 1:
        return [failed]
    return [
        outcome for waveform in waveforms for outcome in _outcomes(system, [waveform], words=words, advance=advance)
    ]


def _transcribe_long(
    system: System, long: Timed, clean: Cleaning, kept: KeptPieces | None, *, words: bool, count: CappedProgress
) -> Outcome:
    """The outcome of a long recording: whole where it is no longer than a piece.

    kept: where its pieces are kept, and those of an earlier run are. Raises UsageError where they cannot be.
    """
    recording = long.recording
    known = () if kept is None else tuple(kept.found)
    found = transcribe_pieces(
        system, recording.source, recording.channel, clean=clean, words=words, advance=count, known=known
    )
    parts: list[Transcript] = []
    end = 0.0
    while True:
        try:
            piece = next(found, None)
        except AudioError as error:
            return _unreadable(recording, error)
        except Exception as error:  # a system of the user's own may raise anything
            reason = _failed(error).reason
            return Failed(f"after {end:.0f} s: {reason}" if parts else reason)
        if piece is None:
            return Done(parts[0] if len(parts) == 1 else joined(parts), end)
        end, part = piece
        parts.append(part)
        if kept is not None and len(parts) > len(known):
            kept.add(end, part)
        count.reach(end)


def transcribe_pieces(
    system: System,
    source: AudioSource,
    channel: int | None = None,
    *,
    clean: Cleaning,
    words: bool,
    advance: Callable[[float], None] | None = None,
    known: Sequence[tuple[float, Transcript]] = (),
) -> Iterator[tuple[float, Transcript]]:
    """The transcript of each piece of a recording, with the seconds at which the piece ends: of the whole recording
    where it is no longer than the system's longest piece. All have the language of the first.

    clean: what is done to each piece first. known: the first of them, which are not transcribed again. Raises
    AudioError like `preprocessing.audio.load`, and what the system raises.
    """
    language = None
    ends = [end for end, _ in known]
    for number, (begin, waveform) in enumerate(pieces(source, system.longest_piece_seconds, channel, ends)):
        if number < len(known):
            language = language or known[number][1].language
            yield known[number]
            continue
        with system.in_language(language):
            (found,) = system.transcribe([clean(waveform)], words=words, advance=advance)
        language = language or found.language
        yield begin + len(waveform) / SAMPLE_RATE, found.shifted(begin)
        del waveform  # before the next piece is read


def _failed(error: Exception) -> Failed:
    return Failed(str(error) if isinstance(error, UserError) else described(error))


def _unreadable(recording: Recording, error: AudioError) -> Failed:
    """The error's sentence, with the recording's name where it has that of a temporary file."""
    return Failed(str(error).replace("<open file>", recording.shown))
