"""Forced alignment: when each unit and word of a text is spoken, from the log-probabilities of a CTC model.

The text's best CTC path is found by the Viterbi algorithm over blanks and labels in turn (Graves et al. 2006, section
4; Kürzinger et al. 2020, "CTC-Segmentation"). Short recordings go to torchaudio's `forced_align`; longer ones, and
texts with stars, to `viterbi`, whose memory does not grow with the recording.

Chinese, Japanese, Thai, Lao, Burmese and Khmer have no spaces between words. Where asked for, each of their characters,
with the marks that are combined with it, is a word of the alignment.

A star is a place in the text where speech may have no text. There, a frame costs at most `star_log_prob` against its
best unit, whichever that is. Stars are marked by the word * in a text, or stand between all words.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from finetune.alignment.viterbi import IMPOSSIBLE, STAR_LOG_PROB, viterbi
from finetune.decoding.frame_times import FrameTimes
from finetune.decoding.greedy import collapse
from preprocessing.errors import InputError
from preprocessing.text.languages import around_unspaced, is_unspaced
from preprocessing.units import Vocabulary, frames_needed

START_SECONDS, END_SECONDS = 0.08, 0.12  # that a word is spoken before its first letter, and after its last
STAR = "*"
STAR_LABEL = -1  # on a path of units
TORCHAUDIO_CELLS = 1 << 24  # frames * labels up to which torchaudio aligns: it holds a byte or two for each

Stars: TypeAlias = Literal["marked", "everywhere"]


@dataclass(frozen=True, slots=True)
class AlignedUnit:
    """A unit of the text on the frames first_frame to last_frame, from `start` to `end` seconds.

    label: its id. probability: mean over its frames of what the model gives it.
    """

    text: str
    label: int
    start: float
    end: float
    first_frame: int
    last_frame: int
    probability: float


@dataclass(frozen=True, slots=True)
class AlignedWord:
    """A word of the text, spoken from `start` to `end` seconds.

    A CTC model writes a letter within its sound, most often in one frame, so that a word is longer than from its first
    unit's first frame to its last unit's last frame: by START_SECONDS and END_SECONDS, or half of the pause to the next
    word where that is shorter (experiments.alignment). The times of `units` are those of their frames.

    probability: mean over the frames of its units. score: how much more the model likes what it hears there best than
    this word, by unit: the path's log-probability minus that of each frame's best unit, summed over the word's frames,
    blanks included, and divided by its units. 0 where the greedy path has exactly this word; natural logarithm.

    follows_space: false of a character that is written without a space after the one before.
    """

    text: str
    start: float
    end: float
    units: tuple[AlignedUnit, ...]
    probability: float
    score: float
    follows_space: bool = True


@dataclass(frozen=True)
class Alignment:
    """A text on a recording.

    words: in order. path: the unit of each frame [frames]; STAR_LABEL where the frame is speech without text. log_prob:
    the path's, natural, without the frames of stars. untranscribed: where stars have frames.
    """

    words: tuple[AlignedWord, ...]
    path: Tensor
    log_prob: float
    untranscribed: tuple["StarSpan", ...] = ()


@dataclass(frozen=True, slots=True)
class StarSpan:
    """Speech without text before word number `before`, from `start` to `end` seconds.

    n_frames: frames in it that blanks do not explain: one for each unit that is spoken, or a few.
    """

    before: int
    start: float
    end: float
    n_frames: int


def align(
    log_probs: Tensor,
    text: str,
    vocabulary: Vocabulary,
    times: FrameTimes,
    *,
    stars: Stars = "marked",
    star_log_prob: float = STAR_LOG_PROB,
    splits_unspaced: bool = False,
) -> Alignment:
    """A normalised text on a recording's frames.

    log_probs: [frames, units], natural logarithms, on the CPU. text: words, and * where speech has no text.
    times: of the model's frames. stars: where speech may have no text: at each * alone, or between all words as well.
    splits_unspaced: whether characters of scripts that are written without spaces between words are words.
    Raises InputError where the text is empty, has characters that are no unit, or needs more frames than there are,
    and where log-probabilities are not numbers.
    """
    words = check_text(text, vocabulary)
    ids = vocabulary.encode(" ".join(words))
    slots = _marked_slots(text.split(), word_starts(ids, vocabulary), len(ids))
    if stars == "everywhere":
        slots |= {*word_starts(ids, vocabulary, splits_unspaced=splits_unspaced), len(ids)}
    return align_labels(
        log_probs, ids, vocabulary, times, star_slots=sorted(slots), star_log_prob=star_log_prob,
        splits_unspaced=splits_unspaced,
    )  # fmt: skip


def check_text(text: str, vocabulary: Vocabulary) -> list[str]:
    """The words of a normalised text, without *. Raises InputError where there is none, or one that the model cannot
    write: to be called before an hour of audio is computed.
    """
    words = [word for word in text.split() if word != STAR]
    if not words:
        raise InputError("the text has no words; expected the words that are spoken: check the transcript and profile")
    outside = vocabulary.outside([" ".join(words)])
    if outside:
        listed = ", ".join(f"{character!r}" for character, _ in outside.most_common(8))
        raise InputError(
            f"the text has {listed}, which the model's units cannot spell; expected text that they can: spell numbers "
            "out with a profile of the model and the language, such as --profile ctc:runs/yours:en, or take them out "
            "of the text"
        )
    return words


def align_greedy(
    log_probs: Tensor, vocabulary: Vocabulary, times: FrameTimes, *, splits_unspaced: bool = False
) -> Alignment:
    """The greedy transcript with its times: the best unit of each frame is the best path of what it collapses to."""
    _check_numbers(log_probs)
    path = log_probs.argmax(dim=-1)
    labels = collapse(path, vocabulary.blank)
    states = _states_of_path(path, vocabulary.blank)
    return _described(log_probs, labels, states, vocabulary, times, (), splits_unspaced=splits_unspaced)


def align_labels(
    log_probs: Tensor,
    labels: Sequence[int],
    vocabulary: Vocabulary,
    times: FrameTimes,
    *,
    star_slots: Sequence[int] = (),
    star_log_prob: float = STAR_LOG_PROB,
    splits_unspaced: bool = False,
) -> Alignment:
    """Collapsed labels, such as those of a search, on a recording's frames; see `align`.

    star_slots: before which of the labels (their number: after the last) speech may have no label.
    """
    _check_numbers(log_probs)
    needed = frames_needed(labels)
    if needed > len(log_probs):
        raise InputError(
            f"the text needs {needed} frames and the recording has {len(log_probs)} "
            f"({times.duration(len(log_probs)):.2f} s); expected at least as many: check that text and recording "
            "belong together"
        )
    if not star_slots and labels and len(log_probs) * (2 * len(labels) + 1) <= TORCHAUDIO_CELLS:
        states = _torchaudio_states(log_probs, labels, vocabulary.blank)
    else:
        states = viterbi(log_probs, labels, vocabulary.blank, star_slots=star_slots, star_log_prob=star_log_prob)
    return _described(log_probs, labels, states, vocabulary, times, star_slots, star_log_prob, splits_unspaced)


def word_starts(labels: Sequence[int], vocabulary: Vocabulary, *, splits_unspaced: bool = False) -> list[int]:
    """The place in `labels` of each word's first unit that has letters.

    splits_unspaced: whether characters of scripts that are written without spaces between words, and what stands after
    one, are words.
    """
    starts, open_word, before = [], False, ""
    for place, label in enumerate(labels):
        if label == vocabulary.boundary:
            open_word = False
        elif label not in vocabulary.silent:
            text = vocabulary.units[label].strip()
            splits = splits_unspaced and _begins_unspaced(text, before)
            if splits or not open_word or vocabulary.begins_word(label):
                starts.append(place)
            open_word = True
            before = before if _is_mark(text) else text
    return starts


def split_unspaced(text: str) -> list[str]:
    """The words of a normalised text as `align` makes them with `splits_unspaced`, where units are characters.

    >>> split_unspaced("今天 ok了")
    ['今', '天', 'ok', '了']
    """
    words: list[str] = []
    for word in text.split():
        if around_unspaced(word) == word:
            words.append(word)
            continue
        before = ""
        for place, character in enumerate(word):
            if place == 0 or _begins_unspaced(character, before):
                words.append(character)
            else:
                words[-1] += character
            before = before if _is_mark(character) else character
    return words


def spells_characters(vocabulary: Vocabulary) -> bool:
    """Whether units of scripts that are written without spaces between words are characters, and there are any."""
    unspaced = [unit.strip() for unit in vocabulary.units if is_unspaced(unit)]
    return bool(unspaced) and max(map(len, unspaced)) == 1


def _begins_unspaced(text: str, before: str) -> bool:
    """Whether a unit begins a word, as one of a script that is written without spaces, or after one."""
    return not _is_mark(text) and (is_unspaced(text) or is_unspaced(before))


def _is_mark(text: str) -> bool:
    """Whether a unit is combined with the one before; one of spaces alone is taken for a mark."""
    return unicodedata.category(text[0])[0] == "M" if text else True


def _torchaudio_states(log_probs: Tensor, labels: Sequence[int], blank: int) -> NDArray[np.int32]:
    from torchaudio.functional import forced_align

    path, _ = forced_align(log_probs.float()[None], torch.tensor([list(labels)]), blank=blank)
    return _states_of_path(path[0], blank)


def _states_of_path(path: Tensor, blank: int) -> NDArray[np.int32]:
    """The states of a path of units [frames]: 2 k + 1 is label k, 2 k the blank before it."""
    units = path.numpy()
    is_label = units != blank
    begins = is_label.copy()
    begins[1:] &= units[1:] != units[:-1]
    place = np.cumsum(begins)
    return np.where(is_label, 2 * place - 1, 2 * place).astype(np.int32)


def _check_numbers(log_probs: Tensor) -> None:
    if len(log_probs) == 0:
        raise InputError("the recording is shorter than one frame of the model; expected speech: check the file")
    bad = (log_probs.isnan() | (log_probs == torch.inf)).any(dim=1)
    if bool(bad.any()):
        frame = int(bad.nonzero()[0])
        raise InputError(
            f"log-probabilities of frame {frame} are not numbers; expected finite ones or minus infinity: the model's "
            "weights or its input overflow"
        )


def _marked_slots(words: Sequence[str], starts: Sequence[int], n_labels: int) -> set[int]:
    """The slots of the marked stars: before the word that follows, or after the last label."""
    slots, n_words = set(), 0
    for word in words:
        if word == STAR:
            slots.add(starts[n_words] if n_words < len(starts) else n_labels)
        else:
            n_words += 1
    return slots


def _described(
    log_probs: Tensor,
    labels: Sequence[int],
    states: NDArray[np.int32],
    vocabulary: Vocabulary,
    times: FrameTimes,
    star_slots: Sequence[int],
    star_log_prob: float = STAR_LOG_PROB,
    splits_unspaced: bool = False,
) -> Alignment:
    """Words, units and their times, from the state of each frame."""
    of_state = np.full(2 * len(labels) + 1, vocabulary.blank, dtype=np.int64)
    of_state[1::2] = labels
    path = of_state[states]
    on_path, best = log_probs.numpy()[np.arange(len(states)), path], log_probs.amax(dim=1).numpy()
    is_star = np.zeros(len(states), dtype=bool)
    if star_slots:
        may_be_star = np.isin(states, 2 * np.asarray(star_slots, dtype=np.int64))
        is_star = may_be_star & (best + star_log_prob > on_path)
    ratios = np.concatenate([[0.0], np.cumsum((on_path - best).astype(np.float64))])
    of_labels = 2 * np.arange(len(labels)) + 1
    firsts = np.searchsorted(states, of_labels, side="left")
    lasts = np.searchsorted(states, of_labels, side="right") - 1
    if not np.isfinite(on_path[~is_star]).all() or (firsts > lasts).any():
        raise InputError(IMPOSSIBLE)
    probabilities = torch.from_numpy(on_path).exp().double().numpy()
    units = [
        AlignedUnit(
            vocabulary.units[label].strip(), label, times.start(first), times.end(last), first, last,
            float(probabilities[first] if first == last else probabilities[first : last + 1].mean()),
        )
        for label, first, last in zip(labels, firsts.tolist(), lasts.tolist(), strict=True)
    ]  # fmt: skip
    words = []
    after_space = set(word_starts(labels, vocabulary))
    starts = word_starts(labels, vocabulary, splits_unspaced=splits_unspaced)
    for start, stop in pairwise([*starts, len(labels)]):
        own = [
            units[place]
            for place in range(start, stop)
            if labels[place] != vocabulary.boundary and labels[place] not in vocabulary.silent
        ]
        begin, end = own[0].first_frame, own[-1].last_frame + 1
        values = np.concatenate([probabilities[unit.first_frame : unit.last_frame + 1] for unit in own])
        words.append(
            AlignedWord(
                "".join(unit.text for unit in own), own[0].start, own[-1].end, tuple(own), float(values.mean()),
                float(ratios[end] - ratios[begin]) / len(own), start in after_space,
            )
        )  # fmt: skip
    path[is_star] = STAR_LABEL
    log_prob = float(torch.from_numpy(on_path[~is_star]).double().sum())
    stars = _star_spans(is_star, states, starts, times)
    return Alignment(_extended(words, stars, times.end(len(states) - 1)), torch.from_numpy(path), log_prob, stars)


def _extended(words: Sequence[AlignedWord], stars: Sequence[StarSpan], seconds: float) -> tuple[AlignedWord, ...]:
    """The words with their starts and ends moved from the first and last letters to where their sounds are.

    A pause belongs to both of its words, half each; stars and what is beyond them to none.
    """
    star_before = {span.before: span for span in stars}
    extended = []
    for place, word in enumerate(words):
        room_before = word.start - words[place - 1].end if place else 2 * word.start
        room_after = words[place + 1].start - word.end if place + 1 < len(words) else 2 * (seconds - word.end)
        start = word.start - min(START_SECONDS, max(room_before, 0.0) / 2)
        end = word.end + min(END_SECONDS, max(room_after, 0.0) / 2)
        if place in star_before:
            start = max(start, min(star_before[place].end, word.start))
        if place + 1 in star_before:
            end = min(end, max(star_before[place + 1].start, word.end))
        extended.append(replace(word, start=start, end=end))
    return tuple(extended)


def _star_spans(
    is_star: NDArray[np.bool_], states: NDArray[np.int32], starts: Sequence[int], times: FrameTimes
) -> tuple[StarSpan, ...]:
    """The stars' frames, those of one slot together."""
    spans: list[StarSpan] = []
    for frame in np.flatnonzero(is_star).tolist():
        before = int(np.searchsorted(starts, states[frame] // 2))
        start, n_frames = times.start(frame), 1
        if spans and spans[-1].before == before:
            start, n_frames = spans[-1].start, spans[-1].n_frames + 1
            spans.pop()
        spans.append(StarSpan(before, start, times.end(frame), n_frames))
    return tuple(spans)


def as_dict(alignment: Alignment, probabilities: Sequence[float]) -> dict[str, Any]:
    """JSON of an alignment, with Whisper's names: `words` of `word`, `start`, `end` and `probability`.

    probabilities: of the words. Seconds are rounded to milliseconds.
    """
    return {
        "words": [
            {"word": word.text, "start": round(word.start, 3), "end": round(word.end, 3)}
            | {"probability": round(probability, 4), "score": round(word.score, 3)}
            for word, probability in zip(alignment.words, probabilities, strict=True)
        ],
        "untranscribed": [
            {"start": round(span.start, 3), "end": round(span.end, 3)} for span in alignment.untranscribed
        ],
    }
