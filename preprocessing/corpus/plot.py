"""Four panels about a corpus: durations, characters a second, levels, minutes by speaker. Drawn without a window."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from preprocessing.corpus.statistics import UNNAMED, Statistics

INK, PALE_INK, FILL, ACCENT, PAPER = "#1f2430", "#6b7280", "#3b5b92", "#b4532a", "#ffffff"
MOST_BINS = 50
BARS = 100  # more run into one another
SPEAKERS_NAMED = 12  # more are drawn without their names


@dataclass(frozen=True)
class Values:
    """What the histograms count, one value an utterance; no levels where the audio was not decoded."""

    seconds: Sequence[float]
    characters_per_second: Sequence[float]
    rms_dbfs: Sequence[float]


def draw(found: Statistics, values: Values) -> Figure:
    """A figure for the caller to save."""
    figure = Figure(figsize=(12.0, 8.4), dpi=120, facecolor=PAPER)
    grid = figure.add_gridspec(2, 2, left=0.065, right=0.975, top=0.84, bottom=0.075, wspace=0.16, hspace=0.42)
    name = " ".join(found.reference.split())
    name = name if len(name) <= 80 else f"…{name[-79:]}"
    figure.text(0.065, 0.945, name, fontsize=16, fontweight="bold", color=INK, parse_math=False)
    n_speakers = len([speaker for speaker in found.minutes_by_speaker if speaker != UNNAMED])
    told = f"{found.utterances:,} utterances   ·   {found.hours:.2f} hours   ·   {n_speakers:,} speakers named"
    figure.text(0.065, 0.913, told, fontsize=10, color=PALE_INK)
    _histogram(figure.add_subplot(grid[0, 0]), "Duration", "seconds", values.seconds)
    rates = figure.add_subplot(grid[0, 1])
    _histogram(rates, "Speaking rate", "characters a second", values.characters_per_second)
    levels = figure.add_subplot(grid[1, 0])
    if len(values.rms_dbfs):
        _histogram(levels, "Level", "dB of full scale, RMS", np.maximum(values.rms_dbfs, -100.0).tolist())
    else:
        _empty(levels, "Level", "the audio was not decoded")
    _speakers(figure.add_subplot(grid[1, 1]), found)
    return figure


def _style(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK, pad=10)
    axes.tick_params(labelsize=8.5, colors=PALE_INK, length=3, width=0.6)
    axes.xaxis.label.set_color(PALE_INK)
    axes.yaxis.label.set_color(PALE_INK)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color("#c9ccd3")


def _note(axes: Axes, text: str) -> None:
    axes.annotate(text, xy=(1.0, 1.0), xytext=(0.0, 10.0), xycoords="axes fraction", textcoords="offset points",
                  ha="right", va="baseline", fontsize=8.5, color=PALE_INK)  # fmt: skip


def _empty(axes: Axes, title: str, why: str) -> None:
    _style(axes, title)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(0.5, 0.5, why, ha="center", va="center", fontsize=10, color=PALE_INK, transform=axes.transAxes)


def _histogram(axes: Axes, title: str, unit: str, values: Sequence[float]) -> None:
    if not len(values):
        _empty(axes, title, "nothing to count")
        return
    _style(axes, title)
    axes.hist(values, bins=min(MOST_BINS, max(10, 2 * round(len(values) ** 0.5))), color=FILL)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    median = float(np.median(values))
    axes.axvline(median, color=ACCENT, linewidth=1.2)
    axes.set_xlabel(unit, fontsize=9)
    axes.set_ylabel("utterances", fontsize=9)
    low, high = min(values), max(values)
    _note(axes, f"median {median:.3g}   ·   {low:.3g} to {high:.3g}".replace("-", "−"))


def _speakers(axes: Axes, found: Statistics) -> None:
    minutes = {name: value for name, value in found.minutes_by_speaker.items() if name != UNNAMED}
    if not minutes:
        _empty(axes, "Minutes by speaker", "no speaker is named")
        return
    _style(axes, "Minutes by speaker")
    heights = list(minutes.values())
    if len(heights) <= BARS:
        axes.bar(range(1, len(heights) + 1), heights, width=0.8, color=FILL)
    else:
        axes.fill_between(range(1, len(heights) + 1), heights, step="mid", color=FILL, linewidth=0.0)
        axes.set_ylim(bottom=0.0)
    axes.set_ylabel("minutes", fontsize=9)
    if len(heights) <= SPEAKERS_NAMED:
        names = [name if len(name) <= 10 else f"{name[:9]}…" for name in minutes]
        axes.set_xticks(range(1, len(heights) + 1), [name.replace("$", r"\$") for name in names])
        spare = max(6 - len(heights), 0) / 2  # one speaker is no wall
        axes.set_xlim(0.5 - spare, len(heights) + 0.5 + spare)
    else:
        axes.set_xlabel("speakers, from the most to the least", fontsize=9)
        axes.margins(x=0.01)
    _note(axes, f"{heights[0]:.3g} to {heights[-1]:.3g}   ·   Gini {found.gini:.2f}")
