"""What can be counted of output units before training: size, coverage, unseen text, frames a label, infeasible labels."""

import gzip
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.table import Table

from preprocessing.cli.errors import InputError
from preprocessing.corpus import open_corpus
from preprocessing.frames import frames_in, frames_needed
from preprocessing.text import Profile
from preprocessing.units.build import build, by_frequency
from preprocessing.units.syllables import Syllables
from preprocessing.units.vocabulary import Vocabulary

PLAIN = (".txt", ".gz")
HELD_OUT_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Line:
    """A normalised text, and how long it takes to say where that is known."""

    text: str
    seconds: float | None = None


def read(references: Iterable[str], profile: Profile) -> list[Line]:
    """Lines of .txt and .gz files, utterances of whatever else `open_corpus` reads; those without words are left out.

    Raises InputError when a reference cannot be read, or has no word.
    """
    lines: list[Line] = []
    for reference in references:
        raw = _plain(Path(reference)) if Path(reference).suffix in PLAIN else _spoken(reference)
        normalised = [Line(profile(line.text), line.seconds) for line in raw]
        found = [line for line in normalised if line.text]
        if not found:
            raise InputError(
                f"{reference}: no text is left of it by profile {profile.name}; expected a word or more: check that it "
                "is the right file"
            )
        lines += found
    return lines


def hold_out(lines: Sequence[Line]) -> tuple[list[Line], list[Line]]:
    """The lines to count in and those held out, the last tenth by SHA-256 of the text: equal lines stay together.

    Raises InputError where that leaves nothing on one of the sides.
    """
    kept: list[Line] = []
    held: list[Line] = []
    for line in lines:
        place = int.from_bytes(hashlib.sha256(line.text.encode()).digest()[:8], "big") / 2**64
        (held if place >= 1.0 - HELD_OUT_SHARE else kept).append(line)
    if not kept or not held:
        raise InputError(
            f"{len(lines)} lines are too few to hold a tenth of them out; expected 50 or so: give more text, or "
            "--held-out"
        )
    return kept, held


def _plain(path: Path) -> list[Line]:
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8-sig")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8-sig") as lines
        ):
            return [Line(line) for line in lines]
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path}: {reason}; expected a text file, plain or gzip: mend the path") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}; expected UTF-8: convert the file") from None


def _spoken(reference: str) -> list[Line]:
    return [Line(utterance.text, utterance.duration) for utterance in open_corpus(reference).utterances]


RARE = 10  # occurrences below which a unit is called rare
COVERED = (0.5, 0.9, 0.99)


@dataclass(frozen=True)
class Timing:
    """Over the utterances whose duration is known."""

    frames_per_label: float  # frames of 20 ms
    infeasible_share: float  # of utterances with fewer frames than CTC needs


@dataclass(frozen=True)
class Inventory:
    """A vocabulary and its figures. Shares are of 1."""

    kind: str
    asked_size: int | None
    size: int
    rare_share: float  # of the units, seen fewer than RARE times in the text, counted as pieces
    labels_per_word: float  # of the text, boundaries included
    unseen_piece_share: float  # of the held-out pieces, those that are no unit
    unwritable_word_share: float  # of the held-out words, those that cannot be written with the units
    timing: Timing | None


@dataclass(frozen=True)
class Curve:
    """Shares by the number n of the most frequent pieces kept, n = 1 ...: of the text, and missing held-out."""

    kind: str
    covered: NDArray[np.float64]
    unseen: NDArray[np.float64]

    def covering(self, share: float) -> int:
        """Fewest pieces that cover this share of the text."""
        return int(np.searchsorted(self.covered, share - 1e-12)) + 1


def words_of(lines: Iterable[Line]) -> Counter[str]:
    return Counter(word for line in lines for word in line.text.split())


def pieces_of(vocabulary: Vocabulary, words: Counter[str]) -> Counter[str]:
    """Pieces of the words with counts; a boundary that stands by itself is none."""
    counts: Counter[str] = Counter()
    for word, n in words.items():
        for piece in vocabulary.splitter.pieces(word):
            if piece != vocabulary.boundary_unit:
                counts[piece] += n
    return counts


def measure(
    vocabulary: Vocabulary, asked_size: int | None, text: Sequence[Line], held_out: Sequence[Line]
) -> Inventory:
    """The figures of a vocabulary made of `text`."""
    words, unseen_words = words_of(text), words_of(held_out)
    pieces, unseen_pieces = pieces_of(vocabulary, words), pieces_of(vocabulary, unseen_words)
    written = [index for index in range(len(vocabulary.units)) if index not in vocabulary.silent]
    written = [index for index in written if index not in (vocabulary.boundary, vocabulary.unknown)]
    rare = sum(pieces[vocabulary.units[index]] < RARE for index in written)
    labels = sum(n * len(vocabulary.encode_word(word)) for word, n in words.items())
    if not vocabulary.splitter.carries_boundary:
        labels += words.total() - len(text)
    missing = sum(n for piece, n in unseen_pieces.items() if piece not in vocabulary)
    unwritable = sum(n for word, n in unseen_words.items() if vocabulary.outside([word]))
    return Inventory(
        kind=vocabulary.kind,
        asked_size=asked_size,
        size=vocabulary.size,
        rare_share=rare / len(written),
        labels_per_word=labels / words.total(),
        unseen_piece_share=missing / unseen_pieces.total(),
        unwritable_word_share=unwritable / unseen_words.total(),
        timing=_timing(vocabulary, text),
    )


def curve(vocabulary: Vocabulary, text: Counter[str], held_out: Counter[str]) -> Curve:
    """Coverage of the words of the text, and unseen share of the held-out words, by number of pieces kept."""
    seen, other = pieces_of(vocabulary, text), pieces_of(vocabulary, held_out)
    ranked = by_frequency(seen)
    covered = np.cumsum([seen[piece] for piece in ranked]) / seen.total()
    unseen = 1.0 - np.cumsum([other[piece] for piece in ranked]) / other.total()
    return Curve(vocabulary.kind, covered, unseen)


def _timing(vocabulary: Vocabulary, lines: Sequence[Line]) -> Timing | None:
    frames = labels = infeasible = spoken = 0
    for line in lines:
        if line.seconds is not None:
            encoded = vocabulary.encode(line.text)
            available = frames_in(line.seconds)
            frames, labels, spoken = frames + available, labels + len(encoded), spoken + 1
            infeasible += available < frames_needed(encoded)
    return Timing(frames / labels, infeasible / spoken) if spoken else None


CUT = ("syllables", "words")  # a size keeps the most frequent of these; bpe is learnt for each size anew


@dataclass(frozen=True)
class SyllableSource:
    """Where the syllables of the text's running words are from. Shares are of 1."""

    counted_share: float  # words that CMUdict lists
    met_share: float  # of those, words that were parted into as many syllables as it counts


@dataclass(frozen=True)
class Report:
    """What was counted on how much text."""

    heading: str
    n_lines: int
    n_words: int
    n_held_out_words: int
    seconds: float  # of the lines whose duration is known
    inventories: tuple[Inventory, ...]
    curves: tuple[Curve, ...]
    syllable_source: SyllableSource | None

    def as_json(self) -> dict[str, Any]:
        told = {key: value for key, value in vars(self).items() if key not in ("curves", "inventories")}
        covering = {c.kind: {f"{share:g}": c.covering(share) for share in COVERED} for c in self.curves}
        source = self.syllable_source
        return told | {
            "syllable_source": None if source is None else asdict(source),
            "inventories": [asdict(inventory) for inventory in self.inventories],
            "most_frequent_pieces_that_cover": covering,
        }


def count(
    heading: str,
    text: Sequence[Line],
    held_out: Sequence[Line],
    *,
    kinds: Sequence[str],
    sizes: Sequence[int],
    language: str,
    syllable_counts: Mapping[str, int],
) -> Report:
    """Raises UsageError on a size below what a kind needs, or a language without hyphenation."""
    texts = [line.text for line in text]
    words, held_out_words = words_of(text), words_of(held_out)
    inventories: list[Inventory] = []
    curves: list[Curve] = []
    source = None
    for kind in kinds:
        asked: list[int | None] = [] if kind == "characters" else [*sorted(sizes)]
        whole: list[int | None] = [] if kind == "bpe" else [None]
        for size in asked + whole:
            vocabulary = build(
                kind, texts, size=size, language=language, syllable_counts=syllable_counts, flag="--sizes"
            )
            if kind in CUT and size is not None and vocabulary.size < size:
                continue  # the whole of them is fewer, and comes last
            inventories.append(measure(vocabulary, size, text, held_out))
        curves.append(curve(vocabulary, words, held_out_words))
        if isinstance(vocabulary.splitter, Syllables) and syllable_counts:
            counted = {word: n for word, n in words.items() if word.lower() in syllable_counts}
            met = sum(
                n for word, n in counted.items()
                if len(vocabulary.splitter.pieces(word)) == syllable_counts[word.lower()]
            )  # fmt: skip
            total = sum(counted.values())
            source = SyllableSource(total / words.total(), met / max(total, 1))
    seconds = sum(line.seconds or 0.0 for line in text)
    return Report(
        heading, len(text), words.total(), held_out_words.total(), seconds, tuple(inventories), tuple(curves), source
    )


def table(report: Report) -> Table:
    """One row for each kind and size, within 80 columns."""
    drawn = Table(
        title=report.heading, title_justify="left", title_style="bold", header_style="bold", box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )  # fmt: skip
    drawn.add_column("kind", no_wrap=True)
    for name in (
        "units",
        "rare,\n%",
        "labels/\nword",
        "unseen,\n%",
        "unwrit-\nable, %",
        "frames/\nlabel",
        "infeas-\nible, %",
    ):
        drawn.add_column(name, justify="right", no_wrap=True)
    for row, following in zip_longest(report.inventories, report.inventories[1:]):
        timing = row.timing
        drawn.add_row(
            row.kind,
            ("" if row.asked_size is not None or row.kind == "characters" else "all ") + f"{row.size:,}",
            f"{100 * row.rare_share:.1f}",
            f"{row.labels_per_word:.2f}",
            f"{100 * row.unseen_piece_share:.2f}",
            f"{100 * row.unwritable_word_share:.2f}",
            "-" if timing is None else f"{timing.frames_per_label:.1f}",
            "-" if timing is None else f"{100 * timing.infeasible_share:.2f}",
            end_section=following is not None and following.kind != row.kind,
        )
    return drawn


LEGEND = (
    f"rare: units seen fewer than {RARE} times. labels/word: boundaries included. unseen: pieces of held-out text "
    "that are no unit. unwritable: held-out words that the units cannot write. frames/label: of 20 ms. infeasible: "
    "utterances with fewer frames than CTC needs."
)


def coverage_table(report: Report) -> Table:
    """How many of the most frequent pieces cover half, most and nearly all of the text."""
    drawn = Table(header_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    drawn.add_column("most frequent that cover")
    for share in COVERED:
        drawn.add_column(f"{share:.0%}", justify="right")
    for found in report.curves:
        drawn.add_row(found.kind, *(f"{found.covering(share):,}" for share in COVERED))
    return drawn
