"""What a recogniser makes of a recording: its text, and segments and words with their times.

Names are openai-whisper's, so that its writers and the readers of its JSON take them. Of a recogniser that gives words
without segments, as CTC models do, `segments_of` makes segments as subtitles want them; `fitted` makes those of others
so.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from preprocessing.text.languages import is_unspaced

PAUSE_SECONDS = 0.8  # a pause that ends a segment
MAX_SEGMENT_SECONDS = 7.0  # as subtitles are commonly limited: seven seconds, two lines of 42 characters
MAX_SEGMENT_CHARACTERS = 84
SEAM_CHARACTERS = 4  # on each side of a join, that say which script it is in: letters, and perhaps a full stop
SENTENCE_ENDS, CLAUSE_ENDS = ".?!。？！…", ",;:、，"  # of words that come with punctuation
SENTENCE_END_SECONDS, CLAUSE_END_SECONDS = 0.5, 0.2  # of pause that they count as


@dataclass(frozen=True, slots=True)
class Word:
    """A word with the space before it, where the language writes one, from `start` to `end` seconds.

    probability: how certain the recogniser is of it, 0 to 1; None where it does not say.
    """

    word: str
    start: float
    end: float
    probability: float | None


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech from `start` to `end` seconds. words: None where their times are not known.

    speaker, channel: who speaks, and in which channel, from 0, where each speaker has one.
    """

    start: float
    end: float
    text: str
    words: tuple[Word, ...] | None = None
    speaker: str | None = None
    channel: int | None = None

    @property
    def confidence(self) -> float | None:
        """The lowest probability of its words, 0 to 1; None where they have none."""
        return lowest_probability(self.words or ())


@dataclass(frozen=True, slots=True)
class Transcript:
    """A recording's text and its segments in order. language: a code, such as "de"; None where nobody says."""

    text: str
    segments: tuple[Segment, ...] = ()
    language: str | None = None

    @classmethod
    def of_text(cls, text: str, seconds: float, language: str | None = None) -> "Transcript":
        """The transcript of a recogniser that gives no times: one segment, or none where there is no text."""
        return cls(text, (Segment(0.0, seconds, text),) if text else (), language)

    @classmethod
    def of_words(cls, text: str, words: Sequence[Word], language: str | None = None) -> "Transcript":
        """The transcript of a recogniser that gives words with times."""
        return cls(text, segments_of(words), language)

    @property
    def confidence(self) -> float | None:
        """The lowest probability of its words, 0 to 1; None where the recogniser gives none, or there is no text."""
        return lowest_probability(word for segment in self.segments for word in segment.words or ())

    def shifted(self, seconds: float) -> "Transcript":
        """The same, so many seconds later."""
        moved = []
        for segment in self.segments:
            words = None if segment.words is None else tuple(
                replace(word, start=word.start + seconds, end=word.end + seconds) for word in segment.words
            )  # fmt: skip
            moved.append(replace(segment, start=segment.start + seconds, end=segment.end + seconds, words=words))
        return replace(self, segments=tuple(moved))

    def as_dict(self) -> dict[str, Any]:
        """JSON with openai-whisper's names: text, segments of id, start, end, text and words, and language."""
        return {
            "text": self.text,
            "segments": [
                {
                    "id": number,
                    "start": round(segment.start, 3),
                    "end": round(segment.end, 3),
                    "text": segment.text,
                    **({} if segment.speaker is None else {"speaker": segment.speaker}),
                    **({} if segment.words is None else {"words": [_word_dict(word) for word in segment.words]}),
                }
                for number, segment in enumerate(self.segments)
            ],
            "language": self.language,
        }


def lowest_probability(words: Iterable[Word]) -> float | None:
    """The probability of the word that the recogniser is least certain of; None where no word has one.

    >>> lowest_probability([Word(" TURN", 0.0, 0.5, 0.9), Word(" LEFT", 0.5, 1.0, 0.4)])
    0.4
    """
    return min((word.probability for word in words if word.probability is not None), default=None)


def joined(parts: Sequence[Transcript]) -> Transcript:
    """The parts of one recording, each with its own times, as one.

    There is a space between them, except in scripts that are written without. The language is the first part's.
    """
    text = ""
    for own in filter(None, (part.text.strip() for part in parts)):
        is_seamless = is_unspaced(text[-SEAM_CHARACTERS:]) and is_unspaced(own[:SEAM_CHARACTERS])
        text += own if is_seamless or not text else f" {own}"
    segments = tuple(segment for part in parts for segment in part.segments)
    language = next((part.language for part in parts if part.language is not None), None)
    return Transcript(text, segments, language)


def segments_of(words: Sequence[Word]) -> tuple[Segment, ...]:
    """Words in segments that end at pauses of PAUSE_SECONDS, and hold no more than MAX_SEGMENT_SECONDS and
    MAX_SEGMENT_CHARACTERS, or one word: a longer one is cut at the longest pause in its middle half, where the ends of
    sentences and clauses count as pauses.

    >>> [one.text for one in segments_of([Word(" YES", 0.0, 0.5, 0.9), Word(" NO", 1.5, 2.0, 0.8)])]
    [' YES', ' NO']
    """
    runs: list[list[Word]] = []
    for place, word in enumerate(words):
        if not runs or word.start - words[place - 1].end >= PAUSE_SECONDS:
            runs.append([])
        runs[-1].append(word)
    return tuple(segment for run in runs for segment in _cut(run))


def fitted(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    """Segments in order, of a recogniser that makes its own: those that are too long become segments of their words
    (`segments_of`), where these have times, and none ends after the next one begins.

    >>> [one.end for one in fitted([Segment(0.0, 2.1, " YES"), Segment(2.0, 3.0, " NO")])]
    [2.0, 3.0]
    """
    found = [part for one in segments for part in (segments_of(one.words) if one.words and _is_long(one) else [one])]
    return (*(_ending_by(after.start, one) for one, after in pairwise(found)), *found[-1:])


def _ending_by(latest: float, segment: Segment) -> Segment:
    """The segment, with no time of its words after `latest` seconds; it ends at its start where that is later."""
    if segment.end <= latest:
        return segment
    words = segment.words and tuple(
        replace(word, start=min(word.start, latest), end=min(word.end, latest)) for word in segment.words
    )
    return replace(segment, end=max(segment.start, latest), words=words)


def _is_long(segment: Segment) -> bool:
    seconds, characters = segment.end - segment.start, len(segment.text.strip())
    return seconds > MAX_SEGMENT_SECONDS or characters > MAX_SEGMENT_CHARACTERS


def _cut(words: Sequence[Word]) -> list[Segment]:
    segment = Segment(words[0].start, words[-1].end, "".join(word.word for word in words), tuple(words))
    if len(words) == 1 or not _is_long(segment):
        return [segment]
    quarter = len(words) // 4
    places = range(max(quarter, 1), max(len(words) - quarter, 2))
    pauses = [_pause(before, after) for before, after in pairwise(words)]  # before word 1, 2, ...
    middle = len(words) / 2
    cut = max(places, key=lambda place: (pauses[place - 1], -abs(place - middle)))
    return _cut(words[:cut]) + _cut(words[cut:])


def _pause(before: Word, after: Word) -> float:
    """Seconds between two words, more where a sentence or clause ends between them."""
    last = before.word.rstrip("\"')”’»")[-1:]
    extra = 0.0
    if last and last in SENTENCE_ENDS:
        extra = SENTENCE_END_SECONDS
    elif last and last in CLAUSE_ENDS:
        extra = CLAUSE_END_SECONDS
    return after.start - before.end + extra


def _word_dict(word: Word) -> dict[str, Any]:
    probability = {} if word.probability is None else {"probability": round(word.probability, 4)}
    return {"word": word.word, "start": round(word.start, 3), "end": round(word.end, 3), **probability}
