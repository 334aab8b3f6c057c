"""What two corpora share that a test set must not share with what was trained on: audio, sentences, speakers, ids."""

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass

from preprocessing.corpus.sound import Sound
from preprocessing.corpus.utterance import Corpus, Utterance
from preprocessing.text import Profile

LONG_WORDS = 5  # a sentence of so many words is hardly said twice by chance


@dataclass(frozen=True)
class Leaks:
    """Of `corpus` beside `other`. Counts are of utterances of `corpus`; the tuples name what is shared."""

    other: str
    other_utterances: int
    utterances_with_shared_text: int
    utterances_with_long_shared_text: int  # of five words or more
    shared_texts: tuple[str, ...]  # longest first
    speakers: tuple[str, ...]
    utterances_of_shared_speakers: int
    ids: tuple[str, ...]
    files: tuple[str, ...]  # the same part of the same file
    audio: tuple[tuple[str, str], ...] | None  # id here, id there, equal sample by sample; None where not measured


def find_leaks(
    corpus: Corpus,
    other: Corpus,
    profile: Profile,
    sounds: tuple[Sequence[Sound | str], Sequence[Sound | str]] | None = None,
) -> Leaks:
    """sounds: of both corpora's utterances in their order; None compares files by their paths alone."""
    theirs = other.utterances
    texts = {profile(utterance.text) for utterance in theirs} - {""}
    ours = [(utterance, profile(utterance.text)) for utterance in corpus.utterances]
    shared = [text for _, text in ours if text in texts]
    speakers = {u.speaker for u in corpus.utterances} & {u.speaker for u in theirs} - {None}
    ids = {utterance.id for utterance in theirs}
    files = {_file(utterance) for utterance in theirs} - {None}
    return Leaks(
        other=other.reference,
        other_utterances=len(theirs),
        utterances_with_shared_text=len(shared),
        utterances_with_long_shared_text=sum(len(text.split()) >= LONG_WORDS for text in shared),
        shared_texts=tuple(sorted(set(shared), key=lambda text: (-len(text), text))),
        speakers=tuple(sorted(str(speaker) for speaker in speakers)),
        utterances_of_shared_speakers=sum(u.speaker in speakers for u in corpus.utterances),
        ids=tuple(u.id for u in corpus.utterances if u.id in ids),
        files=tuple(u.id for u in corpus.utterances if _file(u) in files),
        audio=None if sounds is None else tuple(_same_audio(corpus.utterances, theirs, *sounds)),
    )


def _file(utterance: Utterance) -> tuple[str, float, float | None] | None:
    if isinstance(utterance.audio, bytes):
        return None
    folder, name = os.path.split(os.fspath(utterance.audio))
    return os.path.join(_real(folder), name), utterance.start, utterance.stop


@functools.lru_cache(maxsize=100_000)
def _real(folder: str) -> str:
    return os.path.realpath(folder)


def _same_audio(
    ours: Sequence[Utterance], theirs: Sequence[Utterance], our: Sequence[Sound | str], their: Sequence[Sound | str]
) -> list[tuple[str, str]]:
    known: dict[bytes, str] = {}
    for utterance, sound in zip(theirs, their, strict=True):
        if isinstance(sound, Sound) and not sound.silent:  # all silences of a length are alike
            known.setdefault(sound.digest, utterance.id)
    return [
        (utterance.id, known[sound.digest])
        for utterance, sound in zip(ours, our, strict=True)
        if isinstance(sound, Sound) and sound.digest in known
    ]
