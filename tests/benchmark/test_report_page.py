"""The page as markup: nothing is loaded, hostile text is text, sections stand where they have content."""

import base64
import dataclasses
import hashlib
import re
from pathlib import Path

import jiwer
import pytest

from benchmark import results
from benchmark.report import write_reports
from benchmark.report.page import LONG_TEXT_WORDS
from benchmark.report.table import markdown
from benchmark.report.utterances import compare_utterances, worst_utterances
from benchmark.results import Confusion, SystemFacts
from finetune.metrics import Rate
from preprocessing.errors import printable
from tests.benchmark.parsed_page import Page, page_of
from tests.benchmark.reported import HOSTILE, full_run, run, run_of, sample, scored, wide_run


def test_the_page_loads_nothing_and_is_well_formed(html: str) -> None:
    page = Page(html)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [value for _, found in page.tags for key, value in found.items() if key in ("src", "href", "xlink:href")]
    assert targets and all(target == "data:," or (target or "")[1:] in ids for target in targets)
    script = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    assert len(script) == 1 and not re.search("fetch|XMLHttp|innerHTML|insertAdjacent|document.write|eval", script[0])
    policy = next(found["content"] for tag, found in page.tags if found.get("http-equiv")) or ""
    digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    assert policy.startswith("default-src 'none'") and f"script-src 'sha256-{digest}'" in policy
    assert set(re.findall(r"url\(([^)]*)\)", html)) <= {f"#{id}" for id in ids} and "@import" not in html
    for tag, attributes in page.tags:
        assert tag != "svg" or attributes.get("aria-label") or attributes.get("aria-hidden") == "true"
        assert tag != "th" or attributes.get("scope")
        assert attributes.get("role") != "region" or attributes["tabindex"] == "0"
    assert sum(tag == "table" for tag, _ in page.tags) == sum(tag == "caption" for tag, _ in page.tags)


def test_hostile_text_is_only_ever_text(html: str) -> None:
    summary, samples = run()
    evil = [dataclasses.replace(s, id=HOSTILE, speaker=HOSTILE, domain=HOSTILE, language=HOSTILE) for s in samples]
    evil = [
        dataclasses.replace(s, condition=f"{n} {HOSTILE}" if n else "clean", system=HOSTILE)
        for n, s in enumerate(evil[:40])
    ]
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
    attack = page_of(attacked, evil)
    page = Page(attack)
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in Page(html).tags} | {"wbr"}  # after "=" and the like
    assert not [key for _, attributes in page.tags for key in attributes if key.startswith("on")]
    assert page.text.count("<script>alert(1)</script>") > 100 and attack.count("<script") == 2 and "<img" not in attack
    prose = re.sub(r"(?ms)^(`{3,})$.*?^\1$", "", markdown(attacked))
    assert printable(HOSTILE) in markdown(attacked) and not re.search(r"(?<!\\)[<`$]", prose)


def test_notices_stand_above_everything_else(html: str) -> None:
    summary = run()[0]
    for text, table in ((Page(html).text, "Substitutions"), (markdown(summary).replace("\\", ""), "| Substitutions")):
        for notice in (*summary.notices, "whisper stands in.", "lost gave no results: no <file> found"):
            assert text.index(notice) < text.index(table)


def test_long_texts_are_folded_and_differences_marked(html: str) -> None:
    html = html[: html.index('<script type="application/json"')]
    folded = re.findall(r"<details>(.*?)</details>", html, re.DOTALL)
    assert max(len(re.sub("<.*?>", "", text).split()) for text in folded) >= 10_000
    rest = re.sub(r"<details>.*?</details>", "", html, flags=re.DOTALL)
    texts = re.findall(r"<dd dir=.*?</dd>", rest, re.DOTALL)
    assert texts and all(len(re.sub("<.*?>", "", text).split()) <= 2 * LONG_TEXT_WORDS for text in texts)
    summary, samples = run()
    utterances = compare_utterances(summary, samples, str.strip)
    shown = [
        o.alignment for u in worst_utterances(utterances, 30) for o in u.by_system.values() if o.sample.error is None
    ]
    for mark, count in (
        ("substituted", sum(a.counts.substitutions for a in shown)),
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
    assert 'class="note"' not in html and 'class="note"' in page_of(summary, samples[:-4])


@pytest.mark.parametrize("texts", [[], [("", "")], [("", "uh")], [("yes", "")], [("yes", "yes")]])
def test_a_page_for_next_to_nothing(texts: list[tuple[str, str]], tmp_path: Path) -> None:
    samples = [sample("only", "u", reference, hypothesis) for reference, hypothesis in texts]
    system = scored("only", [*samples, sample("only", "x", "yes", "yes")])
    empty = dataclasses.replace(system, speed=None, scores={}, failure="out of memory")
    summary = dataclasses.replace(run_of(samples, [system if texts else empty]), comparisons=[])
    write_reports(tmp_path, summary, samples)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert ("only has a WER of" if texts else "only gave no results: out of memory") in page.text
    written = ["figures", "report.html", "summary.md", "systems.csv", "utterances.csv"]
    assert sorted(path.name for path in tmp_path.iterdir()) == written


def test_each_section_stands_where_it_has_content() -> None:
    summary, samples, timings = full_run(24)
    page = page_of(summary, samples, timings, n_audio=0)
    optional = ("tradeoff", "changes", "robustness", "slices", "hallucinations", "confusions", "loops")
    assert all(f' id="{name}"' in page for name in optional)
    text = " ".join(Page(page).text.split())
    assert "0.9 points of WER" in text and "corrected for the 3 comparisons made here (Holm)" in text
    assert all(change.sentence in text for change in summary.changes)
    assert "its p-value is below 0.05 after the correction for all rates that are tested here (Holm)" in text
    assert "conditions-caption" in page and "white noise at 10 dB" in text and "better" in text
    bare = page_of(*run(), n_audio=0)
    assert not any(f' id="{name}"' in bare for name in optional if name != "tradeoff")
    assert "latency-660" in page and "latency-660" not in bare
    transcripts = dataclasses.replace(
        summary, systems=[dataclasses.replace(one, speed=None) for one in summary.systems]
    )
    untimed = page_of(transcripts, samples, n_audio=0)
    for name, other in (("latency", page), ("stages", page), ("failed", bare)):
        assert f' id="{name}"' in other and f'href="#{name}"' in other
        assert f' id="{name}"' not in untimed and f'href="#{name}"' not in untimed


def test_where_the_metric_is_the_cer_the_page_counts_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.report.page.LONG_TEXT_WORDS", 100)
    summary, samples, timings = full_run(12)
    segmented = [dataclasses.replace(one, segments=one.scores["verbatim"]) for one in summary.systems]
    for metric, unit, other in (("wer", "words", "characters"), ("cer", "characters", "words")):
        html = page_of(dataclasses.replace(summary, metric=metric, systems=segmented), samples, timings)
        text = Page(html).text
        assert f"Most confused {unit}" in text and f"Most confused {other}" not in text
        assert f"Insertions{unit.capitalize()}" in text and f"values with most {unit}" in text
        assert f'"metric":"{metric.upper()}","unit":"{unit[:-1]}"' in html
        references = re.findall(r"<dt>Reference</dt>.*?</dd>", html, re.DOTALL)
        assert any(f"{unit}</summary>" in text for text in references) == (metric == "cer")
        assert set(re.findall(r"<summary>[\d,]+ (words|characters)</summary>", html)) <= {unit}


def test_on_paper_the_table_is_repeated_in_groups_that_fit() -> None:
    """Every system once on the screen and once on paper, with every row; the terms come after the figures."""
    summary, samples = wide_run(9)
    page = page_of(summary, samples, n_audio=0)
    whole, *printed = re.findall(r'<table class="results">.*?</table>', page, re.DOTALL)
    shown = [re.findall(r'<bdi class="whole">(.*?)</bdi>', table.partition("</thead>")[0]) for table in printed]
    assert [len(names) for names in shown] == [5, 4]
    assert [name for names in shown for name in names] == [one.facts.name for one in summary.systems]
    assert all(table.count("<tr") == whole.count("<tr") for table in printed)
    places = [page.index(f'id="{name}"') for name in ("table", "intervals", "utterances", "terms", "settings")]
    assert places == sorted(places) and page.index('id="term-WER"') > places[-2]
    few = page_of(*wide_run(5), n_audio=0)
    assert few.count('<table class="results">') == 1 and "on-screen" not in few.partition("<main>")[2]


def test_recordings_without_speech_are_counted_beside_the_words_a_minute() -> None:
    summary, samples, timings = full_run(24)
    text = " ".join(Page(page_of(summary, samples, timings, n_audio=0)).text.split())
    assert "0 of 10 0.00 %, 0.00–50.00 0.0 a minute" in text and "1 of 10 10.00 %, 0.00–50.00 3.1 a minute" in text


def test_further_sentences_are_folded_and_a_part_is_called_one() -> None:
    summary, samples, _ = full_run(24, n_systems=5)
    corpus = dataclasses.replace(summary.corpus, whole=60)
    page = page_of(dataclasses.replace(summary, corpus=corpus, changes=[]), samples, n_audio=0)
    text = " ".join(Page(page).text.split())
    assert "on librispeech test-clean (24 of 60 utterances)" in text
    folded = re.search(r'<details class="caveat">.*?</details>', page, flags=re.DOTALL)
    assert folded is None  # five sentences of the verdict, and few caveats
    page = page_of(summary, samples, n_audio=0)  # and a change
    folded = re.search(r'<details class="caveat">.*?</details>', page, flags=re.DOTALL)
    assert folded is not None and "1 further sentence on these comparisons" in folded[0]


def test_a_confusion_of_nothing_is_a_dash_and_bars_are_in_proportion() -> None:
    summary, samples, timings = full_run(24)
    told = [Confusion("<b>", "", 8), Confusion("", "uh", 2)]
    summary = dataclasses.replace(summary, systems=[dataclasses.replace(summary.systems[0], confusions=told)])
    samples = [s for s in samples if s.system == summary.systems[0].facts.name]
    page = page_of(dataclasses.replace(summary, comparisons=[]), samples, timings, n_audio=0)
    table = re.findall(r'<table class="confusions">.*?</table>', page, re.DOTALL)
    assert len(table) == 1 and table[0].count(">–</span>") == 2 and "&lt;b&gt;" in table[0]
    assert re.findall(r"width: ([\d.]+)%", table[0]) == ["40.0", "10.0"]
