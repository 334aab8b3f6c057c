"""Shards of a corpus: which utterances go into which, and the job that decodes, cuts, measures and writes one."""

import hashlib
import json
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import soundfile
import torch
from torch import Tensor

from preprocessing.audio import PCM_STEPS, SAMPLE_RATE, PartLoader
from preprocessing.corpus import Corpus, Reject, Segment, Utterance, load_waveform
from preprocessing.corpus.levels import AudioLevels, measure_levels
from preprocessing.corpus.readers.times import with_checked_segments
from preprocessing.errors import InputError
from preprocessing.prepare import PrepareConfig
from preprocessing.storage.atomic_write import atomic_file, write_text_atomically

FORMAT = 4  # rises whenever the same corpus and options would give other bytes


@dataclass(frozen=True)
class Shard:
    """One job: these utterances, in this order, into one FLAC file."""

    number: int
    utterances: tuple[Utterance, ...]

    @property
    def name(self) -> str:
        """The number in six digits, the stem of the shard's files.

        >>> Shard(7, ()).name
        '000007'
        """
        return f"{self.number:06d}"

    @property
    def seconds(self) -> float:
        """The sum of the utterances' durations."""
        return sum(utterance.duration for utterance in self.utterances)


def split_into_shards(utterances: Sequence[Utterance], shard_seconds: float) -> list[Shard]:
    """Shards of neighbouring utterances, each closed when its durations sum to `shard_seconds` or more."""
    shards: list[Shard] = []
    gathered: list[Utterance] = []
    seconds = 0.0
    for utterance in utterances:
        gathered.append(utterance)
        seconds += utterance.duration
        if seconds >= shard_seconds:
            shards.append(Shard(len(shards), tuple(gathered)))
            gathered, seconds = [], 0.0
    if gathered:
        shards.append(Shard(len(shards), tuple(gathered)))
    return shards


def fingerprint(config: PrepareConfig, corpus: Corpus) -> str:
    """A digest, 16 hexadecimal digits, of the corpus and options that the shards depend on: the same goes on.

    Audio files count by their paths; one whose content changed in between is not noticed.
    """
    digest = hashlib.sha256()
    options = [FORMAT, config.segmentation, config.max_seconds, config.shard_seconds]
    digest.update(json.dumps(options).encode())
    for u in corpus.utterances:
        audio = hashlib.sha256(u.audio).hexdigest() if isinstance(u.audio, bytes) else os.fspath(u.audio)
        fields = [u.id, audio, u.text, u.duration, u.speaker, u.sex, u.language, u.domain, u.start, u.stop]
        fields += [] if u.channel is None else [{"channel": u.channel}]
        fields += [{"recording_id": u.recording_id, "columns": u.columns}] if u.recording_id or u.columns else []
        parts = [[(part.start, part.stop, part.text) for part in own] for own in (u.segments, u.words) if own]
        digest.update(json.dumps([*fields, *parts]).encode())
    return digest.hexdigest()[:16]


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
class ShardRecord:
    """The result of one shard. The utterances' audio is relative to the manifest's folder."""

    utterances: tuple[Utterance, ...]
    sources: tuple[Source, ...]  # of each of them
    levels: tuple[AudioLevels, ...]
    rejects: tuple[Reject, ...]


def write_shard(shard: Shard, folder: Path, cutting: Cutting) -> None:
    """Write a shard's audio, NUMBER.flac, and then its record, NUMBER.json, into the folder, each whole or not at all.

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
    if not record.utterances:
        flac.unlink()
    write_text_atomically(folder / f"{shard.name}.json", _as_json(record))


def is_done(shard: Shard, folder: Path) -> bool:
    """Whether the shard's record is in the folder."""
    return (folder / f"{shard.name}.json").exists()


def forget(shard: Shard, folder: Path) -> None:
    """Remove the shard's record, without which it is not done."""
    (folder / f"{shard.name}.json").unlink()


def has_usable_rejects(shard: Shard, folder: Path, cutting: Cutting) -> bool:
    """Whether an utterance that the shard's record rejects can be used now. Decodes the rejected ones up to that."""
    rejected = {reject.where for reject in read_record(shard, folder).rejects}
    with PartLoader() as parts:
        for utterance in shard.utterances if rejected else ():
            if utterance.id in rejected:
                with suppress(InputError):
                    for piece, _, waveform in _pieces(utterance, cutting, parts):
                        _placed(piece, "", 0, len(waveform))
                    return True
    return False


def read_record(shard: Shard, folder: Path) -> ShardRecord:
    """The record that `write_shard` wrote of the shard into the folder."""
    fields_of = json.loads((folder / f"{shard.name}.json").read_text(encoding="utf-8"))
    return ShardRecord(
        tuple(
            Utterance(
                **fields
                | {name: tuple(Segment(**one) for one in fields.get(name, ())) for name in ("segments", "words")}
                | {"columns": tuple((name, value) for name, value in fields["columns"])}
            )
            for fields in fields_of["utterances"]
        ),
        tuple(Source(**fields) for fields in fields_of["sources"]),
        tuple(AudioLevels(**fields | {"digest": bytes.fromhex(fields["digest"])}) for fields in fields_of["sounds"]),
        tuple(Reject(**fields) for fields in fields_of["rejects"]),
    )


def _write_audio(shard: Shard, path: Path, name: str, cutting: Cutting) -> ShardRecord:
    utterances: list[Utterance] = []
    sources: list[Source] = []
    levels: list[AudioLevels] = []
    rejects: list[Reject] = []
    position = 0  # samples into the shard
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, "PCM_16", format="FLAC") as file, PartLoader() as parts:
        for utterance in shard.utterances:
            try:
                for piece, source, waveform in _pieces(utterance, cutting, parts):
                    placed = _placed(piece, name, position, len(waveform))
                    file.write((waveform * PCM_STEPS).to(torch.int16).numpy())
                    position += len(waveform)
                    utterances.append(placed)
                    sources.append(source)
                    levels.append(measure_levels(waveform))
            except InputError as error:
                rejects.append(Reject(utterance.id, str(error)))
    return ShardRecord(tuple(utterances), tuple(sources), tuple(levels), tuple(rejects))


def _pieces(utterance: Utterance, cutting: Cutting, parts: PartLoader) -> Iterator[tuple[Utterance, Source, Tensor]]:
    """Yield the utterance, its place in the recording and its waveform, or each piece of a long recording as an
    utterance of its own.

    Raises InputError where it cannot be decoded, is not as long as it says, or has one text for many pieces.
    """
    waveform = load_waveform(utterance, parts.load)
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


def _as_json(record: ShardRecord) -> str:
    fields: dict[str, Any] = {
        "utterances": [asdict(utterance) for utterance in record.utterances],
        "sources": [asdict(source) for source in record.sources],
        "sounds": [asdict(levels) | {"digest": levels.digest.hex()} for levels in record.levels],
        "rejects": [asdict(reject) for reject in record.rejects],
    }
    return json.dumps(fields, ensure_ascii=False) + "\n"
