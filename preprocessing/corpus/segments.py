"""Segments of a long recording, as a manifest lists them: [{"start": 0, "stop": 3.6, "text": ...}, ...].

`end` for `stop` is understood too, as Whisper writes it; other keys are passed over. Segments say where in a recording
its text was spoken, so that errors can be counted stretch by stretch; nothing is cut by them.
"""

from typing import Any

from preprocessing.corpus.utterance import Segment, Utterance
from preprocessing.errors import InputError

AGREES_SECONDS = 0.1  # how far a segment may reach beyond its utterance


def read_segments(listed: Any) -> tuple[Segment, ...]:
    """In order of time; they may overlap and leave gaps.

    >>> read_segments([{"start": 0, "end": 1.5, "text": "ONE TWO"}])
    (Segment(start=0.0, stop=1.5, text='ONE TWO'),)

    Raises InputError naming the first that is none.
    """
    if not isinstance(listed, list):
        raise InputError(f"'segments' is {_shown(listed)}; expected a list of {{start, stop, text}}: mend it")
    found: list[Segment] = []
    for number, fields in enumerate(listed, start=1):
        segment = _segment(number, fields)
        if found and segment.start < found[-1].start:
            raise InputError(
                f"segment {number} starts at {segment.start:g} s, before segment {number - 1} at "
                f"{found[-1].start:g} s; expected them in order of time: sort them"
            )
        found.append(segment)
    return tuple(found)


def within(utterance: Utterance) -> Utterance:
    """Itself. Raises InputError where a segment lies outside of it."""
    first, last = utterance.start - AGREES_SECONDS, utterance.start + utterance.duration + AGREES_SECONDS
    for number, segment in enumerate(utterance.segments, start=1):
        if segment.start < first or segment.stop > last:
            raise InputError(
                f"segment {number}, {segment.start:g} to {segment.stop:g} s, lies outside of the recording's "
                f"{utterance.start:g} to {utterance.start + utterance.duration:.2f} s: mend it, or the duration"
            )
    return utterance


def _segment(number: int, fields: Any) -> Segment:
    if not isinstance(fields, dict):
        raise InputError(f"segment {number} is {_shown(fields)}; expected {{start, stop, text}}: mend it")
    stop_key = "end" if fields.get("stop") is None and "end" in fields else "stop"
    start, stop = _seconds(number, fields, "start"), _seconds(number, fields, stop_key)
    if start >= stop:
        raise InputError(f"segment {number} starts at {start:g} s, not before its {stop_key} at {stop:g} s: mend it")
    text = fields.get("text")
    if not isinstance(text, str):
        raise InputError(f"segment {number} has the text {_shown(text)}; expected what was said, or '': mend it")
    return Segment(start, stop, text)


def _seconds(number: int, fields: dict[str, Any], key: str) -> float:
    value = fields.get(key)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9:
        return float(value)
    raise InputError(f"segment {number} has the {key} {_shown(value)}; expected seconds from 0 up: mend it")


def _shown(value: Any) -> str:
    """A value as a sentence has room for it; str() of an integer of thousands of digits would raise."""
    return "a huge number" if isinstance(value, int) and abs(value) >= 10**40 else repr(value)[:80]
