"""`python -m experiments.reproduce --config configs/benchmark/reproduce-librispeech.yaml`: do published WERs come out?

Each subset is an ordinary benchmark of all models; their WERs are then set beside what was published, each under the
text profile that its publication counted with. A subset that is done already is not done again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from preprocessing.cli.options import parse_command, run_command

if TYPE_CHECKING:
    from benchmark.results import Summary
    from finetune.metrics import Rate


DESCRIPTION = "Measure models on the test sets that their word error rates were published for, and compare."


@dataclass(frozen=True)
class Published:
    """What was published of one model."""

    model: str
    """As --models of benchmark/run.py names it, with its checkpoint: whisper=base.en."""

    wer_percent: dict[str, float]
    """By subset."""

    profile: str
    """Text profile nearest to how the publication counted words."""

    source: str
    """Where it was published."""


@dataclass(frozen=True)
class ReproduceConfig:
    """What was published, and how it is measured again."""

    published: list[Published]
    """One entry a model."""

    subsets: dict[str, str]
    """Test sets by name: each a manifest, a folder, or hf:DATASET[:CONFIG[:SPLIT[:COUNT]]]."""

    output: Path = Path("runs/reproduce")
    """Folder of the results, one below it for each subset."""

    tolerance_points: float = 0.3
    """A WER further off than so many percentage points is flagged, and the command ends with 1."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where models run."""

    limit: int | None = None
    """Only the first so many utterances of each subset: a rehearsal, for published figures are of all."""

    def check(self) -> None:
        """Raises UsageError where subsets, models or figures do not go together."""
        from preprocessing.cli.errors import UsageError

        if not self.published or not self.subsets:
            raise UsageError("--published or --subsets is empty; expected one entry or more of each: fill it in")
        if not self.tolerance_points > 0:
            raise UsageError(f"--tolerance_points is {self.tolerance_points:g}; expected above 0: raise it")
        for subset in self.subsets:
            if not any(subset in one.wer_percent for one in self.published):
                raise UsageError(
                    f"--subsets: nothing is published of {subset!r}; expected a WER: add it, or leave it out"
                )
        for one in self.published:
            if "=" not in one.model and ":" not in one.model:
                raise UsageError(
                    f"--published: {one.model!r} names no checkpoint; expected one, as in whisper=base.en: a default "
                    "may be replaced by the embedded demo"
                )
            unknown = sorted(set(one.wer_percent) - set(self.subsets))
            if unknown:
                raise UsageError(
                    f"--published: {one.model} has a WER on {unknown[0]!r}; expected one of the subsets "
                    f"{', '.join(self.subsets)}: mend either"
                )


@dataclass(frozen=True)
class Figure:
    """One published WER and ours, in percent; ours is None where the model failed."""

    model: str
    subset: str
    published: float
    ours: "Rate | None"

    @property
    def difference(self) -> float | None:
        """Ours minus the published, in points."""
        return None if self.ours is None else 100.0 * self.ours.value - self.published

    def agrees(self, tolerance_points: float) -> bool:
        return self.difference is not None and abs(self.difference) <= tolerance_points + 1e-9


def reproduce(config: ReproduceConfig) -> list[Figure]:
    """Benchmark what is not done yet; every published figure beside ours. Raises UserError as the benchmark does."""
    config.check()
    figures = []
    for subset, data in config.subsets.items():
        summary = _summary(config, subset, data)
        systems = {system.facts.name: system for system in summary.systems}
        for one in config.published:
            if subset in one.wer_percent:
                scores = systems[one.model].scores.get(one.profile)
                ours = None if scores is None else scores.wer
                figures.append(Figure(one.model, subset, one.wer_percent[subset], ours))
    return figures


def _summary(config: ReproduceConfig, subset: str, data: str) -> "Summary":
    """Of the subset's finished run, or of a new one; a model that fails leaves the others their figures."""
    from benchmark.config import BenchmarkConfig
    from benchmark.results import SUMMARY, read_summary
    from benchmark.session import benchmark
    from preprocessing.cli.errors import InputError, UsageError

    wanted = BenchmarkConfig(
        models=",".join(one.model for one in config.published if subset in one.wer_percent),
        data=data,
        limit=config.limit,
        output=config.output / subset,
        conditions="clean",
        profiles=list(dict.fromkeys(one.profile for one in config.published)),
        rounds=1,
        latency_utterances=10,
        device=config.device,
    )
    finished = config.output / subset / SUMMARY
    if not finished.is_file():
        try:
            benchmark(wanted)
        except InputError:
            if not finished.is_file():
                raise
    summary = read_summary(finished)
    for flag, value in wanted.settings().items():
        if flag != "device" and summary.settings.get(flag) != value:
            raise UsageError(
                f"{finished.parent} holds results with --{flag} {summary.settings.get(flag)}; expected {value}: choose "
                "another --output, or remove the folder"
            )
    return summary


def print_figures(figures: Sequence[Figure], config: ReproduceConfig) -> None:
    """A table for each model, under its name, profile and source."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for one in config.published:
        told = f"{one.model}, counted under {one.profile}; published: {one.source}"
        console.print(told, highlight=False, markup=False, soft_wrap=True)
        table = Table(box=None, padding=(0, 0, 0, 3))
        table.add_column("subset", overflow="fold", min_width=10)
        for heading in ("published, %", "ours, %", "95 % interval", "points"):
            table.add_column(heading, justify="right", no_wrap=True)
        for figure in figures:
            if figure.model == one.model:
                table.add_row(*_cells(figure), "" if figure.agrees(config.tolerance_points) else "DIFFERS")
        console.print(table)
    if config.limit is not None:
        console.print(f"Only {config.limit} utterances of each subset were heard; the published figures are of all.")


def _cells(figure: Figure) -> tuple[str, ...]:
    ours, difference = figure.ours, figure.difference
    if ours is None or difference is None:
        return (figure.subset, f"{figure.published:g}", "failed", "", "")
    interval = f"{100 * ours.low:.2f} to {100 * ours.high:.2f}"
    return (figure.subset, f"{figure.published:g}", f"{100 * ours.value:.2f}", interval, f"{difference:+.2f}")


def main(arguments: Sequence[str] | None = None) -> None:
    config = parse_command(
        ReproduceConfig, program="python -m experiments.reproduce", description=DESCRIPTION, arguments=arguments
    )
    figures = reproduce(config)
    print_figures(figures, config)
    off = [f"{one.model} on {one.subset}" for one in figures if not one.agrees(config.tolerance_points)]
    if off:
        from preprocessing.cli.errors import InputError

        raise InputError(
            f"{len(off)} of {len(figures)} figures are not within {config.tolerance_points:g} points of what was "
            f"published: {', '.join(off)}"
        )


if __name__ == "__main__":
    run_command(main)
