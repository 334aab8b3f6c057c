"""The division of a corpus into shards, each named after its content, so that a corpus that has changed has most of
the shards that it had.

The end of a shard is decided by the utterances around it alone (content-defined chunking, as in Muthitacharoen et al.
2001, "A low-bandwidth network file system"): where utterances are added, removed or corrected, a shard or a few are
others, and those behind end where they did.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

from preprocessing.corpus import Utterance
from preprocessing.prepare import PrepareConfig
from preprocessing.storage.file_identity import common_folder, sampled

FORMAT = 5  # rises whenever the same corpus and options would give other bytes
SHORTEST_SHARE = 0.5  # of shard_seconds, at which a shard may end
ENDS_PER_SHARD = 4.0  # utterances that may end a shard in shard_seconds of audio, on average
MOST_ENDS = 0.5  # of the utterances, where they are long: were it all, shards would be counted off from the beginning


@dataclass(frozen=True)
class Shard:
    """One job: these utterances, in this order, into one FLAC file. name: the stem of the shard's files, a digest."""

    name: str
    utterances: tuple[Utterance, ...]

    @property
    def seconds(self) -> float:
        """The sum of the utterances' durations."""
        return sum(utterance.duration for utterance in self.utterances)


def split_into_shards(utterances: Sequence[Utterance], shard_seconds: float) -> list[Shard]:
    """Shards of neighbouring utterances, each closed when its durations sum to `shard_seconds` or more, or from half of
    that on at an utterance that may end a shard: a part of all utterances, by a hash of their ids.
    """
    shards: list[Shard] = []
    gathered: list[Utterance] = []
    seconds = 0.0
    for utterance in utterances:
        gathered.append(utterance)
        seconds += utterance.duration
        is_long = seconds >= SHORTEST_SHARE * shard_seconds
        if seconds >= shard_seconds or (is_long and _may_end(utterance, shard_seconds)):
            shards.append(_shard(gathered))
            gathered, seconds = [], 0.0
    if gathered:
        shards.append(_shard(gathered))
    return shards


def fingerprint(config: PrepareConfig) -> str:
    """A digest, 16 hexadecimal digits, of version and options that all shards depend on: the same goes on."""
    options = [FORMAT, config.segmentation, config.max_seconds, config.shard_seconds]
    return hashlib.sha256(json.dumps(options).encode()).hexdigest()[:16]


def _may_end(utterance: Utterance, shard_seconds: float) -> bool:
    digest = hashlib.blake2b(utterance.id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    share = int.from_bytes(digest, "big") / 2.0**64
    return share < min(utterance.duration * ENDS_PER_SHARD / shard_seconds, MOST_ENDS)


def _shard(utterances: Sequence[Utterance]) -> Shard:
    """The shard of the utterances, under a digest of them in 16 hexadecimal digits.

    Audio files count by their paths below the folder that all of the shard's are in, so that a corpus that is moved, or
    named otherwise, has the same shards; and the first file by a part of its content, by which another corpus of the
    same names is noticed.
    """
    paths = [os.fspath(one.audio) for one in utterances if not isinstance(one.audio, bytes)]
    folder = common_folder(paths)
    size, content = sampled(paths[0]) if paths else (0, b"")
    digest = hashlib.sha256(json.dumps([size, content.hex()]).encode())
    relative = {path: os.path.relpath(path, folder) for path in set(paths)}
    for u in utterances:
        audio = hashlib.sha256(u.audio).hexdigest() if isinstance(u.audio, bytes) else relative[os.fspath(u.audio)]
        fields = [u.id, audio, u.text, u.duration, u.speaker, u.sex, u.language, u.domain, u.start, u.stop]
        fields += [{"channel": u.channel, "recording_id": u.recording_id, "columns": u.columns}]
        parts = [[(part.start, part.stop, part.text) for part in own] for own in (u.segments, u.words)]
        digest.update(json.dumps([*fields, *parts]).encode())
    return Shard(digest.hexdigest()[:16], tuple(utterances))
