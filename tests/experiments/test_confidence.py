"""The confidence study's words: the words, or in languages without spaces the characters, that a report judges."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from experiments.confidence import Config, judge, run
from finetune.alignment.confidence import MEASURES, word_confidences
from finetune.alignment.forced import align_greedy
from finetune.decoding.frame_times import FrameTimes
from finetune.decoding.greedy import collapse
from preprocessing.corpus import Utterance
from preprocessing.errors import UsageError
from preprocessing.units import Vocabulary


def model_that_writes(text: str, vocabulary: Vocabulary) -> Any:
    """A model that writes one text whatever it is given, the second unit of it with a doubt."""
    path = [unit for label in vocabulary.encode(text) for unit in (label, vocabulary.blank)]
    logits = torch.full((len(path), len(vocabulary.units)), -9.0)
    logits[torch.arange(len(path)), torch.tensor(path)] = 0.0
    logits[2] *= 0.3
    log_probs = logits.log_softmax(dim=1)
    return SimpleNamespace(
        log_probs=lambda _: log_probs, vocabulary=vocabulary, times=FrameTimes(320, 0.0), profile="basic"
    )


@pytest.mark.parametrize("searched", [False, True])
def test_characters_are_judged_where_words_have_no_spaces(searched: bool) -> None:
    vocabulary = Vocabulary.of_characters(["今天气汽很好 "])
    model = model_that_writes("今天 天汽很好", vocabulary)
    utterance = Utterance("u", "none.wav", "今天天气很好", 1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("preprocessing.corpus.load_waveform", lambda _: torch.zeros(16_000))
        labels = collapse(model.log_probs(None).argmax(dim=1), vocabulary.blank)
        search: Any = SimpleNamespace(decode=lambda _: SimpleNamespace(labels=labels)) if searched else None
        found = judge(model, search, [utterance], None, lambda _: None, "cer")
        by_words = judge(model, search, [utterance], None, lambda _: None)
    assert found.correct == [True, True, True, False, True, True]
    assert (found.counts.errors, found.counts.reference_length) == (1, 6)
    for measure in MEASURES:
        of_characters = found.confidences[measure]
        assert len(of_characters) == 6 and min(of_characters) == of_characters[1] < 0.9
    assert by_words.counts.reference_length == 1 and by_words.correct == [False, False]


def test_words_have_the_confidences_of_their_alignment() -> None:
    vocabulary = Vocabulary.of_characters(["ab "])
    model = model_that_writes("ab b a", vocabulary)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("preprocessing.corpus.load_waveform", lambda _: torch.zeros(16_000))
        found = judge(model, None, [Utterance("u", "none.wav", "ab a", 1.0)], None, lambda _: None)
    log_probs = model.log_probs(None)
    words = align_greedy(log_probs, vocabulary, model.times).words
    assert found.correct == [True, False, True] and (found.counts.errors, found.counts.reference_length) == (1, 2)
    for measure in MEASURES:
        assert found.confidences[measure] == pytest.approx(word_confidences(log_probs, words, measure))


def test_the_embedded_demo_is_given_no_calibration() -> None:
    with pytest.raises(UsageError, match="--save true without --model; expected the model whose confidence it is"):
        run(Config(save=True, quick=True))
