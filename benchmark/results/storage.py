"""Results on the disk: samples.jsonl, timings.jsonl, throughput.jsonl and run.json, written first, and summary.json,
made from them.

Reading them gives back all that a report needs, so a run can be scored and reported again by a later version.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from benchmark.results.records import Sample, Throughput, Timing
from benchmark.results.run import Run
from benchmark.results.summary import SCHEMA, Summary
from preprocessing.errors import InputError
from preprocessing.whole import write_whole

SAMPLES, TIMINGS, THROUGHPUT, RUN, SUMMARY = (
    "samples.jsonl",
    "timings.jsonl",
    "throughput.jsonl",
    "run.json",
    "summary.json",
)
Line = TypeVar("Line")
Whole = TypeVar("Whole", Run, Summary)


def line_of(record: Sample | Timing | Throughput) -> str:
    return msgspec.json.encode(record).decode() + "\n"


def write_samples(path: Path, samples: Iterable[Sample]) -> None:
    write_whole(path, "".join(map(line_of, samples)))


def read_samples(path: Path) -> Iterator[Sample]:
    """Every sample of a samples.jsonl. Raises InputError naming the line that does not fit."""
    return _lines(path, msgspec.json.Decoder(Sample), "a sample")


def read_timings(path: Path) -> Iterator[Timing]:
    """Every timing of a timings.jsonl. Raises InputError naming the line that does not fit."""
    return _lines(path, msgspec.json.Decoder(Timing), "a timing")


def read_throughput(path: Path) -> Iterator[Throughput]:
    """Every round of a throughput.jsonl. Raises InputError naming the line that does not fit."""
    return _lines(path, msgspec.json.Decoder(Throughput), "a throughput")


def _lines(path: Path, decoder: "msgspec.json.Decoder[Line]", what: str) -> Iterator[Line]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise InputError(
                    f"{path}:{number}: not {what} of schema {SCHEMA} ({error}); run the benchmark again"
                ) from error


def write_summary(path: Path, summary: Summary) -> None:
    _write(path, summary)


def read_summary(path: Path) -> Summary:
    """The summary that `write_summary` wrote. Raises InputError when it is none, or of another schema."""
    return _read(path, Summary, "a summary of a benchmark run")


def write_run(path: Path, run: Run) -> None:
    _write(path, run)


def read_run(path: Path) -> Run:
    """What `write_run` wrote. Raises InputError when it is none, or of another schema."""
    return _read(path, Run, "a benchmark run")


def _write(path: Path, whole: Run | Summary) -> None:
    write_whole(path, msgspec.json.format(msgspec.json.encode(whole), indent=2).decode() + "\n")


def _read(path: Path, kind: type[Whole], what: str) -> Whole:
    content = path.read_bytes()
    try:
        schema = msgspec.json.decode(content).get("schema")
        if schema != SCHEMA:
            raise InputError(f"{path}: schema {schema}, expected {SCHEMA}; run the benchmark again")
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, AttributeError) as error:
        raise InputError(f"{path} is not {what} ({error}); run the benchmark again") from error
