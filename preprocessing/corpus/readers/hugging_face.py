"""Hugging Face datasets: streamed by `hf:` reference, saved by save_to_disk, handed over, or as parquet files.

Nothing is decoded by datasets, which wants torchcodec for that: the encoded bytes or the path come through. Where a row
holds the bytes, they stay in memory with its utterance.
"""

import os
from collections.abc import Iterable, Iterator
from typing import Any

from preprocessing.cli.errors import InputError, UsageError
from preprocessing.corpus.readers.rows import AUDIO_KEYS, Row, Rows, folders_in

PARQUET_ROWS = 64  # read at a time: a row may hold megabytes of audio


def read_reference(reference: str) -> Rows:
    """`hf:DATASET[:CONFIG[:SPLIT[:COUNT]]]`, streamed. Raises InputError when it cannot be opened."""
    name, config, split, count = (reference.removeprefix("hf:").split(":") + [""] * 4)[:4]
    if not name or (count and not count.isdecimal()):
        raise UsageError(f"{reference}: expected hf:DATASET[:CONFIG[:SPLIT[:COUNT]]] with a whole COUNT: mend it")
    from datasets import load_dataset

    try:
        dataset = load_dataset(name, config or None, split=split or "test", streaming=True)
        rows = _undecoded_stream(dataset.take(int(count)) if count else dataset)
    except Exception as error:  # datasets raises many kinds, from many libraries
        raise InputError(
            f"{reference}: cannot be opened ({_first_line(error)}); check its name and the network"
        ) from error
    return Rows("", _numbered(rows, reference, split or "test"))


def dataset_rows(dataset: Any, reference: str) -> Rows:
    """A datasets.Dataset or IterableDataset. Raises InputError for a DatasetDict, or where it has no audio column."""
    from datasets import Audio, Dataset, IterableDataset

    if isinstance(dataset, Dataset):
        for name, feature in dataset.features.items():
            if isinstance(feature, Audio):
                dataset = dataset.cast_column(name, Audio(decode=False))
        return Rows("", _numbered(dataset, reference, str(dataset.split or "row")))
    if isinstance(dataset, IterableDataset):
        return Rows("", _numbered(_undecoded_stream(dataset), reference, str(dataset.split or "row")))
    names = f" of the splits {', '.join(dataset)}" if isinstance(dataset, dict) else ""
    raise InputError(f"{reference}: a {type(dataset).__name__}{names}; expected one Dataset: choose a split of it")


def saved_splits(folder: str) -> list[str]:
    """Names of the splits when the folder is a DatasetDict's own."""
    if not os.path.isfile(os.path.join(folder, "dataset_dict.json")):
        return []
    return [os.path.basename(below) for below in folders_in(folder) if is_saved(below)]


def is_saved(folder: str) -> bool:
    return all(os.path.isfile(os.path.join(folder, name)) for name in ("state.json", "dataset_info.json"))


def read_saved(folder: str) -> Rows:
    """What Dataset.save_to_disk wrote."""
    from datasets import load_from_disk

    try:
        return dataset_rows(load_from_disk(folder), folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder}: cannot be read as a saved dataset ({_first_line(error)}); expected what save_to_disk writes: "
            "save it again"
        ) from error


def read_parquet(paths: list[str]) -> Rows:
    """Parquet files as the Hub holds them, or with paths of audio, relative to the files' folder."""
    return Rows(os.path.join(os.path.dirname(paths[0]), ""), _parquet_rows(paths))


def _parquet_rows(paths: list[str]) -> Iterator[Row]:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    total = 0
    for path in paths:
        try:
            with ParquetFile(path) as file:
                stem = os.path.basename(path).split("-")[0].removesuffix(".parquet")
                for batch in file.iter_batches(PARQUET_ROWS):
                    for fields in batch.to_pylist():
                        yield Row(path, total, {"id": _given_or_numbered(fields, stem, total)} | fields)
                        total += 1
        except (pyarrow.ArrowException, OSError) as error:
            raise InputError(
                f"{path}: cannot be read as parquet ({_first_line(error)}); expected a parquet file: fetch it again"
            ) from error


def _given_or_numbered(fields: dict[str, Any], stem: str, number: int) -> str:
    return str(fields.get("id") or f"{stem}-{number:06d}")


def _undecoded_stream(dataset: Any) -> Iterator[dict[str, Any]]:
    """The rows of a stream without its audio being decoded, however its builder hands the audio over.

    Parquet and tar archives give bytes; a folder of audio gives paths, and datasets would want torchcodec even to wrap
    one: there the column is declared to be what it is, a string.
    """
    from datasets import Audio, Value

    features = dataset.features or {}
    columns = [name for name, feature in features.items() if isinstance(feature, Audio)]
    columns = columns or [name for name in AUDIO_KEYS if not features or name in features][:1]
    as_is = {"bytes": Value("binary"), "path": Value("string")}
    raised: Exception | None = None
    for kind in (Audio(decode=False), as_is, Value("string")):
        attempt = dataset
        try:
            for column in columns:
                attempt = attempt.cast_column(column, kind)
            rows = iter(attempt)
            first = next(rows, None)
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            raised = raised or error
        else:
            return _again(first, rows)
    assert raised is not None
    raise raised


def _again(first: dict[str, Any] | None, rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    if first is not None:
        yield first
        yield from rows


def _numbered(rows: Iterable[dict[str, Any]], reference: str, split: str) -> Iterator[Row]:
    number = -1
    try:
        for number, fields in enumerate(rows):
            row: dict[str, Any] = {"id": f"{split}-{number:06d}"} | {
                name: value for name, value in fields.items() if name != "id" or value is not None
            }
            for key in AUDIO_KEYS[:1]:
                row[key] = _local(row.get(key))
            yield Row(reference, number, row)
    except (OSError, RuntimeError, ImportError, ValueError) as error:
        raise InputError(
            f"{reference}: cannot be read on after row {number} ({_first_line(error)}); check the network, then again"
        ) from error


def _local(audio: Any) -> Any:
    """The bytes of audio that lies on the Hub or in an archive; anything else as it is."""
    path = audio.get("path") if isinstance(audio, dict) and audio.get("bytes") is None else audio
    if not isinstance(path, str) or "://" not in path:
        return audio
    from datasets.utils.file_utils import xopen

    with xopen(path, "rb") as file:
        return file.read()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
