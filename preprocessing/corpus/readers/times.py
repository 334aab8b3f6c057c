"""The times of a row: which part of its audio it is, how long that is, and its segments and words.

Tools name the two ends of a part differently; START_KEYS and STOP_KEYS are the names that are read. A row that names
one end so and the other by an unknown name is refused: taken from there to the end of the file, its text would go with
other audio. No audio is opened here.
"""

import re
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

from preprocessing.cli.notes import note_once
from preprocessing.corpus.utterance import DURATION_TOLERANCE_SHARE, Segment, Utterance
from preprocessing.errors import InputError

# Seconds into the audio. start_time, end_time: SegLST of meeteval and CHiME-7; begin_time: GigaSpeech.
START_KEYS = ("start", "start_time", "begin_time", "begin")
STOP_KEYS = ("stop", "end", "stop_time", "end_time")
OFFSET_KEY = "offset"  # of NeMo, whose `duration` is that of the part
NUMBER_KEYS = (*START_KEYS, *STOP_KEYS, OFFSET_KEY, "duration")
MAX_SECONDS = 1e9  # thirty years
MAX_NUMBER = 10**40  # no id or speaker has so many digits
TOLERANCE_SECONDS = 0.1  # how far start, stop, segments and the length of the audio may lie apart
_START_WORDS = frozenset(("start", "starts", "begin", "begins", "onset"))
_STOP_WORDS = frozenset(("stop", "stops", "end", "ends", "finish"))
_LENGTH_WORDS = frozenset(("dur", "duration", "length", "len"))
_OF_LENGTHS = _LENGTH_WORDS | {
    *("s", "sec", "secs", "second", "seconds", "ms", "msec", "msecs", "millis", "milliseconds"),
    *("audio", "clip", "segment", "part", "utt", "utterance"),
}  # all words of a key that names the length of a part, as duration_ms does, and text_length does not
_ENDS = ("to", "until")  # as a whole key
_NO_TIMES = frozenset(("index", "idx", "char", "chars", "character", "token", "word", "text", "date", "id", "page"))
_ELSEWHERE = frozenset(("source", "original", "orig", "keep"))  # times in a recording that the audio was cut from
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
# 00:01:02,5 or 1:02.5. Without a fraction, two parts may be hours and minutes: they are refused.
_CLOCK = re.compile(r"(?:(\d{1,6}):([0-5]?\d):([0-5]\d(?:[.,]\d+)?)|(\d{1,6}):([0-5]\d[.,]\d+))", re.ASCII)
_EXPECTED = "expected seconds from 0 up, or a time such as 00:01:02.5"


class Draft(NamedTuple):
    """An utterance whose duration is not known before its audio's header is read (`finished`)."""

    utterance: Utterance
    stated_seconds: float | None  # by the row, of the part or of the whole file
    unread_start: str | None = None  # a key that may name where in the file a part of the stated length begins


class _TimeKeys(NamedTuple):
    """The keys of a row that name a time, by what they name."""

    starts: tuple[str, ...]
    stops: tuple[str, ...]
    has_offset: bool
    unknown_starts: tuple[str, ...]
    unknown_stops: tuple[str, ...]
    unknown_lengths: tuple[str, ...]


class Times(NamedTuple):
    """Start, stop and duration of a row's part of its audio, in seconds; None where the row does not tell.

    unread_start: of a row without start and stop, a key that may name where in the file it begins.
    """

    start: float
    stop: float | None
    duration: float | None
    unread_start: str | None = None


def read_times(fields: dict[str, Any], stated: float | None) -> Times:
    """The times of a row.

    stated: the row's `duration`, of the part or of the whole file.
    Raises InputError where they are none, contradict each other, or one end goes by a name that is not read.
    """
    keys = _time_keys(tuple(fields))
    if keys is None:
        return Times(0.0, None, stated)
    start, start_key = _one_of(fields, keys.starts)
    stop, stop_key = _one_of(fields, keys.stops)
    if start is None and keys.has_offset:
        start, start_key = _one_of(fields, (OFFSET_KEY,))
        if start is not None and stop is None and stated is not None:
            stop, stop_key = start + stated, "duration"
    unknown_starts = [key for key in keys.unknown_starts if _number_of(fields[key]) is not None]
    unknown_stops = [key for key in keys.unknown_stops if _number_of(fields[key]) is not None]
    if start is not None and stop is None:
        lengths = [key for key in keys.unknown_lengths if _number_of(fields[key]) is not None]
        if unread := unknown_stops or ([] if stated is not None else lengths):
            raise InputError(
                f"{start_key!r} beside {unread[0]!r}, which is not read; expected the end as 'stop' or 'end', in "
                "seconds into the audio, or 'duration': rename it"
            )
    is_start_unsure = stop is not None if start is None else start_key == OFFSET_KEY and stated is None
    if is_start_unsure and unknown_starts:
        raise InputError(
            f"{start_key or stop_key!r} beside {unknown_starts[0]!r}, which is not read; expected the beginning as "
            "'start', in seconds into the audio: rename it"
        )
    if start is None and stop is None:
        if unknown_starts and unknown_stops:
            _note_unread(unknown_starts[0], unknown_stops[0])
        elif unknown_starts and stated is not None:  # its file tells whether it is the whole
            return Times(0.0, None, None, unknown_starts[0])
        return Times(0.0, None, stated)
    if stop is not None and (start or 0.0) >= stop:
        raise InputError(_start_after_end(start or 0.0, stop))
    return Times(start or 0.0, stop, _duration(stated, start or 0.0, stop))


def stated_seconds(fields: dict[str, Any]) -> float | None:
    """The `duration` of a row in seconds. Raises InputError where it is none, or 0."""
    stated = _seconds(fields, "duration")
    if stated == 0.0:
        raise InputError("'duration' is 0; expected seconds above 0: fix it, or leave it out")
    return stated


def finished(draft: Draft, audio_seconds: float) -> Utterance:
    """The draft's utterance with its duration, by audio of `audio_seconds`.

    A stated duration beside a start alone is that of the part, which ends there, unless it is that of the whole file.
    Raises InputError when start, stop, segments and words do not lie within the audio, it holds nothing, or the stated
    duration may be that of a part whose beginning goes by a name that is not read.
    """
    utterance, stated, unread = draft
    total = audio_seconds or stated or 0.0
    start, stop = utterance.start, utterance.stop
    if total == 0.0:
        raise InputError("its audio holds no samples; expected at least one: record or export it again")
    if start >= (stop if stop is not None else total):
        raise InputError(_start_after_end(start, stop if stop is not None else total))
    if unread is not None and stated is not None:
        if stated < total - max(TOLERANCE_SECONDS, DURATION_TOLERANCE_SHARE * total):
            raise InputError(
                f"{unread!r} is not read, and 'duration' is {stated:g} s of an audio of {total:.2f} s; expected the "
                "beginning of a part as 'start', in seconds into the audio: rename it"
            )
        stated = None  # of the whole, or of what it was cut from
    if stop is None and stated is not None:
        stop = _stop_by_duration(start, stated, total)
    if stop is not None and stop > total + TOLERANCE_SECONDS:
        raise InputError(f"stop {stop:g} s lies beyond the audio's end at {total:.2f} s: correct stop")
    duration = (total if stop is None else min(stop, total)) - start
    return with_checked_segments(replace(utterance, stop=stop, duration=duration))


def read_segments(listed: Any) -> tuple[Segment, ...]:
    """The segments of a `segments` field, in order of time; they may overlap and leave gaps.

    >>> read_segments([{"start": 0, "end": 1.5, "text": "ONE TWO"}])
    (Segment(start=0.0, stop=1.5, text='ONE TWO'),)

    Raises InputError naming the first that is none.
    """
    if not isinstance(listed, list):
        raise InputError(f"'segments' is {shortened(listed)}; expected a list of {{start, stop, text}}: fix it")
    return _in_order(listed, "segment", "text")


def read_words(listed: list[Any], text: str) -> tuple[Segment, ...]:
    """The words of a `words` field with their true times; one without letters, as for a pause, is left out.

    >>> read_words([{"word": "One", "start": 0, "end": 0.4}, {"word": "two", "start": 0.5, "end": 1}], "One, two.")
    (Segment(start=0.0, stop=0.4, text='One'), Segment(start=0.5, stop=1.0, text='two'))

    Raises InputError naming the first that is none, and where the words have other letters than `text`.
    """
    words = tuple(word for word in _in_order(listed, "word", "word") if letters(word.text))
    spelled = "".join(letters(word.text) for word in words)
    if spelled != letters(text):
        raise InputError(
            f"'words' spell {shortened(' '.join(word.text.strip() for word in words))}, the text is {shortened(text)}; "
            "expected the same letters in both: correct one of them, or leave 'words' out"
        )
    return words


def with_checked_segments(utterance: Utterance) -> Utterance:
    """The utterance itself. Raises InputError where a segment or a word lies outside of it."""
    first, last = utterance.start - TOLERANCE_SECONDS, utterance.start + utterance.duration + TOLERANCE_SECONDS
    for kind, parts in (("segment", utterance.segments), ("word", utterance.words)):
        for number, part in enumerate(parts, start=1):
            if part.start < first or part.stop > last:
                raise InputError(
                    f"{kind} {number}, {part.start:g} to {part.stop:g} s, lies outside of the recording's "
                    f"{utterance.start:g} to {utterance.start + utterance.duration:.2f} s: fix it, or the duration"
                )
    return utterance


@lru_cache(maxsize=1024)
def _time_keys(keys: tuple[str, ...]) -> _TimeKeys | None:
    """What of a row's keys names a time; None where nothing does, as in most corpora."""
    unknown = [key for key in keys if key not in NUMBER_KEYS]
    found = _TimeKeys(
        tuple(key for key in START_KEYS if key in keys),
        tuple(key for key in STOP_KEYS if key in keys),
        OFFSET_KEY in keys,
        tuple(key for key in unknown if _names(key, _START_WORDS)),
        tuple(key for key in unknown if _names(key, _STOP_WORDS)),
        tuple(key for key in unknown if key in _ENDS or _names_length(key)),
    )
    return found if any(found[:-1]) else None


@lru_cache(maxsize=1024)
def names_time(key: str) -> bool:
    """Whether a row's key names a time of its part: one that is read, or one that looks like it."""
    return key in NUMBER_KEYS or _names(key, _START_WORDS | _STOP_WORDS)


def _note_unread(start_key: str, stop_key: str) -> None:
    note_once(
        f"times {start_key} {stop_key}",
        f"{start_key!r} and {stop_key!r} are not read, and each row is the whole of its file; where they are seconds "
        "into it, call them start and stop",
    )


def _names(key: str, words: frozenset[str]) -> bool:
    """Whether a key has one of the words in it, as "end" is in segment_end, endTime and END_MS."""
    in_key = _words_of(key)
    return bool(in_key & words) and not in_key & (_ELSEWHERE | _NO_TIMES)


def _names_length(key: str) -> bool:
    """Whether a key names how long a part is: duration_ms, but not text_length."""
    in_key = _words_of(key)
    return bool(in_key & _LENGTH_WORDS) and in_key <= _OF_LENGTHS


def _words_of(key: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(key)}


def _one_of(fields: dict[str, Any], keys: tuple[str, ...]) -> tuple[float | None, str | None]:
    """The seconds that a row has under one of the keys, and the key. Raises InputError where two differ."""
    seconds, named = None, None
    for key in keys:
        value = _seconds(fields, key)
        if value is None:
            continue
        if seconds is not None and value != seconds:
            raise InputError(
                f"{named!r} is {seconds:g} and {key!r} is {value:g}; expected one of them: remove the other"
            )
        if seconds is None:
            seconds, named = value, key
    return seconds, named


def _duration(stated: float | None, start: float, stop: float | None) -> float | None:
    """Of the part from `start` to `stop`, where the row alone gives it: a stated duration may be the whole file's."""
    if stated is None or stop is None:
        return None
    if abs(stated - (stop - start)) <= TOLERANCE_SECONDS:
        return stop - start
    if stop > stated + TOLERANCE_SECONDS:
        raise InputError(f"stop {stop:g} s lies beyond the audio's end at {stated:.2f} s: correct stop or duration")
    return min(stop, stated) - start


def _stop_by_duration(start: float, stated: float, total: float) -> float | None:
    """Where a part ends that begins at `start` and for which `stated` seconds are given; None: at the audio's end."""
    if abs(stated - (total - start)) <= TOLERANCE_SECONDS:
        return None
    if start + stated <= total + TOLERANCE_SECONDS:
        return start + stated
    if abs(stated - total) <= max(TOLERANCE_SECONDS, DURATION_TOLERANCE_SHARE * stated):
        return None
    raise InputError(
        f"'duration' is {stated:g} s, but the audio holds {total:.2f} s and {total - start:.2f} s from start "
        f"{start:g} s on; expected one of them, or less: correct start or duration"
    )


def _start_after_end(start: float, end: float) -> str:
    return f"start {start:g} s is not before its end at {end:g} s: correct start and stop"


def _in_order(listed: list[Any], kind: str, text_key: str) -> tuple[Segment, ...]:
    """Segments or words, each a dict. Raises InputError naming the first that is none, or out of order."""
    parts: list[Segment] = []
    for number, fields in enumerate(listed, start=1):
        part = _segment(kind, number, fields, text_key)
        if parts and part.start < parts[-1].start:
            raise InputError(
                f"{kind} {number} starts at {part.start:g} s, before {kind} {number - 1} at {parts[-1].start:g} s; "
                "expected them in order of time: sort them"
            )
        parts.append(part)
    return tuple(parts)


def _segment(kind: str, number: int, fields: Any, text_key: str) -> Segment:
    if not isinstance(fields, dict):
        raise InputError(f"{kind} {number} is {shortened(fields)}; expected {{start, stop, {text_key}}}: fix it")
    stop_key = "end" if fields.get("stop") is None and "end" in fields else "stop"
    start, stop = (_number_of(fields.get(key)) for key in ("start", stop_key))
    for key, value in (("start", start), (stop_key, stop)):
        if value is None:
            raise InputError(f"{kind} {number} has the {key} {shortened(fields.get(key))}; {_EXPECTED}: fix it")
    assert start is not None and stop is not None
    text = fields.get(text_key)
    if start >= stop:
        raise InputError(f"{kind} {number} starts at {start:g} s, not before its {stop_key} at {stop:g} s: fix it")
    if not isinstance(text, str):
        raise InputError(f"{kind} {number} has the {text_key} {shortened(text)}; expected what was said, or '': fix it")
    return Segment(start, stop, text)


def letters(text: str) -> str:
    """What two spellings of a text share: its letters and figures in one case, without spaces and punctuation.

    >>> letters("Don't stop, ANN.")
    'dontstopann'
    """
    return "".join(symbol for symbol in text.casefold() if symbol.isalnum())


def _seconds(fields: dict[str, Any], key: str) -> float | None:
    value = fields.get(key)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    seconds = _number_of(value)
    if seconds is None:
        raise InputError(f"{key!r} is {shortened(value)}; {_EXPECTED}: fix it")
    return seconds


def _number_of(value: Any) -> float | None:
    """Seconds, as a number, its text "2.0", or hours, minutes and seconds; None of anything that is none, or below 0.

    >>> _number_of("00:01:02,5"), _number_of("1:02.5"), _number_of("1:02")
    (62.5, 62.5, None)
    """
    if isinstance(value, str):
        clock = _CLOCK.fullmatch(value.strip()) if ":" in value else None
        try:
            value = _clock_seconds(clock) if clock else float(value) if "_" not in value else None
        except ValueError:
            return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0.0 <= value < MAX_SECONDS else None


def _clock_seconds(clock: re.Match[str]) -> float:
    hours, minutes, seconds = (clock[1], clock[2], clock[3]) if clock[1] else ("0", clock[4], clock[5])
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds.replace(",", "."))


def shortened(value: Any) -> str:
    """A value as a message has room for it; str() of an integer of thousands of digits would raise."""
    return "a huge number" if isinstance(value, int) and abs(value) >= MAX_NUMBER else repr(value)[:80]
