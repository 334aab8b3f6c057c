"""Results of `experiments.hours`: learning curves beside off-the-shelf Whispers, and where they cross."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from experiments.harness.figures import Findings, Table
from experiments.harness.learning_curve import REACH, Crossing, Curve
from experiments.harness.study import with_interval
from experiments.harness.transcripts import CorpusUsed
from finetune.metrics import Rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Line:
    """An off-the-shelf Whisper. wer: the CER where that is the metric of the results."""

    name: str
    wer: Rate


@dataclass(frozen=True)
class Overlap:
    """Test speakers, recordings and sentences that are also in the training data. recordings: test utterances that are,
    at least in part. sentences: those of `LONG_WORDS` words or more, which are hardly said twice by chance.
    """

    speakers: int
    recordings: int
    sentences: int


@dataclass(frozen=True, kw_only=True)
class Results:
    """All families and Whispers on one test corpus. metric: WER or CER. overlap: None in results of earlier versions,
    which did not look for it.
    """

    corpus: str
    hours: float
    test: CorpusUsed
    profile: str
    run_spread: float
    curves: list[Curve]
    whispers: list[Line]
    missing: dict[str, str]
    metric: str = "WER"
    overlap: Overlap | None = None


def findings_of(results: Results) -> Findings:
    """The table, the answers and the picture."""
    sizes = list(dict.fromkeys(point.hours for curve in results.curves for point in curve.points))
    rows = []
    for curve in results.curves:
        by_hours = {point.hours: point for point in curve.points}
        cells = [with_interval(by_hours[one].wer) if one in by_hours else "" for one in sizes]
        law = (
            ""
            if curve.exponent is None
            else f"{curve.exponent.value:.2f} [{curve.exponent.low:.2f}, {curve.exponent.high:.2f}]"
        )
        rows.append((curve.recipe, *cells, law))
    rows += [(one.name, with_interval(one.wer), *[""] * len(sizes)) for one in results.whispers]
    headings = (f"{results.metric}, %", *(f"{_duration(one)}" for one in sizes), "exponent")
    recipes = "; ".join(f"{one.recipe}: {one.family}, {one.steps} steps a size" for one in results.curves)
    settings = (
        f"Training parts of {results.corpus} ({results.hours:.1f} h); {recipes}. Tested on "
        f"{results.test.described()}; profile {results.profile}; run-to-run variance: a standard deviation of "
        f"{results.run_spread:g} * sqrt({results.metric} * (1 - {results.metric})) in exponents and crossings"
        f"{_overlap_sentence(results)}"
    )
    return Findings(
        f"{results.metric} by amount of training speech", settings, tables=[Table(headings, rows)],
        answers=_answers(results), missing=results.missing, draw=lambda axes: _draw(axes, results),
    )  # fmt: skip


def _overlap_sentence(results: Results) -> str:
    from preprocessing.corpus.statistics import LONG_WORDS

    if results.overlap is None:
        return ""
    shared, of = results.overlap, results.test
    looked_for = [(shared.recordings, of.utterances, "test utterances")]
    if of.speakers:
        looked_for.insert(0, (shared.speakers, of.speakers, "test speakers"))
    if results.metric == "WER":  # of other languages a sentence is one word
        looked_for.append((shared.sentences, of.utterances, f"test sentences of {LONG_WORDS} words or more"))
    found = [f"{count} of {total} {what}" for count, total, what in looked_for if count]
    *most, last = found or [what for _, _, what in looked_for]
    joined = f"{', '.join(most)} {'and' if found else 'or'} {last}" if most else last
    return f". {'' if found else 'No '}{joined} are also in the training data"


def _duration(hours: float) -> str:
    """
    >>> _duration(0.0125), _duration(0.025), _duration(1 / 3), _duration(4.9)
    ('45 s', '1.5 min', '20 min', '4.9 h')
    """
    if hours >= 0.95:
        return f"{hours:.1f} h"
    minutes = 60 * hours
    return (
        f"{minutes:.0f} min" if minutes >= 10 else f"{minutes:.2g} min" if minutes > 0.95 else f"{60 * minutes:.0f} s"
    )


def _answers(results: Results) -> list[str]:
    found = []
    longest = max((point.hours for curve in results.curves for point in curve.points), default=0.0)
    for curve in results.curves:
        if curve.exponent is None or curve.at_one_hour is None:
            found.append(f"{curve.recipe}: too few sizes for a curve.")
        elif curve.exponent.low <= 0:
            found.append(
                f"{curve.recipe}: no significant gain from more speech within these sizes (exponent "
                f"{curve.exponent.value:.2f} [{curve.exponent.low:.2f}, {curve.exponent.high:.2f}])."
            )
        else:
            factors = [100 * (1 - 2**-one) for one in (curve.exponent.value, curve.exponent.low, curve.exponent.high)]
            found.append(
                f"{curve.recipe}: doubling the speech lowers the {results.metric} by {factors[0]:.0f} % "
                f"[{factors[1]:.0f}, {factors[2]:.0f}], relative; with {_duration(curve.points[-1].hours)} it is "
                f"{with_interval(curve.points[-1].wer)} %."
            )
        found += [_crossing_sentence(curve, one, longest, results.metric) for one in curve.crossings]
    return found + _reservations(results)


def _reservations(results: Results) -> list[str]:
    """What the comparisons with Whisper are corrected for, and whether they speak for recipes or for single runs."""
    crossings = [one for curve in results.curves for one in curve.crossings]
    if not crossings:
        return []
    found = []
    pairs = crossings[0].comparisons
    if pairs:
        found.append(
            "Compared with Whisper by paired tests from the largest size down to the first that is not significant"
            + (f", corrected for {pairs} pairs of a curve and a Whisper." if pairs > 1 else ".")
        )
    elif any(one.measured is not None for one in crossings):
        found.append("The comparisons with Whisper are not corrected for their number.")
    if any(point.runs == 1 for curve in results.curves for point in curve.points):
        found.append(
            "Not every size was trained with several seeds: its comparison with Whisper is of that one training, not "
            "of its recipe."
        )
    return found


def _crossing_sentence(curve: Curve, one: Crossing, longest: float, metric: str) -> str:
    smallest = curve.points[0].hours
    is_below = one.hours is not None and one.hours < smallest
    pair = f"{curve.recipe} against {one.whisper}"
    if one.measured is not None:
        found = f"{curve.recipe} has a significantly lower {metric} than {one.whisper} from {_duration(one.measured)}"
        if one.measured == smallest:
            return f"{found}, the smallest size, on."
        if is_below:
            return f"{found} on; the fitted curve is below it at every size."
        if one.hours is not None and one.hours <= longest:
            return f"{found} on; the fitted curve crosses it at {_between(one, smallest)}."
        return f"{found} on."
    if curve.exponent is None:
        return f"{pair}: with {_duration(curve.points[-1].hours)} the {metric} is not significantly lower."
    if one.hours is not None and one.hours <= longest:
        fitted = "is below it at every size" if is_below else f"crosses it at {_between(one, smallest)}"
        return (
            f"{pair}: the fitted curve {fitted}, but with {_duration(curve.points[-1].hours)} the {metric} is not "
            "significantly lower."
        )
    share = f"{100 * one.reached:.0f} % of draws"
    if one.hours is None:
        return (
            f"{pair}: not within reach of this data; the extrapolated curve does not cross it within {REACH:g} times "
            f"the {_duration(longest)} at hand (it does in {share})."
        )
    if one.reached < 0.5:
        return (
            f"{pair}: not reached here; the extrapolated curve crosses it at {_between(one, smallest)}, but within "
            f"{REACH:g} times the {_duration(longest)} at hand in only {share}."
        )
    return (
        f"{pair}: not reached here; the curve crosses it at {_between(one, smallest)}, an extrapolation that assumes "
        "the power law continues to hold."
    )


def _between(one: Crossing, smallest: float) -> str:
    """The hours with their interval, which is not extrapolated below the smallest size."""

    def said(hours: float | None) -> str:
        if hours is None:
            return "beyond reach"
        return f"below {_duration(smallest)}" if hours < smallest else _duration(hours)

    return f"{said(one.hours)} [{said(one.low)} to {said(one.high)}]"


def _draw(axes: "Axes", results: Results) -> None:
    """Error rate by hours, or minutes where all are less than one, on logarithmic axes; the fitted lines, dotted beyond
    what was measured; and Whisper as horizontal lines with their intervals.
    """
    from preprocessing.plot_style import PALETTE, TICK_SIZE

    points = [point for curve in results.curves for point in curve.points]
    every = [point.hours for point in points] or [1.0]
    unit, scale = ("hours", 1.0) if max(every) >= 0.95 else ("minutes", 60.0)
    for number, curve in enumerate(results.curves):
        apart = 1.03 ** (number - (len(results.curves) - 1) / 2)  # intervals of one size stand beside each other
        across = [scale * apart * point.hours for point in curve.points]
        values = [100 * point.wer.value for point in curve.points]
        ends = [
            [100 * (p.wer.value - p.wer.low) for p in curve.points],
            [100 * (p.wer.high - p.wer.value) for p in curve.points],
        ]
        axes.errorbar(across, values, yerr=ends, fmt="o", color=PALETTE.of(number), elinewidth=1, label=curve.recipe)
        if curve.exponent is not None and curve.at_one_hour is not None:
            for start, end, style in ((min(every), max(every), "-"), (max(every), REACH * max(every), ":")):
                hours = np.geomspace(start, end, 50)
                fitted = 100 * curve.at_one_hour.value * hours**-curve.exponent.value
                axes.plot(scale * hours, fitted, color=PALETTE.of(number), lw=1, ls=style)
    for number, one in enumerate(sorted(results.whispers, key=lambda one: one.wer.value)):
        axes.axhspan(100 * one.wer.low, 100 * one.wer.high, color=PALETTE.faint, alpha=0.12, lw=0)
        axes.axhline(100 * one.wer.value, color=PALETTE.faint, lw=1)
        side, factor = ("top", 0.97) if number == 0 else ("bottom", 1.03)
        axes.text(
            scale * REACH * max(every), 100 * one.wer.value * factor, one.name, fontsize=TICK_SIZE,
            color=PALETTE.faint, ha="right", va=side,
        )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel=f"{unit} of training speech", ylabel=f"{results.metric}, %")
    rates = [*(point.wer.value for point in points), *(one.wer.value for one in results.whispers)]
    if any(rates):
        axes.set_ylim(bottom=50 * min(filter(None, rates)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")
    axes.legend(frameon=False, fontsize="small", loc="lower left")
