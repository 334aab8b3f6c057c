"""Figure of words: the reliability diagram of a system's confidences."""

from benchmark.report.figures.style import NARROW, PAGE_PALETTE, Drawing, marker, new_drawing, set_margins, shorten
from benchmark.results import WordScores
from preprocessing.plot_style import Palette

SMALLEST, LARGEST = 5.0, 18.0  # markers, in points


def reliability(
    index: int, name: str, scores: WordScores, width: float = NARROW, palette: Palette = PAGE_PALETTE
) -> Drawing | None:
    """The share of right words against their confidence, in bins; a marker's area is the number of words in the bin.

    index: of the system. On the diagonal confidences are what they claim; below it words are right less often.
    """
    bins = scores.reliability
    if not bins:
        return None
    most = max(one.count for one in bins)
    with new_drawing(width, 270, palette) as (figure, axes):
        set_margins(axes, 40, 14, 44, 30)
        axes.set(xlim=(-3, 105), ylim=(-3, 105), xticks=range(0, 101, 20), yticks=range(0, 101, 20))
        axes.grid(color=palette.grid, linewidth=0.8)
        axes.tick_params(axis="y", length=0)
        axes.plot([0, 100], [0, 100], color=palette.faint, linewidth=1.2, linestyle=(0, (4, 3)))
        x, y = [100 * one.confidence for one in bins], [100 * one.accuracy for one in bins]
        axes.plot(x, y, color=palette.of(index), linewidth=1.6)
        for one, across, up in zip(bins, x, y, strict=True):
            axes.plot(
                across, up, marker=marker(index), color=palette.of(index), markeredgecolor=palette.paper,
                markersize=max(LARGEST * (one.count / most) ** 0.5, SMALLEST), clip_on=False,
            )  # fmt: skip
        axes.set_xlabel("Confidence, %", color=palette.faint)
        axes.annotate("Correct words, %", (0, 1), (-30, 14), "axes fraction", "offset points", color=palette.faint)
        described = "; ".join(
            f"confidence {100 * one.confidence:.0f} % correct {100 * one.accuracy:.0f} % of {one.count:,}"
            for one in bins
        )
        return Drawing(f"reliability-{index}", f"Reliability of {shorten(name, 50)}: {described}.", figure)
