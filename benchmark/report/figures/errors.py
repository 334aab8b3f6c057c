"""The distribution of errors over utterances: how many have none, how many a few, how many are lost."""

import math
from collections import Counter
from collections.abc import Sequence

from benchmark.report.figures.style import NARROW, short
from benchmark.report.svg import PAGE, Drawing, Ink, drawing, place

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
