"""The one style of every picture: colours, panels, headings, and writing a figure complete or not at all.

Used by the plots of `preprocessing.features`, `segment`, `corpus` and `units`, by finetune's training curve and by the
benchmark's report. matplotlib is imported inside the functions, so that a command can check the name of its picture
without it. No window is opened, and no call leaves rcParams changed.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preprocessing.errors import UsageError, one_line
from preprocessing.storage.atomic_write import atomic_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PICTURE_SUFFIXES = (".png", ".pdf", ".svg")
DOTS_PER_INCH = 120
TITLE_SIZE, PANEL_TITLE_SIZE, TEXT_SIZE, TICK_SIZE = 16.0, 10.5, 9.0, 8.0  # points


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of a drawing, as #rrggbb. `series` is one colour per system, unit kind or curve, in that order."""

    ink: str
    faint: str  # tick labels, notes, axis labels
    grid: str  # spines, grid lines, zero lines
    paper: str
    series: tuple[str, ...]

    @property
    def main(self) -> str:
        """The colour of the only thing in a panel: a waveform, a histogram."""
        return self.series[0]

    @property
    def accent(self) -> str:
        """The colour of what marks a place in a panel: a median, a probability over a waveform."""
        return self.series[1]

    def of(self, index: int) -> str:
        """The colour of series number `index`; they repeat after the last."""
        return self.series[index % len(self.series)]


# Each series colour has a contrast of 4.8 or more against the paper (WCAG 2 asks 4.5 of text).
PALETTE = Palette(
    ink="#1c1d1f", faint="#63666b", grid="#dcdcd6", paper="#ffffff",
    series=("#0067a8", "#c04e00", "#00805c", "#8e3f9b", "#8a6a00", "#b0305c", "#3c6e8f", "#5d5d5d"),
)  # fmt: skip


def check_picture_suffix(path: Path | None, flag: str) -> None:
    """Raises UsageError naming `flag` ("--plot") when `path` is no name of a picture; None is no picture wanted."""
    if path is not None and path.suffix.lower() not in PICTURE_SUFFIXES:
        raise UsageError(
            f"{flag} {path}: suffix {path.suffix!r}; expected one of {', '.join(PICTURE_SUFFIXES)}: choose one of them"
        )


def new_figure(width: float, height: float, palette: Palette = PALETTE) -> "Figure":
    """An empty figure of `width` by `height` inches on the palette's paper."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor=palette.paper)


def save_figure(figure: "Figure", path: Path, *, flag: str | None = None, **options: Any) -> None:
    """Write `figure` to `path`, complete or not at all, in the format of its suffix; `options` go to savefig.

    flag: the option that named `path`. With it the folder is made where there is none, and a UsageError naming flag and
    path is raised where nothing can be written; without it OSError passes through.
    The same figure gives the same bytes: no date is written into PDF and SVG.
    """
    import matplotlib

    suffix = path.suffix[1:].lower()
    metadata = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(suffix)
    try:
        if flag is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        with (
            atomic_file(path) as temporary,
            matplotlib.rc_context({"svg.hashsalt": "plot_style"}),  # else ids are random
            warnings.catch_warnings(),
        ):
            warnings.filterwarnings("ignore", message=r"Glyph .* missing")  # of a script that the font lacks
            figure.savefig(temporary, format=suffix, **{"metadata": metadata, **options})
    except OSError as error:
        if flag is None:
            raise
        raise UsageError(f"{flag} {path}: {error.strerror}; expected a writable path: change the path") from None


def write_heading(figure: "Figure", title: str, description: str, *, left: float = 0.065) -> None:
    """A bold title and a faint line under it at the top left; together they take 0.75 inches of the height.

    left: share of the figure's width at which the panels begin. Titles may be file names: nothing in them is markup.
    """
    height = float(figure.get_figheight())
    figure.text(left, 1 - 0.42 / height, one_line(title), fontsize=TITLE_SIZE, fontweight="bold", color=PALETTE.ink,
                parse_math=False)  # fmt: skip
    figure.text(left, 1 - 0.65 / height, description, fontsize=TEXT_SIZE, color=PALETTE.faint, parse_math=False)


def style_axes(
    axes: "Axes", title: str = "", *, spines: tuple[str, ...] = ("left", "bottom"), grid: bool = False,
    palette: Palette = PALETTE,
) -> None:  # fmt: skip
    """Give a panel its title at the upper left, faint small ticks and labels, and only the named spines.

    grid: lines behind the data. May be called before or after the data are drawn and the labels set.
    """
    if title:
        axes.set_title(title, loc="left", fontsize=PANEL_TITLE_SIZE, fontweight="bold", color=palette.ink, pad=10)
    axes.tick_params(labelsize=TICK_SIZE, labelcolor=palette.faint, color=palette.grid, length=3, width=0.8)
    axes.tick_params(which="minor", length=0)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=palette.faint, fontsize=TEXT_SIZE)
    for name, spine in axes.spines.items():
        spine.set_visible(name in spines)
        spine.set_color(palette.grid)
        spine.set_linewidth(0.8)
    if grid:
        axes.grid(color=palette.grid, linewidth=0.8)
        axes.set_axisbelow(True)


def write_note(axes: "Axes", text: str) -> None:
    """A faint line at the upper right of a panel, on the height of its title."""
    axes.annotate(
        text, xy=(1.0, 1.0), xytext=(0.0, 10.0), xycoords="axes fraction", textcoords="offset points",
        ha="right", va="baseline", fontsize=TICK_SIZE, color=PALETTE.faint, parse_math=False,
    )  # fmt: skip


def empty_panel(axes: "Axes", title: str, reason: str) -> None:
    """A panel without data that says why: "the audio was not decoded"."""
    style_axes(axes, title)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(0.5, 0.5, reason, ha="center", va="center", fontsize=PANEL_TITLE_SIZE, color=PALETTE.faint,
              transform=axes.transAxes)  # fmt: skip
