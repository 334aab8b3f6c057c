"""Word error rates along a long recording, a line a system."""

import math
from collections.abc import Sequence
from statistics import median

from matplotlib.ticker import MaxNLocator

from benchmark.report.figures.style import WIDE, marker, short
from benchmark.report.quantities import percent
from benchmark.report.stretches import Recording
from benchmark.report.svg import PAGE, PLAIN, Drawing, Ink, drawing, place


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
