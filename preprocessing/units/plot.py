"""A picture of a unit report: coverage, unseen text and frames per label, each by the number of units."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from preprocessing.plot_style import PALETTE, TEXT_SIZE, TICK_SIZE, new_figure, style_axes, write_heading
from preprocessing.units.counts import UnitReport
from preprocessing.units.vocabulary import SPLITTERS

NAMES = {"bpe": "BPE"}  # of a kind, where they are not its own
COLOURS = {kind: PALETTE.of(number) for number, kind in enumerate(SPLITTERS)}
CURVE_POINTS = 400


def draw_units(report: UnitReport) -> Figure:
    """The picture as a figure of three panels for the caller to save."""
    figure = new_figure(12.6, 4.6)
    coverage, unseen, frames = figure.subplots(1, 3)
    figure.subplots_adjust(left=0.055, right=0.985, top=0.765, bottom=0.125, wspace=0.24)
    write_heading(figure, "Output units", report.heading, left=0.055)
    handles = [Line2D([], [], color=COLOURS[c.kind], linewidth=2.5, label=_name(c.kind)) for c in report.curves]
    figure.legend(
        handles=handles, frameon=False, fontsize=TEXT_SIZE, labelcolor=PALETTE.ink, ncols=len(handles),
        loc="upper right", bbox_to_anchor=(0.99, 1.0), handlelength=1.4,
    )  # fmt: skip
    _draw_coverage(coverage, report)
    _draw_unseen(unseen, report)
    _draw_frames(frames, report)
    for axes in (coverage, unseen, frames):
        _style_size_axis(axes)
    return figure


def _draw_coverage(axes: Axes, report: UnitReport) -> None:
    def write(row: int, text: str, colour: str) -> None:
        axes.text(
            0.97, 0.04 + 0.055 * row, text, transform=axes.transAxes, ha="right", fontsize=TEXT_SIZE, color=colour
        )

    for row, curve in enumerate(reversed(report.curves)):
        _plot_share(axes, curve.covered, curve.kind)
        n = curve.n_covering(0.9)
        axes.plot([n], [100 * curve.covered[n - 1]], marker="o", markersize=4.5, color=COLOURS[curve.kind])
        write(row, f"{n:,} {_name(curve.kind)}", COLOURS[curve.kind])
    write(len(report.curves), "90 % in", PALETTE.faint)
    axes.axhline(90, color=PALETTE.faint, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    axes.set_ylim(0, 101)
    axes.set_xlabel("most frequent units kept")
    style_axes(axes, "Text covered, %", grid=True)


def _draw_unseen(axes: Axes, report: UnitReport) -> None:
    for curve in report.curves:
        if SPLITTERS[curve.kind].size_use == "cuts":
            _plot_share(axes, curve.unseen, curve.kind)
            n, last = len(curve.unseen), 100 * curve.unseen[-1]
            axes.plot([n], [last], marker="o", markersize=4.5, color=COLOURS[curve.kind])
            axes.annotate(
                f"{last:.2g} %", (n, last), xytext=(16, 5) if SPLITTERS[curve.kind].closed else (0, -14),
                textcoords="offset points", ha="center", fontsize=TEXT_SIZE, color=COLOURS[curve.kind],
            )  # fmt: skip
    others = [row for row in report.inventories if SPLITTERS[row.kind].size_use != "cuts"]
    if others:
        maximum = 100 * max(row.unseen_piece_share for row in others)
        names = " and ".join(_name(kind) for kind in dict.fromkeys(row.kind for row in others))
        axes.text(0.03, 0.04, f"{names}: {maximum:.2g} %", transform=axes.transAxes, fontsize=TICK_SIZE,
                  color=PALETTE.faint)  # fmt: skip
    axes.set_yscale("log")
    axes.set_ylim(0.1, 101)
    axes.set_yticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
    axes.set_xlabel("most frequent units kept")
    style_axes(axes, "Held-out units unseen, %", grid=True)


def _draw_frames(axes: Axes, report: UnitReport) -> None:
    drawn = [(row.kind, row.size, row.timing.frames_per_label) for row in report.inventories if row.timing is not None]
    if not drawn:
        axes.text(0.5, 0.5, "no durations: give a manifest", transform=axes.transAxes, ha="center", color=PALETTE.faint)
    for kind in dict.fromkeys(kind for kind, _, _ in drawn):
        sizes, frames = zip(*((size, frames) for other, size, frames in drawn if other == kind), strict=True)
        axes.plot(sizes, frames, color=COLOURS[kind], marker="o", markersize=4.5, linewidth=1.6)
        axes.annotate(
            f"{frames[-1]:.1f}", (sizes[-1], frames[-1]), xytext=(6, -3), textcoords="offset points",
            fontsize=TICK_SIZE, color=COLOURS[kind], annotation_clip=False,
        )  # fmt: skip
    axes.set_ylim(0, max([frames for _, _, frames in drawn], default=1.0) * 1.12)
    axes.set_xlabel("units in the vocabulary")
    style_axes(axes, "Frames of 20 ms per label", grid=True)


def _plot_share(axes: Axes, shares: NDArray[Any], kind: str) -> None:
    """A curve of shares in percent by the number of units kept, about CURVE_POINTS points even on a log axis."""
    indices = np.unique(np.geomspace(1, len(shares), CURVE_POINTS).round().astype(int)) - 1
    axes.plot(indices + 1, 100 * shares[indices], color=COLOURS[kind], linewidth=2.0)


def _name(kind: str) -> str:
    return NAMES.get(kind, kind)


def _style_size_axis(axes: Axes) -> None:
    """A log axis of numbers of units, with a tick at each power of ten."""
    axes.set_xscale("log")
    left, right = axes.get_xlim()
    axes.set_xlim(max(left, 0.9), right * 1.6)
    ticks = [10**power for power in range(6) if axes.get_xlim()[0] <= 10**power <= axes.get_xlim()[1]]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.tick_params(which="minor", length=0)
