"""Mutated files must end in a waveform or in one sentence: `run` makes them, and watches over the process that reads.

Each case is made from its seed alone: a real file of some format (or a manifest) with bytes flipped, cut off, spliced,
inserted, or a field of its header overwritten. A worker process calls `probe`, `load` and `stream` (or `open_corpus`)
within a limit of memory; this process watches the time. A crash, a hang, an exception that is no UserError, or a
sample that is not finite is a finding: its file is kept.
"""

import json
import random
import select
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT


@dataclass(frozen=True)
class Mutations:
    """How much to try, and where findings go.

    kind: audio (all formats, and real files where ASR_DATA_DIR names them), manifest, a container by its name in
    `mutations_worker.CONTAINERS`, or bomb. seed: of the first case; case n has seed + n. output: the folder for files
    that were not handled. limit_seconds: the longest that a case may take.
    """

    cases: int
    output: Path
    kind: str = "audio"
    seed: int = 0
    limit_seconds: float = 20.0


def mutate(content: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """One to four mutations of a file's bytes."""
    mutated = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        if not mutated:
            break
        at = chance.randrange(len(mutated))
        match chance.randrange(7):
            case 0:  # flips anywhere
                for _ in range(chance.randint(1, 16)):
                    mutated[chance.randrange(len(mutated))] ^= 1 << chance.randrange(8)
            case 1:  # flips in the header
                for _ in range(chance.randint(1, 8)):
                    mutated[chance.randrange(min(len(mutated), 256))] = chance.randrange(256)
            case 2:
                del mutated[at:]
            case 3:  # a piece out of it, or of another file, is put elsewhere
                other = chance.choice([*others, content])
                begin = chance.randrange(len(other))
                mutated[at : at + chance.choice([0, 100])] = other[begin : begin + chance.randint(1, 2000)]
            case 4:  # a number of the header becomes an extreme one
                width = chance.choice([2, 4, 8])
                begin = chance.randrange(min(len(mutated), 200))
                mutated[begin : begin + width] = chance.choice([b"\0", b"\xff", b"\x7f", b"\x80"]) * width
            case 5:
                mutated[at:at] = chance.randbytes(chance.randint(1, 64))
            case 6:
                del mutated[at : at + chance.randint(1, 500)]
    return bytes(mutated)


def run(config: Mutations) -> Counter[str]:
    """How the cases ended: accepted, refused, or the fault that was found (with the file kept in `config.output`)."""
    ends: Counter[str] = Counter()
    case, last = config.seed, config.seed + config.cases
    with tempfile.TemporaryDirectory() as folder:
        while case < last:
            case = _one_worker(config, case, last, Path(folder), ends)
    return ends


def _one_worker(config: Mutations, case: int, last: int, folder: Path, ends: Counter[str]) -> int:
    """Run cases in one process until it is done or lost; the next case."""
    command = [sys.executable, "-m", "tests.attack.mutations_worker", config.kind, str(case), str(last), str(folder)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1, cwd=ROOT
    ) as worker:
        assert worker.stdout is not None
        limit = 120.0  # the first answer waits for the imports
        while case < last:
            ready, _, _ = select.select([worker.stdout], [], [], limit)
            if not ready:
                worker.kill()
                return _found(config, ends, case, "hang", folder)
            line = worker.stdout.readline()
            if not line:
                return _found(config, ends, case, f"crash (exit {worker.wait()})", folder)
            if line.startswith("#"):
                limit = config.limit_seconds
                continue
            answer = json.loads(line)
            if answer["end"] in ("accepted", "refused"):
                ends[answer["end"]] += 1
            else:
                _found(config, ends, case, answer["end"], folder)
            case += 1
    return case


def _found(config: Mutations, ends: Counter[str], case: int, end: str, folder: Path) -> int:
    ends[end] += 1
    config.output.mkdir(parents=True, exist_ok=True)
    (config.output / f"{config.kind}-{case}").write_bytes((folder / f"case-{case}").read_bytes())
    print(f"{config.kind}, seed {case}: {end}; kept as {config.output / f'{config.kind}-{case}'}")
    return case + 1
