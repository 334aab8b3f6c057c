"""One page about a recording: its waveform, log-mel spectrogram, MFCC, and the four policies of SpecAugment on it.

`python -m preprocessing.show` writes it.
"""

from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.image import AxesImage
from torch import Tensor

from preprocessing.audio import SAMPLE_RATE, AudioError, AudioInfo
from preprocessing.augment.spec_augment import POLICIES, Draw, Policy, SpecAugment, draw
from preprocessing.features import Features, KaldiMfcc, LogMel, UtteranceNorm
from preprocessing.features.plot import FRAME_SECONDS, decibels_below_peak, draw_log_mel, draw_waveform
from preprocessing.plot_style import PALETTE, TEXT_SIZE, TICK_SIZE, new_figure, style_axes, write_heading, write_note

MFCC_CENTRE_SECONDS = 200 / SAMPLE_RATE  # Kaldi's first frame begins at 0, Whisper's is centred there
SHOWN_POLICIES = {
    "LB": "LibriSpeech basic",
    "LD": "LibriSpeech double",
    "SM": "Switchboard mild",
    "SS": "Switchboard strong",
}
MARGINS = {"left": 0.065, "right": 0.915}


@dataclass(frozen=True, slots=True)
class Heading:
    """The facts in the heading of the page: the file's name, its header, where in it the waveform begins, and which of
    its channels that is, from 0 (None: the mix of all)."""

    name: str
    info: AudioInfo
    start: float  # seconds
    channel: int | None = None


def page(waveform: Tensor, heading: Heading, *, seed: int) -> Figure:
    """The page about a waveform [samples] of the contract, as a figure to save.

    seed: of SpecAugment's draws. Raises AudioError when the waveform is shorter than one frame of 25 ms.
    """
    log_mel, mfcc_bins = LogMel(), KaldiMfcc()
    if len(waveform) < mfcc_bins.shortest:
        raise AudioError(
            f"{heading.name}: {len(waveform)} samples at 16 kHz; expected {mfcc_bins.shortest} or more, one frame of "
            "25 ms: choose a longer stretch"
        )
    with torch.no_grad():
        mel = Features.of(log_mel(waveform))
        mfcc = UtteranceNorm()(Features.of(mfcc_bins(waveform))).utterance(0)
    seconds = len(waveform) / SAMPLE_RATE
    figure = new_figure(12.0, 13.0)
    write_heading(figure, heading.name, _description(heading, seconds), left=MARGINS["left"])
    above = figure.add_gridspec(3, 1, height_ratios=(1.0, 1.9, 1.25), top=0.915, bottom=0.475, **MARGINS, hspace=0.26)
    _waveform_panel(_panel(figure, above, 0, heading, seconds, "Waveform"), waveform, heading.start)
    _log_mel_panel(figure, above, mel, heading, seconds)
    _draw_mfcc(figure, above, mfcc, heading, seconds)
    below = figure.add_gridspec(2, 2, top=0.368, bottom=0.04, **MARGINS, wspace=0.05, hspace=0.26)
    figure.text(MARGINS["left"], 0.412, "SpecAugment over the log-mel spectrogram", fontsize=13, fontweight="bold",
                color=PALETTE.ink)  # fmt: skip
    legend = f"grey: masked   ·   arrow: a point moved by the time warp   ·   seed {seed}"
    figure.text(MARGINS["left"], 0.396, legend, fontsize=TEXT_SIZE, color=PALETTE.faint)
    generator = torch.Generator().manual_seed(seed)
    for number, (name, meaning) in enumerate(SHOWN_POLICIES.items()):
        axes = figure.add_subplot(below[number // 2, number % 2])
        _style_time_axes(axes, heading.start, seconds, f"{name}   {meaning}", labelled=number >= 2)
        _draw_policy(axes, mel, POLICIES[name], heading.start, generator)
        if number % 2:
            axes.set_yticklabels([])
            axes.set_ylabel("")
    return figure


def _description(heading: Heading, seconds: float) -> str:
    info = heading.info
    channels = {1: "mono", 2: "stereo"}.get(info.n_channels, f"{info.n_channels} channels")
    part = f"{seconds:.2f} s" if info.n_samples == 0 else f"{seconds:.2f} s of {info.duration:.2f} s"
    source = f"{info.codec}, {info.sample_rate:,} Hz, {channels}"
    read = "16 kHz mono" if heading.channel is None else f"channel {heading.channel} at 16 kHz"
    return f"{part} from {heading.start:.2f} s   ·   {source}   ·   read as {read}"


def _style_time_axes(axes: Axes, start: float, seconds: float, title: str, *, labelled: bool) -> None:
    """A panel over time; `labelled` ones have the numbers of the seconds."""
    axes.set_xlim(start, start + seconds)
    if labelled:
        axes.set_xlabel("seconds")
    style_axes(axes, title)
    axes.tick_params(labelbottom=labelled)


def _panel(figure: Figure, grid: GridSpec, row: int, heading: Heading, seconds: float, title: str) -> Axes:
    """A panel over the width of the page; the lowest of the three has the numbers of the seconds."""
    axes = figure.add_subplot(grid[row])
    _style_time_axes(axes, heading.start, seconds, title, labelled=row == 2)
    return axes


def _waveform_panel(axes: Axes, waveform: Tensor, start: float) -> None:
    peak = draw_waveform(axes, waveform, start)
    axes.set_ylabel("of full scale")
    write_note(axes, f"peak {20.0 * np.log10(peak):.1f} dB of full scale".replace("-", "−"))


def _log_mel_panel(figure: Figure, grid: GridSpec, mel: Features, heading: Heading, seconds: float) -> None:
    axes = _panel(figure, grid, 1, heading, seconds, "Log-mel spectrogram")
    image = draw_log_mel(axes, decibels_below_peak(mel.utterance(0)), heading.start)
    write_note(axes, f"Whisper's convention: {mel.values.shape[1]} filters, 25 ms windows each 10 ms")
    _draw_colour_bar(figure, axes, image, "dB below the loudest")


def _draw_mfcc(figure: Figure, grid: GridSpec, mfcc: Tensor, heading: Heading, seconds: float) -> None:
    axes = _panel(figure, grid, 2, heading, seconds, "Mel-frequency cepstral coefficients")
    n_bins, n_frames = mfcc.shape
    left = heading.start + MFCC_CENTRE_SECONDS - FRAME_SECONDS / 2
    image = axes.imshow(
        mfcc.numpy(), origin="lower", aspect="auto", interpolation="nearest", cmap="RdBu_r", vmin=-3.0, vmax=3.0,
        extent=(left, left + n_frames * FRAME_SECONDS, -0.5, n_bins - 0.5),
    )  # fmt: skip
    axes.set_yticks(range(0, n_bins, 3))
    axes.set_ylabel("coefficient")
    write_note(axes, "Kaldi's convention, each coefficient normalised over what is shown")
    _draw_colour_bar(figure, axes, image, "standard deviations")


def _draw_colour_bar(figure: Figure, axes: Axes, image: AxesImage, label: str) -> None:
    """The key to an image's colours, right of its panel."""
    panel = axes.get_position()
    bar = figure.colorbar(image, cax=figure.add_axes((panel.x1 + 0.01, panel.y0, 0.009, panel.height)))
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=TICK_SIZE, color=PALETTE.grid, labelcolor=PALETTE.faint, length=2)
    bar.set_label(label, fontsize=TEXT_SIZE, color=PALETTE.faint)


def _draw_policy(axes: Axes, mel: Features, policy: Policy, start: float, generator: torch.Generator) -> None:
    n_bins = mel.values.shape[1]
    drawn = draw(policy, mel.n_frames, n_bins, generator)
    peak = mel.values.max()
    augmented = SpecAugment(policy, fill="mean").apply_draw(mel, drawn).utterance(0)
    hidden = drawn.frequency_mask(n_bins).T | drawn.time_mask(augmented.shape[1])
    draw_log_mel(axes, (40.0 * (augmented - peak)).masked_fill(hidden, torch.nan), start)
    write_note(axes, _limits(policy))
    _draw_warp(axes, drawn, start)


def _limits(policy: Policy) -> str:
    cap = f" or {policy.time_mask_share:.0%}" if policy.time_mask_share < 1.0 else ""
    return (
        f"warp ±{policy.time_warp_frames * FRAME_SECONDS:.1f} s, "
        f"{policy.n_frequency_masks} × ≤{policy.frequency_mask_bins} bins, "
        f"{policy.n_time_masks} × ≤{policy.time_mask_frames * FRAME_SECONDS:.1f} s{cap}"
    )


def _draw_warp(axes: Axes, drawn: Draw, start: float) -> None:
    """An arrow along the upper edge, from where a moment was to where the warp has put it."""
    source, target = (start + FRAME_SECONDS * float(at) for at in (drawn.warp_from, drawn.warp_to))
    if source == target:
        return
    edge = axes.get_xaxis_transform()
    axes.annotate(
        "", xy=(target, 1.025), xytext=(source, 1.025), xycoords=edge, textcoords=edge, annotation_clip=False,
        arrowprops={"arrowstyle": "-|>", "color": PALETTE.ink, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0},
    )  # fmt: skip
    axes.plot([source], [1.025], marker="o", markersize=3.5, color=PALETTE.ink, transform=edge, clip_on=False)
