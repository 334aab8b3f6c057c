"""Shards of a corpus: which utterances go into which, and the job that decodes, cuts, measures and writes one."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import soundfile
import torch
from torch import Tensor

from preprocessing.audio import PCM_STEPS, SAMPLE_RATE
from preprocessing.cli.atomic_write import atomic_file, write_text_atomically
from preprocessing.cli.errors import InputError
from preprocessing.corpus import Corpus, Reject, Segment, Utterance, load_waveform
from preprocessing.corpus.levels import Sound, measure
from preprocessing.corpus.readers.rows import within
from preprocessing.prepare import PrepareConfig

FORMAT = 1  # rises whenever the same corpus and options would give other bytes


@dataclass(frozen=True)
class Shard:
    """One job: these utterances, in this order, into one FLAC file."""

    number: int
    utterances: tuple[Utterance, ...]

    @property
    def name(self) -> str:
        """
        >>> Shard(7, ()).name
        '000007'
        """
        return f"{self.number:06d}"

    @property
    def seconds(self) -> float:
        return sum(utterance.duration for utterance in self.utterances)


def make_plan(utterances: Sequence[Utterance], shard_seconds: float) -> list[Shard]:
    """Neighbours together, a new shard as soon as one holds `shard_seconds` of what the corpus says it holds."""
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
    """Of all that the bytes of the shards depend on: a preparation goes on only under the same one.

    Files are told apart by their names; one whose content changed in between is not noticed.
    """
    digest = hashlib.sha256()
    options = [FORMAT, config.segment, config.max_seconds, config.shard_seconds]
    digest.update(json.dumps(options).encode())
    for one in corpus.utterances:
        audio = hashlib.sha256(one.audio).hexdigest() if isinstance(one.audio, bytes) else os.fspath(one.audio)
        facts = [one.id, audio, one.text, one.duration, one.speaker, one.sex, one.language, one.domain]
        segments = [[(part.start, part.stop, part.text) for part in one.segments]] if one.segments else []
        digest.update(json.dumps([*facts, one.start, one.stop, *segments]).encode())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Cutting:
    """How recordings without text that last over `max_seconds` are cut; see PrepareConfig."""

    segment: str
    max_seconds: float


@dataclass(frozen=True)
class Written:
    """What became of a shard. The utterances' audio is relative to the manifest's folder."""

    utterances: tuple[Utterance, ...]
    sounds: tuple[Sound, ...]  # of each of them
    rejects: tuple[Reject, ...]


def write_shard(shard: Shard, folder: Path, cutting: Cutting) -> None:
    """Do the job and leave both files in the folder. An utterance that cannot be used becomes a reject."""
    flac = folder / f"{shard.name}.flac"
    with atomic_file(flac) as partial:
        written = _write_audio(shard, partial, f"{folder.name}/{flac.name}", cutting)
    if not written.utterances:
        flac.unlink()
    write_text_atomically(folder / f"{shard.name}.json", _as_json(written))


def is_done(shard: Shard, folder: Path) -> bool:
    return (folder / f"{shard.name}.json").exists()


def read_record(shard: Shard, folder: Path) -> Written:
    """What `write_shard` wrote of the shard."""
    found = json.loads((folder / f"{shard.name}.json").read_text(encoding="utf-8"))
    return Written(
        tuple(
            Utterance(**fields | {"segments": tuple(Segment(**one) for one in fields.get("segments", ()))})
            for fields in found["utterances"]
        ),
        tuple(Sound(**fields | {"digest": bytes.fromhex(fields["digest"])}) for fields in found["sounds"]),
        tuple(Reject(**fields) for fields in found["rejects"]),
    )


def _write_audio(shard: Shard, path: Path, name: str, cutting: Cutting) -> Written:
    utterances: list[Utterance] = []
    sounds: list[Sound] = []
    rejects: list[Reject] = []
    at = 0  # samples into the shard
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, "PCM_16", format="FLAC") as file:
        for utterance in shard.utterances:
            try:
                for piece, waveform in _pieces(utterance, cutting):
                    moved = _moved(piece, name, at, len(waveform))
                    file.write((waveform * PCM_STEPS).to(torch.int16).numpy())
                    at += len(waveform)
                    utterances.append(moved)
                    sounds.append(measure(waveform))
            except InputError as error:
                rejects.append(Reject(utterance.id, str(error)))
    return Written(tuple(utterances), tuple(sounds), tuple(rejects))


def _pieces(utterance: Utterance, cutting: Cutting) -> Iterator[tuple[Utterance, Tensor]]:
    """The utterance's waveform whole, or the pieces of a long recording, each an utterance of its own.

    Raises InputError where it cannot be decoded, is not as long as it says, or has one text for many pieces.
    """
    waveform = load_waveform(utterance)
    seconds = len(waveform) / SAMPLE_RATE
    if cutting.segment == "none" or seconds <= cutting.max_seconds:
        yield utterance, waveform
        return
    if utterance.text.strip() or utterance.segments:
        raise InputError(
            f"lasts {seconds:.1f} s with one text; expected at most {cutting.max_seconds:g} s, or no text: a text "
            "cannot be cut with the audio, so give each stretch its own line with start and stop"
        )
    for number, (start, stop) in enumerate(_cuts(waveform, cutting)):
        yield replace(utterance, id=f"{utterance.id}-{number:04d}"), waveform[start:stop]


def _moved(utterance: Utterance, name: str, at: int, n_samples: int) -> Utterance:
    """Itself where the shard has it, `at` samples from its beginning. Raises InputError on segments beyond its end."""
    start = at / SAMPLE_RATE
    by = start - utterance.start
    return within(
        replace(
            utterance,
            audio=name,
            duration=n_samples / SAMPLE_RATE,
            start=start,
            stop=(at + n_samples) / SAMPLE_RATE,
            segments=tuple(Segment(max(one.start + by, 0.0), one.stop + by, one.text) for one in utterance.segments),
        )
    )


def _cuts(waveform: Tensor, cutting: Cutting) -> list[tuple[int, int]]:
    if cutting.segment == "fixed":
        length = round(cutting.max_seconds * SAMPLE_RATE)
        return [(start, min(start + length, len(waveform))) for start in range(0, len(waveform), length)]
    from preprocessing.segment.voice_activity import segments

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # torch's sums change in the last bit with the threads, and a cut could move
    try:
        return [(span.start, span.stop) for span in segments(waveform, cutting.max_seconds)]
    finally:
        torch.set_num_threads(threads)


def _as_json(written: Written) -> str:
    fields: dict[str, Any] = {
        "utterances": [asdict(utterance) for utterance in written.utterances],
        "sounds": [asdict(sound) | {"digest": sound.digest.hex()} for sound in written.sounds],
        "rejects": [asdict(reject) for reject in written.rejects],
    }
    return json.dumps(fields, ensure_ascii=False) + "\n"
