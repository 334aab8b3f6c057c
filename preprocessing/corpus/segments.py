"""The field `segments` of a row: what was said when within one long utterance.

    [{"start": 0.0, "stop": 3.6, "text": "CHAPTER ONE"}, {"start": 4.1, "stop": 15.9, "text": "WHAT IS THE MATTER"}]

Seconds count from the utterance's own beginning; `end` may stand for `stop`. Together they say what `text` says, in its
order, so that errors counted by segment are those counted over the whole.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from preprocessing.corpus.utterance import Segment
from preprocessing.errors import InputError

LONGEST_SECONDS = 1e9  # thirty years
AGREES_SECONDS = 0.1  # how far past the end of the audio the last segment may end
FORM = 'expected a list of {"start": SECONDS, "stop": SECONDS, "text": "..."}: mend it, or leave it out'


def read_segments(value: Any, text: str) -> tuple[Segment, ...]:
    """The segments of an utterance whose text is `text`; none where the field is empty.

    Raises InputError where they are malformed, out of order, or say something else.
    """
    if value is None or value == "":
        return ()
    if not isinstance(value, list):
        raise InputError(f"'segments' is {_kind(value)}; {FORM}")
    segments = tuple(_segment(place, one) for place, one in enumerate(value, start=1))
    for place, (before, after) in enumerate(pairwise(segments), start=2):
        if after.start < before.start:
            raise InputError(
                f"'segments': number {place} starts at {after.start:g} s, before the one ahead of it at "
                f"{before.start:g} s; expected them in their order: sort them"
            )
    said = "".join(segment.text for segment in segments)
    if segments and "".join(said.split()) != "".join(text.split()):
        raise InputError("'segments' do not say what 'text' says; expected its words, in its order: mend either")
    return segments


def refuse_beyond(segments: Sequence[Segment], seconds: float) -> None:
    """Raises InputError where a segment of an utterance of so many seconds ends after it."""
    last = max((segment.stop for segment in segments), default=0.0)
    if last > seconds + AGREES_SECONDS:
        raise InputError(f"'segments' go on to {last:g} s, beyond the end at {seconds:.2f} s: mend them")


def _segment(place: int, value: Any) -> Segment:
    if not isinstance(value, dict):
        raise InputError(f"'segments': number {place} is {_kind(value)}; {FORM}")
    start = _seconds(place, "start", value.get("start"))
    named = "stop" if value.get("stop") is not None else "end"
    stop = _seconds(place, named, value.get(named))
    text = value.get("text")
    if not isinstance(text, str):
        raise InputError(f"'segments': number {place} has {_kind(text)} as its text; {FORM}")
    if start >= stop:
        raise InputError(
            f"'segments': number {place} starts at {start:g} s and stops at {stop:g} s; expected the start first: "
            "mend them"
        )
    return Segment(start, stop, text)


def _seconds(place: int, name: str, value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0.0 <= value < LONGEST_SECONDS:
        return float(value)
    shown = repr(value)[:40] if isinstance(value, float | str) else _kind(value)
    raise InputError(f"'segments': number {place} has {shown} as its {name}; expected seconds from 0 up: mend it")


def _kind(value: Any) -> str:
    """
    >>> _kind(None), _kind({}), _kind(7)
    ('nothing', 'a dict', 'an int')
    """
    if value is None:
        return "nothing"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
