"""A preparation from start to end: the shards that are not done yet, then the manifest, rejects and statistics."""

import functools
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from preprocessing.cli.progress import shows_bars
from preprocessing.corpus import Corpus, Reject, manifest_fields, open_corpus
from preprocessing.corpus.report import as_json
from preprocessing.corpus.split import recording_names
from preprocessing.corpus.statistics import Statistics, summarise
from preprocessing.errors import UsageError, counted
from preprocessing.prepare import PrepareConfig
from preprocessing.prepare.engines import ENGINES
from preprocessing.prepare.shards import (
    Cutting,
    Shard,
    fingerprint,
    forget,
    has_usable_rejects,
    is_done,
    read_record,
    split_into_shards,
    write_shard,
)
from preprocessing.storage.atomic_write import write_json_lines, write_text_atomically
from preprocessing.storage.folder_lock import only_writer
from preprocessing.text import corpus_profile, profile

MANIFEST, REJECTS, STATISTICS = "manifest.jsonl", "rejects.jsonl", "statistics.json"
FINGERPRINT = "fingerprint"  # the file that holds the fingerprint of corpus and options of a folder's shards


def prepare(config: PrepareConfig) -> None:
    """Prepare the corpus into `config.output_dir`, going on with what an earlier, stopped call did there.

    Prints the manifest's path with counts to stdout, progress to stderr. Raises UserError where corpus, options or
    folder cannot be used.
    """
    if config.profile is not None:
        profile(config.profile)
    manifest = config.output_dir / MANIFEST
    if manifest.exists() and Path(config.data).exists() and manifest.samefile(config.data):
        raise UsageError(
            f"{config.data} would be overwritten by its own preparation; expected another folder: name one"
        )
    corpus = open_corpus(config.data, check_durations=True, columns=None)
    corpus.print_notes()
    with only_writer(config.output_dir):
        _prepare(config, corpus)


def _prepare(config: PrepareConfig, corpus: Corpus) -> None:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    named = zip(corpus.utterances, recording_names(corpus.utterances), strict=True)
    utterances = [replace(utterance, recording_id=name) for utterance, name in named]
    shards = split_into_shards(utterances, config.shard_seconds)
    folder = _shards_folder(config, corpus)
    cutting = Cutting(config.segmentation, config.max_seconds)
    n_again = _forget_rejects(config.output_dir, shards, cutting)
    if n_again:
        console.print(f"{counted(n_again, 'shard')} with rejected utterances written again")
    remaining = [shard for shard in shards if not is_done(shard, folder)]
    if len(remaining) < len(shards):
        console.print(f"resuming: {len(shards) - len(remaining)} of {len(shards)} shards are done")
    try:
        _write_shards(config, remaining, folder, cutting, console)
    except KeyboardInterrupt:
        console.print("stopped; finished shards are kept: run the same command again to resume")
        raise
    statistics = assemble(config.output_dir, shards, corpus.rejects, config.profile)
    print(
        f"{config.output_dir / MANIFEST}: {counted(statistics.utterances, 'utterance')}, "
        f"{statistics.hours:.2f} h in {counted(len(shards), 'shard')}; {len(statistics.set_aside)} rejected"
    )


def _forget_rejects(output_dir: Path, shards: Sequence[Shard], cutting: Cutting) -> int:
    """Make the shards of a finished preparation be written again that rejected what can be used now, as where its file
    is there by now, and return how many these are. Of one that was stopped they stay, so that it goes on where it was.
    """
    folder = output_dir / "shards"
    if not (output_dir / MANIFEST).exists() or not all(is_done(shard, folder) for shard in shards):
        return 0
    again = [shard for shard in shards if has_usable_rejects(shard, folder, cutting)]
    if again:  # the manifest first: it says that all of the shards are there
        for name in (MANIFEST, REJECTS, STATISTICS):
            (output_dir / name).unlink(missing_ok=True)
    for shard in again:
        forget(shard, folder)
    return len(again)


def _shards_folder(config: PrepareConfig, corpus: Corpus) -> Path:
    """The shards' folder, ready to write to; raises UsageError where it belongs to another preparation."""
    folder, path = config.output_dir / "shards", config.output_dir / FINGERPRINT
    ours = fingerprint(config, corpus)
    try:
        theirs = path.read_text(encoding="utf-8").strip() if path.exists() else None
        if config.overwrite and theirs is not None:  # the manifest first: it says that all of the shards are there
            for name in (MANIFEST, REJECTS, STATISTICS):
                (config.output_dir / name).unlink(missing_ok=True)
        if config.overwrite and folder.exists():
            shutil.rmtree(folder)
        if folder.exists() and any(folder.iterdir()) and theirs != ours:
            raise UsageError(
                f"{config.output_dir} holds a preparation of other data or options, or by another version of this "
                f"command ({theirs}, now {ours}); expected the same to resume: choose another folder, or --overwrite "
                "true"
            )
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(ours + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{config.output_dir}: {error.strerror}; expected a writable folder: choose another") from None
    return folder


def _write_shards(
    config: PrepareConfig, shards: Sequence[Shard], folder: Path, cutting: Cutting, console: Console
) -> None:
    if not shards:
        return
    write = functools.partial(write_shard, folder=folder, cutting=cutting)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[hours]}"))
    times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, *times, console=console, disable=not shows_bars(console)) as bar:
        task = bar.add_task("shards", total=len(shards), hours="")
        seconds = 0.0
        for shard in ENGINES[config.engine](shards, write, min(config.processes, len(shards))):
            seconds += shard.seconds
            bar.update(task, advance=1, hours=f"{seconds / 3600:.2f} h of audio")


def assemble(folder: Path, shards: Sequence[Shard], rejects: Sequence[Reject], profile_name: str | None) -> Statistics:
    """Write rejects.jsonl, statistics.json and manifest.jsonl from the shards' records; return the statistics.

    rejects: those of the corpus's reader; the shards' are added. profile_name: None is that of the utterances'
    languages. The manifest comes last: where it is, all is done.
    """
    records = [read_record(shard, folder / "shards") for shard in shards]
    utterances = tuple(utterance for record in records for utterance in record.utterances)
    sources = [source for record in records for source in record.sources]
    levels = [measured for record in records for measured in record.levels]
    all_rejects = (*rejects, *(reject for record in records for reject in record.rejects))
    corpus = Corpus("manifest.jsonl", utterances, all_rejects)
    name = profile_name or corpus_profile(one.language for one in utterances)
    statistics = summarise(corpus, profile(name), levels)
    write_json_lines(folder / REJECTS, map(asdict, all_rejects))
    write_text_atomically(folder / STATISTICS, as_json(statistics, None))
    lines = (
        manifest_fields(utterance) | source.manifest_fields()
        for utterance, source in zip(utterances, sources, strict=True)
    )
    write_json_lines(folder / MANIFEST, lines)
    return statistics
