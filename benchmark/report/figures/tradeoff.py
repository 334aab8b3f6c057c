"""WER against speed: which systems are beaten by none in both, the Pareto front."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from benchmark.report.figures.style import WIDE, is_finite, limits, marker, short
from benchmark.report.quantities import percent
from benchmark.report.svg import PAGE, Drawing, Ink, drawing, place
from benchmark.results import Spread
from finetune.significance import Rate

_LINE = 15.0  # height of a name, in points
_Box = tuple[float, float, float, float]  # left, right, lower, upper; in points


@dataclass(frozen=True, slots=True)
class Place:
    """Where a system stands: its place in the summary, name, WER, and RTFx with the least and greatest of rounds."""

    series: int
    name: str
    wer: Rate
    rtfx: Spread


def pareto(places: Sequence[Place]) -> list[Place]:
    """The systems that no other one beats in WER and speed at once, fastest first.

    >>> at = lambda name, wer, rtfx: Place(0, name, Rate(wer, wer, wer), Spread(rtfx, rtfx, rtfx))
    >>> [one.name for one in pareto([at("a", 0.1, 10), at("b", 0.2, 5), at("c", 0.3, 90)])]
    ['c', 'a']
    """

    def beaten(one: Place) -> bool:
        return any(
            other.wer.value <= one.wer.value
            and other.rtfx.median >= one.rtfx.median
            and (other.wer.value < one.wer.value or other.rtfx.median > one.rtfx.median)
            for other in places
        )

    return sorted((one for one in places if not beaten(one)), key=lambda one: (-one.rtfx.median, one.wer.value))


def tradeoff(places: Sequence[Place], width: float = WIDE, ink: Ink = PAGE) -> Drawing | None:
    """Each system by RTFx (logarithmic) and WER with their intervals; a line joins the Pareto front.

    None for fewer than two systems, where there is nothing to weigh.
    """
    drawn = [one for one in places if is_finite(one.wer) and 0 < one.rtfx.low <= one.rtfx.high < math.inf]
    if len(drawn) < 2:
        return None
    height = 340.0
    with drawing(width, height, ink) as (figure, axes):
        place(axes, 44, 12, 44, 30)
        low, high = min(one.rtfx.low for one in drawn), max(one.rtfx.high for one in drawn)
        room = max(1.6, (high / low) ** 0.25)
        x_limits, y_limits = (low / room, high * room), limits([one.wer for one in drawn])
        axes.set(xscale="log", xlim=x_limits, ylim=y_limits)
        per_decade = (width - 56) / math.log10(x_limits[1] / x_limits[0])
        digits = (1, 2, 5) if per_decade > 110 else (1, 3) if per_decade > 60 else (1,)
        axes.xaxis.set_major_locator(LogLocator(subs=digits, numticks=20))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}×"))
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.grid(color=ink.grid, linewidth=0.8)
        axes.tick_params(axis="y", length=0)
        front = pareto(drawn)
        axes.plot(
            [one.rtfx.median for one in front], [100 * one.wer.value for one in front], color=ink.faint, linewidth=1.2,
            dashes=(4, 3),
        )  # fmt: skip
        for one in drawn:
            colour, x, y = ink.of(one.series), one.rtfx.median, 100 * one.wer.value
            axes.plot([x, x], [100 * one.wer.low, 100 * one.wer.high], color=colour, linewidth=1.8)
            axes.plot([one.rtfx.low, one.rtfx.high], [y, y], color=colour, linewidth=1.8)
            axes.plot(
                x, y, linestyle="", marker=marker(one.series), markersize=10, color=colour, markeredgecolor=ink.paper
            )
        _names(axes, drawn, x_limits, y_limits, (width - 56, height - 74), width, ink)
        axes.set_xlabel("RTFx: seconds of audio done in one second (faster to the right)", color=ink.faint)
        if width < WIDE:
            axes.set_xlabel("RTFx (faster to the right)", color=ink.faint)
        axes.annotate("WER, %", (0, 1), (-36, 14), "axes fraction", "offset points", color=ink.faint)
        said = "; ".join(f"{short(one.name, 50)} {percent(one.wer.value)} at {one.rtfx.median:.1f}×" for one in drawn)
        unbeaten = ", ".join(short(one.name, 50) for one in front)
        label = f"WER against speed: {said}. Beaten by no other in both: {unbeaten}."
        return Drawing(f"tradeoff-{width:.0f}", label, figure)


def _names(
    axes: Axes,
    drawn: Sequence[Place],
    x_limits: tuple[float, float],
    y_limits: tuple[float, float],
    size: tuple[float, float],
    width: float,
    ink: Ink,
) -> None:
    """Each system's name beside its point: the nearest of some places where nothing else stands, or the freest one."""
    span = math.log10(x_limits[1] / x_limits[0])

    def across(rtfx: float) -> float:
        return size[0] * math.log10(rtfx / x_limits[0]) / span

    def up(wer: float) -> float:
        return size[1] * (100 * wer - y_limits[0]) / (y_limits[1] - y_limits[0])

    taken: list[_Box] = []
    for one in drawn:
        x, y = across(one.rtfx.median), up(one.wer.value)
        taken += [(x - 7, x + 7, y - 7, y + 7), (x - 3, x + 3, up(one.wer.low), up(one.wer.high))]
    for one in sorted(drawn, key=lambda one: -one.wer.value):
        text = short(one.name, 34 if width == WIDE else 16)
        x, y, length = across(one.rtfx.median), up(one.wer.value), 7.6 * len(text)
        choices = []
        for shift in (9, -9, 20, -20, 32, -32, 44, -44):
            for side in (1, -1):
                left = x + 10 if side > 0 else x - 10 - length
                box = left, left + length, y + shift - _LINE / 2, y + shift + _LINE / 2
                outside = max(0.0, -left, left + length - size[0]) + max(0.0, -box[2], box[3] - size[1] - 20)
                covered = sum(_overlap(box, other) for other in taken)
                choices.append((outside * _LINE + covered, abs(shift), -side, shift, side, box))
        *_, shift, side, box = min(choices)
        taken.append(box)
        axes.annotate(
            text, (one.rtfx.median, 100 * one.wer.value), (10 * side, shift),
            textcoords="offset points", ha="left" if side > 0 else "right", va="center", color=ink.ink,
        )  # fmt: skip


def _overlap(one: _Box, other: _Box) -> float:
    """The area that two boxes share."""
    wide = min(one[1], other[1]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[2], other[2])
    return max(0.0, wide) * max(0.0, high)
