"""open_corpus: from a reference to a Corpus, by the one reader in `readers.READERS` that detects its layout.

A reader never stops at a bad line: it is set aside as a Reject with its reason. Training goes on without it; a
benchmark, which must not drop any, calls `Corpus.require_complete`. Nothing is decoded here, and a file whose duration
the corpus states is not even opened, unless `check_durations` asks for it.
"""

import gc
import os
import random
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple, TypeGuard

from preprocessing.batching import evenly_spaced
from preprocessing.cli.notes import note_once
from preprocessing.corpus import readers
from preprocessing.corpus.lengths import audio_lengths
from preprocessing.corpus.readers.hugging_face import HUB_PREFIX, read_dataset
from preprocessing.corpus.readers.rows import Reader, Rows, has_id, read_fields, with_columns
from preprocessing.corpus.readers.times import Draft, finished
from preprocessing.corpus.utterance import Corpus, Reject, Utterance
from preprocessing.errors import InputError, counted
from preprocessing.storage.data_folder import missing_data_hint

STREAM_ROWS = 32  # of a stream at a time, whose headers are read side by side; each may hold a megabyte
MOST_CHECKED = 50_000  # stated durations of which each is compared with its file's
SAMPLED = 2_000  # of more: these are, and all if one of them differs


class ParsedRow(NamedTuple):
    """A row of a corpus and what was made of it, before any audio is opened.

    source, number: its place. parsed: an utterance, a draft of one whose duration is not stated, or the reason why
    there is none. by_file: whether it gives no id, so that its utterance has its file's name.
    """

    source: str
    number: int
    parsed: Utterance | Draft | str
    by_file: bool

    @property
    def stated_seconds(self) -> float | None:
        """The duration that the row states."""
        return self.parsed.duration if isinstance(self.parsed, Utterance) else None

    def rejected(self, reason: str) -> Reject:
        """The row as one that is set aside."""
        return Reject(_where(self.source, self.number), reason)


def open_corpus(
    reference: str,
    *,
    limit: int | None = None,
    spread: bool = False,
    check_durations: bool = False,
    columns: Sequence[str] | None = (),
) -> Corpus:
    """Read a corpus by its reference: a manifest's path, a folder, or `hf:DATASET[:CONFIG[:SPLIT[:COUNT]]]`.

    limit: read that many utterances at the most, the first ones.
    spread: take them evenly spaced over the corpus instead, so that they are of many speakers and texts; the audio of
    the others is not opened. Of a dataset, whose rows may hold their audio, the first are taken all the same.
    check_durations: read the header of every file, also where the corpus states a duration; where the two differ
    (`Utterance.has_duration`), the file's counts, and `Corpus.wrong_durations` names the utterance. Where more than
    MOST_CHECKED state one, the headers of SAMPLED of them are read, drawn at random, and all if one differs.
    columns: of the corpus, whose values each utterance keeps as `Utterance.columns`, where it has one; None keeps all
    that are not read into another field.
    Raises InputError when there is nothing at the reference or not one usable utterance in it, or no utterance has a
    value in one of `columns`.
    """
    rows = _rows(reference)
    corpus = _assemble(reference, rows, limit, spread and not rows.of_dataset, check_durations, columns)
    for name in columns or ():
        if all(name != kept for utterance in corpus.utterances for kept, _ in utterance.columns):
            raise InputError(
                f"{reference}: no utterance has a value in a column {name!r}; expected one: correct the name"
            )
    return corpus


def stream_corpus(reference: str, *, check_durations: bool = False) -> Iterator[Utterance | Reject]:
    """Yield the utterances and rejects of a corpus in their order as they are read, and keep none.

    For a corpus larger than memory and disk. An id that occurs twice is not noticed. check_durations: as in
    `open_corpus`.
    Raises InputError when there is nothing at the reference, or it cannot be read on.
    """
    rows = _rows(reference)
    while window := _parse(rows, STREAM_ROWS):
        for row, utterance in _with_durations(window, check_durations):
            yield row.rejected(utterance) if isinstance(utterance, str) else utterance


def from_dataset(dataset: Any, *, reference: str = "dataset", limit: int | None = None) -> Corpus:
    """The corpus of a `datasets.Dataset` or `IterableDataset` at hand; `reference` is what messages call it.

    limit: read that many utterances at the most, the first ones.
    Raises InputError where it is something else or holds not one usable utterance.
    """
    return _assemble(reference, read_dataset(dataset, reference), limit)


def _rows(reference: str) -> Rows:
    try:
        reader, path = _find_reader(reference)
        return reader.read(path)
    except OSError as error:
        raise InputError(
            f"{error.filename or reference}: {error.strerror}; expected readable files: correct their permissions"
        ) from None


def _find_reader(reference: str) -> tuple[Reader, str]:
    """The reader of a reference and what it is to read: the reference, or the one split in it.

    Raises InputError when none detects it, several do, or it holds several splits.
    """
    known = [reader for reader in readers.READERS if not reader.is_fallback]
    found = [reader for reader in known if reader.detects(reference)]
    if len(found) > 1:
        names = " and ".join(reader.name for reader in found)
        raise InputError(f"{reference}: holds {names}; expected one kind: name the file or sub-folder meant")
    splits: list[str] = next(filter(None, (reader.splits(reference) for reader in found or known)), [])
    if len(splits) > 1:
        raise InputError(
            f"{reference}: holds the splits {', '.join(splits)}; expected one: name it, as in "
            f"{os.path.join(reference, splits[0])}"
        )
    if found:
        return found[0], reference
    if splits:
        return _find_reader(os.path.join(reference, splits[0]))
    for reader in readers.READERS:
        if reader.is_fallback and reader.detects(reference):
            return reader, reference
    raise InputError(_not_found(reference))


def _not_found(reference: str) -> str:
    if not os.path.isdir(reference):
        return (
            f"{reference!r}"[1:-1] + ": no such file or folder; expected a manifest (JSONL, CSV, TSV, parquet), a "
            "folder with metadata.csv or of another known kind, or hf:DATASET: correct the path"
            f"{missing_data_hint(reference)}"
        )
    manifests = sorted(name for name in os.listdir(reference) if name.endswith((".jsonl", ".csv", ".tsv")))
    hint = f": name {' or '.join(manifests[:3])} in it" if manifests else ": name another, or add metadata.csv"
    kinds = "; ".join(reader.name for reader in readers.READERS)
    return f"{reference}: a folder without metadata.csv or any other known kind; expected one of: {kinds}{hint}"


def _assemble(
    reference: str,
    rows: Rows,
    limit: int | None,
    spread: bool = False,
    check_durations: bool = False,
    columns: Sequence[str] | None = (),
) -> Corpus:
    """Utterances in their order, each id once: where `rows.of_dataset`, all but the first of an id get a number.

    Without a limit, or with `spread`, all rows are read, then the missing durations of those that are taken.
    """
    accepted = _Accepted(numbers_repeated_ids=rows.of_dataset)
    unread: int | None = 0
    with _garbage_collection_paused():
        if spread and limit is not None:
            window, unread = _spread(_parse(rows, None, columns), limit)
            accepted.take(window, check_durations)
        else:
            while limit is None or len(accepted.utterances) < limit:
                window = _parse(rows, None if limit is None else limit - len(accepted.utterances), columns)
                if not window:
                    break
                accepted.take(window, check_durations)
            else:
                unread = None if _has_more(rows) else 0
    if accepted.copies:
        some = next(iter(accepted.copies))
        note_once(
            f"ids of {reference}",
            f"{reference}: {counted(len(accepted.copies), 'id')} of several rows, such as {some!r}; all but the first "
            f"of each are numbered, as {some}-2",
        )
    corpus = Corpus(
        reference, tuple(accepted.utterances), tuple(accepted.rejects), tuple(accepted.wrong_durations), unread
    )
    if not accepted.utterances:
        corpus.require_complete()
        raise InputError(f"{reference}: no utterances; expected one a line: check that it is the right file")
    return corpus


def _spread(parsed: list[ParsedRow], limit: int) -> tuple[list[ParsedRow], int]:
    """At most `limit` of the rows that are utterances, evenly spaced, with all that are none, and how many are left."""
    usable = [row for row in parsed if not isinstance(row.parsed, str)]
    chosen = evenly_spaced(usable, limit)
    rejected = [row for row in parsed if isinstance(row.parsed, str)]
    return [*rejected, *chosen], len(usable) - len(chosen)


def _has_more(rows: Rows) -> bool:
    """Whether a row follows, also one that cannot be read."""
    try:
        return next(rows.rows, None) is not None
    except (InputError, OSError):
        return True


class _Accepted:
    """The utterances of a corpus so far, each id once, and the rows that could not be one.

    numbers_repeated_ids: whether further utterances of an id are numbered; they are rejected otherwise. copies: the
    last number of each id that was numbered. wrong_durations: as in `Corpus`.
    """

    def __init__(self, *, numbers_repeated_ids: bool) -> None:
        self.utterances: list[Utterance] = []
        self.rejects: list[Reject] = []
        self.wrong_durations: list[str] = []
        self.copies: dict[str, int] = {}
        self._numbers_repeated_ids = numbers_repeated_ids
        self._index_of_id: dict[str, int] = {}
        self._sources: list[str] = []  # of each utterance, with the number of its row
        self._numbers = array("q")

    def take(self, window: list[ParsedRow], check_durations: bool) -> None:
        """Accept or reject each row."""
        for row, found in _with_durations(window, check_durations):
            if isinstance(found, str):
                self.rejects.append(row.rejected(found))
                continue
            utterance = self._with_own_id(found, by_file=row.by_file)
            if row.stated_seconds not in (None, utterance.duration):
                self.wrong_durations.append(utterance.id)
            if reason := self._add(utterance, row):
                self.rejects.append(row.rejected(reason))

    def _with_own_id(self, utterance: Utterance, *, by_file: bool) -> Utterance:
        """The utterance, under another id where its own is taken and may be changed; else as it is.

        by_file: whether the id is its file's name. Of two files with one name, in two folders, both get the folder.
        """
        known = self._index_of_id.get(utterance.id)
        if by_file and known is not None and (renamed := _named_by_folder(utterance)).id not in self._index_of_id:
            first = _named_by_folder(self.utterances[known])
            if self.utterances[known].id == utterance.id and first.id not in self._index_of_id:
                self.utterances[known] = first
                self._index_of_id[first.id] = known  # the bare name stays taken, for a third file
            utterance = renamed
        if self._numbers_repeated_ids and utterance.id in self._index_of_id:
            utterance = replace(utterance, id=self._numbered(utterance.id))
        return utterance

    def _add(self, utterance: Utterance, row: ParsedRow) -> str:
        """Accept the utterance of a row; where its id is taken, return why it is refused, which names the other row."""
        known = self._index_of_id.setdefault(utterance.id, len(self.utterances))
        if known == len(self.utterances):
            self.utterances.append(utterance)
            self._sources.append(row.source)
            self._numbers.append(row.number)
            return ""
        twin = self._index_of_id.get(_named_by_folder(utterance).id, known) if row.by_file else known
        before = _where(self._sources[twin], self._numbers[twin])
        if row.by_file and utterance.audio == self.utterances[twin].audio:
            return _same_audio(utterance, before)
        return f"id {utterance.id!r} occurs before, at {before}; expected each once: give both an id of their own"

    def _numbered(self, id: str) -> str:
        """The id with the next number behind it that no other utterance has: 12-2, 12-3."""
        number = self.copies.get(id, 1) + 1
        while f"{id}-{number}" in self._index_of_id:
            number += 1
        self.copies[id] = number
        return f"{id}-{number}"


def _same_audio(utterance: Utterance, before: str) -> str:
    """Of rows without ids for one part of a file: times under names that are not read are the usual cause."""
    part = "the whole" if _is_whole_file(utterance) else "this part"
    return (
        f"{part} of this audio file is at {before}, too; expected another part of it: give the part's times as 'start' "
        "and 'stop', or each line an 'id' if the audio is meant to be the same"
    )


def _named_by_folder(utterance: Utterance) -> Utterance:
    """The utterance with its file's folder in its id, `ann/1`, where its id is the file's name; else as it is."""
    if isinstance(utterance.audio, bytes):
        return utterance
    folder, name = os.path.split(os.fspath(utterance.audio))
    is_of_file = utterance.id.startswith(os.path.splitext(name)[0]) and os.path.basename(folder)
    return replace(utterance, id=f"{os.path.basename(folder)}/{utterance.id}") if is_of_file else utterance


def _parse(rows: Rows, count: int | None, columns: Sequence[str] | None = ()) -> list[ParsedRow]:
    """The next `count` rows, or all; columns: as in `open_corpus`."""
    window: list[ParsedRow] = []
    folder, keeps_columns = rows.folder, columns is None or len(columns) > 0
    for source, number, fields in islice(rows.rows, count):
        if isinstance(fields, str):
            window.append(ParsedRow(source, number, fields, by_file=False))
            continue
        parsed: Utterance | Draft | str
        try:
            parsed = read_fields(fields, folder)
            if keeps_columns:
                parsed = with_columns(parsed, fields, columns)
        except InputError as error:
            parsed = str(error)
        window.append(ParsedRow(source, number, parsed, by_file=not has_id(fields)))
    return window


def _with_durations(window: list[ParsedRow], check: bool) -> Iterator[tuple[ParsedRow, Utterance | str]]:
    """Each row with its utterance, a draft made one by its audio's header, or with the reason why there is none.

    check: also utterances that are whole files, whose stated duration the file's replaces where they differ. One whose
    file cannot be read stays as it is: it is set aside where it is decoded.
    """
    check = check and _must_be_checked(window)
    wanted = [
        (parsed.utterance.audio, None) if isinstance(parsed, Draft) else (parsed.audio, parsed)
        for parsed in (row.parsed for row in window)
        if isinstance(parsed, Draft) or (check and _is_whole_file(parsed))
    ]
    lengths = audio_lengths(wanted)
    for row in window:
        parsed = row.parsed
        if isinstance(parsed, Draft):
            seconds = next(lengths)
            try:
                if isinstance(seconds, InputError):
                    raise seconds
                yield row, finished(parsed, seconds)
            except InputError as error:
                yield row, str(error)
        elif check and _is_whole_file(parsed):
            seconds = next(lengths)
            if isinstance(seconds, float) and seconds > 0.0 and not parsed.has_duration(seconds):
                parsed = replace(parsed, duration=seconds)
            yield row, parsed
        else:
            yield row, parsed


def _must_be_checked(window: list[ParsedRow]) -> bool:
    """Whether the header of every file of a stated duration is to be read: few state one, or some are wrong."""
    stated = [row.parsed for row in window if _is_whole_file(row.parsed)]
    if len(stated) <= MOST_CHECKED:
        return True
    sample = random.Random(len(stated)).sample(stated, SAMPLED)
    lengths = audio_lengths([(utterance.audio, utterance) for utterance in sample])
    return any(
        isinstance(seconds, float) and seconds > 0.0 and not utterance.has_duration(seconds)
        for utterance, seconds in zip(sample, lengths, strict=True)
    )


def _is_whole_file(parsed: Utterance | Draft | str) -> TypeGuard[Utterance]:
    return isinstance(parsed, Utterance) and parsed.is_whole_file


def _where(source: str, number: int) -> str:
    """The place of a row: file:line, or reference[index]."""
    shown = source if source.isprintable() else repr(source)[1:-1]
    return f"{shown}[{number}]" if source.startswith(HUB_PREFIX) else f"{shown}:{number}"


@contextmanager
def _garbage_collection_paused() -> Iterator[None]:
    """A million utterances hold no cycles; looking for them would take a sixth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
