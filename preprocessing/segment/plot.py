"""A page about the cutting of one recording: its waveform, probability of speech and cuts, in rows of a minute."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from torch import Tensor

from preprocessing.audio import SAMPLE_RATE
from preprocessing.errors import counted, one_line
from preprocessing.features.plot import draw_waveform
from preprocessing.plot_style import PALETTE, TEXT_SIZE, TICK_SIZE, new_figure, style_axes, write_heading
from preprocessing.segment.pieces import Piece, SpeechActivity
from preprocessing.segment.voice_activity import WINDOW

ROW_SECONDS = 60.0
MAX_ROWS = 12  # a longer recording is drawn from its beginning
SPEECH = "#e3eef6"  # behind the waveform
HEADING_INCHES = 0.95  # above the rows


def page(waveform: Tensor, name: str, activity: SpeechActivity, pieces: Sequence[Piece]) -> Figure:
    """The page about a waveform [samples] of the contract and its pieces, as a figure to save.

    name: of the recording, for the heading. pieces: those that are written, whose edges are the cuts. A recording of
    more than 12 minutes is drawn to its 12th.
    """
    seconds = waveform.numel() / SAMPLE_RATE
    row_seconds = min(ROW_SECONDS, seconds)
    n_rows = min(MAX_ROWS, int(np.ceil(seconds / row_seconds - 1e-9)))
    height = HEADING_INCHES + 1.15 * n_rows + 0.5
    figure = new_figure(13.0, height)
    grid = figure.add_gridspec(
        n_rows, 1, left=0.055, right=0.955, top=1 - HEADING_INCHES / height, bottom=0.5 / height, hspace=0.42
    )
    peak = max(float(waveform.abs().max()), 1e-4)
    for row in range(n_rows):
        axes = figure.add_subplot(grid[row])
        _draw_row(axes, waveform, activity, pieces, row * row_seconds, row_seconds, peak)
        if row == n_rows - 1:
            axes.set_xlabel("seconds")
        style_axes(axes, spines=("bottom",))
    shown = min(seconds, n_rows * row_seconds)
    part = f"{seconds:.1f} s" if shown == seconds else f"the first {shown:.0f} s of {seconds:.1f} s"
    write_heading(figure, one_line(name, limit=70), f"{part}   ·   {counted(len(pieces), 'segment')}", left=0.055)
    _write_legend(figure, height)
    return figure


def _write_legend(figure: Figure, height: float) -> None:
    keys = [
        Patch(facecolor=SPEECH, label="speech"),
        Line2D([], [], color=PALETTE.accent, linewidth=1.0, label="probability of speech"),
        Line2D([], [], color=PALETTE.ink, linewidth=1.4, label="cut"),
    ]
    figure.legend(
        handles=keys, loc="upper right", bbox_to_anchor=(0.96, 1 - 0.2 / height), ncols=3, frameon=False,
        fontsize=TEXT_SIZE, labelcolor=PALETTE.faint,
    )  # fmt: skip


def _draw_row(
    axes: Axes,
    waveform: Tensor,
    activity: SpeechActivity,
    pieces: Sequence[Piece],
    start: float,
    seconds: float,
    peak: float,
) -> None:
    first, last = round(start * SAMPLE_RATE), min(round((start + seconds) * SAMPLE_RATE), waveform.numel())
    draw_waveform(axes, waveform[first:last], start)
    axes.set_xlim(start, start + seconds)
    axes.set_ylim(-1.05 * peak, 1.05 * peak)
    axes.set_yticks([])
    for span in activity.spans:
        if span.stop > first and span.start < last:
            axes.axvspan(span.start / SAMPLE_RATE, span.stop / SAMPLE_RATE, color=SPEECH, linewidth=0, zorder=0)
    for cut in sorted({edge for piece in pieces for edge in piece.kept} - {0, waveform.numel()}):
        if first <= cut < last:
            axes.axvline(cut / SAMPLE_RATE, color=PALETTE.ink, linewidth=1.4)
    beside = axes.twinx()
    windows = slice(first // WINDOW, -(-last // WINDOW))
    probability = activity.probabilities[windows].numpy()
    middles = (np.arange(len(probability)) + windows.start + 0.5) * WINDOW / SAMPLE_RATE
    beside.plot(middles, probability, color=PALETTE.accent, linewidth=0.8)
    beside.set_xlim(start, start + seconds)
    beside.set_ylim(-0.03, 1.06)
    beside.set_yticks([0.0, 0.5, 1.0], ["0", "0.5", "1"])
    beside.tick_params(labelsize=TICK_SIZE, colors=PALETTE.accent, length=2, width=0.8)
    for spine in beside.spines.values():
        spine.set_visible(False)
