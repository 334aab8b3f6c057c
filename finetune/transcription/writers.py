"""Transcripts as files: txt, srt, vtt and tsv by openai-whisper's writers, json with its names, Praat's TextGrid,
NIST's CTM, and manifests of segments to correct or to train on.
"""

import difflib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from finetune.systems.transcript import Segment, Transcript
from finetune.transcription.recordings import Recording
from preprocessing.errors import UsageError, counted
from preprocessing.storage.atomic_write import json_line

READ_ALONE = {"txt": ".txt", "json": ".json", "srt": ".srt", "vtt": ".vtt", "tsv": ".tsv", "textgrid": ".TextGrid"}
CTM, MANIFEST = "ctm", "manifest"
OF_SEVERAL = (CTM, MANIFEST)  # formats whose lines name their recording, so that files can be put together
SUFFIXES = READ_ALONE | {CTM: ".ctm", MANIFEST: ".manifest.jsonl"}
ALL = "all"  # as in Whisper's command: READ_ALONE
MIN_CUE_SECONDS = 0.5  # of a subtitle, where the next one leaves the room
VOICES = 0xF0000  # of the private use area from which a voice tag has a character until the lines are broken


@dataclass(frozen=True, slots=True)
class Subtitles:
    """How srt and vtt break lines and mark words; as Whisper's options of these names."""

    max_line_width: int | None = None
    max_line_count: int | None = None
    highlight_words: bool = False


@dataclass
class SegmentSelection:
    """Which segments go into manifests: those of `min_confidence` or more; None: all.

    n_segments, n_left_out: how many there were so far, and how many of them had less, or none.
    """

    min_confidence: float | None = None
    n_segments: int = 0
    n_left_out: int = 0

    def includes(self, segment: Segment) -> bool:
        """Whether the segment, which is counted, is to be written."""
        self.n_segments += 1
        is_certain = self.min_confidence is None or (segment.confidence or 0.0) >= self.min_confidence
        self.n_left_out += not is_certain
        return is_certain

    @property
    def note(self) -> str:
        """A sentence on what is left out."""
        return (
            f"--min_confidence {self.min_confidence:g}: {self.n_left_out:,} of {counted(self.n_segments, 'segment')} "
            f"{'is' if self.n_left_out == 1 else 'are'} left out of the manifest"
        )


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
    return tuple(dict.fromkeys(name for one in given for name in (READ_ALONE if one == ALL else (one,))))


def rendered(
    transcript: Transcript,
    format_name: str,
    seconds: float,
    subtitles: Subtitles | None = None,
    recording: Recording | None = None,
    selection: SegmentSelection | None = None,
) -> str:
    """The content of a file. format_name: a key of SUFFIXES. seconds: the recording's duration. recording: is named by
    the formats OF_SEVERAL. selection: of a manifest's segments; None: all.
    """
    if format_name in OF_SEVERAL:
        assert recording is not None, "these formats name it"
        if format_name == CTM:
            return ctm(transcript, recording)
        return manifest(transcript, recording, seconds, selection or SegmentSelection())
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
        ends = _readable_ends([(start, end) for start, end, _ in cues], round(1000 * seconds))
        for (start, _, text), end in zip(cues, ends, strict=True):
            yield as_text(start / 1000), as_text(end / 1000), text

    writer.iterate_result = iterate_result


def _readable_ends(spans: Sequence[tuple[int, int]], last: int) -> list[int]:
    """Where cues end that last MIN_CUE_SECONDS if there is room; all in milliseconds. last: the recording's end.

    >>> _readable_ends([(0, 0), (200, 300), (900, 2000)], 2000)
    [200, 700, 2000]
    """
    following = [*(start for start, _ in spans[1:]), last]
    return [
        max(end, start + 1, min(start + round(1000 * MIN_CUE_SECONDS), after, last))
        for (start, end), after in zip(spans, following, strict=True)
    ]


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


def ctm_name(recording: Recording) -> str:
    """What a CTM calls a recording: its file's name without folder, suffix and white space, which ends a field.

    >>> ctm_name(Recording(io.BytesIO(), "monday/call 1", "in/monday/call 1.wav"))
    'call_1'
    """
    return "_".join(Path(recording.name).name.encode("utf-8", "backslashreplace").decode().split())


def ctm(transcript: Transcript, recording: Recording) -> str:
    """NIST's CTM (infmts.htm of SCTK): a line `file channel start duration word confidence` for each word.

    In the order that sclite expects: by channel, then start. The channel is from 1 on, and 1 where all are mixed. The
    confidence is left out where the recogniser gives none.
    """
    lines = []
    for segment in transcript.segments:
        channel = _channel_of(segment, recording) or 0
        for word in segment.words or ():
            start, end = round(word.start, 3), round(word.end, 3)
            spelled = "_".join(word.word.split())
            confidence = "" if word.probability is None else f" {word.probability:.4f}"
            if spelled:
                lines.append((str(channel + 1), start, f"{max(end - start, 0.0):.3f} {spelled}{confidence}"))
    lines.sort(key=lambda line: line[:2])
    name = ctm_name(recording)
    return "".join(f"{name} {channel} {start:.3f} {rest}\n" for channel, start, rest in lines)


def manifest(transcript: Transcript, recording: Recording, seconds: float, selection: SegmentSelection) -> str:
    """A manifest (JSON Lines) of the segments, which are a subtitle's cues: audio, with its absolute path, start, stop,
    text and, where they are known, confidence, language, speaker and channel.
    """
    assert isinstance(recording.source, Path), "standard input is refused"
    path = str(recording.source.absolute())
    segments = [segment for segment in transcript.segments if segment.text.strip()]
    spans = [(round(1000 * segment.start), round(1000 * segment.end)) for segment in segments]
    lines = []
    for segment, (start, _), end in zip(segments, spans, _readable_ends(spans, round(1000 * seconds)), strict=True):
        if not selection.includes(segment):
            continue
        confidence = segment.confidence
        fields = {
            "audio": path,
            "start": start / 1000,
            "stop": end / 1000,
            "text": segment.text.strip(),
            "confidence": None if confidence is None else round(confidence, 4),
            "language": transcript.language,
            "speaker": segment.speaker,
            "channel": _channel_of(segment, recording),
        }
        known = {name: value for name, value in fields.items() if value is not None}
        lines.append(json_line(known))
    return "".join(lines)


def _channel_of(segment: Segment, recording: Recording) -> int | None:
    return recording.channel if segment.channel is None else segment.channel


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
