"""Recordings through a system: short ones in batches of like duration, long ones piece by piece, with time left.

The files of the next batch are decoded while the model computes. A recording that fails costs one line.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.console import Console

from finetune.models.companion_files import trained_languages
from finetune.systems.base import System
from finetune.systems.transcript import Transcript, joined
from finetune.transcription.recordings import Recording, pieces
from finetune.transcription.results import Results
from preprocessing import audio
from preprocessing.audio import SAMPLE_RATE, AudioError, AudioSource
from preprocessing.augment.denoise import SpectralGate
from preprocessing.batching import plan_batches
from preprocessing.cli.errors import UserError, counted, described, printable
from preprocessing.cli.progress import CappedProgress, Steps
from preprocessing.text.languages import language_code

if TYPE_CHECKING:
    from torch import Tensor

BATCH_SECONDS = {"cpu": 240.0, "cuda": 1920.0}  # of audio given to a system at once
MISSED_SECONDS = 10.0  # from the last word to the end of the last speech: what is more is said
LENGTHEN = "ffmpeg -i FILE -af apad=whole_dur=31 LONGER.wav"
WINDOW = 1000  # recordings that are sorted by duration together: results come in order of the windows


@dataclass(frozen=True)
class Timed:
    """A recording, its place among those to do, and the seconds that its header states."""

    place: int
    recording: Recording
    seconds: float


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
    failed = 0
    said: set[str] = set()  # of several channels of a recording, each fails for the same reason
    clean = SpectralGate() if denoise else as_it_is

    def fail(recording: Recording, place: int, reason: str) -> None:
        nonlocal failed
        failed += 1
        results.write(place, recording, None, 0.0)
        shown = reason if reason.startswith(recording.shown) else f"{recording.shown}: {reason}"
        if shown not in said:
            said.add(shown)
            console.print(printable(shown), markup=False, highlight=False, soft_wrap=True)

    def check(recording: Recording, waveform: "Tensor", transcript: Transcript) -> None:
        missed = missed_speech(waveform, transcript)
        if missed is not None:
            console.print(
                printable(f"note: {recording.shown}: {missed}"), markup=False, highlight=False, soft_wrap=True
            )

    timed = []
    for place, recording in enumerate(recordings):
        try:
            info = audio.probe(recording.source)
        except AudioError as error:
            fail(recording, place, _of(recording, error))
            continue
        if recording.n_channels in (None, info.n_channels):
            timed.append(Timed(place, recording, info.duration))
        else:
            expected = f"{recording.n_channels}, as many as --speakers names"
            fail(
                recording, place, f"{counted(info.n_channels, 'channel')}; expected {expected}: name each one's speaker"
            )
    total = max(round(sum(one.seconds for one in timed)), 1)
    with (
        Steps(console, 1, "seconds").step("transcribing", total) as advance,
        ThreadPoolExecutor(1, "decoding") as decoder,
    ):
        count = CappedProgress(advance)
        for batch, loaded in _loaded_ahead(_planned(system, timed, device), system, decoder, clean):
            count.begin(sum(one.seconds for one in batch))
            found = (
                [_in_pieces(system, batch[0], clean, words=words, count=count)]
                if loaded is None
                else _together(system, batch, loaded, words=words, advance=count)
            )
            for one, outcome, waveform in zip(batch, found, loaded or [""], strict=True):
                if isinstance(outcome, str):
                    fail(one.recording, one.place, outcome)
                else:
                    transcript, seconds = outcome
                    if not isinstance(waveform, str):
                        check(one.recording, waveform, transcript)
                    transcript = replace(transcript, language=transcript.language or language)
                    results.write(one.place, one.recording, transcript, seconds)
            count.end()
    return failed


def language_note(system: System, language: str | None) -> str | None:
    """That --language does not change what a system writes; None where it does, or is that of its training."""
    if language is None or system.takes_language:
        return None
    trained = trained_languages(system.facts.checkpoint)
    code = language_code(language) or language
    if code in {language_code(one) or one for one in trained}:
        return None
    was = f", which was trained on {', '.join(trained)}" if trained else ""
    return (
        f"--language {language} is only the name of the language in the results: it changes nothing in what "
        f"{system.facts.name} writes{was}"
    )


def missed_speech(waveform: "Tensor", transcript: Transcript) -> str | None:
    """That there is speech more than MISSED_SECONDS after the last word, and what may help; None where there is not.

    A Whisper, which writes no times in recordings of up to 30 s, may end its text at a pause there.
    """
    end = max((segment.end for segment in transcript.segments), default=0.0)
    if len(waveform) / SAMPLE_RATE - end <= MISSED_SECONDS:
        return None
    from preprocessing.segment.voice_activity import detector_gain, speech_spans

    first = round(end * SAMPLE_RATE)
    spans = speech_spans(waveform[first:], gain=detector_gain(waveform))
    last = (first + spans[-1].stop) / SAMPLE_RATE if spans else end
    if last - end <= MISSED_SECONDS:
        return None
    return (
        f"the text ends at {end:.1f} s, but there is speech until {last:.1f} s; check it: a Whisper may write the rest "
        f"if silence makes the recording longer than 30 s, as by `{LENGTHEN}`"
    )


def _planned(system: System, timed: Sequence[Timed], device: str) -> Iterator[list[Timed]]:
    """Batches of the recordings, the longest of a window first."""
    cap = BATCH_SECONDS[device] if system.batched else None
    for first in range(0, len(timed), WINDOW):
        window = timed[first : first + WINDOW]
        durations = [one.seconds for one in window]
        for batch in plan_batches(durations, cap, system.longest_in_batch_seconds):
            yield [window[index] for index in batch]


Loaded = list["Tensor | str"]  # waveforms, or why there is none
Cleaning = Callable[["Tensor"], "Tensor"]


def as_it_is(waveform: "Tensor") -> "Tensor":
    """The waveform: what is done to one from which no noise is removed."""
    return waveform


def _loaded_ahead(
    batches: Iterator[list[Timed]], system: System, decoder: ThreadPoolExecutor, clean: "Cleaning"
) -> Iterator[tuple[list[Timed], Loaded | None]]:
    """Each batch with its waveforms; None for a recording that is longer than a piece, which is read as it goes."""
    waiting: tuple[list[Timed], Future[Loaded] | None] | None = None
    for batch in batches:
        in_pieces = len(batch) == 1 and batch[0].seconds > system.longest_in_batch_seconds
        following = (batch, None if in_pieces else decoder.submit(_load, batch, clean))
        if waiting is not None:
            yield waiting[0], None if waiting[1] is None else waiting[1].result()
        waiting = following
    if waiting is not None:
        yield waiting[0], None if waiting[1] is None else waiting[1].result()


def _load(batch: Sequence[Timed], clean: Cleaning) -> Loaded:
    loaded: Loaded = []
    for one in batch:
        try:
            loaded.append(clean(audio.load(one.recording.source, channel=one.recording.channel)))
        except AudioError as error:
            loaded.append(_of(one.recording, error))
    return loaded


Outcome = tuple[Transcript, float] | str  # with the recording's seconds; or why there is none


def _together(
    system: System, batch: Sequence[Timed], loaded: Loaded, *, words: bool, advance: Callable[[float], None]
) -> list[Outcome]:
    """The outcomes of a batch; where it fails, of each of its recordings by itself."""
    outcomes: list[Outcome] = [one if isinstance(one, str) else "" for one in loaded]
    places = [place for place, one in enumerate(loaded) if not isinstance(one, str)]
    waveforms = [one for one in loaded if not isinstance(one, str)]
    found: list[Transcript] | str = _attempt(system, waveforms, words=words, advance=advance) if waveforms else []
    for number, place in enumerate(places):
        if isinstance(found, str):
            alone = found if len(places) == 1 else _attempt(system, [waveforms[number]], words=words, advance=advance)
            outcomes[place] = alone if isinstance(alone, str) else (alone[0], len(waveforms[number]) / SAMPLE_RATE)
        else:
            outcomes[place] = found[number], len(waveforms[number]) / SAMPLE_RATE
    return outcomes


def _in_pieces(system: System, one: Timed, clean: Cleaning, *, words: bool, count: CappedProgress) -> Outcome:
    """The outcome of a long recording: whole where it is no longer than a piece."""
    parts: list[Transcript] = []
    end = 0.0
    try:
        for end, part in in_pieces(
            system, one.recording.source, one.recording.channel, clean=clean, words=words, advance=count
        ):
            parts.append(part)
            count.reach(end)
    except AudioError as error:
        return _of(one.recording, error)
    except UserError as error:
        reason = str(error)
    except Exception as error:  # a system of the user's own may raise anything
        reason = described(error)
    else:
        return (parts[0] if len(parts) == 1 else joined(parts)), end
    return f"after {end:.0f} s: {reason}" if parts else reason


def in_pieces(
    system: System,
    source: AudioSource,
    channel: int | None = None,
    *,
    clean: Cleaning,
    words: bool,
    advance: Callable[[float], None] | None = None,
) -> Iterator[tuple[float, Transcript]]:
    """The transcript of each piece of a recording, with the seconds at which the piece ends: of the whole recording
    where it is no longer than the system's longest piece. All have the language of the first.

    clean: what is done to each piece first. Raises AudioError like `preprocessing.audio.load`, and what the system
    raises.
    """
    language = None
    for begin, waveform in pieces(source, system.longest_piece_seconds, channel):
        with system.in_language(language):
            (found,) = system.transcribe([clean(waveform)], words=words, advance=advance)
        language = language or found.language
        yield begin + len(waveform) / SAMPLE_RATE, found.shifted(begin)
        del waveform  # before the next piece is read


def _attempt(
    system: System, waveforms: "Sequence[Tensor]", *, words: bool, advance: Callable[[float], None]
) -> list[Transcript] | str:
    """The transcripts, or why there are none, in a sentence."""
    try:
        return system.transcribe(waveforms, words=words, advance=advance)
    except UserError as error:
        return str(error)
    except Exception as error:  # a system of the user's own may raise anything
        return described(error)


def _of(recording: Recording, error: AudioError) -> str:
    """The error's sentence, with the recording's name where it has that of a temporary file."""
    return str(error).replace("<open file>", recording.shown)
