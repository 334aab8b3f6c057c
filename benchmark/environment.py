"""Where a run is measured: machine, device, the processes of `accelerate launch`; and the command that measures it."""

import hashlib
import os
import platform
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from datetime import timedelta
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import psutil

from benchmark.config import BenchmarkConfig, as_text
from benchmark.dataset import EvaluationSet
from benchmark.results.store import FINGERPRINT_KIND, SampleKey
from finetune.systems.base import SystemSpec
from preprocessing.cli.cores import THREADS_VARIABLE, default_threads, describe_cores, has_quota, usable_cores
from preprocessing.corpus import Utterance
from preprocessing.storage.file_identity import common_folder, sampled

GROUP_TIMEOUT = timedelta(days=7)  # the other processes wait while the first one measures latency
NOT_MEASURING = ("output_dir", "overwrite", "fail_on_regression")  # flags that change no measurement
GIT_SECONDS = 20.0
Element = TypeVar("Element")


@dataclass(frozen=True)
class DistributedRanks:
    """This process among those that `accelerate launch` or torchrun started; the defaults are a process alone.

    Collective methods (`wait_for_everyone`, `broadcast`, `gather`) must be called by all processes in the same order.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process measures time, writes the summary and prints."""
        return self.rank == 0

    @property
    def file_rank(self) -> int | None:
        """The rank, for names of this process's own files; None where it is the only process."""
        return None if self.count == 1 else self.rank

    def shard(self, elements: Sequence[Element]) -> list[Element]:
        """This process's share of the elements; each element is in exactly one process's."""
        return list(elements[self.rank :: self.count])

    def wait_for_everyone(self) -> None:
        """Returns once every process has called it."""
        if self.count > 1:
            from accelerate.utils import wait_for_everyone

            wait_for_everyone()

    def broadcast(self, value: Element) -> Element:
        """The value that the first process has passed, in every process."""
        if self.count == 1:
            return value
        from accelerate.utils import broadcast_object_list

        found: list[Element] = broadcast_object_list([value])
        return found[0]

    def gather(self, elements: Sequence[Element]) -> list[Element]:
        """The elements of all processes, in the order of ranks, in every process."""
        if self.count == 1:
            return list(elements)
        from accelerate.utils import gather_object

        found: list[Element] = gather_object(list(elements))
        return found


def join_process_group() -> DistributedRanks:
    """Join the group of the processes that a launcher started, over gloo; without a launcher there is one process."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return DistributedRanks()
    from accelerate import PartialState

    state: Any = PartialState(cpu=True, timeout=GROUP_TIMEOUT)
    return DistributedRanks(
        rank=state.process_index,
        count=state.num_processes,
        local_rank=state.local_process_index,
        local_count=int(os.environ.get("LOCAL_WORLD_SIZE", count)),
    )


def leave_process_group() -> None:
    """Leave the group again, so that no process waits for another at exit."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from accelerate import PartialState

        PartialState().destroy_process_group()


def threads_of_systems(local_processes: int = 1) -> int:
    """How many threads every system computes with on a CPU: torch's default within the quota of a container, or what
    OMP_NUM_THREADS says.

    Under a launcher: an equal share of the cores, unless OMP_NUM_THREADS is more than one. One is what launchers set
    where the user has set nothing. local_processes: how many a launcher has started on this machine.
    """
    if "WORLD_SIZE" not in os.environ or os.environ.get(THREADS_VARIABLE, "1") != "1":
        return default_threads()
    return max(usable_cores() // local_processes, 1)


def describe_machine(device: str, local_processes: int = 1) -> dict[str, str]:
    """What a report says of the machine, by topic: processor, cores, memory, versions, the quota where a container has
    one, and the GPU of "cuda".

    local_processes: as of `threads_of_systems`.
    """
    import torch

    description = {
        "processor": _processor(),
        "cores": f"{usable_cores()}",
        **({"quota": describe_cores()} if has_quota() else {}),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "threads": f"{threads_of_systems(local_processes)}",
        "torch": f"{torch.__version__}",
        "transformers": version("transformers"),
        "openai-whisper": version("openai-whisper"),
    }
    if device == "cuda":
        description["device"] = torch.cuda.get_device_name()
    return description


def command_of(config: BenchmarkConfig) -> str:
    """The command that measures this again: every setting that is not at its default, wherever it was given.

    --compare is among them where it gives the batch sizes, as --batch_seconds is not set.

    >>> command_of(BenchmarkConfig(models="whisper", rounds=5, profiles=["basic"]))
    "python benchmark/run.py --models whisper --profiles '[basic]' --rounds 5"
    """
    words = ["python", "benchmark/run.py"]
    left_out = NOT_MEASURING if config.batch_seconds is None else (*NOT_MEASURING, "compare")
    for one in fields(config):
        value, default = getattr(config, one.name), one.default
        default = one.default_factory() if one.default_factory is not MISSING else default
        if value != default and one.name not in left_out:
            shown = f"[{','.join(value)}]" if isinstance(value, list) else as_text(value)
            words += [f"--{one.name}", shown]
    return shlex.join(words)


def sample_order(specs: Sequence[SystemSpec], evaluation_set: EvaluationSet) -> dict[SampleKey, int]:
    """The place of every sample in a finished samples.jsonl: by system, condition, and the order of the corpus."""
    keys = [
        (spec.name, evaluation_set.condition_name(item), evaluation_set.utterance(item).id)
        for spec in specs
        for item in evaluation_set.items()
    ]
    return {key: place for place, key in enumerate(keys)}


def _processor() -> str:
    cpu_info = Path("/proc/cpuinfo")
    if cpu_info.exists():
        for line in cpu_info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def corpus_fingerprint(utterances: Sequence[Utterance]) -> str:
    """A hash that changes with anything that a sample records of its utterance, so that a resumed run does not mix
    speakers, texts or files of two versions of a corpus. Of audio in memory its length counts; of files their paths
    below the folder that all are in, their sizes and a part of each, so that a copy of the corpus has the same hash.
    """
    digest = hashlib.sha256()
    paths = {os.fspath(one.audio) for one in utterances if not isinstance(one.audio, bytes)}
    folder = common_folder(paths)
    sample = lru_cache(maxsize=1)(sampled)  # parts of one file follow each other; of all files it were much memory
    for one in utterances:
        audio: int | tuple[str, int, bytes]
        if isinstance(one.audio, bytes):
            audio = len(one.audio)
        else:
            path = os.fspath(one.audio)
            audio = (os.path.relpath(path, folder), *sample(path))
        described = (one.speaker, one.sex, one.language, one.domain, one.segments, one.words, one.channel, one.columns)
        digest.update(repr((one.id, audio, one.text, one.duration, one.start, one.stop, *described)).encode())
    return f"{FINGERPRINT_KIND}{digest.hexdigest()[:12]}"


def code_version() -> str | None:
    """The git commit of this code, "1a2b3c4d5e6f" or "1a2b3c4d5e6f, modified"; None where it is no checkout."""
    root = Path(__file__).resolve().parents[1]

    def git(*arguments: str) -> str:
        command = ["git", "-C", os.fspath(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=GIT_SECONDS, check=True).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != root:  # installed into another project's folder
            return None
        commit = git("rev-parse", "HEAD")[:12]
        return f"{commit}, modified" if git("status", "--porcelain", "--untracked-files=no") else commit
    except (OSError, subprocess.SubprocessError):
        return None
