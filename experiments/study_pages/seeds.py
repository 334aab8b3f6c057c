"""Results of `experiments.seeds`: how far runs of one recipe differ, and how many pairs of them a test tells apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.harness.figures import Findings, Table
from experiments.harness.study import with_interval
from experiments.harness.transcripts import CorpusUsed
from finetune.metrics import Rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Trained:
    """What all runs of a recipe share. base: "" from random weights. hours: of training speech."""

    recipe: str
    family: str
    base: str
    steps: int
    hours: float


@dataclass(frozen=True, kw_only=True)
class Spread(Trained):
    """The runs of one recipe. Rates are fractions: of words, or of characters where the metric is CER.

    wers: of each run with its interval. deviation: between runs, with its 95 % interval (chi-squared). apart: what 95
    of 100 pairs of runs differ by at most. pairs, called_different: pairs of runs, and those that the paired test calls
    different (p < 0.05, uncorrected). paired_error: the median standard error of a pair's difference, which is all that
    resampling utterances knows of it.
    """

    test: CorpusUsed
    profile: str
    wers: list[Rate]
    deviation: Rate
    apart: float
    pairs: int
    called_different: int
    paired_error: float
    metric: str = "WER"

    @property
    def mean(self) -> float:
        """The mean error rate of the runs."""
        return sum(one.value for one in self.wers) / len(self.wers)


@dataclass(frozen=True)
class Results:
    """All recipes."""

    spreads: list[Spread]


def findings_of(results: Results) -> Findings:
    """The table, the answers and the picture."""
    headings = (
        "recipe", f"{_metrics(results.spreads)} of the runs, %", "deviation, points", "95 % of seed pairs within",
        "significant pairs", "standard error from the test set",
    )  # fmt: skip
    rows = []
    answers = []
    for one in results.spreads:
        values = sorted(rate.value for rate in one.wers)
        rows.append(
            (
                one.recipe,
                f"{100 * values[0]:.1f} to {100 * values[-1]:.1f}, mean {100 * one.mean:.1f}",
                with_interval(one.deviation),
                f"{100 * one.apart:.1f} points ({100 * one.apart / max(one.mean, 1e-9):.0f} %)",
                f"{one.called_different} of {one.pairs}",
                f"{100 * one.paired_error:.1f} points",
            )
        )
        answers += _answers(one)
    settings = "\n".join(
        f"{one.recipe}: {one.family} from {one.base or 'random weights'}, {60 * one.hours:.0f} min of training speech, "
        f"{one.steps} steps, {len(one.wers)} seeds; tested on {one.test.described()}; profile {one.profile}"
        for one in results.spreads
    )
    return Findings(
        "Runs of one recipe", settings, tables=[Table(headings, rows)], answers=answers,
        draw=lambda axes: _draw(axes, results.spreads),
    )  # fmt: skip


def _metrics(spreads: Sequence[Spread]) -> str:
    """WER, CER, or both names where the recipes' differ."""
    return " or ".join(dict.fromkeys(one.metric for one in spreads))


def _answers(one: Spread) -> list[str]:
    values = [100 * rate.value for rate in one.wers]
    found = [
        f"{one.recipe}: over {len(values)} seeds the {one.metric} ranges from {min(values):.1f} to "
        f"{max(values):.1f} %, a standard deviation of {with_interval(one.deviation)} points. A difference below "
        f"{100 * one.apart:.1f} points between two systems trained like this is within run-to-run variance: compare "
        "several seeds of each."
    ]
    false = one.called_different / one.pairs
    expected = "within the nominal 5 %" if false <= 0.05 else f"{100 * false:.0f} % instead of the nominal 5 %"
    found.append(
        f"{one.recipe}: the paired test over {one.test.unit}s finds {one.called_different} of {one.pairs} pairs of "
        f"runs significantly different, {expected}, although all have the same recipe (pairs share runs, so this rate "
        f"is coarse). The standard error of a difference is {100 * one.paired_error:.1f} points from the test set and "
        f"{100 * 2**0.5 * one.deviation.value:.1f} points from the seeds."
    )
    if one.deviation.high > 2 * one.deviation.low:
        found.append(
            f"{one.recipe}: the interval of the deviation from {len(values)} runs spans a factor of "
            f"{one.deviation.high / max(one.deviation.low, 1e-9):.1f}; estimating it within 20 % takes about 50 runs."
        )
    return found


def _draw(axes: "Axes", spreads: Sequence[Spread]) -> None:
    """The error rate of each run with its interval, a group a recipe, and the mean as a line."""
    from preprocessing.plot_style import PALETTE

    place = 0.0
    ticks = []
    for number, one in enumerate(spreads):
        first = place
        for rate in sorted(one.wers, key=lambda rate: rate.value):
            values = [100 * end for end in (rate.low, rate.high)]
            axes.plot([place, place], values, color=PALETTE.of(number), linewidth=1.2, alpha=0.5)
            axes.plot(place, 100 * rate.value, "o", color=PALETTE.of(number))
            place += 1
        axes.plot([first - 0.4, place - 0.6], [100 * one.mean] * 2, color=PALETTE.ink, linewidth=0.8)
        ticks.append(((first + place - 1) / 2, f"{one.recipe}, {len(one.wers)} seeds"))
        place += 1
    axes.set_xticks([at for at, _ in ticks], [label for _, label in ticks])
    axes.set(ylabel=f"{_metrics(spreads)}, %", ylim=(0, None))
