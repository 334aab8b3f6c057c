"""What was heard as HTML. Every text is escaped: a hypothesis, a file's name or an error cannot be markup."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmark.app.comparison import Comparison, compare
from benchmark.app.hear import Hearing, Recording
from benchmark.app.picture import DARK, LIGHT, draw
from benchmark.report.alignment import Alignment
from benchmark.report.quantities import counted

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
