"""Results of `experiments.language_models`: what each language model gains for an acoustic model, and by how much."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from experiments.harness.comparing import Compared, sentence
from experiments.harness.figures import Findings, Table
from experiments.harness.study import with_interval
from experiments.harness.transcripts import CorpusUsed
from finetune.metrics import Rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GREEDY = "none, greedy"


@dataclass(frozen=True, kw_only=True)
class LanguageModelFacts:
    """A language model by itself. unknown: share of the test's words that it does not know (of characters: 0).
    perplexity: per word, also of characters, unknown words left out; None where all are unknown.
    """

    name: str
    kind: str
    bytes: int
    parameters: int
    seconds: float
    perplexity: float | None
    unknown: float
    other_perplexity: float | None
    other_unknown: float


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """One way to decode one acoustic model. seconds: of the search, for each second of the test's audio, with one
    thread. gain: minus greedy decoding, paired over the same utterances. other_gain: in the other domain. at_end: the
    weights at an end of all values that were tried; None where the grid was never extended, so that this is not known.
    """

    name: str
    weights: dict[str, float]
    validation_wer: float
    wer: Rate
    utterances: int
    seconds: float
    gain: Compared | None
    adjusted_p: float | None
    other_wer: Rate | None
    other_gain: Compared | None
    at_end: list[str] | None = None


@dataclass(frozen=True, kw_only=True)
class Acoustic:
    """An acoustic model with all decodings. role: "weak" or "best". kinds: the n-gram of words that is best on
    validation beside the best one of characters, on all of the test; None where one kind is left out.
    """

    role: str
    reference: str
    units: str
    validation: CorpusUsed
    decodings: list[Decoding]
    kinds: Compared | None = None

    def of(self, name: str) -> Decoding:
        return next(one for one in self.decodings if one.name == name)


@dataclass(frozen=True, kw_only=True)
class Results:
    """Language models, and what they do for each acoustic model."""

    text: str
    text_words: int
    test: CorpusUsed
    other: CorpusUsed
    models: list[LanguageModelFacts]
    acoustics: list[Acoustic]


def findings_of(results: Results) -> Findings:
    """Tables of language models and of decodings, the answers and the picture."""
    facts = [
        (
            one.name,
            f"{one.bytes / 1e6:.1f}",
            f"{one.parameters / 1e6:.2f}",
            f"{one.seconds:.0f}",
            "" if one.perplexity is None else f"{one.perplexity:.0f}",
            f"{100 * one.unknown:.1f}",
            "" if one.other_perplexity is None else f"{one.other_perplexity:.0f}",
            f"{100 * one.other_unknown:.1f}",
        )
        for one in results.models
    ]
    tables = [
        Table(
            ("language model", "MB", "M n-grams or parameters", "s to make", "perplexity a word", "unknown words, %",
             f"perplexity, {results.other.name}", f"unknown, {results.other.name}, %"),
            facts, f"Language models of {results.text}, {results.text_words:,} words",
        )
    ]  # fmt: skip
    for acoustic in results.acoustics:
        best = min(
            (one.wer.value for one in acoustic.decodings if one.utterances == results.test.utterances), default=0
        )
        rows = [
            (
                one.name + ("" if one.utterances == results.test.utterances else f" ({one.utterances} utterances)"),
                ", ".join(f"{key} {value:g}{_end(one, key)}" for key, value in one.weights.items()),
                f"{100 * one.validation_wer:.1f}",
                with_interval(one.wer, bold=one.wer.value == best),
                "" if one.gain is None else with_interval(one.gain.difference),
                _p(one.adjusted_p),
                f"{1000 * one.seconds:.1f}" if one.seconds else "",
                "" if one.other_gain is None else with_interval(one.other_gain.difference),
            )
            for one in acoustic.decodings
        ]
        headings = ("decoding", "weights", "validation WER", "test WER, %", "minus greedy", "corrected p",
                    "ms a second", f"minus greedy, {results.other.name}")  # fmt: skip
        tables.append(Table(headings, rows, f"The {acoustic.role} acoustic model: {acoustic.reference}"))
    extended = all(one.at_end is not None for acoustic in results.acoustics for one in acoustic.decodings)
    grid = (
        "on a grid that is extended while the best point lies at an end of it, a bounded number of times"
        if extended
        else "on a grid that is not extended where the best point lies at an end of it"
    )
    settings = (
        f"Tested on {results.test.described()}, and on {results.other.described()}; weights tuned "
        f"on {results.acoustics[0].validation.utterances} validation utterances, "
        f"{results.acoustics[0].validation.minutes:.1f} min, {grid}; ms of search for each second of audio, "
        "one thread; p corrected for all decodings of an acoustic model on a test set (Holm)"
    )
    return Findings(
        "Language models",
        settings,
        tables=tables,
        answers=_answers(results),
        draw=lambda axes: _draw(axes, results),
        height=1.7 + 0.28 * len(_drawn(results)),
    )


def _end(one: Decoding, weight: str) -> str:
    return " (end of the grid)" if weight in (one.at_end or []) else ""


def _p(value: float | None) -> str:
    return "" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _answers(results: Results) -> list[str]:
    found = []
    gains = []
    for acoustic in results.acoustics:
        whole = [
            one for one in acoustic.decodings if one.utterances == results.test.utterances and one.gain is not None
        ]
        best = min(whole, key=lambda one: one.validation_wer)
        found.append(_gain_sentence(results, acoustic, best, of_all=True))
        for kind in ("words", "characters"):
            ngrams = [one for one in whole if one.name.endswith(f"gram of {kind}") and "rescoring" not in one.name]
            of_kind = min(ngrams, key=lambda one: one.validation_wer, default=best)
            if of_kind is not best:
                found.append(_gain_sentence(results, acoustic, of_kind))
        if acoustic.kinds is not None:
            kinds = replace(acoustic.kinds, run_error=0.0)  # both decode one model
            found.append(f"{acoustic.role.capitalize()} model, words or characters: {sentence(kinds, results.test)}")
        if best.gain is not None:
            gains.append((acoustic.role, best.gain.difference, acoustic.of(GREEDY).wer.value))
        if best.other_gain is not None:
            other = best.other_gain.difference
            different = _other_adjusted(acoustic)[best.name] < 0.05
            helps = (
                "shows no significant difference"
                if not different
                else "is significantly better"
                if other.high < 0
                else "is significantly worse"
            )
            found.append(
                f"{acoustic.role.capitalize()} model in another domain ({results.other.name}): the same decoding "
                f"changes the WER by {with_interval(other)} points and {helps} there after correction."
            )
    if len(gains) == 2:
        parts = [
            f"{with_interval(gain)} points for the {role} model, {-100 * gain.value / max(before, 1e-9):.0f} % of its "
            "WER"
            for role, gain, before in gains
        ]
        overlap = gains[0][1].low <= gains[1][1].high and gains[1][1].low <= gains[0][1].high
        found.append(
            f"Change by the decoding that is best on validation: {'; '.join(parts)}. The intervals in points "
            f"{'overlap: no evidence that either model gains more' if overlap else 'do not overlap'}."
        )
    return found


def _other_adjusted(acoustic: Acoustic) -> dict[str, float]:
    """P-values of the decodings in the other domain, by name, corrected for all of them (Holm)."""
    from finetune.metrics import holm

    p_values = {one.name: one.other_gain.p_value for one in acoustic.decodings if one.other_gain is not None}
    return dict(zip(p_values, holm(list(p_values.values())), strict=True))


def _gain_sentence(results: Results, acoustic: Acoustic, one: Decoding, *, of_all: bool = False) -> str:
    """A decoding compared with greedy decoding of the same model, so without run-to-run variance."""
    assert one.gain is not None
    different = one.adjusted_p is not None and one.adjusted_p < 0.05
    known = replace(one.gain, second="greedy decoding", run_error=0.0)
    tested = sum(other.adjusted_p is not None for other in acoustic.decodings)
    which = "lowest validation WER of all" if of_all else "lowest validation WER of its kind"
    change = f"{100 * acoustic.of(GREEDY).wer.value:.1f} to {100 * one.wer.value:.1f} %"
    return (
        f"{acoustic.role.capitalize()} model, {one.name} ({which}), {change}: "
        f"{sentence(known, results.test, different=different, comparisons=tested)}"
    )


def _draw(axes: "Axes", results: Results) -> None:
    """WER of each decoding with its interval, one colour for each acoustic model."""
    from preprocessing.plot_style import PALETTE

    names = _drawn(results)
    for number, acoustic in enumerate(results.acoustics):
        for place, one in enumerate(map(acoustic.of, names)):
            row = place + 0.25 * number
            axes.plot([100 * one.wer.low, 100 * one.wer.high], [row, row], color=PALETTE.of(number), alpha=0.4)
            label = acoustic.role if place == 0 else None
            axes.plot(100 * one.wer.value, row, "o", markersize=4, color=PALETTE.of(number), label=label)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set(xlabel="test WER, %", xlim=(0, None))
    if len(results.acoustics) > 1:
        axes.legend(frameon=False, fontsize="small", loc="upper left")
    box = axes.get_position()
    axes.set_position((0.42, box.y0, 0.55, box.height))


def _drawn(results: Results) -> list[str]:
    """The decodings of all utterances that every acoustic model has."""
    names = [one.name for one in results.acoustics[0].decodings if one.utterances == results.test.utterances]
    every = [{one.name for one in acoustic.decodings} for acoustic in results.acoustics]
    return [name for name in names if all(name in own for own in every)]
