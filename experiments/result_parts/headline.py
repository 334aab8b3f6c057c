"""The results of the parts, read back, and what README.md shows of them: a table, its verdicts, and the picture.

Digits, strings of digits and read English stand beside each other, so that neither verdict is seen without the other.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.harness.study import markdown_table, with_interval, wrap
from experiments.harness.trainings import State
from experiments.result_parts.corpora import DigitScores, score_digits
from experiments.result_parts.kinds import Folders, Measured
from experiments.result_parts.parts import PARTS
from experiments.result_parts.running import is_finished, state_of
from experiments.result_parts.systems import BASELINE, SYSTEMS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from benchmark.results import Comparison, Sample, Scores, Summary, SystemSummary
    from finetune.metrics import Rate

DIGIT_PARTS = ("digits", "digits-joined")
HEADLINE = (
    ("digits", "spoken digits"),
    ("digits-joined", "strings of 4 to 8 digits"),
    ("test-other", "read English, hard speakers"),
)
TIMED = (("latency-digits", "a digit"), ("latency-test-other", "a sentence"))
Row = tuple[str, tuple[str, ...]]  # a label, and the systems that stand for it in one corpus or another
ROWS: tuple[Row, ...] = (
    ("wav2vec2", ("wav2vec2-digits", "wav2vec2-librispeech")),
    ("wav2vec2, with strings", ("wav2vec2-strings",)),
    ("LSTM", ("lstm-digits", "lstm-librispeech")),
    ("whisper-ctc on Whisper's encoder", ("whisper-ctc-digits", "whisper-ctc-librispeech")),
    ("whisper-ctc with a language model", ("whisper-ctc-librispeech-lm",)),
    *((SYSTEMS[name].label, (name,)) for name in ("whisper-tiny-en", "whisper-base", "whisper-base-prompted")),
    *((SYSTEMS[name].label, (name,)) for name in ("faster-base", "faster-base-int8", "pocketsphinx")),
)
IN_TABLE = frozenset(name for _, names in ROWS for name in names)


@dataclass(frozen=True)
class Result:
    """The results of one part.

    digits: scores under the digit profiles, of the parts about clean digits. without_loops: of these, the WER under the
    first digit profile of the recordings where a system has no repetition loop, for those that have one elsewhere.
    """

    part: Measured
    state: State
    summary: "Summary"
    digits: Sequence[DigitScores] = ()
    digits_without_loops: "Mapping[str, Rate]" = field(default_factory=dict)

    @property
    def date(self) -> str:
        return self.summary.created[:10]

    @property
    def scores(self) -> "Mapping[str, Scores]":
        """By system, under the profile that decides: figures one by one for digits, else the run's first."""
        if self.digits:
            return self.digits[0].scores
        return self.under(self.summary.profiles[0].name)

    def under(self, profile: str) -> "Mapping[str, Scores]":
        """Clean scores by system under one of the run's profiles."""
        return {name: own.scores[profile] for name, own in self.systems.items() if profile in own.scores}

    @property
    def systems(self) -> "Mapping[str, SystemSummary]":
        return {one.facts.name: one for one in self.summary.systems}

    @property
    def without_loops(self) -> "Mapping[str, Rate]":
        """By system that has a repetition loop, the WER of its other recordings, under the profile that decides."""
        if self.digits:
            return self.digits_without_loops
        return {name: own.without_loops for name, own in self.systems.items() if own.without_loops is not None}

    def compared(self, first: str, second: str, *, homophones: bool = False) -> "Comparison | None":
        """The clean comparison of two systems under the profile that decides, or with homophones as the digits; those
        with BASELINE are corrected by themselves.
        """
        from benchmark.results import CLEAN
        from benchmark.scoring import correct

        if self.digits:
            found = self.digits[int(homophones)].comparisons
        else:
            unit = "segment" if self.summary.corpus.resampling_unit == "segment" else "utterance"
            baseline = BASELINE if BASELINE in self.systems else None
            found = correct(self.summary.comparisons, self.summary.metric, unit, baseline)
        pair = {first, second}
        return next((one for one in found if {one.first, one.second} == pair and one.condition == CLEAN), None)

    def best(self, *, trained_here: bool, among: Collection[str] = tuple(SYSTEMS)) -> str | None:
        """The system with the lowest WER of those `among` that were, or were not, trained here; one that was trained on
        another language is neither.
        """
        own = {
            name: scores.wer.value
            for name, scores in self.scores.items()
            if name in among
            and SYSTEMS[name].trained_here == trained_here
            and SYSTEMS[name].language in ("", self.part.language)
        }
        return min(own, key=lambda name: own[name], default=None)


def read_results(folders: Folders) -> dict[str, Result]:
    """The results of all measured parts that are finished, by name, in the order of PARTS."""
    from benchmark.results.folder import ResultsFolder

    found = {}
    for part in PARTS:
        state = state_of(part, folders)
        if not isinstance(part, Measured) or state is None or not is_finished(part, folders):
            continue
        results = ResultsFolder(folders.result(part))
        summary = results.read_summary()
        digits: list[DigitScores] = []
        without_loops: dict[str, Rate] = {}
        if part.name in DIGIT_PARTS:
            known = {one.facts.name for one in summary.systems}
            samples = [one for one in results.read_samples() if one.system in known]
            seed = int(summary.settings.get("seed", "0"))
            digits = score_digits(samples, seed)
            without_loops = _digits_without_loops(summary, samples, seed)
        found[part.name] = Result(part, state, summary, digits, without_loops)
    return found


def _digits_without_loops(summary: "Summary", samples: "Sequence[Sample]", seed: int) -> "dict[str, Rate]":
    """`Result.digits_without_loops`; none of a system with a loop on every recording."""
    found = {}
    for system in summary.systems:
        name, loops = system.facts.name, frozenset(system.loops)
        rest = [one for one in samples if one.system == name and one.id not in loops]
        scores = score_digits(rest, seed)[0].scores if loops else {}
        if name in scores:
            found[name] = scores[name].wer
    return found


def headline(results: Mapping[str, Result], picture: str) -> str:
    """README's picture and table of digits, strings of digits and read English, with times of a call and verdicts."""
    shown_parts = [(results[name], title) for name, title in HEADLINE if name in results]
    timed = [(results[name], title) for name, title in TIMED if name in results]
    rows = []
    for row in ROWS:
        cells = [_cell(result, row) for result, _ in shown_parts]
        if any(cells):
            label = f"{row[0]}{' (trained here)' if any(map(is_trained_here, row[1])) else ''}"
            rows.append((label, *cells, *(_median_latency(result, row) for result, _ in timed)))
    headings = (
        "WER, % [95 % interval]",
        *(f"{title}, {result.summary.corpus.utterances}" for result, title in shown_parts),
        *(f"median time for {title} of {_mean_seconds(result):.1f} s, ms" for result, title in timed),
    )
    lines = []
    if picture and shown_parts:
        lines += [f"![WER with intervals: {', '.join(title for _, title in shown_parts)}]({picture})", ""]
    lines += [*markdown_table(headings, rows), ""]
    for result, title in shown_parts:
        lines += [wrap(f"- **{_capital(title)}**: {_with_labels(' '.join(_headline_sentences(result, results)))}")]
    machines = {result.summary.machine.get("processor", "") + f", {result.summary.machine.get('cores', '?')} cores"
                for result, _ in (*shown_parts, *timed)}  # fmt: skip
    dates = {result.date for result, _ in (*shown_parts, *timed)}
    lines += ["", wrap(f"{'; '.join(sorted(machines))}; {' to '.join(sorted(dates))}.")]
    return "\n".join(lines) + "\n"


def _headline_sentences(result: Result, results: Mapping[str, Result]) -> list[str]:
    """The best that was trained here beside the baseline and the best other system; of digits also what may change the
    verdict.
    """
    ours, rival = (result.best(trained_here=here, among=IN_TABLE) for here in (True, False))
    if ours is None or rival is None:
        return ["none of the models trained here is measured." if ours is None else "no rival is measured."]
    rivals = [name for name in dict.fromkeys((BASELINE, rival)) if name in result.scores]
    found = [sentence_of(result, ours, name) for name in rivals]
    if not result.digits:
        return found
    from benchmark.report.fairness import enumerated

    rates = {name: with_interval(one.wer) for name, one in result.digits[1].scores.items()}
    changed = any(_winner(result, ours, one) != _winner(result, ours, one, homophones=True) for one in rivals)
    shown = enumerated([rates[name] for name in (ours, *rivals)])
    found.append(
        f"Counting homophones (“for” for “four”) as correct, their WERs are {shown}: "
        f"the verdict {'changes' if changed else 'is the same'}."
    )
    found += filter(None, [sentence_of_loops(result)])
    alone = results.get("digits")
    if result.part.name == "digits-joined" and alone is not None:
        best = alone.best(trained_here=True, among=IN_TABLE)
        if best is not None and BASELINE in alone.scores and BASELINE in result.scores:
            changed = _winner(alone, best, BASELINE) != _winner(result, ours, BASELINE)
            found.append(
                f"Against the baseline the verdict {'differs from' if changed else 'is'} that of single digits."
            )
    return found


def sentence_of_loops(result: Result) -> str:
    """How many systems of the table have repetition loops, and their range of WERs without these; "" if none has."""
    from benchmark.report.verdict import number_word

    rates = sorted(100 * rate.value for name, rate in result.without_loops.items() if name in IN_TABLE)
    if not rates:
        return ""
    loops = sorted(len(result.systems[name].loops) for name in result.without_loops if name in IN_TABLE)
    left_out, wers = (
        " to ".join(dict.fromkeys(ends))
        for ends in ((str(loops[0]), str(loops[-1])), (f"{rates[0]:.1f}", f"{rates[-1]:.1f}"))
    )
    recordings = f"{left_out} of {result.summary.corpus.utterances} recordings"
    if len(rates) == 1:
        return f"One system falls into repetition loops, on {recordings}; on the others, its WER is {wers} %."
    systems = f"{_capital(number_word(len(rates)))} systems"
    return f"{systems} fall into repetition loops, on {recordings} each; on the others, their WERs are {wers} %."


def _winner(result: Result, ours: str, rival: str, *, homophones: bool = False) -> str:
    """Which of the two is significantly better: "ours", "rival" or "neither"."""
    compared = result.compared(ours, rival, homophones=homophones)
    if compared is None or not compared.different:
        return "neither"
    ours_is_better = (compared.difference.value < 0) == (compared.first == ours)
    return "ours" if ours_is_better else "rival"


def sentence_of(result: Result, first: str, second: str) -> str:
    compared = result.compared(first, second)
    if compared is not None:
        return compared.sentence
    return f"{first} and {second} are not compared."


def save_headline(results: Mapping[str, Result], path: Path) -> None:
    """The picture: a panel for each of digits, strings and read English, WER as bars with intervals."""
    from preprocessing.plot_style import new_figure, save_figure, write_heading

    panels = [(results[name], title) for name, title in HEADLINE if name in results]
    rows = [row for row in ROWS if any(_of_row(result, row) for result, _ in panels)]
    if not rows:
        return
    height = 1.65 + 0.32 * len(rows)
    figure = new_figure(11.0, height)
    left, right, gap = 0.235, 0.985, 0.025
    width = (right - left - gap * (len(panels) - 1)) / len(panels)
    for place, (result, title) in enumerate(panels):
        bottom, top = 0.5 / height, 1 - 1.15 / height
        axes = figure.add_axes((left + place * (width + gap), bottom, width, top - bottom))
        draw_panel(axes, result, rows, title)
        if place:
            axes.set_yticklabels([])
    dates = sorted({result.date for result, _ in panels})
    description = "word error rate with 95 % interval, up to 100 %; blue: trained here, on this kind of speech"
    write_heading(figure, "Whisper, and models trained here", f"{description}; {' to '.join(dates)}", left=0.02)
    save_figure(figure, path)


def draw_panel(axes: "Axes", result: Result, rows: Sequence[Row], title: str) -> None:
    """A bar a row; bars and intervals end at 100 %, the figure beside them does not."""
    from preprocessing.plot_style import PALETTE, TICK_SIZE, style_axes

    for place, row in enumerate(rows):
        name = _of_row(result, row)
        if name is None:
            axes.text(1.5, place, "not measured", fontsize=TICK_SIZE, color=PALETTE.faint, va="center")
            continue
        wer = result.scores[name].wer
        value, low, high = (min(100 * one, 100.0) for one in (wer.value, wer.low, wer.high))
        axes.barh(place, value, height=0.62, color=PALETTE.main if is_trained_here(name) else PALETTE.faint, alpha=0.6)
        axes.plot([low, high], [place, place], color=PALETTE.ink, linewidth=1.3, marker="|", markersize=5)
        axes.text(high + 3, place, f"{100 * wer.value:.1f}", fontsize=TICK_SIZE, color=PALETTE.ink, va="center")
    style_axes(axes, _capital(title), spines=("bottom",))
    axes.set_yticks(range(len(rows)), [label for label, _ in rows])
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=(0, 122), ylim=(len(rows) - 0.4, -0.6), xlabel="WER, %")
    axes.set_xticks([0, 25, 50, 75, 100])


def draw_first(axes: "Axes", folders: Folders) -> None:
    """The panel of the first part of the headline that has results; empty where there is none."""
    results = read_results(folders)
    for name, title in HEADLINE:
        if name in results:
            rows = [row for row in ROWS if _of_row(results[name], row)]
            draw_panel(axes, results[name], rows, title)
            return


def _of_row(result: Result, row: Row) -> str | None:
    """The system of the row that the result has scores of."""
    return next((name for name in row[1] if name in result.scores), None)


def _cell(result: Result, row: Row) -> str:
    """The row's rate in the result; bold where it is the lowest of all."""
    name = _of_row(result, row)
    if name is None:
        return ""
    best = min(one.wer.value for one in result.scores.values())
    return with_interval(result.scores[name].wer, bold=result.scores[name].wer.value == best)


def _median_latency(result: Result, row: Row) -> str:
    """The median time of one call of the row's system, in ms; "" where it was not measured."""
    speed = next((result.systems[name].speed for name in row[1] if name in result.systems), None)
    return "" if speed is None else f"{1000 * speed.p50:.0f}"


def _mean_seconds(result: Result) -> float:
    corpus = result.summary.corpus
    return 3600 * corpus.hours / corpus.utterances


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _with_labels(sentence: str) -> str:
    """The sentence with each system's label in place of its name.

    >>> _with_labels("whisper-base is better than whisper-base-prompted")
    'Whisper base is better than Whisper base with a prompt of digits'
    """
    return re.sub(
        r"[a-z0-9]+(-[a-z0-9]+)*", lambda name: SYSTEMS[name[0]].label if name[0] in SYSTEMS else name[0], sentence
    )


def is_trained_here(name: str) -> bool:
    return name in SYSTEMS and SYSTEMS[name].trained_here
