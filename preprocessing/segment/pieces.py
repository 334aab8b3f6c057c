"""Pieces of one recording, and their folder: FLAC files with a manifest, written whole or not at all."""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from preprocessing import audio
from preprocessing.audio import SAMPLE_RATE
from preprocessing.cli.errors import UsageError
from preprocessing.segment.chunks import Chunk, Chunking, chunks, pad_or_trim
from preprocessing.segment.voice_activity import Span, silero, spans_of
from preprocessing.segment.voice_activity import pieces as cut_at_pauses

Method = Literal["speech", "chunks", "fixed"]


@dataclass(frozen=True, slots=True)
class Piece:
    """Samples [start, stop) of a recording.

    n_samples: of its file, more than stop - start where it is padded. kept: of a chunk, the samples that are its own.
    speech: whether anybody speaks, None where nobody asked.
    """

    start: int
    stop: int
    n_samples: int
    kept: tuple[int, int]
    speech: bool | None = None


@dataclass(frozen=True)
class Activity:
    """Speech probability of each window of a recording [windows], and the spans of speech."""

    probability: Tensor
    spans: tuple[Span, ...]


def hear(waveform: Tensor, threshold: float = 0.5) -> Activity:
    """Where speech is. waveform: [samples]."""
    probability = silero()(waveform)
    return Activity(probability, tuple(spans_of(probability.tolist(), waveform.numel(), threshold=threshold)))


def cut(
    waveform: Tensor, method: Method, seconds: float, context_seconds: float, activity: Activity | None
) -> list[Piece]:
    """The pieces of a recording [samples] in order; what each calls kept is a partition of it.

    seconds: the longest piece of method speech; what is kept of each chunk; the length of each fixed piece.
    activity: what method speech cuts by.
    """
    n_samples, length = waveform.numel(), round(seconds * SAMPLE_RATE)
    if method == "fixed":
        starts = range(0, n_samples, length)
        bounds = [(start, min(start + length, n_samples)) for start in starts]
        return [Piece(start, stop, length, (start, stop)) for start, stop in bounds]
    if method == "chunks":
        planned: tuple[Chunk, ...] = chunks(n_samples, Chunking(length, round(context_seconds * SAMPLE_RATE)))
        return [Piece(c.start, c.stop, c.stop - c.start, (c.keep_start, c.keep_stop)) for c in planned]
    spans = hear(waveform).spans if activity is None else activity.spans
    found = cut_at_pauses(waveform, spans, seconds)
    return [Piece(s.start, s.stop, s.stop - s.start, (s.start, s.stop), s.speech) for s in found]


def write(folder: Path, source: Path, waveform: Tensor, pieces: Sequence[Piece]) -> None:
    """Write 0000.flac, ... and manifest.jsonl into a new folder, which appears only once all of it is written.

    Raises UsageError when the folder cannot be made or holds something already.
    """
    folder = folder.resolve()
    beside = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        digits = max(4, len(str(len(pieces) - 1)))
        with (beside / "manifest.jsonl").open("w", encoding="utf-8") as manifest:
            for number, piece in enumerate(pieces):
                name = f"{number:0{digits}d}"
                samples, _ = pad_or_trim(waveform[piece.start : piece.stop], piece.n_samples)
                audio.save(beside / f"{name}.flac", samples)
                line = _manifest_line(f"{source.stem}-{name}", f"{name}.flac", source, piece)
                manifest.write(json.dumps(line, ensure_ascii=False) + "\n")
        os.replace(beside, folder)
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}; expected a place for a new folder: choose another") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _manifest_line(name: str, path: str, source: Path, piece: Piece) -> dict[str, Any]:
    """Times in seconds; a manifest's own `start` and `stop` would be into the piece, so these are called source_*."""
    line: dict[str, Any] = {
        "id": name,
        "audio": path,
        "duration": piece.n_samples / SAMPLE_RATE,
        "source": source.name,
        "source_start": piece.start / SAMPLE_RATE,
        "source_stop": piece.stop / SAMPLE_RATE,
    }
    if piece.kept != (piece.start, piece.stop):
        line |= {"keep_start": piece.kept[0] / SAMPLE_RATE, "keep_stop": piece.kept[1] / SAMPLE_RATE}
    if piece.speech is not None:
        line["speech"] = piece.speech
    return line
