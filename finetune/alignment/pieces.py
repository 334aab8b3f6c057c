"""An aligned long recording cut into pieces for training, each with a score, and the reason where it is doubtful.

CTC segmentation (Kürzinger et al. 2020, arXiv 2007.09127) scores an utterance by its worst stretch, because one wrong
word among many right ones hardly changes a mean. Here a stretch is a word, and its score is relative to what the model
hears there best (`AlignedWord.score`), so that speech that is hard altogether is not doubted.

Pieces are cut at the longest pauses, and wherever a star took speech that has no text, but never within a word as it is
written, such as 21 for TWENTY ONE. No model and no files here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from finetune.alignment.forced import AlignedWord, Alignment, StarSpan
from preprocessing.cli.options import check_ranges

PAD_SECONDS = 0.2  # kept of a pause, before a piece and after it


@dataclass(frozen=True)
class PieceOptions:
    """How an aligned recording is cut, and what is doubted.

    max_seconds, min_seconds: of a piece; shorter ones are joined with a neighbour where that is not too long.
    min_score: of a piece's worst word, 0 or less (`AlignedWord.score`). max_star_frames: frames of speech without text
    (`StarSpan`) that are taken for noise; with more, the recording is cut there, and what was spoken left out.
    """

    max_seconds: float = 10.0
    min_seconds: float = 1.0
    min_score: float = -3.0
    max_star_frames: int = 2

    def check(self) -> None:
        """Raises UsageError on a value that cannot be used."""
        check_ranges(
            ("--min_seconds", self.min_seconds, "0 or more", self.min_seconds >= 0),
            ("--max_seconds", self.max_seconds, "more than --min_seconds", self.max_seconds > self.min_seconds),
            ("--min_score", self.min_score, "0 or less", self.min_score <= 0),
            ("--max_star_frames", self.max_star_frames, "0 or more", self.max_star_frames >= 0),
        )


@dataclass(frozen=True, slots=True)
class TextPiece:
    """Words [first, stop) of a text from `start` to `end` seconds.

    score: of its worst word; 0 at best. reason: why it is doubtful, in one sentence; None where it is not.
    """

    first: int
    stop: int
    start: float
    end: float
    score: float
    reason: str | None

    @property
    def seconds(self) -> float:
        """Its duration."""
        return self.end - self.start


def cut(alignment: Alignment, seconds: float, options: PieceOptions, written: Sequence[str]) -> list[TextPiece]:
    """The pieces of an aligned recording of so many seconds; together they have every word once, in order.

    written: of each word of the alignment, what is written for it and the words after it that have "": "21" and "" for
    TWENTY ONE. No piece begins with a word that has "".
    """
    words = alignment.words
    stars = {span.before: span for span in alignment.untranscribed if span.n_frames > options.max_star_frames}
    may_begin = [bool(one) for one in written]
    stretches = [0, *sorted(before for before in stars if 0 < before < len(words) and may_begin[before]), len(words)]
    bounds: list[tuple[int, int]] = []
    for first, stop in pairwise(stretches):
        bounds += _split(words, first, stop, options, may_begin)
    pieces = []
    for first, stop in bounds:
        before = words[first - 1].end if first else 0.0
        after = words[stop].start if stop < len(words) else seconds
        before = max(before, stars[first].end) if first in stars else before
        after = min(after, stars[stop].start) if stop in stars else after
        start, end = words[first].start, words[stop - 1].end
        start -= min(max(start - before, 0.0) / 2, PAD_SECONDS)
        end = min(end + min(max(after - end, 0.0) / 2, PAD_SECONDS), seconds)
        worst = min(words[first:stop], key=lambda word: word.score)
        inner = [stars[place] for place in range(first + 1, stop) if place in stars]
        reason = _star_reason(inner[0], written) if inner else _reason(words, first, stop, start, end, options)
        pieces.append(TextPiece(first, stop, start, end, worst.score, reason))
    return pieces


def _split(
    words: Sequence[AlignedWord], first: int, stop: int, options: PieceOptions, may_begin: Sequence[bool]
) -> list[tuple[int, int]]:
    """Words [first, stop) at their longest pauses, of equal ones that nearest the middle, until no piece is longer than
    `max_seconds`, where that can be.
    """
    if words[stop - 1].end - words[first].start <= options.max_seconds - 2 * PAD_SECONDS:
        return [(first, stop)]
    places = [place for place in range(first + 1, stop) if may_begin[place]]
    roomy = [
        place
        for place in places
        if words[place - 1].end - words[first].start >= options.min_seconds
        and words[stop - 1].end - words[place].start >= options.min_seconds
    ]
    if not places:
        return [(first, stop)]
    middle = (words[first].start + words[stop - 1].end) / 2
    best = max(roomy or places, key=lambda place: (_pause(words, place), -abs(words[place].start - middle)))
    return [
        *_split(words, first, best, options, may_begin),
        *_split(words, best, stop, options, may_begin),
    ]


def _pause(words: Sequence[AlignedWord], place: int) -> int:
    """Frames from the last letter of the word before to the first of a word: the words' times reach into a pause, and
    leave nothing of a short one.
    """
    return words[place].units[0].first_frame - words[place - 1].units[-1].last_frame


def _star_reason(star: StarSpan, written: Sequence[str]) -> str:
    """Why a piece is doubtful within which a star took speech."""
    own = next((written[place] for place in range(star.before - 1, -1, -1) if written[place]), "")
    return (
        f"speech without text within {own.strip()!r} at {star.start:.2f} s; expected nothing between its words: write "
        "out all that is spoken there"
    )


def _reason(
    words: Sequence[AlignedWord], first: int, stop: int, start: float, end: float, options: PieceOptions
) -> str | None:
    """Why a piece is doubtful: a word that is not heard, or its length."""
    worst = min(words[first:stop], key=lambda word: word.score)
    if worst.score < options.min_score:
        return (
            f"{worst.text!r} at {worst.start:.2f} s does not match the model's output there (score {worst.score:.2f}); "
            f"expected {options.min_score:g} or more for every word: correct the text, or lower --min_score"
        )
    if end - start > options.max_seconds:
        return (
            f"lasts {end - start:.2f} s; expected at most {options.max_seconds:g} s, and there is no word to cut at: "
            "raise --max_seconds"
        )
    if end - start < options.min_seconds:
        return (
            f"lasts {end - start:.2f} s; expected {options.min_seconds:g} s or more, and speech without text is around "
            "it: lower --min_seconds"
        )
    return None
