"""Recordings with annotation tiers beside them, of Praat (.TextGrid) or ELAN (.eaf): an interval is an utterance.

Read are tiers of utterances: in a TextGrid every interval tier but those of words and sounds, in an .eaf the tiers that
are aligned with time and belong to no other, so no translation or gloss of another tier. Where such a tier numbers the
sentences (ref), the transcript is the tier tx that depends on it.

Sources: https://www.fon.hum.uva.nl/praat/manual/TextGrid_file_formats.html (the long and the short format, which differ
in what stands between the values); the schema EAFv3.0.xsd of ELAN.
"""

import functools
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import unquote
from xml.etree import ElementTree

from preprocessing.corpus.readers.rows import Row, Rows
from preprocessing.corpus.readers.subtitles import is_beside_audio, read_beside_audio

SUFFIXES = (".TextGrid", ".eaf")
MAX_FILE_BYTES = 2**28
# A TextGrid's values are its texts, in quotes doubled within, free-standing numbers and flags; all else is comment.
_VALUE = re.compile(r'"((?:[^"]|"")*)"|(?<!\S)([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)(?!\S)|<exists>|![^\n]*')
_OF_UTTERANCES = re.compile(
    r"(?:utterance|segment|sentence|phrase|transcript|transcription|text|ort|annotation|silence|speech|label)s?"
    r"|orthography|default(?:-lt)?|txt?|ref",
    re.IGNORECASE,
)
_TRANSCRIPT = re.compile(r"txt?(?![^\W\d_]).*", re.IGNORECASE)  # below a tier of ELAN that numbers the sentences
_SILENCES, _SILENCE_LABELS = "silences", ("silent", "sounding")  # of Praat's "To TextGrid (silences)"
_NUMBER_OF_SENTENCE = re.compile(r"\S*\d\S*")
_WITHIN_UTTERANCES = re.compile(r"(?:.*[-_ ])?(?:word|phone|phoneme|segmental|syllable|syl|mau|kan)s?", re.IGNORECASE)


class _Interval(NamedTuple):
    start: float
    stop: float
    text: str


class _Tier(NamedTuple):
    name: str
    participant: str | None
    intervals: list[_Interval]


_Files = dict[tuple[str | None, ...], set[str]]
"""Paths of files by the speakers that their tiers name."""


class _UnreadableError(Exception):
    """The file is none of its format; the reason."""


def is_annotated(path: str) -> bool:
    """Whether the path is a TextGrid or an .eaf, or a folder with such beside an audio file, at any depth."""
    return is_beside_audio(path, SUFFIXES, linked=_media)


def read_annotated(path: str) -> Rows:
    """The labelled intervals of a TextGrid or an .eaf, or of all in a folder; their audio is beside them.

    talk.wav
    talk.TextGrid       or talk.eaf

    The audio of an .eaf without one of its name is the media that it links, looked up beside it. The speaker is the
    participant that ELAN names, else the tier's name where there are several tiers, or it is no name of a kind of tier
    and not that of the one tier of all files. Raises InputError when a file has no audio.
    """
    files: _Files = defaultdict(set)
    rows = read_beside_audio(path, SUFFIXES, functools.partial(_rows_of, files=files), "its tiers", linked=_media)
    return rows._replace(rows=_without_common_name(rows.rows, files))


def _without_common_name(rows: Iterator[Row], files: _Files) -> Iterator[Row]:
    """The rows, without the speaker where all of several files have one tier of the same name: a kind of tier.

    files: those whose rows have come, as `_rows_of` notes them.
    """
    waiting: list[Row] = []
    for row in rows:
        waiting.append(row)
        if len(files) > 1 or any(len(speakers) > 1 for speakers in files):
            yield from waiting
            yield from rows
            return
    alike = next(iter(files.values()), set[str]())
    for row in waiting:
        if len(alike) > 1 and row.source in alike and isinstance(row.fields, dict):
            del row.fields["speaker"]
        yield row


def _rows_of(path: str, audio: str, files: _Files) -> Iterator[Row]:
    """The rows of a file. files: takes its path by its speakers, where the name of a tier is one."""
    try:
        if os.path.getsize(path) > MAX_FILE_BYTES:
            raise _UnreadableError(
                f"over {MAX_FILE_BYTES // 2**20} MiB; expected the tiers of one recording: divide it"
            )
        with open(path, "rb") as file:
            content = file.read()
        tiers = _elan_tiers(content, audio) if path.lower().endswith(".eaf") else _praat_tiers(content)
        _check_different(tiers)
    except _UnreadableError as error:
        yield Row(path, 1, str(error))
        return
    speakers = [tier.participant or _speaker_by_name(tier.name, len(tiers)) for tier in tiers]
    if any(speaker is not None and tier.participant is None for speaker, tier in zip(speakers, tiers, strict=True)):
        files[tuple(speakers)].add(path)
    intervals = [
        (interval, speaker)
        for tier, speaker in zip(tiers, speakers, strict=True)
        for interval in tier.intervals
        if interval.text
    ]
    for number, (interval, speaker) in enumerate(sorted(intervals, key=lambda pair: pair[0].start), start=1):
        fields = {"audio": audio, "start": interval.start, "stop": interval.stop, "text": interval.text}
        yield Row(path, number, fields | ({} if speaker is None else {"speaker": speaker}))


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
        if name.lower() == _SILENCES:
            intervals = [one for one in intervals if one.text.lower() not in _SILENCE_LABELS]
        if not _WITHIN_UTTERANCES.fullmatch(name) and any(interval.text for interval in intervals):
            tiers.append(_Tier(name, None, intervals))
    if names and not tiers:
        raise _UnreadableError(
            f"no utterance in the tiers {', '.join(map(repr, names[:10]))}; expected an interval tier of utterances, "
            "beside those of words and sounds: add one"
        )
    return tiers


def _media(path: str) -> Sequence[str]:
    """Names of the media files that an .eaf links; none of another file, or where it is none."""
    if not path.lower().endswith(".eaf"):
        return ()
    names = []
    with suppress(ElementTree.ParseError, ValueError, LookupError, OSError), open(path, "rb") as file:
        for _, element in ElementTree.iterparse(file):
            if element.tag == "MEDIA_DESCRIPTOR":
                names += _media_names(element)
            elif element.tag == "HEADER":
                break
    return names


def _media_names(descriptor: ElementTree.Element) -> list[str]:
    urls = (descriptor.get(key) or "" for key in ("RELATIVE_MEDIA_URL", "MEDIA_URL"))
    return [name for url in urls if (name := re.split(r"[/\\]", unquote(url))[-1])]


def _origin(root: ElementTree.Element, audio: str) -> int:
    """The milliseconds into the audio at which an .eaf's time begins: those of the media of its name, else of the only
    one.
    """
    descriptors = root.findall("HEADER/MEDIA_DESCRIPTOR")
    stem = os.path.splitext(os.path.basename(audio))[0]
    named = [one for one in descriptors if os.path.basename(audio) in _media_names(one)] or [
        one for one in descriptors if stem in (os.path.splitext(name)[0] for name in _media_names(one))
    ]
    chosen = named[:1] or (descriptors if len(descriptors) == 1 else [])
    try:
        return int(chosen[0].get("TIME_ORIGIN") or 0) if chosen else 0
    except ValueError:
        return 0


def _elan_tiers(content: bytes, audio: str) -> list[_Tier]:
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise _UnreadableError(f"not XML ({error}); expected an .eaf: save it in ELAN again") from None
    times = {slot.get("TIME_SLOT_ID"): slot.get("TIME_VALUE") for slot in root.iterfind("TIME_ORDER/TIME_SLOT")}
    origin = _origin(root, audio)
    found = []
    for element in root.iterfind("TIER"):
        aligned = element.findall("ANNOTATION/ALIGNABLE_ANNOTATION")
        if element.get("PARENT_REF") is None and aligned:
            intervals = {one.get("ANNOTATION_ID"): _elan_interval(one, times, origin) for one in aligned}
            tier = _elan_tier(element, list(intervals.values()))
            below = [one for one in root.iterfind("TIER") if one.get("PARENT_REF") == element.get("TIER_ID")]
            transcript = _transcript_below(tier, below)
            if transcript is not None:
                own = transcript.findall("ANNOTATION/ALIGNABLE_ANNOTATION")
                said = [_elan_interval(one, times, origin) for one in own] or _referring(transcript, intervals)
                participant = tier.participant
                tier = _elan_tier(transcript, said)
                tier = tier._replace(participant=tier.participant or participant)
            found.append(tier)
    if root.tag != "ANNOTATION_DOCUMENT" or not found:
        raise _UnreadableError(
            "no annotation that is aligned with time; expected an .eaf with a tier of utterances: add one in ELAN"
        )
    return found


def _elan_tier(element: ElementTree.Element, intervals: list[_Interval]) -> _Tier:
    name, participant = ((element.get(key) or "").strip() for key in ("TIER_ID", "PARTICIPANT"))
    return _Tier(name, participant or None, intervals)


def _transcript_below(tier: _Tier, below: list[ElementTree.Element]) -> ElementTree.Element | None:
    """Of the tiers that depend on a tier, the one that is its transcript, or None where it is its own: where it is not
    named ref, and has texts that are no numbers of sentences.

    Raises _UnreadableError where several are named as a transcript, or none is and the texts are such numbers.
    """
    names = [(one.get("TIER_ID") or "").strip() for one in below]
    transcripts = [one for one, name in zip(below, names, strict=True) if _TRANSCRIPT.fullmatch(name)]
    texts = [interval.text for interval in tier.intervals if interval.text]
    are_numbers = len(set(texts)) == len(texts) > 0 and all(map(_NUMBER_OF_SENTENCE.fullmatch, texts))
    if texts and not are_numbers and tier.name.partition("@")[0].lower() != "ref":
        return None
    if len(transcripts) == 1:
        return transcripts[0]
    if transcripts or (below and are_numbers and not _TRANSCRIPT.fullmatch(tier.name)):
        raise _UnreadableError(
            f"tier {tier.name!r}, on which {', '.join(map(repr, names[:10]))} depend, "
            + ("has several transcripts" if transcripts else f"has numbers of sentences such as {texts[0]!r:.40}")
            + "; expected the transcript in one tier below it that is named tx: rename it in ELAN"
        )
    return None


def _referring(element: ElementTree.Element, intervals: dict[str | None, _Interval]) -> list[_Interval]:
    """The texts of a tier's annotations over the intervals of those that they refer to."""
    texts: dict[str | None, list[str]] = {}
    for one in element.iterfind("ANNOTATION/REF_ANNOTATION"):
        texts.setdefault(one.get("ANNOTATION_REF"), []).extend((one.findtext("ANNOTATION_VALUE") or "").split())
    return [interval._replace(text=" ".join(texts[name])) for name, interval in intervals.items() if name in texts]


def _elan_interval(element: ElementTree.Element, times: dict[str | None, str | None], origin: int) -> _Interval:
    """An annotation, whose times are milliseconds."""
    try:
        start, stop = ((int(times[element.get(f"TIME_SLOT_REF{end}")] or "") + origin) / 1000 for end in (1, 2))
    except (KeyError, ValueError):
        raise _UnreadableError(
            f"annotation {element.get('ANNOTATION_ID')!r} has no time; expected milliseconds at both ends: align it"
        ) from None
    return _Interval(start, stop, " ".join((element.findtext("ANNOTATION_VALUE") or "").split()))


def _speaker_by_name(name: str, n_tiers: int) -> str | None:
    """The name, without the kind of tier before an @ (tx@Ann); None of an only tier that is named after its kind.

    >>> [_speaker_by_name(name, 1) for name in ("Ann", "tx@Ann", "annotations")]
    ['Ann', 'Ann', None]
    """
    kind, _, person = name.partition("@")
    if person and _OF_UTTERANCES.fullmatch(kind):
        return person
    return None if _OF_UTTERANCES.fullmatch(name) and n_tiers == 1 else name or None
