"""Every kind of unit counted on one corpus: the figures of `counts` for each kind and size, as a table and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any

from rich import box
from rich.table import Table

from preprocessing.units.build import build
from preprocessing.units.counts import COVERED, RARE, Curve, Inventory, curve, measure, words_of
from preprocessing.units.syllables import Syllables
from preprocessing.units.texts import Line

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
