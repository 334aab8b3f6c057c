"""Figures of accuracy: WER with intervals, paired differences, slices, WER of single utterances and over time.

Every function returns a Drawing, or None where nothing it is given can be drawn.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from benchmark.report.figures.style import (
    NARROW,
    PAGE_PALETTE,
    WIDE,
    Drawing,
    axis_limits,
    draw_interval,
    is_finite,
    marker,
    max_name_length,
    new_drawing,
    set_margins,
    shorten,
    write_label,
)
from benchmark.report.quantities import interval, percent, points
from benchmark.report.utterances import WerOverTime
from benchmark.results import Metric, Slice
from finetune.metrics import Rate
from preprocessing.plot_style import PALETTE, Palette

MAX_SLICES = 12  # values of one property that a figure shows


def forest(
    systems: Sequence[tuple[str, Rate | None]],
    profile: str,
    width: float = WIDE,
    palette: Palette = PAGE_PALETTE,
    metric: Metric = "wer",
) -> Drawing | None:
    """WER, or CER, of each system with its 95 % interval, one system under the other on one scale (a forest plot).

    systems: name and rate as a fraction. A system whose rate is None or not finite is left out; the others keep their
    colours.
    """
    drawn = [(index, name, rate) for index, (name, rate) in enumerate(systems) if rate is not None and is_finite(rate)]
    if not drawn:
        return None
    limits = axis_limits([rate for *_, rate in drawn])
    written = [f"{percent(rate.value)}  [{interval(rate)}]" for *_, rate in drawn]
    with _interval_rows(drawn, written, limits, width, palette) as (figure, axes):
        axes.set_xlabel(f"{metric.upper()}, %, with its 95 % interval ({shorten(profile, 20)})", color=palette.faint)
        described = "; ".join(
            f"{shorten(name, 50)} {percent(rate.value)}, from {interval(rate)}" for _, name, rate in drawn
        )
        return Drawing(f"forest-{width:.0f}", f"{metric.upper()} with its 95 % interval: {described}.", figure)


def differences_to_best(
    best: str,
    others: Sequence[tuple[int, str, Rate]],
    width: float = WIDE,
    palette: Palette = PAGE_PALETTE,
    metric: Metric = "wer",
) -> Drawing | None:
    """Paired difference of WER, or CER, between each other system and the best one, with its 95 % interval.

    others: index in the summary, name, difference as a fraction, above 0 where the other makes more errors.
    """
    drawn = [one for one in others if is_finite(one[2])]
    if not drawn:
        return None
    limits = axis_limits([*(rate for *_, rate in drawn), Rate(0, 0, 0)], minimum=None)
    written = [f"{points(rate.value)}  [{points(rate.low)} to {points(rate.high)}]" for *_, rate in drawn]
    with _interval_rows(drawn, written, limits, width, palette) as (figure, axes):
        axes.xaxis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{value:+.4g}".replace("-", "−") if value else "0")
        )
        axes.axvline(0, color=palette.ink, linewidth=1.4, zorder=1)
        axes.set_xlabel(f"Points of {metric.upper()} above {shorten(best, 24)}", color=palette.faint)
        described = "; ".join(
            f"{shorten(name, 50)} {points(rate.value)}, from {points(rate.low)} to {points(rate.high)}"
            for _, name, rate in drawn
        )
        text = f"Paired difference of {metric.upper()} to {shorten(best, 50)}, in points of percent: {described}."
        return Drawing(f"differences-{width:.0f}", text, figure)


@contextmanager
def _interval_rows(
    rows: Sequence[tuple[int, str, Rate]],
    written: Sequence[str],
    limits: tuple[float, float],
    width: float,
    palette: Palette,
) -> Iterator[tuple[Figure, Axes]]:
    """A figure of intervals on one scale, each below its system's name and what is written of it.

    rows: index in the summary, name, rate. limits: of the scale, in percent.
    """
    with new_drawing(width, 46 + 50 * len(rows), palette) as (figure, axes):
        set_margins(axes, 10, 10, 42, 4)
        axes.set(xlim=limits, ylim=(len(rows) - 0.4, -0.65))
        axes.yaxis.set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(7 if width == WIDE else 4))
        axes.grid(axis="x", color=palette.grid, linewidth=0.8)
        for row, ((index, name, rate), text) in enumerate(zip(rows, written, strict=True)):
            draw_interval(axes, rate, row, index, palette)
            write_label(axes, 0, row - 0.3, shorten(name, max_name_length(width)), palette)
            write_label(axes, 1, row - 0.3, text, palette, faint=True)
        yield figure, axes


def largest_slices(systems: Sequence[tuple[str, Sequence[Slice]]], by: str) -> list[tuple[str, int]]:
    """The MAX_SLICES values of property `by` with most words, in the results' order: value, number of utterances."""
    found: dict[str, Slice] = {}
    for _, slices in systems:
        for one in slices:
            if one.by == by and is_finite(one.wer):
                found.setdefault(one.value, one)
    kept = sorted(found, key=lambda value: -found[value].words)[:MAX_SLICES]
    return [(value, one.utterances) for value, one in found.items() if value in kept]


def wer_by_slice(
    systems: Sequence[tuple[str, Sequence[Slice]]],
    by: str,
    width: float,
    palette: Palette = PAGE_PALETTE,
    metric: Metric = "wer",
) -> Drawing | None:
    """WER, or CER, of each system on the utterances that share a value of property `by`, a block of lines each."""
    values = largest_slices(systems, by)
    rates = {
        (index, one.value): one.rate(metric)
        for index, (_, own) in enumerate(systems)
        for one in own
        if one.by == by and is_finite(one.wer) and one.value in dict(values)
    }
    if not rates:
        return None
    present = sorted({index for index, _ in rates})
    line, heading = 14, 26  # points
    block = heading + line * len(present)
    with new_drawing(width, 46 + block * len(values), palette) as (figure, axes):
        set_margins(axes, 8, 8, 42, 4)
        axes.set_xlim(axis_limits(list(rates.values())))
        axes.set_ylim(block * len(values), 0)
        axes.yaxis.set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.grid(axis="x", color=palette.grid, linewidth=0.8)
        for number, (value, utterances) in enumerate(values):
            top = number * block
            write_label(axes, 0, top + 17, shorten(value, 26), palette)
            write_label(axes, 1, top + 17, f"{utterances:,}", palette, faint=True, size=11)
            for row, index in enumerate(present):
                if (index, value) in rates:
                    at = top + heading + line * (row + 0.4)
                    draw_interval(axes, rates[index, value], at, index, palette, size=7.5)
        axes.set_xlabel(f"{metric.upper()}, %", color=palette.faint)
        described = "; ".join(
            f"{shorten(value, 30)}: "
            + ", ".join(
                f"{shorten(systems[index][0], 30)} {percent(rate.value)} ({interval(rate)})"
                for index in present
                if (rate := rates.get((index, value)))
            )
            for value, _ in values
        )
        return Drawing(f"slices-{_slug(by)}", f"{metric.upper()} by {by}: {described}.", figure)


def _slug(text: str) -> str:
    return "".join(symbol if symbol.isascii() and symbol.isalnum() else "-" for symbol in text.lower())


_BIN_LABELS = ("0", *(f"{low} to {low + 10}" for low in range(0, 100, 10)), ">100")


def error_bin(wer: float) -> int:
    """The bar that an utterance's WER (a fraction) belongs to: 0 without errors, 1 to 10 up to 100 %, 11 above.

    >>> [error_bin(wer) for wer in (0.0, 0.05, 0.1, 0.11, 1.0, 1.01, math.inf)]
    [0, 1, 1, 2, 10, 11, 11]
    """
    if wer == 0:
        return 0
    return 11 if wer > 1 else max(1, math.ceil(round(10 * wer, 9)))


def error_distribution(
    series: int,
    name: str,
    wers: Sequence[float],
    highest: float,
    width: float = NARROW,
    palette: Palette = PAGE_PALETTE,
    metric: Metric = "wer",
) -> Drawing:
    """A histogram of one system's WER over utterances: no error, tenths up to 100 %, above 100 %.

    wers: a fraction for each utterance. highest: the largest share of any bar of any system (see `bin_shares`), so that
    all systems are drawn on one scale.
    """
    heights = bin_shares(wers)
    with new_drawing(width, 170, palette) as (figure, axes):
        set_margins(axes, 2, 2, 40, 18)
        centres = [-11.0, *range(5, 100, 10), 116.0]
        colour = palette.of(series)
        bars = axes.bar(centres, heights, width=8.8, color=colour, linewidth=0)
        bars[0].set(facecolor=palette.paper, edgecolor=colour, linewidth=1.6, visible=heights[0] > 0)
        bars[-1].set(facecolor=palette.paper, edgecolor=colour, linewidth=1.2, hatch="////", visible=heights[-1] > 0)
        for centre, height in zip(centres, heights, strict=True):
            if height:
                text = f"{100 * height:.0f}" if height >= 0.005 else "<1"
                axes.annotate(
                    text,
                    (centre, height),
                    (0, 4),
                    textcoords="offset points",
                    ha="center",
                    color=palette.ink,
                    fontsize=11,
                )
        axes.set_xlim(-18, 123)
        axes.set_ylim(0, 1.02 * highest)
        axes.yaxis.set_visible(False)
        axes.set_xticks([-11, 0, 20, 40, 60, 80, 100, 116], ["0", "", "20", "40", "60", "80", "100", ">100"])
        axes.set_xlabel(f"{metric.upper()} of an utterance, %", color=palette.faint, fontsize=12)
        shown = ", ".join(
            f"{label} %: {100 * share:.1f} %" for label, share in zip(_BIN_LABELS, heights, strict=True) if share
        )
        label = f"{shorten(name, 50)}: share of utterances by {metric.upper()}. {shown or 'no utterances'}."
        return Drawing(f"errors-{series}", label, figure)


def bin_shares(wers: Sequence[float]) -> list[float]:
    """The share of utterances in each of the twelve bars of `error_bin`; all zero without utterances."""
    counts = Counter(map(error_bin, wers))
    return [counts[index] / max(1, len(wers)) for index in range(len(_BIN_LABELS))]


def wer_over_time(
    recording: WerOverTime,
    names: Sequence[str],
    number: int = 0,
    width: float = WIDE,
    palette: Palette = PAGE_PALETTE,
    metric: Metric = "wer",
) -> Drawing | None:
    """WER of each system along a long recording, a point in the middle of each stretch.

    names: of all systems, in the summary's order. number: of the recording, for the drawing's name.
    """
    rates = [(series, name, recording.wers[name]) for series, name in enumerate(names) if name in recording.wers]
    found = [rate for _, _, own in rates for rate in own if math.isfinite(rate)]
    if not found:
        return None
    minutes = recording.stretch_seconds / 60.0
    with new_drawing(width, 240, palette) as (figure, axes):
        set_margins(axes, 38, 12, 44, 30)
        n_stretches = len(rates[0][2])
        axes.set(xlim=(0, minutes * n_stretches), ylim=(0, 104 * (max(found) or 1.0)))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.grid(axis="y", color=palette.grid, linewidth=0.8)
        axes.tick_params(axis="y", length=0)
        for series, name, own in rates:
            axes.plot(
                [minutes * (at + 0.5) for at in range(n_stretches)], [100 * rate for rate in own],
                color=palette.of(series), linewidth=1.6, marker=marker(series), markersize=5,
                markeredgecolor=palette.paper, label=shorten(name, 50),
            )  # fmt: skip
        if palette is PALETTE:  # the page names systems beside its panels; a file stands alone
            axes.legend(loc="best", frameon=False, fontsize=9, labelcolor=palette.faint, handlelength=1.2)
        axes.set_xlabel("Minutes into the recording", color=palette.faint)
        axes.annotate(f"{metric.upper()}, %", (0, 1), (-30, 14), "axes fraction", "offset points", color=palette.faint)
        described = "; ".join(
            f"{shorten(name, 50)} median {percent(median(known))}, worst {percent(max(known))}"
            for _, name, own in rates
            if (known := [rate for rate in own if math.isfinite(rate)])
        )
        title = f"{metric.upper()} in stretches of {minutes:g} min of {shorten(recording.id, 40)}: {described}."
        return Drawing(f"along-time-{number}", title, figure)
