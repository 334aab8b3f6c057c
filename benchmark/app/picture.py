"""Waveform and log-mel spectrogram of a recording as two PNG of one size, for a light and for a dark page."""

import io
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from preprocessing.audio import SAMPLE_RATE
from preprocessing.features import LogMel
from preprocessing.features.whisper import DYNAMIC_RANGE
from preprocessing.pictures import FRAME_SECONDS, TICKS_HZ, mel_position

COLUMNS = 1_600  # of the envelope: about the picture's pixels
SHORTEST = 400  # samples: a window of 25 ms


@dataclass(frozen=True, slots=True)
class Colours:
    ink: str
    rule: str
    line: str


LIGHT = Colours(ink="#52525b", rule="#c9ccd3", line="#3b5b92")
DARK = Colours(ink="#b4b4bd", rule="#4a4a52", line="#8fb4ea")


def draw(waveform: Tensor, colours: Colours) -> bytes:
    """waveform: [samples] of the contract, shorter than a window or not. Returns a PNG with a clear background."""
    if len(waveform) < SHORTEST:
        waveform = torch.nn.functional.pad(waveform, (0, SHORTEST - len(waveform)))
    seconds = len(waveform) / SAMPLE_RATE
    figure = Figure(figsize=(12.0, 3.6), dpi=110)
    grid = figure.add_gridspec(
        2, 1, height_ratios=(1.0, 2.0), left=0.045, right=0.995, top=0.98, bottom=0.115, hspace=0.1
    )
    above, below = figure.add_subplot(grid[0]), figure.add_subplot(grid[1])
    for axes in (above, below):
        _style(axes, seconds, colours)
    _draw_waveform(above, waveform, colours)
    _draw_log_mel(below, waveform)
    above.tick_params(labelbottom=False)
    below.set_xlabel("seconds", fontsize=9)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", transparent=True)
    return drawn.getvalue()


def _style(axes: Axes, seconds: float, colours: Colours) -> None:
    axes.set_xlim(0.0, seconds)
    axes.tick_params(labelsize=8.5, colors=colours.ink, length=3, width=0.6)
    axes.xaxis.label.set_color(colours.ink)
    axes.yaxis.label.set_color(colours.ink)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(colours.rule)


def _draw_waveform(axes: Axes, waveform: Tensor, colours: Colours) -> None:
    """The range that each column covers, in full scale; the axis reaches as far as the recording does."""
    samples = waveform.numpy()
    edges = np.linspace(0, len(samples), min(COLUMNS, len(samples)) + 1).astype(int)[:-1]
    low, high = np.minimum.reduceat(samples, edges), np.maximum.reduceat(samples, edges)
    axes.fill_between(edges / SAMPLE_RATE, low, high, step="post", color=colours.line, linewidth=0.6)
    peak = max(float(np.abs(samples).max()), 0.01)
    axes.set_ylim(-1.08 * peak, 1.08 * peak)
    axes.set_yticks([-peak, 0.0, peak], [f"−{peak:.2f}", "0", f"{peak:.2f}"])


def _draw_log_mel(axes: Axes, waveform: Tensor) -> None:
    with torch.no_grad():
        values = LogMel()(waveform)
    decibels = 40.0 * (values - values.max())  # Whisper's (log10 power + 4) / 4 -> dB below the loudest
    n_bins, n_frames = decibels.shape
    left = -FRAME_SECONDS / 2  # Whisper's first frame is centred at 0
    axes.imshow(
        decibels.numpy(), origin="lower", aspect="auto", cmap=colormaps["magma"], vmin=-10.0 * DYNAMIC_RANGE, vmax=0.0,
        extent=(left, left + n_frames * FRAME_SECONDS, -0.5, n_bins - 0.5),
    )  # fmt: skip
    axes.set_yticks([mel_position(frequency, n_bins) for frequency in TICKS_HZ], list(TICKS_HZ.values()))
    axes.set_ylim(mel_position(0.0, n_bins), mel_position(SAMPLE_RATE / 2, n_bins))
    axes.set_ylabel("hertz", fontsize=9)
