"""On what a run is measured: machine, device, the processes of `accelerate launch`, and how the run describes itself."""

import hashlib
import os
import platform
import shlex
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import psutil

from benchmark.config import BenchmarkConfig
from benchmark.dataset import Material
from benchmark.results import Run, SystemFacts, SystemRun
from benchmark.results.store import Key
from benchmark.systems.base import SystemSpec
from preprocessing.cli.errors import UsageError
from preprocessing.corpus import Corpus, Utterance


def describe_machine(device: str) -> dict[str, str]:
    import torch

    facts = {
        "processor": _processor(),
        "cores": f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "torch": f"{torch.__version__}, {torch.get_num_threads()} threads",
        "transformers": version("transformers"),
        "openai-whisper": version("openai-whisper"),
    }
    if device == "cuda":
        facts["device"] = torch.cuda.get_device_name()
    return facts


def _processor() -> str:
    cpu_info = Path("/proc/cpuinfo")
    if cpu_info.exists():
        for line in cpu_info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


PATIENCE = timedelta(days=7)  # others wait while the first one measures latency
Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Ranks:
    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    @property
    def file_rank(self) -> int | None:
        """What the rank's own files are named after; None where it is the only one."""
        return None if self.count == 1 else self.rank

    def mine(self, things: Sequence[Thing]) -> list[Thing]:
        """This process's share: every thing is in exactly one process's."""
        return list(things[self.rank :: self.count])

    def wait(self) -> None:
        if self.count > 1:
            from accelerate.utils import wait_for_everyone

            wait_for_everyone()

    def from_first(self, thing: Thing) -> Thing:
        """What the first process has."""
        if self.count == 1:
            return thing
        from accelerate.utils import broadcast_object_list

        found: list[Thing] = broadcast_object_list([thing])
        return found[0]

    def gathered(self, things: Sequence[Thing]) -> list[Thing]:
        """The things of all processes, in every one."""
        if self.count == 1:
            return list(things)
        from accelerate.utils import gather_object

        found: list[Thing] = gather_object(list(things))
        return found


def join() -> Ranks:
    """Meet the other processes, where `accelerate launch` or torchrun started several."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return Ranks()
    from accelerate import PartialState

    state: Any = PartialState(cpu=True, timeout=PATIENCE)
    return Ranks(
        rank=state.process_index,
        count=state.num_processes,
        local_rank=state.local_process_index,
        local_count=int(os.environ.get("LOCAL_WORLD_SIZE", count)),
    )


def leave() -> None:
    """Part from the others, so that none is waited for at exit."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from accelerate import PartialState

        PartialState().destroy_process_group()


def chosen_device(asked: str) -> str:
    import torch

    if asked == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            "--device is cuda, but torch finds no GPU; expected one: use --device cpu, or check the driver"
        )
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return asked


def described(
    config: BenchmarkConfig,
    specs: Sequence[SystemSpec],
    material: Material,
    corpus: Corpus,
    ranks: Ranks,
    device: str,
    notices: Sequence[str],
) -> Run:
    machine = describe_machine(device)
    if ranks.count > 1:
        machine["processes"] = f"{ranks.count}, the first of which measured latency and throughput"
    return Run(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command_of(config),
        machine=machine,
        corpus=corpus.reference,
        conditions=[condition.used for condition in material.conditions],
        profiles=list(config.profiles),
        seed=config.seed,
        notices=list(notices),
        settings=config.settings() | {"corpus fingerprint": _fingerprint(corpus.utterances)},
        systems=[
            SystemRun(SystemFacts(spec.name, spec.family, spec.checkpoint, 0, notice=spec.notice)) for spec in specs
        ],
    )


def command_of(config: BenchmarkConfig) -> str:
    """The command that measures this again, whoever called: every setting that is not at its default.

    >>> command_of(BenchmarkConfig(models="whisper", rounds=5, profiles=["basic"]))
    "python benchmark/run.py --models whisper --profiles '[basic]' --rounds 5"
    """
    words = ["python", "benchmark/run.py"]
    for one in fields(config):
        value, default = getattr(config, one.name), one.default
        default = one.default_factory() if one.default_factory is not MISSING else default
        if value != default and one.name not in ("output", "overwrite", "compare", "fail_on_regression"):
            shown = f"[{','.join(value)}]" if isinstance(value, list) else str(value)
            words += [f"--{one.name}", "true" if value is True else shown]
    return shlex.join(words)


def order_of(specs: Sequence[SystemSpec], material: Material) -> dict[Key, int]:
    keys = [
        (spec.name, material.name(item), material.utterance(item).id) for spec in specs for item in material.items()
    ]
    return {key: place for place, key in enumerate(keys)}


def _fingerprint(utterances: Sequence[Utterance]) -> str:
    """Changes with any utterance's name, text or length."""
    digest = hashlib.sha256()
    for one in utterances:
        digest.update(repr((one.id, one.text, one.duration, one.start, one.stop)).encode())
    return digest.hexdigest()[:12]
