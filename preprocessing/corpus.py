"""Utterance, and the ways in: a JSONL manifest, a folder with metadata.csv, a Hugging Face dataset.

A reader never stops at a bad line: it sets the line aside as a Reject with its reason. Training goes on without it; a
benchmark, which must not drop any, calls `Corpus.whole`. Nothing is decoded here beyond a file's header.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from preprocessing.audio import AudioSource, probe
from preprocessing.errors import InputError, UsageError

TEXT_KEYS = ("text", "transcription", "transcript", "sentence", "normalized_text")  # as corpora name it, in this order


@dataclass(frozen=True, slots=True)
class Utterance:
    """One stretch of speech and what was said. `text` is raw; `start` and `stop` are seconds into `audio`."""

    id: str
    audio: AudioSource
    text: str
    duration: float  # seconds, of the part between start and stop
    speaker: str | None = None
    sex: str | None = None
    language: str | None = None
    domain: str | None = None
    start: float = 0.0
    stop: float | None = None


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
        """Itself. Raises InputError when anything was set aside: a benchmark never drops an utterance."""
        if self.rejects:
            first, more = self.rejects[0], len(self.rejects) - 1
            also = f" ({more} more like it)" if more else ""
            raise InputError(f"{first.where}: {first.reason}{also}")
        return self

    def first(self, count: int | None) -> "Corpus":
        return self if count is None else replace(self, utterances=self.utterances[:count])


def open_corpus(reference: str, *, limit: int | None = None) -> Corpus:
    """Read a corpus by its reference: a manifest's path, a folder, or `hf:DATASET[:CONFIG[:SPLIT[:COUNT]]]`.

    limit: read that many utterances at the most.
    Raises InputError when there is nothing at the reference or not one usable utterance in it.
    """
    if reference.startswith("hf:"):
        corpus = _assemble(reference, _dataset_rows(reference), limit)
    else:
        path = Path(reference)
        if path.is_dir():
            corpus = _assemble(reference, _folder_rows(path), limit)
        elif path.is_file():
            corpus = _assemble(reference, _manifest_rows(path), limit)
        else:
            raise InputError(
                f"{reference}: no such file or folder; expected a JSONL manifest, a folder with metadata.csv or "
                "hf:DATASET: mend the path"
            )
    if not corpus.utterances:
        corpus.whole()
        raise InputError(f"{reference}: no utterances; expected one a line: check that it is the right file")
    return corpus


Row = tuple[str, dict[str, Any] | str, Callable[[Any], AudioSource]]  # where, fields or a reason, what opens its audio


def _assemble(reference: str, rows: Iterable[Row], limit: int | None) -> Corpus:
    utterances: list[Utterance] = []
    rejects: list[Reject] = []
    seen: set[str] = set()
    for where, fields, find_audio in rows:
        if limit is not None and len(utterances) >= limit:
            break
        try:
            if isinstance(fields, str):
                raise InputError(fields)
            utterance = _utterance(fields, find_audio)
            if utterance.id in seen:
                raise InputError(f"id {utterance.id!r} occurs before; expected each once: rename one of them")
            seen.add(utterance.id)
            utterances.append(utterance)
        except InputError as error:
            rejects.append(Reject(where, str(error)))
    return Corpus(reference, tuple(utterances), tuple(rejects))


def _utterance(fields: dict[str, Any], find_audio: Callable[[Any], AudioSource]) -> Utterance:
    """Raises InputError with the reason when the fields make no utterance or its audio has no readable header."""
    if fields.get("audio") is None:
        raise InputError(f"no 'audio' among {_listed(fields)}; expected the path of an audio file: add it")
    text = next((fields[key] for key in TEXT_KEYS if fields.get(key) is not None), None)
    if not isinstance(text, str):
        raise InputError(f"no 'text' among {_listed(fields)}; expected what was said: add it, or '' for silence")
    audio = find_audio(fields["audio"])
    start, stop = _seconds(fields, "start") or 0.0, _seconds(fields, "stop")
    length = probe(audio).duration
    if length == 0.0:
        length = _seconds(fields, "duration") or 0.0  # the container does not say; the manifest may
    if start >= (stop if stop is not None else length):
        raise InputError(f"start {start:g} s is not before its end at {stop or length:g} s: mend start and stop")
    if stop is not None and stop > length + 0.1:
        raise InputError(f"stop {stop:g} s lies beyond the audio's end at {length:.2f} s: mend stop")
    return Utterance(
        id=str(fields.get("id") or (Path(fields["audio"]).stem if isinstance(fields["audio"], str) else "")),
        audio=audio,
        text=text,
        duration=(length if stop is None else min(stop, length)) - start,
        speaker=_name(fields, "speaker") or _name(fields, "speaker_id"),
        sex=_name(fields, "sex"),
        language=_name(fields, "language"),
        domain=_name(fields, "domain"),
        start=start,
        stop=stop,
    )


def _listed(fields: dict[str, Any]) -> str:
    return ", ".join(map(repr, fields)) or "no fields"


def _seconds(fields: dict[str, Any], key: str) -> float | None:
    value = fields.get(key)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0.0 <= value < float("inf"):
        raise InputError(f"{key!r} is {value!r}; expected seconds from 0 up: mend it")
    return float(value)


def _name(fields: dict[str, Any], key: str) -> str | None:
    value = fields.get(key)
    return None if value is None or value == "" else str(value)


def _beside(folder: Path) -> Callable[[Any], AudioSource]:
    """Audio paths are relative to the manifest's own folder."""

    def find(audio: Any) -> AudioSource:
        if not isinstance(audio, str) or not audio or "\0" in audio:
            raise InputError(f"'audio' is {audio!r}; expected a path: mend it")
        return folder / audio

    return find


def _manifest_rows(path: Path) -> Iterator[Row]:
    find_audio = _beside(path.parent)
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            where = f"{path}:{number}"
            try:
                fields = json.loads(line.decode("utf-8-sig"))
            except UnicodeDecodeError as error:
                yield where, f"not UTF-8 at byte {error.start}; expected UTF-8: convert the file", find_audio
            except (json.JSONDecodeError, RecursionError) as error:
                yield where, f"not JSON ({error}); expected one JSON object a line: mend the line", find_audio
            else:
                if isinstance(fields, dict):
                    yield where, fields, find_audio
                else:
                    found = type(fields).__name__
                    yield where, f"a JSON {found}; expected an object with 'audio' and 'text': mend it", find_audio


def _folder_rows(folder: Path) -> Iterator[Row]:
    """An audiofolder: metadata.csv with `file_name` and one of TEXT_KEYS."""
    path = folder / "metadata.csv"
    if not path.is_file():
        raise InputError(f"{folder}: a folder without metadata.csv; expected one with file_name and text: add it")
    find_audio = _beside(folder)
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines)
        if "file_name" not in (reader.fieldnames or ()):
            raise InputError(f"{path}: columns {reader.fieldnames}; expected 'file_name' among them: rename the column")
        try:
            for fields in reader:
                yield f"{path}:{reader.line_num}", _csv_fields(fields), find_audio
        except (UnicodeDecodeError, csv.Error) as error:
            yield f"{path}:{reader.line_num + 1}", f"cannot be read ({error}); expected UTF-8 CSV: mend it", find_audio


def _csv_fields(fields: dict[str, str | None]) -> dict[str, Any] | str:
    row: dict[str, Any] = {"audio": fields.get("file_name") or None} | fields
    for key in ("start", "stop", "duration"):
        try:
            row[key] = float(row[key]) if row.get(key) else None
        except ValueError:
            return f"{key!r} is {row[key]!r}; expected seconds: mend it"
    return row


def _dataset_rows(reference: str) -> Iterator[Row]:
    """Rows of `hf:DATASET[:CONFIG[:SPLIT[:COUNT]]]`, streamed; the encoded audio is held, never decoded by datasets."""
    name, config, split, count = (reference.removeprefix("hf:").split(":") + [""] * 4)[:4]
    if not name or (count and not count.isdecimal()):
        raise UsageError(f"{reference}: expected hf:DATASET[:CONFIG[:SPLIT[:COUNT]]] with a whole COUNT: mend it")
    from datasets import Audio, load_dataset

    try:
        dataset = load_dataset(name, config or None, split=split or "test", streaming=True)
        dataset = dataset.cast_column("audio", Audio(decode=False))
    except Exception as error:  # datasets raises many kinds, from many libraries
        raise InputError(
            f"{reference}: cannot be opened ({_first_line(error)}); check its name and the network"
        ) from error
    for number, fields in enumerate(dataset.take(int(count)) if count else dataset):
        fields.setdefault("id", f"{split or 'test'}-{number:06d}")
        yield f"{reference}[{number}]", fields, _bytes_of


def _bytes_of(audio: Any) -> AudioSource:
    content: bytes | None = audio.get("bytes")
    return content if content is not None else str(audio["path"])


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
