"""One page about an alignment: waveform, log-mel spectrogram, posteriors with the path on them, and words with times.

`python -m finetune.align` writes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from finetune.alignment.forced import STAR_LABEL, AlignedWord, Alignment
from finetune.decoding.frame_times import FrameTimes
from preprocessing.audio import SAMPLE_RATE
from preprocessing.features import LogMel
from preprocessing.features.plot import decibels_below_peak, draw_log_mel, draw_waveform
from preprocessing.plot_style import PALETTE, TEXT_SIZE, TICK_SIZE, new_figure, style_axes, write_heading, write_note
from preprocessing.units import Vocabulary

MARGINS = {"left": 0.065, "right": 0.975}
MAX_UNITS_SHOWN = 40  # rows of the posteriors; of more units those of the text and the most probable ones
LOWEST_LOG10 = -4.0  # of a posterior that is drawn
INCHES_PER_SECOND, WIDTHS = 1.3, (12.0, 40.0)


@dataclass(frozen=True)
class AlignedRecording:
    """A recording, what a CTC model makes of it, and the alignment with its text.

    waveform: [samples]; log_probs: [frames, units]; confidences: of the words, 0 to 1. vocabulary, times: the model's.
    """

    waveform: Tensor
    log_probs: Tensor
    alignment: Alignment
    confidences: Sequence[float]
    vocabulary: Vocabulary
    times: FrameTimes


def page(recording: AlignedRecording, title: str, description: str, start: float, stop: float) -> Figure:
    """The page about the stretch of a recording from `start` to `stop` seconds, as a figure to save."""
    width = min(max(INCHES_PER_SECOND * (stop - start) + 1.5, WIDTHS[0]), WIDTHS[1])
    figure = new_figure(width, 10.0)
    left = MARGINS["left"] * WIDTHS[0] / width
    write_heading(figure, title, description, left=left)
    grid = figure.add_gridspec(
        4, 1, height_ratios=(0.7, 1.5, 2.8, 0.7), top=0.885, bottom=0.06, hspace=0.3, left=left,
        right=1 - (1 - MARGINS["right"]) * WIDTHS[0] / width,
    )  # fmt: skip
    panels = []
    for row, heading in enumerate(("Waveform", "Log-mel spectrogram", "Posteriors and path", "Words")):
        axes = figure.add_subplot(grid[row])
        axes.set_xlim(start, stop)
        if row == 3:
            axes.set_xlabel("seconds")
        style_axes(axes, heading)
        axes.tick_params(labelbottom=row == 3)
        panels.append(axes)
    part = recording.waveform[round(start * SAMPLE_RATE) : round(stop * SAMPLE_RATE)]
    draw_waveform(panels[0], part, start)
    with torch.no_grad():
        draw_log_mel(panels[1], decibels_below_peak(LogMel()(part)), start)
    panels[1].set_xlim(start, stop)
    _draw_posteriors(panels[2], recording, start, stop)
    _draw_words(panels[3], recording.alignment, recording.confidences, start, stop)
    for axes in panels[:3]:
        for word in _within(recording.alignment.words, start, stop):
            for moment in (word.start, word.end):
                axes.axvline(moment, color=PALETTE.accent, linewidth=0.6, alpha=0.6)
    return figure


def _draw_posteriors(axes: Axes, recording: AlignedRecording, start: float, stop: float) -> None:
    """log10 of the posteriors as shades, units in rows; a dot on the path's unit of each frame, stars as crosses."""
    log_probs, vocabulary, times = recording.log_probs, recording.vocabulary, recording.times
    frames = [frame for frame in range(len(log_probs)) if times.end(frame) > start and times.start(frame) < stop]
    frames = frames or [len(log_probs) - 1]  # the samples after the last frame are less than a frame
    shown = log_probs[frames[0] : frames[-1] + 1]
    path = recording.alignment.path[frames[0] : frames[-1] + 1]
    on_path = {label for label in path.tolist() if label != STAR_LABEL} | {vocabulary.blank}
    probable = shown.exp().amax(dim=0).argsort(descending=True).tolist()
    rows = sorted(
        (on_path | set(probable[: max(MAX_UNITS_SHOWN - len(on_path), 0)])) - (vocabulary.silent - {vocabulary.blank})
    )
    rows = [vocabulary.blank] + [row for row in rows if row != vocabulary.blank]
    left = (times.first + (frames[0] - 0.5) * times.stride) / SAMPLE_RATE
    right = times.end(frames[-1])
    values = (shown[:, rows].T / np.log(10)).clamp(min=LOWEST_LOG10)
    axes.imshow(
        values.numpy(), origin="lower", aspect="auto", interpolation="nearest", cmap="Blues", vmin=LOWEST_LOG10, vmax=0,
        extent=(left, right, -0.5, len(rows) - 0.5),
    )  # fmt: skip
    axes.set_xlim(start, stop)
    names = {vocabulary.blank: "blank", vocabulary.boundary: "space"}
    axes.set_yticks(range(len(rows)), [names.get(row, vocabulary.units[row]) for row in rows])
    axes.tick_params(axis="y", labelsize=TICK_SIZE - (2 if len(rows) > 24 else 0))
    centres = left + (np.arange(len(frames)) + 0.5) * times.frame_seconds
    labels = path.tolist()
    heights = np.array([rows.index(label) if label in rows else np.nan for label in labels], dtype=float)
    is_unit = np.array([label not in (STAR_LABEL, vocabulary.blank) for label in labels])
    axes.plot(centres, heights, color=PALETTE.accent, linewidth=0.5, alpha=0.7)
    axes.plot(centres[is_unit], heights[is_unit], "o", color=PALETTE.accent, markersize=3)
    star = np.array(labels) == STAR_LABEL
    axes.plot(centres[star], np.zeros(int(star.sum())), "x", color=PALETTE.ink, markersize=4)
    write_note(axes, "shade: log10 of the probability, white at 1e-4 and below   ·   dots: units of the path   ·   "
               "crosses: speech without text")  # fmt: skip


def _draw_words(axes: Axes, alignment: Alignment, confidences: Sequence[float], start: float, stop: float) -> None:
    """Each word in its span, shaded by confidence: pale where low."""
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    chosen = _within(alignment.words, start, stop)
    by_word = dict(zip(map(id, alignment.words), confidences, strict=True))
    figure = axes.get_figure(root=True)
    assert figure is not None
    per_second = axes.get_position().width * figure.get_figwidth() / (stop - start)
    for number, word in enumerate(chosen):
        value = by_word[id(word)]
        low, height = 0.5, 0.45
        axes.add_patch(Rectangle((word.start, low), word.end - word.start, height, facecolor=PALETTE.main,
                                 alpha=0.1 + 0.75 * value, linewidth=1.2, edgecolor=PALETTE.paper))  # fmt: skip
        room = (word.end - word.start) * per_second * 72 / (0.62 * TEXT_SIZE) + 2
        below = 0.36 if number % 2 else 0.12
        middle = (word.start + word.end) / 2
        axes.text(middle, below, word.text, ha="center", va="center", fontsize=TEXT_SIZE, color=PALETTE.ink,
                  parse_math=False, clip_on=True)  # fmt: skip
        if room >= 4:
            axes.text(middle, low + height / 2, f"{value:.2f}", ha="center", va="center", fontsize=TICK_SIZE - 1,
                      color=PALETTE.paper if value > 0.5 else PALETTE.ink, clip_on=True)  # fmt: skip
    for span in alignment.untranscribed:
        if span.end > start and span.start < stop:
            axes.add_patch(Rectangle((span.start, 0.5), max(span.end - span.start, 0.02), 0.45, facecolor="none",
                                     edgecolor=PALETTE.ink, hatch="///", linewidth=0.6))  # fmt: skip
    write_note(axes, "shade and number: confidence   ·   hatched: speech without text")


def _within(words: Sequence[AlignedWord], start: float, stop: float) -> list[AlignedWord]:
    return [word for word in words if word.end > start and word.start < stop]
