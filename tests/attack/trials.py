"""What every attack yields: a trial, and the table of all of them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from rich import box
from rich.table import Table


@dataclass(frozen=True)
class Trial:
    """One attempt of a fault on a command. lost: what did not hold, in a phrase; None where everything held.

    skipped: why it could not be tried here; it does not count then. times: how many attempts it stands for.
    """

    fault: str
    command: str
    lost: str | None = None
    skipped: str | None = None
    times: int = 1


@dataclass(frozen=True)
class Setting:
    """What an attack is given. folder: its own, empty; say: prints a line of progress."""

    rounds: int
    seed: int
    folder: Path
    say: Callable[[str], None]


Attack: TypeAlias = Callable[[Setting], Iterator[Trial]]


def table(trials: Iterable[Trial]) -> Table:
    """A row for each fault and command: how often it was tried, and what was lost."""
    rows: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        rows.setdefault((trial.fault, trial.command), []).append(trial)
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for heading in ("fault", "command", "times", "lost"):
        shown.add_column(heading, justify="right" if heading == "times" else "left")
    for (fault, command), tried in rows.items():
        times = sum(trial.times for trial in tried if trial.skipped is None)
        losses = list(dict.fromkeys(trial.lost for trial in tried if trial.lost is not None))
        skipped = next((f"skipped: {trial.skipped}" for trial in tried if trial.skipped is not None), None)
        lost = "; ".join(losses) or (skipped if skipped is not None and not times else "nothing")
        shown.add_row(fault, command, str(times), lost)
    return shown
