"""curve.png: loss, WER and CER over updates, and small beside them what they hang on: rate, gradient and blanks."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Line = Mapping[str, Any]

LIGHT, DARK, RED, OCHRE = "#7aa6c2", "#0b4f6c", "#b5541c", "#d9a441"


def draw(log: Sequence[Line]) -> "Figure":
    """Of the lines of a run's log. A recogniser without blanks has no panel for them."""
    from matplotlib.figure import Figure

    trained = [line for line in log if line["kind"] == "train"]
    validated = [line for line in log if line["kind"] == "validation"]
    blanks = [line for line in validated if line.get("blank_ratio") is not None]
    figure = Figure(figsize=(9, 5.2), layout="constrained", dpi=150)
    parts: Any = figure.subfigures(2, 1, height_ratios=(2.2, 1))
    loss, errors = parts[0].subplots(1, 2)
    small = parts[1].subplots(1, 3 if blanks else 2)
    _plot(loss, trained, "loss", color=LIGHT, lw=1, label="training")
    _plot(loss, validated, "loss", color=DARK, marker="o", ms=3, label="validation")
    loss.set(ylabel="loss per label", yscale="log", title="Loss")
    _plot(errors, validated, "wer", scale=100, color=RED, marker="o", ms=3, label="WER")
    _plot(errors, validated, "cer", scale=100, color=OCHRE, marker="s", ms=3, label="CER")
    errors.set(ylabel="error rate, %", ylim=(0, None), title="Validation")
    for axes in (loss, errors):
        axes.legend(frameon=False)
        axes.set_xlabel("updates")
    _plot(small[0], trained, "learning_rate", color=DARK, lw=1.2)
    small[0].set_ylim(0, None)
    small[0].ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    _plot(small[1], trained, "gradient_norm", color=LIGHT, lw=1)
    small[1].set_ylim(0, None)
    titles = ["Learning rate", "Gradient norm"]
    if blanks:
        _plot(small[2], blanks, "blank_ratio", scale=100, color=DARK, marker="o", ms=2.5, lw=1.2)
        small[2].set(ylim=(0, 100), ylabel="%")
        titles.append("Blank frames")
    for axes, title in zip(small, titles, strict=True):
        axes.set_title(title, fontsize="medium")
        axes.tick_params(labelsize="small")
    last = max((line["update"] for line in (*trained, *validated)), default=0)
    for axes in (loss, errors, *small):
        axes.set_xlim(0, max(last, 1))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    return figure


def _plot(axes: "Axes", lines: Sequence[Line], key: str, *, scale: float = 1.0, **style: Any) -> None:
    """What is not finite leaves a gap."""
    points = [(line["update"], line.get(key)) for line in lines]
    values = [scale * value if value is not None and math.isfinite(value) else math.nan for _, value in points]
    axes.plot([update for update, _ in points], values, clip_on=False, **style)
