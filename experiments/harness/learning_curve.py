"""Error rates by the amount of training speech: a power law, its interval, and where it crosses another system's rate.

rate = a * hours^-b, by least squares of logarithms, of (errors + 0.5) / (words + 1), which is never 0; of a language
written without spaces between words, which CER is the metric of, characters stand in their place. Intervals are
percentiles of draws in which the test set's speakers (or utterances), the same for all systems, and run-to-run variance
are drawn again. From which size on a curve is significantly better than another system is a matter of paired tests
(`fixed_sequences`), not of the fit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from experiments.harness.comparing import Errors, compare, mean_rate
from finetune.metrics import LEVEL, Rate, resample, run_deviation

REACH = 10.0  # times the hours that there are: a crossing further out is not claimed


@dataclass(frozen=True)
class Point:
    """A family on one size. wer: of all its runs together; the CER where that is the metric of the results."""

    hours: float
    wer: Rate
    runs: int


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """Where a family's curve meets a Whisper. hours: from which on the fitted curve is below it; 0 where it does not
    fall and is below it all along, None where it is not within reach. low, high: of the interval, in the same way.
    reached: the share of draws in which it is within reach. measured: the hours from which on every measured size is
    significantly better after correction, None without one. comparisons: pairs of curve and Whisper that this is
    corrected for; 0 in results of earlier versions, which did not correct.
    """

    whisper: str
    hours: float | None
    low: float | None
    high: float | None
    reached: float
    measured: float | None
    comparisons: int = 0


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A family's points and power law: rate = at_one_hour * hours^-exponent."""

    family: str
    recipe: str
    steps: int
    points: list[Point]
    at_one_hour: Rate | None
    exponent: Rate | None
    crossings: list[Crossing]


@dataclass(frozen=True)
class Family:
    """What a recipe makes of each size: `points` are hours, growing, and the errors of all runs."""

    family: str
    recipe: str
    steps: int
    points: Sequence[tuple[float, Errors]]


def learning_curves(families: Sequence[Family], whispers: Sequence[tuple[str, Errors]]) -> list[Curve]:
    """The power law of each family, where it crosses each Whisper, and from which size on it is significantly better:
    corrected for all pairs of a family and a Whisper.
    """
    pairs = [(family, errors) for family in families for _, errors in whispers]
    measured = iter(below_from([(family.points, errors) for family, errors in pairs]))
    curves = []
    for one in families:
        own = [Point(hours, mean_rate(errors), errors.n_runs) for hours, errors in one.points]
        (at_one_hour, exponent), crossings = _fit(one.points, whispers)
        crossings = [replace(each, measured=next(measured), comparisons=len(pairs)) for each in crossings]
        curves.append(
            Curve(
                family=one.family,
                recipe=one.recipe,
                steps=one.steps,
                points=own,
                at_one_hour=at_one_hour,
                exponent=exponent,
                crossings=crossings,
            )
        )
    return curves


def _fit(
    points: Sequence[tuple[float, Errors]], whispers: Sequence[tuple[str, Errors]]
) -> tuple[tuple[Rate | None, Rate | None], list[Crossing]]:
    """The rate at one hour and the exponent, and the crossings; Nones where there are too few sizes for a curve."""
    if len(points) < 2:
        return (None, None), [
            Crossing(whisper=name, hours=None, low=None, high=None, reached=0.0, measured=None) for name, _ in whispers
        ]
    hours = np.array([one for one, _ in points])
    drawn = np.stack([_draws(errors, number) for number, (_, errors) in enumerate(points)])  # [sizes, draws]
    value = fit_power_law(hours, np.array([[_smoothed_rate(errors)] for _, errors in points]))
    fitted = fit_power_law(hours, drawn)  # ln a, b, each [draws]
    low, high = np.quantile(fitted[0], [0.025, 0.975])
    at_one = Rate(float(np.exp(value[0][0])), float(np.exp(low)), float(np.exp(high)))
    low, high = np.quantile(fitted[1], [0.025, 0.975])
    crossings = []
    for name, errors in whispers:
        found = crossing_hours(*value, np.array([_smoothed_rate(errors)]), hours.max())[0]
        crossings.append(_crossing(name, hours.max(), found, crossing_hours(*fitted, _draws(errors), hours.max())))
    return (at_one, Rate(float(value[1][0]), float(low), float(high))), crossings


def below_from(pairs: Sequence[tuple[Sequence[tuple[float, Errors]], Errors]]) -> list[float | None]:
    """Of each pair of a curve and another system, the hours from which on every measured size makes significantly
    fewer errors; None where the largest does not. The error over all pairs and sizes is 5 % (`fixed_sequences`).

    pairs: the points of a curve, of growing hours, and the other system's errors.
    """
    tests = [[compare(("", ""), errors, other) for _, errors in reversed(points)] for points, other in pairs]
    p_values = [[one.p_value if one.difference.value < 0 else 1.0 for one in own] for own in tests]
    counts = fixed_sequences(p_values)
    return [points[-count][0] if count else None for (points, _), count in zip(pairs, counts, strict=True)]


def fixed_sequences(p_values: Sequence[Sequence[float]]) -> list[int]:
    """How many tests of each sequence are significant, at 5 % over all of them.

    A sequence is tested in its order up to the first test that is not significant, without correction inside, at
    5 % / k: k is the number of sequences of which not all tests are significant, counted again with every one that is.
    It is a graphical procedure of Bretz et al. 2009 ("A graphical approach to sequentially rejective multiple test
    procedures"); of sequences of one test, it is Holm's.

    >>> fixed_sequences([[0.001, 0.02], [0.03, 0.2]]), fixed_sequences([[0.001, 0.03], [0.03, 0.2]])
    ([2, 1], [1, 0])
    """
    counts = [0] * len(p_values)
    while left := [place for place, own in enumerate(p_values) if counts[place] < len(own)]:
        before = list(counts)
        for place in left:
            significant = [one < (1 - LEVEL) / len(left) for one in p_values[place]]
            counts[place] = [*significant, False].index(False)
        if counts == before:
            break
    return counts


def _smoothed_rate(errors: Errors) -> float:
    """The error rate of all runs, (errors + 0.5) / (length of the references + 1)."""
    return (sum(errors.summed()) + 0.5) / (errors.n_runs * sum(errors.lengths) + 1)


def _draws(errors: Errors, number: int | None = None) -> NDArray[np.float64]:
    """Error rates [draws], as `_smoothed`: the test set's groups drawn again, the same for all models, and of a
    family's size `number` run-to-run variance.
    """
    resampling = resample(errors.speakers, seed=0)
    totals = resampling.weights @ resampling.totals(errors.summed(), [errors.n_runs * one for one in errors.lengths])
    rates: NDArray[np.float64] = (totals[:, 0] + 0.5) / (totals[:, 1] + 1)
    if number is None:
        return rates
    rate = _smoothed_rate(errors)
    drawn = np.random.default_rng(number + 1).standard_normal(len(rates))
    varied: NDArray[np.float64] = rates * np.exp(run_deviation(rate) / rate / errors.n_runs**0.5 * drawn)
    return varied


def fit_power_law(
    hours: NDArray[np.float64], rates: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """ln a and b of rate = a * hours^-b, by least squares of logarithms. hours: [sizes], rates: [sizes, draws].

    >>> import numpy as np
    >>> log_a, b = fit_power_law(np.array([1.0, 4.0]), np.array([[0.4], [0.2]]))
    >>> round(float(np.exp(log_a[0])), 6), round(float(b[0]), 6)
    (0.4, 0.5)
    """
    x, y = np.log(hours), np.log(rates)
    centred = x - x.mean()
    slope = centred @ (y - y.mean(axis=0)) / (centred @ centred)
    return y.mean(axis=0) - slope * x.mean(), -slope


def crossing_hours(
    log_a: NDArray[np.float64], b: NDArray[np.float64], level: NDArray[np.float64], longest: float
) -> NDArray[np.float64]:
    """The hours at which a * hours^-b falls to a level. Where the curve does not fall: 0 if it is below the level at
    `longest`, the most hours measured, and so at all of them; else infinite.
    """
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        falling = np.exp((log_a - np.log(level)) / b)
        below = log_a - b * np.log(longest) < np.log(level)
        found: NDArray[np.float64] = np.where(b > 0, falling, np.where(below, 0.0, np.inf))
    return found


def _crossing(whisper: str, longest: float, value: float, draws: NDArray[np.float64]) -> Crossing:
    reach = REACH * longest
    low, high = np.quantile(np.minimum(draws, 2 * reach), [0.025, 0.975])
    hours, earliest, latest = (float(one) if one <= reach else None for one in (value, low, high))
    reached = float((draws <= reach).mean())
    return Crossing(whisper=whisper, hours=hours, low=earliest, high=latest, reached=reached, measured=None)
