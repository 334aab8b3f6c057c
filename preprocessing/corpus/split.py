"""A corpus divided into training, validation and test so that no speaker, or no recording, is in two of them.

`split_corpus` divides as asked, or refuses; `hold_out` takes a validation part out of training data by the strictest
rule that the data allows, and says which it was.
"""

import hashlib
import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from preprocessing.audio import StoredAudio
from preprocessing.corpus.utterance import Utterance
from preprocessing.errors import InputError, counted
from preprocessing.storage.file_identity import common_folder

By = Literal["speaker", "recording"]
HoldOutBy = Literal["speaker", "recording", "utterance"]
LARGEST_SHARE = 0.1  # of the speech, that a few speakers or recordings may have who are held out for a lower share


@dataclass(frozen=True)
class HeldOut:
    """Training utterances divided, each part in their order.

    by: what is never in both parts. note: that, with counts, for the user.
    """

    train: list[Utterance]
    validation: list[Utterance]
    by: HoldOutBy
    note: str


def split_corpus(
    utterances: Sequence[Utterance], shares: Mapping[str, float], by: By, seed: int = 0
) -> dict[str, list[Utterance]]:
    """The utterances of each part, in their order; every utterance is in exactly one.

    shares: of the speech, by part; they sum to 1. What belongs together is never divided, so that the parts only come
        near them.
    by: `recording` keeps the utterances of a recording together, which is an audio file unless they have a
        `recording_id`; `speaker` also those of a speaker, and with them those of all speakers in the same recordings.
    seed: another seed divides otherwise; the same one divides the same utterances alike, whatever their order.

    Raises InputError where an utterance has no speaker to divide by, or fewer groups than parts belong together.
    """
    _check_named(utterances, by, "--by")
    groups = _groups([utterances], by)
    _check_enough(utterances, groups, len(shares), by, "--by")
    return _divided(utterances, groups, shares, seed)


def hold_out(
    corpora: Sequence[Sequence[Utterance]], share: float, by: HoldOutBy | None = None, flag: str = "--by"
) -> HeldOut:
    """A share of the utterances, at least one, held out for validation; the same ones whatever their order.

    corpora: of training. One speaker's name in several is one speaker, one `recording_id` in several is not one
        recording.
    by: None divides by speaker where speakers are named, else by recording where a file holds several utterances, and
        by utterance where neither is possible: with one speaker or recording, or where the smallest of them has more
        than LARGEST_SHARE of the speech and twice the share. By utterance, the share is one of their number.
    flag: what messages call `by`.

    Raises InputError where `by` is not possible.
    """
    utterances = [utterance for corpus in corpora for utterance in corpus]
    shares = {"train": 1.0 - share, "validation": share}
    reasons: list[str] = []
    kinds: tuple[By, ...] = ("speaker", "recording") if by is None else () if by == "utterance" else (by,)
    for kind in kinds:
        if by is not None:
            _check_named(utterances, kind, flag)
        groups = _groups(corpora, kind)
        if by is not None:
            _check_enough(utterances, groups, len(shares), kind, flag)
        elif reason := _not_held_out_by(kind, utterances, groups, share):
            reasons.append(reason)
            continue
        parts = _divided(utterances, groups, shares, 0)
        return HeldOut(parts["train"], parts["validation"], kind, _held_out_note(kind, parts, groups, reasons))
    ranked = sorted(utterances, key=lambda utterance: hashlib.sha256(utterance.id.encode()).digest())
    ids = {utterance.id for utterance in ranked[: max(round(share * len(ranked)), 1)]}
    parts = {
        "train": [utterance for utterance in utterances if utterance.id not in ids],
        "validation": [utterance for utterance in utterances if utterance.id in ids],
    }
    return HeldOut(parts["train"], parts["validation"], "utterance", _held_out_note("utterance", parts, {}, reasons))


def _not_held_out_by(
    kind: By, utterances: Sequence[Utterance], groups: Mapping[str, Sequence[Utterance]], share: float
) -> str:
    """Why no speakers, or recordings, are held out for a share of the speech; "" where they can be."""
    if kind == "speaker":
        names = {utterance.speaker for utterance in utterances} - {None}
        if not names:
            return "no speakers are named"
        if len(groups) == 1:
            return "all are of one speaker" if len(names) == 1 else f"{len(names):,} speakers share recordings"
        alone = len(groups) == len(names)
        smallest = f"smallest of {counted(len(groups), 'speaker' if alone else 'speaker group')}"
    else:
        if len(groups) == len(utterances):
            return "each is a recording of its own"
        if len(groups) == 1:
            return "all are of one recording"
        smallest = f"shortest of {counted(len(groups), 'recording')}"
    seconds = [sum(utterance.duration for utterance in group) for group in groups.values()]
    least = min(seconds) / sum(seconds)
    return f"the {smallest} has {least:.0%} of the speech" if least > max(2.0 * share, LARGEST_SHARE) else ""


def _held_out_note(
    kind: HoldOutBy,
    parts: Mapping[str, Sequence[Utterance]],
    groups: Mapping[str, Sequence[Utterance]],
    reasons: Sequence[str],
) -> str:
    """What was held out by what, who of it is trained on as well, and why."""
    validation = parts["validation"]
    seconds = {part: sum(utterance.duration for utterance in own) for part, own in parts.items()}
    found = (
        f"{counted(len(validation), 'utterance')} ({seconds['validation'] / sum(seconds.values()):.1%} of the speech)"
    )
    why = f" ({'; '.join(reasons)})" if reasons else ""
    if kind == "utterance":
        return f"held out by utterance: {found}; their speakers may be trained on as well{why}"
    if kind == "recording":
        held_out = set(map(id, validation))
        of = counted(sum(id(group[0]) in held_out for group in groups.values()), "recording")
        return f"held out by recording: {found} of {of}, whose speakers may be trained on as well{why}"
    unnamed = sum(utterance.speaker is None for own in parts.values() for utterance in own)
    of = counted(len({utterance.speaker for utterance in validation} - {None}), "speaker")
    also = f"; {counted(unnamed, 'utterance')} without a speaker, by recording" if unnamed else ""
    return f"held out by speaker: {found} of {of}; training has no speech of theirs{also}"


def _divided(
    utterances: Sequence[Utterance], groups: Mapping[str, Sequence[Utterance]], shares: Mapping[str, float], seed: int
) -> dict[str, list[Utterance]]:
    """The utterances of each part: whole groups, in an order by hash, each to the part that lacks most of its share.

    Groups that alone are over half of the smallest part come first, the longest before those of half their length, each
    to the part that lacks most speech and has room for all of it: one long speaker fills no small part, and the many
    short ones make up for what is lacking.
    """
    # fsum and the slack: sums are the same whatever the order of the utterances
    seconds = {key: math.fsum(utterance.duration for utterance in group) for key, group in groups.items()}
    total = math.fsum(seconds.values())
    missing = {part: share * total for part, share in shares.items()}
    small, slack = min(shares.values()) * total / 2, 1e-9 * total

    def order(key: str) -> tuple[bool, int, bytes]:
        """Long groups by the power of two of their length, then all others."""
        is_long = seconds[key] > small
        octave = math.frexp(seconds[key])[1] if is_long else 0
        return not is_long, -octave, hashlib.sha256(f"{seed} {key}".encode()).digest()

    ranked = sorted(groups, key=order)
    part_of: dict[str, str] = {}
    for key in ranked:
        if seconds[key] > small:
            roomy = [part for part in shares if missing[part] + slack >= seconds[key]]
            part = max(roomy or shares, key=missing.__getitem__)
        else:
            fitting = [part for part in shares if missing[part] >= seconds[key] / 2]
            part = max(fitting or shares, key=lambda part: missing[part] / (shares[part] * total))
        part_of[key], missing[part] = part, missing[part] - seconds[key]
    for part in shares:
        if part not in part_of.values():
            sizes = Counter(part_of.values())
            largest_part = max(shares, key=lambda name: sizes[name])
            moved = min((key for key in ranked if part_of[key] == largest_part), key=lambda key: seconds[key])
            part_of[moved] = part
    part_by_id = {id(utterance): part_of[key] for key, group in groups.items() for utterance in group}
    return {part: [utterance for utterance in utterances if part_by_id[id(utterance)] == part] for part in shares}


def _check_named(utterances: Sequence[Utterance], by: By, flag: str) -> None:
    """Raises InputError where utterances are to be divided by speaker and some have none."""
    unnamed = [utterance.id for utterance in utterances if utterance.speaker is None]
    if by == "speaker" and unnamed:
        raise InputError(
            f"{counted(len(unnamed), 'utterance')} without a speaker, such as {unnamed[0]!r}; expected one for each "
            f"with {flag} speaker: add them, or use {flag} recording"
        )


def _check_enough(
    utterances: Sequence[Utterance], groups: Mapping[str, Sequence[Utterance]], n_parts: int, by: By, flag: str
) -> None:
    """Raises InputError where fewer groups than parts belong together."""
    if len(groups) >= n_parts:
        return
    together = "share a speaker or a recording, one leading to the next" if by == "speaker" else "are of one recording"
    largest = max(map(len, groups.values()), default=0)
    raise InputError(
        f"{counted(len(utterances), 'utterance')} in {counted(len(groups), 'group')} that cannot be divided "
        f"({largest:,} utterances {together}); expected at least {n_parts}: "
        + (f"use {flag} recording, or name speakers apart" if by == "speaker" else "cut the recordings into files")
    )


def _groups(corpora: Sequence[Sequence[Utterance]], by: By) -> dict[str, list[Utterance]]:
    """The utterances that belong together, under a name that does not depend on their order or on the folder.

    by: with `speaker`, an utterance without one belongs to its recording alone.
    """
    parents: dict[str, str] = {}

    def root(key: str) -> str:
        while parents.setdefault(key, key) != key:
            parents[key] = parents[parents[key]]
            key = parents[key]
        return key

    utterances = [(place, utterance) for place, corpus in enumerate(corpora) for utterance in corpus]
    roots = []
    names = recording_names(utterance for _, utterance in utterances)
    for (place, utterance), name in zip(utterances, names, strict=True):
        key = f"recording {name}" if utterance.recording_id is None or not place else f"recording {place} {name}"
        if by == "speaker" and utterance.speaker is not None:
            # The first name in the order of the alphabet stands for all that belong together.
            first, second = sorted((root(key), root(f"speaker {utterance.speaker}")))
            parents[second] = first
        roots.append(key)
    groups: dict[str, list[Utterance]] = defaultdict(list)
    for (_, utterance), key in zip(utterances, roots, strict=True):
        groups[root(key)].append(utterance)
    return dict(groups)


def recording_names(utterances: Iterable[Utterance]) -> list[str]:
    """What each utterance's recording is called: its `recording_id`; else its file's path relative to the folder that
    all files are in; audio in memory is one utterance's, and is called as that.
    """
    utterances = list(utterances)
    folder = recordings_folder(utterances)
    sources = {one.audio for one in utterances if one.recording_id is None and not isinstance(one.audio, bytes)}
    names: dict[StoredAudio, str] = {source: os.path.relpath(source, folder) for source in sources}
    return [one.recording_id or names.get(one.audio, one.id) for one in utterances]


def recordings_folder(utterances: Iterable[Utterance]) -> str:
    """The folder that all files are in which name a recording, absolute; "" of none."""
    return common_folder(
        one.audio for one in utterances if one.recording_id is None and not isinstance(one.audio, bytes)
    )


def recording_name(utterance: Utterance, folder: str) -> str:
    """One of `recording_names`, of utterances whose `recordings_folder` is `folder`."""
    if utterance.recording_id or isinstance(utterance.audio, bytes):
        return utterance.recording_id or utterance.id
    return os.path.relpath(utterance.audio, folder)
