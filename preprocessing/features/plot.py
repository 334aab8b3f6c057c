"""Drawing a waveform and a log-mel spectrogram on axes over time."""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from torch import Tensor

from preprocessing.audio import SAMPLE_RATE
from preprocessing.features import slaney_mels
from preprocessing.features.whisper import DYNAMIC_RANGE, HOP_LENGTH
from preprocessing.plot_style import PALETTE, Palette

FRAME_SECONDS = HOP_LENGTH / SAMPLE_RATE
TICKS_HZ = {0: "0", 250: "250", 500: "500", 1_000: "1k", 2_000: "2k", 4_000: "4k", 8_000: "8k"}
MASKED = "#e4e4df"
ENVELOPE_COLUMNS = 2_400  # more samples than this are drawn as the range that each column covers


def mel_position(frequency_hz: float, n_mels: int) -> float:
    """Where a frequency lies among mel filters from 0 to 8 kHz, in bins: filter i is centred on i."""
    return slaney_mels(frequency_hz) / slaney_mels(SAMPLE_RATE / 2) * (n_mels + 1) - 1.0


def decibels_below_peak(values: Tensor) -> Tensor:
    """LogMel's values, Whisper's (log10 power + 4) / 4, as dB below the loudest bin, so 0 or less."""
    return 40.0 * (values - values.max())


def draw_waveform(axes: Axes, waveform: Tensor, start: float = 0.0, palette: Palette = PALETTE) -> float:
    """Draw samples [samples] over seconds from `start`, a long waveform as its envelope. Returns the peak, above 0."""
    samples = waveform.numpy()
    peak = max(float(np.abs(samples).max()), 1e-4)
    if len(samples) > 2 * ENVELOPE_COLUMNS:
        edges = np.linspace(0, len(samples) - 1, ENVELOPE_COLUMNS + 1).astype(int)  # the last is the last sample
        low, high = np.minimum.reduceat(samples, edges), np.maximum.reduceat(samples, edges)
        axes.fill_between(start + edges / SAMPLE_RATE, low, high, step="post", color=palette.main, linewidth=0.3)
    else:
        axes.plot(start + np.arange(len(samples)) / SAMPLE_RATE, samples, color=palette.main, linewidth=0.7)
    axes.axhline(0.0, color=palette.grid, linewidth=0.6, zorder=0)
    axes.set_ylim(-1.08 * peak, 1.08 * peak)
    return peak


def draw_log_mel(axes: Axes, decibels: Tensor, start: float = 0.0) -> AxesImage:
    """Draw [bins, frames] of decibels below the peak with an axis in hertz; NaN is drawn as masked. What
    follows the last frame stays blank. Returns the image.

    start: seconds on the time axis at which the waveform begins; frames are those of LogMel.
    """
    n_bins, n_frames = decibels.shape
    colours = colormaps["magma"].with_extremes(bad=MASKED)
    left = start - FRAME_SECONDS / 2
    image = axes.imshow(
        decibels.numpy(), origin="lower", aspect="auto", interpolation="nearest", cmap=colours,
        vmin=-10.0 * DYNAMIC_RANGE, vmax=0.0, extent=(left, left + n_frames * FRAME_SECONDS, -0.5, n_bins - 0.5),
    )  # fmt: skip
    silence = Rectangle((left, -1.0), n_frames * FRAME_SECONDS, n_bins + 1.0, facecolor=colours(0.0), zorder=-1)
    axes.add_patch(silence)  # below and above the centres of the outer filters
    axes.set_ylim(mel_position(0.0, n_bins), mel_position(SAMPLE_RATE / 2, n_bins))
    axes.set_yticks([mel_position(frequency, n_bins) for frequency in TICKS_HZ], TICKS_HZ.values())
    axes.set_ylabel("hertz")
    return image
