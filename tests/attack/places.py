"""Places that a command cannot work in: a full or read-only disk, a folder in use, no memory, a dead worker, a clock.

Each is tried a fifth of `rounds` times on each command. The command says what is wrong in one sentence, nothing under
its final name is torn, and once the fault is gone the same command ends with what an undisturbed run wrote.
"""

import math
import os
import random
import re
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.attack import jobs
from tests.attack.interruptions import strike
from tests.attack.jobs import ENDS_WITHIN, Ended, Job, differences, finish, sample_digest, started, torn_files
from tests.attack.trials import Attack, Setting, Trial
from tests.conftest import read_manifest

SHARE = 5  # rounds for one trial of a place
MORE_BYTES = 4 << 20  # of address space that a process may add when memory runs out
CLOCK = """
import time
_time, _began, _jump = time.time, time.monotonic(), {jump}
time.time = lambda: _time() - (86400.0 if time.monotonic() - _began > _jump else 0.0)
"""


@dataclass(frozen=True)
class Undisturbed:
    """A job with what it wrote, and how long it worked on it."""

    job: Job
    expected: dict[str, str]
    seconds: float
    largest: int  # bytes of the largest file that it leaves
    total: int  # bytes of all


def _undisturbed(setting: Setting) -> Iterator[Undisturbed]:
    """The commands one after another, each run once without a fault."""
    makers: tuple[Callable[[Path], Job], ...] = (jobs.prepare, jobs.train, jobs.benchmark, jobs.align_corpus)
    for make in makers:
        job, output = make(setting.folder), setting.folder / "undisturbed"
        ended, seconds = finish(job, output, setting.folder / "said.txt")
        assert ended.code == 0, ended.said
        sizes = [path.stat().st_size for path in output.rglob("*") if path.is_file()]
        found = Undisturbed(job, job.artefacts(output), seconds, max(sizes), sum(sizes))
        job.clear(output)
        setting.say(f"{job.name}: undisturbed, {seconds:.1f} s of work")
        yield found


def _rounds(setting: Setting) -> range:
    return range(math.ceil(setting.rounds / SHARE))


def _settled(one: Undisturbed, output: Path, said: Path, ended: Ended | None, *, may_end: bool = False) -> str | None:
    """What was lost by a command that ended so, and by the same command without the fault. may_end: the fault may not
    have stopped it.
    """
    if ended is None:
        return "did not end"
    if ended.code == 0 and not may_end:
        return "ended as if nothing had been wrong"
    lost = (None if ended.code == 0 else ended.sentence) or torn_files(output)
    if lost is None and ended.code != 0:
        again, _ = finish(one.job, output, said)
        lost = None if again.code == 0 else f"going on ended with {again.code}: {again.said.strip()[-300:]}"
    return lost or differences(one.expected, one.job.artefacts(output))


def limited_files(setting: Setting) -> Iterator[Trial]:
    """RLIMIT_FSIZE: the kernel refuses what goes beyond a size, as it does on a full disk."""
    chance = random.Random(setting.seed)
    for one in _undisturbed(setting):
        for _ in _rounds(setting):
            output, said = setting.folder / "limited", setting.folder / "said.txt"
            limit = round(chance.uniform(0.05, 0.9) * one.largest)
            ended, _ = finish(one.job, output, said, file_limit=limit)
            lost = _settled(one, output, said, ended, may_end=True)
            setting.say(f"{one.job.name}, {limit} bytes a file: exit code {ended.code}")
            yield Trial("no room: files limited (RLIMIT_FSIZE)", one.job.name, lost)
            one.job.clear(output)


def full_disk(setting: Setting) -> Iterator[Trial]:
    """A tmpfs that is too small for the output, and grows before the command goes on."""
    fault = "full disk (tmpfs)"
    place = setting.folder / "disk"
    place.mkdir()
    if not _mount(place, 1 << 20):
        yield Trial(fault, "all", skipped="mounting is not permitted here")
        return
    _unmount(place)
    chance = random.Random(setting.seed)
    for one in _undisturbed(setting):
        for _ in _rounds(setting):
            output, said = place / "out", setting.folder / "said.txt"
            size = max(round(chance.uniform(0.1, 0.8) * one.total), 16_384)
            assert _mount(place, size)
            try:
                ended, _ = finish(one.job, output, said)
                setting.say(f"{one.job.name}, {size} bytes: exit code {ended.code}")
                subprocess.run(["mount", "-o", f"remount,size={1 << 30}", str(place)], check=True)
                yield Trial(fault, one.job.name, _settled(one, output, said, ended, may_end=True))
            finally:
                _unmount(place)


def read_only(setting: Setting) -> Iterator[Trial]:
    """A disk that cannot be written to: refused in a sentence before anything slow."""
    fault = "read-only disk (tmpfs)"
    place = setting.folder / "disk"
    place.mkdir()
    if not _mount(place, 1 << 20, "ro,"):
        yield Trial(fault, "all", skipped="mounting is not permitted here")
        return
    try:
        for make in (jobs.prepare, jobs.train, jobs.benchmark, jobs.align_corpus):
            job = make(setting.folder)
            for _ in _rounds(setting):
                with started(job, place / "out", setting.folder / "said.txt") as running:
                    ended = running.wait(jobs.BEGINS_WITHIN)
                lost = "did not end" if ended is None else ended.sentence
                lost = lost or ("ended as if nothing had been wrong" if ended is not None and ended.code == 0 else None)
                setting.say(f"{job.name}: {'' if ended is None else ended.said.strip().splitlines()[-1]}")
                yield Trial(fault, job.name, lost)
    finally:
        _unmount(place)


def _mount(place: Path, size: int, options: str = "") -> bool:
    words = ["mount", "-t", "tmpfs", "-o", f"{options}size={size}", "tmpfs", str(place)]
    with suppress(OSError):
        return subprocess.run(words, capture_output=True, check=False).returncode == 0
    return False


def _unmount(place: Path) -> None:
    subprocess.run(["umount", str(place)], check=True)


def two_runs(setting: Setting) -> Iterator[Trial]:
    """A second command into the folder of one that is at work: it names the first's process, which goes on."""
    for one in _undisturbed(setting):
        for _ in _rounds(setting):
            output, said = setting.folder / "both", setting.folder / "said.txt"
            with started(one.job, output, said) as first:
                first.wait_for_progress(one.job, output, one.job.progress(output))
                os.kill(first.pid, signal.SIGSTOP)  # it shall not end before the second one has been refused
                with started(one.job, output, setting.folder / "second.txt") as second:
                    refused = second.wait(jobs.BEGINS_WITHIN)
                os.kill(first.pid, signal.SIGCONT)
                ended = first.wait(jobs.BEGINS_WITHIN)
            lost = None
            if refused is None or refused.code != 2 or f"process {first.pid} " not in refused.said:
                lost = f"not refused by process id: {'' if refused is None else refused.said.strip()[-300:]}"
            elif ended is None or ended.code != 0:
                lost = f"the first one ended with {None if ended is None else ended.said[-300:]}"
            setting.say(f"{one.job.name}: {'' if refused is None else refused.said.strip().splitlines()[-1]}")
            yield Trial(
                "two runs into one folder", one.job.name, lost or differences(one.expected, one.job.artefacts(output))
            )
            one.job.clear(output)


def out_of_memory(setting: Setting) -> Iterator[Trial]:
    """RLIMIT_AS, a few megabytes above what the command's processes have, at a random moment of its work.

    Where a library of C++ ends the process when memory runs out, there is no sentence, and nothing else may be lost.
    """
    chance = random.Random(setting.seed)
    for one in _undisturbed(setting):
        for _ in _rounds(setting):
            output, said = setting.folder / "small", setting.folder / "said.txt"
            before = one.job.progress(output)
            with started(one.job, output, said) as running:
                running.wait_for_progress(one.job, output, before)
                running.wait(chance.uniform(0.0, 0.5 * one.seconds))
                for process in running.all():
                    with suppress(psutil.Error, ProcessLookupError):
                        limit = process.memory_info().vms + chance.randrange(MORE_BYTES)
                        resource.prlimit(process.pid, resource.RLIMIT_AS, (limit, limit))
                ended = running.wait(jobs.BEGINS_WITHIN)
                left = running.left(ENDS_WITHIN)
            if ended is not None and ended.code < 0:
                ended = Ended(1, f"error: ended by {signal.Signals(-ended.code).name} in a library")
            lost = left or _memory_lost(one, output, said, ended)
            setting.say(f"{one.job.name}: {'' if ended is None else ended.said.strip()[-160:]}")
            yield Trial("out of memory (RLIMIT_AS)", one.job.name, lost)
            one.job.clear(output)


def _memory_lost(one: Undisturbed, output: Path, said: Path, ended: Ended | None) -> str | None:
    """As `_settled`; a benchmark may record a system that has no memory as failed, and goes on."""
    if one.job.name == "benchmark" and ended is not None:
        samples = read_manifest(output / "samples.jsonl") if (output / "samples.jsonl").is_file() else []
        if any(sample.get("error") for sample in samples) or (ended.code == 1 and (output / "summary.json").is_file()):
            return ended.sentence if ended.code else torn_files(output)
    return _settled(one, output, said, ended, may_end=True)


def dead_worker(setting: Setting) -> Iterator[Trial]:
    """kill -9 of a process that the command has started: of decoding, of loading data, of a system, of a rank."""
    chance = random.Random(setting.seed)
    two = jobs.train(setting.folder, processes=2)
    several: list[tuple[Job, str]] = [
        (jobs.prepare(setting.folder), "forkserver"),
        (jobs.train(setting.folder, workers=1), "finetune/train.py"),
        (jobs.benchmark(setting.folder), "spawn_main"),
        (two, "finetune/train.py"),
    ]
    for job, word in several:
        output, said = setting.folder / "undisturbed", setting.folder / "said.txt"
        ended, seconds = finish(job, output, said)
        assert ended.code == 0, ended.said
        expected = job.artefacts(output)
        one = Undisturbed(job, expected, seconds, 0, 0)
        errors = _samples(output)
        job.clear(output)
        for _ in _rounds(setting):
            with started(job, output, said) as running:
                running.wait_for_progress(job, output, job.progress(output))
                running.wait(chance.uniform(0.0, 0.4 * seconds))
                killed = _kill_one(running.children(), word, chance)
                began = time.monotonic()
                found = running.wait(60.0 if job is two else jobs.BEGINS_WITHIN)
                left = running.left(60.0)
            setting.say(f"{job.name}: {killed}; ended {time.monotonic() - began:.1f} s later")
            if left is not None or found is None:
                lost = left or "goes on a minute after the kill"
            elif job.name == "benchmark" and "before it was loaded" not in found.said:
                lost = _lost_samples(errors, output, found)
            else:
                lost = _settled(one, output, said, found, may_end=True)
            yield Trial("a worker killed", job.name, lost)
            job.clear(output)


def _kill_one(children: list[psutil.Process], word: str, chance: random.Random) -> str:
    """kill -9 one of the processes that work: not the one that only starts or tracks others."""
    working = []
    for child in children:
        with suppress(psutil.Error):
            line = " ".join(child.cmdline())
            if word in line and "resource_tracker" not in line and not child.children():
                working.append(child)
    if not working:
        return "no worker was there"
    chosen = chance.choice(sorted(working, key=lambda process: process.pid))
    with suppress(psutil.Error):
        chosen.kill()
    return f"process {chosen.pid} killed"


def _samples(output: Path) -> dict[str, str]:
    samples = read_manifest(output / "samples.jsonl") if (output / "samples.jsonl").exists() else []
    return {f"{one['condition']}/{one['id']}": sample_digest(one) for one in samples if "condition" in one}


def _lost_samples(expected: dict[str, str], output: Path, ended: Ended) -> str | None:
    """A benchmark goes on in another process; what its system was at counts as failed, by name, or is tried again."""
    samples = {f"{one['condition']}/{one['id']}": one for one in read_manifest(output / "samples.jsonl")}
    wrong = [
        name
        for name, digest in expected.items()
        if name not in samples
        or (sample_digest(samples[name]) != digest and "SIGKILL" not in (samples[name].get("error") or ""))
    ]
    if wrong or ended.code != 0:
        return f"samples {', '.join(wrong[:5])} differ; exit code {ended.code}"
    return torn_files(output)


def clock_set_back(setting: Setting) -> Iterator[Trial]:
    """A day is taken from the wall clock in the middle of a run, after an interrupted one left files of the future."""
    chance = random.Random(setting.seed)
    output, said = setting.folder / "clock", setting.folder / "said.txt"
    for one in _undisturbed(setting):
        for number in _rounds(setting):
            while strike(one.job, output, said, signal.SIGKILL, chance.uniform(0.0, 0.5 * one.seconds))[0]:
                one.job.clear(output)  # it was done before the signal
            future = time.time() + 3e8
            for path in output.rglob("*"):
                os.utime(path, (future, future))
            site = setting.folder / f"site{number}"
            site.mkdir(exist_ok=True)
            (site / "sitecustomize.py").write_text(CLOCK.format(jump=chance.uniform(0.0, 1.5 * one.seconds)))
            ended, _ = finish(one.job, output, said, PYTHONPATH=str(site))
            negative = re.search(r"(?<![\w.,:])-\d+(\.\d+)? s\b", ended.said)
            lost = f"a negative time: {negative[0]}" if negative else None
            lost = lost or (f"ended with {ended.code}: {ended.said[-200:]}" if ended.code else None)
            lost = lost or differences(one.expected, one.job.artefacts(output))
            setting.say(f"{one.job.name}: exit code {ended.code}")
            yield Trial("the clock set back a day", one.job.name, lost)
            one.job.clear(output)


ATTACKS: dict[str, Attack] = {
    "limited-files": limited_files,
    "full-disk": full_disk,
    "read-only": read_only,
    "two-runs": two_runs,
    "memory": out_of_memory,
    "worker": dead_worker,
    "clock": clock_set_back,
}
