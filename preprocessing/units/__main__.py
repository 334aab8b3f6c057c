"""`python -m preprocessing.units TEXT...`: count characters, syllables, BPE pieces and words in a corpus.

Thin: options in, text read (`texts`), counted (`report`), printed, drawn (`picture`) and written.
"""

import io
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from preprocessing.cli.atomic_write import write_output
from preprocessing.cli.errors import UsageError
from preprocessing.cli.options import parse_command, run_command

if TYPE_CHECKING:
    from preprocessing.units.counts import Report

DESCRIPTION = (
    "Count what a model's output units could be in a corpus: how many there are, how much text the frequent ones "
    "cover, what of held-out text they cannot write, and how many frames each gets."
)
SUFFIXES = (".png", ".pdf", ".svg")


@dataclass(frozen=True)
class UnitsConfig:
    """What to count, and where to write it."""

    texts: list[str]
    """manifests or corpus folders, which know durations, and plain text, .txt or .gz"""
    held_out: list[str] = field(default_factory=list)
    """the same, not counted but tested on (also --held-out); by default the last tenth of the lines by their hash"""
    profile: str = "librispeech"
    """text profile that everything is read by"""
    kinds: list[str] = field(default_factory=lambda: ["characters", "syllables", "bpe", "words"])
    """kinds of unit to count"""
    sizes: list[int] = field(default_factory=lambda: [500, 1000, 2000, 5000])
    """vocabulary sizes of bpe, and cuts of syllables and words"""
    language: str = "en_US"
    """of the hyphenation that parts syllables, as pyphen names it"""
    dictionary: Path | None = None
    """CMUdict's file, plain or .gz: English syllables are then as many as it counts in a word"""
    output: Path | None = None
    """a picture to draw (also -o): .png, .pdf or .svg"""
    json: Path | None = None
    """a file for all figures"""

    def check(self) -> None:
        """Raises UsageError naming the first thing that is wrong."""
        from preprocessing.units.build import check_kind

        if not self.texts or not self.kinds or not self.sizes:
            empty = next(name for name in ("texts", "kinds", "sizes") if not getattr(self, name))
            raise UsageError(f"{empty} is empty; expected one or more: see --help")
        for kind in self.kinds:
            check_kind(kind)
        if self.output is not None and self.output.suffix.lower() not in SUFFIXES:
            raise UsageError(
                f"--output {self.output}: suffix {self.output.suffix!r}; expected one of {', '.join(SUFFIXES)}: choose "
                "one of them"
            )
        if self.dictionary is not None and not self.language.startswith("en"):
            raise UsageError(
                f"--dictionary is set and --language is {self.language}; expected English, which CMUdict is of: leave "
                "it out"
            )


def main(arguments: Sequence[str] | None = None) -> None:
    config = parse_command(
        UnitsConfig,
        program="python -m preprocessing.units",
        description=DESCRIPTION,
        arguments=lists_together(sys.argv[1:] if arguments is None else arguments),
        positional=True,
        short={"-o": "--output"},
    )
    config.check()
    from rich.console import Console

    from preprocessing.text import profile
    from preprocessing.units import counts as report
    from preprocessing.units import counts as texts
    from preprocessing.units.syllables import read_cmudict

    counts = {} if config.dictionary is None else read_cmudict(config.dictionary)
    text = texts.read(config.texts, profile(config.profile))
    if config.held_out:
        held_out, how = texts.read(config.held_out, profile(config.profile)), ", ".join(map(_name, config.held_out))
    else:
        (text, held_out), how = texts.hold_out(text), "the last tenth of the lines by hash"
    n_words, n_held_out = (sum(len(line.text.split()) for line in lines) for lines in (text, held_out))
    heading = (
        f"{', '.join(map(_name, config.texts))}: {len(text):,} lines, {n_words:,} words; held out: {how}, "
        f"{n_held_out:,} words; profile {config.profile}"
    )
    counted = report.count(
        heading, text, held_out, kinds=config.kinds, sizes=config.sizes, language=config.language,
        syllable_counts=counts,
    )  # fmt: skip
    Console().print(report.table(counted), report.LEGEND, report.coverage_table(counted), _syllables(counted, config))
    if config.json is not None:
        write_output(
            config.json, "--json", (json.dumps(counted.as_json(), indent=1, ensure_ascii=False) + "\n").encode()
        )
    if config.output is not None:
        from preprocessing.units.plot import picture

        content = io.BytesIO()
        picture(counted).savefig(content, format=config.output.suffix[1:].lower())
        write_output(config.output, "--output", content.getvalue())


def lists_together(words: Sequence[str]) -> list[str]:
    """Words that follow each other where a list is expected, as the one list that the parser expects.

    >>> lists_together(["a.txt", "b.txt", "--sizes", "100", "200", "-o", "x.png"])
    ['["a.txt", "b.txt"]', '--sizes', '[100, 200]', '-o', 'x.png']
    """
    found: list[str] = []
    gathered: list[str] = []
    flag = ""
    for word in [*words, "-"]:
        if flag in ("", "--kinds", "--sizes", "--held_out") and not word.startswith("-"):
            gathered.append(word)
            continue
        if gathered and not (len(gathered) == 1 and gathered[0].startswith("[")):
            gathered = [json.dumps([int(x) if flag == "--sizes" and x.isdecimal() else x for x in gathered])]
        found += gathered
        gathered = []
        if word.startswith("-"):
            flag = {"--held-out": "--held_out"}.get(word, word)
            found.append(flag)
        else:
            found.append(word)
    return found[:-1]


def _syllables(counted: "Report", config: UnitsConfig) -> str:
    """Where the syllables are from, in one line."""
    if "syllables" not in config.kinds:
        return ""
    source = counted.syllable_source
    if source is None:
        return f"Syllables: pyphen's hyphenation for {config.language}, no dictionary."
    return (
        f"Syllables: CMUdict counts them in {source.counted_share:.1%} of the running words, and "
        f"{source.met_share:.2%} of those are parted into as many; the rest by pyphen's hyphenation for "
        f"{config.language} alone."
    )


def _name(reference: str) -> str:
    """The file with the folder it is in: train.jsonl alone would say little."""
    return "/".join(Path(reference).parts[-2:])


if __name__ == "__main__":
    run_command(main)
