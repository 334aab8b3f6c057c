"""The counts of a report as one picture: coverage, unseen text and frames, each by the number of units."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from preprocessing.units.counts import Report

COLOURS = {"characters": "#1f2430", "syllables": "#2a7f8e", "bpe": "#d08a1d", "words": "#b0413e"}
NAMES = {"characters": "characters", "syllables": "syllables", "bpe": "BPE", "words": "words"}
PALE_INK = "#6b7280"


def picture(report: Report) -> Figure:
    """A figure for the caller to save."""
    figure = Figure(figsize=(12.6, 4.6), dpi=100, facecolor="#ffffff")
    coverage, unseen, frames = figure.subplots(1, 3)
    figure.subplots_adjust(left=0.055, right=0.985, top=0.765, bottom=0.125, wspace=0.24)
    figure.text(0.055, 0.93, "Output units, counted", fontsize=15, fontweight="bold", color="#1f2430")
    figure.text(0.055, 0.878, report.heading, fontsize=8.5, color=PALE_INK, parse_math=False)
    handles = [Line2D([], [], color=COLOURS[c.kind], linewidth=2.5, label=NAMES[c.kind]) for c in report.curves]
    figure.legend(
        handles=handles, frameon=False, fontsize=9.5, ncols=4, loc="upper right", bbox_to_anchor=(0.99, 1.0),
        handlelength=1.4,
    )  # fmt: skip
    _draw_coverage(coverage, report)
    _draw_unseen(unseen, report)
    _draw_frames(frames, report)
    for axes in (coverage, unseen, frames):
        _style(axes)
    return figure


def _draw_coverage(axes: Axes, report: Report) -> None:
    for row, curve in enumerate(reversed(report.curves)):
        covered = 100 * curve.covered
        axes.plot(_thin(np.arange(1, len(covered) + 1)), _thin(covered), color=COLOURS[curve.kind], linewidth=2.0)
        n = curve.covering(0.9)
        axes.plot([n], [covered[n - 1]], marker="o", markersize=4.5, color=COLOURS[curve.kind])
        axes.text(0.97, 0.04 + 0.055 * row, f"{n:,} {NAMES[curve.kind]}", transform=axes.transAxes, ha="right",
                  fontsize=8.5, color=COLOURS[curve.kind])  # fmt: skip
    axes.text(0.97, 0.05 + 0.055 * len(report.curves), "90 % in", transform=axes.transAxes, ha="right", fontsize=8.5,
              color=PALE_INK)  # fmt: skip
    axes.axhline(90, color="#c9ccd3", linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    axes.set(ylim=(0, 101), title="Share of the text covered, %")
    axes.set_xlabel("most frequent units kept")


def _draw_unseen(axes: Axes, report: Report) -> None:
    for curve in report.curves:
        if curve.kind in ("syllables", "words"):
            unseen = 100 * curve.unseen
            axes.plot(_thin(np.arange(1, len(unseen) + 1)), _thin(unseen), color=COLOURS[curve.kind], linewidth=2.0)
            axes.plot([len(unseen)], [unseen[-1]], marker="o", markersize=4.5, color=COLOURS[curve.kind])
            below = curve.kind == "syllables"
            axes.annotate(
                f"{unseen[-1]:.2g} %", (len(unseen), unseen[-1]), xytext=(0, -14) if below else (16, 5),
                textcoords="offset points", ha="center", fontsize=8.5, color=COLOURS[curve.kind],
            )  # fmt: skip
    others = [row for row in report.inventories if row.kind in ("characters", "bpe")]
    if others:
        worst = 100 * max(row.unseen_piece_share for row in others)
        names = " and ".join(NAMES[kind] for kind in dict.fromkeys(row.kind for row in others))
        axes.text(0.03, 0.04, f"{names}: {worst:.2g} %", transform=axes.transAxes, fontsize=8, color=PALE_INK)
    axes.set(yscale="log", title="Held-out units unseen, %")
    axes.set_ylim(0.1, 101)
    axes.set_yticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
    axes.set_xlabel("most frequent units kept")


def _draw_frames(axes: Axes, report: Report) -> None:
    drawn = [(row.kind, row.size, row.timing.frames_per_label) for row in report.inventories if row.timing is not None]
    if not drawn:
        axes.text(0.5, 0.5, "no durations: give a manifest", transform=axes.transAxes, ha="center", color=PALE_INK)
    for kind in dict.fromkeys(kind for kind, _, _ in drawn):
        sizes, frames = zip(*((size, frames) for other, size, frames in drawn if other == kind), strict=True)
        axes.plot(sizes, frames, color=COLOURS[kind], marker="o", markersize=4.5, linewidth=1.6)
        axes.annotate(
            f"{frames[-1]:.1f}", (sizes[-1], frames[-1]), xytext=(6, -3), textcoords="offset points", fontsize=8,
            color=COLOURS[kind], annotation_clip=False,
        )  # fmt: skip
    axes.set_ylim(0, max([frames for _, _, frames in drawn], default=1.0) * 1.12)
    axes.set_title("Frames of 20 ms to a label")
    axes.set_xlabel("units in the vocabulary")


def _thin(values: NDArray[Any]) -> NDArray[Any]:
    """Some 400 of the values, even on a log axis, first and last among them."""
    at = np.unique(np.geomspace(1, len(values), 400).round().astype(int)) - 1
    thinned: NDArray[Any] = values[at]
    return thinned


def _style(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.set_title(axes.get_title(), loc="left", fontsize=10.5, fontweight="bold", color="#1f2430", pad=9)
    axes.set_title("", loc="center")
    left, right = axes.get_xlim()
    axes.set_xlim(max(left, 0.9), right * 1.6)
    ticks = [10**power for power in range(6) if axes.get_xlim()[0] <= 10**power <= axes.get_xlim()[1]]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.tick_params(labelsize=8, colors=PALE_INK, length=3, width=0.6)
    axes.tick_params(which="minor", length=0)
    axes.xaxis.label.set(color=PALE_INK, fontsize=8.5)
    axes.grid(color="#eceef1", linewidth=0.8)
    axes.set_axisbelow(True)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color("#c9ccd3")
