"""Counts of output units before any training: size, coverage, unseen text, frames per label, infeasible utterances.

Texts are read by `preprocessing.corpus.lines`, split by `hold_out`, counted by `count_units` for each kind and size of
unit, and shown by `table` and `coverage_table`. `preprocessing.units.plot` draws the same.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.table import Table

from preprocessing.errors import InputError
from preprocessing.frames import frames_in, frames_needed
from preprocessing.units.build import build
from preprocessing.units.splitting import by_frequency
from preprocessing.units.syllables import Syllables
from preprocessing.units.vocabulary import SPLITTERS, Vocabulary

HELD_OUT_SHARE = 0.1
RARE = 10  # occurrences below which a unit is called rare
COVERED = (0.5, 0.9, 0.99)  # shares of the text
LEGEND = (
    f"rare: units seen fewer than {RARE} times. labels/word: with word boundaries. unseen: tokens of held-out text "
    "that are not in the vocabulary. unwritable: held-out words that the units cannot spell. frames/label: frames of "
    "20 ms per label. infeasible: utterances with fewer frames than CTC needs."
)


@dataclass(frozen=True, slots=True)
class Line:
    """A text, and the duration of its recording where that is known."""

    text: str
    seconds: float | None = None


class RunningText:
    """Lines, counted once for all vocabularies. counts: how often each word occurs.

    Of the lines whose duration is known, frames [lines] are those of 20 ms; words [words] are their words, one line
    after another, as places in `counts`; ends [lines] are the places in `words` where each line ends.
    """

    def __init__(self, lines: Sequence[Line]) -> None:
        self.n_lines = len(lines)
        self.counts = count_words(lines)
        places = {word: place for place, word in enumerate(self.counts)}
        timed = [(line.text.split(), line.seconds) for line in lines if line.seconds is not None]
        self.frames = np.array([frames_in(seconds) for _, seconds in timed], np.int64)
        self.words = np.array([places[word] for words, _ in timed for word in words], np.int64)
        self.ends = np.cumsum([len(words) for words, _ in timed], dtype=np.int64)


@dataclass(frozen=True)
class Timing:
    """Frames of 20 ms (wav2vec 2.0) against labels, over the lines whose duration is known."""

    frames_per_label: float
    infeasible_share: float  # of the lines, from 0 to 1: fewer frames than CTC needs


@dataclass(frozen=True)
class Inventory:
    """Figures of one vocabulary. Shares are from 0 to 1."""

    kind: str
    asked_size: int | None  # None: all units of the text
    size: int
    rare_share: float  # of the units, seen fewer than RARE times in the text, counted as pieces
    labels_per_word: float  # of the text, boundaries included
    unseen_piece_share: float  # of the held-out pieces, those that are no unit
    unwritable_word_share: float  # of the held-out words, those that cannot be written with the units
    timing: Timing | None


@dataclass(frozen=True)
class CoverageCurve:
    """Shares when the n most frequent pieces are kept, n = 1 ...: covered of the text, and unseen of the held-out."""

    kind: str
    covered: NDArray[np.float64]  # [pieces]
    unseen: NDArray[np.float64]  # [pieces]

    def n_covering(self, share: float) -> int:
        """The smallest number of pieces that cover this share of the text."""
        return int(np.searchsorted(self.covered, share - 1e-12)) + 1


@dataclass(frozen=True)
class SyllableSource:
    """How many of the text's running words CMUdict lists. Shares are from 0 to 1."""

    counted_share: float  # words that CMUdict lists
    met_share: float  # of those, words that were split into as many syllables as it counts


@dataclass(frozen=True)
class UnitReport:
    """All counts of a text, for the tables, the picture and the JSON."""

    heading: str
    n_lines: int
    n_words: int
    n_held_out_words: int
    seconds: float  # of the lines whose duration is known
    inventories: tuple[Inventory, ...]
    curves: tuple[CoverageCurve, ...]
    syllable_source: SyllableSource | None

    def as_json(self) -> dict[str, Any]:
        """The report as JSON fields; of the curves, how many pieces cover each share of COVERED."""
        fields = {key: value for key, value in vars(self).items() if key not in ("curves", "inventories")}
        source = self.syllable_source
        return fields | {
            "syllable_source": None if source is None else asdict(source),
            "inventories": [asdict(inventory) for inventory in self.inventories],
            "most_frequent_pieces_that_cover": {
                curve.kind: {f"{share:g}": curve.n_covering(share) for share in COVERED} for curve in self.curves
            },
        }


def hold_out(lines: Sequence[Line]) -> tuple[list[Line], list[Line]]:
    """The lines to count, and a tenth of them held out by SHA-256 of the text, so that equal lines stay together.

    Raises InputError where one of the two would be empty.
    """
    kept: list[Line] = []
    held_out: list[Line] = []
    for line in lines:
        place = int.from_bytes(hashlib.sha256(line.text.encode()).digest()[:8], "big") / 2**64
        (held_out if place >= 1.0 - HELD_OUT_SHARE else kept).append(line)
    if not kept or not held_out:
        raise InputError(
            f"{len(lines)} lines are too few to hold out a tenth of them; expected about 50: give more text, or "
            "--held-out"
        )
    return kept, held_out


def count_units(
    heading: str,
    text: Sequence[Line],
    held_out: Sequence[Line],
    *,
    kinds: Sequence[str],
    sizes: Sequence[int],
    language: str,
    syllable_counts: Mapping[str, int],
    measured: Callable[[], object] = lambda: None,
) -> UnitReport:
    """The report on vocabularies of every kind and size, made of `text` and tested on `held_out`.

    heading: of the tables. language, syllable_counts: as for `build`. measured: called after each vocabulary.
    Raises UsageError on a size below what a kind needs, or a language without hyphenation.
    """
    texts = [line.text for line in text]
    running, held_out_words = RunningText(text), count_words(held_out)
    words = running.counts
    inventories: list[Inventory] = []
    curves: list[CoverageCurve] = []
    source = None
    for kind in kinds:
        size_use = SPLITTERS[kind].size_use
        cuts: list[int | None] = [] if size_use == "ignored" else [*sorted(sizes)]
        complete: list[int | None] = [] if size_use == "learns" else [None]
        for size in cuts + complete:
            vocabulary = build(
                kind, texts, size=size, language=language, syllable_counts=syllable_counts, flag="--sizes"
            )
            if size_use == "cuts" and size is not None and vocabulary.size < size:
                continue  # all units are fewer, and come last
            inventories.append(measure_inventory(vocabulary, size, running, held_out_words))
            measured()
            if size_use == "learns" and size is not None and vocabulary.size < size:
                break  # no larger size gives other units
        curves.append(coverage_curve(vocabulary, words, held_out_words))
        if isinstance(vocabulary.splitter, Syllables) and syllable_counts:
            source = _syllable_source(vocabulary.splitter, words, syllable_counts)
    seconds = sum(line.seconds or 0.0 for line in text)
    return UnitReport(
        heading, len(text), words.total(), held_out_words.total(), seconds, tuple(inventories), tuple(curves), source
    )


def measure_inventory(
    vocabulary: Vocabulary, asked_size: int | None, text: RunningText, held_out: Counter[str]
) -> Inventory:
    """The figures of a vocabulary made of `text`, tested on the words `held_out`."""
    words = text.counts
    pieces, held_out_pieces = _count_pieces(vocabulary, words), _count_pieces(vocabulary, held_out)
    not_text = {*vocabulary.silent, vocabulary.boundary, vocabulary.unknown}
    written = [unit for index, unit in enumerate(vocabulary.units) if index not in not_text]
    rare = sum(pieces[unit] < RARE for unit in written)
    spelled = [vocabulary.encode_word(word) for word in words]
    labels = sum(n * len(ids) for ids, n in zip(spelled, words.values(), strict=True))
    if not vocabulary.splitter.carries_boundary:
        labels += words.total() - text.n_lines
    missing = sum(n for piece, n in held_out_pieces.items() if piece not in vocabulary)
    unwritable = sum(n for word, n in held_out.items() if vocabulary.outside([word]))
    return Inventory(
        kind=vocabulary.kind,
        asked_size=asked_size,
        size=vocabulary.size,
        rare_share=rare / len(written),
        labels_per_word=labels / words.total(),
        unseen_piece_share=missing / held_out_pieces.total(),
        unwritable_word_share=unwritable / held_out.total(),
        timing=_timing(text, spelled, carries_boundary=vocabulary.splitter.carries_boundary),
    )


def coverage_curve(vocabulary: Vocabulary, words: Counter[str], held_out_words: Counter[str]) -> CoverageCurve:
    """The coverage of a text's words and the unseen share of held-out words, by the number of pieces kept."""
    seen, other = _count_pieces(vocabulary, words), _count_pieces(vocabulary, held_out_words)
    ranked = by_frequency(seen)
    covered = np.cumsum([seen[piece] for piece in ranked]) / seen.total()
    unseen = 1.0 - np.cumsum([other[piece] for piece in ranked]) / other.total()
    return CoverageCurve(vocabulary.kind, covered, unseen)


def count_words(lines: Iterable[Line]) -> Counter[str]:
    """The words of the lines with their counts."""
    return Counter(word for line in lines for word in line.text.split())


def table(report: UnitReport) -> Table:
    """The inventories as a table of one row for each kind and size, within 80 columns."""
    rows = Table(
        title=report.heading, title_justify="left", title_style="bold", header_style="bold", box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )  # fmt: skip
    rows.add_column("kind", no_wrap=True)
    for name in (
        "units",
        "rare,\n%",
        "labels/\nword",
        "unseen,\n%",
        "unwrit-\nable, %",
        "frames/\nlabel",
        "infeas-\nible, %",
    ):
        rows.add_column(name, justify="right", no_wrap=True)
    for row, following in zip_longest(report.inventories, report.inventories[1:]):
        timing = row.timing
        rows.add_row(
            row.kind,
            _size(row),
            f"{100 * row.rare_share:.1f}",
            f"{row.labels_per_word:.2f}",
            f"{100 * row.unseen_piece_share:.2f}",
            f"{100 * row.unwritable_word_share:.2f}",
            "-" if timing is None else f"{timing.frames_per_label:.1f}",
            "-" if timing is None else f"{100 * timing.infeasible_share:.2f}",
            end_section=following is not None and following.kind != row.kind,
        )
    return rows


def coverage_table(report: UnitReport) -> Table:
    """A table of how many of the most frequent pieces cover half, most and nearly all of the text."""
    rows = Table(header_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    rows.add_column("most frequent that cover")
    for share in COVERED:
        rows.add_column(f"{share:.0%}", justify="right")
    for curve in report.curves:
        rows.add_row(curve.kind, *(f"{curve.n_covering(share):,}" for share in COVERED))
    return rows


def _size(row: Inventory) -> str:
    is_all = row.asked_size is None and SPLITTERS[row.kind].size_use != "ignored"
    return f"{'all ' if is_all else ''}{row.size:,}"


def _count_pieces(vocabulary: Vocabulary, words: Counter[str]) -> Counter[str]:
    """Pieces of the words with counts; a boundary that stands by itself is none."""
    counts: Counter[str] = Counter()
    for word, n in words.items():
        for piece in vocabulary.splitter.pieces(word):
            if piece != vocabulary.boundary_unit:
                counts[piece] += n
    return counts


def _timing(text: RunningText, spelled: Sequence[Sequence[int]], *, carries_boundary: bool) -> Timing | None:
    """spelled: the labels of each word of `text.counts`. carries_boundary: whether no label stands between words."""
    if not len(text.frames):
        return None
    words, starts = text.words, np.append(0, text.ends[:-1])

    def sum_by_line(values: NDArray[np.int64]) -> NDArray[np.int64]:
        """The sums of values [words] over each line."""
        sums = np.append(0, np.cumsum(values))
        return np.asarray(sums[text.ends] - sums[starts])

    labels = sum_by_line(np.array([len(ids) for ids in spelled])[words])
    needed = sum_by_line(np.array([frames_needed(ids) for ids in spelled])[words])
    if carries_boundary:
        first, last = np.array([(ids[0], ids[-1]) for ids in spelled]).T
        is_repeated = np.append(False, last[words[:-1]] == first[words[1:]])
        is_repeated[starts[starts < len(words)]] = False
        needed = needed + sum_by_line(is_repeated.astype(np.int64))
    else:
        boundaries = np.maximum(text.ends - starts - 1, 0)
        labels, needed = labels + boundaries, needed + boundaries
    return Timing(text.frames.sum() / labels.sum(), float(np.mean(text.frames < needed)))


def _syllable_source(splitter: Syllables, words: Counter[str], syllable_counts: Mapping[str, int]) -> SyllableSource:
    counted = {word: n for word, n in words.items() if word.lower() in syllable_counts}
    met = sum(n for word, n in counted.items() if len(splitter.pieces(word)) == syllable_counts[word.lower()])
    total = sum(counted.values())
    return SyllableSource(total / words.total(), met / max(total, 1))
