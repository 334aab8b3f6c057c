"""Figures of how many words are wrong: rates with intervals, paired differences, slices, errors by utterance and over time."""

import math
from collections import Counter
from collections.abc import Sequence
from statistics import median

from matplotlib.ticker import FuncFormatter, MaxNLocator

from benchmark.report.figures.style import (
    NARROW,
    PAGE,
    PLAIN,
    WIDE,
    Drawing,
    Ink,
    dot_and_interval,
    drawing,
    is_finite,
    label,
    limits,
    marker,
    name_limit,
    place,
    short,
)
from benchmark.report.quantities import interval, percent, points
from benchmark.report.utterances import Recording
from benchmark.results import Slice
from finetune.metrics import Rate

MAX_VALUES = 12  # of one property in a figure of slices


def forest(
    systems: Sequence[tuple[str, Rate | None]], profile: str, width: float = WIDE, ink: Ink = PAGE
) -> Drawing | None:
    """WER of each system with its 95 % interval, one under the other on one scale.

    A system without a rate (None, or not finite) keeps its colour and is not drawn; with none to draw, None.
    """
    drawn = [(index, name, rate) for index, (name, rate) in enumerate(systems) if rate is not None and is_finite(rate)]
    if not drawn:
        return None
    with drawing(width, 46 + 50 * len(drawn), ink) as (figure, axes):
        place(axes, 10, 10, 42, 4)
        axes.set_xlim(limits([rate for *_, rate in drawn]))
        axes.set_ylim(len(drawn) - 0.4, -0.65)
        axes.yaxis.set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(7 if width == WIDE else 4))
        axes.grid(axis="x", color=ink.grid, linewidth=0.8)
        for row, (index, name, rate) in enumerate(drawn):
            dot_and_interval(axes, rate, row, index, ink)
            label(axes, 0, row - 0.3, short(name, name_limit(width)), ink)
            figures = f"{percent(rate.value)}  [{interval(rate)}]"
            label(axes, 1, row - 0.3, figures, ink, faint=True)
        axes.set_xlabel(f"WER, %, with its 95 % interval ({short(profile, 20)})", color=ink.faint)
        said = "; ".join(f"{short(name, 50)} {percent(rate.value)}, from {interval(rate)}" for _, name, rate in drawn)
        return Drawing(f"forest-{width:.0f}", f"WER with its 95 % interval: {said}.", figure)


def differences(
    best: str, others: Sequence[tuple[int, str, Rate]], width: float = WIDE, ink: Ink = PAGE
) -> Drawing | None:
    """Paired difference of WER between each other system and the best one, with its 95 % interval.

    `others`: place in the summary, name, difference as a fraction, above 0 where the other makes more errors.
    """
    drawn = [one for one in others if is_finite(one[2])]
    if not drawn:
        return None
    with drawing(width, 46 + 50 * len(drawn), ink) as (figure, axes):
        place(axes, 10, 10, 42, 4)
        axes.set_xlim(limits([*(rate for *_, rate in drawn), Rate(0, 0, 0)], least=None))
        axes.set_ylim(len(drawn) - 0.4, -0.65)
        axes.yaxis.set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(7 if width == WIDE else 4))
        axes.xaxis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{value:+.4g}".replace("-", "−") if value else "0")
        )
        axes.grid(axis="x", color=ink.grid, linewidth=0.8)
        axes.axvline(0, color=ink.ink, linewidth=1.4, zorder=1)
        for row, (index, name, rate) in enumerate(drawn):
            dot_and_interval(axes, rate, row, index, ink)
            label(axes, 0, row - 0.3, short(name, name_limit(width)), ink)
            figures = f"{points(rate.value)}  [{points(rate.low)} to {points(rate.high)}]"
            label(axes, 1, row - 0.3, figures, ink, faint=True)
        axes.set_xlabel(f"Points of WER above {short(best, 24)}", color=ink.faint)
        said = "; ".join(
            f"{short(name, 50)} {points(rate.value)}, from {points(rate.low)} to {points(rate.high)}"
            for _, name, rate in drawn
        )
        described = f"Paired difference of WER to {short(best, 50)}, in points of percent: {said}."
        return Drawing(f"differences-{width:.0f}", described, figure)


def shown_values(systems: Sequence[tuple[str, Sequence[Slice]]], by: str) -> list[tuple[str, int]]:
    """Values of one property with their utterances, in the results' order; the MAX_VALUES with most words."""
    found: dict[str, Slice] = {}
    for _, slices in systems:
        for one in slices:
            if one.by == by and is_finite(one.wer):
                found.setdefault(one.value, one)
    kept = sorted(found, key=lambda value: -found[value].words)[:MAX_VALUES]
    return [(value, one.utterances) for value, one in found.items() if value in kept]


def slices(systems: Sequence[tuple[str, Sequence[Slice]]], by: str, width: float, ink: Ink = PAGE) -> Drawing | None:
    """WER of each system on the utterances that share one property, a block of lines for each value of it."""
    values = shown_values(systems, by)
    rates = {
        (index, one.value): one.wer
        for index, (_, own) in enumerate(systems)
        for one in own
        if one.by == by and is_finite(one.wer) and one.value in dict(values)
    }
    if not rates:
        return None
    present = sorted({index for index, _ in rates})
    line, heading = 14, 26
    block = heading + line * len(present)
    with drawing(width, 46 + block * len(values), ink) as (figure, axes):
        place(axes, 8, 8, 42, 4)
        axes.set_xlim(limits(list(rates.values())))
        axes.set_ylim(block * len(values), 0)
        axes.yaxis.set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.grid(axis="x", color=ink.grid, linewidth=0.8)
        for number, (value, utterances) in enumerate(values):
            top = number * block
            label(axes, 0, top + 17, short(value, 26), ink)
            label(axes, 1, top + 17, f"{utterances:,}", ink, faint=True, size=11)
            for row, index in enumerate(present):
                if (index, value) in rates:
                    at = top + heading + line * (row + 0.4)
                    dot_and_interval(axes, rates[index, value], at, index, ink, size=7.5)
        axes.set_xlabel("WER, %", color=ink.faint)
        said = "; ".join(
            f"{short(value, 30)}: "
            + ", ".join(
                f"{short(systems[index][0], 30)} {percent(rates[index, value].value)} ({interval(rates[index, value])})"
                for index in present
                if (index, value) in rates
            )
            for value, _ in values
        )
        return Drawing(f"slices-{_slug(by)}", f"WER by {by}: {said}.", figure)


def _slug(text: str) -> str:
    return "".join(symbol if symbol.isascii() and symbol.isalnum() else "-" for symbol in text.lower())


_BIN_LABELS = ("0", *(f"{low} to {low + 10}" for low in range(0, 100, 10)), ">100")


def error_bin(wer: float) -> int:
    """Which bar an utterance's WER (a fraction) falls into: 0 for none, 1 to 10 for tenths up to 100 %, 11 above.

    >>> [error_bin(wer) for wer in (0.0, 0.05, 0.1, 0.11, 1.0, 1.01, math.inf)]
    [0, 1, 1, 2, 10, 11, 11]
    """
    if wer == 0:
        return 0
    return 11 if wer > 1 else max(1, math.ceil(round(10 * wer, 9)))


def error_distribution(series: int, name: str, wers: Sequence[float], tallest: float, ink: Ink = PAGE) -> Drawing:
    """How many utterances of one system have which WER: none at all, by tenths, above 100 %.

    `wers` are fractions, one per utterance; `tallest` is the largest share of any bar of any system (see `shares`),
    so that the systems' figures have one scale.
    """
    heights = shares(wers)
    with drawing(NARROW, 170, ink) as (figure, axes):
        place(axes, 2, 2, 40, 18)
        centres = [-11.0, *range(5, 100, 10), 116.0]
        colour = ink.of(series)
        bars = axes.bar(centres, heights, width=8.8, color=colour, linewidth=0)
        bars[0].set(facecolor=ink.paper, edgecolor=colour, linewidth=1.6, visible=heights[0] > 0)
        bars[-1].set(facecolor=ink.paper, edgecolor=colour, linewidth=1.2, hatch="////", visible=heights[-1] > 0)
        for centre, height in zip(centres, heights, strict=True):
            if height:
                text = f"{100 * height:.0f}" if height >= 0.005 else "<1"
                axes.annotate(
                    text, (centre, height), (0, 4), textcoords="offset points", ha="center", color=ink.ink, fontsize=11
                )
        axes.set_xlim(-18, 123)
        axes.set_ylim(0, 1.02 * tallest)
        axes.yaxis.set_visible(False)
        axes.set_xticks([-11, 0, 20, 40, 60, 80, 100, 116], ["0", "", "20", "40", "60", "80", "100", ">100"])
        axes.set_xlabel("WER of an utterance, %", color=ink.faint, fontsize=12)
        shown = ", ".join(
            f"{label} %: {100 * share:.1f} %" for label, share in zip(_BIN_LABELS, heights, strict=True) if share
        )
        label = f"{short(name, 50)}: share of utterances by their WER. {shown or 'no utterances'}."
        return Drawing(f"errors-{series}", label, figure)


def shares(wers: Sequence[float]) -> list[float]:
    """The share of utterances in each of the twelve bars; all zero without utterances."""
    counts = Counter(map(error_bin, wers))
    return [counts[index] / max(1, len(wers)) for index in range(len(_BIN_LABELS))]


def along_time(
    recording: Recording, names: Sequence[str], number: int = 0, width: float = WIDE, ink: Ink = PAGE
) -> Drawing | None:
    """names: of all systems, in their order. Each point stands in the middle of its stretch."""
    rates = [(series, name, recording.wers[name]) for series, name in enumerate(names) if name in recording.wers]
    found = [rate for _, _, own in rates for rate in own if math.isfinite(rate)]
    if not found:
        return None
    minutes = recording.stretch_seconds / 60.0
    with drawing(width, 240, ink) as (figure, axes):
        place(axes, 38, 12, 44, 30)
        n_stretches = len(rates[0][2])
        axes.set(xlim=(0, minutes * n_stretches), ylim=(0, 104 * (max(found) or 1.0)))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.grid(axis="y", color=ink.grid, linewidth=0.8)
        axes.tick_params(axis="y", length=0)
        for series, name, own in rates:
            axes.plot(
                [minutes * (at + 0.5) for at in range(n_stretches)], [100 * rate for rate in own],
                color=ink.of(series), linewidth=1.6, marker=marker(series), markersize=5, markeredgecolor=ink.paper,
                label=short(name, 50),
            )  # fmt: skip
        if ink is PLAIN:  # the page names systems beside its panels; a file stands alone
            axes.legend(loc="best", frameon=False, fontsize=9, labelcolor=ink.faint, handlelength=1.2)
        axes.set_xlabel("Minutes into the recording", color=ink.faint)
        axes.annotate("WER, %", (0, 1), (-30, 14), "axes fraction", "offset points", color=ink.faint)
        said = "; ".join(
            f"{short(name, 50)} median {percent(median(known))}, worst {percent(max(known))}"
            for _, name, own in rates
            if (known := [rate for rate in own if math.isfinite(rate)])
        )
        title = f"WER in stretches of {minutes:g} min of {short(recording.id, 40)}: {said}."
        return Drawing(f"along-time-{number}", title, figure)
