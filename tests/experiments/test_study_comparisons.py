"""Recipes compared with run-to-run variance, and how much data settles what is open."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from experiments.harness.comparing import (
    Compared,
    Errors,
    compare,
    needed,
    sentence,
)
from finetune.metrics import Rate, difference, resample
from tests.experiments.made_up import TESTED, drawn


def test_single_runs_compare_as_the_benchmark_does() -> None:
    first, second = drawn(1, 0), drawn(1, 1, 0.3)
    found = compare(("a", "b"), first, second)
    resampling = resample(first.speakers, seed=0, draws=1)
    expected = difference(first.runs[0], second.runs[0], first.lengths, resampling)
    assert found.run_error is None
    for end in ("value", "low", "high"):
        assert getattr(found.difference, end) == pytest.approx(getattr(expected, end), abs=1e-12)
    assert "does not cover run-to-run variance" in sentence(found, TESTED)


def test_several_runs_count_their_variance() -> None:
    """Equal recipes whose runs differ at random: a test of utterances alone calls them different far too often."""
    alarms = naive = 0
    trials = 200
    for trial in range(trials):
        first, second = drawn(4, 2 * trial, deviation=0.2), drawn(4, 2 * trial + 1, deviation=0.2)
        found = compare(("a", "b"), first, second)
        alarms += not found.spans_zero
        one, two = (Errors(errors.runs[:1], errors.lengths, errors.speakers) for errors in (first, second))
        naive += not compare(("a", "b"), one, two).spans_zero
        assert found.run_error == pytest.approx(
            (np.var(first.rates(), ddof=1) / 4 + np.var(second.rates(), ddof=1) / 4) ** 0.5
        )
    assert alarms / trials < 0.08 < 0.4 < naive / trials


def test_an_open_difference_says_how_much_would_settle_it() -> None:
    """Four times the error needs 16 times the speech: the error falls with the root of the number of utterances."""
    small = Compared(
        first="a", second="b", difference=Rate(-0.01, -0.03, 0.01), p_value=0.3, utterance_error=0.01, run_error=0.0,
        groups=1000,
    )  # fmt: skip
    said = sentence(small, TESTED)
    assert "No significant difference between a and b" in said and "7.9 times the test speech, 1.0 h" in said
    assert "126 times the test speech" in sentence(replace(small, utterance_error=0.04), TESTED)
    never = replace(small, difference=Rate(-1e-5, -0.02, 0.02))
    assert "needs over 1,000 times the test speech" in sentence(never, TESTED)
    equal = replace(small, difference=Rate(0.0, 0.0, 0.0))
    assert sentence(equal, TESTED) == "a and b make the same number of errors on every speaker."
    assert replace(TESTED, utterances=1, speakers=1).described().startswith("test, 1 utterance, 7.7 min, 1 speaker, ")


@pytest.mark.parametrize(
    ("value", "utterance_error", "run_deviation", "comparisons"),
    [
        (0.010345, 0.013683, 0.0, 1),
        (0.0066667, 0.0066667, 0.0, 10),
        (0.11, 0.032, 0.0, 10),
        (0.03, 0.013, 0.004, 1),
        (0.0475, 0.016, 0.02, 5),
    ],
)
def test_as_much_as_is_said_to_be_needed_finds_80_of_100_differences(
    value: float, utterance_error: float, run_deviation: float, comparisons: int
) -> None:
    """Six speakers and three runs of each recipe, all normal; the last needs more runs, whatever the test speech."""
    run_error = run_deviation * (2 / 3) ** 0.5
    found = Compared(
        first="a", second="b", difference=Rate(value, -1, 1), p_value=0.3, utterance_error=utterance_error,
        run_error=run_error, groups=6, run_freedom=4.0 if run_error else None,
    )  # fmt: skip
    groups, run_factor = needed(found, comparisons) or (0, 0)
    assert (run_factor > 1) == (run_deviation == 0.02)

    def power(groups: int) -> float:
        generator, trials, n = np.random.default_rng(0), 20_000, 3 * run_factor
        of_test = utterance_error * (6 / groups) ** 0.5
        difference = value + of_test * generator.standard_normal(trials)
        variances = [of_test**2 * generator.chisquare(groups - 1, trials) / (groups - 1)]
        freedoms = [groups - 1]
        for _ in range(2 if run_error else 0):
            runs = run_deviation * generator.standard_normal((trials, n))
            difference += runs.mean(axis=1)
            variances.append(runs.var(axis=1, ddof=1) / n)
            freedoms.append(n - 1)
        variance = sum(variances)
        freedom = variance**2 / sum(one**2 / df for one, df in zip(variances, freedoms, strict=True))
        p_values = 2 * stats.t.sf(np.abs(difference) / variance**0.5, freedom)
        return float((p_values < 0.05 / comparisons).mean())

    assert power(groups) == pytest.approx(0.8, abs=0.03)
    said = sentence(found, TESTED, different=False, comparisons=comparisons)
    assert f"of {groups} speakers" in said
    assert ("at the present number of runs, 1,000 times the test speech does not suffice" in said) == (run_factor > 1)


def test_a_recipe_of_one_run_is_given_the_deviation_of_the_other() -> None:
    several, single = drawn(3, 1, deviation=0.2), drawn(1, 2)
    found = compare(("a", "b"), several, single)
    deviation = float(np.std(several.rates(), ddof=1))
    assert found.run_error == pytest.approx(deviation * (1 / 3 + 1) ** 0.5)


def test_a_model_as_it_comes_has_no_deviation_of_runs() -> None:
    several, single = drawn(3, 1, deviation=0.2), drawn(1, 2)
    whisper = replace(single, trained=False)
    found = compare(("a", "Whisper"), several, whisper)
    deviation = float(np.std(several.rates(), ddof=1))
    assert found.run_error == pytest.approx(deviation / 3**0.5) and found.run_freedom == pytest.approx(2)
    assert compare(("Whisper", "a"), whisper, several).run_error == found.run_error
    assert compare(("a", "Whisper"), single, whisper).run_error is None  # of one training
    assert compare(("b", "Whisper"), whisper, whisper).run_error == 0.0
