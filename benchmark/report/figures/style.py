"""One style for every figure: colours, sizes, markers, rows with intervals; as inline SVG or as files."""

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
from preprocessing.cli.atomic_write import atomic_file

POINTS_PER_INCH = 72  # one point is one unit of the drawing, and one CSS pixel at its natural width
PNG_DOTS_PER_INCH = 192
N_SERIES = 8


@dataclass(frozen=True, slots=True)
class Ink:
    """The colours that a drawing is made with; a system's is `series`, by its place in the summary."""

    ink: str
    faint: str
    grid: str
    paper: str
    series: tuple[str, ...]

    def of(self, index: int) -> str:
        return self.series[index % N_SERIES]


PAGE = Ink("#010203", "#010204", "#010205", "#010206", tuple(f"#0102{16 + index:02x}" for index in range(N_SERIES)))
PLAIN = Ink(
    "#1c1d1f", "#63666b", "#dcdcd6", "#ffffff",
    ("#0067a8", "#c04e00", "#00805c", "#8e3f9b", "#8a6a00", "#b0305c", "#3c6e8f", "#5d5d5d"),
)  # fmt: skip
_VARIABLES: Mapping[str, str] = {
    PAGE.ink: f"var(--ink, {PLAIN.ink})",
    PAGE.faint: f"var(--faint, {PLAIN.faint})",
    PAGE.grid: f"var(--rule, {PLAIN.grid})",
    PAGE.paper: f"var(--paper, {PLAIN.paper})",
} | {
    colour: f"var(--series-{index}, {alone})"
    for index, (colour, alone) in enumerate(zip(PAGE.series, PLAIN.series, strict=True))
}

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "benchmark.report",  # the same figure is the same text
    "text.parse_math": False,  # a system may be called "a$b$c"
    "font.family": "DejaVu Sans",  # wider than the page's font, so that what fits here fits there
    "font.size": 12,
    "hatch.linewidth": 1.2,
}


@dataclass(frozen=True, slots=True)
class Drawing:
    """A finished figure. `name` is unique in a document and names its files, `label` is what it says in words."""

    name: str
    label: str
    figure: Figure

    def inline(self, css_class: str) -> str:
        """The drawing as an `<svg>` element for an HTML document."""
        with matplotlib.rc_context(_STYLE):
            return inline(self.figure, self.name, self.label, css_class)

    def save(self, folder: Path, name: str) -> None:
        """Write it as NAME.png and NAME.svg; made with the colours of PLAIN, it needs no page around it."""
        self.figure.patch.set(visible=True, facecolor=PLAIN.paper)
        with matplotlib.rc_context({**_STYLE, "svg.fonttype": "path"}), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"Glyph .* missing")
            for suffix, metadata in ((".png", None), (".svg", {"Date": None})):
                with atomic_file(folder / f"{name}{suffix}") as beside:
                    self.figure.savefig(beside, dpi=PNG_DOTS_PER_INCH, metadata=metadata)


@contextmanager
def drawing(width: float, height: float, ink: Ink = PAGE) -> Iterator[tuple[Figure, Axes]]:
    """A figure of `width` by `height` points with one bare pair of axes over all of it, in the house's style."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width / POINTS_PER_INCH, height / POINTS_PER_INCH), dpi=POINTS_PER_INCH)
        figure.patch.set_visible(False)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.patch.set_visible(False)
        axes.spines[["top", "left", "right"]].set_visible(False)
        axes.spines["bottom"].set_color(ink.faint)
        axes.tick_params(colors=ink.faint, labelcolor=ink.faint, labelsize=12, length=4, pad=4)
        yield figure, axes


def place(axes: Axes, left: float, right: float, bottom: float, top: float) -> None:
    """Set the margins around the axes, in points."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    width, height = figure.get_figwidth() * POINTS_PER_INCH, figure.get_figheight() * POINTS_PER_INCH
    axes.set_position((left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height))


def inline(figure: Figure, name: str, label: str, css_class: str) -> str:
    """The figure as an `<svg>` element for an HTML document.

    `name` must be unique in the document: ids that the drawing refers to begin with it. `label` is what a screen
    reader says instead of the drawing; an empty one makes it decoration.
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
            _local(key): _value(key, value, name, referred)
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


def _value(key: str, value: str, name: str, referred: set[str]) -> str:
    if _local(key) == "id":
        return f"{name}-{value}"
    value = re.sub(r"#([\w-]+)", lambda found: f"#{name}-{found[1]}" if found[1] in referred else found[0], value)
    for colour, variable in _VARIABLES.items():
        value = value.replace(colour, variable)
    value = re.sub(r"font-family: [^;]*;? ?", "", value)  # the page's font, not matplotlib's
    return re.sub(r"-?\d+\.\d{2,}", lambda found: f"{float(found[0]):.1f}".removesuffix(".0"), value).strip()


def _share_style(node: ElementTree.Element) -> None:
    """Say a style once for a group of markers instead of once for each: a third of the text."""
    styles = {child.get("style") for child in node}
    if len(node) > 1 and len(styles) == 1 and all(child.tag == "use" for child in node) and None not in styles:
        node.set("style", styles.pop() or "")
        for child in node:
            del child.attrib["style"]


WIDE, NARROW = 660.0, 330.0
_MARKERS = "os^DvPXp"


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure that can be drawn at each of its widths; `draw` gives None where there is nothing to show."""

    draw: Callable[[float, Ink], Drawing | None]
    widths: tuple[float, ...] = (WIDE, NARROW)


def marker(series: int) -> str:
    return _MARKERS[series % N_SERIES]


def key(series: int) -> str:
    """The marker of a system, to stand before its name in running text."""
    with drawing(14, 14) as (figure, axes):
        axes.set_axis_off()
        axes.set(xlim=(-0.75, 0.75), ylim=(-0.75, 0.75))
        style = MarkerStyle(marker(series))
        shape = style.get_path().transformed(style.get_transform())
        axes.add_patch(PathPatch(shape, facecolor=PAGE.of(series), linewidth=0, clip_on=False))
        return Drawing(f"key-{series}", "", figure).inline("key")


def short(name: str, limit: int) -> str:
    """A name that can be drawn: printable, at most `limit` characters."""
    printable = "".join(symbol if symbol.isprintable() else "\ufffd" for symbol in name)
    return printable if len(printable) <= limit else f"{printable[: limit - 1]}…"


def name_limit(width: float) -> int:
    """How many characters of a name have room in a drawing of this width."""
    return 50 if width == WIDE else 20


def is_finite(rate: Rate) -> bool:
    return math.isfinite(rate.value + rate.low + rate.high)


def dot_and_interval(axes: Axes, rate: Rate, row: float, series: int, ink: Ink, size: float = 9.0) -> None:
    """A rate, in percent, as a marker on its interval with closed ends."""
    colour = ink.of(series)
    axes.plot([100 * rate.low, 100 * rate.high], [row, row], color=colour, linewidth=2, solid_capstyle="butt")
    axes.plot(
        [100 * rate.low, 100 * rate.high], [row, row], linestyle="", marker="|", markersize=size, color=colour,
        markeredgewidth=2,
    )  # fmt: skip
    axes.plot(
        100 * rate.value, row, linestyle="", marker=marker(series), markersize=size, color=colour,
        markeredgecolor=ink.paper,
    )  # fmt: skip


def limits(rates: Sequence[Rate], least: float | None = 0.0) -> tuple[float, float]:
    """The ends of an axis in percent that holds all intervals with room around; not below `least` percent."""
    low, high = min(rate.low for rate in rates), max(rate.high for rate in rates)
    margin = 0.06 * (high - low) or 0.01
    low = 100 * (low - margin)
    return low if least is None else max(least, low), 100 * (high + margin)


def label(axes: Axes, x: float, y: float, text: str, ink: Ink, *, faint: bool = False, size: float = 12) -> None:
    """Text beside a row, at a share `x` of the width; its own ground keeps lines from running through it."""
    axes.text(
        x, y, text, color=ink.faint if faint else ink.ink, ha="right" if x else "left", fontsize=size, zorder=1.5,
        transform=axes.get_yaxis_transform(), bbox={"facecolor": ink.paper, "edgecolor": "none", "pad": 1.0},
    )  # fmt: skip
