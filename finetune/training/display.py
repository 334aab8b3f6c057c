"""What a run shows on the terminal: a bar with loss, speed and time left, and a few lines for each evaluation.

Where the output is no terminal, the bar is left out and the lines remain. Nothing is wider than the terminal.
"""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from finetune.metrics.word_alignment import MISSING_WORD, WordPair, align, column_width, wrap_pairs
from finetune.preflight.diagnosis import Diagnosis
from finetune.training.evaluation import Evaluation

ROWS_SHOWN = 2  # of a long sample
WIDEST = 120


class Display:
    """A context manager; silent on all processes but the first."""

    def __init__(self, updates: int, shown: bool, console: Console | None = None) -> None:
        self._console = console or Console(quiet=not shown, highlight=False, soft_wrap=True)
        self._updates = updates
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
            disable=not (shown and self._console.is_terminal),
        )
        self._task = self._bar.add_task("training", total=updates, state="")
        self._last: Mapping[str, float] | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self, done: int) -> None:
        self._bar.update(self._task, completed=done)

    def trained(self, values: Mapping[str, float]) -> None:
        """values: of a line of the log, by its names."""
        self._last = values
        self._bar.below = Text(_how_it_goes(values), style="dim")
        self._bar.update(self._task, state=f"loss {values['loss']:.3f}")

    def evaluated(self, update: int, evaluation: Evaluation, name: str = "validation") -> None:
        """A line of figures and the samples; a set that is not the main one by its name."""
        blank = "" if evaluation.blank_ratio is None else f"  blank {100 * evaluation.blank_ratio:.0f} %"
        head = f"update {update}/{self._updates}"
        self._console.print(
            f"{head}  [bold]WER {100 * evaluation.wer:.1f} %[/]  CER {100 * evaluation.cer:.1f} %  "
            f"{name} loss {evaluation.loss:.3f}{blank}"
        )
        if self._last is not None:
            self._console.print(f"  training loss {self._last['loss']:.3f}  {_how_it_goes(self._last)}", style="dim")
        for transcript in evaluation.shown:
            self._sample(transcript.reference, transcript.hypothesis)

    def averaged(self, count: int, evaluation: Evaluation, better: bool) -> None:
        kept = "kept, as it is better" if better else "not kept: the best alone is as good"
        rates = f"[bold]WER {100 * evaluation.wer:.1f} %[/]  CER {100 * evaluation.cer:.1f} %"
        self._console.print(f"mean of the {count} best  {rates}  {kept}")

    def diagnosed(self, diagnosis: Diagnosis) -> None:
        print_diagnosis(self._console, diagnosis)

    def _sample(self, said: str, heard: str) -> None:
        rows = wrap_pairs(align(said, heard).pairs, min(self._console.width, WIDEST) - 8)
        for number, row in enumerate(rows[:ROWS_SHOWN]):
            more = " …" if number == ROWS_SHOWN - 1 and len(rows) > ROWS_SHOWN else ""
            self._console.print(f"  said  {escape(_line(row))}{more}", style="dim")
            text = Text("  heard ")
            for place, (reference_word, hypothesis_word) in enumerate(row):
                shown = hypothesis_word or MISSING_WORD
                text.append(shown, style="" if reference_word == hypothesis_word else "red")
                text.append(" " * (column_width(row[place]) - len(shown) + 1) if place < len(row) - 1 else "")
            self._console.print(text)


class _Bar(Progress):
    """A bar with a line of figures below it."""

    below: RenderableType | None = None

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if self.below is not None:
            yield self.below


def print_diagnosis(console: Console, diagnosis: Diagnosis) -> None:
    """Name and what was seen, then what it means and what to do, each indented under its name."""
    width = min(console.width, WIDEST)
    parts = ((f"! {diagnosis.name}: ", diagnosis.seen), ("  means ", diagnosis.means), ("  do    ", diagnosis.remedy))
    for number, (label, text) in enumerate(parts):
        wrapped = textwrap.TextWrapper(
            width, initial_indent=label, subsequent_indent=" " * 8, break_long_words=False, break_on_hyphens=False
        )
        console.print(Text(wrapped.fill(text), style="" if number else "bold yellow"))


def _how_it_goes(values: Mapping[str, float]) -> str:
    """A line of the log in as few words as 80 columns hold; audio 61× is 61 seconds of it a second."""
    skipped = f"  skipped {values['skipped_updates']:.0f}" if values.get("skipped_updates") else ""
    return (
        f"lr {values['learning_rate']:.1e}  grad {values['grad_norm']:.2g}  "
        f"audio {values['audio_seconds_per_second']:.0f}×  padding {100 * values['padding_share']:.0f} %  "
        f"stall {100 * values['stall_share']:.0f} %{skipped}"
    )


def _line(row: Sequence[WordPair]) -> str:
    """The reference words of a row, each as wide as its column."""
    return " ".join((pair[0] or MISSING_WORD).ljust(column_width(pair)) for pair in row).rstrip()
