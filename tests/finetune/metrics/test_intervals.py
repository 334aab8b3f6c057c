"""Intervals and tests against scipy, the jackknife and closed forms; their coverage is simulated in tests/benchmark."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from finetune.metrics import (
    FEWEST_GROUPS,
    MOST_GROUPS,
    Rate,
    StandardError,
    detectable,
    difference,
    holm,
    information_lost,
    matched_pairs,
    rate,
    resample,
    standard_error,
    verdict,
)

Counts = NDArray[np.int64]


def over(count: int, speakers: int | None = None) -> list[str | None]:
    return [None if speakers is None else f"s{index % speakers}" for index in range(count)]


def test_with_equal_lengths_the_matched_pairs_test_is_the_paired_t_test_of_scipy() -> None:
    """Which is Gillick & Cox's for few segments."""
    generator = np.random.default_rng(0)
    one, two, lengths = generator.integers(0, 9, 300), generator.integers(0, 8, 300), [10] * 300
    found = matched_pairs(one.tolist(), two.tolist(), lengths, resample(over(300), seed=0))
    assert found == pytest.approx(stats.ttest_rel(one, two).pvalue)
    by_speaker = [np.bincount(np.arange(300) % 12, errors) for errors in (one, two)]
    found = matched_pairs(one.tolist(), two.tolist(), lengths, resample(over(300, 12), seed=0))
    assert found == pytest.approx(stats.ttest_rel(*by_speaker).pvalue)


def cr2(differences: Counts, lengths: Counts) -> tuple[float, float]:
    """Error and degrees of freedom of the mean over words, by the matrices of Pustejovsky & Tipton 2018 (equations 5 to
    9) with an identity matrix as working covariance: a regression of words on a constant, clustered by group."""
    n_words = lengths.sum()
    cluster = np.repeat(np.arange(len(lengths)), lengths)
    outcome = np.repeat(differences / lengths, lengths)  # a group's errors, spread over its words
    hat = np.full((n_words, n_words), 1.0 / n_words)
    residuals = outcome - hat @ outcome
    variance, columns = 0.0, []
    for group in range(len(lengths)):
        own = cluster == group
        values, vectors = np.linalg.eigh(np.eye(own.sum()) - hat[np.ix_(own, own)])
        adjusted = (vectors / np.sqrt(values)) @ vectors.T @ np.full(own.sum(), 1.0 / n_words)
        variance += float(adjusted @ residuals[own]) ** 2
        columns.append((np.eye(n_words) - hat)[:, own] @ adjusted)
    products = np.array(columns) @ np.array(columns).T
    return variance**0.5, float(np.trace(products) ** 2 / (products**2).sum())


def test_the_standard_error_is_the_bias_reduced_one() -> None:
    lengths = np.array([40, 1, 7, 12, 12, 3])
    one, two = np.array([12, 0, 2, 5, 1, 1]), np.array([6, 1, 1, 5, 2, 0])
    found = standard_error(one.tolist(), two.tolist(), lengths.tolist(), resample(over(6), seed=0))
    assert tuple(found) == pytest.approx(cr2(one - two, lengths))
    even = standard_error(one.tolist(), two.tolist(), [12] * 6, resample(over(6), seed=0))
    assert found.freedom < 3 and even.freedom == pytest.approx(5)


def brute_force(statistic: Callable[[Counts], float], n_groups: int) -> float:
    """Jackknife standard error."""
    left_out = [statistic(np.delete(np.arange(n_groups), group)) for group in range(n_groups)]
    return float(np.sqrt((n_groups - 1) / n_groups * np.sum((np.array(left_out) - np.mean(left_out)) ** 2)))


def test_the_standard_error_is_the_jackknifes() -> None:
    generator = np.random.default_rng(0)
    lengths = generator.integers(5, 50, 200)
    one, two = generator.binomial(lengths, 0.2), generator.binomial(lengths, 0.1)
    found = standard_error(one.tolist(), two.tolist(), lengths.tolist(), resample(over(200), seed=0))
    expected = brute_force(lambda rows: (one - two)[rows].sum() / lengths[rows].sum(), 200)
    assert found.value == pytest.approx(expected, rel=0.02)


def bootstrap_t(errors: Counts, lengths: Counts, draws: NDArray[np.float64]) -> tuple[float, float]:
    """The interval of the module's formula, draw by draw. draws: how often each group is in each."""
    error, freedom = cr2(errors, lengths)
    n_groups, own = len(lengths), errors.sum() / lengths.sum()
    clip = stats.t.ppf(0.9995, n_groups - 1)
    studentised = []
    for times in draws:
        drawn, words = (times * errors).sum() / (times * lengths).sum(), (times * lengths).sum()
        parts = (errors - drawn * lengths) / words
        spread = np.sqrt((times * parts**2 / (1 - lengths / lengths.sum())).sum())
        studentised.append(np.clip((drawn - own) / spread, -clip, clip) if spread > 0 else np.sign(drawn - own) * clip)
    low, high = np.quantile(studentised, [0.025, 0.975])
    widened = error * stats.t.ppf(0.975, freedom) / stats.t.ppf(0.975, n_groups - 1)
    return max(own - widened * high, 0.0), own - widened * low


@pytest.mark.parametrize(
    ("errors", "lengths", "is_exact"),
    [
        ([2, 1, 0, 3, 1, 19, 2, 8], [20, 12, 15, 30, 9, 24, 12, 70], False),
        ([0, 0, 0, 0, 0, 0, 6, 0], [20, 12, 15, 30, 9, 24, 12, 70], True),
        ([11, 9, 10, 12, 8, 10, 1, 9], [30, 22, 25, 30, 19, 34, 22, 40], True),
        ([1, 0, 0, 0, 0, 0], [50] * 6, True),
    ],
)
def test_the_interval_is_the_studentised_bootstraps_and_of_few_errors_the_exact_one(
    errors: list[int], lengths: list[int], is_exact: bool
) -> None:
    """Of uneven groups with one that is far from the others, so that the interval is skewed, or ends at 0. The exact
    one is Clopper and Pearson's of the effective number of words, by Korn & Graubard.
    """
    drawn = resample(over(len(errors)), seed=3, draws=400)
    found = rate(errors, lengths, drawn)
    low, high = bootstrap_t(np.array(errors), np.array(lengths), drawn.weights)
    n, own = sum(lengths), sum(errors) / sum(lengths)
    shares = np.array(lengths) / n
    parts = (np.array(errors) - own * np.array(lengths)) / n
    q = shares**2 / (1 - shares)
    freedom = 1 / ((shares**2).sum() + q.sum() ** 2 - (q**2).sum())
    effect = max((parts**2 / (1 - shares)).sum() * n / (own * (1 - own)), 1.0)
    words = n / effect * (stats.t.ppf(0.975, n - 1) / stats.t.ppf(0.975, freedom)) ** 2
    exact = stats.beta.ppf(0.975, own * words + 1, (1 - own) * words)
    assert (exact > high) == is_exact
    assert (found.low, found.high) == pytest.approx((low, max(high, exact)))


def test_of_utterances_that_all_have_one_rate_none_is_certain() -> None:
    """No word right, one insertion more, and two errors for every word."""
    drawn = resample(over(6), seed=0, draws=400)
    every, more, twice = (rate(errors, [10] * 6, drawn) for errors in ([10] * 6, [11, *[10] * 5], [20] * 6))
    assert every.low < 0.95 and every.high == 1.0
    assert more.low < 0.95 and more.high > more.value > 1.0
    assert 1.9 < twice.low < 1.95 and twice.high - twice.value == pytest.approx(twice.value - twice.low)


def test_a_rate_above_100_percent_is_as_certain_as_its_utterances_are_alike() -> None:
    """2,000 utterances of ten words, each at 110 to 130 %: Student's interval, and not one that reaches 100 %."""
    errors = np.random.default_rng(0).integers(11, 14, 2000)
    found = rate(errors.tolist(), [10] * 2000, resample(over(2000), seed=0))
    expected = stats.t.interval(0.95, 1999, errors.mean() / 10, stats.sem(errors) / 10)
    assert (found.low, found.high) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize("n_speakers", [8, 40])
def test_intervals_of_rates_above_100_percent_hold_the_true_one(n_speakers: int) -> None:
    """300 corpora of speakers whose rates are skewed, at a true rate of 120 %."""
    generator, trials, held = np.random.default_rng(n_speakers), 300, 0
    for trial in range(trials):
        rates = 0.9 + generator.gamma(2.0, 0.15, n_speakers)
        errors = generator.poisson(np.repeat(100 * rates, 3)).tolist()
        drawn = resample([f"s{place // 3}" for place in range(3 * n_speakers)], seed=trial, draws=300)
        found = rate(errors, [100] * len(errors), drawn)
        held += found.low <= 1.2 <= found.high
    assert 0.93 <= held / trials <= 0.99


@pytest.mark.parametrize("errors", [[10, 10, 5, 10, 8, 16], [14, 13, 2, 1, 12, 3, 13, 2]])
def test_insertions_that_no_proportion_has_leave_the_interval_to_the_draws(errors: list[int]) -> None:
    """Speakers with up to 16 errors in 10 words: their rates differ more than a share of wrong words can."""
    lengths = [10] * len(errors)
    drawn = resample(over(len(errors)), seed=0, draws=400)
    found = rate(errors, lengths, drawn)
    assert (found.low, found.high) == pytest.approx(bootstrap_t(np.array(errors), np.array(lengths), drawn.weights))


def independent(n_wrong: int, n_words: int, n_groups: int) -> tuple[float, float]:
    """Clopper and Pearson's interval of equal groups whose words are all independent, as wide as Student's t makes it
    with one degree of freedom less than groups."""
    words = n_words * (stats.t.ppf(0.975, n_words - 1) / stats.t.ppf(0.975, n_groups - 1)) ** 2
    wrong, right = n_wrong / n_words * words, (1 - n_wrong / n_words) * words
    return float(stats.beta.ppf(0.025, wrong, right + 1)), float(stats.beta.ppf(0.975, wrong + 1, right))


@pytest.mark.parametrize("each", [5, 10, 24, 45])
def test_speakers_that_are_alike_but_for_one_error_have_the_interval_of_independent_words(each: int) -> None:
    """6 x 50 words: one error more moves both ends by less than a point."""
    drawn = resample(over(6), seed=0, draws=400)
    alike, nearly = (rate([one, *[each] * 5], [50] * 6, drawn) for one in (each, each + 1))
    for found, n_wrong in ((alike, 6 * each), (nearly, 6 * each + 1)):
        assert (found.low, found.high) == pytest.approx(independent(n_wrong, 300, 6))
    assert 0 < nearly.low - alike.low < 0.01 and 0 < nearly.high - alike.high < 0.01


@pytest.mark.parametrize(
    ("errors", "lengths"),
    [
        ([40, 40, 40, 39, 40, 40], [50] * 6),
        ([*[35] * 7, 34], [50] * 8),
        ([11, 9, 10, 12, 8, 10, 1, 9], [30, 22, 25, 30, 19, 34, 22, 40]),  # its upper end is the exact one
        ([2, 1, 0, 3, 1, 19, 2, 8], [20, 12, 15, 30, 9, 24, 12, 70]),  # its lower end is nearer than the exact one
    ],
)
def test_right_words_have_the_interval_of_wrong_ones_in_the_mirror(errors: list[int], lengths: list[int]) -> None:
    drawn = resample(over(len(errors)), seed=0, draws=400)
    wrong = rate(errors, lengths, drawn)
    right = rate([length - one for one, length in zip(errors, lengths, strict=True)], lengths, drawn)
    assert (1 - right.high, 1 - right.low) == pytest.approx((wrong.low, wrong.high))


@pytest.mark.parametrize("n_speakers", [6, 12])
def test_intervals_of_independent_errors_hold_the_true_rate_also_where_speakers_agree_by_chance(
    n_speakers: int,
) -> None:
    """300 corpora of 50 words for each speaker, at a true rate of 20 %, and 300 in which the variance between speakers
    is less than half of what independent words have."""
    corpora = np.random.default_rng(n_speakers).binomial(50, 0.2, (6000, n_speakers))
    alike = corpora[corpora.var(axis=1, ddof=1) < 0.5 * 50 * 0.2 * 0.8]
    drawn = resample(over(n_speakers), seed=0, draws=300)
    for chosen in (corpora[:300], alike[:300]):
        found = [rate(errors.tolist(), [50] * n_speakers, drawn) for errors in chosen]
        assert len(found) == 300 and np.mean([one.low <= 0.2 <= one.high for one in found]) >= 0.95


def test_an_interval_needs_five_groups() -> None:
    for count, is_known in ((FEWEST_GROUPS, True), (FEWEST_GROUPS - 1, False)):
        found = rate([1, 2, 1, 2, 1][:count], [10] * count, resample(over(count), seed=0))
        assert (found.low > 0.0 and found.high < 1.0) == is_known
    lost = information_lost([9, 0, 0, 0, 0, 0], [10] * 6, [10] * 6, resample(over(6), seed=0))
    assert lost.high == 1.0


@pytest.mark.parametrize("comparisons", [1, 6])
def test_the_detectable_difference_is_found_four_times_in_five(comparisons: int) -> None:
    """Of so large a difference the test, at its corrected level, has a power of 80 %: closed form and simulation."""
    error = StandardError(0.01, 1e9)
    expected = 0.01 * (stats.norm.ppf(1 - 0.025 / comparisons) + stats.norm.ppf(0.8))
    assert detectable(error, comparisons) == pytest.approx(expected)
    seen = np.random.default_rng(0).normal(expected, 0.01, 20_000)
    assert np.mean(2 * stats.norm.sf(seen / 0.01) < 0.05 / comparisons) == pytest.approx(0.8, abs=0.01)


def test_many_independent_utterances_have_the_normal_interval() -> None:
    """5,000 utterances are dealt into groups; the interval is that of the central limit theorem all the same."""
    generator = np.random.default_rng(0)
    lengths = generator.integers(5, 50, 5000)
    errors = generator.binomial(lengths, 0.1)
    drawn = resample(over(5000), seed=0)
    assert drawn.n_groups == MOST_GROUPS and (np.bincount(drawn.groups) == 5).all()
    found = rate(errors.tolist(), lengths.tolist(), drawn)
    half = 1.96 * brute_force(lambda rows: errors[rows].sum() / lengths[rows].sum(), 5000)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)
    heard = lengths + generator.integers(0, 5, 5000)
    lost = information_lost((lengths - errors).tolist(), lengths.tolist(), heard.tolist(), drawn)
    assert lost.value == pytest.approx(1 - (lengths - errors).sum() ** 2 / (lengths.sum() * heard.sum()))

    def leaving_out(rows: Counts) -> float:
        return float((lengths - errors)[rows].sum() ** 2 / (lengths[rows].sum() * heard[rows].sum()))

    assert (lost.high - lost.low) / 2 == pytest.approx(1.96 * brute_force(leaving_out, 5000), rel=0.1)


def test_many_speakers_are_dealt_whole_into_groups() -> None:
    """3,000 speakers of one to five utterances, as in crowd-sourced corpora: time and memory are those of 1,000 groups,
    and the interval is that of the jackknife over speakers."""
    generator = np.random.default_rng(0)
    speaker = np.repeat(np.arange(3000), generator.integers(1, 6, 3000))
    lengths = generator.integers(5, 50, len(speaker))
    errors = generator.binomial(lengths, generator.beta(2, 18, 3000)[speaker])
    drawn = resample([f"s{number}" for number in speaker], seed=0)
    assert drawn.unit == "speaker" and drawn.n_groups == MOST_GROUPS
    assert len(set(zip(drawn.groups.tolist(), speaker.tolist(), strict=True))) == 3000
    found = rate(errors.tolist(), lengths.tolist(), drawn)
    own_errors, own_lengths = np.bincount(speaker, errors), np.bincount(speaker, lengths)
    half = 1.96 * brute_force(lambda rows: float(own_errors[rows].sum() / own_lengths[rows].sum()), 3000)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_as_the_stepwise_procedure_does(p_values: list[float]) -> None:
    """Holm's own words: the smallest is tested at 0.05 / m, the next at 0.05 / (m - 1), up to the first failure."""
    rejected = set()
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        if p_values[index] * (len(p_values) - rank) >= 0.05:
            break
        rejected.add(index)
    assert {index for index, adjusted in enumerate(holm(p_values)) if adjusted < 0.05} == rejected


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12),
    st.integers(0, 3),
)
def test_intervals_hold_their_value_and_are_finite(rows: list[tuple[int, int, int]], seed: int) -> None:
    first, second, lengths = (list(column) for column in zip(*rows, strict=True))
    drawn = resample(over(len(rows)), seed=seed, draws=50)
    for found in (rate(first, lengths, drawn), difference(first, second, lengths, drawn)):
        assert np.isfinite([found.low, found.high]).all()
        assert found.low <= found.value <= found.high
    apart, p_value = difference(first, second, lengths, drawn), matched_pairs(first, second, lengths, drawn)
    assert 0.0 <= p_value <= 1.0
    if abs(p_value - 0.05) > 1e-9:
        assert (p_value < 0.05) == (not apart.low <= 0 <= apart.high)


def test_a_single_utterance_says_nothing_of_others() -> None:
    drawn = resample([None], seed=0)
    assert rate([1], [4], drawn) == Rate(0.25, 0.0, 1.0)
    assert difference([1], [4], [10], drawn) == Rate(-0.3, -1.0, 1.0)
    assert matched_pairs([1], [4], [10], drawn) == 1.0


@pytest.mark.parametrize("different", [True, False])
def test_a_verdict_never_contradicts_the_corrected_test(different: bool) -> None:
    told = verdict("a", "b", Rate(0.02, 0.001, 0.039), different)
    assert ("b is significantly better than a" in told) == different
    assert ("No significant difference" in told) == (not different)
    assert "0.1 to 3.9 points" in told


def test_a_difference_for_all_is_found_although_two_speakers_have_most_of_the_speech() -> None:
    """The second system is ten points worse for everyone; numbers of errors are very different, rates are not."""
    lengths = np.array([400] * 4 + [10] * 12)
    worse = np.array([44, 38, 40, 42, 0, 2, 0, 2, 1, 1, 1, 1, 1, 1, 1, 1])
    drawn = resample(over(16, 16), seed=0)
    own = np.zeros_like(lengths).tolist(), worse.tolist(), lengths.tolist(), drawn
    assert stats.ttest_1samp(worse, 0).pvalue > 0.02  # Gillick & Cox's
    assert matched_pairs(*own) < 1e-3 and difference(*own).high < -0.08
