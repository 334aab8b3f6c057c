"""Pieces of one recording, and their folder: FLAC files with a manifest, written complete or not at all."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from preprocessing import audio
from preprocessing.audio import SAMPLE_RATE
from preprocessing.errors import UsageError
from preprocessing.segment.chunks import Chunk, Chunking, chunks, pad_or_trim
from preprocessing.segment.voice_activity import (
    LOWEST_LEVEL_DB,
    Span,
    level_db,
    spans_from_probabilities,
    speech_probabilities,
    split_at_pauses,
)
from preprocessing.storage.atomic_write import write_json_lines

Method = Literal["speech", "chunks", "fixed"]
LITTLE_SPEECH = 0.05  # of a recording: less is worth a note where it is quiet, too


@dataclass(frozen=True, slots=True)
class Piece:
    """Samples [start, stop) of a recording.

    n_samples: of its file, more than stop - start where it is padded with zeros.
    kept: of a chunk, the samples without its context.
    speech: whether anybody speaks; None where the method does not look for speech.
    """

    start: int
    stop: int
    n_samples: int
    kept: tuple[int, int]
    speech: bool | None = None


@dataclass(frozen=True)
class SpeechActivity:
    """The speech probability of each window of a recording [windows], and the spans of speech."""

    probabilities: Tensor
    spans: tuple[Span, ...]


def detect_speech(waveform: Tensor, threshold: float = 0.5) -> SpeechActivity:
    """The speech activity of a waveform [samples] by Silero VAD; threshold as of `spans_from_probabilities`."""
    probabilities = speech_probabilities(waveform)
    spans = spans_from_probabilities(probabilities.tolist(), waveform.numel(), threshold=threshold)
    return SpeechActivity(probabilities, tuple(spans))


def quiet_note(name: str, waveform: Tensor, activity: SpeechActivity) -> str | None:
    """A note where nearly all of a quiet recording is no speech, with what to check; None for any other.

    name: of the recording. waveform: [samples].
    """
    share = sum(span.stop - span.start for span in activity.spans) / max(waveform.numel(), 1)
    level = level_db(waveform)
    if level >= LOWEST_LEVEL_DB or share >= LITTLE_SPEECH:
        return None
    return (
        f"{name}: {share:.1%} of it is speech, and its level is {level:.0f} dBFS; expected {LOWEST_LEVEL_DB:g} dBFS or "
        "more where somebody speaks: listen to it, and name another file or --channel where it is the wrong one"
    )


def cut(
    waveform: Tensor, method: Method, seconds: float, context_seconds: float, activity: SpeechActivity | None
) -> list[Piece]:
    """The pieces of a waveform [samples], in order; their `kept` spans are a partition of it.

    seconds: the longest piece of method speech; the kept span of each chunk; the length of each fixed piece.
    context_seconds: of chunks, on either side.
    activity: of method speech, detected here if None.
    """
    n_samples, length = waveform.numel(), round(seconds * SAMPLE_RATE)
    if method == "fixed":
        starts = range(0, n_samples, length)
        bounds = [(start, min(start + length, n_samples)) for start in starts]
        return [Piece(start, stop, length, (start, stop)) for start, stop in bounds]
    if method == "chunks":
        planned: tuple[Chunk, ...] = chunks(n_samples, Chunking(length, round(context_seconds * SAMPLE_RATE)))
        return [Piece(c.start, c.stop, c.stop - c.start, (c.keep_start, c.keep_stop)) for c in planned]
    spans = split_at_pauses(waveform, seconds, speech=None if activity is None else activity.spans)
    return [Piece(s.start, s.stop, s.stop - s.start, (s.start, s.stop), s.speech) for s in spans]


def write(folder: Path, source: Path, waveform: Tensor, pieces: Sequence[Piece], channel: int | None = None) -> None:
    """Write 0000.flac, ... and manifest.jsonl into a new folder, which appears only when all of it is written.

    source: the recording's file, of which the manifest gives the name. waveform: [samples] of the whole recording.
    channel: which of its channels that is, from 0, part of the ids; None of all of them mixed.
    Raises UsageError when the folder cannot be made or is not empty.
    """
    folder = folder.resolve()
    temporary = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        digits = max(4, len(str(len(pieces) - 1)))
        stem = source.stem if channel is None else f"{source.stem}-{channel}"
        lines = []
        for number, piece in enumerate(pieces):
            name = f"{number:0{digits}d}"
            samples, _ = pad_or_trim(waveform[piece.start : piece.stop], piece.n_samples)
            audio.save(temporary / f"{name}.flac", samples)
            line = _manifest_line(f"{stem}-{name}", f"{name}.flac", source, piece)
            lines.append(line | ({} if channel is None else {"source_channel": channel}))
        write_json_lines(temporary / "manifest.jsonl", lines)
        os.replace(temporary, folder)
    except OSError as error:
        raise UsageError(
            f"{folder}: {error.strerror}; expected a writable place for a new folder: choose another"
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _manifest_line(name: str, path: str, source: Path, piece: Piece) -> dict[str, Any]:
    """Times in seconds; a manifest's own `start` and `stop` would be into the piece, so these are called source_*."""
    line: dict[str, Any] = {
        "id": name,
        "audio": path,
        "duration": piece.n_samples / SAMPLE_RATE,
        "source": source.name,
        "recording_id": source.name,
        "source_start": piece.start / SAMPLE_RATE,
        "source_stop": piece.stop / SAMPLE_RATE,
    }
    if piece.kept != (piece.start, piece.stop):
        line |= {"keep_start": piece.kept[0] / SAMPLE_RATE, "keep_stop": piece.kept[1] / SAMPLE_RATE}
    if piece.speech is not None:
        line["speech"] = piece.speech
    return line
