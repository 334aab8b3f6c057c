"""The weights of a language model that make the fewest errors on validation speech, and whether it helps at all.

Errors at every point of a grid are given. The test of `choose` and `choose_weight` is on errors that the choice has not
seen: the utterances, whole speakers where they are known, are halved, and each half has the errors of the point that is
best on the other (`finetune.metrics.paired_tests`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from finetune.metrics import Rate, Resampling
    from finetune.metrics.error_rates import Metric


@dataclass(frozen=True)
class TunedRescoring:
    """What the LSTM in `folder` gives at the chosen alpha and beta, and the weight that was chosen.

    rates: the error rate at each of `weights`, as a fraction; without: that of the same search alone. held_out,
    p_value: as of `Tuned`, beside the search alone.
    """

    folder: str
    weights: list[float]
    rates: list[float]
    weight: float
    without: float
    held_out: "Rate"
    p_value: float

    def sentences(self, found: "Tuned") -> list[str]:
        """The error rate at each weight, and what to decode with."""
        rates = ", ".join(f"{w:g}: {100 * rate:.2f} %" for w, rate in zip(self.weights, self.rates, strict=True))
        said = (
            f"{found.unit_of_errors} errors by weight of {self.folder}: {rates}; without it {100 * self.without:.2f} %"
        )
        if self.weight == 0 or min(self.rates) >= self.without:
            return [said, "no fewer errors with --rescore: decode without it"]
        shown = "Rescoring helps" if self.p_value < 0.05 and self.held_out.value < 0 else "Not shown to help"
        tested = found.tested(self.held_out, self.p_value)
        return [said, f"decode with --rescore {self.folder} --rescore_weight {self.weight:g}. {shown}: {tested}."]


@dataclass(frozen=True)
class Tuned:
    """The surface and what was chosen.

    metric: "wer", or "cer" of a language written without spaces. rates [alphas][betas], greedy: error rates by it, as
    fractions. alpha, beta: the point with the lowest. held_out: the difference of the held-out errors from greedy's,
    below 0 where the language model helps, and p_value: of the paired test. unit: what was halved, "speaker" or
    "utterance". rescoring: None without an LSTM.
    """

    alphas: list[float]
    betas: list[float]
    metric: "Metric"
    rates: list[list[float]]
    greedy: float
    alpha: float
    beta: float
    held_out: "Rate"
    p_value: float
    unit: str
    rescoring: TunedRescoring | None = None

    @property
    def best(self) -> float:
        """The lowest error rate, at alpha and beta."""
        return self.rates[self.alphas.index(self.alpha)][self.betas.index(self.beta)]

    @property
    def helps(self) -> bool:
        """Whether the paired test finds fewer errors than greedy decoding's, and the language model has a weight."""
        return self.alpha > 0 and self.p_value < 0.05 and self.held_out.value < 0

    @property
    def unit_of_errors(self) -> str:
        return "word" if self.metric == "wer" else "character"

    def tested(self, held_out: "Rate", p_value: float) -> str:
        """The outcome of a paired test in words."""
        interval = f"{100 * held_out.low:+.2f} to {100 * held_out.high:+.2f} points of {self.metric.upper()}"
        return f"chosen on one half of the {self.unit}s and measured on the other {interval}, p = {p_value:.2g}"

    def sentence(self) -> str:
        """What was found, and whether a language model helps."""
        chosen = (
            f"alpha {self.alpha:g}, beta {self.beta:g}: {100 * self.best:.2f} % {self.unit_of_errors} errors; greedy "
            f"decoding {100 * self.greedy:.2f} %"
        )
        tested = self.tested(self.held_out, self.p_value)
        if self.helps:
            return f"{chosen}. The language model helps: {tested}."
        if self.p_value < 0.05 and self.held_out.value < 0:
            return f"{chosen}. The beam search helps, with no weight of the language model: {tested}."
        if self.p_value < 0.05:
            return f"{chosen}. The language model increases errors: {tested}; decode without it."
        return f"{chosen}. Not shown to be better than no language model: {tested}."


def choose(
    errors: dict[tuple[float, float], list[int]],
    greedy: Sequence[int],
    lengths: Sequence[int],
    speakers: Sequence[str | None],
    metric: "Metric" = "wer",
) -> Tuned:
    """The best point and whether it helps. errors: of each utterance at each (alpha, beta); of ties the lowest alpha is
    taken, and of its betas that nearest the default. lengths: of the references, in words or characters as errors and
    `metric` are.
    """
    import numpy as np

    from finetune.decoding.beam import BeamSettings
    from finetune.metrics import resample

    points = sorted(errors, key=lambda point: (point[0], abs(point[1] - BeamSettings.beta), point[1]))
    table = np.array([errors[point] for point in points])  # [points, utterances]
    resampling = resample(speakers, seed=0)
    held_out, p_value = _held_out_test(table, greedy, lengths, resampling)
    alpha, beta = points[int(table.sum(axis=1).argmin())]
    alphas, betas = (sorted({point[i] for point in points}) for i in (0, 1))
    length = max(sum(lengths), 1)
    return Tuned(
        alphas=alphas,
        betas=betas,
        metric=metric,
        rates=[[sum(errors[a, b]) / length for b in betas] for a in alphas],
        greedy=sum(greedy) / length,
        alpha=alpha,
        beta=beta,
        held_out=held_out,
        p_value=p_value,
        unit=resampling.unit,
    )


def choose_weight(
    folder: str,
    errors: Mapping[float, list[int]],
    without: Sequence[int],
    lengths: Sequence[int],
    speakers: Sequence[str | None],
) -> TunedRescoring:
    """The best weight of the LSTM in `folder` and whether it helps; of ties the lowest is taken. errors: of each
    utterance at each weight, without: of the search alone.
    """
    import numpy as np

    from finetune.metrics import resample

    weights = sorted(errors)
    table = np.array([errors[weight] for weight in weights])  # [weights, utterances]
    held_out, p_value = _held_out_test(table, without, lengths, resample(speakers, seed=0))
    length = max(sum(lengths), 1)
    return TunedRescoring(
        folder=folder,
        weights=weights,
        rates=[sum(errors[weight]) / length for weight in weights],
        weight=weights[int(table.sum(axis=1).argmin())],
        without=sum(without) / length,
        held_out=held_out,
        p_value=p_value,
    )


def _held_out_test(
    table: "np.ndarray[Any, Any]", baseline: Sequence[int], lengths: Sequence[int], resampling: "Resampling"
) -> tuple["Rate", float]:
    """The held-out errors beside the baseline's, each utterance at the point that is best on the other half: the
    difference of the rates, and the p-value of the paired test. table: errors [points, utterances].
    """
    import numpy as np

    from finetune.metrics import difference, matched_pairs

    second = resampling.groups % 2 == 1
    best_of_first, best_of_second = (table[table[:, half].sum(axis=1).argmin()] for half in (~second, second))
    held_out: list[int] = np.where(second, best_of_first, best_of_second).tolist()
    return difference(held_out, baseline, lengths, resampling), matched_pairs(held_out, baseline, lengths, resampling)


def at_edges(found: Tuned) -> list[str]:
    """A sentence for each of alpha, beta and the rescoring weight that was chosen at an end of its values, where more
    beyond it may be better: the value next to it makes more errors.

    Below an alpha or a weight of 0 there is nothing to try.
    """
    sentences = []
    alpha, beta = found.alphas.index(found.alpha), found.betas.index(found.beta)
    axes = [
        ("alphas", alpha, found.alphas, [rates[beta] for rates in found.rates]),
        ("betas", beta, found.betas, found.rates[alpha]),
    ]
    if (lstm := found.rescoring) is not None:
        axes.append(("rescore_weights", lstm.weights.index(lstm.weight), lstm.weights, lstm.rates))
    for flag, place, tried, rates in axes:
        value, is_last = tried[place], place == len(tried) - 1
        if is_last and place > 0 and rates[place - 1] > rates[place]:
            sentences.append(f"{value:g} is the largest of --{flag}: try larger ones, too")
        if not is_last and place == 0 and rates[1] > rates[0] and (flag == "betas" or value > 0):
            sentences.append(f"{value:g} is the smallest of --{flag}: try smaller ones, too")
    return sentences


def draw(found: Tuned, path: Path, description: str) -> None:
    """The surface as a map of error rates, and a cut through the chosen beta beside greedy decoding."""
    import numpy as np

    from preprocessing.plot_style import (
        PALETTE,
        TEXT_SIZE,
        TICK_SIZE,
        new_figure,
        save_figure,
        style_axes,
        write_heading,
    )

    figure = new_figure(11.0, 4.9)
    write_heading(figure, f"{found.metric.upper()} by alpha and beta", description, left=0.07)
    axes, cut = figure.subplots(
        1, 2, gridspec_kw={"left": 0.07, "right": 0.97, "top": 0.74, "bottom": 0.13, "width_ratios": [1.45, 1]}
    )
    rates = 100 * np.array(found.rates).T  # [betas, alphas]
    brightest = rates.max() + (rates.max() - rates.min()) / 2 + 1e-6
    axes.imshow(rates, origin="lower", aspect="auto", cmap="Blues", vmax=brightest)
    for row, column in np.ndindex(*rates.shape):
        is_best = (found.alphas[column], found.betas[row]) == (found.alpha, found.beta)
        axes.text(
            column, row, f"{rates[row, column]:.1f}", ha="center", va="center", fontsize=TICK_SIZE,
            color=PALETTE.accent if is_best else PALETTE.ink,
            fontweight="bold" if is_best else "normal",
            bbox={"facecolor": PALETTE.paper, "edgecolor": PALETTE.accent, "pad": 2.5} if is_best else None,
        )  # fmt: skip
    axes.set_xticks(range(len(found.alphas)), [f"{alpha:g}" for alpha in found.alphas])
    axes.set_yticks(range(len(found.betas)), [f"{beta:g}" for beta in found.betas])
    axes.set_xlabel("alpha, weight of the language model")
    axes.set_ylabel("beta, for each word")
    style_axes(axes, f"{'word' if found.metric == 'wer' else 'character'} error rate, %", spines=())
    cut.plot(found.alphas, rates[found.betas.index(found.beta)], "o-", color=PALETTE.main, markersize=4)
    cut.axhline(100 * found.greedy, color=PALETTE.accent, linewidth=1.2)
    cut.annotate(
        f"greedy, {100 * found.greedy:.1f} %", (0.5, 100 * found.greedy), xycoords=("axes fraction", "data"),
        xytext=(0, 3), textcoords="offset points", ha="center", fontsize=TEXT_SIZE, color=PALETTE.accent,
    )  # fmt: skip
    cut.set_xlabel("alpha")
    style_axes(cut, f"at beta {found.beta:g}, %", grid=True)
    save_figure(figure, path)
