"""Corpora: from any layout that `readers` knows to the same `Utterance`s, with a `Reject` for each unusable line.

    corpus = open_corpus("my/train.jsonl")
    for utterance in corpus.utterances: ...
    for reject in corpus.rejects: ...

Names are imported when first used, so that the command's --help does not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from preprocessing.corpus.lengths import parts_beyond_end
    from preprocessing.corpus.open import from_dataset, open_corpus, stream_corpus
    from preprocessing.corpus.utterance import (
        Corpus,
        Reject,
        Segment,
        Utterance,
        load_part,
        load_waveform,
        manifest_fields,
        missing_files,
    )

__all__ = [
    "Corpus",
    "Reject",
    "Segment",
    "Utterance",
    "from_dataset",
    "load_part",
    "load_waveform",
    "manifest_fields",
    "missing_files",
    "open_corpus",
    "parts_beyond_end",
    "stream_corpus",
]

_MODULES = {"from_dataset": "open", "open_corpus": "open", "parts_beyond_end": "lengths", "stream_corpus": "open"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'utterance')}"), name)
