"""The table as a terminal prints it and as summary.md holds it: quantities down, systems across.

A narrow terminal gets several tables below each other, each as many systems wide as fit. Nothing is cut off.
"""

import re
from collections.abc import Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from benchmark.report.quantities import Cell, Quantity, counted, quantities, terms
from benchmark.report.verdict import caveats, notices, verdict
from benchmark.results import Summary, SystemSummary

_NAME_WIDTH = 18  # cells that a system's name gets before it is wrapped
_PADDING = 2  # cells between two columns


def print_table(summary: Summary, console: Console | None = None) -> None:
    """Print the notices, the table and the verdict, at most as wide as the console (default: the terminal)."""
    console = console or Console()
    for notice in notices(summary):
        console.print(Panel(Text(notice), title="NOTICE", title_align="left", border_style="bold red", style="bold"))
    rows = quantities(summary)
    for systems in _fitting(summary.systems, rows, console.width):
        console.print(_terminal_table(systems, rows))
    for sentence in verdict(summary):
        console.print(Text(sentence, style="bold"))
    for sentence in caveats(summary):
        console.print(Text(sentence))


def markdown(summary: Summary) -> str:
    """All of summary.md: verdict, notices, table, and under what the figures were made."""
    corpus = summary.corpus
    parts = [f"# Benchmark on {_escape(corpus.reference)}"]
    parts += [_escape(sentence) for sentence in verdict(summary)]
    parts += [_escape(sentence) for sentence in caveats(summary)]
    parts += [f"> [!WARNING]\n> **{_escape(notice)}**" for notice in notices(summary)]
    parts.append(markdown_table(summary))
    parts.append(
        "95 % intervals in brackets, beside speeds the least and the greatest of the rounds. The page beside this "
        "file, report.html, shows where the errors are."
    )
    parts.append(
        "## Terms\n\n"
        + "\n".join(f"- {term}: {_escape(meaning)}" for term, meaning in terms(quantities(summary)).items())
    )
    utterances, speakers = counted(corpus.utterances, "utterance"), counted(corpus.speakers, "speaker")
    settings = [
        f"Corpus: {corpus.reference}",
        f"Extent: {utterances}, {corpus.hours:.2f} hours, {speakers}",
        f"Intervals: bootstrap, drawn by {corpus.resampling_unit}",
        *(
            f"Text profile {profile.name}, version {profile.version}: {profile.description}"
            for profile in summary.profiles
        ),
        *(_pinned(system) for system in summary.systems),
        *(f"{key}: {value}" for key, value in [*summary.settings.items(), *summary.machine.items()]),
        f"Made: {summary.created}",
    ]
    parts.append("## Settings\n\n" + "\n".join(f"- {_escape(line)}" for line in settings))
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", summary.command)), default=0))
    parts.append(f"{fence}\n{summary.command}\n{fence}")
    return "\n\n".join(parts) + "\n"


def _pinned(system: SystemSummary) -> str:
    """A system's checkpoint and every option it was run with."""
    options = "; ".join(f"{key}: {value}" for key, value in system.facts.settings.items())
    return f"{system.facts.name}: {system.facts.checkpoint}" + (f" ({options})" if options else "")


def markdown_table(summary: Summary) -> str:
    """The table alone, in GitHub's pipe syntax; an interval stands in brackets behind its rate."""
    names = [_escape(system.facts.name) for system in summary.systems]
    lines = [_pipes(["", *names]), _pipes(["---", *("---:" for _ in names)])]
    for row in quantities(summary):
        cells = [row.read(system) for system in summary.systems]
        shown = [f"{cell.text} [{cell.interval}]" if cell.interval else cell.text for cell in cells]
        lines.append(_pipes([_escape(row.label), *shown]))
    return "\n".join(lines)


def _pipes(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escape(text: str) -> str:
    """Text that Markdown shows as it stands: on one line, no markup of its own."""
    return re.sub(r"([\\`*_{}\[\]<>|#~$&])", r"\\\1", " ".join(text.split()))


def _fitting(
    systems: Sequence[SystemSummary], rows: Sequence[Quantity], console_width: int
) -> list[Sequence[SystemSummary]]:
    label_width = max(cell_len(row.label) for row in rows)
    widths = [
        max(
            min(cell_len(system.facts.name), _NAME_WIDTH),
            *(cell_len(line) for row in rows for line in _lines(row.read(system))),
        )
        for system in systems
    ]
    groups: list[list[SystemSummary]] = []
    left = 0
    for system, width in zip(systems, widths, strict=True):
        if not groups or left < width + _PADDING:
            groups.append([])
            left = console_width - label_width - _PADDING
        groups[-1].append(system)
        left -= width + _PADDING
    return list(groups)


def _lines(cell: Cell) -> list[str]:
    return [cell.text, cell.interval] if cell.interval else [cell.text]


def _terminal_table(systems: Sequence[SystemSummary], rows: Sequence[Quantity]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("")
    for system in systems:
        table.add_column(
            Text(system.facts.name, style="bold red" if system.failure else "bold"),
            justify="right",
            overflow="fold",
            max_width=_NAME_WIDTH,
        )
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        cells = [Text("\n".join(_lines(row.read(system)))) for system in systems]
        table.add_row(Text(row.label), *cells, end_section=following is None or following.group != row.group)
    return table
