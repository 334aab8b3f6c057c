"""Figures of robustness: WER against the signal-to-noise ratio, a panel for each kind of noise."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.ticker import MaxNLocator

from benchmark.report.figures.style import (
    PAGE_PALETTE,
    WIDE,
    Drawing,
    is_finite,
    marker,
    new_drawing,
    set_margins,
    shorten,
)
from benchmark.report.quantities import percent
from benchmark.results import ConditionUsed, Metric
from finetune.metrics import Rate
from preprocessing.plot_style import PALETTE, Palette


@dataclass(frozen=True, slots=True)
class NoiseKind:
    """Conditions with one kind of noise. levels: SNR in dB and condition name, quietest noise first."""

    kind: str
    levels: tuple[tuple[float, str], ...]


def noise_kinds(conditions: Sequence[ConditionUsed]) -> list[NoiseKind]:
    """The conditions with noise, grouped by their names without the level, in the results' order.

    >>> conditions = [ConditionUsed("babble 5 dB", "", 5.0), ConditionUsed("clean", "")]
    >>> [(one.kind, one.levels) for one in noise_kinds(conditions)]
    [('babble', ((5.0, 'babble 5 dB'),))]
    """
    found: dict[str, list[tuple[float, str]]] = {}
    for one in conditions:
        if one.snr_db is not None and one.speech:
            kind = re.sub(r"[\s_,@:/(-]*(at\s+|snr\s*)?[-−+]?\d+(\.\d+)?[\s_-]*(db)?\)?\s*$", "", one.name, flags=re.I)
            found.setdefault(kind or "noise", []).append((one.snr_db, one.name))
    return [NoiseKind(kind, tuple(sorted(levels, reverse=True))) for kind, levels in found.items()]


def wer_against_snr(
    noise: NoiseKind,
    systems: Sequence[tuple[str, Rate | None, Mapping[str, Rate]]],
    highest: float,
    number: int = 0,
    width: float = WIDE,
    palette: Palette = PAGE_PALETTE,
    metric: Metric = "wer",
) -> Drawing | None:
    """WER, or CER, of each system from clean speech to the loudest noise, with the band of its 95 % interval.

    systems: name, rate of clean speech (drawn left of all levels; None leaves it out) and by condition. highest: the
    top of the axis as a fraction, one for all panels. number: of the panel, for the drawing's name. None where no
    system has a rate in this noise.
    """
    columns = {name: at + 1 for at, (_, name) in enumerate(noise.levels)}
    lines = []
    for series, (name, clean, by_condition) in enumerate(systems):
        rates = [(0, clean)] if clean is not None and is_finite(clean) else []
        rates += [(at, by_condition[level]) for level, at in columns.items() if level in by_condition]
        rates = [(at, rate) for at, rate in rates if is_finite(rate)]
        if rates:
            lines.append((series, name, rates))
    if not lines:
        return None
    with new_drawing(width, 260, palette) as (figure, axes):
        set_margins(axes, 38, 12, 44, 30)
        axes.set(xlim=(-0.3, len(columns) + 0.3), ylim=(0, 104 * highest))
        axes.set_xticks(
            range(len(columns) + 1), ["clean", *(f"{level:g}".replace("-", "−") for level, _ in noise.levels)]
        )
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.grid(axis="y", color=palette.grid, linewidth=0.8)
        axes.tick_params(axis="y", length=0)
        for series, name, rates in lines:
            x, colour = [at for at, _ in rates], palette.of(series)
            low, high = [100 * rate.low for _, rate in rates], [100 * rate.high for _, rate in rates]
            axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
            axes.plot(
                x, [100 * rate.value for _, rate in rates], color=colour, linewidth=1.8, marker=marker(series),
                markersize=7.5, markeredgecolor=palette.paper, label=shorten(name, 32),
            )  # fmt: skip
        if palette is PALETTE:  # the page names systems beside its panels; a file stands alone
            axes.legend(loc="upper left", frameon=False, fontsize=9, labelcolor=palette.faint, handlelength=1.2)
        axes.set_xlabel("Signal-to-noise ratio, dB", color=palette.faint)
        axes.annotate(f"{metric.upper()}, %", (0, 1), (-30, 14), "axes fraction", "offset points", color=palette.faint)
        levels = ["clean", *(f"{level:g} dB" for level, _ in noise.levels)]
        described = "; ".join(
            f"{shorten(name, 50)} " + ", ".join(f"{levels[at]} {percent(rate.value)}" for at, rate in rates)
            for _, name, rates in lines
        )
        return Drawing(f"snr-{number}", f"{metric.upper()} in {shorten(noise.kind, 40)}: {described}.", figure)
