"""The fields of one row, however a corpus names them -> an Utterance, or the reason why they make none.

One place knows the names, the types and what start, stop and duration mean together; readers hand over plain dicts.
"""

import os
import sys
from typing import Any, NamedTuple

from preprocessing.audio import StoredAudio
from preprocessing.corpus.segments import read_segments, refuse_beyond
from preprocessing.corpus.utterance import Utterance
from preprocessing.errors import InputError

TEXT_KEYS = ("text", "transcription", "transcript", "sentence", "normalized_text")  # as corpora name it, in this order
AUDIO_KEYS = ("audio", "file_name", "audio_filepath", "audio_path", "path", "file", "filename", "wav")
ID_KEYS = ("id", "utterance_id", "utt_id")
SPEAKER_KEYS = ("speaker", "speaker_id", "client_id")
SEX_KEYS = ("sex", "gender")
LANGUAGE_KEYS = ("language", "locale", "lang")
SEXES = {"f": "F", "female": "F", "female_feminine": "F", "woman": "F", "w": "F"} | {
    "m": "M",
    "male": "M",
    "male_masculine": "M",
    "man": "M",
}
DOMAIN_KEYS = ("domain",)
PATH_MAX = 4096  # bytes, of Linux
HUGE = 10**40  # no name has so many digits
LONGEST_SECONDS = 1e9  # thirty years
AGREES_SECONDS = 0.1  # how far start, stop and the length of the audio may lie apart


class Draft(NamedTuple):
    """An utterance whose duration is not known before its audio's header is read; `stated` is the manifest's."""

    utterance: Utterance
    stated: float | None


def read_fields(fields: dict[str, Any], folder: str) -> Utterance | Draft:
    """The utterance of a row, or its Draft where the row does not say how long it is. Opens no file.

    folder: what relative paths are relative to, with its separator at the end, or "".
    Raises InputError with the reason when the fields make no utterance.
    """
    get = fields.get
    text = get("text")
    if text.__class__ is not str:
        text = _text(fields)
    audio = get("audio")
    if audio.__class__ is not str or not 0 < len(audio) <= PATH_MAX or "\0" in audio:
        audio = find_audio(_first(fields, AUDIO_KEYS), fields, folder)
    elif folder and audio[0] != "/":
        audio = folder + audio
    stated = get("duration")
    if stated.__class__ is not float or not 0.0 < stated < LONGEST_SECONDS:
        stated = _stated(fields)
    if "start" in fields or "stop" in fields or "offset" in fields:
        start, stop = _part(fields, stated)
        duration = _duration(stated, start, stop)
    else:
        start, stop, duration = 0.0, None, stated
    segments = read_segments(fields["segments"], text) if "segments" in fields else ()
    if segments and duration is not None:
        refuse_beyond(segments, duration)
    utterance = Utterance(
        _id(fields, audio, start, stop),
        audio,
        text,
        duration or 0.0,
        _name(fields, SPEAKER_KEYS),
        _sex(fields),
        _name(fields, LANGUAGE_KEYS),
        _name(fields, DOMAIN_KEYS),
        start,
        stop,
        segments,
    )
    return Draft(utterance, stated) if duration is None else utterance


def _text(fields: dict[str, Any]) -> str:
    text = _first(fields, TEXT_KEYS)
    if not isinstance(text, str):
        raise InputError(f"no 'text' among {_listed(fields)}; expected what was said: add it, or '' for silence")
    return text


def _stated(fields: dict[str, Any]) -> float | None:
    stated = _seconds(fields, "duration")
    if stated == 0.0:
        raise InputError("'duration' is 0; expected seconds above 0: mend it, or leave it out")
    return stated


def _part(fields: dict[str, Any], stated: float | None) -> tuple[float, float | None]:
    start, stop = _seconds(fields, "start"), _seconds(fields, "stop")
    offset = None if start is not None else _seconds(fields, "offset")
    if offset is not None:  # NeMo's manifests: `duration` seconds from `offset` on
        start, stop = offset, None if stated is None else offset + stated
    if stop is not None and (start or 0.0) >= stop:
        raise InputError(_backwards(start or 0.0, stop))
    return start or 0.0, stop


def settled_duration(draft: Draft, length: float) -> float:
    """Seconds of the draft's part in audio that lasts `length` seconds, 0 where its container does not say.

    Raises InputError when start and stop, or segments, do not lie within it.
    """
    start, stop = draft.utterance.start, draft.utterance.stop
    length = length or draft.stated or 0.0
    if length == 0.0:
        raise InputError("its container does not say how long it is; expected 'duration' in the manifest: add it")
    if start >= (stop if stop is not None else length):
        raise InputError(_backwards(start, stop if stop is not None else length))
    if stop is not None and stop > length + AGREES_SECONDS:
        raise InputError(f"stop {stop:g} s lies beyond the audio's end at {length:.2f} s: mend stop")
    duration = (length if stop is None else min(stop, length)) - start
    refuse_beyond(draft.utterance.segments, duration)
    return duration


def find_audio(audio: Any, fields: dict[str, Any], folder: str) -> StoredAudio:
    """A path, or encoded bytes, or datasets' dict of both. Raises InputError on anything else."""
    if audio.__class__ is str and 0 < len(audio) <= PATH_MAX and "\0" not in audio:
        return audio if not folder or os.path.isabs(audio) else folder + audio
    if audio is None:
        raise InputError(f"no 'audio' among {_listed(fields)}; expected the path of an audio file: add it")
    if isinstance(audio, bytes):
        return audio
    if isinstance(audio, dict) and audio.keys() >= {"bytes", "path"}:
        content = audio["bytes"]
        return content if isinstance(content, bytes) else find_audio(audio["path"], fields, folder)
    raise InputError(f"'audio' is {_shown(audio)}; expected a path: mend it")


def _first(fields: dict[str, Any], keys: tuple[str, ...]) -> Any:
    for key in keys:
        value = fields.get(key)
        if value is not None:
            return value
    return None


def _duration(stated: float | None, start: float, stop: float | None) -> float | None:
    """Of the part, where the row alone tells it: a stated duration may be the part's or the whole file's."""
    if stated is None or (stop is None and start > 0.0):
        return None
    if stop is None:
        return stated
    if abs(stated - (stop - start)) <= AGREES_SECONDS:
        return stop - start
    if stop > stated + AGREES_SECONDS:
        raise InputError(f"stop {stop:g} s lies beyond the audio's end at {stated:.2f} s: mend stop or duration")
    return min(stop, stated) - start


def _backwards(start: float, end: float) -> str:
    return f"start {start:g} s is not before its end at {end:g} s: mend start and stop"


def _listed(fields: dict[str, Any]) -> str:
    return ", ".join(map(repr, list(fields)[:20])) or "no fields"


def _seconds(fields: dict[str, Any], key: str) -> float | None:
    value = fields.get(key)
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0.0 <= value < LONGEST_SECONDS:
        return float(value)
    raise InputError(f"{key!r} is {_shown(value)}; expected seconds from 0 up: mend it")


def _shown(value: Any) -> str:
    """A value as a sentence has room for it; str() of an integer of thousands of digits would raise."""
    return "a huge number" if isinstance(value, int) and abs(value) >= HUGE else repr(value)[:80]


def _id(fields: dict[str, Any], audio: StoredAudio, start: float, stop: float | None) -> str:
    """As given; else the file's name without suffix, with the part's milliseconds where it is a part."""
    given = fields.get("id")
    if given.__class__ is str and given:
        return given
    given = _name(fields, ID_KEYS)
    if given:
        return given
    named = audio if not isinstance(audio, bytes) else _name(fields, ("path",)) or ""
    stem = os.path.splitext(os.path.basename(os.fspath(named)))[0]
    if start == 0.0 and stop is None:
        return stem
    return f"{stem}-{round(start * 1000):07d}" + ("" if stop is None else f"-{round(stop * 1000):07d}")


def _name(fields: dict[str, Any], keys: tuple[str, ...]) -> str | None:
    """A name or number as a string; equal ones share one object, for a corpus repeats its few speakers a lot."""
    for key in keys:
        value = fields.get(key)
        if value.__class__ is str:
            if value:
                return sys.intern(value)
        elif value is not None:
            if not isinstance(value, int | float) or isinstance(value, bool) or abs(value) >= HUGE:
                raise InputError(f"{key!r} is {_shown(value)}; expected a name: mend it")
            return sys.intern(str(value))
    return None


def _sex(fields: dict[str, Any]) -> str | None:
    name = _name(fields, SEX_KEYS)
    return name if name is None or name in ("F", "M") else SEXES.get(name.lower(), name)
