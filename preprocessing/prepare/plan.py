"""Which utterances go into which shard: a function of the corpus and the options, never of who does the work."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

from preprocessing.corpus import Corpus, Utterance
from preprocessing.prepare.config import PrepareConfig

FORMAT = 1  # rises whenever the same corpus and options would give other bytes


@dataclass(frozen=True)
class Shard:
    """One job: these utterances, in this order, into one FLAC file."""

    number: int
    utterances: tuple[Utterance, ...]

    @property
    def name(self) -> str:
        """
        >>> Shard(7, ()).name
        '000007'
        """
        return f"{self.number:06d}"

    @property
    def seconds(self) -> float:
        return sum(utterance.duration for utterance in self.utterances)


def make_plan(utterances: Sequence[Utterance], shard_seconds: float) -> list[Shard]:
    """Neighbours together, a new shard as soon as one holds `shard_seconds` of what the corpus says it holds."""
    shards: list[Shard] = []
    gathered: list[Utterance] = []
    seconds = 0.0
    for utterance in utterances:
        gathered.append(utterance)
        seconds += utterance.duration
        if seconds >= shard_seconds:
            shards.append(Shard(len(shards), tuple(gathered)))
            gathered, seconds = [], 0.0
    if gathered:
        shards.append(Shard(len(shards), tuple(gathered)))
    return shards


def fingerprint(config: PrepareConfig, corpus: Corpus) -> str:
    """Of all that the bytes of the shards depend on: a preparation goes on only under the same one.

    Files are told apart by their names; one whose content changed in between is not noticed.
    """
    digest = hashlib.sha256()
    options = [FORMAT, config.segment, config.max_seconds, config.shard_seconds]
    digest.update(json.dumps(options).encode())
    for one in corpus.utterances:
        audio = hashlib.sha256(one.audio).hexdigest() if isinstance(one.audio, bytes) else os.fspath(one.audio)
        facts = [one.id, audio, one.text, one.duration, one.speaker, one.sex, one.language, one.domain]
        digest.update(json.dumps([*facts, one.start, one.stop]).encode())
        if one.segments:
            digest.update(repr(one.segments).encode())
    return digest.hexdigest()[:16]
