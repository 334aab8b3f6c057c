"""Beam search beside the definition: every labelling, its paths summed one by one, and the language model by hand."""

import gc
import itertools
import math
from collections import defaultdict
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from finetune.decoding.beam import BeamSearch, BeamSettings
from finetune.decoding.greedy import collapse
from finetune.language_model.kneser_ney import estimate
from preprocessing.units import Vocabulary

LETTERS = Vocabulary.of_characters(["AB"])
ALL = BeamSettings(beam_width=10**6, beam_prune_logp=-math.inf, token_min_logp=-math.inf)


def frames(n_frames: int, seed: int, sharpness: float = 2.0) -> Tensor:
    """Random log-probabilities [frames, units] of the blank, the boundary and two letters."""
    logits = torch.full((n_frames, len(LETTERS.units)), -math.inf)
    used = [LETTERS.blank, LETTERS.boundary, *LETTERS.encode("AB")]
    logits[:, used] = sharpness * torch.randn(n_frames, len(used), generator=torch.Generator().manual_seed(seed))
    return logits.log_softmax(dim=1)


def labellings(log_probs: Tensor) -> dict[tuple[int, ...], float]:
    """P of every labelling, by every path."""
    used = [unit for unit in range(log_probs.shape[1]) if log_probs[0, unit] > -math.inf]
    found: defaultdict[tuple[int, ...], float] = defaultdict(float)
    for path in itertools.product(used, repeat=len(log_probs)):
        probability = math.exp(sum(float(log_probs[frame, unit]) for frame, unit in enumerate(path)))
        found[tuple(collapse(path, LETTERS.blank))] += probability
    return dict(found)


@pytest.mark.parametrize("seed", range(6))
def test_the_most_probable_labelling(seed: int) -> None:
    log_probs = frames(5, seed)
    expected = labellings(log_probs)
    best = BeamSearch(LETTERS, None, ALL).best(log_probs)
    most = max(expected, key=lambda labels: expected[labels])
    assert best.text == LETTERS.decode(most)
    assert best.ctc == pytest.approx(math.log(expected[most]), abs=1e-4)
    assert best.score == best.ctc


@pytest.mark.parametrize("seed", range(6))
def test_with_a_language_model_as_defined(seed: int) -> None:
    model = estimate([line.split() for line in ("AB A", "A AB", "AB AB A", "B A")], 2)
    weighed = replace(ALL, alpha=0.7, beta=0.4, unk_score_offset=-1.5, avg_token_len=2)
    log_probs = frames(5, seed, sharpness=1.0)

    def score(labels: tuple[int, ...], probability: float) -> float:
        words = LETTERS.decode(labels).split()
        unknown = sum(max(1.0, len(word) / 2) for word in words if word not in model)
        return math.log(probability) + 0.7 * model.score_sentence(words) + 0.4 * len(words) - 1.5 * unknown

    expected = {labels: score(labels, probability) for labels, probability in labellings(log_probs).items()}
    found = BeamSearch(LETTERS, model, weighed).search(log_probs)
    most = max(expected, key=lambda labels: expected[labels])
    assert found[0].text == LETTERS.decode(most)
    assert found[0].score == pytest.approx(expected[most], abs=1e-4)
    by_text: dict[str, float] = {}
    for labels, value in expected.items():
        text = LETTERS.decode(labels)
        by_text[text] = max(by_text.get(text, -math.inf), value)
    assert {hypothesis.text for hypothesis in found} == set(by_text)
    for hypothesis in found:
        assert hypothesis.score == pytest.approx(by_text[hypothesis.text], abs=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(0, 10**6), st.integers(1, 8))
def test_any_width_ends_in_texts_with_their_probability(n_frames: int, seed: int, width: int) -> None:
    """What is pruned can only be missing from a sum."""
    log_probs = frames(n_frames, seed)
    for hypothesis in BeamSearch(LETTERS, None, BeamSettings(beam_width=width)).search(log_probs):
        assert hypothesis.ctc <= 1e-4
        labels = LETTERS.encode(hypothesis.text) if hypothesis.text else []
        if n_frames <= 5:
            possible = sum(p for one, p in labellings(log_probs).items() if LETTERS.decode(one) == hypothesis.text)
            assert hypothesis.ctc <= math.log(possible) + 1e-4
        assert len(labels) <= n_frames


def misheard(vocabulary: Vocabulary) -> Tensor:
    """Log-probabilities of THE CAT SAT, whose first A is a little less probable than an E."""
    path = vocabulary.encode("THE CAT SAT")
    logits = torch.full((2 * len(path), len(vocabulary.units)), -8.0)
    for place, unit in enumerate(path):
        logits[2 * place, unit] = 0.0
        logits[2 * place + 1, vocabulary.blank] = 0.0
    logits[2 * 5, vocabulary.encode("E")] = 0.4
    return logits.log_softmax(dim=1)


def test_a_language_model_mends_what_was_misheard() -> None:
    vocabulary = Vocabulary.of_characters(["THE CAT SAT"])
    model = estimate([line.split() for line in ("THE CAT SAT", "THE CAT", "A CAT SAT")] * 4, 3)
    log_probs = misheard(vocabulary)
    assert BeamSearch(vocabulary).best(log_probs).text == "THE CET SAT"
    assert BeamSearch(vocabulary, model).best(log_probs).text == "THE CAT SAT"


@pytest.mark.parametrize("name", ["unk_score_offset", "beam_prune_logp", "token_min_logp"])
def test_what_would_add_to_a_score_or_keep_nothing_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is 1; expected 0 or less"):
        BeamSettings(**{name: 1.0})


def test_nothing_is_heard_in_no_frames() -> None:
    assert BeamSearch(LETTERS).best(torch.empty(0, len(LETTERS.units))).text == ""


def test_special_units_are_never_written() -> None:
    log_probs = torch.full((3, len(LETTERS.units)), -20.0)
    log_probs[:, 1] = 0.0  # <s>
    assert BeamSearch(LETTERS).best(log_probs).text in ("", "A", "B")


def test_what_is_dropped_is_forgotten() -> None:
    """The tree holds the hypotheses and what they share, however long the recording."""
    search = BeamSearch(LETTERS, None, BeamSettings(beam_width=4))
    gc.collect()
    before = sum(type(one).__name__ == "_Prefix" for one in gc.get_objects())
    kept: list[object] = []
    pruned = search._pruned
    search._pruned = lambda prefixes: kept.__setitem__(slice(None), pruned(prefixes)) or list(kept)  # type: ignore
    search.search(frames(300, 0, sharpness=0.5))
    gc.collect()
    assert sum(type(one).__name__ == "_Prefix" for one in gc.get_objects()) - before < 300 * 4
