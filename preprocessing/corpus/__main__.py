"""`python -m preprocessing.corpus DATA [--against OTHER]`: the statistics of a corpus, its faults, and its leaks.

Thin: options in, corpora opened and measured, JSON and picture written, tables printed.
"""

import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from preprocessing.cli.cores import usable_cores
from preprocessing.cli.options import check_counts, parse_command, run_command
from preprocessing.errors import counted
from preprocessing.plot_style import check_picture_suffix, save_figure
from preprocessing.storage.atomic_write import write_output

if TYPE_CHECKING:
    from preprocessing.corpus import Corpus
    from preprocessing.corpus.levels import AudioLevels

DESCRIPTION = (
    "Measure a corpus: hours, speakers, speaking rates, levels, clipping, duplicates, and leaks into another corpus."
)


@dataclass(frozen=True)
class CorpusConfig:
    """Which corpus to measure, and where to write the results."""

    renamed: ClassVar[Mapping[str, str]] = {"output": "plot"}

    data: str
    """A manifest (JSONL, CSV, TSV), a folder or file of any layout in docs/corpora.md, or
    hf:DATASET[:CONFIG[:SPLIT[:COUNT]]]."""
    against: str | None = None
    """Another corpus: list what the two share. A test set should share nothing with its training set."""
    json: Path | None = None
    """File for all statistics, with the complete lists of findings."""
    plot: Path | None = None
    """Picture to write (also -o): .png, .pdf or .svg."""
    audio: bool = True
    """Decode the audio and measure levels, clipping, silence and duplicates; --no-audio leaves that out."""
    profile: str | None = None
    """Text normalisation profile for counting and comparing texts. Default: the one that a benchmark scores the corpus
    under: basic:LANGUAGE of the language that all utterances name, basic of several, librispeech of English or none."""
    limit: int | None = None
    """Measure only this many utterances, evenly spaced in the corpus; of a dataset of the Hub or of parquet files, the
    first."""
    workers: int | None = None
    """Number of decoding processes; 0 decodes in the main process. Default: one per CPU core."""

    def check(self) -> None:
        """Raises UsageError on a value that cannot be used, before anything is read."""
        check_picture_suffix(self.plot, "--plot")
        check_counts(("--limit", self.limit, 1), ("--workers", self.workers, 0))


def main(arguments: Sequence[str] | None = None) -> None:
    config = parse_command(
        CorpusConfig,
        program="python -m preprocessing.corpus",
        description=DESCRIPTION,
        arguments=arguments,
        positional=True,
        short={"-o": "--plot", "--no-audio": "--audio=false"},
    )
    config.check()
    from rich.console import Console

    from preprocessing.corpus import report
    from preprocessing.corpus.statistics import find_leaks, summarise
    from preprocessing.text import corpus_profile, profile

    given = None if config.profile is None else profile(config.profile)
    corpus = _open(config.data, config.limit)
    text_profile = given or profile(corpus_profile(one.language for one in corpus.utterances))
    other = None if config.against is None else _open(config.against, None)
    levels = _measure(corpus, config) if config.audio else None
    statistics = summarise(corpus, text_profile, levels)
    leaks = None
    if other is not None:
        other_levels = _measure(other, config) if config.audio else None
        both = None if levels is None or other_levels is None else (levels, other_levels)
        leaks = find_leaks(corpus, other, text_profile, both)
    if config.json is not None:
        write_output(config.json, "--json", report.as_json(statistics, leaks).encode("utf-8", "backslashreplace"))
    if config.plot is not None:
        from preprocessing.corpus.levels import AudioLevels
        from preprocessing.corpus.plot import UtteranceValues, draw_corpus

        values = UtteranceValues(
            seconds=[u.duration for u in corpus.utterances],
            characters_per_second=[len(text) / u.duration for u in corpus.utterances if (text := text_profile(u.text))],
            rms_dbfs=[one.rms_dbfs for one in levels or () if isinstance(one, AudioLevels)],
        )
        save_figure(draw_corpus(statistics, values), config.plot, flag="--plot")
    console = Console(width=None if sys.stdout.isatty() else max(Console().width, 110))
    report.print_report(console, statistics, leaks, remedy=" (`--json FILE` lists all)")
    for path in (config.json, config.plot):
        if path is not None:
            print(path)


def _open(reference: str, limit: int | None) -> "Corpus":
    from preprocessing.corpus import open_corpus

    began, processor_began = time.perf_counter(), time.process_time()
    corpus = open_corpus(reference, limit=limit, spread=True)
    seconds, processor = time.perf_counter() - began, time.process_time() - processor_began
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{reference}: {counted(len(corpus.utterances), 'utterance')} opened in {seconds:.1f} s "
        f"({processor:.1f} s of processor time), {peak_mb:,.0f} MB peak",
        file=sys.stderr,
    )
    return corpus


def _measure(corpus: "Corpus", config: CorpusConfig) -> "list[AudioLevels | str]":
    from rich.console import Console

    from preprocessing.cli.progress import Steps
    from preprocessing.corpus.levels import UTTERANCES_PER_JOB, measure_corpus

    workers = usable_cores() if config.workers is None else config.workers
    if len(corpus.utterances) <= UTTERANCES_PER_JOB:
        workers = 0
    steps = Steps(Console(stderr=True), 1)
    with steps.step(f"decoding {corpus.reference}", len(corpus.utterances)) as advance:
        return list(measure_corpus(corpus.utterances, workers=workers, progress=advance))


if __name__ == "__main__":
    run_command(main)
