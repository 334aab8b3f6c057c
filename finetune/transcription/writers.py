"""Transcripts as files: txt, srt, vtt and tsv by openai-whisper's writers, json with its names, Praat's TextGrid."""

import difflib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from finetune.systems.transcript import Transcript
from preprocessing.errors import UsageError

SUFFIXES = {"txt": ".txt", "json": ".json", "srt": ".srt", "vtt": ".vtt", "tsv": ".tsv", "textgrid": ".TextGrid"}
ALL = "all"  # as in Whisper's command
MIN_CUE_SECONDS = 0.5  # of a subtitle, where the next one leaves the room
VOICES = 0xF0000  # of the private use area from which a voice tag has a character until the lines are broken


@dataclass(frozen=True, slots=True)
class Subtitles:
    """How srt and vtt break lines and mark words; as Whisper's options of these names."""

    max_line_width: int | None = None
    max_line_count: int | None = None
    highlight_words: bool = False


def parse_formats(names: str) -> tuple[str, ...]:
    """The formats of a comma-separated --format, each once. Raises UsageError on an unknown one, or none."""
    given = [name.strip().lower() for name in names.split(",") if name.strip()]
    if not given:
        raise UsageError(f"--format is empty; expected {', '.join(SUFFIXES)} or {ALL}: name one or more")
    for name in given:
        if name not in SUFFIXES and name != ALL:
            near = difflib.get_close_matches(name, SUFFIXES, n=1)
            remedy = f"did you mean {near[0]}?" if near else "choose from them"
            raise UsageError(f"--format names {name!r}; expected {', '.join(SUFFIXES)} or {ALL}: {remedy}")
    return tuple(SUFFIXES) if ALL in given else tuple(dict.fromkeys(given))


def rendered(transcript: Transcript, format_name: str, seconds: float, subtitles: Subtitles | None = None) -> str:
    """The content of a file. format_name: a key of SUFFIXES. seconds: the recording's duration."""
    if format_name == "json":
        return json.dumps(transcript.as_dict(), ensure_ascii=False, indent=1) + "\n"
    if format_name == "textgrid":
        return textgrid(transcript, seconds)
    from whisper.utils import get_writer

    subtitles = subtitles or Subtitles()
    options: dict[str, Any] = {
        "max_line_width": subtitles.max_line_width,
        "max_line_count": subtitles.max_line_count,
        "highlight_words": subtitles.highlight_words,
    }
    speakers = list(dict.fromkeys(one.speaker for one in transcript.segments if one.speaker is not None))
    names = {speaker: _mark(speaker, number, format_name) for number, speaker in enumerate(speakers)}
    file = io.StringIO()
    writer: Any = get_writer(format_name, "")
    if format_name in ("srt", "vtt"):
        _keep_cues_readable(writer, seconds)
    writer.write_result(_with_speakers(transcript, names).as_dict(), file=file, options=options)
    content = file.getvalue()
    for speaker, mark in names.items():
        content = content.replace(f"<u>{mark}", f"{mark}<u>")  # a name is before the first word, and not spoken
        if format_name == "vtt":
            content = content.replace(mark, f"<v {speaker.replace('-->', '->')}>")  # as the writer does in texts
    return content


def _keep_cues_readable(writer: Any, seconds: float) -> None:
    """Let Whisper's writer of srt or vtt show short cues longer: MIN_CUE_SECONDS, but not beyond the start of the next
    cue and the end of the recording, and a millisecond at least, as WebVTT demands. Whisper's words may begin and end
    at one time.
    """
    as_text, cues_of = writer.format_timestamp, writer.iterate_result

    def iterate_result(*arguments: Any, **options: Any) -> Iterator[tuple[str, str, str]]:
        writer.format_timestamp = float
        cues = [(round(1000 * start), round(1000 * end), text) for start, end, text in cues_of(*arguments, **options)]
        writer.format_timestamp = as_text
        last = round(1000 * seconds)
        for (start, end, text), following in zip(cues, [*(start for start, _, _ in cues[1:]), last], strict=True):
            longer = max(end, start + 1, min(start + round(1000 * MIN_CUE_SECONDS), following, last))
            yield as_text(start / 1000), as_text(longer / 1000), text

    writer.iterate_result = iterate_result


def _with_speakers(transcript: Transcript, names: Mapping[str, str]) -> Transcript:
    """The transcript with the mark of its speaker before the text of each segment."""
    segments = []
    for segment in transcript.segments:
        if segment.speaker is not None:
            name = names[segment.speaker]
            words = segment.words or ()
            marked = tuple(replace(word, word=f" {name}{word.word.strip()}") for word in words[:1])
            spoken = None if segment.words is None else (*marked, *words[1:])
            segment = replace(segment, text=f"{name}{segment.text.strip()}", words=spoken)
        segments.append(segment)
    return replace(transcript, segments=tuple(segments))


def _mark(speaker: str, number: int, format_name: str) -> str:
    """What stands before the words of a speaker: `Ann: `; in vtt one character of a private use area, in place of a
    voice tag, which is not shown: it takes the room of this character in a line.
    """
    return chr(VOICES + number) if format_name == "vtt" else f"{speaker}: "


def textgrid(transcript: Transcript, seconds: float) -> str:
    """Praat's TextGrid in its long form, with the interval tiers words, where their times are known, and segments; of
    several speakers, with these two for each, named after them.

    Intervals are contiguous and a millisecond long at least, as Praat demands: what overlaps begins later.
    """
    tiers: dict[str, list[tuple[float, float, str]]] = {}
    for speaker in dict.fromkeys(segment.speaker for segment in transcript.segments) or (None,):
        segments = [segment for segment in transcript.segments if segment.speaker == speaker]
        words = [word for segment in segments for word in segment.words or ()]
        if words or not segments:
            name = "words" if speaker is None else f"{speaker} - words"
            tiers[name] = [(word.start, word.end, word.word) for word in words]
        tiers[speaker or "segments"] = [(segment.start, segment.end, segment.text) for segment in segments]
    laid = {name: _laid_out(spans) for name, spans in tiers.items()}
    last = max([round(seconds * 1000), 1, *(spans[-1][1] for spans in laid.values() if spans)])
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {last / 1000:.3f}"]
    lines += ["tiers? <exists>", f"size = {len(laid)}", "item []:"]
    for number, (name, spans) in enumerate(laid.items(), start=1):
        intervals = list(_without_gaps(spans, last))
        lines += [
            f"    item [{number}]:",
            '        class = "IntervalTier"',
            f'        name = "{_quoted(name)}"',
        ]
        lines += [
            "        xmin = 0",
            f"        xmax = {last / 1000:.3f}",
            f"        intervals: size = {len(intervals)}",
        ]
        for place, (start, end, text) in enumerate(intervals, start=1):
            lines += [f"        intervals [{place}]:", f"            xmin = {start / 1000:.3f}"]
            lines += [f"            xmax = {end / 1000:.3f}", f'            text = "{_quoted(text)}"']
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A text between Praat's quotation marks, of which one is written as two."""
    return text.replace('"', '""')


def _laid_out(spans: Sequence[tuple[float, float, str]]) -> list[tuple[int, int, str]]:
    """The spans in milliseconds, none of which begins before the end of the one before."""
    laid: list[tuple[int, int, str]] = []
    for start, end, text in spans:
        first = max(round(start * 1000), laid[-1][1] if laid else 0)
        laid.append((first, max(round(end * 1000), first + 1), " ".join(text.split())))
    return laid


def _without_gaps(spans: Sequence[tuple[int, int, str]], last: int) -> Iterator[tuple[int, int, str]]:
    """The spans with empty ones between them, from 0 to `last`."""
    at = 0
    for start, end, text in spans:
        if start > at:
            yield at, start, ""
        yield start, end, text
        at = end
    if at < last:
        yield at, last, ""
