"""Backoff n-gram language models of words or characters: scoring word by word, and reading and writing ARPA files.

A model of characters takes each character for a word, and BOUNDARY for the space: "A CAT" is A | C A T.

ARPA files (SRILM's manual, ngram-format(5)) hold logarithms to the base 10; everything here is in natural logarithms.
Estimating a model is in `kneser_ney`.
"""

import gzip
import math
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from preprocessing.cli.errors import InputError

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
UNKNOWN_IN_CAPITALS = "<UNK>"  # what some ARPA files have for it; KenLM takes both
BOUNDARY = "|"  # the space in a model of characters
LN10 = math.log(10.0)
KENLM_BINARY = b"mmap lm http://kheafield.com/code"  # how a binary file of KenLM begins
LOG10_ZERO = -99.0  # how ARPA files write the logarithm of a probability of 0, as of <s>

State = tuple[str, ...]  # the last words, at most order - 1, that the next one's probability depends on


@dataclass(frozen=True)
class NgramModel:
    """A backoff n-gram model. `entries[n - 1]` maps each n-gram of n words to (ln probability, ln backoff weight).

    >>> unigrams = {("<unk>",): (-3.0, 0.0), ("A",): (-1.0, -0.5), ("B",): (-1.5, -0.25), ("</s>",): (-2.0, 0.0)}
    >>> model = NgramModel((unigrams, {("A", "B"): (-0.1, 0.0)}))
    >>> model.score(("A",), "B"), model.score(("B",), "A")
    ((-0.1, ('B',)), (-1.25, ('A',)))
    """

    entries: tuple[Mapping[tuple[str, ...], tuple[float, float]], ...]

    @property
    def order(self) -> int:
        """Words of the longest n-grams."""
        return len(self.entries)

    @property
    def words(self) -> Iterator[str]:
        """The known words, without <s>, </s> and <unk>."""
        return (word for (word,) in self.entries[0] if word not in (BEGIN, END, UNKNOWN))

    @property
    def is_of_characters(self) -> bool:
        """Whether its words are characters, the space among them."""
        return (BOUNDARY,) in self.entries[0] and all(len(word) == 1 for word in self.words)

    def __contains__(self, word: str) -> bool:
        return (word,) in self.entries[0]

    def begin(self) -> State:
        """The state before the first word of a sentence."""
        return (BEGIN,)[: self.order - 1]

    def score(self, state: State, word: str) -> tuple[float, State]:
        """(ln P(word | state), the state after the word). A word that is not known is scored as <unk>."""
        word = word if word in self else UNKNOWN
        ngram, backed_off = (*state, word), 0.0
        while (found := self.entries[len(ngram) - 1].get(ngram)) is None:
            if len(ngram) == 1:  # the model has no <unk>
                return backed_off + LOG10_ZERO * LN10, ()
            context = self.entries[len(ngram) - 2].get(ngram[:-1])
            backed_off += context[1] if context is not None else 0.0
            ngram = ngram[1:]
        return backed_off + found[0], ngram[-(self.order - 1) :] if self.order > 1 else ()

    def end(self, state: State) -> float:
        """ln P(the sentence ends | state)."""
        return self.score(state, END)[0]

    def score_sentence(self, words: Sequence[str]) -> float:
        """ln P(words) of a whole sentence, its end included."""
        state, total = self.begin(), 0.0
        for word in words:
            score, state = self.score(state, word)
            total += score
        return total + self.end(state)


def read_arpa(path: Path) -> NgramModel:
    """The model of an ARPA file, gzipped or not. Raises InputError, with the line, where it is not a valid one.

    As KenLM reads it: only spaces and tabs separate words, and <UNK> is <unk>.
    """
    try:
        with path.open("rb") as binary:
            if binary.read(len(KENLM_BINARY)) == KENLM_BINARY:
                raise InputError(
                    f"{path}: is a binary file of KenLM; expected an ARPA file: name the file that it was built from"
                )
        with open_text(path) as file:
            return NgramModel(tuple(_sections(path, file)))
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file; expected an ARPA file: build one with `python -m finetune.language_model build`"
        ) from None
    except (OSError, UnicodeDecodeError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error}); expected an ARPA file, or one gzipped") from error


def write_arpa(model: NgramModel, file: TextIO) -> None:
    """Writes a model in the ARPA format."""
    file.write("\\data\\\n")
    for n, entries in enumerate(model.entries, 1):
        file.write(f"ngram {n}={len(entries)}\n")
    for n, entries in enumerate(model.entries, 1):
        file.write(f"\n\\{n}-grams:\n")
        for ngram, (probability, backoff) in entries.items():
            last = "" if n == model.order else f"\t{backoff / LN10:.6g}"
            file.write(f"{probability / LN10:.6g}\t{' '.join(ngram)}{last}\n")
    file.write("\n\\end\\\n")


def open_text(path: Path) -> TextIO:
    """A text file opened for reading as UTF-8, gzipped or not."""
    with path.open("rb") as file:
        gzipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rt", encoding="utf-8") if gzipped else path.open(encoding="utf-8")


def _sections(path: Path, lines: TextIO) -> Iterator[dict[tuple[str, ...], tuple[float, float]]]:
    """The n-grams of each order, from the lines of an ARPA file, as many as its head says where it says so."""
    entries: dict[tuple[str, ...], tuple[float, float]] = {}
    counts: dict[int, int] = {}
    n = 0
    for number, line in enumerate(lines, 1):
        line = line.strip(" \t\r\n")
        if line.startswith("\\") and (line == "\\end\\" or line.endswith("-grams:")):
            if n and counts.get(n, len(entries)) != len(entries):
                raise InputError(
                    f"{path}, line {number}: {len(entries):,} {n}-grams before it; expected {counts[n]:,}, as its "
                    "header says: build the file again"
                )
            if n:
                yield entries
            if line == "\\end\\":
                if n == 0 or n < max(counts, default=0):
                    break
                return
            entries, n = {}, n + 1
            if line != f"\\{n}-grams:":
                raise InputError(f"{path}, line {number}: {line!r}; expected \\{n}-grams:, the orders in sequence")
        elif line and n:
            ngram, values = _entry(path, number, line, n)
            entries[ngram] = values
        elif found := re.fullmatch(r"ngram +(\d+) *= *(\d+)", line):
            counts[int(found[1])] = int(found[2])
    raise InputError(f"{path}: no \\end\\ after n-grams; expected a complete ARPA file: build it again")


def _entry(path: Path, number: int, line: str, n: int) -> tuple[tuple[str, ...], tuple[float, float]]:
    """The n-gram of a line, with its ln probability and ln backoff weight."""
    fields = [field for field in line.replace("\t", " ").split(" ") if field]  # a word may hold other white space
    try:
        probability = float(fields[0])
        backoff = float(fields[n + 1]) if len(fields) == n + 2 else 0.0
        if not n + 1 <= len(fields) <= n + 2:
            raise ValueError
    except (ValueError, IndexError):
        raise InputError(
            f"{path}, line {number}: {line[:80]!r}; expected a base-10 logarithm, {n} words and perhaps a backoff"
        ) from None
    if not probability <= 0.0 or not backoff < math.inf:
        raise InputError(
            f"{path}, line {number}: {line[:80]!r}; expected the logarithm of a probability, 0 or less, and a finite "
            "backoff: build the file again"
        )
    words = tuple(UNKNOWN if field == UNKNOWN_IN_CAPITALS else field for field in fields[1 : n + 1])
    return words, (_finite(probability) * LN10, _finite(backoff) * LN10)


def _finite(logarithm: float) -> float:
    """A base-10 logarithm, LOG10_ZERO for minus infinity, which times an alpha of 0 would be no number."""
    return LOG10_ZERO if logarithm == -math.inf else logarithm
