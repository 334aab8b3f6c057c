"""`python -m preprocessing.units TEXT...`: count characters, syllables, BPE pieces and words in a corpus.

Thin: options in, text read and counted (`counts`), printed, drawn (`plot`) and written.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from preprocessing.cli.atomic_write import write_output
from preprocessing.cli.errors import UsageError
from preprocessing.cli.options import parse_command, run_command
from preprocessing.plot_style import check_picture_suffix, save_figure

if TYPE_CHECKING:
    from preprocessing.units.counts import UnitReport

DESCRIPTION = (
    "Count what a model's output units could be in a corpus: how many there are, how much text the frequent ones "
    "cover, what of held-out text they cannot write, and how many frames each gets."
)


@dataclass(frozen=True)
class UnitsConfig:
    """What to count, and where to write it. Lists are given as several words: --sizes 500 1000."""

    texts: list[str]
    """corpora (manifests, folders), whose durations are used, and plain text, .txt or .gz"""
    held_out: list[str] = field(default_factory=list)
    """the same, to test the units on (also --held-out); by default the last tenth of the lines by their hash"""
    profile: str = "librispeech"
    """text profile that all texts are normalised under"""
    kinds: list[str] = field(default_factory=lambda: ["characters", "syllables", "bpe", "words"])
    """kinds of unit to count"""
    sizes: list[int] = field(default_factory=lambda: [500, 1000, 2000, 5000])
    """vocabulary sizes of bpe, and cuts of syllables and words"""
    language: str = "en_US"
    """language of the hyphenation that gives syllables, as pyphen names it"""
    dictionary: Path | None = None
    """CMUdict, plain or .gz: an English word is then split into as many syllables as it lists"""
    output: Path | None = None
    """picture to write (also -o): .png, .pdf or .svg"""
    json: Path | None = None
    """file to write all figures to"""

    def check(self) -> None:
        """Raises UsageError naming the first value that cannot be used."""
        from preprocessing.units.build import check_kind

        if not self.texts or not self.kinds or not self.sizes:
            empty = next(name for name in ("texts", "kinds", "sizes") if not getattr(self, name))
            raise UsageError(f"{empty} is empty; expected one or more: see --help")
        for kind in self.kinds:
            check_kind(kind)
        check_picture_suffix(self.output, "--output")
        if self.dictionary is not None and not self.language.startswith("en"):
            raise UsageError(
                f"--dictionary is set and --language is {self.language}; expected English, the language of CMUdict: "
                "leave it out"
            )


def main(arguments: Sequence[str] | None = None) -> None:
    config = parse_command(
        UnitsConfig,
        program="python -m preprocessing.units",
        description=DESCRIPTION,
        arguments=arguments,
        positional=True,
        short={"-o": "--output", "--held-out": "--held_out"},
        several=("texts", "held_out", "kinds", "sizes"),
    )
    config.check()
    from rich.console import Console

    from preprocessing.text import profile
    from preprocessing.units import counts
    from preprocessing.units.syllables import read_cmudict

    syllable_counts = {} if config.dictionary is None else read_cmudict(config.dictionary)
    text = counts.read_lines(config.texts, profile(config.profile))
    if config.held_out:
        held_out, how = (
            counts.read_lines(config.held_out, profile(config.profile)),
            ", ".join(map(_name, config.held_out)),
        )
    else:
        (text, held_out), how = counts.hold_out(text), "the last tenth of the lines by hash"
    n_words, n_held_out = (sum(len(line.text.split()) for line in lines) for lines in (text, held_out))
    heading = (
        f"{', '.join(map(_name, config.texts))}: {len(text):,} lines, {n_words:,} words; held out: {how}, "
        f"{n_held_out:,} words; profile {config.profile}"
    )
    report = counts.count_units(
        heading, text, held_out, kinds=config.kinds, sizes=config.sizes, language=config.language,
        syllable_counts=syllable_counts,
    )  # fmt: skip
    Console().print(counts.table(report), counts.LEGEND, counts.coverage_table(report), _syllable_note(report, config))
    if config.json is not None:
        write_output(
            config.json, "--json", (json.dumps(report.as_json(), indent=1, ensure_ascii=False) + "\n").encode()
        )
    if config.output is not None:
        from preprocessing.units.plot import draw_units

        save_figure(draw_units(report), config.output, flag="--output")


def _syllable_note(report: "UnitReport", config: UnitsConfig) -> str:
    """Where the syllables are from, in one line; nothing where none were counted."""
    if "syllables" not in config.kinds:
        return ""
    source = report.syllable_source
    if source is None:
        return f"Syllables: pyphen's hyphenation for {config.language}, no dictionary."
    return (
        f"Syllables: CMUdict lists {source.counted_share:.1%} of the running words, and {source.met_share:.2%} of "
        f"those are split into as many syllables; the rest by pyphen's hyphenation for {config.language} alone."
    )


def _name(reference: str) -> str:
    """The last two parts of the path: train.jsonl alone would say little."""
    return "/".join(Path(reference).parts[-2:])


if __name__ == "__main__":
    run_command(main)
