"""Commands stopped at random moments by kill -9, Ctrl-C and SIGTERM, begun again, and compared with undisturbed runs.

After each signal no process is left and no file under its final name is torn. The same command is begun again and
interrupted again until it gets to its end, where what it promises must equal what an undisturbed run wrote; then it
starts in an empty folder, until every signal has hit it `rounds` times.
"""

import random
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from tests.attack import jobs
from tests.attack.jobs import ENDS_WITHIN, Job, Started, differences, finish, interrupt, started, torn_files
from tests.attack.trials import Setting, Trial

SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
NAMES = {signal.SIGKILL: "kill -9", signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}
SHARE = 0.6  # of an undisturbed run's time of work, within which the signal comes


@contextmanager
def _push(folder: Path) -> Iterator[Job]:
    with jobs.push(folder) as (job, _):
        yield job


COMMANDS: dict[str, Callable[[Path], AbstractContextManager[Job]]] = {
    "prepare": lambda folder: nullcontext(jobs.prepare(folder)),
    "train": lambda folder: nullcontext(jobs.train(folder)),
    "train-2": lambda folder: nullcontext(jobs.train(folder, processes=2)),
    "train-lstm": lambda folder: nullcontext(jobs.train_lstm(folder)),
    "benchmark": lambda folder: nullcontext(jobs.benchmark(folder)),
    "align_corpus": lambda folder: nullcontext(jobs.align_corpus(folder)),
    "transcribe": lambda folder: nullcontext(jobs.transcribe(folder)),
    "push": _push,
}


def attack(name: str, setting: Setting) -> Iterator[Trial]:
    """Every signal on one command, `rounds` times each."""
    with COMMANDS[name](setting.folder) as job:
        yield from interrupted(job, setting, SIGNALS)


def interrupted(job: Job, setting: Setting, signals: tuple[signal.Signals, ...]) -> Iterator[Trial]:
    """A trial for each of the signals, `rounds` times; the undisturbed run comes first."""
    chance = random.Random(setting.seed)
    said, output = setting.folder / "said.txt", setting.folder / "interrupted"
    whole = setting.folder / "whole"
    ended, seconds = finish(job, whole, said)
    assert ended.code == 0, ended.said
    expected = job.artefacts(whole)
    job.clear(whole)
    setting.say(f"undisturbed, it works for {seconds:.1f} s")
    wanted = [one for _ in range(setting.rounds) for one in signals]
    held: list[Trial] = []  # since the output folder was empty
    while wanted:
        is_whole, lost = strike(job, output, said, wanted[0], chance.uniform(0.0, SHARE * seconds))
        if not is_whole:
            which = wanted.pop(0)
            held.append(Trial(NAMES[which], job.name, lost))
            setting.say(f"{NAMES[which]}; {len(wanted)} to come")
            if wanted and lost is None:
                continue
            lost = _finished(job, output, said)
        if lost is None:
            lost = differences(expected, job.artefacts(output)) or torn_files(output)
        last = held.pop() if held else Trial("none", job.name, times=0)
        yield from held
        yield replace(last, lost=last.lost or lost)
        held = []
        job.clear(output)


def _finished(job: Job, output: Path, said: Path) -> str | None:
    """Go on to the end; what is wrong with how it ended."""
    ended, _ = finish(job, output, said)
    return None if ended.code == 0 else f"going on ended with {ended.code}: {ended.said.strip()[-300:]}"


def strike(job: Job, output: Path, said: Path, which: signal.Signals, seconds: float) -> tuple[bool, str | None]:
    """Begin or go on, and send the signal so many seconds after work has begun.

    Returns whether the command came to its end before, and what was lost.
    """
    before = job.progress(output)
    with started(job, output, said) as running:
        running.wait_for_progress(job, output, before)
        ended = running.wait(seconds)
        if ended is not None:
            left = running.left(10.0)
            return True, left or (None if ended.code == 0 else f"ended with {ended.code}: {ended.said[-300:]}")
        interrupt(running, which)
        lost = _after(running, which) or torn_files(output)
        return lost is None and job.is_complete(output), lost


def _after(running: Started, which: signal.Signals) -> str | None:
    """What is wrong with how a command ended that a signal was sent to."""
    ended = running.wait(ENDS_WITHIN)
    if ended is None:
        return f"goes on {ENDS_WITHIN} s after {NAMES[which]}"
    if which != signal.SIGKILL and ended.traceback is not None:
        return f"a traceback after {NAMES[which]}: {' | '.join(ended.traceback.splitlines()[-12:])}"
    return running.left(ENDS_WITHIN)
