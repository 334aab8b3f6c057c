"""A picture of a corpus: histograms of durations, speaking rates and levels, and minutes by speaker."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from preprocessing.corpus.statistics import UNNAMED, Statistics
from preprocessing.errors import counted
from preprocessing.plot_style import PALETTE, empty_panel, new_figure, style_axes, write_heading, write_note

MAX_BINS = 50
MINIMUM_LEVEL = -100.0  # dB of full scale: digital silence is drawn there
MAX_BARS = 100  # more run into one another
MAX_SPEAKER_NAMES = 12  # more are drawn without their names


@dataclass(frozen=True)
class UtteranceValues:
    """What the histograms count, one value an utterance; no levels where the audio was not decoded."""

    seconds: Sequence[float]
    characters_per_second: Sequence[float]
    rms_dbfs: Sequence[float]


def draw_corpus(statistics: Statistics, values: UtteranceValues) -> Figure:
    """The picture as a figure of four panels for the caller to save."""
    figure = new_figure(12.0, 8.4)
    grid = figure.add_gridspec(2, 2, left=0.065, right=0.975, top=0.84, bottom=0.075, wspace=0.16, hspace=0.42)
    n_speakers = len(statistics.minutes_by_speaker.keys() - {UNNAMED})
    counts = (
        f"{counted(statistics.utterances, 'utterance')}   ·   {statistics.hours:.2f} hours   ·   "
        f"{counted(n_speakers, 'speaker')} named"
    )
    name = " ".join(statistics.reference.split())
    write_heading(figure, name if len(name) <= 80 else f"…{name[-79:]}", counts)  # a path says most at its end
    _draw_histogram(figure.add_subplot(grid[0, 0]), "Duration", "seconds", values.seconds)
    rates = figure.add_subplot(grid[0, 1])
    _draw_histogram(rates, "Speaking rate", "characters per second", values.characters_per_second)
    levels = figure.add_subplot(grid[1, 0])
    if len(values.rms_dbfs):
        _draw_histogram(levels, "Level", "dB of full scale, RMS", np.maximum(values.rms_dbfs, MINIMUM_LEVEL).tolist())
    else:
        empty_panel(levels, "Level", "the audio was not decoded")
    _draw_speakers(figure.add_subplot(grid[1, 1]), statistics)
    return figure


def _draw_histogram(axes: Axes, title: str, unit: str, values: Sequence[float]) -> None:
    if not len(values):
        empty_panel(axes, title, "nothing to count")
        return
    axes.hist(values, bins=min(MAX_BINS, max(10, 2 * round(len(values) ** 0.5))), color=PALETTE.main)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    median = float(np.median(values))
    axes.axvline(median, color=PALETTE.accent, linewidth=1.2)
    axes.set_xlabel(unit)
    axes.set_ylabel("utterances")
    style_axes(axes, title)
    write_note(axes, f"median {median:.3g}   ·   {min(values):.3g} to {max(values):.3g}".replace("-", "−"))


def _draw_speakers(axes: Axes, statistics: Statistics) -> None:
    title = "Minutes by speaker"
    minutes = {name: value for name, value in statistics.minutes_by_speaker.items() if name != UNNAMED}
    if not minutes:
        empty_panel(axes, title, "no speaker is named")
        return
    heights = list(minutes.values())
    places = range(1, len(heights) + 1)
    if len(heights) <= MAX_BARS:
        axes.bar(places, heights, width=0.8, color=PALETTE.main)
    else:
        axes.fill_between(places, heights, step="mid", color=PALETTE.main, linewidth=0.0)
        axes.set_ylim(bottom=0.0)
    axes.set_ylabel("minutes")
    if len(heights) <= MAX_SPEAKER_NAMES:
        names = [name if len(name) <= 10 else f"{name[:9]}…" for name in minutes]
        axes.set_xticks(places, [name.replace("$", r"\$") for name in names])
        margin = max(6 - len(heights), 0) / 2  # a single speaker's bar does not fill the panel
        axes.set_xlim(0.5 - margin, len(heights) + 0.5 + margin)
    else:
        axes.set_xlabel("speakers, most minutes first")
        axes.margins(x=0.01)
    style_axes(axes, title)
    write_note(axes, f"{heights[0]:.3g} to {heights[-1]:.3g}   ·   Gini {statistics.gini:.2f}")
