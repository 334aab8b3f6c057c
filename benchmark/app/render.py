"""Transcriptions and the picture of a recording as HTML. Every text is escaped: no hypothesis, file name or error can
be markup.
"""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from torch import Tensor

from benchmark.app.transcribing import Comparison, Recording, Transcription, compare
from finetune.metrics.word_alignment import Alignment
from preprocessing.audio import SAMPLE_RATE
from preprocessing.errors import counted
from preprocessing.features import LogMel
from preprocessing.features.plot import decibels_below_peak, draw_log_mel, draw_waveform
from preprocessing.plot_style import PALETTE, Palette, new_figure, style_axes

MIN_SAMPLES = 400  # a window of 25 ms; a shorter recording is drawn with zeros after it
PICTURE_DOTS_PER_INCH = 110
LIGHT = PALETTE
DARK = Palette("#e4e4e7", "#b4b4bd", "#4a4a52", "#18181b", ("#8fb4ea", "#f2904c"))  # on gradio's dark background
_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class PageState:
    """The transcriptions of the last recording, kept so that another reference needs no second run.

    facts: sentences about the recording. pending: names of the systems that are not done.
    """

    facts: tuple[str, ...]
    transcriptions: tuple[Transcription, ...]
    pending: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Card:
    """One system's part of the page."""

    transcription: Transcription
    alignment: Alignment | None
    is_reference: bool


def recording_facts(recording: Recording) -> tuple[str, ...]:
    """Sentences about the recording: its length, the time to read it, and whether only its beginning was read."""
    sentences = [
        f"{recording.name}: {recording.seconds:.1f} s of audio, read in {recording.decode_seconds:.2f} s, which is "
        "part of every system’s time."
    ]
    if recording.file_seconds is not None:
        sentences.append(
            f"The file lasts {recording.file_seconds:.0f} s; only the first {recording.seconds:g} s are transcribed: "
            "start the page with a larger --max_seconds for more."
        )
    return tuple(sentences)


def results(state: PageState, typed_reference: str, reference_system: str, normalise: Callable[[str], str]) -> str:
    """The systems' cards side by side, their words compared with the reference."""
    compared = compare(state.transcriptions, typed_reference, reference_system, normalise)
    cards = [
        Card(transcription, alignment, transcription.system == compared.reference_system)
        for transcription, alignment in zip(state.transcriptions, compared.alignments, strict=True)
    ]
    return _render("results.html.jinja", state=state, cards=cards, reference=_describe_reference(state, compared))


def message(sentence: str) -> str:
    """A sentence in place of results."""
    return _render("message.html.jinja", sentence=sentence)


def notices(sentences: Sequence[str]) -> str:
    """Sentences above everything else, one message each."""
    return "".join(message(sentence) for sentence in sentences)


def picture(recording: Recording) -> str:
    """Waveform and log-mel spectrogram, drawn for light and for dark mode; the style sheet shows one of the two."""
    drawings = {
        name: base64.b64encode(waveform_and_log_mel(recording.waveform, palette)).decode("ascii")
        for name, palette in (("light", LIGHT), ("dark", DARK))
    }
    return _render("picture.html.jinja", drawings=drawings, name=recording.name, seconds=recording.seconds)


def waveform_and_log_mel(waveform: Tensor, palette: Palette) -> bytes:
    """A PNG with a transparent background. waveform: [samples], 16 kHz, of any length above 0."""
    if len(waveform) < MIN_SAMPLES:
        waveform = torch.nn.functional.pad(waveform, (0, MIN_SAMPLES - len(waveform)))
    figure = new_figure(12.0, 3.6, palette)
    grid = figure.add_gridspec(
        2, 1, height_ratios=(1.0, 2.0), left=0.045, right=0.995, top=0.98, bottom=0.115, hspace=0.1
    )
    above, below = figure.add_subplot(grid[0]), figure.add_subplot(grid[1])
    peak = draw_waveform(above, waveform, palette=palette)
    above.set_yticks([-peak, 0.0, peak], [f"−{peak:.2f}", "0", f"{peak:.2f}"])
    with torch.no_grad():
        draw_log_mel(below, decibels_below_peak(LogMel()(waveform)))
    below.set_xlabel("seconds")
    for axes in (above, below):
        axes.set_xlim(0.0, len(waveform) / SAMPLE_RATE)
        style_axes(axes, palette=palette)
    above.tick_params(labelbottom=False)
    png = io.BytesIO()
    figure.savefig(png, format="png", transparent=True, dpi=PICTURE_DOTS_PER_INCH)
    return png.getvalue()


def _describe_reference(state: PageState, compared: Comparison) -> str | None:
    """The line above the cards; None where there is nothing to compare."""
    if len(state.transcriptions) + len(state.pending) < 2 and compared.reference_system is not None:
        return None
    if compared.reference_system is None:
        return "Words are compared with the reference text."
    if compared.reference is not None or compared.reference_system in state.pending:
        return f"Words are compared with those of {compared.reference_system}."
    return f"{compared.reference_system} failed, so no words are compared: choose another system to compare with."


def _render(template: str, **values: object) -> str:
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["counted"] = counted
    return environment
