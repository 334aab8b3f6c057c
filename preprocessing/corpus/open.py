"""open_corpus: from a reference to a Corpus. What a folder holds says which reader reads it.

A reader never stops at a bad line: it is set aside as a Reject with its reason. Training goes on without it; a
benchmark, which must not drop any, calls `Corpus.whole`. Nothing is decoded here, and a file whose duration the
corpus states is not even opened.
"""

import gc
import os
from array import array
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import Any

from preprocessing.audio import StoredAudio, probe
from preprocessing.cli.errors import InputError
from preprocessing.corpus.readers import folders as audiofolder
from preprocessing.corpus.readers import folders as kaldi
from preprocessing.corpus.readers import folders as published
from preprocessing.corpus.readers import hugging_face
from preprocessing.corpus.readers.manifest import read_manifest
from preprocessing.corpus.readers.rows import Draft, Rows, folders_in, read_fields, settled_duration, within
from preprocessing.corpus.utterance import Corpus, Reject, Utterance

STREAM_ROWS = 32  # of a stream at a time, whose headers are read side by side; each may hold a megabyte
FOLDERS = (
    "one with metadata.csv or metadata.jsonl, LibriSpeech's, Common Voice's, Kaldi's, one that save_to_disk wrote, "
    "parquet files, or audio with a .txt beside each"
)


def open_corpus(reference: str, *, limit: int | None = None) -> Corpus:
    """Read a corpus by its reference: a manifest's path, a folder, or `hf:DATASET[:CONFIG[:SPLIT[:COUNT]]]`.

    limit: read that many utterances at the most.
    Raises InputError when there is nothing at the reference or not one usable utterance in it.
    """
    return _assemble(reference, _rows(reference), limit)


def stream_corpus(reference: str) -> Iterator[Utterance | Reject]:
    """The utterances of a corpus as they are read, and what could not be one, in their order: nothing is kept, so that
    a corpus may be larger than memory and disk. Whether an id is there twice is not looked at.

    Raises InputError when there is nothing at the reference, or it cannot be read on.
    """
    rows = _rows(reference)
    while window := _drafted(rows, STREAM_ROWS):
        for source, number, made in _settled(window):
            yield Reject(_where(source, number), made) if isinstance(made, str) else made


def from_dataset(dataset: Any, *, reference: str = "dataset", limit: int | None = None) -> Corpus:
    """A corpus of a `datasets.Dataset` or `IterableDataset` at hand; `reference` is what messages call it.

    Raises InputError where it is something else or holds not one usable utterance.
    """
    return _assemble(reference, hugging_face.dataset_rows(dataset, reference), limit)


def _rows(reference: str) -> Rows:
    if reference.startswith("hf:"):
        return hugging_face.read_reference(reference)
    try:
        if os.path.isdir(reference):
            return _folder_reader(reference)()
        if os.path.isfile(reference):
            return _file_rows(reference)
    except OSError as error:
        raise InputError(
            f"{error.filename or reference}: {error.strerror}; expected readable files: mend their permissions"
        ) from None
    except ValueError:  # a NUL in the name
        pass
    raise InputError(
        f"{reference!r}"[1:-1]
        + ": no such file or folder; expected a manifest (JSONL, CSV, TSV, parquet), a folder with "
        "metadata.csv or of another known kind, or hf:DATASET: mend the path"
    )


def _file_rows(path: str) -> Rows:
    if path.endswith(".parquet"):
        return hugging_face.read_parquet([path])
    if os.path.basename(path) == "wav.scp":
        return kaldi.read_kaldi(os.path.dirname(path))
    return read_manifest(path)


def _folder_reader(folder: str) -> Callable[[], Rows]:
    """What reads this folder. Raises InputError when it holds none or more than one kind, or several splits."""
    found: dict[str, Callable[[], Rows]] = {}
    metadata = audiofolder.metadata_file(folder)
    if metadata is not None:
        found[f"an audiofolder ({os.path.basename(metadata)})"] = lambda: audiofolder.read_audiofolder(folder)
    if kaldi.is_kaldi(folder):
        found["a Kaldi data folder (wav.scp)"] = lambda: kaldi.read_kaldi(folder)
    release = published.find_common_voice(folder)
    if release is not None:
        found["Common Voice (clips and its tables)"] = lambda: published.read_common_voice(release)
    if hugging_face.is_saved(folder):
        found["a saved dataset (state.json)"] = lambda: hugging_face.read_saved(folder)
    parquet = _parquet_files(folder)
    if parquet:
        found["parquet files"] = lambda: hugging_face.read_parquet(parquet)
    if published.is_librispeech(folder):
        found["a LibriSpeech tree (*.trans.txt)"] = lambda: published.read_librispeech(folder)
    if len(found) > 1:
        raise InputError(f"{folder}: holds {' and '.join(found)}; expected one kind: name the file or sub-folder meant")
    splits = _splits(folder) if not found or published.is_librispeech(folder) else []
    if len(splits) > 1:
        raise InputError(
            f"{folder}: holds the splits {', '.join(splits)}; expected one: name it, as in "
            f"{os.path.join(folder, splits[0])}"
        )
    if found:
        return next(iter(found.values()))
    if splits:
        return _folder_reader(os.path.join(folder, splits[0]))
    if audiofolder.has_text_beside_audio(folder):
        return lambda: audiofolder.read_text_beside_audio(folder)
    manifests = sorted(name for name in os.listdir(folder) if name.endswith((".jsonl", ".csv", ".tsv")))
    hint = f": name {' or '.join(manifests[:3])} in it" if manifests else ": name another, or add metadata.csv"
    raise InputError(f"{folder}: a folder without metadata.csv or any other known kind; expected {FOLDERS}{hint}")


def _parquet_files(folder: str) -> list[str]:
    """Of a folder, or of its data/ as the Hub lays it out. Raises InputError when they are of several splits."""
    for place in (folder, os.path.join(folder, "data")):
        if os.path.isdir(place):
            names = sorted(name for name in os.listdir(place) if name.endswith(".parquet"))
            splits = sorted({name.split("-")[0].removesuffix(".parquet") for name in names})
            if len(splits) > 1:
                raise InputError(
                    f"{place}: holds parquet files of {', '.join(splits)}; expected one split: name a file, or "
                    f"hf:{folder}::{splits[0]}"
                )
            if names:
                return [os.path.join(place, name) for name in names]
    return []


def _splits(folder: str) -> list[str]:
    """Sub-folders that are corpora of their own, as train/ and test/ are."""
    saved = hugging_face.saved_splits(folder)
    if saved:
        return saved
    with_metadata = [below for below in folders_in(folder) if audiofolder.metadata_file(below) is not None]
    return [os.path.basename(below) for below in with_metadata] or published.librispeech_subsets(folder)


def _assemble(reference: str, rows: Rows, limit: int | None) -> Corpus:
    """Utterances in their order, each id once. Without a limit all rows are read, then all missing durations."""
    utterances: list[Utterance] = []
    rejects: list[Reject] = []
    sources: list[str] = []  # of every accepted utterance, with its number: where an id was first seen
    numbers = array("q")
    first_seen: dict[str, int] = {}
    with _no_collections():
        while limit is None or len(utterances) < limit:
            window = _drafted(rows, None if limit is None else limit - len(utterances))
            if not window:
                break
            for source, number, made in _settled(window):
                if not isinstance(made, str):
                    known = first_seen.setdefault(made.id, len(utterances))
                    if known == len(utterances):
                        utterances.append(made)
                        sources.append(source)
                        numbers.append(number)
                        continue
                    before = _where(sources[known], numbers[known])
                    made = f"id {made.id!r} occurs before, at {before}; expected each once: rename one of them"
                rejects.append(Reject(_where(source, number), made))
    corpus = Corpus(reference, tuple(utterances), tuple(rejects))
    if not utterances:
        corpus.whole()
        raise InputError(f"{reference}: no utterances; expected one a line: check that it is the right file")
    return corpus


Made = tuple[str, int, "Utterance | Draft | str"]  # source, number, and the reason where it is no utterance


def _drafted(rows: Rows, count: int | None) -> list[Made]:
    made: list[Made] = []
    folder = rows.folder
    for source, number, fields in islice(rows.rows, count):
        if isinstance(fields, str):
            made.append((source, number, fields))
            continue
        try:
            made.append((source, number, read_fields(fields, folder)))
        except InputError as error:
            made.append((source, number, str(error)))
    return made


def _settled(window: list[Made]) -> Iterator[tuple[str, int, Utterance | str]]:
    drafts = [made for _, _, made in window if isinstance(made, Draft)]
    read = lengths((draft.utterance.audio for draft in drafts), len(drafts))
    for source, number, made in window:
        if isinstance(made, Draft):
            length = next(read)
            try:
                if isinstance(length, InputError):
                    raise length
                yield source, number, within(replace(made.utterance, duration=settled_duration(made, length)))
            except InputError as error:
                yield source, number, str(error)
        else:
            yield source, number, made


def _where(source: str, number: int) -> str:
    shown = source if source.isprintable() else repr(source)[1:-1]
    return f"{shown}[{number}]" if source.startswith("hf:") else f"{shown}:{number}"


@contextmanager
def _no_collections() -> Iterator[None]:
    """A million utterances hold no cycles; looking for them would take a sixth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


THREADS = 8  # headers are small: the wait for a disk or a network is what there is to share
AT_ONCE = 2048
QUIET_FILES = 2000  # fewer are read before a progress bar would be seen


def lengths(sources: Iterable[StoredAudio], total: int) -> Iterator[float | InputError]:
    """Seconds of each source in order, 0 where its container does not say; the error instead where it is no audio.

    A long reading shows its progress on stderr.
    """
    if total < 8:
        yield from map(_length, sources)
        return
    from rich.console import Console
    from rich.progress import Progress

    waiting = iter(sources)
    quiet = total < QUIET_FILES
    with (
        Progress(console=Console(stderr=True), transient=True, disable=quiet) as bar,
        ThreadPoolExecutor(THREADS) as pool,
    ):
        task = bar.add_task("reading audio headers", total=total)
        while chunk := list(islice(waiting, AT_ONCE)):
            yield from pool.map(_length, chunk)
            bar.advance(task, len(chunk))


def _length(source: StoredAudio) -> float | InputError:
    try:
        return probe(source).duration
    except InputError as error:
        return error
