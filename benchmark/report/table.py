"""The table of results on the terminal and in summary.md: a row for each quantity, a column for each system.

A narrow terminal gets several tables below each other, each with as many systems as fit. Nothing is cut off. The rows
themselves are in quantities.py.
"""

import re
from collections.abc import Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from benchmark.report.quantities import Cell, Quantity, described, quantities, terms
from benchmark.report.verdict import above_and_below, caveats, notices, part_of_corpus, verdict
from benchmark.report.words import word_profile_sentence, word_sentences
from benchmark.results import Summary, SystemSummary
from benchmark.scoring.speed import call_cost_sentences
from preprocessing.errors import counted, printable

_NAME_WIDTH = 24  # characters of a system's name before it is wrapped
_PADDING = 3  # characters between two columns, and before and after all of them


def print_table(summary: Summary, console: Console | None = None) -> None:
    """Print notices, table, signatures of the scores, verdict and caveats on `console`, by default the terminal."""
    console = console or Console()
    for notice in notices(summary):
        console.print(Panel(_text(notice), title="NOTICE", title_align="left", border_style="bold red", style="bold"))
    rows = quantities(summary)
    for systems in _fitting(summary.systems, rows, console.width):
        console.print(_terminal_table(systems, rows))
    for profile in summary.profiles:
        if profile.signature:
            console.print(_text(f"signature: {profile.signature}", "dim"), soft_wrap=True)  # in one piece to copy
    for sentence in verdict(summary):
        console.print(_text(sentence, "bold"))
    for sentence in [*caveats(summary), *_notes(summary)]:
        console.print(_text(sentence))


def _notes(summary: Summary) -> list[str]:
    """What a reader must know of single figures of the table."""
    of_words = word_profile_sentence(summary)
    notes = [*call_cost_sentences(summary.systems), *word_sentences(summary)]
    return [*notes, of_words] if of_words else notes


def _text(text: str, style: str = "") -> Text:
    return Text(printable(text), style=style)


def markdown(summary: Summary) -> str:
    """The whole content of summary.md: verdict, notices, table, further sentences, changes, terms and settings."""
    corpus, part = summary.corpus, part_of_corpus(summary)
    parts = [f"# Benchmark on {_escape(corpus.reference)}{f' ({part})' if part else ''}"]
    answer, limits, further = above_and_below(summary)
    parts += map(_escape, [*answer, *limits])
    parts += [f"> [!WARNING]\n> **{_escape(notice)}**" for notice in notices(summary)]
    parts.append(markdown_table(summary))
    parts.append(
        "In brackets: the 95 % confidence interval of a rate, the lowest and highest round of a speed. report.html "
        "next to this file shows the errors themselves."
    )
    parts += [
        f"Signature of the scores under {_escape(profile.name)}: {_code(profile.signature)}"
        for profile in summary.profiles
        if profile.signature
    ]
    parts += map(_escape, [*further, *_notes(summary)])
    if summary.changes:
        lines = [f"- {_escape(one.sentence)}" for one in sorted(summary.changes, key=lambda one: not one.significant)]
        parts.append("## Changes since the earlier result\n\n" + "\n".join(lines))
    parts.append(
        "## Terms\n\n"
        + "\n".join(f"- {term}: {_escape(meaning)}" for term, meaning in terms(quantities(summary)).items())
    )
    utterances, speakers = counted(corpus.utterances, "utterance"), counted(corpus.speakers, "speaker")
    settings = [
        f"Corpus: {corpus.reference}",
        f"Size: {utterances}, {corpus.hours:.2f} hours, {speakers}",
        f"Confidence intervals: bootstrap over each {corpus.resampling_unit}",
        *(
            f"Text profile {profile.name}, version {profile.version}: {profile.description}"
            for profile in summary.profiles
        ),
        *(_system_settings(system) for system in summary.systems),
        *(f"{key}: {value}" for key, value in [*summary.settings.items(), *summary.machine.items()]),
        *([f"git commit: {summary.code}"] if summary.code else []),
        f"Made: {summary.created}",
    ]
    parts.append("## Settings\n\n" + "\n".join(f"- {_escape(line)}" for line in settings))
    fence = _fence(summary.command, 3)
    parts.append(f"{fence}\n{printable(summary.command)}\n{fence}")
    return "\n\n".join(parts) + "\n"


def _system_settings(system: SystemSummary) -> str:
    """A line with a system's name, checkpoint, weights and settings."""
    known = described(system.facts)
    options = "; ".join(f"{key}: {value}" for key, value in known if key not in ("Family", "Checkpoint"))
    return f"{system.facts.name}: {system.facts.checkpoint}" + (f" ({options})" if options else "")


def markdown_table(summary: Summary) -> str:
    """The table alone, in GitHub's pipe syntax; the interval of a value is in brackets behind it."""
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
    return re.sub(r"([\\`*_{}\[\]<>|#~$&])", r"\\\1", printable(" ".join(text.split())))


def _code(text: str) -> str:
    """Text as inline code, which Markdown shows letter by letter."""
    fence = _fence(text, 1)
    return f"{fence} {text} {fence}" if "`" in text else f"`{text}`"


def _fence(text: str, minimum: int) -> str:
    """More backticks than stand together anywhere in `text`."""
    return "`" * max(minimum, 1 + max(map(len, re.findall("`+", text)), default=0))


def _fitting(
    systems: Sequence[SystemSummary], rows: Sequence[Quantity], console_width: int
) -> list[Sequence[SystemSummary]]:
    """The systems in groups, each as many as fit beside each other; a group has one system at least."""
    label_width = max(cell_len(row.label) for row in rows)
    widths = [
        max(
            max(cell_len(line) for line in _name_lines(system.facts.name)),
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


def _name_lines(name: str) -> list[str]:
    """A long name in lines of at most _NAME_WIDTH, broken after = / - _ : or a space where there is one."""
    lines = [""]
    for part in re.findall(r"[^=/:_\s-]*[=/:_\s-]?", name):
        for piece in [part[start : start + _NAME_WIDTH] for start in range(0, len(part), _NAME_WIDTH)]:
            if cell_len(lines[-1] + piece) > _NAME_WIDTH and lines[-1]:
                lines.append("")
            lines[-1] += piece
    return lines


def _lines(cell: Cell) -> list[str]:
    return [cell.text, cell.interval] if cell.interval else [cell.text]


def _terminal_table(systems: Sequence[SystemSummary], rows: Sequence[Quantity]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("")
    for system in systems:
        table.add_column(
            _text("\n".join(_name_lines(system.facts.name)), "bold red" if system.failure else "bold"),
            justify="right",
            overflow="fold",
            max_width=_NAME_WIDTH,
        )
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        cells = [_text("\n".join(_lines(row.read(system)))) for system in systems]
        table.add_row(Text(row.label), *cells, end_section=following is None or following.group != row.group)
    return table
