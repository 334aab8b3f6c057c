"""The tables of page, summary.md and terminal say what the results say: each is parsed back."""

import dataclasses
import io
import itertools
import re

import pytest
from rich.console import Console

from benchmark.report import quantities
from benchmark.report.table import markdown, print_table
from benchmark.results import CallCost, Spread, SystemSummary, WeightsFile
from finetune.metrics import Rate
from tests.benchmark.parsed_page import Page, page_of
from tests.benchmark.reported import full_run, run

NAMES = ("faster-whisper tiny.en", "wav2vec2 demo-finetuned", "whisper base")


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


def test_every_row_has_a_definition() -> None:
    summary = full_run(12)[0]
    memory = {"memory_before_loading_bytes": 6 * 10**8, "peak_device_memory_bytes": 10**9}
    summary = dataclasses.replace(summary, systems=[dataclasses.replace(one, **memory) for one in summary.systems])
    rows = {row.label: row.term for row in quantities.quantities(summary)}
    assert {"Memory before loading", "Peak device memory"} <= set(rows)
    assert set(rows.values()) <= set(quantities.TERMS)


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


def test_each_speed_has_its_own_range() -> None:
    summary = run()[0]
    speed = summary.systems[0].speed
    assert speed
    names = ("p50", "p95", "p99", "rtfx", "throughput")
    ranges = {name: Spread(0.2 + place, 0.1 + place, 0.3 + place) for place, name in enumerate(names)}
    fields = {name if name == "throughput" else f"{name}_spread": one for name, one in ranges.items()}
    system = dataclasses.replace(summary.systems[0], speed=dataclasses.replace(speed, **fields))
    summary = dataclasses.replace(summary, systems=[system])
    read = {row.label.split(",")[0]: row.read(system).interval for row in quantities.quantities(summary)}
    assert (read["RTFx"], read["Throughput"]) == ("3.1–3.3×", "4.1–4.3×")
    for place, name in enumerate(names[:3]):
        low, high = (quantities.milliseconds(place + end) for end in (0.1, 0.3))
        assert read[f"{name} latency"] == f"{low.removesuffix(' ms'.replace(' ', quantities.SPACE))}–{high}"


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


def test_signatures_stand_beside_the_scores_in_one_piece() -> None:
    plain = run()[0]
    signature = "wer|profile:verbatim.v1|level:word|ci:speaker-bootstrap-2000|seed:0|version:0.3.0"
    profiles = [dataclasses.replace(plain.profiles[0], signature=signature), *plain.profiles[1:]]
    summary = dataclasses.replace(plain, profiles=profiles)
    console = Console(width=50, record=True, file=io.StringIO())
    print_table(summary, console)
    assert console.export_text().count(signature) == 1  # to copy from a narrow terminal as well
    assert markdown(summary).count(f"`{signature}`") == 1
    page = Page(page_of(summary, run()[1]))
    assert page.text.count(signature) == 2  # under the table, and in the settings
    assert "Signature" not in Page(page_of(plain, run()[1])).text


def test_optional_rows_stand_where_they_have_content() -> None:
    plain, full = run()[0], full_run(12)[0]
    labels = [{row.label for row in quantities.quantities(summary)} for summary in (plain, full)]
    assert labels[1] - labels[0] == {"MER, verbatim", "WIL, verbatim", "Throughput", "Batch size"}
    rows = {row.label: row for row in quantities.quantities(full)}
    system = full.systems[0]
    first, second = (system.scores[name].wer.value for name in ("verbatim", "other"))
    assert rows["WER, other − verbatim"].read(system).value == second - first
    assert system.speed is not None
    speed = dataclasses.replace(system.speed, p50=0.25, p50_spread=Spread(0.25, 0.2, 0.3), joules_per_audio_second=1.5)
    timed = dataclasses.replace(full, systems=[dataclasses.replace(system, speed=speed)])
    rows = {row.label: row for row in quantities.quantities(timed)}
    assert rows["p50 latency"].read(timed.systems[0]).interval == "200–300\u00a0ms"
    assert rows["Energy per audio second"].read(timed.systems[0]).text == "1.5\u00a0J"
    assert rows["WER, verbatim"].read(dataclasses.replace(system, scores={})).value is None


def test_what_a_call_costs_stands_in_table_terminal_and_page() -> None:
    plain, samples, timings = full_run(12)
    cost = CallCost(Rate(2.0, 1.9, 2.1), Rate(0.05, 0.04, 0.06), 20, 1.0, 20.0)
    named = [dataclasses.replace(one.facts, name=name) for one, name in zip(plain.systems, NAMES, strict=True)]
    systems = [
        dataclasses.replace(one, facts=facts, speed=dataclasses.replace(one.speed, call_cost=cost))
        for one, facts in zip(plain.systems, named, strict=True)
        if one.speed is not None
    ]
    renamed = dict(zip((one.facts.name for one in plain.systems), NAMES, strict=True))
    samples = [dataclasses.replace(one, system=renamed[one.system]) for one in samples]
    timings = [dataclasses.replace(one, system=renamed[one.system]) for one in timings]
    summary = dataclasses.replace(plain, systems=systems, comparisons=[])
    rows = {row.label: row.read(systems[0]) for row in quantities.quantities(summary)}
    assert rows["Per-call overhead"].text == "2,000\u00a0ms"
    assert rows["Time per audio second"].interval == "40.0–60.0\u00a0ms"
    console = Console(width=160, record=True, file=io.StringIO())
    print_table(summary, console)
    sentence = f"{NAMES[0]} has a per-call overhead of 2 s, plus 0.05 s per second of audio"
    text = " ".join(console.export_text().split())
    assert sentence in text and sentence in markdown(summary)
    html = page_of(summary, samples, timings)
    assert sentence in Page(html).text
    for name in NAMES:
        assert f'<bdi class="whole">{name}</bdi>' in html


@pytest.mark.parametrize("width", [60, 100, 200])
def test_short_names_are_wrapped_nowhere_on_the_terminal(width: int) -> None:
    plain = full_run(12)[0]
    systems = [
        dataclasses.replace(one, facts=dataclasses.replace(one.facts, name=name))
        for one, name in zip(plain.systems, NAMES, strict=True)
    ]
    console = Console(width=width, record=True, file=io.StringIO())
    print_table(dataclasses.replace(plain, systems=systems, comparisons=[]), console)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= width
    for name in NAMES:
        assert any(name in line for line in text.splitlines() if "WER of" not in line)


def test_weights_and_signature_of_a_system_stand_in_its_settings() -> None:
    plain, samples = run()
    weights = [WeightsFile("base.pt", 145_247_780, 8 * "7e062fbc")]
    facts = dataclasses.replace(
        plain.systems[0].facts, weights=weights, signature="whisper|weights:7e062fbc|beam_size:1"
    )
    systems = [dataclasses.replace(plain.systems[0], facts=facts), *plain.systems[1:]]
    summary = dataclasses.replace(plain, systems=systems)
    for text in (Page(page_of(summary, samples)).text, markdown(summary).replace("\\", "")):
        shown = text.replace("\u00a0", " ")
        assert f"base.pt, 145 MB, SHA-256 {8 * '7e062fbc'}" in shown
        assert facts.signature in shown


def test_times_have_three_digits() -> None:
    times = [quantities.milliseconds(s).replace("\u00a0", " ") for s in (0.00052, 0.00999, 0.0431, 0.09996, 1.21)]
    assert times == ["0.52 ms", "9.99 ms", "43.1 ms", "100 ms", "1,210 ms"]
    assert [quantities.extent(h) for h in (5.4, 0.4, 0.0023)] == ["5.40 hours", "24.0 minutes", "8.3 seconds"]
    assert quantities.points(-0.0042) == "−0.42" and quantities.interval(Rate(0.1, 0.05, 0.2)) == "5.00–20.00"


def test_rtfx_below_one_has_three_digits_and_the_commit_stands_in_the_settings() -> None:
    summary, samples, timings = full_run(12)
    speed = summary.systems[0].speed
    assert speed is not None
    slow = dataclasses.replace(speed, rtfx=0.195, rtfx_spread=Spread(0.195, 0.1914, 0.2012))
    systems = [dataclasses.replace(summary.systems[0], speed=slow), *summary.systems[1:]]
    summary = dataclasses.replace(summary, systems=systems, code="1a2b3c4d5e6f, modified")
    assert "| 0.195× [0.191–0.201×] |" in markdown(summary) and "git commit: 1a2b3c4d5e6f, modified" in markdown(
        summary
    )
    page = Page(page_of(summary, samples, timings, n_audio=0))
    assert page.table()["RTFx"][0] == ("0.195×0.191–0.201×", 0.195) and "1a2b3c4d5e6f, modified" in page.text
