"""A corpus divided into training, validation and test so that no speaker, or no recording, is in two of them."""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from preprocessing.audio import StoredAudio
from preprocessing.cli.errors import InputError, counted
from preprocessing.corpus.utterance import Utterance

By = Literal["speaker", "recording"]


def split_corpus(
    utterances: Sequence[Utterance], shares: Mapping[str, float], by: By, seed: int = 0
) -> dict[str, list[Utterance]]:
    """The utterances of each part, in their order; every utterance is in exactly one.

    shares: of the speech, by part; they sum to 1. What belongs together is never divided, so that the parts only come
        near them.
    by: `recording` keeps the utterances of an audio file together; `speaker` also those of a speaker, and with them
        those of all speakers in the same recordings.
    seed: another seed divides otherwise; the same one divides the same utterances alike, whatever their order.

    Raises InputError where an utterance has no speaker to divide by, or fewer groups than parts belong together.
    """
    groups = _groups(utterances, by)
    seconds = {key: sum(utterance.duration for utterance in group) for key, group in groups.items()}
    if len(groups) < len(shares):
        together = (
            "share a speaker or a recording, one leading to the next" if by == "speaker" else "are of one audio file"
        )
        largest = max(map(len, groups.values()), default=0)
        raise InputError(
            f"{counted(len(utterances), 'utterance')} in {counted(len(groups), 'group')} that cannot be divided "
            f"({largest:,} utterances {together}); expected at least {len(shares)}: "
            + ("use --by recording, or name speakers apart" if by == "speaker" else "cut the recordings into files")
        )
    total = sum(seconds.values())
    missing = {part: share * total for part, share in shares.items()}
    ranked = sorted(groups, key=lambda key: hashlib.sha256(f"{seed} {key}".encode()).digest())
    part_of: dict[str, str] = {}
    for key in ranked:
        fitting = [part for part in shares if missing[part] >= seconds[key] / 2]
        part = max(fitting or shares, key=lambda part: missing[part] / (shares[part] * total))
        part_of[key], missing[part] = part, missing[part] - seconds[key]
    for part in shares:
        if part not in part_of.values():
            sizes = Counter(part_of.values())
            largest_part = max(shares, key=lambda name: sizes[name])
            moved = min((key for key in ranked if part_of[key] == largest_part), key=lambda key: seconds[key])
            part_of[moved] = part
    part_by_id = {id(one): part_of[key] for key, group in groups.items() for one in group}
    return {part: [one for one in utterances if part_by_id[id(one)] == part] for part in shares}


def _groups(utterances: Sequence[Utterance], by: By) -> dict[str, list[Utterance]]:
    """The utterances that belong together, under a name that does not depend on their order or on the folder."""
    parents: dict[str, str] = {}

    def root(key: str) -> str:
        while parents.setdefault(key, key) != key:
            parents[key] = parents[parents[key]]
            key = parents[key]
        return key

    roots = []
    names = _recording_names(utterance.audio for utterance in utterances)
    unnamed = [utterance.id for utterance in utterances if utterance.speaker is None]
    if by == "speaker" and unnamed:
        raise InputError(
            f"{counted(len(unnamed), 'utterance')} without a speaker, such as {unnamed[0]!r}; expected one for each "
            "with --by speaker: add them, or use --by recording"
        )
    for utterance in utterances:
        key = f"recording {names.get(utterance.audio, utterance.id)}"
        if by == "speaker":
            # The first name in the order of the alphabet stands for all that belong together.
            first, second = sorted((root(key), root(f"speaker {utterance.speaker}")))
            parents[second] = first
        roots.append(key)
    groups: dict[str, list[Utterance]] = defaultdict(list)
    for utterance, key in zip(utterances, roots, strict=True):
        groups[root(key)].append(utterance)
    return dict(groups)


def _recording_names(sources: Iterable[StoredAudio]) -> dict[StoredAudio, str]:
    """Each file's path relative to the folder that all are in; audio in memory has none, it is one utterance's."""
    paths = {source: os.path.abspath(source) for source in set(sources) if not isinstance(source, bytes)}
    if not paths:
        return {}
    common = os.path.commonpath([os.path.dirname(path) for path in paths.values()])
    return {source: os.path.relpath(path, common) for source, path in paths.items()}
