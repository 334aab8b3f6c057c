"""Figures of speed: latency percentiles, latency against duration, and WER against RTFx with the Pareto front.

Every function returns a Drawing, or None where nothing it is given can be drawn.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from benchmark.report.figures.style import (
    PAGE_PALETTE,
    WIDE,
    Drawing,
    axis_limits,
    is_finite,
    marker,
    max_name_length,
    new_drawing,
    set_margins,
    shorten,
    write_label,
)
from benchmark.report.quantities import SPACE, milliseconds, percent, rtfx_text
from benchmark.results import CallCost, Metric, Speed, Spread
from finetune.metrics import Rate
from preprocessing.plot_style import Palette

MAX_POINTS = 800  # of one system in the figure of latency against duration
Point = tuple[float, float]  # duration of the audio and latency, in seconds


def latency_percentiles(
    systems: Sequence[tuple[int, str, Speed]], width: float = WIDE, palette: Palette = PAGE_PALETTE
) -> Drawing | None:
    """p50, p95 and p99 latency of each system on one logarithmic axis, with the range over rounds as a thick line.

    systems: index in the summary, name, speed.
    """
    drawn = [(index, name, _three(speed)) for index, name, speed in systems if speed.has_percentiles]
    drawn = [one for one in drawn if all(0 < at.low <= at.high < math.inf for at in one[2])]
    if not drawn:
        return None
    low = 1000 * min(at.low for *_, three in drawn for at in three)
    high = 1000 * max(at.high for *_, three in drawn for at in three)
    with new_drawing(width, 46 + 56 * len(drawn), palette) as (figure, axes):
        set_margins(axes, 14, 14, 42, 4)
        axes.set(xscale="log", xlim=(low / 1.35, high * 1.35), ylim=(len(drawn) - 0.35, -0.65))
        axes.yaxis.set_visible(False)
        _log_ticks(axes.xaxis, axes.bbox.width)
        axes.grid(axis="x", color=palette.grid, linewidth=0.8)
        for row, (index, name, three) in enumerate(drawn):
            colour = palette.of(index)
            axes.plot([1000 * three[0].median, 1000 * three[2].median], [row, row], color=colour, linewidth=1.2)
            for at, filled in zip(three, (True, False, False), strict=True):
                if at.high > at.low:
                    axes.plot([1000 * at.low, 1000 * at.high], [row, row], color=colour, linewidth=6, alpha=0.35,
                              solid_capstyle="butt")  # fmt: skip
                axes.plot(
                    1000 * at.median, row, linestyle="", marker=marker(index), markersize=9 if filled else 7,
                    color=colour if filled else palette.paper, markeredgecolor=palette.paper if filled else colour,
                    markeredgewidth=1.0 if filled else 1.8,
                )  # fmt: skip
            write_label(axes, 0, row - 0.3, shorten(name, max_name_length(width)), palette)
            figures = " · ".join(milliseconds(at.median).partition(SPACE)[0] for at in three) + " ms"
            below = 0.36 if width < WIDE else -0.3  # in a narrow figure the name needs the line for itself
            write_label(axes, 1, row + below, figures, palette, faint=True)
        axes.set_xlabel("Latency, ms: p50 (filled), p95, p99", color=palette.faint)
        described = "; ".join(
            f"{shorten(name, 50)} " + ", ".join(milliseconds(at.median) for at in three) for _, name, three in drawn
        )
        return Drawing(f"percentiles-{width:.0f}", f"Latency percentiles p50, p95, p99: {described}.", figure)


def latency_against_duration(
    systems: Sequence[tuple[str, Sequence[Point]]],
    width: float = WIDE,
    palette: Palette = PAGE_PALETTE,
    costs: Sequence[CallCost | None] = (),
) -> Drawing | None:
    """Latency of each utterance against its duration, both logarithmic, with the fitted line of each system, which is
    a curve there, and diagonals of equal RTFx.

    systems: name and (duration, latency) in seconds. More than MAX_POINTS points of a system are thinned. costs: of
    the same systems.
    """
    drawn = [thin_points(own) for _, own in systems]
    durations = [duration for own in drawn for duration, _ in own]
    seconds = [second for own in drawn for _, second in own]
    if not durations:
        return None
    x_limits = min(durations) / 1.25, max(durations) * 1.25
    y_limits = 1000 * min(seconds) / 1.6, 1000 * max(seconds) * 1.6
    with new_drawing(width, 340, palette) as (figure, axes):
        set_margins(axes, 52, 40, 42, 42)
        axes.set(xscale="log", yscale="log", xlim=x_limits, ylim=y_limits)
        _log_ticks(axes.xaxis, axes.bbox.width)
        _log_ticks(axes.yaxis, axes.bbox.height)
        axes.grid(color=palette.grid, linewidth=0.8)
        axes.tick_params(axis="y", length=0)
        for rtfx in (0.1, 1, 10, 100, 1000, 10_000):
            _speed_line(axes, rtfx, x_limits, y_limits, palette)
        for index, own in enumerate(drawn):
            x, y = [duration for duration, _ in own], [1000 * second for _, second in own]
            axes.plot(
                x, y, linestyle="", marker=marker(index), markersize=5.5, color=palette.of(index), alpha=0.75,
                markeredgewidth=0,
            )  # fmt: skip
        for index, cost in enumerate(costs):
            if cost is not None and cost.per_call is not None and cost.per_audio_second is not None:
                x = [cost.shortest * (cost.longest / cost.shortest) ** (step / 40) for step in range(41)]
                y = [1000 * (cost.per_call.value + cost.per_audio_second.value * duration) for duration in x]
                axes.plot(x, y, color=palette.of(index), linewidth=1.8)
        axes.set_xlabel("Duration of the audio, s", color=palette.faint)
        axes.annotate("Latency, ms", (0, 1), (0, 22), "axes fraction", "offset points", color=palette.faint)
        ranges = "; ".join(
            f"{shorten(name, 50)} {1000 * min(s for _, s in own):.0f} to {1000 * max(s for _, s in own):.0f} ms"
            for (name, _), own in zip(systems, drawn, strict=True)
            if own
        )
        text = f"Latency against duration of {min(durations):.1f} to {max(durations):.1f} s of audio: {ranges}."
        return Drawing(f"latency-{width:.0f}", text, figure)


def thin_points(points: Sequence[Point]) -> list[Point]:
    """At most MAX_POINTS of the points, evenly by duration and with the slowest one, sorted by duration.

    Points without a duration or a latency are left out.
    """
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


def _log_ticks(axis: Axis, length: float, unit: str = "") -> None:
    """Set ticks at 1, 1 and 3, or 1, 2 and 5 of each decade, as many as have room on an axis `length` points long; at
    round numbers where it has not a fivefold range, in which there may be one such tick.
    """
    low, high = axis.get_view_interval()
    points_per_decade = length / math.log10(high / low)
    digits = (1, 2, 5) if points_per_decade > 130 else (1, 3) if points_per_decade > 75 else (1,)
    axis.set_major_locator(
        MaxNLocator(max(round(length / 80), 2)) if high < 5 * low else LogLocator(subs=digits, numticks=20)
    )
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}{unit}"))


def _speed_line(axes: Axes, rtfx: float, x_limits: Point, y_limits: Point, palette: Palette) -> None:
    """Draw the diagonal on which `rtfx` seconds of audio take one second, with its name where it leaves the axes."""
    at_left, at_right = (1000 * x / rtfx for x in x_limits)
    if at_right < y_limits[0] or at_left > y_limits[1]:
        return
    axes.plot(x_limits, (at_left, at_right), color=palette.faint, linewidth=0.9, dashes=(1, 3))
    text = f"{rtfx:,g}×"
    if at_right <= y_limits[1]:
        end, offset, vertical = (x_limits[1], at_right), (4, 0), "center"
    else:
        end, offset, vertical = (rtfx * y_limits[1] / 1000, y_limits[1]), (-8, 4), "bottom"
    axes.annotate(text, end, offset, textcoords="offset points", color=palette.faint, va=vertical, fontsize=11)


_LINE = 15.0  # height of a name, in points
_Box = tuple[float, float, float, float]  # left, right, lower, upper; in points


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """WER, or CER, and RTFx of one system; `series`: its index in the summary; `rtfx`: median and range over rounds."""

    series: int
    name: str
    wer: Rate
    rtfx: Spread


def pareto_front(points: Sequence[OperatingPoint]) -> list[OperatingPoint]:
    """The systems that no other system beats in both WER and RTFx, fastest first.

    >>> at = lambda name, wer, rtfx: OperatingPoint(0, name, Rate(wer, wer, wer), Spread(rtfx, rtfx, rtfx))
    >>> [one.name for one in pareto_front([at("a", 0.1, 10), at("b", 0.2, 5), at("c", 0.3, 90)])]
    ['c', 'a']
    """

    def beaten(one: OperatingPoint) -> bool:
        return any(
            other.wer.value <= one.wer.value
            and other.rtfx.median >= one.rtfx.median
            and (other.wer.value < one.wer.value or other.rtfx.median > one.rtfx.median)
            for other in points
        )

    return sorted((one for one in points if not beaten(one)), key=lambda one: (-one.rtfx.median, one.wer.value))


def wer_against_rtfx(
    points: Sequence[OperatingPoint], width: float = WIDE, palette: Palette = PAGE_PALETTE, metric: Metric = "wer"
) -> Drawing | None:
    """WER, or CER, against RTFx (logarithmic) of each system, with interval and range; dashed: the Pareto front.

    None for fewer than two systems that can be drawn.
    """
    drawn = [one for one in points if is_finite(one.wer) and 0 < one.rtfx.low <= one.rtfx.high < math.inf]
    if len(drawn) < 2:
        return None
    height = 340.0
    with new_drawing(width, height, palette) as (figure, axes):
        set_margins(axes, 44, 12, 44, 30)
        low, high = min(one.rtfx.low for one in drawn), max(one.rtfx.high for one in drawn)
        room = max(1.6, (high / low) ** 0.25)
        x_limits, y_limits = (low / room, high * room), axis_limits([one.wer for one in drawn])
        axes.set(xscale="log", xlim=x_limits, ylim=y_limits)
        _log_ticks(axes.xaxis, axes.bbox.width, "×")
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.grid(color=palette.grid, linewidth=0.8)
        axes.tick_params(axis="y", length=0)
        front = pareto_front(drawn)
        axes.plot(
            [one.rtfx.median for one in front], [100 * one.wer.value for one in front], color=palette.faint,
            linewidth=1.2, dashes=(4, 3),
        )  # fmt: skip
        for one in drawn:
            colour, x, y = palette.of(one.series), one.rtfx.median, 100 * one.wer.value
            axes.plot([x, x], [100 * one.wer.low, 100 * one.wer.high], color=colour, linewidth=1.8)
            axes.plot([one.rtfx.low, one.rtfx.high], [y, y], color=colour, linewidth=1.8)
            axes.plot(
                x,
                y,
                linestyle="",
                marker=marker(one.series),
                markersize=10,
                color=colour,
                markeredgecolor=palette.paper,
            )
        _write_names(axes, drawn, x_limits, y_limits, (width - 56, height - 74), width, palette)
        axes.set_xlabel("RTFx: seconds of audio transcribed in one second (faster to the right)", color=palette.faint)
        if width < WIDE:
            axes.set_xlabel("RTFx (faster to the right)", color=palette.faint)
        axes.annotate(f"{metric.upper()}, %", (0, 1), (-36, 14), "axes fraction", "offset points", color=palette.faint)
        described = "; ".join(
            f"{shorten(one.name, 50)} {percent(one.wer.value)} at {rtfx_text(one.rtfx.median)}" for one in drawn
        )
        unbeaten = ", ".join(shorten(one.name, 50) for one in front)
        text = f"{metric.upper()} against RTFx: {described}. On the Pareto front: {unbeaten}."
        return Drawing(f"tradeoff-{width:.0f}", text, figure)


def _write_names(
    axes: Axes,
    drawn: Sequence[OperatingPoint],
    x_limits: tuple[float, float],
    y_limits: tuple[float, float],
    size: tuple[float, float],
    width: float,
    palette: Palette,
) -> None:
    """Write each system's name beside its point, at the nearest of 16 positions that overlaps nothing, or the least."""
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
        text = shorten(one.name, 34 if width == WIDE else 24)
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
            textcoords="offset points", ha="left" if side > 0 else "right", va="center", color=palette.ink,
        )  # fmt: skip


def _overlap(one: _Box, other: _Box) -> float:
    """The area that two boxes share."""
    wide = min(one[1], other[1]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[2], other[2])
    return max(0.0, wide) * max(0.0, high)
