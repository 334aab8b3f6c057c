"""`python -m preprocessing.corpus DATA [--against OTHER]`: what a corpus is made of, and what is wrong with it.

Thin: options in, corpora opened and measured, JSON and figure written, tables printed.
"""

import os
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from preprocessing.cli.atomic_write import write_output
from preprocessing.cli.errors import UsageError
from preprocessing.cli.options import parse_command, run_command

if TYPE_CHECKING:
    from preprocessing.corpus import Corpus
    from preprocessing.corpus.levels import Sound

DESCRIPTION = "Statistics of a corpus: hours, speakers, rates, levels, clipping, duplicates, leaks into another one."
SUFFIXES = (".png", ".pdf", ".svg")


@dataclass(frozen=True)
class CorpusConfig:
    """What to look at, and where to write what was found."""

    data: str
    """a manifest (JSONL, CSV, TSV, parquet), a folder, or hf:DATASET[:CONFIG[:SPLIT[:COUNT]]]"""
    against: str | None = None
    """another corpus: what the two share, for a test set must share nothing with what was trained on"""
    json: Path | None = None
    """file for all of it, the long lists too"""
    output: Path | None = None
    """figure to write (also -o): .png, .pdf or .svg"""
    audio: bool = True
    """decode the audio (--no-audio leaves it out): levels, clipping, silence, duplicates"""
    profile: str = "librispeech"
    """text profile that texts are counted and compared under"""
    limit: int | None = None
    """look at the first so many utterances only"""
    workers: int | None = None
    """processes that decode; by default one a processor, 0 decodes in this one"""

    def check(self) -> None:
        """Raises UsageError on a value that cannot be, before anything is read."""
        if self.output is not None and self.output.suffix.lower() not in SUFFIXES:
            raise UsageError(
                f"--output {self.output}: suffix {self.output.suffix!r}; expected one of {', '.join(SUFFIXES)}: choose "
                "one of them"
            )
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"--limit is {self.limit}; expected 1 or more: raise it")
        if self.workers is not None and self.workers < 0:
            raise UsageError(f"--workers is {self.workers}; expected 0 or more: raise it")


def main(arguments: Sequence[str] | None = None) -> None:
    config = parse_command(
        CorpusConfig,
        program="python -m preprocessing.corpus",
        description=DESCRIPTION,
        arguments=arguments,
        positional=True,
        short={"-o": "--output", "--no-audio": "--audio=false"},
    )
    config.check()
    from rich.console import Console

    from preprocessing.corpus import plot as figure
    from preprocessing.corpus import report
    from preprocessing.corpus.levels import Sound
    from preprocessing.corpus.statistics import find_leaks, summarise
    from preprocessing.text import profile

    text_profile = profile(config.profile)
    corpus = _opened(config.data, config.limit)
    other = None if config.against is None else _opened(config.against, None)
    sounds = _sounds(corpus, config) if config.audio else None
    found = summarise(corpus, text_profile, sounds)
    leaks = None
    if other is not None:
        theirs = _sounds(other, config) if config.audio else None
        both = None if sounds is None or theirs is None else (sounds, theirs)
        leaks = find_leaks(corpus, other, text_profile, both)
    if config.json is not None:
        write_output(config.json, "--json", report.as_json(found, leaks).encode("utf-8", errors="backslashreplace"))
    if config.output is not None:
        import io

        rates = [len(text) / u.duration for u in corpus.utterances if (text := text_profile(u.text))]
        levels = [sound.rms_dbfs for sound in sounds or () if isinstance(sound, Sound)]
        values = figure.Values([u.duration for u in corpus.utterances], rates, levels)
        picture = io.BytesIO()
        figure.draw(found, values).savefig(picture, format=config.output.suffix[1:].lower())
        write_output(config.output, "--output", picture.getvalue())
    report.print_report(Console(width=None if sys.stdout.isatty() else max(Console().width, 110)), found, leaks)
    for path in (config.json, config.output):
        if path is not None:
            print(path)


def _opened(reference: str, limit: int | None) -> "Corpus":
    from preprocessing.corpus import open_corpus

    began, processor_began = time.perf_counter(), time.process_time()
    corpus = open_corpus(reference, limit=limit)
    seconds, processor = time.perf_counter() - began, time.process_time() - processor_began
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{reference}: {len(corpus.utterances):,} utterances opened in {seconds:.1f} s "
        f"({processor:.1f} s of processor time), {peak_mb:,.0f} MB peak",
        file=sys.stderr,
    )
    return corpus


def _sounds(corpus: "Corpus", config: CorpusConfig) -> "list[Sound | str]":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from preprocessing.corpus.levels import UTTERANCES_PER_JOB, measure_all

    workers = len(os.sched_getaffinity(0)) if config.workers is None else config.workers
    if len(corpus.utterances) <= UTTERANCES_PER_JOB:
        workers = 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"decoding {corpus.reference}", total=len(corpus.utterances))
        return list(measure_all(corpus.utterances, workers=workers, progress=lambda done: bar.advance(task, done)))


if __name__ == "__main__":
    run_command(main)
