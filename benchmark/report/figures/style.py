"""How every figure of a report looks, and how it leaves as inline SVG for the page or as files.

Colours are preprocessing.plot_style's. The page draws the same figure with placeholders (`PAGE_PALETTE`) that
`inline_svg` replaces by CSS variables, so that one drawing serves light, dark and print. What a figure shows is in
accuracy.py, speed.py and robustness.py.
"""

import io
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from matplotlib.patches import PathPatch

from finetune.metrics import Rate
from preprocessing.plot_style import PALETTE, Palette, save_figure

POINTS_PER_INCH = 72  # one point is one unit of the drawing, and one CSS pixel at its natural width
PNG_DOTS_PER_INCH = 192
WIDE, NARROW = 660.0, 330.0  # widths of a figure, in points
N_SERIES = len(PALETTE.series)  # as many as page.css has --series-N
_MARKERS = "os^DvPXp"

PAGE_PALETTE = Palette(
    "#010203", "#010204", "#010205", "#010206", tuple(f"#0102{16 + index:02x}" for index in range(N_SERIES))
)  # colours that stand for CSS variables and that no drawing uses otherwise
_CSS_VARIABLES: Mapping[str, str] = {
    PAGE_PALETTE.ink: f"var(--ink, {PALETTE.ink})",
    PAGE_PALETTE.faint: f"var(--faint, {PALETTE.faint})",
    PAGE_PALETTE.grid: f"var(--rule, {PALETTE.grid})",
    PAGE_PALETTE.paper: f"var(--paper, {PALETTE.paper})",
} | {
    placeholder: f"var(--series-{index}, {colour})"
    for index, (placeholder, colour) in enumerate(zip(PAGE_PALETTE.series, PALETTE.series, strict=True))
}

_RC_PARAMS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "benchmark.report",  # the same figure is the same text
    "text.parse_math": False,  # a system may be called "a$b$c"
    "font.family": "DejaVu Sans",  # wider than the page's font, so that what fits here fits there
    "font.size": 12,
    "hatch.linewidth": 1.2,
    "axes.axisbelow": True,  # grid lines under the names of rows
}


@dataclass(frozen=True, slots=True)
class Drawing:
    """A finished figure. `name` is unique within the page; `label` describes the content for a screen reader."""

    name: str
    label: str
    figure: Figure

    def inline(self, css_class: str) -> str:
        """The drawing as an `<svg>` element for an HTML document."""
        with matplotlib.rc_context(_RC_PARAMS):
            return inline_svg(self.figure, self.name, self.label, css_class)

    def save(self, folder: Path, name: str) -> None:
        """Write NAME.png and NAME.svg into `folder`, for a figure drawn with PALETTE: no CSS goes with it."""
        self.figure.patch.set(visible=True, facecolor=PALETTE.paper)
        with matplotlib.rc_context({**_RC_PARAMS, "svg.fonttype": "path"}):
            for suffix in (".png", ".svg"):
                save_figure(self.figure, folder / f"{name}{suffix}", dpi=PNG_DOTS_PER_INCH)


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure and the widths it is drawn at. `draw(width, palette)` returns None where there is nothing to show."""

    draw: Callable[[float, Palette], Drawing | None]
    widths: tuple[float, ...] = (WIDE, NARROW)


@contextmanager
def new_drawing(width: float, height: float, palette: Palette = PAGE_PALETTE) -> Iterator[tuple[Figure, Axes]]:
    """A figure of `width` by `height` points with one pair of axes over all of it and only the bottom spine."""
    with matplotlib.rc_context(_RC_PARAMS):
        figure = Figure(figsize=(width / POINTS_PER_INCH, height / POINTS_PER_INCH), dpi=POINTS_PER_INCH)
        figure.patch.set_visible(False)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.patch.set_visible(False)
        axes.spines[["top", "left", "right"]].set_visible(False)
        axes.spines["bottom"].set_color(palette.faint)
        axes.tick_params(colors=palette.faint, labelcolor=palette.faint, labelsize=12, length=4, pad=4)
        yield figure, axes


def set_margins(axes: Axes, left: float, right: float, bottom: float, top: float) -> None:
    """Set the space around the axes, in points."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    width, height = figure.get_figwidth() * POINTS_PER_INCH, figure.get_figheight() * POINTS_PER_INCH
    axes.set_position((left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height))


def marker(series: int) -> str:
    """matplotlib's marker of system number `series`; with the colour it identifies the system in every figure.

    Where the colours start over, the markers begin with the next one.
    """
    return _MARKERS[(series + series // N_SERIES) % len(_MARKERS)]


def marker_svg(series: int) -> str:
    """The marker of a system as an `<svg>` element, to stand before its name in running text."""
    with new_drawing(14, 14) as (figure, axes):
        axes.set_axis_off()
        axes.set(xlim=(-0.75, 0.75), ylim=(-0.75, 0.75))
        style = MarkerStyle(marker(series))
        shape = style.get_path().transformed(style.get_transform())
        axes.add_patch(PathPatch(shape, facecolor=PAGE_PALETTE.of(series), linewidth=0, clip_on=False))
        return Drawing(f"key-{series}", "", figure).inline("key")


def shorten(name: str, limit: int) -> str:
    """`name` with unprintable characters replaced, cut to `limit` characters with "…" at the end."""
    printable = "".join(symbol if symbol.isprintable() else "\ufffd" for symbol in name)
    return printable if len(printable) <= limit else f"{printable[: limit - 1]}…"


def max_name_length(width: float) -> int:
    """How many characters of a system's name have room in a figure of this width."""
    return 46 if width == WIDE else 24


def is_finite(rate: Rate) -> bool:
    """Whether the rate and both ends of its interval are numbers that can be drawn."""
    return math.isfinite(rate.value + rate.low + rate.high)


def draw_interval(axes: Axes, rate: Rate, row: float, series: int, palette: Palette, size: float = 9.0) -> None:
    """Draw a rate, in percent, as the system's marker on its interval with closed ends."""
    colour = palette.of(series)
    axes.plot([100 * rate.low, 100 * rate.high], [row, row], color=colour, linewidth=2, solid_capstyle="butt")
    axes.plot(
        [100 * rate.low, 100 * rate.high], [row, row], linestyle="", marker="|", markersize=size, color=colour,
        markeredgewidth=2,
    )  # fmt: skip
    axes.plot(
        100 * rate.value, row, linestyle="", marker=marker(series), markersize=size, color=colour,
        markeredgecolor=palette.paper,
    )  # fmt: skip


def axis_limits(rates: Sequence[Rate], minimum: float | None = 0.0) -> tuple[float, float]:
    """The ends, in percent, of an axis that holds all intervals with a margin; not below `minimum` percent."""
    low, high = min(rate.low for rate in rates), max(rate.high for rate in rates)
    margin = 0.06 * (high - low) or 0.01
    low = 100 * (low - margin)
    return low if minimum is None else max(minimum, low), 100 * (high + margin)


def write_label(
    axes: Axes, x: float, y: float, text: str, palette: Palette, *, faint: bool = False, size: float = 12
) -> None:
    """Write text beside a row: left-aligned at x = 0, right-aligned at any other share `x` of the width.

    Its background has the paper's colour, so that grid lines do not run through it.
    """
    axes.text(
        x, y, text, color=palette.faint if faint else palette.ink, ha="right" if x else "left", fontsize=size,
        zorder=1.5, transform=axes.get_yaxis_transform(),
        bbox={"facecolor": palette.paper, "edgecolor": "none", "pad": 1.0},
    )  # fmt: skip


def inline_svg(figure: Figure, name: str, label: str, css_class: str) -> str:
    """The figure as an `<svg>` element for an HTML document.

    name: unique in the document, as ids that the drawing refers to begin with it. label: what a screen reader reads
    out instead of the drawing; an empty one marks it as decoration.
    """
    file = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing")  # the browser's fonts will have it
        figure.savefig(file, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(file.getvalue())
    _drop(root, {"metadata", "style"})
    ids = {value for node in root.iter() for key, value in node.attrib.items() if _local(key) == "id"}
    referred = ids & set(re.findall(r"#([\w-]+)", " ".join(v for node in root.iter() for v in node.attrib.values())))
    for node in root.iter():
        node.tag = _local(node.tag)
        node.attrib = {
            _local(key): _page_value(key, value, name, referred)
            for key, value in node.attrib.items()
            if _local(key) != "id" or value in referred
        }
        if node.tag != "text":
            node.text = None
        node.tail = None
    for node in root.iter():
        _share_style(node)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.set("class", css_class)
    if label:
        root.attrib |= {"role": "img", "aria-label": label}
        title = ElementTree.Element("title")
        title.text = label
        root.insert(0, title)
    else:
        root.set("aria-hidden", "true")
    return ElementTree.tostring(root, encoding="unicode")


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _drop(node: ElementTree.Element, tags: set[str]) -> None:
    for child in list(node):
        if _local(child.tag) in tags:
            node.remove(child)
        else:
            _drop(child, tags)


def _page_value(key: str, value: str, name: str, referred: set[str]) -> str:
    """An attribute's value for the page: ids made unique, colours as CSS variables, numbers with one decimal."""
    if _local(key) == "id":
        return f"{name}-{value}"
    value = re.sub(r"#([\w-]+)", lambda found: f"#{name}-{found[1]}" if found[1] in referred else found[0], value)
    for colour, variable in _CSS_VARIABLES.items():
        value = value.replace(colour, variable)
    value = re.sub(r"font-family: [^;]*;? ?", "", value)  # the page's font, not matplotlib's
    return re.sub(r"-?\d+\.\d{2,}", lambda found: f"{float(found[0]):.1f}".removesuffix(".0"), value).strip()


def _share_style(node: ElementTree.Element) -> None:
    """Move a style that all markers of a group have to the group: a third of the text."""
    styles = {child.get("style") for child in node}
    if len(node) > 1 and len(styles) == 1 and all(child.tag == "use" for child in node) and None not in styles:
        node.set("style", styles.pop() or "")
        for child in node:
            del child.attrib["style"]
