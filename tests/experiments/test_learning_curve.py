"""Learning curves: power laws, their crossings with Whisper, and from which size on a model is better."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.harness.comparing import Errors
from experiments.harness.learning_curve import (
    Curve,
    Family,
    below_from,
    crossing_hours,
    fit_power_law,
    fixed_sequences,
    learning_curves,
)
from experiments.study_pages import hours as hours_page
from finetune.metrics import Rate, holm, run_deviation
from tests.experiments.made_up import TESTED, drawn


def test_a_power_law_is_found_again_with_its_crossing() -> None:
    sizes = np.array([0.1, 0.5, 1.0, 5.0])
    log_a, b = fit_power_law(sizes, 0.4 * sizes[:, None] ** -0.5)
    assert (np.exp(log_a[0]), b[0]) == (pytest.approx(0.4), pytest.approx(0.5))
    assert crossing_hours(log_a, b, np.array([0.1]), 5.0)[0] == pytest.approx(16.0)
    assert np.isinf(crossing_hours(log_a, -b, np.array([0.1]), 5.0)[0])  # a curve that rises, and is above
    assert crossing_hours(log_a, -b, np.array([0.95]), 5.0)[0] == 0  # one that rises, and is below at every size


def of_rate(level: float, seed: int) -> Errors:
    return drawn(1, seed, level)


def test_a_crossing_has_an_interval_or_is_not_within_reach() -> None:
    points = [(size, of_rate(0.4 * size**-0.5, number)) for number, size in enumerate((0.25, 1.0, 4.0))]
    near, far = of_rate(0.15, 8), of_rate(0.02, 9)
    (curve,) = learning_curves([Family("lstm", "mine", 100, points)], [("near", near), ("far", far)])
    assert curve.exponent is not None and curve.exponent.low < 0.5 < curve.exponent.high
    one, other = curve.crossings
    assert one.hours is not None and one.low is not None and one.low < one.hours < 40
    assert one.low < (0.4 / 0.15) ** 2 and (one.high is None or one.high > (0.4 / 0.15) ** 2)
    assert other.hours is None and other.reached < 0.1
    answers = answers_of(curve, hours_page.Line("far", Rate(0.02, 0.01, 0.03)))
    assert "corrected for 2 pairs" in answers and "is of that one training, not of its recipe" in answers
    assert "mine against far: not within reach of this data" in answers
    assert "doubling the speech lowers the WER by" in answers


def test_a_curve_is_below_from_where_it_stays_significantly_below() -> None:
    points = [
        (hours, of_rate(wer, number)) for number, (hours, wer) in enumerate([(1.0, 0.1), (2.0, 0.35), (4.0, 0.2)])
    ]
    assert below_from([(points, of_rate(0.3, 7))]) == [4.0], "two hours are worse"
    assert below_from([(points, of_rate(0.5, 8)), (points, points[-1][1])]) == [1.0, None], "the last: no difference"
    runs, lengths, speakers = points[-1][1].runs, points[-1][1].lengths, points[-1][1].speakers
    one_more = [[runs[0][0] + 1, *runs[0][1:]]]
    assert below_from([(points, Errors(one_more, lengths, speakers))]) == [None], "one error fewer is not significant"


def test_sizes_are_corrected_for_all_curves_and_whispers() -> None:
    """A family that is as good as all Whispers is called better in at most 5 % of studies, at any size."""
    generator = np.random.default_rng(0)
    uncorrected = wrong = 0
    for _ in range(2000):
        p_values = generator.uniform(size=(6, 4)).tolist()
        wrong += any(fixed_sequences(p_values))
        uncorrected += any(own[0] < 0.05 for own in p_values)
    assert wrong / 2000 < 0.06 < 0.2 < uncorrected / 2000
    one_by_one = [0.01, 0.04, 0.03, 0.001]
    assert fixed_sequences([[p] for p in one_by_one]) == [int(p < 0.05) for p in holm(one_by_one)]
    assert fixed_sequences([[0.001, 0.2, 0.001]]) == [1] and fixed_sequences([]) == []


def commands(level: float, seed: int) -> Errors:
    """Errors of 300 commands of one word by six speakers."""
    errors = (np.random.default_rng(seed).random(300) < level).astype(int).tolist()
    return Errors([errors], [1] * 300, [f"s{place // 50}" for place in range(300)])


def answers_of(curve: Curve, *whispers: hours_page.Line) -> str:
    results = hours_page.Results(
        corpus="c", hours=4.0, test=TESTED, profile="basic:en", run_spread=0.044, curves=[curve],
        whispers=[*whispers], missing={},
    )  # fmt: skip
    return " ".join(hours_page.findings_of(results).answers)


def test_a_size_without_errors_has_an_answer() -> None:
    sizes = [(1 / 60, 0.3), (3 / 60, 0.1), (10 / 60, 0.03), (20 / 60, 0.0)]
    points = [(size, commands(level, place)) for place, (size, level) in enumerate(sizes)]
    (curve,) = learning_curves([Family("wav2vec2", "mine", 100, points)], [("Whisper", commands(0.6, 9))])
    assert curve.exponent is not None and curve.exponent.low > 0 and curve.points[-1].wer.value == 0
    assert "mine has a significantly lower WER than Whisper from 1 min, the smallest size, on." in answers_of(curve)
    (single,) = learning_curves([Family("wav2vec2", "mine", 100, points[-1:])], [("Whisper", commands(0.6, 9))])
    said = answers_of(single)
    assert "mine: too few sizes for a curve. mine has a significantly lower WER than Whisper from 20 min" in said


def test_the_sentence_on_a_crossing_does_not_contradict_itself() -> None:
    points = [(size, commands(level, 4)) for size, level in ((1 / 60, 0.08), (3 / 60, 0.085), (20 / 60, 0.095))]
    (curve,) = learning_curves([Family("wav2vec2", "mine", 100, points)], [("Whisper", commands(0.6, 9))])
    assert curve.exponent is not None and curve.exponent.value < 0 and curve.crossings[0].hours == 0
    assert "from 1 min, the smallest size, on." in answers_of(curve)
    crossing = replace(curve.crossings[0], measured=3 / 60)
    assert "from 3 min on; the fitted curve is below it" in answers_of(replace(curve, crossings=[crossing]))
    crossing = replace(crossing, hours=None, low=None, high=None)
    assert "than Whisper from 3 min on. Compared" in answers_of(replace(curve, crossings=[crossing]))
    crossing = replace(crossing, hours=2.0, low=0.001, measured=None, reached=0.4)
    said = answers_of(replace(curve, crossings=[crossing]))
    assert (
        "crosses it at 2.0 h [below 1 min to beyond reach], but within 10 times the 20 min at hand in only 40 %" in said
    )
    assert "does not cross" not in said
    crossing = replace(crossing, hours=0.1, low=0.05, high=None, reached=0.9)
    said = answers_of(replace(curve, crossings=[crossing]))
    assert "crosses it at 6 min [3 min to beyond reach], but with 20 min the WER is not significantly lower." in said
    said = answers_of(replace(curve, crossings=[replace(crossing, hours=0.0)]))
    assert "is below it at every size, but with 20 min the WER is not significantly lower." in said
    said = answers_of(replace(curve, exponent=None, crossings=[crossing]))
    assert "mine against Whisper: with 20 min the WER is not significantly lower." in said
    crossing = replace(crossing, measured=1 / 60, comparisons=0)
    assert "are not corrected for their number" in answers_of(replace(curve, crossings=[crossing]))


def test_the_interval_of_an_exponent_is_as_wide_as_seeds_make_it() -> None:
    """The slope's variance by runs alone: sum of (x - mean x)^2 * s^2, over (sum of (x - mean x)^2)^2."""
    errors = of_rate(0.6, 1)  # the same at every size, so the test set adds nothing
    points = [(size, errors) for size in (0.1, 0.3, 1.0, 4.9)]
    (curve,) = learning_curves([Family("lstm", "mine", 1, points)], [])
    assert curve.exponent is not None
    x = np.log([0.1, 0.3, 1.0, 4.9])
    relative = run_deviation(errors.rates()[0]) / errors.rates()[0]
    expected = 1.96 * relative / np.sqrt(((x - x.mean()) ** 2).sum())
    assert (curve.exponent.high - curve.exponent.low) / 2 == pytest.approx(expected, rel=0.1)
