"""The figures of the page, each an inline SVG: intervals, distribution of errors, latency against duration.

A system keeps its colour and its marker in all of them. Sizes are in points, which are CSS pixels at natural width.
"""

import math
from collections import Counter
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.markers import MarkerStyle
from matplotlib.patches import PathPatch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from benchmark.report.quantities import interval, percent
from benchmark.report.svg import FAINT, GRID, INK, N_SERIES, PAPER, SERIES, drawing, inline, place
from benchmark.results import Sample
from finetune.significance import Rate

MAX_POINTS = 800  # of one system in the latency figure
WIDE, NARROW = 660, 330
_MARKERS = "os^DvPXp"
_BIN_LABELS = ("0", *(f"{low} to {low + 10}" for low in range(0, 100, 10)), ">100")


def error_bin(wer: float) -> int:
    """Which bar an utterance's WER (a fraction) falls into: 0 for none, 1 to 10 for tenths up to 100 %, 11 above.

    >>> [error_bin(wer) for wer in (0.0, 0.05, 0.1, 0.11, 1.0, 1.01, math.inf)]
    [0, 1, 1, 2, 10, 11, 11]
    """
    if wer == 0:
        return 0
    return 11 if wer > 1 else max(1, math.ceil(round(10 * wer, 9)))


def error_distribution(series: int, name: str, wers: Sequence[float], tallest: float) -> str:
    """How many utterances of one system have which WER: none at all, by tenths, above 100 %.

    `wers` are fractions, one per utterance; `tallest` is the largest share of any bar of any system (see `shares`),
    so that the systems' figures have one scale.
    """
    heights = shares(wers)
    with drawing(NARROW, 170) as (figure, axes):
        place(axes, 2, 2, 40, 18)
        centres = [-11.0, *range(5, 100, 10), 116.0]
        colour = SERIES[series % N_SERIES]
        bars = axes.bar(centres, heights, width=8.8, color=colour, linewidth=0)
        bars[0].set(facecolor=PAPER, edgecolor=colour, linewidth=1.6, visible=heights[0] > 0)
        bars[-1].set(facecolor=PAPER, edgecolor=colour, linewidth=1.2, hatch="////", visible=heights[-1] > 0)
        for centre, height in zip(centres, heights, strict=True):
            if height:
                text = f"{100 * height:.0f}" if height >= 0.005 else "<1"
                axes.annotate(
                    text, (centre, height), (0, 4), textcoords="offset points", ha="center", color=INK, fontsize=11
                )
        axes.set_xlim(-18, 123)
        axes.set_ylim(0, 1.02 * tallest)
        axes.yaxis.set_visible(False)
        axes.set_xticks([-11, 0, 20, 40, 60, 80, 100, 116], ["0", "", "20", "40", "60", "80", "100", ">100"])
        axes.set_xlabel("WER of an utterance, %", color=FAINT, fontsize=12)
        shown = ", ".join(
            f"{label} %: {100 * share:.1f} %" for label, share in zip(_BIN_LABELS, heights, strict=True) if share
        )
        label = f"{short(name, 50)}: share of utterances by their WER. {shown or 'no utterances'}."
        return inline(figure, f"errors-{series}", label, "drawing")


def shares(wers: Sequence[float]) -> list[float]:
    """The share of utterances in each of the twelve bars; all zero without utterances."""
    counts = Counter(map(error_bin, wers))
    return [counts[index] / max(1, len(wers)) for index in range(len(_BIN_LABELS))]


def latency(samples: Sequence[tuple[str, Sequence[Sample]]], width: float = WIDE) -> str:
    """Latency of each utterance against its duration, both logarithmic; diagonals are lines of equal speed.

    `samples` are each system's, in the summary's order; failed ones and those without a duration are not drawn.
    Above MAX_POINTS of a system, points evenly spaced in duration stand for all, the slowest among them.
    """
    points = [_points(own) for _, own in samples]
    durations = [duration for own in points for duration, _ in own]
    seconds = [second for own in points for _, second in own]
    if not durations:
        return ""
    x_limits = min(durations) / 1.25, max(durations) * 1.25
    y_limits = 1000 * min(seconds) / 1.6, 1000 * max(seconds) * 1.6
    with drawing(width, 340) as (figure, axes):
        place(axes, 52, 40, 42, 42)
        axes.set(xscale="log", yscale="log", xlim=x_limits, ylim=y_limits)
        for axis, (low, high), length in ((axes.xaxis, x_limits, width), (axes.yaxis, y_limits, 340)):
            axis.set_major_locator(LogLocator(subs=_tick_digits(low, high, length), numticks=20))
            axis.set_minor_locator(NullLocator())
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        axes.grid(color=GRID, linewidth=0.8)
        axes.tick_params(axis="y", length=0)
        for rtfx in (0.1, 1, 10, 100, 1000, 10_000):
            _speed_line(axes, rtfx, x_limits, y_limits)
        for index, own in enumerate(points):
            x, y = [duration for duration, _ in own], [1000 * second for _, second in own]
            colour, marker = SERIES[index % N_SERIES], _MARKERS[index % N_SERIES]
            axes.plot(x, y, linestyle="", marker=marker, markersize=5.5, color=colour, alpha=0.75, markeredgewidth=0)
        axes.set_xlabel("Duration of the audio, s", color=FAINT)
        axes.annotate("Latency, ms", (0, 1), (0, 22), "axes fraction", "offset points", color=FAINT)
        ranges = "; ".join(
            f"{short(name, 50)} {1000 * min(s for _, s in own):.0f} to {1000 * max(s for _, s in own):.0f} ms"
            for (name, _), own in zip(samples, points, strict=True)
            if own
        )
        label = f"Latency against duration of {min(durations):.1f} to {max(durations):.1f} s of audio: {ranges}."
        return inline(figure, f"latency-{width:.0f}", label, _size_class(width))


def forest(systems: Sequence[tuple[str, Rate | None]], profile: str, width: float = WIDE) -> str:
    """WER of each system with its 95 % interval, one under the other on one scale.

    A system without a rate (None, or not finite) keeps its colour and is not drawn; with none to draw, "".
    """
    drawn = [
        (index, name, rate)
        for index, (name, rate) in enumerate(systems)
        if rate is not None and math.isfinite(rate.value + rate.low + rate.high)
    ]
    if not drawn:
        return ""
    low, high = min(rate.low for *_, rate in drawn), max(rate.high for *_, rate in drawn)
    margin = 0.06 * (high - low) or 0.01
    with drawing(width, 46 + 50 * len(drawn)) as (figure, axes):
        place(axes, 10, 10, 42, 4)
        axes.set_xlim(100 * max(0.0, low - margin), 100 * (high + margin))
        axes.set_ylim(len(drawn) - 0.4, -0.65)
        axes.yaxis.set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(7 if width == WIDE else 4))
        axes.grid(axis="x", color=GRID, linewidth=0.8)
        for row, (index, name, rate) in enumerate(drawn):
            colour, marker = SERIES[index % N_SERIES], _MARKERS[index % N_SERIES]
            axes.plot([100 * rate.low, 100 * rate.high], [row, row], color=colour, linewidth=2, solid_capstyle="butt")
            for end in (rate.low, rate.high):
                axes.plot([100 * end] * 2, [row - 0.11, row + 0.11], color=colour, linewidth=2)
            axes.plot(
                100 * rate.value, row, linestyle="", marker=marker, markersize=9, color=colour, markeredgecolor=PAPER
            )
            across = axes.get_yaxis_transform()
            axes.text(0, row - 0.3, short(name, 20 if width == NARROW else 50), color=INK, transform=across)
            figures = f"{percent(rate.value)}  [{interval(rate)}]"
            axes.text(1, row - 0.3, figures, color=FAINT, ha="right", transform=across)
        axes.set_xlabel(f"WER, %, with its 95 % interval ({profile})", color=FAINT)
        said = "; ".join(f"{short(name, 50)} {percent(rate.value)}, from {interval(rate)}" for _, name, rate in drawn)
        return inline(figure, f"forest-{width:.0f}", f"WER with its 95 % interval: {said}.", _size_class(width))


def key(series: int) -> str:
    """The marker of a system, to stand before its name in running text."""
    with drawing(14, 14) as (figure, axes):
        axes.set_axis_off()
        axes.set(xlim=(-0.75, 0.75), ylim=(-0.75, 0.75))
        marker = MarkerStyle(_MARKERS[series % N_SERIES])
        shape = marker.get_path().transformed(marker.get_transform())
        axes.add_patch(PathPatch(shape, facecolor=SERIES[series % N_SERIES], linewidth=0, clip_on=False))
        return inline(figure, f"key-{series}", "", "key")


def short(name: str, limit: int) -> str:
    """A name that can be drawn: printable, at most `limit` characters."""
    printable = "".join(symbol if symbol.isprintable() else "\ufffd" for symbol in name)
    return printable if len(printable) <= limit else f"{printable[: limit - 1]}…"


def _points(samples: Sequence[Sample]) -> list[tuple[float, float]]:
    """(duration, latency) in seconds, sorted by duration, thinned to MAX_POINTS."""
    points = sorted(
        (sample.audio_seconds, sample.seconds.total)
        for sample in samples
        if sample.error is None and sample.audio_seconds > 0 and sample.seconds.total > 0
    )
    step = math.ceil(len(points) / MAX_POINTS)
    groups = [points[start : start + step] for start in range(0, len(points), step or 1)]
    slowest = max(points, key=lambda point: point[1], default=None)
    return [slowest if slowest in group else group[len(group) // 2] for group in groups if slowest]


def _tick_digits(low: float, high: float, length: float) -> tuple[float, ...]:
    """The digits that get a tick in each decade of a logarithmic axis, `length` points long: as many as have room."""
    points_per_decade = length / math.log10(high / low)
    return (1, 2, 5) if points_per_decade > 150 else (1, 3) if points_per_decade > 90 else (1,)


def _speed_line(axes: Axes, rtfx: float, x_limits: tuple[float, float], y_limits: tuple[float, float]) -> None:
    """The diagonal on which `rtfx` seconds of audio take one second, named where it leaves the axes."""
    at_left, at_right = (1000 * x / rtfx for x in x_limits)
    if at_right < y_limits[0] or at_left > y_limits[1]:
        return
    axes.plot(x_limits, (at_left, at_right), color=FAINT, linewidth=0.9, dashes=(1, 3))
    text = "real time" if rtfx == 1 else f"{rtfx:,g}×"
    if at_right <= y_limits[1]:
        end, offset, vertical = (x_limits[1], at_right), (4, 0), "center"
    else:
        end, offset, vertical = (rtfx * y_limits[1] / 1000, y_limits[1]), (-8, 4), "bottom"
    axes.annotate(text, end, offset, textcoords="offset points", color=FAINT, va=vertical, fontsize=11)


def _size_class(width: float) -> str:
    return "drawing wide-only" if width == WIDE else "drawing narrow-only"
