"""What a benchmark and the process of a system say to each other: plain data, pickled."""

from dataclasses import dataclass

from benchmark.dataset import Material
from benchmark.results import StageSeconds, SystemFacts
from benchmark.systems.base import LoadOptions, SystemSpec

Item = tuple[int, int]  # condition, place among its utterances: indices into Material
Batch = tuple[Item, ...]


@dataclass(frozen=True)
class Setup:
    """All that a process needs before its first task.

    local_rank, local_processes: this process's turn among those that `accelerate launch` started on the machine.
    """

    spec: SystemSpec
    options: LoadOptions
    material: Material
    local_rank: int = 0
    local_processes: int = 1


@dataclass(frozen=True, slots=True)
class Task:
    """Batches to be transcribed in their order. overlap: decode the next ones while a batch is computed."""

    batches: tuple[Batch, ...]
    overlap: bool


@dataclass(frozen=True, slots=True)
class Loaded:
    """The system is ready; seconds without imports of the interpreter, but with those of its libraries."""

    facts: SystemFacts
    load_seconds: float
    batched: bool
    longest_in_batch_seconds: float


@dataclass(frozen=True, slots=True)
class Refused:
    """The system cannot be loaded; `reason` is one sentence."""

    reason: str


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of one utterance; with an `error` the hypothesis is empty."""

    hypothesis: str
    error: str | None = None


@dataclass(frozen=True, slots=True)
class BatchDone:
    """heard: in the batch's order. split: the batch failed, and its utterances were done one by one."""

    batch: Batch
    heard: tuple[Heard, ...]
    seconds: StageSeconds
    split: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """The task's last message: wall-clock seconds of all its batches, and what the process held at most so far."""

    wall_seconds: float
    joules: float | None
    peak_memory_bytes: int
    peak_device_memory_bytes: int | None


Reply = Loaded | Refused | BatchDone | Ended
