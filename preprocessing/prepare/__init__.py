"""Preparation of a corpus of any size: decoded once into 16 kHz FLAC shards, with manifest, rejects and statistics.

`python -m preprocessing.prepare DATA OUT` is the command. Each shard is one job, done by any process or machine; its
bytes depend on the corpus and the options alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from preprocessing.cli.cores import usable_cores
from preprocessing.cli.options import check_counts
from preprocessing.errors import UsageError

SHORTEST_PIECE_SECONDS = 0.5


@dataclass(frozen=True)
class PrepareConfig:
    """Options of the command."""

    renamed: ClassVar[Mapping[str, str]] = {"output": "output_dir", "segment": "segmentation"}

    data: str
    """A manifest (JSONL, CSV, TSV), a folder or file of any layout in docs/corpora.md, or
    hf:DATASET[:CONFIG[:SPLIT[:COUNT]]]."""
    output_dir: Path
    """Folder for manifest.jsonl, shards/, rejects.jsonl and statistics.json; an unfinished preparation there is
    resumed, and one of data that was corrected or added to brought up to date."""
    engine: Literal["local", "ray"] = "local"
    """Processes on this machine, or Ray Data on a cluster (the extra `ray`)."""
    workers: int | None = None
    """Number of processes, or of concurrent Ray tasks. Default: one per CPU core."""
    segmentation: Literal["none", "fixed", "speech"] = "none"
    """How recordings over max_seconds without a text are cut: not at all (none), evenly (fixed) or at pauses
    (speech)."""
    max_seconds: float = 30.0
    """Longest segment of a cut recording, in seconds."""
    shard_seconds: float = 600.0
    """Most audio per shard (one FLAC file), in seconds, and at least half of it; the last utterance may exceed it."""
    profile: str | None = None
    """Text normalisation profile for the character counts in statistics.json; the texts themselves stay raw. Default:
    that of `python -m preprocessing.corpus`, by the language that the utterances name."""
    overwrite: bool = False
    """Start again in an output folder with a preparation of other data or options."""

    @property
    def processes(self) -> int:
        """`workers`, or the number of cores this process may use."""
        return self.workers or usable_cores()

    def check(self) -> None:
        """Raises UsageError naming the first value that cannot be used."""
        check_counts(("--workers", self.workers, 1))
        if not self.max_seconds >= SHORTEST_PIECE_SECONDS:
            raise UsageError(
                f"--max_seconds is {self.max_seconds:g}; expected {SHORTEST_PIECE_SECONDS:g} or more: raise it"
            )
        if not 0.0 < self.shard_seconds <= 86_400.0:
            raise UsageError(f"--shard_seconds is {self.shard_seconds:g}; expected over 0, up to 86400: change it")
        if self.output_dir.is_file():
            raise UsageError(f"{self.output_dir} is a file; expected a folder: choose another name")
