"""What is being done, how far it is and how long it will still take: a bar on a terminal, a line a step elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Steps:
    """n_steps: how many there will be at most."""

    def __init__(self, console: Console, n_steps: int) -> None:
        self._console = console
        self._n_steps = n_steps
        self._begun = 0

    @contextmanager
    def step(self, what: str, count: int) -> Iterator[Callable[[int], None]]:
        """Yields what is to be called with the number of utterances that have been done more."""
        self._begun += 1
        title = f"[{self._begun}/{max(self._n_steps, self._begun)}] {what}"
        began, done = time.monotonic(), 0
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
        times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        shown = self._console.is_terminal
        with Progress(*columns, *times, console=self._console, disable=not shown, transient=True) as bar:
            task = bar.add_task(title, total=count or None)

            def advance(more: int) -> None:
                nonlocal done
                done += more
                bar.advance(task, more)

            yield advance
        utterances = f": {done} utterances" if count else ""
        self._console.print(
            f"{title}{utterances}, {time.monotonic() - began:.1f} s", highlight=False, markup=False, soft_wrap=True
        )
