"""`python -m preprocessing.units TEXT...`: count characters, syllables, BPE pieces and words in a corpus.

Thin: options in, text read and counted (`counts`), printed, drawn (`plot`) and written.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from preprocessing.cli.options import parse_command, run_command
from preprocessing.errors import UsageError
from preprocessing.plot_style import check_picture_suffix, save_figure
from preprocessing.storage.atomic_write import write_output

if TYPE_CHECKING:
    from preprocessing.units.counts import UnitReport

DESCRIPTION = (
    "Compare output vocabularies (characters, syllables, BPE, words) on a corpus: their size, the coverage of the "
    "frequent units, the held-out words that they cannot spell, and the frames per label."
)
DEFAULT_HYPHENATION = "en_US"


@dataclass(frozen=True)
class UnitsConfig:
    """What to count, and where to write it. Lists are separated by spaces: --sizes 500 1000."""

    renamed: ClassVar[Mapping[str, str]] = {
        "language": "units_language",
        "dictionary": "units_dictionary",
        "output": "plot",
    }

    texts: list[str]
    """Corpora (manifests, folders), whose durations are used, or plain text, .txt or .gz."""
    held_out: list[str] = field(default_factory=list)
    """Held-out texts of the same kinds (also --held-out). Default: a tenth of the lines, chosen by hash."""
    profile: str | None = None
    """Text normalisation profile of all texts. Default: of corpora, basic:LANGUAGE of the language that all utterances
    name, basic of several; librispeech of English, of none and of plain text."""
    kinds: list[str] = field(default_factory=lambda: ["characters", "syllables", "bpe", "words"])
    """Kinds of units to compare."""
    sizes: list[int] = field(default_factory=lambda: [500, 1000, 2000, 5000])
    """Vocabulary sizes for bpe, syllables and words."""
    units_language: str | None = None
    """Hyphenation language for syllables, as named by pyphen. Default: that of the corpora, where pyphen has it; else,
    and with --units_dictionary, en_US."""
    units_dictionary: Path | None = None
    """CMUdict file, plain or .gz, for the number of syllables of English words."""
    plot: Path | None = None
    """Picture to write (also -o): .png, .pdf or .svg."""
    json: Path | None = None
    """File for all figures, as JSON."""

    def check(self) -> None:
        """Raises UsageError naming the first value that cannot be used."""
        from preprocessing.units.build import check_kind

        if not self.texts or not self.kinds or not self.sizes:
            empty = next(name for name in ("texts", "kinds", "sizes") if not getattr(self, name))
            raise UsageError(f"{empty} is empty; expected one or more: see --help")
        for kind in self.kinds:
            check_kind(kind)
        check_picture_suffix(self.plot, "--plot")
        if self.units_dictionary is not None and not (self.units_language or DEFAULT_HYPHENATION).startswith("en"):
            raise UsageError(
                f"--units_dictionary is set and --units_language is {self.units_language}; expected English, the "
                "language of CMUdict: leave it out"
            )


def main(arguments: Sequence[str] | None = None) -> None:
    config = parse_command(
        UnitsConfig,
        program="python -m preprocessing.units",
        description=DESCRIPTION,
        arguments=arguments,
        positional=True,
        short={"-o": "--plot", "--held-out": "--held_out"},
        several=("texts", "held_out", "kinds", "sizes"),
    )
    config.check()
    from rich.console import Console

    from preprocessing.cli.progress import Steps
    from preprocessing.corpus.lines import open_raw_text, profile_by_language, read_lines
    from preprocessing.text import profile
    from preprocessing.units import counts
    from preprocessing.units.syllables import read_cmudict

    syllable_counts = {} if config.units_dictionary is None else read_cmudict(config.units_dictionary)
    console = Console()
    given = None if config.profile is None else profile(config.profile)
    texts = [open_raw_text(reference) for reference in config.texts]
    name, sentence = profile_by_language(texts)
    if given is None and sentence:
        console.print(sentence, highlight=False)
    normalise = given or profile(name)
    steps = Steps(Console(stderr=True), 2, "vocabularies")
    with steps.step("reading texts", 0):
        text = [line for one in texts for line in one.normalised(normalise)]
        if config.held_out:
            held_out, how = read_lines(config.held_out, normalise), ", ".join(map(_name, config.held_out))
        else:
            (text, held_out), how = counts.hold_out(text), "the last tenth of the lines by hash"
    n_words, n_held_out = (sum(len(line.text.split()) for line in lines) for lines in (text, held_out))
    heading = (
        f"{', '.join(map(_name, config.texts))}: {len(text):,} lines, {n_words:,} words; held out: {how}, "
        f"{n_held_out:,} words; profile {normalise.name}"
    )
    language, why = _hyphenation(config, frozenset[str | None]().union(*(one.languages for one in texts)))
    with steps.step("counting units", len(config.kinds) * (len(config.sizes) + 1)) as advance:  # at most
        report = counts.count_units(
            heading, text, held_out, kinds=config.kinds, sizes=config.sizes, language=language,
            syllable_counts=syllable_counts, measured=lambda: advance(1),
        )  # fmt: skip
    note = _syllable_note(report, config, language + why)
    console.print(counts.table(report), counts.LEGEND, counts.coverage_table(report), note)
    if config.json is not None:
        write_output(
            config.json, "--json", (json.dumps(report.as_json(), indent=1, ensure_ascii=False) + "\n").encode()
        )
    if config.plot is not None:
        from preprocessing.units.plot import draw_units

        save_figure(draw_units(report), config.plot, flag="--plot")


def _hyphenation(config: UnitsConfig, languages: Collection[str | None]) -> tuple[str, str]:
    """pyphen's name of the hyphenation, and why it is this one where the options do not name it, for `_syllable_note`.

    languages: those of the corpora's utterances.
    """
    from preprocessing.text.languages import language_code, regional_code
    from preprocessing.units.syllables import hyphenation_of

    if config.units_language is not None:
        return config.units_language, ""
    if config.units_dictionary is not None:
        return DEFAULT_HYPHENATION, ""
    for code_of in (regional_code, language_code):
        codes = {None if name is None else code_of(name) for name in languages}
        code = codes.pop() if len(codes) == 1 else None
        found = None if code is None else hyphenation_of(code)
        if found is not None:
            return found, " (the corpus's language)"
    return DEFAULT_HYPHENATION, " (the default: --units_language names another)"


def _syllable_note(report: "UnitReport", config: UnitsConfig, hyphenation: str) -> str:
    """Where the syllables are from, in one line; nothing where none were counted."""
    if "syllables" not in config.kinds:
        return ""
    source = report.syllable_source
    if source is None:
        return f"Syllables: pyphen's hyphenation for {hyphenation}, no dictionary."
    return (
        f"Syllables: CMUdict lists {source.counted_share:.1%} of the running words, and {source.met_share:.2%} of "
        f"those are split into as many syllables; the rest by pyphen's hyphenation for {hyphenation} alone."
    )


def _name(reference: str) -> str:
    """The last two parts of the path: train.jsonl alone would say little."""
    return "/".join(Path(reference).parts[-2:])


if __name__ == "__main__":
    run_command(main)
