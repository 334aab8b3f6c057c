"""Figures of words: which confidence and time belongs to which normalised word, and what is counted of them."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from benchmark.results import Run, Sample, SystemFacts, SystemRun
from benchmark.scoring import summarise
from benchmark.scoring.words import (
    DRAWS,
    FEWEST_JUDGED,
    NO_WORD_TIMES,
    Judged,
    Token,
    hypothesis_tokens,
    median_with_interval,
    score_words,
    tokens_of,
)
from finetune.metrics import resample
from finetune.metrics.calibration import error_auroc, expected_calibration_error, normalised_cross_entropy
from finetune.systems.transcript import Word
from preprocessing.corpus import Segment
from preprocessing.text import profile
from tests.benchmark.reported import sample

SYSTEM = SystemRun(SystemFacts("a", "f", "c", 0), has_word_times=True)
ENGLISH, PLAIN = profile("whisper-english"), profile("librispeech")


def spoken(
    id: str,
    reference: str,
    words: Sequence[tuple[str, float]],
    true: Sequence[tuple[float, float]] = (),
    **rest: object,
) -> Sample:
    """A sample of words with probabilities; word n lasts from n to n + 0.5 s, and truly as `true` says."""
    timed = tuple(Word(f" {word}", float(n), n + 0.5, probability) for n, (word, probability) in enumerate(words))
    named = zip(reference.split(), true, strict=True) if true else ()
    return sample(
        "a", id, reference, " ".join(word for word, _ in words), words=timed,
        reference_words=tuple(Segment(start, stop, word) for word, (start, stop) in named), **rest,
    )  # fmt: skip


def test_a_word_that_becomes_two_gives_both_its_times() -> None:
    found = tokens_of([Word(" I'm", 0.0, 0.4, 0.9), Word(" here.", 0.4, 1.0, 0.7)], ENGLISH)
    assert found == [
        Token("i", 0.0, 0.4, 0.9, True, False),
        Token("am", 0.0, 0.4, 0.9, False, True),
        Token("here", 0.4, 1.0, 0.7),
    ]


def test_words_that_become_one_share_the_lowest_confidence() -> None:
    """And a word that normalises to nothing leaves none."""
    words = [Word(" Um,", 0.0, 0.2, 0.1), Word(" twenty", 0.2, 0.6, 0.9), Word("-one", 0.6, 0.9, 0.5)]
    assert tokens_of([*words, Word(" men", 0.9, 1.2, 0.8)], ENGLISH) == [
        Token("21", 0.2, 0.9, 0.5),
        Token("men", 0.9, 1.2, 0.8),
    ]


def test_words_without_spaces_of_their_own_have_one_between_them() -> None:
    words = [Word(text, 0.0, 1.0, None) for text in ("ONE", "TWO")]
    assert [token and token.text for token in tokens_of(words, PLAIN)] == ["ONE", "TWO"]


def test_a_hypothesis_of_other_words_is_shaded_where_both_agree() -> None:
    one = spoken("u", "a b c", [("a", 0.9), ("x", 0.8), ("c", 0.7)])
    assert [token and token.probability for token in hypothesis_tokens(replace(one, hypothesis="a b c d"), str)] == [
        0.9, None, 0.7, None,
    ]  # fmt: skip
    assert [token and token.probability for token in hypothesis_tokens(one, str)] == [0.9, 0.8, 0.7]


def test_figures_are_those_of_the_words_that_wer_calls_right() -> None:
    """Substituted and inserted words are wrong, deleted ones have no confidence; failed utterances count nowhere."""
    samples = [
        spoken("1", "one two three", [("one", 0.9), ("too", 0.4), ("three", 0.8)]),
        spoken("2", "four five six ten", [("four", 0.7), ("six", 0.95), ("ten", 0.9), ("ah", 0.6)]),
        replace(spoken("3", "seven", [("seven", 1.0)]), words=None, words_error="RuntimeError: no"),
        replace(spoken("4", "eight", []), words=None, error="RuntimeError: no"),
    ]
    found = score_words(SYSTEM, samples, PLAIN, 0)
    confidences, correct = [0.9, 0.4, 0.8, 0.7, 0.95, 0.9, 0.6], [True, False, *[True] * 4, False]
    assert (found.words, found.wrong, found.failed, found.rewritten, found.reason) == (7, 2, 1, 0, None)
    assert found.ece is not None and found.auroc is not None
    assert found.ece.value == expected_calibration_error(confidences, correct)
    assert found.auroc.value == error_auroc(confidences, correct) == 1.0
    assert found.nce == normalised_cross_entropy(confidences, correct)
    assert sum(one.count for one in found.reliability) == 7
    assert found.times is None


def test_without_a_wrong_word_there_is_no_auroc() -> None:
    found = score_words(SYSTEM, [spoken(str(n), "one", [("one", 0.75)]) for n in range(6)], PLAIN, 0)
    assert (found.words, found.wrong, found.auroc, found.nce) == (6, 0, None, None)
    assert found.ece is not None and found.ece.value == found.ece.low == found.ece.high == 0.25


@pytest.mark.parametrize("has_word_times", [True, False])
def test_without_words_the_reason_is_said(has_word_times: bool) -> None:
    samples = [replace(spoken("1", "one", []), words=None, words_error="OSError: x" if has_word_times else None)]
    found = score_words(replace(SYSTEM, has_word_times=has_word_times), samples, PLAIN, 0)
    assert found.reason == ("failed: OSError: x" if has_word_times else NO_WORD_TIMES) and found.words == 0


def test_time_errors_are_of_right_words_alone() -> None:
    """Off by 10 and 300 ms at starts, by 40 and 100 ms at ends; the wrong word in between counts nowhere."""
    one = spoken("1", "one two three", [("one", 0.9), ("too", 0.9), ("three", 0.9)],
                 [(0.01, 0.54), (1.4, 1.9), (2.3, 2.4)])  # fmt: skip
    found = score_words(SYSTEM, [one], PLAIN, 0).times
    assert found is not None and found.words == 2
    assert found.start_median.value == pytest.approx(0.155) and found.end_median.value == pytest.approx(0.07)
    assert found.start_p95 == pytest.approx(0.01 + 0.95 * 0.29) and found.end_p95 == pytest.approx(0.04 + 0.95 * 0.06)
    assert (found.within_50_ms.value, found.within_200_ms.value) == (0.5, 0.75)
    cut = replace(one, start=10.0, reference_words=tuple(
        Segment(word.start + 10, word.stop + 10, word.text) for word in one.reference_words
    ))  # fmt: skip
    again = score_words(SYSTEM, [cut], PLAIN, 0).times
    assert again is not None and again.start_median.value == pytest.approx(0.155), "true times are those of the file"


def test_a_word_in_two_parts_begins_and_ends_once() -> None:
    """ "I'm" is "i am" on both sides: its start is compared at "i", its end at "am"."""
    one = spoken("1", "I'm here", [("I'm", 0.9), ("here", 0.9)], [(0.1, 0.7), (1.1, 1.7)])
    found = score_words(SYSTEM, [one], ENGLISH, 0).times
    assert found is not None and found.words == 2
    assert found.start_median.value == pytest.approx(0.1) and found.end_median.value == pytest.approx(0.2)


def corpus(n_utterances: int = 40) -> list[Sample]:
    """Eight words an utterance, wrong where a seeded draw is above their confidence; true times some ms off."""
    generator = np.random.default_rng(5)
    samples = []
    for number in range(n_utterances):
        confidences = generator.uniform(0.3, 1.0, 8).round(2)
        hits = generator.uniform(size=8) < confidences
        words = [("right" if hit else "wrong", float(c)) for c, hit in zip(confidences, hits, strict=True)]
        off = generator.exponential(0.08, 8)
        true = [(n + float(o), n + 0.5 + float(o)) for n, o in enumerate(off)]
        samples.append(spoken(str(number), " ".join(["right"] * 8), words, true))
    return samples


def test_intervals_are_those_of_utterances_drawn_one_by_one() -> None:
    """Oracle: every draw written out word by word, and the plain figures of finetune.metrics on it."""
    samples = corpus()
    found = score_words(SYSTEM, samples, PLAIN, 3)
    own = [[(word.probability, word.word == " right") for word in one.words or ()] for one in samples]
    resampling = resample([None] * len(samples), seed=3)
    drawn = [
        [pair for times, words in zip(weights, own, strict=True) for pair in words * int(times)]
        for weights in resampling.weights[:DRAWS]
    ]

    def expected(figure: Callable[..., float]) -> tuple[float, float]:
        value = figure(*zip(*(pair for words in own for pair in words), strict=True))
        draws = [figure(*zip(*words, strict=True)) for words in drawn]
        low, middle, high = np.quantile(draws, [0.025, 0.5, 0.975])
        return value - (middle - low), value + (high - middle)

    assert found.ece is not None and found.ece.low < found.ece.value < found.ece.high
    assert (found.ece.low, found.ece.high) == pytest.approx(expected(expected_calibration_error), abs=1e-9)


def judged(generator: np.random.Generator, n_speakers: int, n_words: int, wer: float, shift: float) -> Judged:
    """Words of speakers who differ in their error rate and in all their confidences."""
    rates = generator.beta(20 * wer, 20 * (1 - wer), n_speakers)
    groups = np.repeat(np.arange(n_speakers), n_words)
    correct = generator.random(len(groups)) >= rates[groups]
    logits = generator.normal(size=len(groups)) + 1.5 * correct + shift * generator.normal(size=n_speakers)[groups]
    speakers = [f"s{group}" for group in range(n_speakers)]
    return Judged(1 / (1 + np.exp(-logits)), correct, groups, resample(speakers, seed=0, draws=1))


@pytest.mark.parametrize(("n_speakers", "n_words", "wer"), [(6, 10, 0.1), (12, 20, 0.03), (20, 50, 0.05)])
def test_the_interval_of_an_auroc_holds_the_true_one(n_speakers: int, n_words: int, wer: float) -> None:
    """Of 200 simulated test sets with 5 wrong words or more; the true AUROC is that of 4,000 speakers."""
    generator = np.random.default_rng(4)
    true = judged(generator, 4000, 50, wer, 0.7)
    area = error_auroc(true.confidences.tolist(), true.correct.tolist())
    found = []
    while len(found) < 200:
        one = judged(generator, n_speakers, n_words, wer, 0.7)
        if np.sum(~one.correct) >= FEWEST_JUDGED:
            found.append(one.auroc())
    assert sum(one.low <= area <= one.high for one in found) >= 182  # 190 expected, 3.1 standard deviations
    assert np.mean([one.high - one.low for one in found]) < 0.5


def test_few_wrong_words_say_nothing_of_an_auroc() -> None:
    confidences, groups = np.linspace(0.1, 0.9, 60), np.arange(60) % 6
    resampling = resample([f"s{group}" for group in range(6)], seed=0, draws=1)
    few = Judged(confidences, np.arange(60) >= FEWEST_JUDGED - 1, groups, resampling).auroc()
    assert (few.value, few.low, few.high) == (1.0, 0.0, 1.0)
    enough = Judged(confidences, np.arange(60) >= FEWEST_JUDGED, groups, resampling).auroc()
    assert enough.value == enough.high == 1.0 and 0.4 < enough.low < 0.9
    turned = Judged(confidences, np.arange(60) < 60 - FEWEST_JUDGED, groups, resampling).auroc()
    assert (turned.value, turned.low) == (0.0, 0.0) and turned.high == pytest.approx(1.0 - enough.low)


def test_the_interval_of_a_median_is_that_of_utterances_drawn_one_by_one() -> None:
    values = np.random.default_rng(1).exponential(size=60)
    groups = np.repeat(np.arange(12), 5)
    resampling = resample([None] * 12, seed=0)
    found = median_with_interval(values, groups, resampling)
    draws = [
        np.sort(np.repeat(values, weights[groups].astype(int)))[29]  # of 60 values the lower of the two in the middle
        for weights in resampling.weights[:DRAWS]
    ]
    low, middle, high = np.quantile(draws, [0.025, 0.5, 0.975])
    assert found.value == np.median(values)
    assert (found.low, found.high) == pytest.approx((found.value - (middle - low), found.value + (high - middle)))


def test_characters_take_the_place_of_words_where_the_cer_does() -> None:
    """Each character of a word without spaces has the word's confidence."""
    one = sample("a", "1", "今天好", "今天坏", words=(Word("今天", 0.0, 0.5, 0.9), Word("坏", 0.5, 1.0, 0.3)))
    run = Run("2026-11-28", "", {}, "c", [], ["basic"], 0, [], {"word_timestamps": "true", "language": "zh"}, [SYSTEM])
    (system,) = summarise(run, [one], [], []).systems
    assert system.words is not None and (system.words.words, system.words.wrong) == (3, 1)


def test_a_word_in_digits_is_right() -> None:
    said = [spoken(str(n), "seven", [("7", 0.9)]) for n in range(6)]
    settings = {"word_timestamps": "true", "language": "en"}
    run = Run("2026-11-28", "", {}, "c", [], ["librispeech", "whisper-english"], 0, [], settings, [SYSTEM])
    summary = summarise(run, said, [], [])
    words = summary.systems[0].words
    assert summary.word_profile == "basic:en" and words is not None and (words.words, words.wrong) == (6, 0)


def test_only_where_words_were_asked_for() -> None:
    run = Run("2026-11-28", "", {}, "c", [], ["librispeech"], 0, [], {}, [SYSTEM])
    (system,) = summarise(run, corpus(10), [], []).systems
    assert system.words is None
