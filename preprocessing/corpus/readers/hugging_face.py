"""Hugging Face datasets: streamed from the Hub, saved by save_to_disk, at hand in Python, or as parquet files.

`datasets` decodes nothing here, since it needs torchcodec for that: the encoded bytes or the path come through. Where a
row holds the bytes, they stay in memory with its utterance. A column of class labels gives their names: female, not 1.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from preprocessing.corpus.readers.rows import AUDIO_KEYS, Row, Rows, folder_of, folders_in, has_id
from preprocessing.errors import InputError, UsageError, first_line

HUB_PREFIX = "hf:"
DEFAULT_SPLIT = "test"
PARQUET_ROWS = 64  # read at a time: a row may hold megabytes of audio
# In datasets these are times in the recording that a clip was cut from: GigaSpeech, AMI, Multilingual LibriSpeech.
SOURCE_TIME_KEYS = ("begin_time", "start_time", "end_time", "stop_time")

Labels = dict[str, list[str]]  # column of class labels -> their names


def is_hub_reference(reference: str) -> bool:
    """Whether the reference begins with hf:."""
    return reference.startswith(HUB_PREFIX)


@dataclass(frozen=True, slots=True)
class HubReference:
    """The parts of `hf:DATASET[:CONFIG[:SPLIT[:COUNT]]]`: test is the split where none is named. config: None for the
    dataset's default. count: how many rows from the first on, None for all.
    """

    dataset: str
    config: str | None
    split: str
    count: int | None

    @classmethod
    def parse(cls, reference: str) -> "HubReference":
        """Raises UsageError when the reference has another form.

        >>> HubReference.parse("hf:google/fleurs:de_de")
        HubReference(dataset='google/fleurs', config='de_de', split='test', count=None)
        """
        dataset, config, split, count = (reference.removeprefix(HUB_PREFIX).split(":") + [""] * 4)[:4]
        if not dataset or (count and not count.isdecimal()):
            raise UsageError(f"{reference}: expected hf:DATASET[:CONFIG[:SPLIT[:COUNT]]] with a whole COUNT: fix it")
        return cls(dataset, config or None, split or DEFAULT_SPLIT, int(count) if count else None)


def read_hub_reference(reference: str) -> Rows:
    """The rows of `hf:DATASET[:CONFIG[:SPLIT[:COUNT]]]`, streamed; the split is test where none is named.

        hf:openslr/librispeech_asr:clean:test:100
        hf:google/fleurs:de_de
        hf:folder/of/parquet/files

    Raises UsageError when the reference has another form, InputError when it cannot be opened.
    """
    parts = HubReference.parse(reference)
    from datasets import load_dataset

    try:
        dataset = load_dataset(parts.dataset, parts.config, split=parts.split, streaming=True)
        rows = _undecoded_stream(dataset if parts.count is None else dataset.take(parts.count))
        labels = _labels(dataset.features)
    except Exception as error:  # datasets raises many kinds, from many libraries
        raise InputError(
            f"{reference}: cannot be opened ({first_line(error)}); check its name and the network"
        ) from error
    return Rows("", _dataset_rows(rows, labels, reference, parts.split), of_dataset=True)


def is_saved_dataset(folder: str) -> bool:
    """Whether Dataset.save_to_disk wrote the folder."""
    return all(os.path.isfile(os.path.join(folder, name)) for name in ("state.json", "dataset_info.json"))


def read_saved_dataset(folder: str) -> Rows:
    """The rows of what Dataset.save_to_disk wrote.

    saved/state.json
    saved/dataset_info.json
    saved/data-00000-of-00001.arrow
    """
    from datasets import load_from_disk

    try:
        return read_dataset(load_from_disk(folder), folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder}: cannot be read as a saved dataset ({first_line(error)}); expected what save_to_disk writes: "
            "save it again"
        ) from error


def saved_splits(folder: str) -> list[str]:
    """Names of the splits of a folder that DatasetDict.save_to_disk wrote."""
    if not os.path.isfile(os.path.join(folder, "dataset_dict.json")):
        return []
    return [os.path.basename(below) for below in folders_in(folder) if is_saved_dataset(below)]


def read_dataset(dataset: Any, reference: str) -> Rows:
    """The rows of a datasets.Dataset or IterableDataset at hand; `reference` is what messages call it.

    Raises InputError for anything else, a DatasetDict of several splits too.
    """
    from datasets import Audio, Dataset, IterableDataset

    if isinstance(dataset, Dataset):
        for name, feature in dataset.features.items():
            if isinstance(feature, Audio):
                dataset = dataset.cast_column(name, Audio(decode=False))
        rows: Iterable[dict[str, Any]] = dataset
    elif isinstance(dataset, IterableDataset):
        rows = _undecoded_stream(dataset)
    else:
        raise InputError(_no_dataset(dataset, reference))
    split = str(dataset.split or "row")
    return Rows("", _dataset_rows(rows, _labels(dataset.features), reference, split), of_dataset=True)


def _no_dataset(dataset: Any, reference: str) -> str:
    names = f" of the splits {', '.join(dataset)}" if isinstance(dataset, dict) else ""
    return f"{reference}: a {type(dataset).__name__}{names}; expected one Dataset: choose a split of it"


def is_parquet(path: str) -> bool:
    """Whether the path is a parquet file, or a folder with some. Raises InputError when they are of several splits."""
    return bool(_parquet_files(path))


def read_parquet(path: str) -> Rows:
    """The rows of a parquet file, or of a folder's files as the Hub lays a dataset out.

        data/train-00000-of-00002.parquet       audio (bytes and path, or a path), sentence, speaker_id
        data/train-00001-of-00002.parquet

    Relative paths of audio are relative to the files' folder.
    """
    paths = _parquet_files(path)
    return Rows(folder_of(paths[0]), _parquet_rows(paths), of_dataset=True)


def _parquet_files(path: str) -> list[str]:
    """The file itself, or those in a folder, or in its data/."""
    if os.path.isfile(path):
        return [path] if path.endswith(".parquet") else []
    for folder in (path, os.path.join(path, "data")):
        if os.path.isdir(folder):
            names = sorted(name for name in os.listdir(folder) if name.endswith(".parquet"))
            splits = sorted({_split_of(name) for name in names})
            if len(splits) > 1:
                raise InputError(
                    f"{folder}: holds parquet files of {', '.join(splits)}; expected one split: name a file, or "
                    f"{HUB_PREFIX}{path}::{splits[0]}"
                )
            if names:
                return [os.path.join(folder, name) for name in names]
    return []


def _split_of(path: str) -> str:
    """train of train-00000-of-00002.parquet."""
    return os.path.basename(path).split("-")[0].removesuffix(".parquet")


def _parquet_rows(paths: list[str]) -> Iterator[Row]:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    number = 0
    for path in paths:
        try:
            with ParquetFile(path) as file:
                labels = _labels_of_schema(file.schema_arrow)
                for batch in file.iter_batches(PARQUET_ROWS):
                    for fields in batch.to_pylist():
                        yield Row(path, number, _own_fields(fields, labels, _split_of(path), number))
                        number += 1
        except (pyarrow.ArrowException, OSError) as error:
            raise InputError(
                f"{path}: cannot be read as parquet ({first_line(error)}); expected a parquet file: fetch it again"
            ) from error


def _labels_of_schema(schema: Any) -> Labels:
    """The names of class labels that datasets wrote into the schema of a parquet file; {} where it wrote none."""
    if b"ClassLabel" not in (schema.metadata or {}).get(b"huggingface", b""):
        return {}
    from datasets import Features

    return _labels(Features.from_arrow_schema(schema))


def _labels(features: Any) -> Labels:
    from datasets import ClassLabel

    return {name: list(one.names) for name, one in (features or {}).items() if isinstance(one, ClassLabel)}


def _own_fields(fields: dict[str, Any], labels: Labels, split: str, number: int) -> dict[str, Any]:
    """The fields with names for class labels, without times that are not into the row's own audio, and with an id of
    split and number where they have none.
    """
    for column, names in labels.items():
        value = fields.get(column)
        if isinstance(value, int):
            fields = fields | {column: names[value] if 0 <= value < len(names) else None}  # -1: not known
    if any(isinstance(fields.get(key), bytes | dict) for key in AUDIO_KEYS):
        fields = {key: value for key, value in fields.items() if key not in SOURCE_TIME_KEYS}
    return fields if has_id(fields) else fields | {"id": f"{split}-{number:06d}"}


def _undecoded_stream(dataset: Any) -> Iterator[dict[str, Any]]:
    """The rows of a stream without its audio being decoded, however its builder hands the audio over.

    Parquet and tar archives give bytes; a folder of audio gives paths, and datasets would want torchcodec even to wrap
    one: there the column is declared to be what it is, a string.
    """
    from datasets import Audio, Value

    features = dataset.features or {}
    columns = [name for name, feature in features.items() if isinstance(feature, Audio)]
    columns = columns or [name for name in AUDIO_KEYS if not features or name in features][:1]
    undeclared = {"bytes": Value("binary"), "path": Value("string")}
    raised: Exception | None = None
    for kind in (Audio(decode=False), undeclared, Value("string")):
        attempt = dataset
        try:
            for column in columns:
                attempt = attempt.cast_column(column, kind)
            rows = iter(attempt)
            first = next(rows, None)
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            raised = raised or error
        else:
            return rows if first is None else chain([first], rows)
    assert raised is not None
    raise raised


def _dataset_rows(rows: Iterable[dict[str, Any]], labels: Labels, reference: str, split: str) -> Iterator[Row]:
    number = -1
    try:
        for number, fields in enumerate(rows):
            audio = {"audio": _local(fields.get("audio"))}
            yield Row(reference, number, _own_fields(fields, labels, split, number) | audio)
    except (OSError, RuntimeError, ImportError, ValueError) as error:
        raise InputError(
            f"{reference}: cannot be read on after row {number} ({first_line(error)}); check the network, then again"
        ) from error


def _local(audio: Any) -> Any:
    """The bytes of audio that lies on the Hub or in an archive; anything else as it is."""
    path = audio.get("path") if isinstance(audio, dict) and audio.get("bytes") is None else audio
    if not isinstance(path, str) or "://" not in path:
        return audio
    from datasets.utils.file_utils import xopen

    with xopen(path, "rb") as file:
        return file.read()
