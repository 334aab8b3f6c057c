"""A page about the cutting of one recording: its waveform, probability of speech and cuts, in rows of a minute.

Drawn without a window or any global state; seconds on every axis.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from torch import Tensor

from preprocessing.audio import SAMPLE_RATE
from preprocessing.cli.errors import UsageError
from preprocessing.segment.pieces import Activity, Piece
from preprocessing.segment.voice_activity import WINDOW
from preprocessing.show import INK, LINE, PALE_INK, PAPER

ROW_SECONDS = 60.0
MAX_ROWS = 12  # a longer recording is drawn from its beginning
COLUMNS = 1_500  # of a row: each shows the range of its samples
SPEECH, PROBABILITY, CUT = "#e8eef7", "#c2571a", "#111418"
MARGIN_INCHES = 0.85  # above the rows, for the heading


def page(waveform: Tensor, name: str, activity: Activity, pieces: Sequence[Piece]) -> Figure:
    """waveform: [samples] of the contract. Returns a figure for the caller to save."""
    seconds = waveform.numel() / SAMPLE_RATE
    row_seconds = min(ROW_SECONDS, seconds)
    n_rows = min(MAX_ROWS, int(np.ceil(seconds / row_seconds - 1e-9)))
    height = MARGIN_INCHES + 1.15 * n_rows + 0.5
    figure = Figure(figsize=(13.0, height), dpi=110, facecolor=PAPER)
    grid = figure.add_gridspec(
        n_rows, 1, left=0.055, right=0.955, top=1 - MARGIN_INCHES / height, bottom=0.5 / height, hspace=0.42
    )
    peak = max(float(waveform.abs().max()), 1e-4)
    for row in range(n_rows):
        axes = figure.add_subplot(grid[row])
        _style(axes, row * row_seconds, row_seconds, last=row == n_rows - 1)
        _draw_row(axes, waveform, activity, pieces, row * row_seconds, row_seconds, peak)
    _write_heading(figure, height, name, seconds, min(seconds, n_rows * row_seconds), len(pieces))
    return figure


def save(path: Path, figure: Figure) -> None:
    """Write the page whole or not at all, of the kind that the suffix says. Raises UsageError where it cannot be."""
    beside = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(beside, format=path.suffix[1:].lower())
        os.replace(beside, path)
    except OSError as error:
        raise UsageError(f"--picture {path}: {error.strerror}; expected a place to write to: mend it") from None


def _write_heading(figure: Figure, height: float, name: str, seconds: float, shown: float, n_pieces: int) -> None:
    name = " ".join(name.split())  # a file's name may hold new lines
    name = name if len(name) <= 70 else f"{name[:67]}..."
    figure.text(0.055, 1 - 0.30 / height, name, fontsize=14, fontweight="bold", color=INK, parse_math=False)
    part = f"{seconds:.1f} s" if shown == seconds else f"the first {shown:.0f} s of {seconds:.1f} s"
    count = f"{n_pieces} piece" + ("s" if n_pieces != 1 else "")
    figure.text(0.055, 1 - 0.52 / height, f"{part}   ·   {count}", fontsize=9.5, color=PALE_INK)
    keys = [
        Patch(facecolor=SPEECH, label="speech"),
        Line2D([], [], color=PROBABILITY, linewidth=1.0, label="probability of speech"),
        Line2D([], [], color=CUT, linewidth=1.4, label="cut"),
    ]
    figure.legend(
        handles=keys, loc="upper right", bbox_to_anchor=(0.96, 1 - 0.12 / height), ncols=3, frameon=False,
        fontsize=9, labelcolor=PALE_INK,
    )  # fmt: skip


def _style(axes: Axes, start: float, seconds: float, *, last: bool) -> None:
    axes.set_xlim(start, start + seconds)
    axes.tick_params(labelsize=8, colors=PALE_INK, length=3, width=0.6)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color("#c9ccd3")
        spine.set_linewidth(0.8)
    axes.set_yticks([])
    if last:
        axes.set_xlabel("seconds", fontsize=8.5, color=PALE_INK)


def _draw_row(
    axes: Axes, waveform: Tensor, activity: Activity, pieces: Sequence[Piece], start: float, seconds: float, peak: float
) -> None:
    first, last = round(start * SAMPLE_RATE), min(round((start + seconds) * SAMPLE_RATE), waveform.numel())
    samples = waveform[first:last].numpy()
    edges = np.unique(np.linspace(0, len(samples), COLUMNS + 1).astype(int)[:-1])
    low, high = np.minimum.reduceat(samples, edges), np.maximum.reduceat(samples, edges)
    times = start + np.append(edges, len(samples)) / SAMPLE_RATE
    axes.set_ylim(-1.05, 1.05)
    axes.fill_between(
        times, np.append(low, low[-1]) / peak, np.append(high, high[-1]) / peak, step="post", color=LINE, linewidth=0.2
    )
    for span in activity.spans:
        if span.stop > first and span.start < last:
            axes.axvspan(span.start / SAMPLE_RATE, span.stop / SAMPLE_RATE, color=SPEECH, linewidth=0, zorder=0)
    for piece in pieces[1:]:
        if first <= piece.kept[0] < last:
            axes.axvline(piece.kept[0] / SAMPLE_RATE, color=CUT, linewidth=1.4)
    beside = axes.twinx()
    windows = slice(first // WINDOW, -(-last // WINDOW))
    probability = activity.probability[windows].numpy()
    middles = (np.arange(len(probability)) + windows.start + 0.5) * WINDOW / SAMPLE_RATE
    beside.plot(middles, probability, color=PROBABILITY, linewidth=0.8)
    beside.set_xlim(start, start + seconds)
    beside.set_ylim(-0.03, 1.06)
    beside.set_yticks([0.0, 0.5, 1.0], ["0", "0.5", "1"])
    beside.tick_params(labelsize=7.5, colors=PROBABILITY, length=2, width=0.6)
    for spine in beside.spines.values():
        spine.set_visible(False)
