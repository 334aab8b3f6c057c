"""How every experiment is run: the options that all have, progress on stderr, findings on stdout, JSON and picture."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from experiments.harness.figures import FallsShortError, Findings, print_findings, save_plot, write_json
from preprocessing.cli.options import parse_command


@dataclass(frozen=True, kw_only=True)
class ExperimentOptions:
    """Options of every experiment; its own `Config` adds to them."""

    quick: bool = False
    """Run a small case of about a minute, to try the command; its figures need not reach any target."""

    json: Path | None = None
    """File for the figures, the settings and the machine, as JSON."""

    plot: Path | None = None
    """Picture of the figures: .png, .pdf or .svg."""


Options = TypeVar("Options", bound=ExperimentOptions)


def run_experiment(
    config_class: type[Options],
    run: Callable[[Options], Findings],
    documentation: str | None,
    file: str,
    arguments: Sequence[str] | None = None,
    names: Sequence[str] = (),
) -> None:
    """Parse the options, call `run` and report what it found: the `main` of every experiment.

    documentation, file: `__doc__` and `__file__` of its module, which `--help` shows. arguments: the command line,
    None for that of the process. names: the list field that is given without a flag. Raises UserError as `run` does,
    and FallsShortError (exit code 1) when a figure does not reach what is required of it; the findings have been
    printed and written then.
    """
    program = f"python -m experiments.{Path(file).stem}"
    config = parse_command(
        config_class,
        program=program,
        description=documentation or "",
        arguments=arguments,
        positional=bool(names),
        several=names,
    )
    if config.plot is not None:
        from preprocessing.plot_style import check_picture_suffix

        check_picture_suffix(config.plot, "--plot")
    findings = run(config)
    if config.quick:
        optional = [replace(one, minimum=None, maximum=None) for one in findings.comparisons]
        findings = replace(findings, comparisons=optional, shortfall="")
    print_findings(findings)
    if config.json is not None:
        write_json(findings, config.json)
    if config.plot is not None:
        save_plot(findings, config.plot)
    short = [f"{one.quantity} beside {one.peer}" for one in findings.comparisons if not one.holds]
    if short:
        raise FallsShortError(f"{len(short)} of {len(findings.comparisons)} figures fall short: {'; '.join(short)}")
    if findings.shortfall:
        raise FallsShortError(findings.shortfall)


@contextmanager
def progress(what: str, count: int, unit: str) -> Iterator[Callable[[float], None]]:
    """Show on stderr how far `what` is: a bar on a terminal, elsewhere a line every 10 seconds.

    count: items of it, 0 where they are not counted. unit: what the items are, such as "utterances". Yields a function
    to call with the number of items that are newly done.
    """
    from rich.console import Console

    from preprocessing.cli.progress import Steps

    with Steps(Console(stderr=True), 1, unit).step(what, count) as advance:
        yield advance
