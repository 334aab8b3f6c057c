"""What a run shows on the terminal: a bar with loss, speed and time left, and a few lines for each evaluation.

Where the output is no terminal, the bar is left out and the lines remain.
"""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from finetune.evaluation import Evaluation


class Display:
    """A context manager; silent on all processes but the first."""

    def __init__(self, updates: int, shown: bool) -> None:
        self._console = Console(quiet=not shown, highlight=False, soft_wrap=True)
        self._updates = updates
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not (shown and self._console.is_terminal),
        )
        self._task = self._bar.add_task("training", total=updates, state="")
        self._last_loss: float | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self, done: int) -> None:
        self._bar.update(self._task, completed=done)

    def trained(self, loss: float, audio_seconds_per_second: float) -> None:
        self._last_loss = loss
        state = f"loss {loss:.3f}  {audio_seconds_per_second:.0f} s of audio/s"
        self._bar.update(self._task, state=state)

    def evaluated(self, update: int, evaluation: Evaluation, name: str = "validation") -> None:
        """A line of figures and the samples; a set that is not the main one by its name."""
        blank = "" if evaluation.blank_ratio is None else f"  blank {100 * evaluation.blank_ratio:.0f} %"
        trained = "" if self._last_loss is None else f"training loss {self._last_loss:.3f}  "
        self._console.print(
            f"update {update}/{self._updates}  {trained}{name} loss {evaluation.loss:.3f}  "
            f"[bold]WER {100 * evaluation.wer:.1f} %[/]  CER {100 * evaluation.cer:.1f} %{blank}"
        )
        for transcript in evaluation.shown:
            self._console.print(f"  said  {escape(_cut(transcript.reference))}", style="dim")
            self._console.print(f"  heard {escape(_cut(transcript.hypothesis))}")

    def averaged(self, count: int, evaluation: Evaluation, better: bool) -> None:
        kept = "kept, as it is better" if better else "not kept: the best alone is as good"
        rates = f"[bold]WER {100 * evaluation.wer:.1f} %[/]  CER {100 * evaluation.cer:.1f} %"
        self._console.print(f"mean of the {count} best  {rates}  {kept}")


def _cut(text: str, width: int = 100) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
