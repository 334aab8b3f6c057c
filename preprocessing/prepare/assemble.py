"""The shards' records put together in their order: manifest.jsonl, rejects.jsonl, statistics.json."""

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from preprocessing.corpus import Corpus, Reject, Utterance
from preprocessing.corpus.report import as_json
from preprocessing.corpus.statistics import Statistics, summarise
from preprocessing.prepare.plan import Shard
from preprocessing.prepare.shard import read_record
from preprocessing.text import profile
from preprocessing.whole import write_whole


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
    write_whole(folder / "rejects.jsonl", "".join(_line(asdict(reject)) for reject in all_rejects))
    write_whole(folder / "statistics.json", as_json(found, None))
    write_whole(folder / "manifest.jsonl", "".join(_line(_manifest_fields(utterance)) for utterance in utterances))
    return found


def _manifest_fields(utterance: Utterance) -> dict[str, Any]:
    """Without what is not known."""
    values = {field.name: getattr(utterance, field.name) for field in fields(utterance)}
    values["segments"] = [asdict(segment) for segment in utterance.segments] or None
    return {key: value for key, value in values.items() if value is not None}


def _line(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False) + "\n"
