"""Results of `experiments.units`: each kind of output unit in each language, and which differ significantly."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.harness.comparing import TRAINED_ONCE, Compared, sentence
from experiments.harness.figures import Findings, Table
from experiments.harness.study import with_interval
from experiments.harness.transcripts import CorpusUsed
from finetune.metrics import Rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NEAR = 1.1  # times the lowest validation CER: from there on a run counts as converged


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One kind of unit, over all its runs. Rates are fractions.

    unseen: the share of the test's words that training never saw and the model got wrong. converged: the step from
    which the first run's validation CER stays within NEAR of its lowest; None where it is above that at the end. curve:
    (step, validation CER) of that run.
    labels_per_frame, infeasible: over the training utterances. rtfx: seconds of audio a second.
    """

    name: str
    size: int
    runs: int
    wer: Rate
    run_wers: list[float]
    cer: Rate
    unseen: Rate
    validation_wer: float
    converged: int | None
    curve: list[tuple[int, float]]
    parameters: int
    rtfx: float
    labels_per_frame: float
    infeasible: float
    beside_best: Compared | None
    adjusted_p: float | None


@dataclass(frozen=True, kw_only=True)
class Studied:
    """One language. compared: the two units with the lowest validation WER, over all their runs."""

    language: str
    recipe: str
    family: str
    corpus: str
    hours: float
    steps: int
    frame_seconds: float
    test: CorpusUsed
    profile: str
    unseen_words: int
    units: list[Unit]
    compared: Compared | None


@dataclass(frozen=True)
class Results:
    """All languages."""

    languages: list[Studied]


def findings_of(results: Results) -> Findings:
    """Tables, answers and the picture."""
    tables, answers, settings = [], [], []
    for one in results.languages:
        best = min(unit.wer.value for unit in one.units)
        rows = [
            (
                unit.name,
                f"{unit.size:,}",
                with_interval(unit.wer, bold=unit.wer.value == best)
                + (f" ({unit.runs} runs)" if unit.runs > 1 else ""),
                f"{100 * unit.cer.value:.1f}",
                with_interval(unit.unseen) if one.unseen_words else "",
                "never" if unit.converged is None else f"{unit.converged:,}",
                f"{unit.parameters / 1e6:.2f}",
                f"{unit.rtfx:.0f}",
                f"{unit.labels_per_frame:.2f}",
                f"{100 * unit.infeasible:.1f}",
            )
            for unit in one.units
        ]
        headings = ("units", "size", "WER, %", "CER, %", "unseen wrong, %", "converged at", "M param.", "RTFx",
                    "labels/frame", "infeasible, %")  # fmt: skip
        tables.append(Table(headings, rows, f"{one.language}: {one.corpus}, {one.hours:.1f} h"))
        answers += _answers(one)
        settings.append(
            f"{one.language}: {one.family} by {one.recipe}, {one.hours:.2f} h of {one.corpus}, "
            f"{one.steps} steps, a frame each {1000 * one.frame_seconds:.0f} ms; tested on {one.test.described()}, "
            f"{one.unseen_words} words never seen in training; profile {one.profile}. Converged: the step "
            f"from which validation CER stays within {NEAR:g} times its lowest."
        )
    return Findings(
        "Output units", "\n".join(settings), tables=tables, answers=answers,
        draw=lambda axes: _draw(axes, results),
    )  # fmt: skip


def _answers(one: Studied) -> list[str]:
    """What was found in one language, a sentence each."""
    return [*_compared_sentences(one), *_reservations(one)]


def _compared_sentences(one: Studied) -> list[str]:
    """Which units are better than the best of validation, which are worse, and of which neither can be said."""
    found = []
    others = [unit for unit in one.units if unit.beside_best is not None]
    if one.compared is not None:  # one of the comparisons with the best, which are corrected together
        (second,) = [unit for unit in others if unit.name == one.compared.second]
        is_different = second.adjusted_p is not None and second.adjusted_p < 0.05
        said = sentence(one.compared, one.test, different=is_different, comparisons=len(others))
        found.append(f"{one.language}, the two units with the lowest validation WER: {said}")
        others.remove(second)
    best = one.compared.first if one.compared is not None else one.units[0].name
    once = ""
    beaten: list[str] = []
    beating: list[str] = []
    open_ones: list[str] = []
    for unit in others:
        assert unit.beside_best is not None
        if unit.beside_best.run_error is None:
            once = f" {TRAINED_ONCE}"
        is_different = unit.adjusted_p is not None and unit.adjusted_p < 0.05 and not unit.beside_best.spans_zero
        worse = unit.beside_best.difference.low > 0
        (open_ones if not is_different else beaten if worse else beating).append(unit.name)
    if beaten:
        found.append(f"{one.language}: {best} is significantly better than {', '.join(beaten)} after correction.{once}")
    if beating:
        verb = "is" if len(beating) == 1 else "are"
        found.append(
            f"{one.language}: {', '.join(beating)} {verb} significantly better than {best} after correction.{once}"
        )
    if open_ones:
        found.append(f"{one.language}: no significant difference between {best} and {', '.join(open_ones)}.")
    return found


def _reservations(one: Studied) -> list[str]:
    """What the figures of the units depend on: frames for CTC, words unseen in training, and enough learning."""
    found = []
    for unit in one.units:
        if unit.infeasible > 0.005:
            found.append(
                f"{one.language}: with {unit.name}, {100 * unit.infeasible:.1f} % of the training utterances have "
                f"fewer frames than CTC needs, at {1000 * one.frame_seconds:.0f} ms a frame, and are left out."
            )
    if one.unseen_words:
        ranked = sorted(one.units, key=lambda unit: unit.unseen.value)
        found.append(
            f"{one.language}: on words unseen in training, the error rate is {100 * ranked[0].unseen.value:.0f} % for "
            f"{ranked[0].name} and {100 * ranked[-1].unseen.value:.0f} % for {ranked[-1].name}."
        )
    lowest = min(unit.wer.value for unit in one.units)
    if lowest > 0.9:
        found.append(
            f"{one.language}: the lowest WER is {100 * lowest:.0f} %: these models have learnt too little for the "
            "ranking of the units to mean anything."
        )
    return found


def _draw(axes: "Axes", results: Results) -> None:
    """Validation CER by steps, a line a unit, dashed in the second language."""
    from preprocessing.plot_style import PALETTE

    for place, (line, one) in enumerate(zip(("-", "--"), results.languages, strict=False)):
        for number, unit in enumerate(one.units):
            steps, values = [step for step, _ in unit.curve], [100 * cer for _, cer in unit.curve]
            label = None if place else unit.name
            axes.plot(steps, values, line, marker="o", markersize=3, color=PALETTE.of(number), label=label)
        if place:
            axes.plot([], [], line, color=PALETTE.faint, label=one.language)
    axes.set(xlabel="steps", ylabel="validation CER, %", ylim=(0, 105))  # untrained, far more
    axes.legend(frameon=False, fontsize="small", loc="lower left")
