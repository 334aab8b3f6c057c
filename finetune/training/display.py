"""Training on the terminal: a progress bar with loss, speed and remaining time, and a few lines for each evaluation.

If the output is no terminal, a line every LINE_SECONDS takes the bar's place: how far, how long still, the last loss.
In a run longer than half an hour these lines grow rarer, so that a log of days can still be read. Nothing is wider than
the terminal.
"""

import textwrap
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from finetune.metrics.word_alignment import MISSING_WORD, WordPair, align, column_width, wrap_pairs
from finetune.training.diagnosis import Diagnosis
from finetune.training.evaluation import Evaluation
from preprocessing.cli.progress import LINE_SECONDS, shows_bars
from preprocessing.errors import counted, printable

MAX_SAMPLE_ROWS = 2
MAX_WIDTH = 120
RECENT_LINES = 10  # over which the time left is estimated
MAX_LINES_SO_FAR = 200  # a line of progress comes after a 200th of the time so far, if that is over LINE_SECONDS


class Display:
    """A context manager that shows a run's progress. shown: false in all processes but the main one."""

    def __init__(self, max_steps: int, shown: bool, console: Console | None = None) -> None:
        self._console = console or Console(quiet=not shown, highlight=False, soft_wrap=True)
        self._max_steps = max_steps
        self._prints_lines = shown and not shows_bars(self._console)
        self._began = time.monotonic()
        self._recent: deque[tuple[float, int]] = deque(maxlen=RECENT_LINES)
        self._printed = self._began  # when a line of progress was printed last
        self._bar = _Bar(
            TextColumn("training"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            expand=True,
            disable=self._prints_lines or not shown,
        )
        self._task = self._bar.add_task("training", total=max_steps, state="")
        self._last_values: Mapping[str, float] | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show_step(self, step: int) -> None:
        """Move the bar to a step, or print a line of progress where one is due."""
        self._bar.update(self._task, completed=step)
        now = time.monotonic()
        if not self._recent:
            self._began = self._printed = now
            self._recent.append((now, step))
        elif self._line_is_due(now):
            self._console.print(self._line(step, now))
            self._recent.append((now, step))

    def show_validating(self, name: str, done: int, total: int) -> None:
        """Show how many batches of an evaluation set are done at the bar, or print it where a line is due."""
        self._bar.update(self._task, state=f"{name}, batch {done} of {total}")
        if self._line_is_due(time.monotonic()):
            self._console.print(f"{name}: batch {done} of {total}")

    def _line_is_due(self, now: float) -> bool:
        """Whether a line of progress is to be printed, which the caller does then."""
        interval = max(LINE_SECONDS, (now - self._began) / MAX_LINES_SO_FAR)
        is_due = self._prints_lines and now - self._printed >= interval
        if is_due:
            self._printed = now
        return is_due

    def _line(self, step: int, now: float) -> str:
        """How far the run is, the time since it was started or resumed, the time left, and the last loss."""
        then, step_then = self._recent[0]  # the first steps may be slower: caches fill, memory is allocated
        left = (now - then) / max(step - step_then, 1) * (self._max_steps - step)
        passed, remaining = (timedelta(seconds=round(one)) for one in (now - self._began, left))
        loss = f", {self._state()}" if self._last_values is not None else ""
        return f"step {step}/{self._max_steps}, {passed}, about {remaining} left{loss}"

    def _state(self) -> str:
        """The last loss of the training, where there is one."""
        return "" if self._last_values is None else f"loss {self._last_values['loss']:.3f}"

    def show_training(self, values: Mapping[str, float]) -> None:
        """Show the fields of a line of kind "train" in the log at the bar."""
        self._last_values = values
        self._bar.below = Text(_figures(values), style="dim")
        self._bar.update(self._task, state=self._state())

    def show_evaluation(self, step: int, evaluation: Evaluation, name: str = "validation") -> None:
        """Print the figures of an evaluation, those of the last training line, and samples. name: of the set."""
        self._bar.update(self._task, state=self._state())
        blank = "" if evaluation.blank_ratio is None else f"  blank {100 * evaluation.blank_ratio:.0f} %"
        self._console.print(
            f"step {step}/{self._max_steps}  {_rates(evaluation)}  {name} loss {evaluation.loss:.3f}{blank}"
        )
        if self._last_values is not None:
            figures = f"  training loss {self._last_values['loss']:.3f}  {_figures(self._last_values)}"
            self._console.print(figures, style="dim")
        for transcript in evaluation.samples:
            self._show_sample(transcript.reference, transcript.hypothesis)

    def show_average(self, steps: Sequence[int], evaluation: Evaluation, better: bool) -> None:
        """Print the evaluation of the mean of the weights at these steps, and whether it is kept."""
        kept = "kept: better" if better else "not kept: no better than the best weights"
        self._console.print(f"mean of steps {', '.join(map(str, steps))}  {_rates(evaluation)}  {kept}")

    def show_diagnosis(self, diagnosis: Diagnosis) -> None:
        """Print what is wrong with the training, the likely cause and the remedy."""
        print_diagnosis(self._console, diagnosis)

    def _show_sample(self, reference: str, hypothesis: str) -> None:
        """Reference and hypothesis word under word, wrong words in red."""
        rows = wrap_pairs(
            align(printable(reference), printable(hypothesis)).pairs, min(self._console.width, MAX_WIDTH) - 8
        )
        for number, row in enumerate(rows[:MAX_SAMPLE_ROWS]):
            more = " …" if number == MAX_SAMPLE_ROWS - 1 and len(rows) > MAX_SAMPLE_ROWS else ""
            self._console.print(f"  ref   {escape(_reference_line(row))}{more}", style="dim")
            text = Text("  hyp   ")
            for place, (reference_word, hypothesis_word) in enumerate(row):
                word = hypothesis_word or MISSING_WORD
                text.append(word, style="" if reference_word == hypothesis_word else "red")
                text.append(" " * (column_width(row[place]) - len(word) + 1) if place < len(row) - 1 else "")
            self._console.print(text)


class _Bar(Progress):
    """A bar with a line of figures below it."""

    below: RenderableType | None = None

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if self.below is not None:
            yield self.below


def print_diagnosis(console: Console, diagnosis: Diagnosis) -> None:
    """Print name and observation, then meaning and remedy, each indented under the name."""
    width = min(console.width, MAX_WIDTH)
    parts = (
        (f"! {diagnosis.name}: ", diagnosis.observation),
        ("  means ", diagnosis.meaning),
        ("  do    ", diagnosis.remedy),
    )
    for number, (label, text) in enumerate(parts):
        wrapped = textwrap.TextWrapper(
            width, initial_indent=label, subsequent_indent=" " * 8, break_long_words=False, break_on_hyphens=False
        )
        console.print(Text(wrapped.fill(text), style="" if number else "bold yellow"))


def _rates(evaluation: Evaluation) -> str:
    """The error rates; of a set in which nothing is said, which has none, the number of words."""
    if not any(transcript.reference for transcript in evaluation.transcripts):
        return f"[bold]{counted(evaluation.insertions, 'word')}[/] where nothing is said"
    wer, cer = f"WER {100 * evaluation.wer:.1f} %", f"CER {100 * evaluation.cer:.1f} %"
    return f"[bold]{wer}[/]  {cer}" if evaluation.metric == "wer" else f"{wer}  [bold]{cer}[/]"


def _figures(values: Mapping[str, float]) -> str:
    """A training line of the log in at most 80 columns; audio 61× is 61 seconds of audio per second."""
    skipped = f"  skipped {values['skipped_steps']:.0f}" if values.get("skipped_steps") else ""
    return (
        f"lr {values['learning_rate']:.1e}  grad {values['grad_norm']:.2g}  "
        f"audio {values['audio_seconds_per_second']:.0f}×  padding {100 * values['padding_share']:.0f} %  "
        f"stall {100 * values['stall_share']:.0f} %{skipped}"
    )


def _reference_line(row: Sequence[WordPair]) -> str:
    """The reference words of a row, each as wide as its column."""
    return " ".join((pair[0] or MISSING_WORD).ljust(column_width(pair)) for pair in row).rstrip()
