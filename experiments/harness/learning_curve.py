"""Error rates by the amount of training speech: a power law, its interval, and where it crosses another system's rate.

WER = a * hours^-b, by least squares of logarithms. Intervals are percentiles of draws in which the test set's speakers
(or utterances), the same for all systems, and run-to-run variance are drawn again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from experiments.harness.transcripts import Errors
    from finetune.metrics import Rate

REACH = 10.0  # times the hours that there are: a crossing further out is not claimed


@dataclass(frozen=True)
class Point:
    """A family on one size. wer: of all its runs together."""

    hours: float
    wer: "Rate"
    runs: int


@dataclass(frozen=True)
class Crossing:
    """Where a family's curve meets a Whisper. hours: None where it is not within reach. low, high: of the interval;
    None: beyond reach. reached: the share of draws in which it is within reach. measured: the hours from which
    on every measured size is significantly better, None without one.
    """

    whisper: str
    hours: float | None
    low: float | None
    high: float | None
    reached: float
    measured: float | None


@dataclass(frozen=True)
class Curve:
    """A family's points and power law: WER = at_one_hour * hours^-exponent."""

    family: str
    recipe: str
    steps: int
    points: list[Point]
    at_one_hour: "Rate | None"
    exponent: "Rate | None"
    crossings: list[Crossing]


def learning_curve(
    family: str, recipe: str, steps: int, points: "Sequence[tuple[float, Errors]]",
    whispers: "Sequence[tuple[str, Errors]]",
) -> Curve:  # fmt: skip
    """The power law of a family, and where it crosses each Whisper."""
    import numpy as np

    from experiments.harness.transcripts import mean_rate
    from finetune.metrics import Rate

    own = [Point(hours, mean_rate(errors), errors.n_runs) for hours, errors in points]
    if len(points) < 2 or any(one.wer.value == 0 for one in own):
        return Curve(family, recipe, steps, own, None, None, [])
    hours = np.array([one for one, _ in points])
    drawn = np.stack([_draws(errors, number) for number, (_, errors) in enumerate(points)])  # [sizes, draws]
    value = fit_power_law(hours, np.array([[one.wer.value] for one in own]))
    fitted = fit_power_law(hours, drawn)  # ln a, b, each [draws]
    low, high = np.quantile(fitted[0], [0.025, 0.975])
    at_one = Rate(float(np.exp(value[0][0])), float(np.exp(low)), float(np.exp(high)))
    low, high = np.quantile(fitted[1], [0.025, 0.975])
    exponent = Rate(float(value[1][0]), float(low), float(high))
    crossings = []
    for name, errors in whispers:
        line = _draws(errors)
        level = np.array([max(sum(errors.summed()) / max(sum(errors.lengths), 1), 1e-9)])
        crossings.append(
            _crossing(
                name, hours.max(), crossing_hours(*value, level)[0], crossing_hours(*fitted, line),
                below_from(points, errors),
            )
        )  # fmt: skip
    return Curve(family, recipe, steps, own, at_one, exponent, crossings)


def below_from(points: "Sequence[tuple[float, Errors]]", level: "Errors") -> float | None:
    """The hours from which on every measured size makes significantly fewer errors than another system; None where the
    largest does not. points: of increasing hours.
    """
    from experiments.harness.transcripts import compare

    found = None
    for hours, errors in reversed(points):
        if compare(("", ""), errors, level).difference.high >= 0:
            break
        found = hours
    return found


def _draws(errors: "Errors", number: int | None = None) -> "NDArray[np.float64]":
    """Error rates [draws]: the test set's groups drawn again, the same for all models, and of a family's size `number`
    run-to-run variance.
    """
    import numpy as np

    from finetune.metrics import resample, run_deviation

    resampling = resample(errors.speakers, seed=0)
    totals = resampling.weights @ resampling.totals(errors.summed(), [errors.n_runs * one for one in errors.lengths])
    rates: NDArray[np.float64] = np.maximum(totals[:, 0] / np.maximum(totals[:, 1], 1), 1e-6)
    if number is None:
        return rates
    rate = max(sum(errors.summed()) / max(errors.n_runs * sum(errors.lengths), 1), 1e-6)
    drawn = np.random.default_rng(number + 1).standard_normal(len(rates))
    varied: NDArray[np.float64] = rates * np.exp(run_deviation(rate) / rate / errors.n_runs**0.5 * drawn)
    return varied


def fit_power_law(
    hours: "NDArray[np.float64]", wer: "NDArray[np.float64]"
) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    """ln a and b of WER = a * hours^-b, by least squares of logarithms. hours: [sizes], wer: [sizes, draws].

    >>> import numpy as np
    >>> log_a, b = fit_power_law(np.array([1.0, 4.0]), np.array([[0.4], [0.2]]))
    >>> round(float(np.exp(log_a[0])), 6), round(float(b[0]), 6)
    (0.4, 0.5)
    """
    import numpy as np

    x, y = np.log(hours), np.log(wer)
    centred = x - x.mean()
    slope = centred @ (y - y.mean(axis=0)) / (centred @ centred)
    return y.mean(axis=0) - slope * x.mean(), -slope


def crossing_hours(
    log_a: "NDArray[np.float64]", b: "NDArray[np.float64]", level: "NDArray[np.float64]"
) -> "NDArray[np.float64]":
    """The hours at which a * hours^-b falls to a level; infinite where the curve does not fall."""
    import numpy as np

    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        found: NDArray[np.float64] = np.where(b > 0, np.exp((log_a - np.log(level)) / b), np.inf)
    return found


def _crossing(
    whisper: str, longest: float, value: float, draws: "NDArray[np.float64]", measured: float | None
) -> Crossing:
    import numpy as np

    reach = REACH * longest
    low, high = np.quantile(np.minimum(draws, 2 * reach), [0.025, 0.975])
    hours, earliest, latest = (float(one) if one <= reach else None for one in (value, low, high))
    return Crossing(whisper, hours, earliest, latest, float((draws <= reach).mean()), measured)
