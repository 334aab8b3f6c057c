"""What all figures share: their sizes, a system's marker, names that can be drawn, rows of dots with intervals.

A system keeps its colour and its marker in all figures. Sizes are in points, which are CSS pixels at natural width.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.markers import MarkerStyle
from matplotlib.patches import PathPatch

from benchmark.report.svg import N_SERIES, PAGE, Drawing, Ink, drawing
from finetune.significance import Rate

WIDE, NARROW = 660.0, 330.0
_MARKERS = "os^DvPXp"


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure that can be drawn at each of its widths; `draw` gives None where there is nothing to show."""

    draw: Callable[[float, Ink], Drawing | None]
    widths: tuple[float, ...] = (WIDE, NARROW)


def marker(series: int) -> str:
    return _MARKERS[series % N_SERIES]


def key(series: int) -> str:
    """The marker of a system, to stand before its name in running text."""
    with drawing(14, 14) as (figure, axes):
        axes.set_axis_off()
        axes.set(xlim=(-0.75, 0.75), ylim=(-0.75, 0.75))
        style = MarkerStyle(marker(series))
        shape = style.get_path().transformed(style.get_transform())
        axes.add_patch(PathPatch(shape, facecolor=PAGE.of(series), linewidth=0, clip_on=False))
        return Drawing(f"key-{series}", "", figure).inline("key")


def short(name: str, limit: int) -> str:
    """A name that can be drawn: printable, at most `limit` characters."""
    printable = "".join(symbol if symbol.isprintable() else "\ufffd" for symbol in name)
    return printable if len(printable) <= limit else f"{printable[: limit - 1]}…"


def name_limit(width: float) -> int:
    """How many characters of a name have room in a drawing of this width."""
    return 50 if width == WIDE else 20


def is_finite(rate: Rate) -> bool:
    return math.isfinite(rate.value + rate.low + rate.high)


def dot_and_interval(axes: Axes, rate: Rate, row: float, series: int, ink: Ink, size: float = 9.0) -> None:
    """A rate, in percent, as a marker on its interval with closed ends."""
    colour = ink.of(series)
    axes.plot([100 * rate.low, 100 * rate.high], [row, row], color=colour, linewidth=2, solid_capstyle="butt")
    axes.plot(
        [100 * rate.low, 100 * rate.high], [row, row], linestyle="", marker="|", markersize=size, color=colour,
        markeredgewidth=2,
    )  # fmt: skip
    axes.plot(
        100 * rate.value, row, linestyle="", marker=marker(series), markersize=size, color=colour,
        markeredgecolor=ink.paper,
    )  # fmt: skip


def limits(rates: Sequence[Rate], least: float | None = 0.0) -> tuple[float, float]:
    """The ends of an axis in percent that holds all intervals with room around; not below `least` percent."""
    low, high = min(rate.low for rate in rates), max(rate.high for rate in rates)
    margin = 0.06 * (high - low) or 0.01
    low = 100 * (low - margin)
    return low if least is None else max(least, low), 100 * (high + margin)


def label(axes: Axes, x: float, y: float, text: str, ink: Ink, *, faint: bool = False, size: float = 12) -> None:
    """Text beside a row, at a share `x` of the width; its own ground keeps lines from running through it."""
    axes.text(
        x, y, text, color=ink.faint if faint else ink.ink, ha="right" if x else "left", fontsize=size, zorder=1.5,
        transform=axes.get_yaxis_transform(), bbox={"facecolor": ink.paper, "edgecolor": "none", "pad": 1.0},
    )  # fmt: skip
