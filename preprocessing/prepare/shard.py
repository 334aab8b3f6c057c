"""One shard: its utterances decoded, cut, measured and written, in whatever process or machine this runs.

A shard is two files: NUMBER.flac, the utterances one after another without a gap, and NUMBER.json, which says where
each lies. The second is written last: a shard is done when it is there. Both appear whole or not at all.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import soundfile
import torch
from torch import Tensor

from preprocessing.audio import PCM_STEPS, SAMPLE_RATE
from preprocessing.corpus import Reject, Segment, Utterance, load_waveform
from preprocessing.corpus.sound import Sound, measure
from preprocessing.errors import InputError
from preprocessing.prepare.plan import Shard
from preprocessing.whole import whole_file, write_whole


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
    with whole_file(flac) as partial:
        written = _write_audio(shard, partial, f"{folder.name}/{flac.name}", cutting)
    if not written.utterances:
        flac.unlink()
    write_whole(folder / f"{shard.name}.json", _as_json(written))


def is_done(shard: Shard, folder: Path) -> bool:
    return (folder / f"{shard.name}.json").exists()


def read_record(shard: Shard, folder: Path) -> Written:
    """What `write_shard` wrote of the shard."""
    found = json.loads((folder / f"{shard.name}.json").read_text(encoding="utf-8"))
    return Written(
        tuple(_utterance(fields) for fields in found["utterances"]),
        tuple(Sound(**fields | {"digest": bytes.fromhex(fields["digest"])}) for fields in found["sounds"]),
        tuple(Reject(**fields) for fields in found["rejects"]),
    )


def _utterance(fields: dict[str, Any]) -> Utterance:
    return Utterance(**fields | {"segments": tuple(Segment(**segment) for segment in fields.get("segments", ()))})


def _write_audio(shard: Shard, path: Path, name: str, cutting: Cutting) -> Written:
    utterances: list[Utterance] = []
    sounds: list[Sound] = []
    rejects: list[Reject] = []
    at = 0  # samples into the shard
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, "PCM_16", format="FLAC") as file:
        for utterance in shard.utterances:
            try:
                for piece, waveform in _pieces(utterance, cutting):
                    file.write((waveform * PCM_STEPS).to(torch.int16).numpy())
                    start, at = at, at + len(waveform)
                    utterances.append(
                        replace(
                            piece,
                            audio=name,
                            duration=len(waveform) / SAMPLE_RATE,
                            start=start / SAMPLE_RATE,
                            stop=at / SAMPLE_RATE,
                        )
                    )
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
    if utterance.text.strip():
        raise InputError(
            f"lasts {seconds:.1f} s with one text; expected at most {cutting.max_seconds:g} s, or no text: a text "
            "cannot be cut with the audio, so give each stretch its own line with start and stop"
        )
    for number, (start, stop) in enumerate(_cuts(waveform, cutting)):
        yield replace(utterance, id=f"{utterance.id}-{number:04d}", segments=()), waveform[start:stop]


def _cuts(waveform: Tensor, cutting: Cutting) -> list[tuple[int, int]]:
    if cutting.segment == "fixed":
        length = round(cutting.max_seconds * SAMPLE_RATE)
        return [(start, min(start + length, len(waveform))) for start in range(0, len(waveform), length)]
    from preprocessing.voice_activity import segments

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
