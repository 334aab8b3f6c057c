"""WER against the signal-to-noise ratio, a panel for each kind of noise."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.ticker import MaxNLocator

from benchmark.report.figures.style import PAGE, PLAIN, WIDE, Drawing, Ink, drawing, is_finite, marker, place, short
from benchmark.report.quantities import percent
from benchmark.results import ConditionUsed
from finetune.metrics import Rate


@dataclass(frozen=True, slots=True)
class Noise:
    """Conditions with one kind of noise, clearest first: signal-to-noise ratio in dB, and the condition's name."""

    kind: str
    levels: tuple[tuple[float, str], ...]


def noises(conditions: Sequence[ConditionUsed]) -> list[Noise]:
    """Kinds of noise by the conditions' names without their level, in the results' order.

    >>> [(one.kind, one.levels) for one in noises([ConditionUsed("babble 5 dB", "", 5.0), ConditionUsed("clean", "")])]
    [('babble', ((5.0, 'babble 5 dB'),))]
    """
    found: dict[str, list[tuple[float, str]]] = {}
    for one in conditions:
        if one.snr_db is not None and one.speech:
            kind = re.sub(r"[\s_,@:/(-]*(at\s+|snr\s*)?[-−+]?\d+(\.\d+)?[\s_-]*(db)?\)?\s*$", "", one.name, flags=re.I)
            found.setdefault(kind or "noise", []).append((one.snr_db, one.name))
    return [Noise(kind, tuple(sorted(levels, reverse=True))) for kind, levels in found.items()]


def against_snr(
    noise: Noise,
    systems: Sequence[tuple[str, Rate | None, Mapping[str, Rate]]],
    highest: float,
    number: int = 0,
    width: float = WIDE,
    ink: Ink = PAGE,
) -> Drawing | None:
    """WER of each system from clear to noisy, with the band of its 95 % interval.

    `systems`: name, WER of clean speech (drawn left of all levels, None: not), WER by condition. `highest`: the top of
    the axis as a fraction, one for all panels.
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
    with drawing(width, 260, ink) as (figure, axes):
        place(axes, 38, 12, 44, 30)
        axes.set(xlim=(-0.3, len(columns) + 0.3), ylim=(0, 104 * highest))
        axes.set_xticks(
            range(len(columns) + 1), ["clean", *(f"{level:g}".replace("-", "−") for level, _ in noise.levels)]
        )
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.grid(axis="y", color=ink.grid, linewidth=0.8)
        axes.tick_params(axis="y", length=0)
        for series, name, rates in lines:
            x, colour = [at for at, _ in rates], ink.of(series)
            low, high = [100 * rate.low for _, rate in rates], [100 * rate.high for _, rate in rates]
            axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
            axes.plot(
                x, [100 * rate.value for _, rate in rates], color=colour, linewidth=1.8, marker=marker(series),
                markersize=7.5, markeredgecolor=ink.paper, label=short(name, 32),
            )  # fmt: skip
        if ink is PLAIN:  # the page names systems beside its panels; a file stands alone
            axes.legend(loc="upper left", frameon=False, fontsize=9, labelcolor=ink.faint, handlelength=1.2)
        axes.set_xlabel("Signal-to-noise ratio, dB", color=ink.faint)
        axes.annotate("WER, %", (0, 1), (-30, 14), "axes fraction", "offset points", color=ink.faint)
        levels = ["clean", *(f"{level:g} dB" for level, _ in noise.levels)]
        said = "; ".join(
            f"{short(name, 50)} " + ", ".join(f"{levels[at]} {percent(rate.value)}" for at, rate in rates)
            for _, name, rates in lines
        )
        return Drawing(f"snr-{number}", f"WER in {short(noise.kind, 40)}: {said}.", figure)
