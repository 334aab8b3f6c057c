"""The messages between a benchmark and the process of a system: frozen dataclasses, pickled over a pipe.

The parent sends a WorkerSetup when it starts the process, then Tasks. The process answers Loaded or LoadFailed once,
and for each Task one BatchDone a batch, in order, and TaskFinished last.
"""

from dataclasses import dataclass

from benchmark.dataset import EvaluationSet, Item
from benchmark.results import StageSeconds, SystemFacts
from finetune.systems.base import LoadOptions, SystemSpec
from finetune.systems.transcript import Word

Batch = tuple[Item, ...]


@dataclass(frozen=True)
class WorkerSetup:
    """All that a process needs before its first task.

    local_rank, local_processes: this process's place among those that `accelerate launch` started on the machine.
    threads: how many it computes with on a CPU; None: as many as torch does by default.
    """

    spec: SystemSpec
    options: LoadOptions
    evaluation_set: EvaluationSet
    local_rank: int = 0
    local_processes: int = 1
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """Batches to transcribe in order.

    overlap: the next batches are decoded while one is computed. words: the words of each utterance are asked for, and
    nothing is timed. longest_seconds: of an utterance that lasts longer, only its beginning is decoded.
    """

    batches: tuple[Batch, ...]
    overlap: bool
    words: bool = False
    longest_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """The system is ready. load_seconds includes importing its libraries, not starting the interpreter."""

    facts: SystemFacts
    load_seconds: float
    batched: bool
    longest_in_batch_seconds: float
    has_word_times: bool = False


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """The system cannot be loaded; `reason` is one sentence."""

    reason: str


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """The raw transcript of one utterance; with an `error` the text is empty. words: where the task asks for them."""

    text: str
    error: str | None = None
    words: tuple[Word, ...] | None = None


@dataclass(frozen=True, slots=True)
class BatchDone:
    """hypotheses: in the batch's order. split: the batch failed as a whole, so its utterances were done one by one."""

    batch: Batch
    hypotheses: tuple[Hypothesis, ...]
    seconds: StageSeconds
    split: bool


@dataclass(frozen=True, slots=True)
class TaskFinished:
    """The last message of a task: wall-clock seconds of all its batches, and the process's peak memory so far.

    memory_before_loading_bytes: its peak before the system was loaded, of Python, torch and the audio path.
    """

    wall_seconds: float
    joules: float | None
    peak_memory_bytes: int
    memory_before_loading_bytes: int
    peak_device_memory_bytes: int | None


Reply = Loaded | LoadFailed | BatchDone | TaskFinished
