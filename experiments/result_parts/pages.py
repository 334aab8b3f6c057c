"""The pages of what `experiments.results` has found, made of the parts' results alone.

results.md is the benchmark part of docs/results.md, headline.md that of README.md, headline.png its picture. In the two
documents they stand between markers, and replace what is there; docs/results.md keeps the sections of parts that have
no results in this folder, so that each part may be measured on another machine.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.harness.study import markdown_table, with_interval, wrap
from experiments.harness.trainings import ROOT
from experiments.result_parts.corpora import HOMOPHONES
from experiments.result_parts.headline import (
    Result,
    headline,
    is_trained_here,
    read_results,
    save_headline,
    sentence_of,
)
from experiments.result_parts.kinds import Folders, Measured, Training, command_line, systems_of
from experiments.result_parts.parts import PARTS
from experiments.result_parts.running import state_of
from experiments.result_parts.systems import BASELINE, SYSTEMS
from preprocessing.errors import InputError, counted
from preprocessing.storage.atomic_write import write_text_atomically

if TYPE_CHECKING:
    from benchmark.results import Scores

BEGIN = "<!-- `make results` replaces what is between these two lines -->"
END = "<!-- end of `make results` -->"
PICTURE = "docs/pictures/headline.png"
NEEDED = ("digits", "test-other")  # README.md's block is made of both or not at all


def write_pages(folders: Folders, *, docs: bool) -> list[Path]:
    """Write the pages of what is finished; with `docs` into the documents too. Returns the paths written.

    README.md stays as it is while one of NEEDED has no results: neither is shown without the other.
    """
    results = read_results(folders)
    if not results:
        return []
    pages = {"results.md": results_page(results, folders), "headline.md": headline(results, picture="headline.png")}
    written = [folders.output / name for name in (*pages, "headline.png")]
    for name, text in pages.items():
        write_text_atomically(folders.output / name, text)
    save_headline(results, written[-1])
    if docs:
        page = ROOT / "docs" / "results.md"
        replace_block(page, results_page(results, folders, earlier=block_of(page)))
        written.append(page)
    if docs and set(NEEDED) <= set(results):
        replace_block(ROOT / "README.md", headline(results, picture=PICTURE))
        save_headline(results, ROOT / PICTURE)
        written += [ROOT / "README.md", ROOT / PICTURE]
    return written


def replace_block(path: Path, text: str) -> None:
    """Put the text between the markers of a document. Raises InputError where it has none."""
    before, _, after = _around_block(path)
    write_text_atomically(path, f"{before}{BEGIN}\n\n{text.strip()}\n\n{END}{after}")


def block_of(path: Path) -> str:
    """What stands between the markers of a document. Raises InputError where it has none."""
    return _around_block(path)[1]


def _around_block(path: Path) -> tuple[str, str, str]:
    """What stands before, between and after the markers."""
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    block, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f"{path} has no block of results; expected the lines {BEGIN} and {END}: put them in")
    return before, block, after


def results_page(results: Mapping[str, Result], folders: Folders, earlier: str = "") -> str:
    """The benchmark sections: the systems, then a section a part.

    earlier: such a page; its sections of parts that are not among the results are kept, and its systems.
    """
    lines = [
        "## Real Whisper and models trained here",
        "",
        "    make results                                           # everything, in parts; resumes",
        "    python -m experiments.results digits --docs true       # one part, then this page",
        "",
        wrap(
            "WER in % with 95 % intervals; bold: the lowest. English is counted under `basic:en`, which spells numbers "
            "out on both sides: under `librispeech` a Whisper that writes “9” loses the word, so that column is no "
            "comparison. Digits are counted with every figure read by itself, in words or figures alike; the next "
            f"column counts homophones ({', '.join(HOMOPHONES)}) as the digit too. Whisper decodes greedily without "
            "fallback, its language fixed. The baseline is Whisper base, named beforehand: p-values of comparisons "
            "with it are corrected by themselves (Holm), and so are those of all others. Below each table stand the "
            "weights that were measured: parts may be of different machines and days, and of models trained anew."
        ),
        "",
        *_systems_table(results, folders, earlier),
    ]
    kept = {heading: text for text in _sections(earlier) if (heading := _title_of(text))}
    waiting = []
    for part in PARTS:
        if part.name in results:
            lines += ["", *section(results[part.name], folders)]
        elif part.title in kept:
            lines += ["", kept[part.title]]
        elif isinstance(part, Measured):
            waiting.append(part.name)
    if waiting:
        lines += ["", wrap(f"Not measured: {', '.join(waiting)}.")]
    return "\n".join(lines) + "\n"


def _sections(page: str) -> list[str]:
    """The sections of a page, each from its heading to the end of its details."""
    return [found.strip() for found in re.findall(r"^### .*?^</details>$", page, re.MULTILINE | re.DOTALL)]


def _title_of(text: str) -> str:
    """The title of the part that a section is about; its heading ends in the date."""
    return text.partition("\n")[0].removeprefix("### ").rpartition(", ")[0]


def _systems_table(results: Mapping[str, Result], folders: Folders, earlier: str) -> list[str]:
    """What each system is: training data, options, how long a training part took."""
    facts = {name: own.facts for result in results.values() for name, own in result.systems.items()}
    rows = []
    for name, system in SYSTEMS.items():
        if name in facts:
            options = "; ".join(f"{option}: {value}" for option, value in system.options)
            about = _trained_on(system.checkpoint, folders) if system.trained_here else ""
            parameters = f"{facts[name].parameters / 1e6:.1f} M" if facts[name].parameters else ""
            rows.append((name, system.label, parameters, options or about))
        elif row := re.search(rf"^\| {name} \| {re.escape(system.label)} \| (.*) \| (.*) \|$", earlier, re.MULTILINE):
            rows.append((name, system.label, row[1].strip(), row[2].strip()))
    return markdown_table(("system", "what", "parameters", "options, or training"), rows, numbers=False)


def _trained_on(checkpoint: str, folders: Folders) -> str:
    try:
        training = json.loads((folders.run(checkpoint) / "about.json").read_text(encoding="utf-8"))["training"]
    except (OSError, ValueError, KeyError):
        return ""
    text = f"{60 * training['hours']:.0f} min, {counted(int(training['speakers']), 'speaker')}"
    part = next((one for one in PARTS if isinstance(one, Training) and one.folder == checkpoint), None)
    state = None if part is None else state_of(part, folders)
    return text if state is None or state.finished is None else f"{text}; took {state.seconds / 60:.0f} min"


def section(result: Result, folders: Folders) -> list[str]:
    """The lines of a part: what was measured, its table, verdicts, what is missing, and how to measure it again."""
    part, summary = result.part, result.summary
    speakers = f"{counted(summary.corpus.speakers, 'speaker')}, " if summary.corpus.speakers else ""
    recordings = counted(summary.corpus.utterances, "recording")
    what = f"`{part.name}`: {recordings}, {speakers}{60 * summary.corpus.hours:.1f} min"
    lines = [f"### {part.title}, {result.date}", "", f"{what}; intervals over {summary.corpus.resampling_unit}s.", ""]
    lines += _figures(result)
    sentences = list(dict.fromkeys(_verdicts(result)))
    if sentences:
        lines += ["", *(wrap(f"- {sentence}") for sentence in sentences)]
    if part.note:
        lines += ["", wrap(part.note)]
    missing = [one.name for one in systems_of(part, folders)[1]]
    failed = [f"{one.facts.name} ({one.failure})" for one in summary.systems if one.failure]
    for words, names in (("Not trained there", missing), ("Failed", failed)):
        if names:
            lines += ["", wrap(f"{words}: {', '.join(names)}.")]
    machine = "; ".join(f"{key} {value}" for key, value in summary.machine.items())
    details = [
        "<details><summary>command, weights, machine, signature</summary>",
        "",
        "```sh",
        command_line(result.state.command, folders),
    ]
    signatures = [f"`{one.signature}`" for one in summary.profiles[:1]]
    return [*lines, "", *details, "```", "", _weights(result), "", machine, "", *signatures, "", "</details>"]


def _weights(result: Result) -> str:
    """The files of each system's weights: name, size, and how their SHA-256 begins."""
    found = []
    for name, own in result.systems.items():
        files = ", ".join(f"{one.name}, {one.bytes / 1e6:.0f} MB, `{one.sha256[:12]}`" for one in own.facts.weights)
        found += [f"{name}: {files}"] if files else []
    return "; ".join(found)


def _verdicts(result: Result) -> Iterable[str]:
    """Each system that was trained here beside the baseline, and the best of them beside the best other one."""
    if result.part.timed or result.part.words or not result.scores or result.part.name == "silence":
        return
    ours, rival = (result.best(trained_here=here) for here in (True, False))
    if rival is None:
        return
    for name in filter(is_trained_here, result.scores):
        yield sentence_of(result, name, BASELINE if BASELINE in result.scores else rival)
    if ours is not None:
        yield sentence_of(result, ours, rival)


def _figures(result: Result) -> list[str]:
    """The part's table."""
    if result.part.name == "silence":
        return _words_in_silence(result)
    if result.part.timed:
        return _speeds(result)
    if result.part.words:
        return _words(result)
    if result.part.conditions != "clean":
        return _conditions(result)
    best = min((one.wer.value for one in result.scores.values()), default=0.0)
    others = [one.name for one in result.summary.profiles]
    others = others[1:] if not result.digits else [name for name in others if name != "basic:en"]
    without_loops = result.without_loops
    headings = ["", "WER", *(["homophones right"] if result.digits else []), *(f"`{name}`" for name in others)]
    headings += ["CER", *(["WER without loops"] if without_loops else [])]
    rows = []
    for name, scores in sorted(result.scores.items(), key=lambda item: item[1].wer.value):
        cells = [name, with_interval(scores.wer, bold=scores.wer.value == best)]
        if result.digits:
            cells.append(with_interval(result.digits[1].scores[name].wer))
        cells += [f"{100 * result.under(other)[name].wer.value:.1f}" for other in others]
        cells.append(f"{100 * scores.cer.value:.1f}")
        if without_loops:
            rest, loops = without_loops.get(name), result.systems[name].loops
            cells.append("" if rest is None else f"{with_interval(rest)} ({len(loops)} left out)")
        rows.append(tuple(cells))
    return markdown_table(headings, rows)


def _conditions(result: Result) -> list[str]:
    profile = result.summary.profiles[0].name
    names = [one.name for one in result.summary.conditions if one.speech]
    rows = []
    for name, own in sorted(result.systems.items(), key=lambda item: _value(item[1].scores.get(profile))):
        under = {condition: scores[profile] for condition, scores in own.by_condition().items() if profile in scores}
        under |= {} if own.clean_of_conditions is None else {"clean": own.clean_of_conditions}
        rates = [under[condition].wer if condition in under else None for condition in names]
        rows.append((name, *("" if rate is None else with_interval(rate) for rate in rates)))
    if any(own.clean_of_conditions for own in result.systems.values()):
        names = ["clean, the same recordings" if name == "clean" else name for name in names]
    return markdown_table(("WER", *names), rows)


def _words_in_silence(result: Result) -> list[str]:
    found = {name: own.hallucinated_words_per_minute.get("clean") for name, own in result.systems.items()}
    rows = [
        (name, f"{words:.0f}")
        for name, words in sorted(found.items(), key=lambda item: item[1] or 0.0)
        if words is not None
    ]
    return markdown_table(("", "words invented a minute"), rows)


def _words(result: Result) -> list[str]:
    rows = []
    for name, own in sorted(result.systems.items(), key=lambda item: _value(next(iter(item[1].scores.values()), None))):
        words = own.words
        if words is None:
            continue
        errors = ["" if one is None else with_interval(one) for one in (words.ece, words.auroc)]
        cells = [name, f"{words.words} ({words.wrong} wrong)", *errors, "" if words.nce is None else f"{words.nce:.2f}"]
        times = words.times
        for one in () if times is None else (times.start_median, times.end_median):
            cells.append(f"{1000 * one.value:.0f} [{1000 * one.low:.0f}, {1000 * one.high:.0f}]")
        rows.append(tuple(cells))
    headings = ["", "words", "ECE, %", "AUROC of errors, %", "NCE"]
    if any(len(row) > len(headings) for row in rows):
        headings += ["start off by, median, ms", "end off by, median, ms"]
    rows = [row + ("",) * (len(headings) - len(row)) for row in rows]
    return markdown_table(headings, rows)


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
        latency = f"{1000 * speed.p50:.0f}" + (f" / {1000 * speed.p95:.0f}" if speed.has_percentiles else "")
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
    return markdown_table(headings, rows)


def _value(scores: "Scores | None") -> float:
    return float("inf") if scores is None else scores.wer.value
