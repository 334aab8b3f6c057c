"""Scores against jiwer over the whole corpus at once, intervals and verdicts against simulation and hand-made cases."""

import itertools
from collections.abc import Sequence

import jiwer
import numpy as np
import pytest
from scipy import stats

from benchmark.results import Comparison, Sample, StageSeconds
from benchmark.scoring import (
    Normaliser,
    ScoredCondition,
    UtteranceCounts,
    compare_pairs,
    correct,
    count_errors,
    scores_of,
)
from benchmark.scoring.comparisons import check_baseline_system, detectable_differences
from finetune.metrics import (
    FEWEST_SPEAKERS,
    Rate,
    detectable,
    difference,
    matched_pairs,
    rate,
    resample,
    standard_error,
    verdict,
)
from preprocessing.errors import UsageError
from preprocessing.text import profile

TEXTS = [
    ("The cat sat.", "the cat sat"),
    ("on the mat", "on a mat"),
    ("it's raining, today", "its raining"),
    ("", "um"),
    ("hello", ""),
]


def samples(system: str, texts: list[tuple[str, str]]) -> list[Sample]:
    seconds = StageSeconds(0.0, 0.0, 0.1, 0.0)
    return [Sample(system, f"u{i}", r, h, 1.0, seconds, speaker=f"s{i}") for i, (r, h) in enumerate(texts)]


def counted(chosen: list[Sample], name: str) -> UtteranceCounts:
    return count_errors(map(Normaliser(profile(name)).pair, chosen))


@pytest.mark.parametrize("name", ["verbatim", "librispeech", "whisper-english"])
def test_scores_are_jiwers(name: str) -> None:
    normalise = profile(name)
    scores = scores_of(counted(samples("a", TEXTS), name), resample([None] * len(TEXTS), seed=0))
    references, hypotheses = ([normalise(text) for text in column] for column in zip(*TEXTS, strict=True))
    words = jiwer.process_words(references, hypotheses)
    assert scores.wer.value == pytest.approx(words.wer)
    assert (scores.substitutions, scores.deletions, scores.insertions, scores.hits) == (
        words.substitutions,
        words.deletions,
        words.insertions,
        words.hits,
    )
    assert scores.cer.value == pytest.approx(jiwer.process_characters(references, hypotheses).cer)
    n_wrong = sum(one.split() != two.split() for one, two in zip(references, hypotheses, strict=True))
    assert scores.ser is not None and scores.ser.value == pytest.approx(n_wrong / len(TEXTS))
    assert 0.0 <= scores.ser.low <= scores.ser.value <= scores.ser.high <= 1.0


def test_spaces_are_no_sentence_errors_without_spaces_in_the_script() -> None:
    counts = count_errors([("今天 天气", "今天天气"), ("很好", "很好"), ("你好", "你们好"), ("", "啊")], "cer")
    ser = scores_of(counts, resample([None] * 4, seed=0)).ser
    assert ser is not None and ser.value == 0.5


def test_speakers_are_drawn_whole() -> None:
    speakers = [f"s{i % 6}" for i in range(60)]
    resampling = resample(speakers, seed=1)
    assert resampling.unit == "speaker"
    drawn = resampling.weights[:, resampling.groups]
    for column in range(6):
        assert (drawn[:, column::6] == drawn[:, [column]]).all()
    assert (drawn[:, :6].sum(axis=1) == 6).all()


@pytest.mark.parametrize(
    "speakers",
    [
        [None] * 30,
        ["a"] * 29 + [None],
        [*(f"s{i}" for i in range(FEWEST_SPEAKERS - 1)), *[None] * 26],
        [*(f"s{i}" for i in range(14)), *[None] * 16],
        [f"s{i % (FEWEST_SPEAKERS - 1)}" for i in range(30)],
    ],
)
def test_utterances_are_drawn_where_speakers_are_unknown_or_few(speakers: list[str | None]) -> None:
    assert resample(speakers, seed=1).unit == "utterance"
    assert resample([f"s{i % FEWEST_SPEAKERS}" for i in range(30)], seed=1).unit == "speaker"


def test_the_interval_covers_the_truth() -> None:
    """Utterances with a known error rate: about 95 of 100 intervals hold it (binomial bounds at 3 sigma)."""
    generator = np.random.default_rng(0)
    covered = 0
    for trial in range(300):
        lengths = generator.integers(5, 20, 200)
        errors = generator.binomial(lengths, 0.1)
        interval = rate(errors.tolist(), lengths.tolist(), resample([None] * 200, seed=trial, draws=500))
        covered += interval.low <= 0.1 <= interval.high
    assert 0.91 <= covered / 300 <= 0.99


def test_pairing_sees_a_small_steady_difference() -> None:
    """Both systems vary wildly between utterances, but one is always one error better: pairing must see it."""
    generator = np.random.default_rng(0)
    lengths = np.full(100, 20)
    worse = generator.integers(1, 20, 100)
    resampling = resample([None] * 100, seed=0)
    paired = difference((worse - 1).tolist(), worse.tolist(), lengths.tolist(), resampling)
    assert paired.value == pytest.approx(-0.05)
    assert -0.06 < paired.low < -0.05 < paired.high < -0.04
    single = rate(worse.tolist(), lengths.tolist(), resampling)
    assert single.high - single.low > 0.05


def scored(name: str, wrong: Sequence[int], longer: int = 0, *, n_words: int = 10) -> ScoredCondition:
    """Utterances of `n_words`, each of so many more than the last, by speakers of their own; the first words wrong."""
    lengths = [n_words + longer * place for place in range(len(wrong))]
    texts = [(" ".join("w" * n), " ".join("x" * own + "w" * (n - own))) for own, n in zip(wrong, lengths, strict=True)]
    chosen = samples(name, texts)
    return ScoredCondition(chosen, counted(chosen, "verbatim"))


def test_utterances_are_paired_by_id_whatever_their_order() -> None:
    first, second = scored("a", range(10), 3), scored("b", [0, 0, 1, 5, 2, 8, 3, 9, 4, 7], 3)
    order = [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]
    turned = ScoredCondition([second.samples[row] for row in order], second.counts.select(order))
    [straight], [paired] = (compare_pairs({"a": first, "b": other}, "clean", seed=0) for other in (second, turned))
    assert (paired.difference, paired.p_value) == (straight.difference, straight.p_value)
    assert 0 < paired.p_value < 1


def test_the_same_difference_everywhere_is_significant() -> None:
    [comparison] = correct(compare_pairs({"a": scored("a", [2] * 12), "b": scored("b", [3] * 12)}, "clean", seed=0))
    assert comparison.p_value and 1e-4 < comparison.p_value < 0.01 and comparison.different


def test_one_word_that_every_speaker_trips_over_is_no_certainty() -> None:
    """Five speakers of a command set of ten words: by a sign test of the speakers, p is 2 / 2^5."""
    [comparison] = correct(compare_pairs({"a": scored("a", [0] * 5), "b": scored("b", [1] * 5)}, "clean", seed=0))
    assert comparison.p_value is None, "too few utterances"
    speakers = [f"s{number}" for number in range(5) for _ in range(10)]
    hard = [int(place % 10 == 9) for place in range(50)]
    resampling = resample(speakers, seed=0)
    error = (6 - 25 / 52) ** 0.5 / 52  # of 5.5 and 0.5 words that one system alone has right, and 23 that both have
    p_value = 2 * stats.t.sf(0.1 / error, 4)
    assert matched_pairs([0] * 50, hard, [1] * 50, resampling) == pytest.approx(p_value) and 0.05 < p_value < 0.15
    paired = difference([0] * 50, hard, [1] * 50, resampling)
    assert paired.low < -0.1 < 0.0 < paired.high
    alone = rate(hard, [1] * 50, resampling)
    assert alone.low < 0.04 and alone.high > 0.2


@pytest.mark.parametrize(("n_speakers", "n_each"), [(6, 50), (12, 25)])
def test_an_interval_of_few_errors_holds_errors_that_the_test_set_lacks(n_speakers: int, n_each: int) -> None:
    """Commands of one word at a true WER of 1 %: the bootstrap's own ends would hold it in 8 of 10 test sets."""
    generator = np.random.default_rng(0)
    resampling = resample([f"s{n}" for n in range(n_speakers) for _ in range(n_each)], seed=0, draws=400)
    held = 0
    for _ in range(200):
        errors = generator.binomial(1, np.repeat(generator.beta(0.2, 19.8, n_speakers), n_each))
        found = rate(errors.tolist(), [1] * len(errors), resampling)
        held += found.low <= 0.01 <= found.high
    assert held >= 186
    none = rate([0] * 300, [1] * 300, resampling)
    assert none.low == none.value == 0.0 and 0.01 < none.high < 0.03
    every = rate([1] * 300, [1] * 300, resampling)
    assert every.high == every.value == 1.0 and 0.97 < every.low < 0.99


def test_the_corrected_test_decides_with_and_without_the_utterances_left_out() -> None:
    apart = Rate(-0.02, -0.038, -0.002)
    one = Comparison("a", "b", apart, "", "clean", 0.03, left_out=["u1"], without=apart, p_value_without=0.03)
    alone, *three = correct([one]) + correct([one] * 3)
    assert (alone.different, alone.different_without) == (True, True)
    assert [(other.different, other.different_without) for other in three] == [(False, False)] * 3
    assert three[0].adjusted_p == pytest.approx(0.09) and "after correction" in three[0].sentence


def test_a_comparison_without_decisive_utterances_counts_with_its_own_p_value_without_those_of_others() -> None:
    """Of two, 0.03 is corrected to 0.03 beside 0.001, and would be to 0.06 beside 1."""
    apart = Rate(-0.02, -0.038, -0.002)
    changed = Comparison("a", "b", apart, "", "clean", 0.04, left_out=["u1"], without=apart, p_value_without=0.03)
    found, plain = correct([changed, Comparison("a", "c", apart, "", "clean", 0.001)])
    assert found.different_without is True and plain.different_without is None


def test_of_a_difference_that_hangs_on_one_utterance_that_one_is_left_out() -> None:
    """One word in each of five utterances is significant, in four it is not: the error is that of independent words."""
    systems = {"a": scored("a", [1] * 5 + [0] * 55), "b": scored("b", [0] * 60)}

    def compared(*left_out: str) -> Comparison:
        [found] = compare_pairs({name: own.without(left_out) for name, own in systems.items()}, "clean", seed=0)
        return found

    overturning = [id for id in (f"u{n}" for n in range(60)) if compared(id).difference.low <= 0]
    found = compared()
    assert found.p_value is not None and found.p_value < 0.05 and overturning == [f"u{n}" for n in range(5)]
    assert len(found.left_out) == 1 and found.left_out[0] in overturning
    assert found.p_value_without == compared(*found.left_out).p_value and (found.p_value_without or 0.0) > 0.05


def test_the_comparisons_with_a_baseline_are_a_family_of_their_own() -> None:
    """As of ten systems: p = 0.0014 with the baseline is lost among 45 comparisons, and not among 9."""
    rate = Rate(-0.6, -0.8, -0.4)
    names = "abcdefghij"
    pairs = [Comparison(one, other, rate, "", "clean", 0.0014) for one, other in itertools.combinations(names, 2)]
    noisy = [Comparison("a", "b", rate, "", "babble", 0.0014)]
    together = correct([*pairs, *noisy])
    assert {one.family for one in together} == {"all"} and not any(one.different for one in together)
    apart = correct([*pairs, *noisy], baseline="c")
    with_baseline = [one for one in apart if one.family == "baseline"]
    others = [one for one in apart if one.family == "other"]
    assert len(with_baseline) == 9 and all("c" in (one.first, one.second) for one in with_baseline)
    assert [one.adjusted_p for one in with_baseline] == pytest.approx([9 * 0.0014] * 9)
    assert [one.adjusted_p for one in others] == pytest.approx([37 * 0.0014] * 37) and others[-1].condition == "babble"
    assert all(one.different for one in with_baseline) and not any(one.different for one in others)


@pytest.mark.parametrize(("name", "systems"), [("whisper", ["whisper=base", "mine"]), ("mine", ["mine"])])
def test_a_baseline_that_cannot_be_one_is_refused(name: str, systems: list[str]) -> None:
    with pytest.raises(UsageError, match=f"--baseline_system {name} is"):
        check_baseline_system(name, systems)


def test_the_detectable_difference_is_of_the_pair_that_needs_most() -> None:
    generator = np.random.default_rng(0)
    systems = {
        name: scored(name, generator.integers(0, most, 40).tolist()) for name, most in (("a", 3), ("b", 4), ("c", 10))
    }

    def needed(*names: str) -> float:
        found = detectable_differences({name: systems[name] for name in names}, 0)
        return max(one.value for one in found)

    assert needed("a", "b", "c") == pytest.approx(max(needed(*pair) for pair in ("ab", "ac", "bc")))
    assert needed("a", "b") < needed("a", "c")
    errors, lengths = (column.tolist() for column in systems["c"].counts.of("wer"))
    own = standard_error(errors, [0] * 40, lengths, resample([f"s{i}" for i in range(40)], seed=0))
    assert needed("c") == pytest.approx(2**0.5 * float(detectable(own)))


def test_one_word_makes_no_smaller_difference_detectable_than_eight() -> None:
    """Of 60 utterances of five words: the square of the sum of both quantiles, in words."""
    systems = {"a": scored("a", [1] + [0] * 59, n_words=5), "b": scored("b", [0] * 60, n_words=5)}
    [one] = detectable_differences(systems, 0)
    q = stats.t.ppf(0.975, 59) + stats.t.ppf(0.8, 59)
    assert one.value == pytest.approx(q**2 / 300) and not one.left_out


def test_what_is_detectable_without_a_loop_is_corrected_for_as_many_comparisons() -> None:
    generator = np.random.default_rng(0)
    looping, steady = (generator.integers(0, 4, 40).tolist() for _ in range(2))
    systems = {"a": scored("a", [90, *looping[1:]]), "b": scored("b", steady)}
    rest = {name: own.without(["u0"]) for name, own in systems.items()}
    [one], [without] = (detectable_differences(own, 0, sizes={"all": 45}) for own in (systems, rest))
    assert one.left_out == ["u0"] and one.without == without.value < 0.5 * one.value


def test_verdicts() -> None:
    assert verdict("a", "b", Rate(0.05, 0.04, 0.06)) == (
        "b is significantly better than a: its WER is 4.0 to 6.0 points lower (95 % CI)."
    )
    texts = 3 * TEXTS
    heard = {
        name: ScoredCondition(samples(name, texts), counted(samples(name, texts), "verbatim")) for name in ("a", "b")
    }
    [comparison] = correct(compare_pairs(heard, "clean", seed=0))
    assert comparison.difference.value == 0.0 and comparison.difference.low == -comparison.difference.high < 0
    assert "No significant difference between a and b" in comparison.sentence
