"""A preparation from start to end: begun anew or gone on with, shard by shard, then assembled."""

import functools
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from preprocessing.cli.atomic_write import write_text_atomically
from preprocessing.cli.errors import UsageError
from preprocessing.corpus import Corpus, Reject, Utterance, open_corpus
from preprocessing.corpus.report import as_json
from preprocessing.corpus.statistics import Statistics, summarise
from preprocessing.prepare import PrepareConfig
from preprocessing.prepare.engines import ENGINES
from preprocessing.prepare.shards import Cutting, Shard, fingerprint, is_done, make_plan, read_record, write_shard
from preprocessing.text import profile

FINGERPRINT = "fingerprint"  # the file that says of what corpus and options a folder's shards are


def prepare(config: PrepareConfig) -> None:
    """Do what is left to do. Raises UserError where corpus, options or folder cannot be used."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    profile(config.profile)
    corpus = open_corpus(config.data)
    shards = make_plan(corpus.utterances, config.shard_seconds)
    folder = _folder(config, corpus)
    left = [shard for shard in shards if not is_done(shard, folder)]
    if len(left) < len(shards):
        console.print(f"going on: {len(shards) - len(left)} of {len(shards)} shards are done")
    try:
        _work(config, left, folder, console)
    except KeyboardInterrupt:
        console.print("stopped; what is done is kept: run the same command again to go on")
        raise
    found = assemble(config.output, shards, corpus.rejects, config.profile)
    print(
        f"{config.output / 'manifest.jsonl'}: {found.utterances} utterances, {found.hours:.2f} h in {len(shards)} "
        f"shards; {len(found.set_aside)} set aside"
    )


def _folder(config: PrepareConfig, corpus: Corpus) -> Path:
    """The shards' folder, ready to write to; raises UsageError where it belongs to another preparation."""
    folder, mark = config.output / "shards", config.output / FINGERPRINT
    told = fingerprint(config, corpus)
    try:
        if config.overwrite and folder.exists():
            shutil.rmtree(folder)
        found = mark.read_text(encoding="utf-8").strip() if mark.exists() else None
        if folder.exists() and any(folder.iterdir()) and found != told:
            raise UsageError(
                f"{config.output} holds a preparation of other data or options ({found}, now {told}); expected the "
                "same to go on: choose another folder, or --overwrite true"
            )
        folder.mkdir(parents=True, exist_ok=True)
        mark.write_text(told + "\n", encoding="utf-8")
        for unfinished in folder.glob(".*.partial*"):
            unfinished.unlink()
    except OSError as error:
        raise UsageError(f"{config.output}: {error.strerror}; expected a folder to write to: choose another") from None
    return folder


def _work(config: PrepareConfig, left: Sequence[Shard], folder: Path, console: Console) -> None:
    if not left:
        return
    work = functools.partial(write_shard, folder=folder, cutting=Cutting(config.segment, config.max_seconds))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[hours]}"))
    times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, *times, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("shards", total=len(left), hours="")
        seconds = 0.0
        for shard in ENGINES[config.engine](left, work, min(config.processes, len(left))):
            seconds += shard.seconds
            bar.update(task, advance=1, hours=f"{seconds / 3600:.2f} h of audio")


def assemble(folder: Path, shards: Sequence[Shard], rejects: Sequence[Reject], profile_name: str) -> Statistics:
    """Write the three files, the manifest last: a preparation is finished when it is there.

    rejects: what the corpus's reader had set aside. Returns what statistics.json says.
    """
    records = [read_record(shard, folder / "shards") for shard in shards]
    utterances = tuple(utterance for record in records for utterance in record.utterances)
    sounds = [sound for record in records for sound in record.sounds]
    all_rejects = (*rejects, *(reject for record in records for reject in record.rejects))
    corpus = Corpus("manifest.jsonl", utterances, all_rejects)
    found = summarise(corpus, profile(profile_name), sounds)
    write_text_atomically(folder / "rejects.jsonl", "".join(_line(asdict(reject)) for reject in all_rejects))
    write_text_atomically(folder / "statistics.json", as_json(found, None))
    write_text_atomically(folder / "manifest.jsonl", "".join(_line(_manifest_fields(utterance)) for utterance in utterances))
    return found


def _manifest_fields(utterance: Utterance) -> dict[str, Any]:
    """Without what is not known."""
    values = {field.name: getattr(utterance, field.name) for field in fields(utterance)}
    values["segments"] = [asdict(segment) for segment in utterance.segments] or None
    return {key: value for key, value in values.items() if value is not None}


def _line(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False) + "\n"
