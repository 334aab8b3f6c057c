"""Counts by hand, against an independent edit distance and jiwer, and as an evaluate metric that needs no network."""

import functools

import evaluate
import jiwer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.metrics.error_rates import (
    ErrorCounts,
    character_distance,
    character_errors,
    utterance_errors,
    word_errors,
)
from finetune.metrics.evaluate_metric import ErrorRates


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("a b c", "a b c", ErrorCounts(3, 0, 0, 0)),
        ("a b c", "a x c", ErrorCounts(2, 1, 0, 0)),
        ("a b c", "a c", ErrorCounts(2, 0, 1, 0)),
        ("a c", "a b c", ErrorCounts(2, 0, 0, 1)),
        ("a b", "", ErrorCounts(0, 0, 2, 0)),
        ("", "a b", ErrorCounts(0, 0, 0, 2)),
        ("", "", ErrorCounts(0, 0, 0, 0)),
        (" a  b ", "a b", ErrorCounts(2, 0, 0, 0)),
    ],
)
def test_words_by_hand(reference: str, hypothesis: str, expected: ErrorCounts) -> None:
    assert word_errors(reference, hypothesis) == expected


def edit_distance(first: list[str], second: list[str]) -> int:
    """Wagner & Fischer 1974, by recursion."""

    @functools.cache
    def distance(i: int, j: int) -> int:
        if i == 0 or j == 0:
            return i + j
        substituted = distance(i - 1, j - 1) + (first[i - 1] != second[j - 1])
        return min(substituted, distance(i - 1, j) + 1, distance(i, j - 1) + 1)

    return distance(len(first), len(second))


TEXTS = st.lists(st.sampled_from(["a", "b", "cc", "d"]), max_size=7).map(" ".join)


@given(TEXTS, TEXTS)
def test_word_errors_are_the_edit_distance(reference: str, hypothesis: str) -> None:
    counts = word_errors(reference, hypothesis)
    assert counts.errors == edit_distance(reference.split(), hypothesis.split())
    assert counts.reference_length == len(reference.split())
    assert counts.hits + counts.substitutions + counts.insertions == len(hypothesis.split())


@given(TEXTS, TEXTS)
def test_character_errors_are_the_edit_distance(reference: str, hypothesis: str) -> None:
    assert character_errors(reference, hypothesis).errors == edit_distance(list(reference), list(hypothesis))


@given(TEXTS, TEXTS)
def test_every_kind_of_error_is_counted_as_jiwer_counts_it(reference: str, hypothesis: str) -> None:
    for counts, expected in (
        (word_errors(reference, hypothesis), jiwer.process_words(reference, hypothesis)),
        (character_errors(reference, hypothesis), jiwer.process_characters(reference, hypothesis)),
    ):
        found = (counts.hits, counts.substitutions, counts.deletions, counts.insertions)
        assert found == (expected.hits, expected.substitutions, expected.deletions, expected.insertions)
    characters = character_errors(reference, hypothesis)
    assert character_distance(reference, hypothesis) == (characters.errors, characters.reference_length)


@settings(max_examples=20)
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6))
def test_the_evaluate_metric_counts_as_the_sum_of_single_utterances(pairs: list[tuple[str, str]]) -> None:
    words = sum((word_errors(*pair) for pair in pairs), ErrorCounts())
    characters = sum((character_errors(*pair) for pair in pairs), ErrorCounts())
    references, predictions = zip(*pairs, strict=True)
    assert ErrorRates().compute(predictions=list(predictions), references=list(references)) == {
        "wer": words.rate,
        "cer": characters.rate,
        "substitutions": words.substitutions,
        "deletions": words.deletions,
        "insertions": words.insertions,
        "words": words.reference_length,
    }


def test_characters_without_spaces() -> None:
    """Where words have no spaces between them, a reference in words is no other text than one without."""
    pairs = [("请 打开 客厅 的 灯", "请打开客厅的灯"), ("你好 世界", "你好世间")]
    counts = sum((character_errors(*pair, spaces=False) for pair in pairs), ErrorCounts())
    assert counts == ErrorCounts(hits=10, substitutions=1)
    references, predictions = zip(*pairs, strict=True)
    assert sum(utterance_errors(references, predictions, "cer"), ErrorCounts()) == counts
    computed = ErrorRates().compute(predictions=list(predictions), references=list(references), spaces=False)
    assert (computed["cer"], computed["wer"]) == (counts.rate, 1.0)


def test_errors_of_each_utterance_against_jiwer() -> None:
    references, hypotheses = ["Turn it on", "stop", ""], ["turn on", "Stop now", "um"]
    found = utterance_errors(references, hypotheses, normalise=str.lower)
    assert [one.errors for one in found[:2]] == [
        round(jiwer.wer(*(text.lower() for text in pair)) * len(pair[0].split()))
        for pair in zip(references[:2], hypotheses[:2], strict=True)
    ]
    assert found[2] == ErrorCounts(insertions=1)
    with pytest.raises(ValueError, match="shorter"):
        utterance_errors(references, hypotheses[:2])


def test_the_evaluate_metric_adds_counts_before_dividing() -> None:
    metric = ErrorRates()
    assert isinstance(metric, evaluate.Metric)
    computed = metric.compute(predictions=["a b c d", "x"], references=["a b c d", "y"])
    assert computed["wer"] == pytest.approx(1 / 5)
    assert computed["substitutions"] == 1
    assert computed["words"] == 5


def test_rate_without_reference() -> None:
    assert ErrorCounts().rate == 0.0
    assert ErrorCounts(insertions=1).rate == float("inf")
