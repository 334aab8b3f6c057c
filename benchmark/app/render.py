"""What was heard as HTML. Every text is escaped: a hypothesis, a file's name or an error cannot be markup."""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from benchmark.app.transcribing import Comparison, Hearing, Recording, compare
from benchmark.report.quantities import counted
from finetune.metrics.word_alignment import Alignment
from preprocessing.audio import SAMPLE_RATE
from preprocessing.features import LogMel
from preprocessing.features.plot import FRAME_SECONDS, TICKS_HZ, mel_position
from preprocessing.features.whisper import DYNAMIC_RANGE

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Shown:
    """What the page keeps of the last recording, so that another reference needs no second hearing."""

    told: tuple[str, ...]  # sentences about the recording
    hearings: tuple[Hearing, ...]
    awaited: tuple[str, ...]  # systems that are not done


@dataclass(frozen=True, slots=True)
class Card:
    """One system's part of the page."""

    hearing: Hearing
    alignment: Alignment | None
    is_reference: bool


def told(recording: Recording) -> tuple[str, ...]:
    """What a reader must know of the recording before the texts."""
    sentences = [
        f"{recording.name}: {recording.seconds:.1f} s of audio, read in {recording.decode_seconds:.2f} s, which counts "
        "in every system’s seconds."
    ]
    if recording.whole_seconds is not None:
        sentences.append(
            f"It lasts {recording.whole_seconds:.0f} s; only the first {recording.seconds:g} s are heard: start the "
            "page with a larger --max_seconds to hear more."
        )
    return tuple(sentences)


def results(shown: Shown, said: str, reference_system: str, normalise: Callable[[str], str]) -> str:
    """The systems' cards side by side."""
    compared = compare(shown.hearings, said, reference_system, normalise)
    cards = [
        Card(hearing, alignment, hearing.system == compared.reference_system)
        for hearing, alignment in zip(shown.hearings, compared.alignments, strict=True)
    ]
    return _render("results.html.jinja", shown=shown, cards=cards, reference=_described(shown, compared))


def refusal(sentence: str) -> str:
    """A sentence in place of results."""
    return _render("refusal.html.jinja", sentence=sentence)


def picture(recording: Recording) -> str:
    """Waveform and log-mel for light and dark; the style sheet shows one of the two."""
    drawings = {
        name: base64.b64encode(draw(recording.waveform, colours)).decode("ascii")
        for name, colours in (("light", LIGHT), ("dark", DARK))
    }
    return _render("picture.html.jinja", drawings=drawings, name=recording.name, seconds=recording.seconds)


def notices(sentences: Sequence[str]) -> str:
    return "".join(refusal(sentence) for sentence in sentences)


def _described(shown: Shown, compared: Comparison) -> str | None:
    """The line above the cards; None where there is nothing to compare."""
    if len(shown.hearings) + len(shown.awaited) < 2 and compared.reference_system is not None:
        return None
    if compared.reference_system is None:
        return "Words are compared with what was said."
    if compared.reference is not None or compared.reference_system in shown.awaited:
        return f"Words are compared with those of {compared.reference_system}."
    return f"{compared.reference_system} failed, so no words are compared: compare with another."


def _render(template: str, **values: object) -> str:
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["counted"] = counted
    return environment


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
