"""Hypotheses that loop: a decoder writes the same words again and again although nobody says them.

An autoregressive recogniser such as Whisper can loop to the end of its window, so that one utterance adds a hundred
insertions. Two criteria find a loop, and both compare with the reference, so that honest repetition is none:

- one to LOOP_WORDS words follow each other LOOP_TIMES times or more, and twice as often as in the reference; in scripts
  without spaces between words, one to LOOP_CHARACTERS characters. Raunak et al. 2021 ("The curious case of
  hallucinations in neural machine translation") call them oscillatory hallucinations;
- the text compresses too well, which finds longer phrases and loops within a word: openai-whisper's
  `compression_ratio`, the bytes of the text over the bytes that zlib makes of it, exceeds openai-whisper's threshold of
  2.4, and 1.5 times that of the reference, with one byte for each character. In UTF-8 a letter of Hindi or Khmer takes
  three bytes, of which the first is always the same: this alone raises the ratio of honest text above 2.4.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from preprocessing.text.languages import is_unspaced

LOOP_WORDS = 4  # longest n-gram that counts as a loop
LOOP_CHARACTERS = 20  # the same, in scripts without spaces between words
LOOP_TIMES = 4  # in a row
COMPRESSION_RATIO = 2.4  # openai-whisper's compression_ratio_threshold
RATIO_TO_REFERENCE = 1.5
WINDOW_CHARACTERS = 500  # about 30 s of speech, which openai-whisper computes the ratio of


@dataclass(frozen=True, slots=True)
class Loop:
    """What loops: the repeated words and how often they follow each other ("" and 0 where the ratio alone tells)."""

    words: str
    times: int
    compression_ratio: float


def find_loop(reference: str, hypothesis: str) -> Loop | None:
    """The loop of a hypothesis; None where it does not loop. Both texts normalised.

    Of several n-grams the one that covers most words. In scripts without spaces between words, characters take the
    place of words.

    >>> loop = find_loop("thank you", "thank you thank you thank you thank you")
    >>> loop.words, loop.times
    ('thank you', 4)
    >>> find_loop("no no no no", "no no no no no") is None
    True
    """
    words, separator, longest = hypothesis.split(), " ", LOOP_WORDS
    reference_words = reference.split()
    if is_unspaced(hypothesis):
        words, reference_words, separator = list("".join(words)), list("".join(reference_words)), ""
        longest = LOOP_CHARACTERS
    ratio = round(compression_ratio(hypothesis), 2)
    repeated = _repeated(words, longest)
    if repeated:
        honest = _repeated(reference_words, longest, least=2)
        looped = {gram: one for gram, one in repeated.items() if one[1] >= 2 * honest.get(gram, ((), 0))[1]}
        if looped:
            gram, times = max(looped.values(), key=lambda one: (len(one[0]) * one[1], -len(one[0])))
            return Loop(separator.join(gram), times, ratio)
    of_characters = _highest_ratio(hypothesis, _one_byte_each)
    if of_characters > max(COMPRESSION_RATIO, RATIO_TO_REFERENCE * _highest_ratio(reference, _one_byte_each)):
        return Loop("", 0, ratio)
    return None


def compression_ratio(text: str) -> float:
    """Bytes of the text over the bytes that zlib makes of it, as openai-whisper computes it of each 30 s.

    A text of more than WINDOW_CHARACTERS is cut into windows of so many, and the highest ratio counts: the ratio of a
    long honest text rises with its length. 0 of an empty text.
    """
    return _highest_ratio(text, _utf_8)


def _highest_ratio(text: str, encode: Callable[[str], bytes]) -> float:
    windows = [text[start : start + WINDOW_CHARACTERS] for start in range(0, len(text), WINDOW_CHARACTERS)]
    encoded = [encode(window) for window in windows]
    return max((len(one) / len(zlib.compress(one)) for one in encoded), default=0.0)


def _utf_8(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _one_byte_each(text: str) -> bytes:
    """The text with one byte for each character, which need not be read again; two where it has over 256 different."""
    if text.isascii():
        return text.encode("ascii")
    numbers = {character: number for number, character in enumerate(dict.fromkeys(text))}
    return bytes(numbers[one] for one in text) if len(numbers) <= 256 else text.encode("utf-16-le", "replace")


def _repeated(
    words: Sequence[str], longest: int, least: int = LOOP_TIMES
) -> dict[tuple[str, ...], tuple[tuple[str, ...], int]]:
    """Every n-gram of up to `longest` words that follows itself `least` times or more, as it first stands, and how
    often in a row at most; by its smallest rotation, since an n-gram's rotations repeat with it. One that is a shorter
    one repeated is left out.
    """
    found: dict[tuple[str, ...], tuple[tuple[str, ...], int]] = {}
    for n_words in range(1, longest + 1):
        same = 0  # how many words in a row equal the word n_words before
        for index in range(n_words, len(words)):
            same = same + 1 if words[index] == words[index - n_words] else 0
            times = same // n_words + 1
            if same and same % n_words == 0 and times >= least:
                gram = tuple(words[index - n_words + 1 : index + 1])
                key = min(gram[turn:] + gram[:turn] for turn in range(n_words))
                shorter = any(gram == gram[:part] * (n_words // part) for part in range(1, n_words))
                if not shorter and times > found.get(key, ((), 0))[1]:
                    found[key] = gram, times
    return found
