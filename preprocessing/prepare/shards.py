"""The job that decodes, cuts, measures and writes one shard of a corpus, and the record that it leaves of it."""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import soundfile
import torch
from torch import Tensor

from preprocessing.audio import PCM_STEPS, SAMPLE_RATE, PartLoader, StoredAudio
from preprocessing.audio.pcm16 import pcm16_writer
from preprocessing.corpus import Reject, Segment, Utterance, load_part, load_waveform
from preprocessing.corpus.levels import AudioLevels, measure_levels
from preprocessing.corpus.readers.times import with_checked_segments
from preprocessing.errors import InputError
from preprocessing.prepare.division import Shard
from preprocessing.storage.atomic_write import atomic_file, read_json_lines, write_text_atomically
from preprocessing.storage.file_identity import FileState, file_state

RECORD_SUFFIX = ".jsonl"


@dataclass(frozen=True)
class Cutting:
    """How recordings without text that last over `max_seconds` are cut."""

    segment: str  # none, fixed or speech: PrepareConfig.segmentation
    max_seconds: float


@dataclass(frozen=True, slots=True)
class Source:
    """Where an utterance is in its recording, `Utterance.recording_id`: seconds, and a channel from 0 (None: all)."""

    start: float
    stop: float
    channel: int | None

    def manifest_fields(self) -> dict[str, Any]:
        """The fields of a manifest line, called as `preprocessing.segment` calls them.

        >>> Source(1.5, 2.0, 1).manifest_fields()
        {'source_start': 1.5, 'source_stop': 2.0, 'source_channel': 1}
        """
        fields: dict[str, Any] = {"source_start": self.start, "source_stop": self.stop}
        return fields if self.channel is None else fields | {"source_channel": self.channel}


@dataclass(frozen=True)
class Piece:
    """An utterance in the shard. Its audio is relative to the manifest's folder."""

    utterance: Utterance
    source: Source
    levels: AudioLevels
    index: int  # into the shard's utterances, of the one that it is, or was cut from


@dataclass(frozen=True)
class ShardReject:
    """An utterance that could not be used, and its file when it was read; None: it was not there, or is in memory."""

    reject: Reject
    state: FileState | None


@dataclass(frozen=True)
class ShardRecord:
    """The result of one shard.

    wrong_durations: ids of utterances whose stated duration was not their file's. made_of: of every utterance of the
    shard, `described`.
    """

    pieces: tuple[Piece, ...]
    rejects: tuple[ShardReject, ...]
    wrong_durations: tuple[str, ...]
    made_of: tuple[tuple[str, str], ...]


def described(utterance: Utterance) -> tuple[str, str]:
    """Id and file name ("" of audio in memory), by which an utterance is found again whose text or times changed."""
    audio = utterance.audio
    return utterance.id, "" if isinstance(audio, bytes) else Path(audio).name


def write_shard(shard: Shard, folder: Path, cutting: Cutting) -> None:
    """Write a shard's audio, NAME.flac, and then its record, NAME.jsonl, into the folder, each whole or not at all.

    An utterance that cannot be used becomes a reject. Without a usable one there is no .flac. Raises InputError where
    the audio cannot be written, as on a full disk.
    """
    flac = folder / f"{shard.name}.flac"
    try:
        with atomic_file(flac) as partial:
            record = _write_audio(shard, partial, f"{folder.name}/{flac.name}", cutting)
    except soundfile.LibsndfileError as error:  # of writing: what cannot be read is a reject
        raise InputError(
            f"{flac}: cannot be written ({error.error_string.rstrip('.')}); expected free disk space: free some and "
            "run the same command again; finished shards are kept"
        ) from None
    if not record.pieces:
        flac.unlink()
    lines = (json.dumps(fields, ensure_ascii=False) + "\n" for fields in _lines(record))  # the level of silence is -inf
    write_text_atomically(folder / f"{shard.name}{RECORD_SUFFIX}", "".join(lines))


def shards_in(folder: Path) -> tuple[set[str], set[str]]:
    """Names of the shards in the folder that are done, and of all of which there is any file."""
    paths = [path for path in folder.iterdir() if not path.name.startswith(".")]
    return {path.stem for path in paths if path.suffix == RECORD_SUFFIX}, {path.stem for path in paths}


def forget(name: str, folder: Path) -> None:
    """Remove what there is of a shard: the record first, without which it is not done."""
    for suffix in (RECORD_SUFFIX, ".flac"):
        (folder / f"{name}{suffix}").unlink(missing_ok=True)


def has_changed_rejects(shard: Shard, folder: Path) -> bool:
    """Whether the file of an utterance that the shard's record rejects is another than it was, or is there by now."""
    rejects = _read_head(shard.name, folder).rejects
    audio = {utterance.id: utterance.audio for utterance in shard.utterances} if rejects else {}
    return any(_state(audio[rejected.reject.where]) != rejected.state for rejected in rejects)


def made_of(name: str, folder: Path) -> tuple[tuple[str, str], ...]:
    """`described` of each utterance of which the shard of the name in the folder was made."""
    return _read_head(name, folder).made_of


def read_record(name: str, folder: Path) -> ShardRecord:
    """The record that `write_shard` wrote into the folder of the shard of the name."""
    head, *lines = read_json_lines(folder / f"{name}{RECORD_SUFFIX}")
    return replace(_head(head), pieces=tuple(map(_piece, lines)))


def _read_head(name: str, folder: Path) -> ShardRecord:
    """The record without its pieces, which is quick to read."""
    with (folder / f"{name}{RECORD_SUFFIX}").open(encoding="utf-8") as file:
        return _head(json.loads(file.readline()))


def _head(fields: dict[str, Any]) -> ShardRecord:
    rejects = [
        ShardReject(Reject(**one["reject"]), None if one["state"] is None else (one["state"][0], one["state"][1]))
        for one in fields["rejects"]
    ]
    own = tuple((id, file) for id, file in fields["made_of"])
    return ShardRecord((), tuple(rejects), tuple(fields["wrong_durations"]), own)


def _piece(fields: dict[str, Any]) -> Piece:
    levels = fields["levels"] | {"digest": bytes.fromhex(fields["levels"]["digest"])}
    return Piece(_utterance(fields["utterance"]), Source(**fields["source"]), AudioLevels(**levels), fields["index"])


def _utterance(fields: dict[str, Any]) -> Utterance:
    parts = {name: tuple(Segment(**one) for one in fields[name]) for name in ("segments", "words")}
    return Utterance(**fields | parts | {"columns": tuple((name, value) for name, value in fields["columns"])})


def _state(audio: StoredAudio) -> FileState | None:
    return None if isinstance(audio, bytes) else file_state(audio)


def _write_audio(shard: Shard, path: Path, name: str, cutting: Cutting) -> ShardRecord:
    pieces: list[Piece] = []
    rejects: list[ShardReject] = []
    wrong_durations: list[str] = []
    position = 0  # samples into the shard
    with pcm16_writer(path, "FLAC") as file, PartLoader() as parts:
        for index, utterance in enumerate(shard.utterances):
            state = _state(utterance.audio)  # before it is read: a change meanwhile is noticed next time
            try:
                whole = _load(utterance, parts)
                for piece, source, waveform in _pieces(utterance, whole, cutting):
                    placed = _placed(piece, name, position, len(waveform))
                    file.write((waveform * PCM_STEPS).to(torch.int16).numpy())
                    position += len(waveform)
                    pieces.append(Piece(placed, source, measure_levels(waveform), index))
            except InputError as error:
                rejects.append(ShardReject(Reject(utterance.id, str(error)), state))
            else:
                if not utterance.has_duration(len(whole) / SAMPLE_RATE):
                    wrong_durations.append(utterance.id)
    made_of = tuple(described(utterance) for utterance in shard.utterances)
    return ShardRecord(tuple(pieces), tuple(rejects), tuple(wrong_durations), made_of)


def _load(utterance: Utterance, parts: PartLoader) -> Tensor:
    """The waveform of an utterance; of a whole file, however long it is said to be.

    Raises InputError where it cannot be decoded, or is a part that is not as long as it says.
    """
    return load_part(utterance, parts.load) if utterance.is_whole_file else load_waveform(utterance, parts.load)


def _pieces(utterance: Utterance, waveform: Tensor, cutting: Cutting) -> Iterator[tuple[Utterance, Source, Tensor]]:
    """Yield the utterance, its place in the recording and its waveform, or each piece of a long recording as an
    utterance of its own.

    Raises InputError where it has one text for many pieces.
    """
    seconds = len(waveform) / SAMPLE_RATE
    if cutting.segment == "none" or seconds <= cutting.max_seconds:
        yield utterance, _source(utterance, 0, len(waveform)), waveform
        return
    if utterance.text.strip() or utterance.segments:
        raise InputError(
            f"lasts {seconds:.1f} s with one text; expected at most {cutting.max_seconds:g} s, or no text: a text "
            "cannot be cut with the audio, so give each segment its own line with start and stop"
        )
    for number, (start, stop) in enumerate(_cuts(waveform, cutting)):
        piece = replace(utterance, id=f"{utterance.id}-{number:04d}")
        yield piece, _source(utterance, start, stop), waveform[start:stop]


def _source(utterance: Utterance, start: int, stop: int) -> Source:
    """The place of samples start to stop - 1 of an utterance in its recording.

    A manifest whose audio was cut before, as by `preprocessing.segment`, states the utterance's own place in the
    columns source_start, source_stop and source_channel; else its place in its file counts.
    """
    columns = dict(utterance.columns)
    begin, end = (_number(columns.get(name)) for name in ("source_start", "source_stop"))
    channel = _number(columns.get("source_channel"))
    begin = utterance.start if begin is None else begin
    first, last = begin + start / SAMPLE_RATE, begin + stop / SAMPLE_RATE
    if end is not None and first < end < last:  # zeros follow, by which a segment was padded
        last = end
    return Source(first, last, utterance.channel if channel is None else int(channel))


def _number(column: str | None) -> float | None:
    """The value of a column that holds a number from 0 up; None of any other."""
    try:
        number = float(column or "nan")
    except ValueError:
        return None
    return number if 0.0 <= number < math.inf else None


def _placed(utterance: Utterance, name: str, position: int, n_samples: int) -> Utterance:
    """The utterance as part of the shard's file `name`, from sample `position` on, its segments and words moved along.

    Raises InputError on segments beyond its end.
    """
    start = position / SAMPLE_RATE
    shift = start - utterance.start

    def moved(parts: tuple[Segment, ...]) -> tuple[Segment, ...]:
        return tuple(Segment(max(one.start + shift, 0.0), one.stop + shift, one.text) for one in parts)

    return with_checked_segments(
        replace(
            utterance,
            audio=name,
            duration=n_samples / SAMPLE_RATE,
            start=start,
            stop=(position + n_samples) / SAMPLE_RATE,
            segments=moved(utterance.segments),
            words=moved(utterance.words),
            channel=None,
        )
    )


def _cuts(waveform: Tensor, cutting: Cutting) -> list[tuple[int, int]]:
    if cutting.segment == "fixed":
        length = round(cutting.max_seconds * SAMPLE_RATE)
        return [(start, min(start + length, len(waveform))) for start in range(0, len(waveform), length)]
    from preprocessing.segment.voice_activity import split_at_pauses

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # torch's sums change in the last bit with the threads, and a cut could move
    try:
        return [(span.start, span.stop) for span in split_at_pauses(waveform, cutting.max_seconds)]
    finally:
        torch.set_num_threads(threads)


def _lines(record: ShardRecord) -> Iterator[dict[str, Any]]:
    """Lines of the record's file: all but the pieces, then each piece."""
    head = asdict(replace(record, pieces=()))
    del head["pieces"]
    yield head
    for piece in record.pieces:
        fields = asdict(piece)
        fields["levels"]["digest"] = piece.levels.digest.hex()
        yield fields
