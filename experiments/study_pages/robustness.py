"""Results of `experiments.robustness`: a model with and without augmentation under each condition."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from experiments.harness.comparing import TRAINED_ONCE, Compared, sentence, settling
from experiments.harness.figures import Findings, Table
from experiments.harness.study import with_interval
from experiments.harness.transcripts import CorpusUsed
from finetune.metrics import Rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PLAIN, AUGMENTED = "without", "with"


@dataclass(frozen=True, kw_only=True)
class Level:
    """One condition. plain, augmented: error rates without and with augmentation. compared: with minus without;
    adjusted_p: corrected over all conditions.
    """

    condition: str
    description: str
    snr_db: float | None
    plain: Rate
    augmented: Rate
    compared: Compared
    adjusted_p: float


@dataclass(frozen=True, kw_only=True)
class Results:
    """All conditions, clean first. metric: WER or CER."""

    recipe: str
    steps: int
    runs: int
    hours: float
    augmentation: list[dict[str, Any]]
    noises: int
    test: CorpusUsed
    profile: str
    levels: list[Level]
    metric: str = "WER"


def findings_of(results: Results) -> Findings:
    """The table, the answers and the picture."""
    rows = [
        (
            one.condition,
            with_interval(one.plain),
            with_interval(one.augmented),
            with_interval(one.compared.difference),
            "< 0.001" if one.adjusted_p < 0.001 else f"{one.adjusted_p:.3f}",
        )
        for one in results.levels
    ]
    headings = (
        "condition",
        f"{results.metric} without, %",
        f"{results.metric} with, %",
        "change, points",
        "corrected p",
    )
    entries = "; ".join(
        ", ".join(f"{key} {value}" if key != "name" else str(value) for key, value in entry.items())
        for entry in results.augmentation
    )
    conditions = "; ".join(f"{one.condition}: {one.description}" for one in results.levels)
    settings = (
        f"{results.recipe}: {60 * results.hours:.0f} min of training speech, {results.steps} steps, "
        f"{results.runs} {'run' if results.runs == 1 else 'runs'} of each; tested on {results.test.described()}; "
        f"profile {results.profile}\nAugmentation: {entries}\n"
        f"Conditions: {conditions}"
    )
    return Findings(
        "Augmentation and noise", settings, tables=[Table(headings, rows)], answers=_answers(results),
        draw=lambda axes: _draw(axes, results),
    )  # fmt: skip


def _answers(results: Results) -> list[str]:
    answers = []
    once = f" {TRAINED_ONCE}" if results.levels[0].compared.run_error is None else ""
    better = [one for one in results.levels if one.compared.difference.high < 0 and one.adjusted_p < 0.05]
    worse = [one for one in results.levels if one.compared.difference.low > 0 and one.adjusted_p < 0.05]
    for verb, levels in (("lowers", better), ("raises", worse)):
        if levels:
            parts = [
                f"{one.condition} from {100 * one.plain.value:.1f} to {100 * one.augmented.value:.1f} %"
                for one in levels
            ]
            answers.append(
                f"Augmentation {verb} the {results.metric} significantly, after correction, under {len(levels)} of "
                f"{len(results.levels)} conditions: {', '.join(parts)}.{once}"
            )
    clean, *corrupted = results.levels

    def said(one: Level) -> str:
        different = one.adjusted_p < 0.05
        return sentence(
            one.compared, results.test, different=different, metric=results.metric, comparisons=len(results.levels)
        )

    answers.append(f"On clean speech: {said(clean)}")
    if open_ones := [one for one in corrupted if one not in better and one not in worse]:
        names = ", ".join(one.condition for one in open_ones)
        nearest = min(open_ones, key=lambda one: one.adjusted_p)
        power = settling(nearest.compared, results.test, len(results.levels), results.metric)
        answers.append(
            f"No significant difference after correction under {names}. {nearest.condition} has the lowest corrected "
            f"p of these. {power}"
        )
    if len(better) > len(worse) and clean not in worse:
        cost = 100 * clean.compared.difference.high
        names = ", ".join(one.condition for one in better)
        price = f"; on clean speech it may cost up to {cost:.1f} points" if cost > 0 else ""
        answers.append(f"Recommended for recordings like {names}: train with the augmentation below{price}.")
    elif not better:
        answers.append("Nothing here recommends this augmentation.")
    return answers


def _draw(axes: "Axes", results: Results) -> None:
    """Error rate by distance of the noise, clean at the right, with intervals; other conditions left of the curve."""
    from preprocessing.plot_style import PALETTE

    noisy = sorted((one for one in results.levels if one.snr_db is not None), key=lambda one: one.snr_db or 0.0)
    others = [one for one in results.levels if one.snr_db is None and one.condition != "clean"]
    clean = [one for one in results.levels if one.condition == "clean"]
    curve = [*noisy, *clean]
    for number, label in enumerate((PLAIN, AUGMENTED)):
        for levels, start, line in ((curve, 0, "-"), (others, len(curve) + 0.5, "")):
            rates = [one.plain if label == PLAIN else one.augmented for one in levels]
            values = [100 * one.value for one in rates]
            errors = [[100 * (one.value - one.low) for one in rates], [100 * (one.high - one.value) for one in rates]]
            places = [start + place + 0.12 * number for place in range(len(levels))]
            axes.errorbar(
                places, values, yerr=errors, color=PALETTE.of(number), marker="o", markersize=4,
                linestyle=line or "none",
                linewidth=1.4, elinewidth=0.9, label=f"{label} augmentation" if levels is curve else None,
            )  # fmt: skip
    places = [*range(len(curve)), *(len(curve) + 0.5 + place for place in range(len(others)))]
    labels = [f"{one.snr_db:g} dB" if one.snr_db is not None else one.condition for one in (*curve, *others)]
    axes.set_xticks(places, labels, rotation=20 if len(labels) > 7 else 0)
    axes.set(ylabel=f"{results.metric}, %", ylim=(0, None))
    axes.legend(frameon=False)
