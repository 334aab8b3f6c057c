"""Errors of the runs of one recipe or another, and recipes compared on the same utterances.

`compare` is for recipes that were trained several times: beside the utterances, which a test set draws, it counts the
run-to-run variance. `sentence` says what follows, and how much data or how many runs would settle what is open.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmark.results import Sample
from experiments.harness.transcripts import CorpusUsed
from finetune.metrics import (
    LEVEL,
    Rate,
    StandardError,
    at_least_independent,
    rate,
    resample,
    standard_error,
    verdict,
)
from finetune.metrics.error_rates import Metric, character_errors, word_errors
from finetune.metrics.paired_tests import POWER
from preprocessing.text import profile as profile_named

MOST_TIMES = 1000  # the present test speech, or number of runs: what takes more is not worth a number
TRAINED_ONCE = "Not every model was trained with several seeds, so the interval does not cover run-to-run variance."


@dataclass(frozen=True)
class Errors:
    """Errors of each utterance by every run of a recipe [runs][utterances], with the references' lengths [utterances]
    and speakers. trained: whether the runs were trained here, with seeds; a model as it comes has no run-to-run
    variance.
    """

    runs: list[list[int]]
    lengths: list[int]
    speakers: list[str | None]
    trained: bool = True

    @property
    def n_runs(self) -> int:
        return len(self.runs)

    def summed(self) -> list[int]:
        """Errors of each utterance over all runs."""
        return [sum(column) for column in zip(*self.runs, strict=True)]

    def rates(self) -> list[float]:
        """The error rate of each run, as a fraction."""
        return [sum(run) / max(sum(self.lengths), 1) for run in self.runs]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Two recipes: `difference` of their mean error rates with an interval that counts utterances and runs.

    p_value: two-sided. utterance_error, run_error: the two parts of its standard error; run_error is None where a
    trained recipe has one run and nothing tells its deviation, so that the interval is of these runs, not of their
    recipes. groups: speakers or utterances. run_freedom: degrees of freedom of run_error; None where it is None or 0.
    """

    first: str
    second: str
    difference: Rate
    p_value: float
    utterance_error: float
    run_error: float | None
    groups: int
    run_freedom: float | None = None

    @property
    def spans_zero(self) -> bool:
        """Whether the interval holds no difference at all."""
        return self.difference.low <= 0 <= self.difference.high


def errors_of(
    runs: Sequence[Sequence[Sample]],
    profile: str,
    metric: Metric = "wer",
    *,
    spaces: bool = False,
    trained: bool = True,
) -> Errors:
    """Errors of the samples of each run by the metric, under a text profile. trained: of `Errors`.

    spaces: whether they count as characters; not where CER decides, as words are then written without them.
    """
    normalise = profile_named(profile)
    count = word_errors if metric == "wer" else partial(character_errors, spaces=spaces)
    counted = [[count(normalise(one.reference), normalise(one.hypothesis)) for one in samples] for samples in runs]
    return Errors(
        [[one.errors for one in row] for row in counted],
        [one.reference_length for one in counted[0]],
        [one.speaker for one in runs[0]],
        trained,
    )


def mean_rate(errors: Errors) -> Rate:
    """The error rate over all runs together, with its interval over speakers or utterances: of these runs."""
    resampling = resample(errors.speakers, seed=0)
    return rate(errors.summed(), [errors.n_runs * length for length in errors.lengths], resampling)


def compare(names: tuple[str, str], first: Errors, second: Errors) -> Compared:
    """The first recipe's mean error rate minus the second's, on the same utterances.

    With u the standard error of the paired difference (`finetune.metrics.standard_error`) of errors averaged over runs,
    and s the standard deviation of the rates of n runs of each, the standard error is

        sqrt(u^2 + s1^2 / n1 + s2^2 / n2)

    and the interval Student's, with the degrees of freedom of Welch and Satterthwaite. A recipe of one run is given the
    deviation of the other one; where none has several, only u counts. A model that was not trained here has no s.
    """
    from scipy.special import stdtr, stdtrit

    resampling = resample(first.speakers, seed=0, draws=1)
    scale = first.n_runs * second.n_runs  # integers, as standard_error takes them
    ours = [second.n_runs * one for one in first.summed()]
    theirs = [first.n_runs * one for one in second.summed()]
    value = float((sum(ours) - sum(theirs)) / (scale * max(sum(first.lengths), 1)))
    by_group = standard_error(ours, theirs, [scale * length for length in first.lengths], resampling)
    parts = [by_group]  # of systems that make as many errors in every group; else at least that of independent words
    if value or by_group.value:
        parts = [at_least_independent(by_group, value * sum(first.lengths), sum(first.lengths))]
    trained = [one for one in (first, second) if one.trained]
    several = [one for one in trained if one.n_runs > 1]
    run_error, run_freedom = None if trained else 0.0, None
    if several:
        own = []
        for one in trained:
            known = one if one.n_runs > 1 else several[0]
            own.append(StandardError(float(np.std(known.rates(), ddof=1)) / one.n_runs**0.5, known.n_runs - 1))
        run_error = sum(part.value**2 for part in own) ** 0.5
        if run_error:
            run_freedom = run_error**4 / sum(part.value**4 / part.freedom for part in own)
        parts += own
    error = float(sum(part.value**2 for part in parts)) ** 0.5
    margin, p_value = 0.0, 1.0  # of systems that make as many errors in every group
    if error:
        freedom = error**4 / sum(part.value**4 / max(part.freedom, 1.0) for part in parts)
        margin = float(stdtrit(freedom, (1 + LEVEL) / 2)) * error
        p_value = float(2 * stdtr(freedom, -abs(value) / error))
    return Compared(
        first=names[0],
        second=names[1],
        difference=Rate(value, value - margin, value + margin),
        p_value=p_value,
        utterance_error=float(parts[0].value),
        run_error=run_error,
        groups=resampling.n_groups,
        run_freedom=run_freedom,
    )


def sentence(
    compared: Compared, test: CorpusUsed, *, different: bool | None = None, metric: str = "WER", comparisons: int = 1
) -> str:
    """The verdict on two recipes, and where it is open, how much data or how many runs would settle it.

    different: the verdict of the test after correction for so many comparisons; None: the interval alone decides.
    """
    if compared.difference.low == compared.difference.high == 0:
        return f"{compared.first} and {compared.second} make the same number of errors on every {test.unit}."
    found = verdict(compared.first, compared.second, compared.difference, different, metric)
    if compared.spans_zero or different is False:
        found = f"{found} {settling(compared, test, comparisons, metric)}"
    if compared.run_error is None:
        return f"{found} {TRAINED_ONCE}"
    return found


def settling(compared: Compared, test: CorpusUsed, comparisons: int = 1, metric: str = "WER") -> str:
    """How much would show a difference as large as the one seen, in 80 of 100 repetitions: how much test speech at the
    present number of runs, or where 1,000 times as much is too little, how many runs with how much test speech.
    """
    value = abs(compared.difference.value)
    if value < 1e-9:
        return f"Their {metric}s are equal on this corpus; if that is the truth, no amount of data shows a difference."
    found = needed(compared, comparisons)
    if found is None:
        return (
            f"A difference as small as the observed {100 * value:.2f} points needs over {MOST_TIMES:,} times the test "
            f"speech{' or runs' if compared.run_error else ''}."
        )
    groups, run_factor = found
    factor = groups / compared.groups
    hours = factor * test.minutes / 60
    amount = f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"
    runs = ""
    if compared.run_error:
        runs = (
            " at the present number of runs"
            if run_factor == 1
            else f" at {run_factor} times the runs; at the present number of runs, {MOST_TIMES:,} times the test "
            "speech does not suffice"
        )
    return (
        f"Detecting the observed difference of {100 * value:.1f} points with 80 % power takes {_times(factor)} test "
        f"speech, {amount} of {groups} {test.unit}s{runs}."
    )


def needed(compared: Compared, comparisons: int = 1) -> tuple[int, int] | None:
    """The fewest speakers or utterances (groups), and times the present number of runs, with which the test finds the
    observed difference with a probability of `finetune.metrics.paired_tests.POWER`; None beyond MOST_TIMES the present.

    The runs are multiplied only where the present ones do not allow it with MOST_TIMES the test speech: then by twice
    the least factor that does with endless test speech, so that both parts of the error are about as large.
    """
    most = MOST_TIMES * compared.groups

    def suffices(groups: float, run_factor: int) -> bool:
        return _power(compared, groups, run_factor, comparisons) >= POWER

    run_factor = 1
    if not suffices(most, 1):
        if not compared.run_error:
            return None
        run_factor = 2 * _least(lambda factor: suffices(float("inf"), factor), MOST_TIMES)
        if run_factor > MOST_TIMES or not suffices(most, run_factor):
            return None
    return _least(lambda groups: suffices(groups, run_factor), most, fewest=2), run_factor


def _least(suffices: Callable[[int], bool], most: int, fewest: int = 1) -> int:
    """The least number that suffices, as every larger one does; most + 1 without one."""
    low, high = fewest, most + 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle + 1, high)
    return low


def _power(compared: Compared, groups: float, run_factor: float, comparisons: int) -> float:
    """The probability that the test of `compare` finds the observed difference, if it is the true one, with another
    number of groups, and so many times the runs: the noncentral t distribution, at 5 % divided by the comparisons.

    The squared error of the utterances falls with the number of groups, that of the runs with theirs; the degrees of
    freedom grow with both.
    """
    from scipy.special import nctdtr, ndtr, stdtrit

    of_test = compared.utterance_error**2 * compared.groups / groups
    of_runs = (compared.run_error or 0.0) ** 2 / run_factor
    run_freedom = run_factor * (compared.run_freedom or math.inf)
    variance = of_test + of_runs
    if variance == 0.0:
        return 1.0
    freedom = min(variance**2 / (of_test**2 / max(groups - 1, 1) + of_runs**2 / run_freedom), 1e6)
    bound = float(stdtrit(freedom, 1 - (1 - LEVEL) / (2 * comparisons)))
    shift = abs(compared.difference.value) / variance**0.5
    missed = float(nctdtr(freedom, shift, bound)) if freedom < 1000 and shift < 20 else float("nan")
    if missed == missed:
        return 1.0 - missed
    # what scipy has no number for, by Abramowitz & Stegun 1964, 26.7.10
    return float(ndtr((shift - bound * (1 - 1 / (4 * freedom))) / (1 + bound**2 / (2 * freedom)) ** 0.5))


def _times(factor: float) -> str:
    return (
        "no more than the present"
        if factor <= 1
        else f"{factor:.1f} times the"
        if factor < 10
        else f"{factor:.0f} times the"
    )
