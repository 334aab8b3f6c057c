"""A folder of results, opened to be read: every command reads one this way, and says alike what it lacks."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmark.results.records import Run, Sample, Throughput, Timing
from benchmark.results.store import (
    RUN,
    SAMPLES,
    SUMMARY,
    THROUGHPUT,
    TIMINGS,
    read_run,
    read_samples,
    read_summary,
    read_throughput,
    read_timings,
)
from benchmark.results.summary import Summary
from preprocessing.errors import InputError


@dataclass(frozen=True)
class ResultsFolder:
    """A folder that benchmark/run.py wrote, finished or not. Each file is read when it is asked for: few commands need
    all of them, and the samples of a large corpus take much memory.

    Every method that reads raises InputError where its file is missing or invalid; files of timings and of throughput
    may be missing.
    """

    path: Path

    def has(self, name: str) -> bool:
        """Whether the folder has the file, such as samples.jsonl."""
        return (self.path / name).is_file()

    def check(self, *names: str) -> None:
        """Raises InputError where the folder lacks one of the files."""
        missing = next((name for name in names if not self.has(name)), None)
        if missing == SUMMARY and self.has(RUN):
            raise InputError(
                f"{self.path} holds an unfinished run, without {SUMMARY}; expected a finished one: run the same "
                "benchmark command again, which goes on with it"
            )
        if missing is not None:
            raise InputError(
                f"{self.path / missing} is missing; expected a folder that benchmark/run.py wrote, of schema 2 or "
                "later: name one, or run the benchmark again"
            )

    def read_run(self) -> Run:
        """What was measured, and under which settings."""
        self.check(RUN)
        return read_run(self.path / RUN)

    def read_summary(self) -> Summary:
        """The summary, which only a finished run has."""
        self.check(SUMMARY)
        return read_summary(self.path / SUMMARY)

    def read_samples(self) -> Iterator[Sample]:
        """Every sample, of systems that did not finish too."""
        self.check(SAMPLES)
        return read_samples(self.path / SAMPLES)

    def read_timings(self) -> list[Timing]:
        """Every timing; none without the file."""
        return list(read_timings(self.path / TIMINGS)) if self.has(TIMINGS) else []

    def read_throughputs(self) -> list[Throughput]:
        """Every round of throughput; none without the file."""
        return list(read_throughput(self.path / THROUGHPUT)) if self.has(THROUGHPUT) else []
