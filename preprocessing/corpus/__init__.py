"""Corpora: every way in gives the same `Utterance`s, and what cannot be one is set aside with its reason.

    corpus = open_corpus("my/train.jsonl")
    for utterance in corpus.utterances: ...
    for reject in corpus.rejects: ...
"""

from preprocessing.corpus.open import from_dataset, open_corpus
from preprocessing.corpus.utterance import (
    DURATION_SECONDS,
    DURATION_SHARE,
    Corpus,
    Reject,
    Utterance,
    missing_files,
)

__all__ = [
    "DURATION_SECONDS",
    "DURATION_SHARE",
    "Corpus",
    "Reject",
    "Utterance",
    "from_dataset",
    "missing_files",
    "open_corpus",
]
