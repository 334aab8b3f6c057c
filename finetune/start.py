"""What is known of a run before its first update: its two corpora as used, its labels, and what is wrong with them."""

from collections.abc import Sequence
from dataclasses import dataclass

from finetune.config import ModelConfig
from finetune.diagnosis import Diagnosis
from finetune.start_diagnosis import leaking, outside_vocabulary, short_window
from preprocessing.corpus import Corpus, Reject, Utterance
from preprocessing.corpus.leaks import find_leaks
from preprocessing.text import Profile


@dataclass(frozen=True)
class Start:
    """Corpora of what is used, labels of all that was found for training, and diagnoses."""

    train: Corpus
    validation: Corpus
    labels: tuple[str, ...]
    diagnoses: tuple[Diagnosis, ...]


def look_at(
    utterances: Sequence[Utterance],
    validation: Sequence[Utterance],
    labels: Sequence[str],
    rejects: Sequence[Reject],
    profile: Profile,
    model: ModelConfig,
) -> Start:
    """utterances: to train on; labels: normalised, of all that was found; rejects: of both corpora."""
    train, validated = Corpus("training", tuple(utterances), ()), Corpus("validation", tuple(validation), ())
    found = (
        outside_vocabulary(rejects, len(utterances) + len(validation)),
        leaking(find_leaks(validated, train, profile), len(validation)),
        short_window(model),
    )
    return Start(train, validated, tuple(labels), tuple(diagnosis for diagnosis in found if diagnosis is not None))
