"""Rates with their intervals: each system's, the paired differences to the best one, and slices of the corpus."""

from collections.abc import Sequence

from matplotlib.ticker import FuncFormatter, MaxNLocator

from benchmark.report.figures.style import WIDE, dot_and_interval, is_finite, label, limits, name_limit, short
from benchmark.report.quantities import interval, percent, points
from benchmark.report.svg import PAGE, Drawing, Ink, drawing, place
from benchmark.results import Slice
from finetune.significance import Rate

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
