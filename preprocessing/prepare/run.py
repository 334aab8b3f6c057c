"""A preparation from start to end: the shards that are not done yet, then the manifest, rejects and statistics."""

import functools
import shutil
from collections.abc import Sequence, Set
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console

from preprocessing.cli.progress import Steps
from preprocessing.corpus import Corpus, manifest_fields, open_corpus
from preprocessing.corpus.report import as_json
from preprocessing.corpus.split import recording_name, recordings_folder
from preprocessing.corpus.statistics import RunningStatistics, Statistics
from preprocessing.errors import UsageError, counted
from preprocessing.prepare import PrepareConfig
from preprocessing.prepare.division import Shard, fingerprint, split_into_shards
from preprocessing.prepare.engines import ENGINES
from preprocessing.prepare.shards import (
    RECORD_SUFFIX,
    Cutting,
    described,
    forget,
    has_changed_rejects,
    made_of,
    read_record,
    shards_in,
    write_shard,
)
from preprocessing.storage.atomic_write import (
    atomic_file,
    json_line,
    write_json_lines,
    write_text_atomically,
)
from preprocessing.storage.folder_lock import only_writer
from preprocessing.text import corpus_profile, profile

MANIFEST, REJECTS, STATISTICS = "manifest.jsonl", "rejects.jsonl", "statistics.json"
FINGERPRINT = "fingerprint"  # the file that holds the fingerprint of version and options of a folder's shards


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
    shards = split_into_shards(corpus.utterances, config.shard_seconds)
    folder = _shards_folder(config)
    was_finished = (config.output_dir / MANIFEST).exists()
    done, found = shards_in(folder)
    stale = found - {shard.name for shard in shards}
    if stale & done:
        _check_same_data(config, shards, folder, done)
    new = [shard for shard in shards if shard.name not in done]
    again = [shard for shard in shards if shard.name in done and has_changed_rejects(shard, folder)]
    n_kept = len(shards) - len(new) - len(again)
    if stale & done or (was_finished and new):
        console.print(f"the data has changed: {len(new)} of {counted(len(shards), 'shard')} to write, {n_kept} kept")
    elif n_kept:
        console.print(f"resuming: {n_kept} of {len(shards)} shards are done")
    if again:
        console.print(f"{counted(len(again), 'shard')} with rejected utterances written again, as their files changed")
    remaining = [*new, *again]
    if remaining or stale:
        _remove_lists(config.output_dir)
    for shard in remaining:
        forget(shard.name, folder)
    try:
        _write_shards(config, remaining, folder, Cutting(config.segmentation, config.max_seconds), console)
    except KeyboardInterrupt:
        console.print("stopped; finished shards are kept: run the same command again to resume")
        raise
    for name in stale:  # last: until here, the data of before can be gone back to
        forget(name, folder)
    statistics, wrong_durations = assemble(config.output_dir, shards, corpus, config.profile)
    if wrong_durations:
        console.print(replace(corpus, wrong_durations=wrong_durations).duration_note, markup=False)
    print(
        f"{config.output_dir / MANIFEST}: {counted(statistics.utterances, 'utterance')}, "
        f"{statistics.hours:.2f} h in {counted(len(shards), 'shard')}; {len(statistics.set_aside)} rejected"
    )


def _check_same_data(config: PrepareConfig, shards: Sequence[Shard], folder: Path, done: Set[str]) -> None:
    """Raises UsageError where more than half of the utterances in the folder are not in the data: it was made of
    another corpus, rather than of this one before it was corrected or added to.

    done: names of the folder's shards that are done.
    """
    kept = [shard for shard in shards if shard.name in done]
    known = {described(utterance) for shard in shards for utterance in shard.utterances}
    stale = [one for name in sorted(done - {shard.name for shard in kept}) for one in made_of(name, folder)]
    n_before = len(stale) + sum(len(shard.utterances) for shard in kept)
    lost = [id for id, file in stale if (id, file) not in known]
    if 2 * len(lost) > n_before:
        raise UsageError(
            f"{config.output_dir} holds a preparation of other data: {len(lost)} of its "
            f"{counted(n_before, 'utterance')}, such as {lost[0]!r}, are not in {config.data}; expected the same data, "
            "corrected or added to: choose another folder, or --overwrite true"
        )


def _shards_folder(config: PrepareConfig) -> Path:
    """The shards' folder, ready to write to; raises UsageError where it was made with other options."""
    folder, path = config.output_dir / "shards", config.output_dir / FINGERPRINT
    ours = fingerprint(config)
    try:
        theirs = path.read_text(encoding="utf-8").strip() if path.exists() else None
        if config.overwrite and theirs is not None:
            _remove_lists(config.output_dir)
        if config.overwrite and folder.exists():
            for record in folder.glob(f"*{RECORD_SUFFIX}"):  # without it, a shard is not done, also after a kill
                record.unlink()
            shutil.rmtree(folder)
        if folder.exists() and any(folder.iterdir()) and theirs != ours:
            raise UsageError(
                f"{config.output_dir} holds a preparation with other options, or by another version of this command "
                f"({theirs}, now {ours}); expected the same to resume: choose another folder, or --overwrite true"
            )
        folder.mkdir(parents=True, exist_ok=True)
        if theirs != ours:
            write_text_atomically(path, ours + "\n")
    except OSError as error:
        raise UsageError(f"{config.output_dir}: {error.strerror}; expected a writable folder: choose another") from None
    return folder


def _remove_lists(output_dir: Path) -> None:
    """Remove manifest, rejects and statistics, before any shard: the manifest says that all of the shards are there."""
    for name in (MANIFEST, REJECTS, STATISTICS):
        (output_dir / name).unlink(missing_ok=True)


def _write_shards(
    config: PrepareConfig, shards: Sequence[Shard], folder: Path, cutting: Cutting, console: Console
) -> None:
    if not shards:
        return
    write = functools.partial(write_shard, folder=folder, cutting=cutting)
    hours = sum(shard.seconds for shard in shards) / 3600
    with Steps(console, 1, "shards").step(f"writing {hours:.2f} h of audio", len(shards)) as advance:
        for _ in ENGINES[config.engine](shards, write, min(config.processes, len(shards))):
            advance(1)


def assemble(
    folder: Path, shards: Sequence[Shard], corpus: Corpus, profile_name: str | None
) -> tuple[Statistics, tuple[str, ...]]:
    """Write rejects.jsonl, statistics.json and manifest.jsonl from the shards' records, of which one at a time is in
    memory; return the statistics, and the ids of utterances whose stated duration was not their file's.

    corpus: that the shards are of; its rejects come first. profile_name: None is that of the utterances' languages.
    The manifest comes last: where it is, all is done.
    """
    name = profile_name or corpus_profile(one.language for one in corpus.utterances)
    statistics = RunningStatistics(profile(name), audio=True)
    rejects = list(corpus.rejects)
    wrong_durations: list[str] = []
    recordings = recordings_folder(corpus.utterances)
    with atomic_file(folder / MANIFEST) as partial:
        with partial.open("w", encoding="utf-8") as file:
            for shard in shards:
                record = read_record(shard.name, folder / "shards")
                for piece in record.pieces:
                    origin = shard.utterances[piece.index]
                    utterance = replace(piece.utterance, recording_id=recording_name(origin, recordings))
                    file.write(json_line(manifest_fields(utterance) | piece.source.manifest_fields()))
                    statistics.add(utterance, piece.levels)
                rejects += [rejected.reject for rejected in record.rejects]
                wrong_durations += record.wrong_durations
        write_json_lines(folder / REJECTS, map(asdict, rejects))
        found = statistics.statistics(MANIFEST, rejects)
        write_text_atomically(folder / STATISTICS, as_json(found, None))
    return found, tuple(wrong_durations)
