"""Backoff n-gram language models of words or characters: scoring word by word, and reading and writing ARPA files.

A model of characters takes each character for a word, and BOUNDARY for the space: "A CAT" is A | C A T.

ARPA files (SRILM's manual, ngram-format(5)) hold logarithms to the base 10; everything here is in natural logarithms.
Estimating a model is in `kneser_ney`.
"""

import gzip
import math
import re
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from preprocessing.errors import InputError

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
UNKNOWN_IN_CAPITALS = "<UNK>"  # what some ARPA files have for it; KenLM takes both
BOUNDARY = "|"  # the space in a model of characters
LN10 = math.log(10.0)
KENLM_BINARY = b"mmap lm http://kheafield.com/code"  # how a binary file of KenLM begins
LOG10_ZERO = -99.0  # how ARPA files write the logarithm of a probability of 0, as of <s>

LINES_AT_ONCE = 1 << 10  # of a file that are parsed or written together: more leave the caches of a core

Array = np.ndarray[Any, Any]
State = tuple[str, ...]  # the last words, at most order - 1, that the next one's probability depends on


class NgramTable(Mapping[tuple[str, ...], tuple[float, float]]):
    """n-grams of one order as arrays; a mapping as `NgramModel.entries` has it, which is slower than a dict.

    words: the number of each word, in the order of the numbers; those of the unigrams come first, others may follow.
    ids [n-grams, n] int32: the words of each; logps, backoffs [n-grams] float64, natural logarithms. Each n-gram is
    there once.
    """

    def __init__(self, words: Mapping[str, int], ids: Array, logps: Array, backoffs: Array) -> None:
        self.words = words
        self.ids, self.logps, self.backoffs = ids, logps, backoffs

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        words = list(self.words)
        for row in self.ids:
            yield tuple(words[number] for number in row.tolist())

    def __getitem__(self, ngram: tuple[str, ...]) -> tuple[float, float]:
        order, columns = self._sorted
        first, stop = 0, len(order) if len(ngram) == len(columns) else 0
        for word, column in zip(ngram, columns, strict=False):
            number = np.int32(self.words.get(word, -1))
            inside = column[first:stop]
            first, stop = first + int(inside.searchsorted(number)), first + int(inside.searchsorted(number, "right"))
        if first == stop:
            raise KeyError(ngram)
        row = order[first]
        return float(self.logps[row]), float(self.backoffs[row])

    @cached_property
    def _sorted(self) -> tuple[Array, Array]:
        """The rows in the order of their words, and the words in that order [n, n-grams]."""
        order = np.lexsort(self.ids.T[::-1]).astype(np.int32)
        return order, np.ascontiguousarray(self.ids[order].T)


@dataclass(frozen=True)
class NgramModel:
    """A backoff n-gram model. `entries[n - 1]` maps each n-gram of n words to (ln probability, ln backoff weight).

    They are dicts, or of an estimate or a file `NgramTable`s, which need an eighth of the memory.

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


def as_tables(model: NgramModel) -> list[NgramTable]:
    """The n-grams of each order as tables of the same words."""
    tables = [table for table in model.entries if isinstance(table, NgramTable)]
    if len(tables) == model.order:
        return tables
    tables = []
    words = {word: number for number, (word,) in enumerate(model.entries[0])}
    for entries in model.entries[1:]:  # a file may have words in longer n-grams that are no unigrams
        for word in chain.from_iterable(entries):
            words.setdefault(word, len(words))
    for n, entries in enumerate(model.entries, 1):
        ids = np.fromiter((words[word] for ngram in entries for word in ngram), np.int32, n * len(entries))
        values = np.fromiter(chain.from_iterable(entries.values()), np.float64, 2 * len(entries)).reshape(-1, 2)
        tables.append(NgramTable(words, ids.reshape(-1, n), values[:, 0], values[:, 1]))
    return tables


def limited_to(model: NgramModel, sentences: Iterable[Sequence[str]]) -> NgramModel:
    """The same model of these sentences alone: dicts, which score many times as fast as tables, of their n-grams."""
    wanted: list[set[tuple[str, ...]]] = [{(UNKNOWN,)}, *(set() for _ in model.entries[1:])]
    known = {word for (word,) in model.entries[0]}
    for sentence in sentences:
        marked = [BEGIN, *(word if word in known else UNKNOWN for word in sentence), END]
        for n, ngrams in enumerate(wanted, 1):
            ngrams.update(zip(*(marked[start:] for start in range(n)), strict=False))
    return NgramModel(
        tuple(
            {ngram: values for ngram in ngrams if (values := table.get(ngram)) is not None}
            for table, ngrams in zip(model.entries, wanted, strict=True)
        )
    )


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
    tables = as_tables(model)
    words = list(tables[0].words)
    file.write("\\data\\\n")
    for n, table in enumerate(tables, 1):
        file.write(f"ngram {n}={len(table)}\n")
    for n, table in enumerate(tables, 1):
        file.write(f"\n\\{n}-grams:\n")
        for start in range(0, len(table), LINES_AT_ONCE):
            rows = slice(start, start + LINES_AT_ONCE)
            ngrams = (" ".join([words[number] for number in ids]) for ids in table.ids[rows].tolist())
            logps, backoffs = ((values[rows] / LN10).tolist() for values in (table.logps, table.backoffs))
            if n == model.order:
                file.writelines(f"{logp:.6g}\t{ngram}\n" for logp, ngram in zip(logps, ngrams, strict=True))
            else:
                lines = zip(logps, ngrams, backoffs, strict=True)
                file.writelines(f"{logp:.6g}\t{ngram}\t{backoff:.6g}\n" for logp, ngram, backoff in lines)
    file.write("\n\\end\\\n")


def open_text(path: Path) -> TextIO:
    """A text file opened for reading as UTF-8, gzipped or not."""
    with path.open("rb") as file:
        gzipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rt", encoding="utf-8") if gzipped else path.open(encoding="utf-8")


def _sections(path: Path, lines: TextIO) -> Iterator[NgramTable]:
    """The n-grams of each order, from the lines of an ARPA file, as many as its head says where it says so."""
    counts: dict[int, int] = {}
    words: dict[str, int] = {}
    section = _Section(path, words, 0)
    for number, line in enumerate(lines, 1):
        if section.n and line[0] not in "\\ \t\r\n":
            section.add(number, line)
            continue
        line = line.strip(" \t\r\n")
        n = section.n
        if line.startswith("\\") and (line == "\\end\\" or line.endswith("-grams:")):
            if n:
                table = section.table()
                if counts.get(n, len(table)) != len(table):
                    raise InputError(
                        f"{path}, line {number}: {len(table):,} {n}-grams before it; expected {counts[n]:,}, as its "
                        "header says: build the file again"
                    )
                yield table
            if line == "\\end\\":
                if n == 0 or n < max(counts, default=0):
                    break
                return
            section = _Section(path, words, n + 1)
            if line != f"\\{n + 1}-grams:":
                raise InputError(f"{path}, line {number}: {line!r}; expected \\{n + 1}-grams:, the orders in sequence")
        elif line and n:
            section.add(number, line)
        elif found := re.fullmatch(r"ngram +(\d+) *= *(\d+)", line):
            counts[int(found[1])] = int(found[2])
    if section.n:
        section.table()  # a bad line is named first
    raise InputError(f"{path}: no \\end\\ after n-grams; expected a complete ARPA file: build it again")


class _Section:
    """The n-grams of one order while their lines are read. words: the number of each word, to which it adds."""

    def __init__(self, path: Path, words: dict[str, int], n: int) -> None:
        self.n = n
        self._path = path
        self._words = words
        self._numbers: list[int] = []  # of the lines that are not parsed yet
        self._lines: list[str] = []
        self._ids, self._logps, self._backoffs = array("i"), array("d"), array("d")

    def add(self, number: int, line: str) -> None:
        """A line that is not empty, with its number in the file. Raises InputError, maybe later, on one that is bad."""
        self._numbers.append(number)
        self._lines.append(line)
        if len(self._lines) == LINES_AT_ONCE:
            self._parse()

    def table(self) -> NgramTable:
        """What was added."""
        self._parse()
        ids = np.frombuffer(self._ids, np.int32).reshape(-1, self.n)
        values = (np.frombuffer(column, np.float64) for column in (self._logps, self._backoffs))
        return NgramTable(self._words, *_last_of_each(ids, *values))

    def _parse(self) -> None:
        if not self._parse_columns():
            for number, line in zip(self._numbers, self._lines, strict=True):
                ngram, (logp, backoff) = _entry(self._path, number, line.strip(" \t\r\n"), self.n)
                self._ids.extend([self._words.setdefault(word, len(self._words)) for word in ngram])
                self._logps.append(logp)
                self._backoffs.append(backoff)
        self._numbers, self._lines = [], []

    def _parse_columns(self) -> bool:
        """Whether all lines are parsed at once, as they can be that have one space or tab between their fields, known
        words (in unigrams any), and numbers in range.
        """
        n, words = self.n, self._words
        rows = [line.strip(" \t\r\n").replace("\t", " ").split(" ") for line in self._lines]
        widths = set(map(len, rows))
        if not rows or not widths <= {n + 1, n + 2}:
            return False
        if len(widths) == 2:
            rows = [row if len(row) == n + 2 else [*row, "0"] for row in rows]
        first, *columns = zip(*rows, strict=True)
        try:
            logps = np.array([*map(float, first)])
            backoffs = np.array([*map(float, columns.pop())]) if len(columns) > n else np.zeros(len(rows))
            if n == 1:
                if UNKNOWN_IN_CAPITALS in columns[0] or "" in columns[0]:
                    return False
                ids = [[words.setdefault(word, len(words)) for word in columns[0]]]
            else:
                ids = [[*map(words.__getitem__, column)] for column in columns]
        except (ValueError, KeyError):
            return False
        if not (logps <= 0.0).all() or not (backoffs < math.inf).all():
            return False
        self._ids.frombytes(np.array(ids, np.int32).T.tobytes())
        for values, of_all in ((logps, self._logps), (backoffs, self._backoffs)):
            of_all.frombytes((np.where(values == -math.inf, LOG10_ZERO, values) * LN10).tobytes())
        return True


def _last_of_each(ids: Array, logps: Array, backoffs: Array) -> tuple[Array, Array, Array]:
    """The columns without the n-grams that stand again below."""
    hashes = np.zeros(len(ids), np.uint64)
    for column in ids.T:
        hashes = (hashes ^ column.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        hashes ^= hashes >> np.uint64(32)
    hashes.sort()
    if (hashes[1:] != hashes[:-1]).all():  # n-grams that are equal have equal hashes
        return ids, logps, backoffs
    order = np.lexsort(ids.T[::-1])
    is_last = np.append((ids[order[1:]] != ids[order[:-1]]).any(axis=1), True)
    kept = np.sort(order[is_last])
    return ids[kept], logps[kept], backoffs[kept]


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
