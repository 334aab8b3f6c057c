"""Recordings with annotation tiers beside them, of Praat (.TextGrid) or ELAN (.eaf): an interval is an utterance.

Read are tiers of utterances: in a TextGrid every interval tier but those of words and sounds, in an .eaf the tiers that
are aligned with time and belong to no other, so no translation or gloss of another tier.

Sources: https://www.fon.hum.uva.nl/praat/manual/TextGrid_file_formats.html (the long and the short format, which differ
in what stands between the values); the schema EAFv3.0.xsd of ELAN.
"""

import os
import re
from collections.abc import Iterator
from typing import NamedTuple
from xml.etree import ElementTree

from preprocessing.corpus.readers.rows import Row, Rows
from preprocessing.corpus.readers.subtitles import is_beside_audio, read_beside_audio

SUFFIXES = (".TextGrid", ".eaf")
MAX_FILE_BYTES = 2**28
# A TextGrid's values are its texts, in quotes doubled within, free-standing numbers and flags; all else is comment.
_VALUE = re.compile(r'"((?:[^"]|"")*)"|(?<!\S)([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)(?!\S)|<exists>|![^\n]*')
_OF_UTTERANCES = re.compile(r"(?:utterance|segment|sentence|phrase|transcript|transcription|text|ort)s?", re.IGNORECASE)
_WITHIN_UTTERANCES = re.compile(r"(?:.*[-_ ])?(?:word|phone|phoneme|segmental|syllable|syl|mau|kan)s?", re.IGNORECASE)


class _Interval(NamedTuple):
    start: float
    stop: float
    text: str


class _Tier(NamedTuple):
    name: str
    speaker: str | None
    intervals: list[_Interval]


class _UnreadableError(Exception):
    """The file is none of its format; the reason."""


def is_annotated(path: str) -> bool:
    """Whether the path is a TextGrid or an .eaf, or a folder with such beside an audio file, at any depth."""
    return is_beside_audio(path, SUFFIXES)


def read_annotated(path: str) -> Rows:
    """The labelled intervals of a TextGrid or an .eaf, or of all in a folder; their audio is beside them.

    talk.wav
    talk.TextGrid       or talk.eaf

    The speaker is the participant that ELAN names, else the tier's name where there are several tiers or it is no name
    of a kind of tier. Raises InputError when a file has no audio.
    """
    return read_beside_audio(path, SUFFIXES, _rows_of, "its tiers")


def _rows_of(path: str, audio: str) -> Iterator[Row]:
    try:
        if os.path.getsize(path) > MAX_FILE_BYTES:
            raise _UnreadableError(
                f"over {MAX_FILE_BYTES // 2**20} MiB; expected the tiers of one recording: divide it"
            )
        with open(path, "rb") as file:
            content = file.read()
        tiers = _elan_tiers(content) if path.lower().endswith(".eaf") else _praat_tiers(content)
        _check_different(tiers)
    except _UnreadableError as error:
        yield Row(path, 1, str(error))
        return
    intervals = [(interval, tier) for tier in tiers for interval in tier.intervals if interval.text]
    for number, (interval, tier) in enumerate(sorted(intervals, key=lambda pair: pair[0].start), start=1):
        fields = {"audio": audio, "start": interval.start, "stop": interval.stop, "text": interval.text}
        yield Row(path, number, fields | ({} if tier.speaker is None else {"speaker": tier.speaker}))


def _check_different(tiers: list[_Tier]) -> None:
    """Raises _UnreadableError where two tiers annotate the same speech, which would be taken for two speakers."""
    spans = [{interval[:2] for interval in tier.intervals if interval.text} for tier in tiers]
    for number, tier in enumerate(tiers):
        for other in range(number):
            shared = len(spans[number] & spans[other])
            if shared > 1 and 2 * shared >= min(len(spans[number]), len(spans[other])):
                raise _UnreadableError(
                    f"tiers {tiers[other].name!r} and {tier.name!r} have the same intervals; expected each to be what "
                    "another speaker said: remove the one that is no transcript"
                )


def _praat_tiers(content: bytes) -> list[_Tier]:
    is_16 = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        text = content.decode("utf-16" if is_16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise _UnreadableError(
            f"neither UTF-8 nor UTF-16 (byte {error.start}); expected one: save it so (Praat: Text writing preferences)"
        ) from None
    values = [found for found in _VALUE.finditer(text) if not found[0].startswith("!")]
    place = 0

    def next_value(kind: int) -> str:
        nonlocal place
        if place >= len(values) or values[place][kind] is None:
            raise _UnreadableError(f"no TextGrid at its value {place + 1}; expected Praat's text format: save it again")
        place += 1
        return values[place - 1][kind].replace('""', '"')

    if next_value(1).lower() != "ootextfile" or next_value(1).lower() != "textgrid":
        raise _UnreadableError("no TextGrid; expected 'ooTextFile' and 'TextGrid' first: save it in Praat as text")
    for _ in range(2):
        next_value(2)
    place += place < len(values) and values[place][0] == "<exists>"
    tiers: list[_Tier] = []
    names: list[str] = []
    for _ in range(int(float(next_value(2)))):
        kind, name = next_value(1), next_value(1).strip()
        for _ in range(2):
            next_value(2)
        n_intervals = int(float(next_value(2)))
        if kind != "IntervalTier":
            for _ in range(n_intervals):  # points
                next_value(2), next_value(1)
            continue
        intervals = [
            _Interval(float(next_value(2)), float(next_value(2)), " ".join(next_value(1).split()))
            for _ in range(n_intervals)
        ]
        names.append(name)
        if not _WITHIN_UTTERANCES.fullmatch(name) and any(interval.text for interval in intervals):
            tiers.append(_Tier(name, None, intervals))
    if names and not tiers:
        raise _UnreadableError(
            f"no utterance in the tiers {', '.join(map(repr, names[:10]))}; expected an interval tier of utterances, "
            "beside those of words and sounds: add one"
        )
    return [tier._replace(speaker=_speaker_by_name(tier.name, len(tiers))) for tier in tiers]


def _elan_tiers(content: bytes) -> list[_Tier]:
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise _UnreadableError(f"not XML ({error}); expected an .eaf: save it in ELAN again") from None
    times = {slot.get("TIME_SLOT_ID"): slot.get("TIME_VALUE") for slot in root.iterfind("TIME_ORDER/TIME_SLOT")}
    found = []
    for element in root.iterfind("TIER"):
        aligned = element.findall("ANNOTATION/ALIGNABLE_ANNOTATION")
        if element.get("PARENT_REF") is None and aligned:
            name = (element.get("TIER_ID") or "").strip()
            participant = (element.get("PARTICIPANT") or "").strip()
            found.append(_Tier(name, participant or None, [_elan_interval(one, times) for one in aligned]))
    if root.tag != "ANNOTATION_DOCUMENT" or not found:
        raise _UnreadableError(
            "no annotation that is aligned with time; expected an .eaf with a tier of utterances: add one in ELAN"
        )
    return [tier._replace(speaker=tier.speaker or _speaker_by_name(tier.name, len(found))) for tier in found]


def _elan_interval(element: ElementTree.Element, times: dict[str | None, str | None]) -> _Interval:
    """An annotation, whose times are milliseconds."""
    try:
        start, stop = (int(times[element.get(f"TIME_SLOT_REF{end}")] or "") / 1000 for end in (1, 2))
    except (KeyError, ValueError):
        raise _UnreadableError(
            f"annotation {element.get('ANNOTATION_ID')!r} has no time; expected milliseconds at both ends: align it"
        ) from None
    return _Interval(start, stop, " ".join((element.findtext("ANNOTATION_VALUE") or "").split()))


def _speaker_by_name(name: str, n_tiers: int) -> str | None:
    is_kind = _OF_UTTERANCES.fullmatch(name) or name.lower() in ("", "default", "default-lt")
    return None if is_kind and n_tiers == 1 else name or None
