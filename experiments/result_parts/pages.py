"""What `experiments.results` has found, as text and picture: made of the parts' results alone.

results.md is the benchmark part of docs/results.md, headline.md that of README.md, headline.png its picture. In the two
documents they stand between markers, and replace what is there.
"""

import json
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.harness.figures import counted
from experiments.result_parts.corpora import HOMOPHONES, DigitScores, score_digits
from experiments.result_parts.parts import (
    PARTS,
    SYSTEMS,
    Folders,
    Measured,
    Training,
    shown,
    systems_of,
)
from experiments.result_parts.running import ROOT, State, is_finished, read_state
from preprocessing.cli.atomic_write import write_text_atomically
from preprocessing.cli.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from benchmark.results import Comparison, Scores, Summary, SystemSummary
    from finetune.metrics import Rate

BEGIN = "<!-- `make results` replaces what is between these two lines -->"
END = "<!-- end of `make results` -->"
PICTURE = "docs/pictures/headline.png"
DIGIT_PARTS = ("digits", "digits-joined")
HEADLINE = (
    ("digits", "spoken digits"),
    ("digits-joined", "strings of 4 to 8 digits"),
    ("test-other", "read English, hard speakers"),
)
Row = tuple[str, tuple[str, ...]]  # a label, and the systems that stand for it in one corpus or another
ROWS: tuple[Row, ...] = (
    ("wav2vec2", ("wav2vec2-digits", "wav2vec2-librispeech")),
    ("LSTM", ("lstm-digits", "lstm-librispeech")),
    ("whisper-ctc, Whisper's encoder under a CTC head", ("whisper-ctc-digits", "whisper-ctc-librispeech")),
    *((SYSTEMS[name].label, (name,)) for name in ("whisper-tiny-en", "whisper-base", "whisper-base-prompted")),
    *((SYSTEMS[name].label, (name,)) for name in ("faster-base", "faster-base-int8", "pocketsphinx")),
)
WIDTH = 130


@dataclass(frozen=True)
class Result:
    """The results of one part. digits: scores under the digit profiles, of the parts about clean digits."""

    part: Measured
    state: State
    summary: "Summary"
    digits: Sequence[DigitScores] = ()

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

    def compared(self, first: str, second: str) -> "Comparison | None":
        """The clean comparison of two systems under the profile that decides."""
        found = self.digits[0].comparisons if self.digits else self.summary.comparisons
        pair = {first, second}
        return next((one for one in found if {one.first, one.second} == pair and one.condition == "clean"), None)

    def best(self, *, trained_here: bool) -> str | None:
        """The system with the lowest WER of those that were, or were not, trained here."""
        own = {name: one for name, one in self.scores.items() if _trained_here(name) == trained_here}
        return min(own, key=lambda name: own[name].wer.value, default=None)


def read_results(folders: Folders) -> dict[str, Result]:
    """The results of all measured parts that are finished, by name, in the order of PARTS."""
    from benchmark.results import read_samples, read_summary

    found = {}
    for part in PARTS:
        state = read_state(folders.result(part))
        if not isinstance(part, Measured) or state is None or not is_finished(part, folders):
            continue
        summary = read_summary(folders.result(part) / "summary.json")
        digits: list[DigitScores] = []
        if part.name in DIGIT_PARTS:
            known = {one.facts.name for one in summary.systems}
            samples = [one for one in read_samples(folders.result(part) / "samples.jsonl") if one.system in known]
            digits = score_digits(samples, seed=int(summary.settings.get("seed", "0")))
        found[part.name] = Result(part, state, summary, digits)
    return found


def write_pages(folders: Folders, *, docs: bool) -> list[Path]:
    """Write the pages of what is finished; with `docs` into the documents too. Returns the paths written."""
    results = read_results(folders)
    if not results:
        return []
    pages = {"results.md": results_page(results, folders), "headline.md": headline(results, picture="headline.png")}
    written = [folders.output / name for name in (*pages, "headline.png")]
    for name, text in pages.items():
        write_text_atomically(folders.output / name, text)
    save_headline(results, written[-1])
    if docs:
        replace_block(ROOT / "README.md", headline(results, picture=PICTURE))
        replace_block(ROOT / "docs" / "results.md", pages["results.md"])
        save_headline(results, ROOT / PICTURE)
        written += [ROOT / "README.md", ROOT / "docs" / "results.md", ROOT / PICTURE]
    return written


def replace_block(path: Path, text: str) -> None:
    """Put the text between the markers of a document. Raises InputError where it has none."""
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f"{path} has no block of results; expected the lines {BEGIN} and {END}: put them in")
    write_text_atomically(path, f"{before}{BEGIN}\n\n{text.strip()}\n\n{END}{after}")


def headline(results: Mapping[str, Result], picture: str) -> str:
    """README's table of digits, strings of digits and read English, with its verdicts and the picture."""
    shown_parts = [(results[name], title) for name, title in HEADLINE if name in results]
    rows = []
    for row in ROWS:
        cells = [_cell(result, row) for result, _ in shown_parts]
        if any(cells):
            rows.append((f"{row[0]}{' (trained here)' if any(map(_trained_here, row[1])) else ''}", *cells))
    headings = (
        "WER, % [95 % interval]",
        *(f"{title}, {result.summary.corpus.utterances}" for result, title in shown_parts),
    )
    lines = [*_table(headings, rows), ""]
    if picture and shown_parts:
        lines += [f"![WER with intervals: {', '.join(title for _, title in shown_parts)}]({picture})", ""]
    for result, title in shown_parts:
        lines += [_wrapped(f"- **{_capital(title)}**: {_with_labels(' '.join(_headline_sentences(result, results)))}")]
    return "\n".join(lines) + "\n"


def _headline_sentences(result: Result, results: Mapping[str, Result]) -> list[str]:
    """The best that was trained here beside the best other system, and what changes the verdict."""
    ours, rival = result.best(trained_here=True), result.best(trained_here=False)
    if ours is None or rival is None:
        return ["none of the models trained here is measured." if ours is None else "no rival is measured."]
    found = [_sentence(result, ours, rival)]
    if result.digits:
        homophones = result.digits[1].scores
        if rival in homophones:
            found.append(
                f"With homophones (such as “for”) counted as right, {rival} is at {_rate(homophones[rival].wer)}."
            )
        plain = "whisper-base"
        if rival == "whisper-base-prompted" and plain in result.scores:
            found.append(f"Without the prompt Whisper base is at {_rate(result.scores[plain].wer)}.")
    if result.part.name == "digits-joined" and "digits" in results:
        alone = results["digits"]
        first, second = alone.best(trained_here=True), alone.best(trained_here=False)
        if first is not None and second is not None:
            before, now = _winner(alone, first, second), _winner(result, ours, rival)
            found.append("The verdict is the same." if before == now else "The verdict changes with the context.")
    return found


def _winner(result: Result, ours: str, rival: str) -> str:
    """ "ours", "rival" or "undecided"."""
    compared = result.compared(ours, rival)
    if compared is None or not compared.different:
        return "undecided"
    ours_less = (compared.difference.value < 0) == (compared.first == ours)
    return "ours" if ours_less else "rival"


def _sentence(result: Result, first: str, second: str) -> str:
    compared = result.compared(first, second)
    if compared is not None:
        return compared.sentence
    return f"{first} and {second} are not compared."


def results_page(results: Mapping[str, Result], folders: Folders) -> str:
    """The benchmark sections: systems and weights, then a section a part."""
    lines = [
        "## Real Whisper and models trained here",
        "",
        "    make results                                           # everything, in parts; resumes",
        "    python -m experiments.results digits --docs true       # one part, then this page",
        "",
        _wrapped(
            "WER in % with 95 % intervals; bold: the lowest. English is counted under `basic:en`, which spells numbers "
            "out on both sides: under `librispeech` a Whisper that writes “9” loses the word, so that column is no "
            "comparison. Digits are counted with every figure read by itself, in words or figures alike; the next "
            f"column counts homophones ({', '.join(HOMOPHONES)}) as the digit too. Whisper decodes greedily without "
            "fallback, its "
            "language fixed."
        ),
        "",
        *_systems_table(results, folders),
    ]
    for result in results.values():
        lines += ["", *section(result, folders)]
    waiting = [part.name for part in PARTS if isinstance(part, Measured) and part.name not in results]
    if waiting:
        lines += ["", _wrapped(f"Not measured here: {', '.join(waiting)}.")]
    return "\n".join(lines) + "\n"


def _systems_table(results: Mapping[str, Result], folders: Folders) -> list[str]:
    """What each system is: weights with their SHA-256, training data, how long a training part took."""
    facts = {name: own.facts for result in results.values() for name, own in result.systems.items()}
    rows = []
    for name, system in SYSTEMS.items():
        if name not in facts:
            continue
        files = facts[name].weights
        weights = ", ".join(f"{one.name}, {one.bytes / 1e6:.0f} MB, `{one.sha256[:12]}`" for one in files)
        options = "; ".join(f"{option}: {value}" for option, value in system.options)
        about = _trained_on(system.checkpoint, folders) if system.trained_here else ""
        parameters = f"{facts[name].parameters / 1e6:.1f} M" if facts[name].parameters else ""
        rows.append((name, system.label, parameters, weights, options or about))
    return _table(("system", "what", "parameters", "weights, SHA-256", "options, or training"), rows, numbers=False)


def _trained_on(checkpoint: str, folders: Folders) -> str:
    try:
        training = json.loads((folders.run(checkpoint) / "about.json").read_text(encoding="utf-8"))["training"]
    except (OSError, ValueError, KeyError):
        return ""
    text = f"{60 * training['hours']:.0f} min, {training['speakers']} speakers"
    part = next((one for one in PARTS if isinstance(one, Training) and one.config == checkpoint), None)
    state = None if part is None else read_state(folders.result(part))
    return text if state is None or state.finished is None else f"{text}; took {state.seconds / 60:.0f} min"


def section(result: Result, folders: Folders) -> list[str]:
    """The lines of a part: what was measured, its table, verdicts, what is missing, and how to measure it again."""
    part, summary = result.part, result.summary
    speakers = f"{counted(summary.corpus.speakers, 'speaker')}, " if summary.corpus.speakers else ""
    what = f"`{part.name}`: {summary.corpus.utterances} recordings, {speakers}{60 * summary.corpus.hours:.1f} min"
    lines = [f"### {part.title}, {result.date}", "", f"{what}; intervals over {summary.corpus.resampling_unit}s.", ""]
    lines += _figures(result)
    sentences = list(dict.fromkeys(_verdicts(result)))
    if sentences:
        lines += ["", *(_wrapped(f"- {sentence}") for sentence in sentences)]
    missing = [one.name for one in systems_of(part, folders)[1]]
    failed = [f"{one.facts.name} ({one.failure})" for one in summary.systems if one.failure]
    for words, names in (("Not trained on this machine", missing), ("Failed", failed)):
        if names:
            lines += ["", _wrapped(f"{words}: {', '.join(names)}.")]
    machine = "; ".join(f"{key} {value}" for key, value in summary.machine.items())
    details = [
        "<details><summary>command, machine, signature</summary>",
        "",
        "```sh",
        shown(result.state.command, folders),
    ]
    signatures = [f"`{one.signature}`" for one in summary.profiles[:1]]
    return [*lines, "", *details, "```", "", machine, "", *signatures, "", "</details>"]


def _verdicts(result: Result) -> Iterable[str]:
    """Each system that was trained here beside the best other one."""
    if result.part.timed or not result.scores or result.part.name == "silence":
        return
    rival = result.best(trained_here=False)
    for name in result.scores:
        if rival is not None and _trained_here(name):
            yield _sentence(result, name, rival)


def _figures(result: Result) -> list[str]:
    """The part's table."""
    if result.part.name == "silence":
        return _words_in_silence(result)
    if result.part.timed:
        return _speeds(result)
    if result.part.conditions != "clean":
        return _conditions(result)
    best = min((one.wer.value for one in result.scores.values()), default=0.0)
    others = [one.name for one in result.summary.profiles]
    others = others[1:] if not result.digits else [name for name in others if name != "basic:en"]
    looped = any(own.without_loops is not None for own in result.systems.values())
    headings = ["", "WER", *(["homophones right"] if result.digits else []), *(f"`{name}`" for name in others)]
    headings += ["CER", *(["WER without loops"] if looped else [])]
    rows = []
    for name, scores in sorted(result.scores.items(), key=lambda item: item[1].wer.value):
        cells = [name, _rate(scores.wer, bold=scores.wer.value == best)]
        if result.digits:
            cells.append(_rate(result.digits[1].scores[name].wer))
        cells += [f"{100 * result.under(other)[name].wer.value:.1f}" for other in others]
        cells.append(f"{100 * scores.cer.value:.1f}")
        if looped:
            own = result.systems[name]
            rest = own.without_loops
            cells.append("" if rest is None else f"{100 * rest.value:.1f} ({len(own.loops)} left out)")
        rows.append(tuple(cells))
    return _table(headings, rows)


def _conditions(result: Result) -> list[str]:
    profile = result.summary.profiles[0].name
    names = [one.name for one in result.summary.conditions if one.speech]
    rows = []
    for name, own in sorted(result.systems.items(), key=lambda item: _value(item[1].scores.get(profile))):
        under = {"clean": own.scores, **own.conditions}
        rates = [under[condition][profile].wer if condition in under else None for condition in names]
        rows.append((name, *("" if rate is None else _rate(rate) for rate in rates)))
    return _table(("WER", *names), rows)


def _words_in_silence(result: Result) -> list[str]:
    found = {name: own.hallucinated_words_per_minute.get("clean") for name, own in result.systems.items()}
    rows = [
        (name, f"{words:.0f}")
        for name, words in sorted(found.items(), key=lambda item: item[1] or 0.0)
        if words is not None
    ]
    return _table(("", "words invented a minute"), rows)


def _speeds(result: Result) -> list[str]:
    rows = []
    for name, own in result.systems.items():
        speed = own.speed
        if speed is None:
            continue
        cost = speed.call_cost
        per_call = "" if cost is None or cost.per_call is None else f"{1000 * cost.per_call.value:.0f}"
        per_second = (
            "" if cost is None or cost.per_audio_second is None else f"{1000 * cost.per_audio_second.value:.0f}"
        )
        batches = "" if speed.throughput is None else f"{speed.throughput.median:.1f}"
        latency = f"{1000 * speed.p50:.0f} / {1000 * speed.p95:.0f}"
        memory = "" if own.peak_memory_bytes is None else f"{own.peak_memory_bytes / 1e9:.1f}"
        rows.append((name, latency, per_call, per_second, f"{speed.rtfx:.1f}", batches, memory))
    headings = (
        "",
        "p50 / p95, ms",
        "per call, ms",
        "per second of audio, ms",
        "RTFx, one at a time",
        "in batches",
        "GB",
    )
    return _table(headings, rows)


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
        axes.barh(place, value, height=0.62, color=PALETTE.main if _trained_here(name) else PALETTE.faint, alpha=0.6)
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


def _trained_here(name: str) -> bool:
    return name in SYSTEMS and SYSTEMS[name].trained_here


def _cell(result: Result, row: Row) -> str:
    """The row's rate in the result; bold where it is the lowest of all."""
    name = _of_row(result, row)
    if name is None:
        return ""
    best = min(one.wer.value for one in result.scores.values())
    return _rate(result.scores[name].wer, bold=result.scores[name].wer.value == best)


def _rate(rate: "Rate", *, bold: bool = False) -> str:
    """Such as "3.3 [0.9, 6.3]"."""
    value = f"{100 * rate.value:.1f}"
    return f"{f'**{value}**' if bold else value} [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _with_labels(sentence: str) -> str:
    """The sentence with each system's label in place of its name.

    >>> _with_labels("whisper-base beats whisper-base-prompted")
    'Whisper base beats Whisper base with a prompt of digits'
    """
    return re.sub(
        r"[a-z0-9]+(-[a-z0-9]+)*", lambda name: SYSTEMS[name[0]].label if name[0] in SYSTEMS else name[0], sentence
    )


def _value(scores: "Scores | None") -> float:
    return float("inf") if scores is None else scores.wer.value


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = True) -> list[str]:
    marks = ["---", *(["---:" if numbers else "---"] * (len(headings) - 1))]
    return [f"| {' | '.join(cells)} |" for cells in (headings, marks, *rows)]


def _wrapped(text: str) -> str:
    indent = "  " if text.startswith("- ") else ""
    return textwrap.fill(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
