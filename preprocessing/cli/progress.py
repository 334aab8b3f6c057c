"""Progress of a command's steps: a bar with the time left on a terminal, lines elsewhere.

Where the output is piped or written to a file, each step prints a line every LINE_SECONDS, also while one item takes
longer than that, and one when it is done.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_SECONDS = 10.0


def shows_bars(console: Console) -> bool:
    """Whether the console is a terminal, where lines can be overwritten.

    FORCE_COLOR, which notebooks and CI set, makes rich take everything for one.
    """
    return console.is_terminal and console.file.isatty()


class Steps:
    """The steps of a command, numbered in the order in which they begin; an only step has no number.

    console: where progress is shown. n_steps: how many steps there will be at most. unit: what `advance` counts.
    """

    def __init__(self, console: Console, n_steps: int, unit: str = "utterances") -> None:
        self._console = console
        self._n_steps = n_steps
        self._unit = unit
        self._begun = 0

    @contextmanager
    def step(self, title: str, count: int, *, before: int = 0) -> Iterator[Callable[[float], None]]:
        """Show one step while the block runs. Yields `advance`, to be called with the number of items done since.

        count: items of the step; 0 where they are not counted. before: how many of them were done by an earlier
        process. A last line says how many were done in how long.
        """
        self._begun += 1
        n_steps = max(self._n_steps, self._begun)
        title = f"[{self._begun}/{n_steps}] {title}" if n_steps > 1 else title
        began, done = time.monotonic(), float(before)

        def print_line(*, is_last: bool) -> None:
            seconds = time.monotonic() - began
            line = f"{title}: {done:.0f}" if count else title
            if count and is_last:
                line += f" {_in_number(self._unit, round(done))}"
            elif count:
                line += f" of {count} {_in_number(self._unit, count)}"
            line += f", {seconds:.1f} s"
            if not is_last and before < done < count:
                line += f", about {seconds / (done - before) * (count - done):.0f} s left"
            self._console.print(line, highlight=False, markup=False, emoji=False, soft_wrap=True)

        with self._shown(title, count, before, lambda: print_line(is_last=False)) as show:

            def advance(more: float) -> None:
                nonlocal done
                done += more
                show(more)

            yield advance
        print_line(is_last=True)

    @contextmanager
    def _shown(
        self, title: str, count: int, before: int, print_line: Callable[[], None]
    ) -> Iterator[Callable[[float], None]]:
        """A bar, or lines printed by a thread. Yields the function to call with the number of further items."""
        if shows_bars(self._console):
            columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
            times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
            with Progress(*columns, *times, console=self._console, transient=True) as bar:
                task = bar.add_task(title, total=count or None, completed=before)
                yield lambda more: bar.advance(task, more)
            return
        ended = threading.Event()

        def print_lines() -> None:
            while not ended.wait(LINE_SECONDS):
                print_line()

        printer = threading.Thread(target=print_lines, daemon=True)
        printer.start()
        try:
            yield lambda more: None
        finally:
            ended.set()
            printer.join()


class CappedProgress:
    """Progress within the items of a step, such as the seconds of a recording: of each item no more than its size.

    advance: that of the step. An instance is called with the amount done since, as `advance` is; what was reported too
    little of an item is made up for at its end.

    >>> amounts = []
    >>> done = CappedProgress(amounts.append)
    >>> done.begin(3.0); done(2.0); done(2.0); done.end()
    >>> done.begin(5.0); done.reach(4.0); done.end()
    >>> amounts
    [2.0, 1.0, 0.0, 4.0, 1.0]
    """

    def __init__(self, advance: Callable[[float], None]) -> None:
        self._advance = advance
        self._size = self._left = 0.0

    def begin(self, size: float) -> None:
        """An item of this size begins."""
        self._size = self._left = size

    def __call__(self, amount: float) -> None:
        more = min(max(amount, 0.0), self._left)
        self._left -= more
        self._advance(more)

    def reach(self, amount: float) -> None:
        """So much of the item is done, counted from its beginning."""
        self(amount - (self._size - self._left))

    def end(self) -> None:
        """All of the item is done."""
        self(self._left)


def hide_loading_bars() -> None:
    """Hide the bars that transformers shows for every checkpoint; those of downloads from the Hub stay."""
    from huggingface_hub.utils.tqdm import enable_progress_bars
    from transformers.utils import logging

    logging.disable_progress_bar()
    enable_progress_bars()


def _in_number(unit: str, count: int) -> str:
    """A unit in the plural as a count of it has it.

    >>> [_in_number(unit, 1) for unit in ("utterances", "processes", "batches", "vocabularies", "MB")]
    ['utterance', 'process', 'batch', 'vocabulary', 'MB']
    >>> _in_number("steps", 2)
    'steps'
    """
    endings = (("sses", "ss"), ("ches", "ch"), ("ies", "y"), ("s", ""))
    plural, singular = next((one for one in endings if count == 1 and unit.endswith(one[0])), ("", ""))
    return unit.removesuffix(plural) + singular
