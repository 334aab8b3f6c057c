"""Alignments keep both texts and count as jiwer does; what page.js is given says the same."""

import math

import jiwer
from hypothesis import given
from hypothesis import strategies as st

from benchmark.report.browser import alignment_code
from finetune.metrics.error_rates import ErrorCounts
from finetune.metrics.word_alignment import align


def edits(reference: list[str], hypothesis: list[str]) -> int:
    """Levenshtein distance, by its textbook recurrence."""
    row = list(range(len(hypothesis) + 1))
    for i, said in enumerate(reference, 1):
        previous, row = row, [i]
        for j, heard in enumerate(hypothesis, 1):
            row.append(min(previous[j] + 1, row[-1] + 1, previous[j - 1] + (said != heard)))
    return row[-1]


TEXTS = st.lists(st.sampled_from(["a", "b", "c", "A", "d'", "<b>", "é"]), max_size=9).map(" ".join)


@given(TEXTS, TEXTS)
def test_an_alignment_keeps_both_texts_and_counts_as_jiwer_does(reference: str, hypothesis: str) -> None:
    found = align(f" {reference} ", hypothesis, str.lower)
    said, heard = reference.lower().split(), hypothesis.lower().split()
    assert [word for piece in found.pieces for word in piece.reference] == said
    assert [word for piece in found.pieces for word in piece.hypothesis] == heard
    assert all((piece.reference == piece.hypothesis) == (piece.kind == "equal") for piece in found.pieces)
    counted = jiwer.process_words(reference.lower(), hypothesis.lower())
    counts = (counted.hits, counted.substitutions, counted.deletions, counted.insertions)
    assert found.counts == ErrorCounts(*counts)
    assert found.counts.errors == edits(said, heard) and found.counts.reference_length == len(said)
    assert found.counts.rate == (found.counts.errors / len(said) if said else math.inf if heard else 0)


@given(TEXTS, TEXTS)
def test_the_pieces_for_the_browser_give_the_hypothesis_back(reference: str, hypothesis: str) -> None:
    said, heard, place = reference.split(), [], 0
    for piece in alignment_code(align(reference, hypothesis, str)):
        if isinstance(piece, str):
            heard += piece.split(" ")
        elif isinstance(piece, list):
            words = piece[0].split(" ")
            assert all(a != b for a, b in zip(words, said[place:], strict=False))
            heard, place = heard + words, place + len(words)
        elif piece > 0:
            heard, place = heard + said[place : place + piece], place + piece
        else:
            place -= piece
    assert (heard, place) == (hypothesis.split(), len(said))
