"""Figures of how fast: latency percentiles, latency against duration, and WER against speed with the Pareto front."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from benchmark.report.figures.style import (
    PAGE,
    WIDE,
    Drawing,
    Ink,
    drawing,
    is_finite,
    label,
    limits,
    marker,
    name_limit,
    place,
    short,
)
from benchmark.report.quantities import SPACE, milliseconds, percent
from benchmark.results import Speed, Spread
from finetune.metrics import Rate

MAX_POINTS = 800  # of one system in the figure of latency against duration
Point = tuple[float, float]  # duration of the audio and latency, in seconds


def percentiles(systems: Sequence[tuple[int, str, Speed]], width: float = WIDE, ink: Ink = PAGE) -> Drawing | None:
    """p50, p95 and p99 of each system on one logarithmic axis; thick lines are the least and greatest of rounds."""
    drawn = [(index, name, _three(speed)) for index, name, speed in systems]
    drawn = [one for one in drawn if all(0 < at.low <= at.high < math.inf for at in one[2])]
    if not drawn:
        return None
    low = 1000 * min(at.low for *_, three in drawn for at in three)
    high = 1000 * max(at.high for *_, three in drawn for at in three)
    x_limits = low / 1.35, high * 1.35
    with drawing(width, 46 + 56 * len(drawn), ink) as (figure, axes):
        place(axes, 14, 14, 42, 4)
        axes.set(xscale="log", xlim=x_limits, ylim=(len(drawn) - 0.35, -0.65))
        axes.yaxis.set_visible(False)
        _log_ticks(axes, "x", x_limits, width)
        axes.grid(axis="x", color=ink.grid, linewidth=0.8)
        for row, (index, name, three) in enumerate(drawn):
            colour = ink.of(index)
            axes.plot([1000 * three[0].median, 1000 * three[2].median], [row, row], color=colour, linewidth=1.2)
            for at, filled in zip(three, (True, False, False), strict=True):
                if at.high > at.low:
                    axes.plot([1000 * at.low, 1000 * at.high], [row, row], color=colour, linewidth=6, alpha=0.35,
                              solid_capstyle="butt")  # fmt: skip
                axes.plot(
                    1000 * at.median, row, linestyle="", marker=marker(index), markersize=9 if filled else 7,
                    color=colour if filled else ink.paper, markeredgecolor=ink.paper if filled else colour,
                    markeredgewidth=1.0 if filled else 1.8,
                )  # fmt: skip
            label(axes, 0, row - 0.3, short(name, name_limit(width) - 4), ink)
            figures = " · ".join(milliseconds(at.median).partition(SPACE)[0] for at in three) + " ms"
            label(axes, 1, row - 0.3, figures, ink, faint=True)
        axes.set_xlabel("Latency, ms: p50 (filled), p95, p99", color=ink.faint)
        said = "; ".join(
            f"{short(name, 50)} " + ", ".join(milliseconds(at.median) for at in three) for _, name, three in drawn
        )
        return Drawing(f"percentiles-{width:.0f}", f"Latency percentiles p50, p95, p99: {said}.", figure)


def against_duration(
    systems: Sequence[tuple[str, Sequence[Point]]], width: float = WIDE, ink: Ink = PAGE
) -> Drawing | None:
    """Latency of each utterance against its duration, both logarithmic; diagonals are lines of equal speed.

    Above MAX_POINTS of a system, points evenly spaced in duration stand for all, the slowest among them.
    """
    drawn = [thinned(own) for _, own in systems]
    durations = [duration for own in drawn for duration, _ in own]
    seconds = [second for own in drawn for _, second in own]
    if not durations:
        return None
    x_limits = min(durations) / 1.25, max(durations) * 1.25
    y_limits = 1000 * min(seconds) / 1.6, 1000 * max(seconds) * 1.6
    with drawing(width, 340, ink) as (figure, axes):
        place(axes, 52, 40, 42, 42)
        axes.set(xscale="log", yscale="log", xlim=x_limits, ylim=y_limits)
        _log_ticks(axes, "x", x_limits, width)
        _log_ticks(axes, "y", y_limits, 340)
        axes.grid(color=ink.grid, linewidth=0.8)
        axes.tick_params(axis="y", length=0)
        for rtfx in (0.1, 1, 10, 100, 1000, 10_000):
            _speed_line(axes, rtfx, x_limits, y_limits, ink)
        for index, own in enumerate(drawn):
            x, y = [duration for duration, _ in own], [1000 * second for _, second in own]
            axes.plot(
                x, y, linestyle="", marker=marker(index), markersize=5.5, color=ink.of(index), alpha=0.75,
                markeredgewidth=0,
            )  # fmt: skip
        axes.set_xlabel("Duration of the audio, s", color=ink.faint)
        axes.annotate("Latency, ms", (0, 1), (0, 22), "axes fraction", "offset points", color=ink.faint)
        ranges = "; ".join(
            f"{short(name, 50)} {1000 * min(s for _, s in own):.0f} to {1000 * max(s for _, s in own):.0f} ms"
            for (name, _), own in zip(systems, drawn, strict=True)
            if own
        )
        described = f"Latency against duration of {min(durations):.1f} to {max(durations):.1f} s of audio: {ranges}."
        return Drawing(f"latency-{width:.0f}", described, figure)


def thinned(points: Sequence[Point]) -> list[Point]:
    """Sorted by duration and thinned to MAX_POINTS; those without a duration or a latency left out."""
    kept = sorted(point for point in points if point[0] > 0 and point[1] > 0)
    step = math.ceil(len(kept) / MAX_POINTS)
    groups = [kept[start : start + step] for start in range(0, len(kept), step or 1)]
    slowest = max(kept, key=lambda point: point[1], default=None)
    return [slowest if slowest in group else group[len(group) // 2] for group in groups if slowest]


def _three(speed: Speed) -> tuple[Spread, Spread, Spread]:
    return (
        speed.p50_spread or Spread(speed.p50, speed.p50, speed.p50),
        speed.p95_spread or Spread(speed.p95, speed.p95, speed.p95),
        speed.p99_spread or Spread(speed.p99, speed.p99, speed.p99),
    )


def _log_ticks(axes: Axes, which: str, limits: Point, length: float) -> None:
    """Ticks at as many digits of each decade as have room on an axis `length` points long."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    points_per_decade = length / math.log10(limits[1] / limits[0])
    digits = (1, 2, 5) if points_per_decade > 150 else (1, 3) if points_per_decade > 90 else (1,)
    axis.set_major_locator(LogLocator(subs=digits, numticks=20))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def _speed_line(axes: Axes, rtfx: float, x_limits: Point, y_limits: Point, ink: Ink) -> None:
    """The diagonal on which `rtfx` seconds of audio take one second, named where it leaves the axes."""
    at_left, at_right = (1000 * x / rtfx for x in x_limits)
    if at_right < y_limits[0] or at_left > y_limits[1]:
        return
    axes.plot(x_limits, (at_left, at_right), color=ink.faint, linewidth=0.9, dashes=(1, 3))
    text = "real time" if rtfx == 1 else f"{rtfx:,g}×"
    if at_right <= y_limits[1]:
        end, offset, vertical = (x_limits[1], at_right), (4, 0), "center"
    else:
        end, offset, vertical = (rtfx * y_limits[1] / 1000, y_limits[1]), (-8, 4), "bottom"
    axes.annotate(text, end, offset, textcoords="offset points", color=ink.faint, va=vertical, fontsize=11)


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
