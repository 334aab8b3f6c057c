"""What an experiment found: comparisons with what is required of them, or a table; printed, as JSON and as a picture.

Nothing is measured here. torch, numpy, rich and matplotlib are imported where they are used.
"""

import dataclasses
import json
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from preprocessing.errors import UserError
from preprocessing.storage.atomic_write import write_output

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray
    from rich.table import Table as RichTable

SCHEMA = 2  # of the JSON file; 1 had what, at_least and at_most for quantity, minimum and maximum
WIDEST = 1000  # columns: a table is printed as wide as it is, as a cell that is cut or folded cannot be copied
TERMINAL_WIDTH = 120  # columns; in a wider table, headings take several lines
HEADING_WIDTH = 11  # columns of such a heading


class FallsShortError(UserError):
    """A figure does not reach what is required of it; exit code 1."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One quantity of this project beside a peer's, and the advantage: a ratio or a difference of the two."""

    quantity: str
    peer: str
    ours: float
    theirs: float
    unit: str  # of these two
    advantage: float
    low: float  # quartiles of the advantage over the single measurements
    high: float
    advantage_unit: str  # "x" for a ratio, else the unit of a difference
    minimum: float | None = None  # of the advantage; None: not required
    maximum: float | None = None  # of the advantage, where less is better

    @property
    def holds(self) -> bool:
        """Whether the advantage is within minimum and maximum."""
        reached = self.minimum is None or self.advantage >= self.minimum
        return reached and (self.maximum is None or self.advantage <= self.maximum)

    @property
    def requirement(self) -> str:
        """What is required, for a table: "3 x", "at most 5 %", "3 x (NOT MET)", or "" where nothing is."""
        bounds = [("", self.minimum), ("at most ", self.maximum)]
        words = [f"{word}{bound:g} {self.advantage_unit}" for word, bound in bounds if bound is not None]
        return " ".join(words) + ("" if self.holds else " (NOT MET)")


@dataclass(frozen=True)
class Table:
    """Rows of cells under headings; the first column names what a row is of. `title` stands above it."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""


@dataclass(frozen=True)
class Findings:
    """All that an experiment reports.

    settings: how it was measured, for people. missing: the peers that could not be measured, and why.
    details: what only the JSON file holds. draw: draws the picture into one panel; None draws the comparisons.
    shortfall: what does not reach what is required, in one sentence, where the comparisons do not say it.
    answers: what the figures say, in sentences. height: of the picture that `draw` draws, in inches.
    """

    title: str
    settings: str
    comparisons: Sequence[Comparison] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    tables: Sequence[Table] = ()
    device: str = "cpu"
    details: Mapping[str, object] = field(default_factory=dict)
    draw: "Callable[[Axes], None] | None" = None
    shortfall: str = ""
    answers: Sequence[str] = ()
    height: float = 4.5


def speed_up(
    quantity: str, peer: str, ours: Sequence[float], theirs: Sequence[float], minimum: float | None
) -> Comparison:
    """How many times faster ours is: the median of the pairwise ratios of seconds, beside both medians in ms."""
    import numpy as np

    milliseconds = 1000 * np.array(ours), 1000 * np.array(theirs)
    return _of_rounds(quantity, peer, *milliseconds, "ms", milliseconds[1] / milliseconds[0], "x", minimum)


def rate_ratio(
    quantity: str, peer: str, ours: Sequence[float], theirs: Sequence[float], unit: str, minimum: float | None
) -> Comparison:
    """How many times the peer's rate ours is: the median of the pairwise ratios, beside both medians in `unit`."""
    import numpy as np

    rates = np.array(ours), np.array(theirs)
    return _of_rounds(quantity, peer, *rates, unit, rates[0] / rates[1], "x", minimum)


def gain_in_db(
    quantity: str, peer: str, ours: Sequence[float], theirs: Sequence[float], minimum: float | None
) -> Comparison:
    """How many dB better ours is on average, beside both means."""
    import numpy as np

    levels = np.array(ours), np.array(theirs)
    return _of_rounds(quantity, peer, *levels, "dB", levels[0] - levels[1], "dB", minimum, centre=np.mean)


def _of_rounds(
    quantity: str,
    peer: str,
    ours: "NDArray[np.float64]",
    theirs: "NDArray[np.float64]",
    unit: str,
    advantages: "NDArray[np.float64]",
    advantage_unit: str,
    minimum: float | None,
    centre: "Callable[[NDArray[np.float64]], np.floating] | None" = None,
) -> Comparison:
    """A comparison of medians, or of another centre, with the quartiles of the advantages."""
    import numpy as np

    centre = centre or np.median
    low, high = (float(one) for one in np.quantile(advantages, [0.25, 0.75]))
    return Comparison(
        quantity=quantity,
        peer=peer,
        ours=float(centre(ours)),
        theirs=float(centre(theirs)),
        unit=unit,
        advantage=float(centre(advantages)),
        low=low,
        high=high,
        advantage_unit=advantage_unit,
        minimum=minimum,
    )


def measured_once(
    quantity: str,
    peer: str,
    *,
    ours: float,
    theirs: float,
    unit: str,
    advantage: float,
    advantage_unit: str,
    minimum: float | None = None,
    maximum: float | None = None,
) -> Comparison:
    """A comparison without quartiles: of what was measured once, or would be the same each time."""
    return Comparison(
        quantity=quantity,
        peer=peer,
        ours=ours,
        theirs=theirs,
        unit=unit,
        advantage=advantage,
        low=advantage,
        high=advantage,
        advantage_unit=advantage_unit,
        minimum=minimum,
        maximum=maximum,
    )


def print_findings(findings: Findings) -> None:
    """Print tables, settings and missing peers on stdout."""
    from rich.console import Console

    console = Console(width=WIDEST)
    console.print(findings.title, style="bold", markup=False, highlight=False)
    if findings.comparisons:
        headings = ("", "beside", "ours", "theirs", "ratio or gain", "quartiles", "required")
        rows = [
            (
                one.quantity,
                one.peer,
                f"{one.ours:.1f} {one.unit}".rstrip(),
                f"{one.theirs:.1f} {one.unit}".rstrip(),
                f"{one.advantage:.1f} {one.advantage_unit}",
                f"{one.low:.1f} to {one.high:.1f}",
                one.requirement,
            )
            for one in findings.comparisons
        ]
        console.print(_rich(Table(headings, rows)))
    for table in findings.tables:
        if table.title:
            console.print(table.title, markup=False, highlight=False, soft_wrap=True)
        console.print(_rich(table))
    for answer in findings.answers:
        console.print(f"- {answer}", markup=False, highlight=False, soft_wrap=True)
    if findings.settings:
        console.print(findings.settings, markup=False, highlight=False, soft_wrap=True)
    for peer, reason in findings.missing.items():
        console.print(f"{peer} is missing: {reason}", markup=False, highlight=False, soft_wrap=True)


def _rich(table: Table) -> "RichTable":
    """The table for a terminal, without Markdown's bold; columns of numbers, but for the first, to the right."""
    from rich import box
    from rich.table import Table as RichTable

    rows = [[cell.replace("**", "") for cell in row] for row in table.rows]
    widths = [max(map(len, column)) for column in zip(table.headings, *rows, strict=True)]
    shown = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for place, (heading, *cells) in enumerate(zip(table.headings, *rows, strict=True)):
        numbers = place > 0 and all(re.match(r"[-+<\d]|$", cell) for cell in cells)
        if sum(widths) + 2 * len(widths) > TERMINAL_WIDTH:
            heading = "\n".join(textwrap.wrap(heading, HEADING_WIDTH))
        shown.add_column(heading, justify="right" if numbers else "left", no_wrap=True)
    for row in rows:
        shown.add_row(*row)
    return shown


def write_json(findings: Findings, path: Path) -> None:
    """Write findings, settings, machine and details as JSON. Raises UsageError where the file cannot be written."""
    from benchmark.environment import describe_machine

    content = {
        "schema": SCHEMA,
        "title": findings.title,
        "settings": findings.settings,
        "figures": [dataclasses.asdict(one) | {"holds": one.holds} for one in findings.comparisons],
        "missing": [{"peer": peer, "reason": reason} for peer, reason in findings.missing.items()],
        "machine": describe_machine(findings.device),
    } | dict(findings.details)
    write_output(path, "--json", (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def save_plot(findings: Findings, path: Path) -> None:
    """Save the picture of the findings: their own, or the advantages as bars beside what is required."""
    from preprocessing.errors import one_line
    from preprocessing.plot_style import new_figure, save_figure, style_axes, write_heading

    units = list(dict.fromkeys(one.advantage_unit for one in findings.comparisons))
    if findings.draw is not None or not units:
        height = findings.height
        figure = new_figure(7.0, height)
        axes = figure.add_axes((0.12, 0.63 / height, 0.83, 1 - 1.53 / height))
        if findings.draw is not None:
            findings.draw(axes)
        style_axes(axes, grid=True)
    else:
        counts = [sum(one.advantage_unit == unit for one in findings.comparisons) for unit in units]
        height = 1.0 + sum(0.34 * count + 0.75 for count in counts)
        figure = new_figure(9.0, height)
        top = height - 0.95
        for unit, count in zip(units, counts, strict=True):
            rows = 0.34 * count
            axes = figure.add_axes((0.42, (top - rows) / height, 0.53, rows / height))
            _draw_advantages(axes, [one for one in findings.comparisons if one.advantage_unit == unit])
            style_axes(axes, spines=("bottom",))
            top -= rows + 0.75
    limit = round(13 * figure.get_figwidth())
    clauses = findings.settings.partition("\n")[0].split(", ")
    while len(clauses) > 1 and len(", ".join(clauses)) > limit:
        clauses.pop()
    write_heading(figure, findings.title, one_line(", ".join(clauses), limit=limit))
    save_figure(figure, path, flag="--plot")


def _draw_advantages(axes: "Axes", comparisons: Sequence[Comparison]) -> None:
    """A bar with its quartiles for each comparison of one unit, and a mark at what is required; ratios from 1 on."""
    from preprocessing.plot_style import PALETTE

    ratios = comparisons[0].advantage_unit == "x"
    for row, one in enumerate(comparisons):
        begin = 1.0 if ratios else 0.0
        axes.barh(row, one.advantage - begin, left=begin, height=0.55, color=PALETTE.main)
        axes.plot([one.low, one.high], [row, row], color=PALETTE.ink, linewidth=1.2)
        for bound in (one.minimum, one.maximum):
            if bound is not None:
                axes.plot([bound, bound], [row - 0.4, row + 0.4], color=PALETTE.accent, linewidth=2)
    axes.set_yticks(range(len(comparisons)), [f"{one.quantity}, beside {one.peer}" for one in comparisons])
    axes.invert_yaxis()
    axes.set_xlabel("ratio, on a logarithmic axis" if ratios else comparisons[0].advantage_unit)
    if ratios:
        ends = [
            bound for one in comparisons for bound in (one.low, one.high, one.advantage, one.minimum, one.maximum, 1)
        ]
        positive = [end for end in ends if end is not None and end > 0]
        axes.set(xscale="log", xlim=(min(positive) / 1.2, max(positive) * 1.2))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
