"""The report says what the results say: its tables are parsed back, its markup is checked, its alignments recounted."""

import dataclasses
import io
import itertools
import math
import random
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from benchmark import results
from benchmark.report import __main__ as command
from benchmark.report import figures, quantities, write_reports
from benchmark.report.alignment import align
from benchmark.report.page import LONG_TEXT_WORDS, render_page
from benchmark.report.table import markdown, print_table
from benchmark.report.utterances import side_by_side, worst_first
from benchmark.results import Sample, Scores, Speed, StageSeconds, Summary, SystemFacts, SystemSummary
from finetune.significance import Rate
from preprocessing.command import run_command
from preprocessing.errors import InputError
from preprocessing.text import profile

HOSTILE = "<script>alert(1)</script><img src=http://x onerror='y'> \"&quot;\" $a_b$ |pipe| \u202e مرحبا \x00 ]]> `code`"
WORDS = ("the", "a", "stew", "for", "dinner", "<b>turnips</b>", "and", "carrots", "isn't", "مرحبا", "بكم")
VOID = {"meta", "link", "br", "img", "hr", "input"}


def sample(system: str, id: str, reference: str, hypothesis: str, **rest: object) -> Sample:
    seconds = 0.01 * (1 + len(reference) % 17)
    stages = StageSeconds(0.1 * seconds, 0.2 * seconds, 0.6 * seconds, 0.1 * seconds)
    return Sample(system, id, reference, hypothesis, 1.0 + len(reference) / 15, stages, **rest)  # type: ignore[arg-type]


def scored(name: str, samples: list[Sample]) -> SystemSummary:
    """A summary whose counts come from jiwer over all texts at once, not from the code under test."""
    own = [s for s in samples if s.system == name]
    counted = jiwer.process_words([s.reference for s in own], [s.hypothesis for s in own])
    s, d, i, h = counted.substitutions, counted.deletions, counted.insertions, counted.hits
    rate = Rate(counted.wer, counted.wer * 0.81234567, counted.wer * 1.212345)
    verbatim = Scores(rate, Rate(rate.value / 3, rate.low / 3, rate.high / 3), h + s + d, h, s, d, i)
    other = dataclasses.replace(verbatim, wer=Rate(rate.value / 2, rate.low / 2, rate.high / 2))
    speed = Speed(1.2345, 0.98765, 0.0123456, 0.456789, 12.3456, 61.98765, StageSeconds(0.01, 0.02, 0.3, 0.004))
    facts = SystemFacts(name, "family", f"org/{name}", 94_371_712, {"dtype": "float32"}, f"{name} stands in.")
    failed = sum(s.error is not None for s in own)
    return SystemSummary(facts, {"verbatim": verbatim, "other": other}, speed, 1_234_567_890, None, failed)


def run_of(samples: list[Sample], systems: list[SystemSummary]) -> Summary:
    return Summary(
        created="2026-05-03T12:20:11Z",
        command="python benchmark/run.py --models a,b",
        machine={"cpu": "two cores"},
        corpus=results.CorpusFacts("corpus", len({s.id for s in samples}), 0.5, 7, "speaker"),
        profiles=[results.ProfileUsed("verbatim", 1, "as it is"), results.ProfileUsed("other", 3, "otherwise")],
        systems=systems,
        comparisons=[results.Comparison("wav2vec2", "whisper", Rate(-0.0123, -0.02, 0.004), "No telling them apart.")],
        notices=["The figures of wav2vec2 are of a stand-in."],
        settings={"seed": "0"},
    )


def run() -> tuple[Summary, list[Sample]]:
    """Three systems over 60 utterances, one of them not loading; empty, hostile, long and failed ones among them."""
    rng = random.Random(3)
    references = [" ".join(rng.choices(WORDS, k=rng.randrange(1, 14))) for _ in range(56)]
    references += ["", HOSTILE, "one two", " ".join(rng.choices(WORDS, k=10_000))]
    samples = []
    for (number, text), system in itertools.product(enumerate(references), ("wav2vec2", "whisper")):
        heard = [word for word in text.split() for _ in range(rng.choice((0, 1, 1, 1, 1, 1, 1, 2)))]
        condition = "clean" if number % 2 else "noise at 10 dB"
        error = f"RuntimeError: {HOSTILE}" if number in (5, 9) and system == "whisper" else None
        hypothesis = "" if error else "uh oh" if not text else " ".join(heard)
        samples.append(sample(system, f"u{number}", text, hypothesis, condition=condition, error=error, speaker="s"))
    failed = SystemSummary(SystemFacts("lost", "f", "c", 0), {}, None, None, None, 0, failure="no <file> found")
    return run_of(samples, [scored("wav2vec2", samples), scored("whisper", samples), failed]), samples


class Page(HTMLParser):
    """Elements, ids, loads, and the results table; fails on markup that is not nested."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.open, self.rows = "", [], []  # type: ignore[var-annotated]
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append((tag, dict(attrs).get("class")))
        if ("table", "results") in self.open:
            if tag == "tr":
                self.rows.append([])
            if tag in ("th", "td"):
                self.rows[-1].append(["", None])
            if tag == "data":
                self.rows[-1][-1][1] = float(dict(attrs)["value"] or "nan")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "title"} & {tag for tag, _ in self.open}:
            self.text += data
        if ("table", "results") in self.open and self.rows and self.rows[-1]:
            self.rows[-1][-1][0] += data

    def table(self) -> dict[str, list[tuple[str, float | None]]]:
        return {cells[0][0].strip(): [(" ".join(t.split()), v) for t, v in cells[1:]] for cells in self.rows}


def expected(system: SystemSummary) -> dict[str, tuple[float, float]]:
    """By row: the value as the results hold it, and by how many of them one unit of the shown text stands for."""
    main, other, speed = system.scores["verbatim"], system.scores["other"], system.speed
    assert speed and system.peak_memory_bytes
    times = {"p50": speed.p50, "p95": speed.p95, "p99": speed.p99}
    return {
        "WER, verbatim": (main.wer.value, 0.01),
        "WER, other": (other.wer.value, 0.01),
        "CER, verbatim": (main.cer.value, 0.01),
        "Substitutions": (main.substitutions, 1),
        "Deletions": (main.deletions, 1),
        "Insertions": (main.insertions, 1),
        "Failed utterances": (system.failed_utterances, 1),
        "RTFx": (speed.rtfx, 1),
        **{f"{name} latency": (value, 1e-3) for name, value in times.items()},
        "First call": (speed.first_call, 1e-3),
        "Load time": (speed.load, 1e-3),
        "Peak memory": (system.peak_memory_bytes, 1e9),
        "Parameters": (system.facts.parameters, 1e6),
    }


def shows(text: str, value: float, unit: float) -> bool:
    """Whether the first number in `text` is `value`, counted in `unit`, rounded to the digits that are shown."""
    shown = re.search(r"-?[\d,]+(\.\d+)?", text)
    assert shown, text
    digits = len(shown[1] or ".") - 1
    return bool(abs(float(shown[0].replace(",", "")) - value / unit) <= 0.5000001 * 10**-digits)


@pytest.fixture(scope="module")
def html() -> str:
    return render_page(*run(), profile("verbatim"))


def test_every_value_of_the_page_is_the_summarys(html: str) -> None:
    summary, table = run()[0], Page(html).table()
    for column, system in enumerate(summary.systems[:2]):
        for row, (value, unit) in expected(system).items():
            text, exact = table[row][column]
            assert exact == value and shows(text, value, unit), (row, text, value)
        wer = system.scores["verbatim"].wer
        text = f"{100 * wer.value:.2f}\u00a0%{100 * wer.low:.2f}–{100 * wer.high:.2f}"
        assert table["WER, verbatim"][column][0] == " ".join(text.split())
    assert all(cells[2] == ("–", None) for label, cells in table.items() if label in expected(summary.systems[0]))
    assert table["lost"][0][0] == "no <file> found"


def test_the_markdown_table_parses_back() -> None:
    summary = run()[0]
    lines = [line for line in markdown(summary).splitlines() if line.startswith("| ")]
    cells = {row[1].strip(): row[2:-1] for row in (line.split("|") for line in lines)}
    assert [name.strip() for name in cells[""]] == ["wav2vec2", "whisper", "lost"]
    for column, system in enumerate(summary.systems[:2]):
        for row, (value, unit) in expected(system).items():
            assert shows(cells[row][column], value, unit), row
        low, high = re.findall(r"[\d.]+", cells["WER, verbatim"][column])[1:]
        wer = system.scores["verbatim"].wer
        assert shows(low, wer.low, 0.01) and shows(high, wer.high, 0.01)


@pytest.mark.parametrize("width", [34, 80, 160])
def test_the_terminal_table_fits_and_leaves_nothing_out(width: int) -> None:
    summary = run()[0]
    console = Console(width=width, record=True, file=io.StringIO())
    print_table(summary, console)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= width
    assert text.index("NOTICE") < text.index("WER, verbatim")
    for system, quantity in itertools.product(summary.systems, quantities.quantities(summary)):
        assert quantity.read(system).text in text and quantity.read(system).interval in text


def test_the_page_loads_nothing_and_is_well_formed(html: str) -> None:
    page = Page(html)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [value for _, found in page.tags for key, value in found.items() if key in ("src", "href", "xlink:href")]
    assert targets and all(target == "data:," or (target or "")[1:] in ids for target in targets)
    assert set(re.findall(r"url\(([^)]*)\)", html)) <= {f"#{id}" for id in ids} and "@import" not in html
    for tag, attributes in page.tags:
        assert tag != "svg" or attributes.get("aria-label") or attributes.get("aria-hidden") == "true"
        assert tag != "th" or attributes.get("scope")
        assert attributes.get("role") != "region" or attributes["tabindex"] == "0"
    assert sum(tag == "table" for tag, _ in page.tags) == sum(tag == "caption" for tag, _ in page.tags)


def test_hostile_text_is_only_ever_text(html: str) -> None:
    summary, samples = run()
    evil = [dataclasses.replace(s, id=HOSTILE, speaker=HOSTILE, domain=HOSTILE, language=HOSTILE) for s in samples]
    evil = [dataclasses.replace(s, condition=f"{n} {HOSTILE}", system=HOSTILE) for n, s in enumerate(evil[:40])]
    facts = SystemFacts(HOSTILE, HOSTILE, HOSTILE, 1, {HOSTILE: HOSTILE}, HOSTILE)
    row = dataclasses.replace(summary.systems[0], facts=facts, failure=HOSTILE)
    attacked = dataclasses.replace(
        summary,
        command=HOSTILE,
        created=HOSTILE,
        machine={HOSTILE: HOSTILE},
        settings={HOSTILE: HOSTILE},
        notices=[HOSTILE],
        systems=[row],
        corpus=dataclasses.replace(summary.corpus, reference=HOSTILE, resampling_unit=HOSTILE),
        profiles=[results.ProfileUsed("verbatim", 1, HOSTILE), *summary.profiles[1:]],
        comparisons=[results.Comparison(HOSTILE, HOSTILE, Rate(0, 0, 0), HOSTILE)],
    )
    attack = render_page(attacked, evil, profile("verbatim"))
    page = Page(attack)
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in Page(html).tags}
    assert not [key for _, attributes in page.tags for key in attributes if key.startswith("on")]
    assert page.text.count("<script>alert(1)</script>") > 100 and "<script" not in attack and "<img" not in attack
    prose = re.sub(r"(?ms)^(`{3,})$.*?^\1$", "", markdown(attacked))
    assert HOSTILE in markdown(attacked) and not re.search(r"(?<!\\)[<`$]", prose)


def test_notices_stand_above_everything_else(html: str) -> None:
    summary = run()[0]
    for text, table in ((Page(html).text, "Substitutions"), (markdown(summary).replace("\\", ""), "| Substitutions")):
        for notice in (*summary.notices, "whisper stands in.", "lost gave no results: no <file> found"):
            assert text.index(notice) < text.index(table)


def test_long_texts_are_folded_and_differences_marked(html: str) -> None:
    folded = re.findall(r"<details>(.*?)</details>", html, re.DOTALL)
    assert max(len(re.sub("<.*?>", "", text).split()) for text in folded) >= 10_000
    rest = re.sub(r"<details>.*?</details>", "", html, flags=re.DOTALL)
    texts = re.findall(r"<dd dir=.*?</dd>", rest, re.DOTALL)
    assert texts and all(len(re.sub("<.*?>", "", text).split()) <= 2 * LONG_TEXT_WORDS for text in texts)
    summary, samples = run()
    utterances = side_by_side(summary, samples, str.strip)
    shown = [o.alignment for u in worst_first(utterances, 30) for o in u.outcomes.values() if o.sample.error is None]
    for mark, count in (
        ("substituted", sum(a.substitutions for a in shown)),
        ("deleted", sum(piece.kind == "delete" for a in shown for piece in a.pieces)),
        ("inserted", sum(piece.kind == "insert" for a in shown for piece in a.pieces)),
    ):
        assert html.count(f'class="{mark}" title') == count > 0


def test_the_worst_come_first_and_failures_are_listed(html: str) -> None:
    summary, samples = run()
    errors: dict[str, int] = {}
    for s in samples:
        if s.error is None:
            counted = jiwer.process_words(s.reference, s.hypothesis)
            wrong = counted.substitutions + counted.deletions + counted.insertions
            errors[s.id] = max(errors.get(s.id, 0), wrong)
    ids = re.findall(r"<h3><bdi>(u\d+)</bdi></h3>", html)
    assert ids == sorted(errors, key=lambda id: (-errors[id], id))[:30]
    listed = html[html.index('id="failed"') :]
    assert re.findall(r"<td><bdi>(u\d+)</bdi>", listed) == [s.id for s in samples if s.error is not None]
    assert "differ" not in "".join(re.findall('class="note">(.*?)<', html))
    assert 'class="note"' not in html and 'class="note"' in render_page(summary, samples[:-4], profile("verbatim"))


@pytest.mark.parametrize("texts", [[], [("", "")], [("", "uh")], [("yes", "")], [("yes", "yes")]])
def test_a_page_for_next_to_nothing(texts: list[tuple[str, str]], tmp_path: Path) -> None:
    samples = [sample("only", "u", reference, hypothesis) for reference, hypothesis in texts]
    system = scored("only", [*samples, sample("only", "x", "yes", "yes")])
    empty = dataclasses.replace(system, speed=None, scores={}, failure="out of memory")
    summary = dataclasses.replace(run_of(samples, [system if texts else empty]), comparisons=[])
    write_reports(tmp_path, summary, samples)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert ("only has a WER of" if texts else "only gave no results: out of memory") in page.text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "summary.md"]


def test_the_command_makes_the_same_again_or_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    summary, samples = run()
    monkeypatch.setattr(sys, "argv", ["report", str(tmp_path)])
    for content in (None, "{", '{"schema": 0}', "[]"):
        if content is not None:
            (tmp_path / "summary.json").write_text(content)
            (tmp_path / "samples.jsonl").touch()
        with pytest.raises(SystemExit) as ended:
            run_command(command.main)
        said = capsys.readouterr().err
        assert ended.value.code == 1 and "summary.json" in said and said.count("\n") == 1
    write_reports(tmp_path, summary, samples)
    before = [(tmp_path / name).read_bytes() for name in ("summary.md", "report.html")]
    results.write_summary(tmp_path / "summary.json", summary)
    results.write_samples(tmp_path / "samples.jsonl", samples)
    command.main()
    assert before == [(tmp_path / name).read_bytes() for name in ("summary.md", "report.html")]
    with pytest.raises(InputError, match="'stranger'"):
        write_reports(tmp_path, summary, [*samples, sample("stranger", "u", "a", "a")])


def edits(reference: list[str], hypothesis: list[str]) -> int:
    """Levenshtein distance, by its textbook recurrence."""
    row = list(range(len(hypothesis) + 1))
    for i, said in enumerate(reference, 1):
        previous, row = row, [i]
        for j, heard in enumerate(hypothesis, 1):
            row.append(min(previous[j] + 1, row[-1] + 1, previous[j - 1] + (said != heard)))
    return row[-1]


TEXTS = st.lists(st.sampled_from(["a", "b", "c", "A", "d'", "<b>", "é"]), max_size=9).map(" ".join)


@given(TEXTS, TEXTS)
def test_an_alignment_keeps_both_texts_and_counts_as_jiwer_does(reference: str, hypothesis: str) -> None:
    found = align(f" {reference} ", hypothesis, str.lower)
    said, heard = reference.lower().split(), hypothesis.lower().split()
    assert [word for piece in found.pieces for word in piece.reference] == said
    assert [word for piece in found.pieces for word in piece.hypothesis] == heard
    assert all((piece.reference == piece.hypothesis) == (piece.kind == "equal") for piece in found.pieces)
    counted = jiwer.process_words(reference.lower(), hypothesis.lower())
    counts = (counted.hits, counted.substitutions, counted.deletions, counted.insertions)
    assert (found.hits, found.substitutions, found.deletions, found.insertions) == counts
    assert found.errors == edits(said, heard) and found.words == len(said)
    assert found.wer == (found.errors / len(said) if said else math.inf if heard else 0)


@given(st.integers(0, 40), st.integers(1, 20))
def test_an_error_bin_holds_the_rates_that_its_label_says(errors: int, words: int) -> None:
    labels = {0: errors == 0, 11: errors > words}
    tenth = [10 * errors > (n - 1) * words and 10 * errors <= n * words for n in range(1, 11)]
    assert [n for n, holds in {**labels, **dict(enumerate(tenth, 1))}.items() if holds] == [
        figures.error_bin(errors / words)
    ]


def test_figures_thin_many_points_but_keep_the_slowest() -> None:
    many = [sample("a", str(n), "x" * (n % 300), "x") for n in range(5000)]
    for place in (0, 1, 2, 3000):
        slow = dataclasses.replace(many[place], seconds=StageSeconds(0, 0, 99, 0))
        drawn = figures.latency([("a", [*many, slow])])
        assert "to 99000 ms" in drawn and 400 < drawn.count("<use") <= figures.MAX_POINTS + 40
    assert figures.forest([("a", None), ("b", Rate(math.nan, math.nan, math.nan))], "p") == ""
    assert sum(figures.shares([0.0, 0.2, 3.0, math.inf])) == 1


def test_lengths_and_places_are_in_proportion(html: str) -> None:
    bars = re.findall(r'<div class="bar">(.*?)</div>', html)
    widths = [re.findall(r'class="stage-(\d)" style="width: ([\d.]+)%', bar) for bar in bars]
    total = 0.01 + 0.02 + 0.3 + 0.004  # the stages of both systems in `scored`
    assert len(widths) == 2
    for bar in widths:
        assert [stage for stage, _ in bar] == ["1", "2", "3", "4"]
        drawn = [float(width) * total / 100 for _, width in bar]
        assert drawn == pytest.approx([0.01, 0.02, 0.3, 0.004], abs=1e-5)
    svg = figures.forest([("a", Rate(0.1, 0.05, 0.2)), ("b", None), ("c", Rate(0.15, 0.1, 0.3))], "p")
    places = [float(x) for x in re.findall(r'<use href="#[^"]*" x="([\d.]+)"[^>]*series', svg)]
    ends = [
        float(x) for pair in re.findall(r'd="M ([\d.]+) ([\d.]+)  L ([\d.]+) \2"[^>]*series', svg) for x in pair[::2]
    ]
    low, high = ends[0], ends[3]  # 5 % and 30 %
    for place, rate in zip([*places, *ends], (0.1, 0.15, 0.05, 0.2, 0.1, 0.3), strict=True):
        assert place == pytest.approx(low + (high - low) * (rate - 0.05) / 0.25, abs=0.2)
    times = [quantities.milliseconds(s).replace("\u00a0", " ") for s in (0.00052, 0.00999, 0.0431, 0.09996, 1.21)]
    assert times == ["0.52 ms", "9.99 ms", "43.1 ms", "100 ms", "1,210 ms"]
