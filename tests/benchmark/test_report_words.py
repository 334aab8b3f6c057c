"""Words in the report: rows of the table, sentences on what there is not, the reliability diagram, and shaded text."""

import dataclasses
import html
import json
import re

import pytest

from benchmark.report.figures import words as figures
from benchmark.report.quantities import MISSING, quantities
from benchmark.report.table import markdown
from benchmark.report.words import LEVELS, level, level_names, word_sentences
from benchmark.results import Sample, Summary, SystemSummary, WordScores
from finetune.systems.transcript import Word
from tests.benchmark.parsed_page import Page, page_of
from tests.benchmark.reported import HOSTILE, full_run, run_of, sample, scored, with_words

Reported = tuple[Summary, list[Sample]]


@pytest.fixture(scope="module")
def reported() -> Reported:
    summary, samples, _ = full_run(30, n_noisy=4)
    return with_words(summary, samples)


@pytest.fixture(scope="module")
def page(reported: Reported) -> str:
    return page_of(*reported, n_audio=0)


def test_the_table_has_the_figures_of_the_summary(reported: Reported, page: str) -> None:
    summary, _ = reported
    table = Page(page).table()
    first, _, without = (one.words for one in summary.systems)
    assert first is not None and first.ece and first.auroc and first.times and without is not None
    expected = {
        "ECE of confidence": first.ece.value,
        "AUROC of wrong words": first.auroc.value,
        "NCE of confidence": first.nce,
        "Start of a word, median": first.times.start_median.value,
        "Start, 95th percentile": first.times.start_p95,
        "End of a word, median": first.times.end_median.value,
        "End, 95th percentile": first.times.end_p95,
        "Within 50 ms": first.times.within_50_ms.value,
        "Within 200 ms": first.times.within_200_ms.value,
    }
    for label, value in expected.items():
        assert table[label][0][1] == value
        assert table[label][2] == (MISSING, None), "the system without word times"
    text = markdown(summary)
    ends = f"{first.auroc.low:.3f}–{first.auroc.high:.3f}"
    assert f"| AUROC of wrong words | {first.auroc.value:.3f} [{ends}] |" in text and "- ECE: " in text


def test_a_system_without_words_is_named(reported: Reported, page: str) -> None:
    name = reported[0].systems[2].facts.name
    assert word_sentences(reported[0]) == [f"{name} returns no word times."]
    assert (
        f"{name} returns no word times." in markdown(reported[0])
        and f"{name} returns no word times." in Page(page).text
    )


def test_a_system_that_failed_as_a_whole_does_not_stop_the_page(reported: Reported) -> None:
    summary, samples = reported
    lost = dataclasses.replace(summary.systems[1], words=None, scores={}, speed=None, failure="out of memory")
    summary = dataclasses.replace(summary, systems=[summary.systems[0], lost, summary.systems[2]])
    assert "Reliability diagram" in page_of(summary, samples, n_audio=0)


def test_without_the_second_pass_nothing_is_shown() -> None:
    one = sample("a", "u", "one two", "one too")
    summary = dataclasses.replace(run_of([one], [scored("a", [one])]), comparisons=[])
    text = page_of(summary, [one])
    assert 'id="words"' not in text and 'class="sure' not in text and "Confidence of a word" not in text
    assert not word_sentences(summary) and "ECE" not in markdown(summary)


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        (WordScores(reason="failed: OSError: x", failed=3), ["a failed: OSError: x."]),
        (WordScores(words=5, wrong=0, failed=1), [
            "a: the second pass, which computes word times, failed in 1 utterance.",
            "a: no word is wrong, so AUROC and NCE are undefined.",
        ]),
        (WordScores(words=5, wrong=5), [
            "a: no word is correct, so AUROC and NCE are undefined.",
        ]),
        (WordScores(), ["a returns no word confidences."]),
        (WordScores(words=9, wrong=2, rewritten=2), [
            "a: in 2 utterances the words of the second pass, which computes word times, differ from those of the "
            "first; confidence and times are those of the second."
        ]),
    ],
)  # fmt: skip
def test_what_is_undefined_is_said(scores: WordScores, said: list[str]) -> None:
    samples = [sample("a", "u", "one", "one")]
    system: SystemSummary = dataclasses.replace(scored("a", samples), words=scores)
    summary = dataclasses.replace(run_of(samples, [system]), comparisons=[])
    without_times = [] if scores.reason else [
        "Word times are not evaluated: the corpus has no reference times (a column “words” in its manifest)."
    ]  # fmt: skip
    assert word_sentences(summary) == said + without_times
    assert not [row for row in quantities(summary) if row.group.startswith("Words:")]
    assert not re.search(r"\bnan\b", markdown(summary), re.I)


def test_the_diagram_holds_every_bin(reported: Reported, page: str) -> None:
    own = reported[0].systems[0].words
    assert own is not None
    drawing = figures.reliability(0, "a", own)
    assert drawing is not None
    for one in own.reliability:
        assert (
            f"confidence {100 * one.confidence:.0f} % correct {100 * one.accuracy:.0f} % of {one.count:,}"
            in drawing.label
        )
    assert page.count("Reliability of") == 2 * 2, "two systems, each with a label and a title"
    assert figures.reliability(0, "a", WordScores()) is None


def test_levels_are_those_of_the_legend() -> None:
    assert [level(percent) for percent in (0, *LEVELS, 100)] == [0, 1, 2, 3, 4, 4]
    assert [name.replace("\u00a0", " ") for name in level_names()] == [
        "below 50 %", "50 to 69 %", "70 to 84 %", "85 to 94 %", "95 % or more",
    ]  # fmt: skip


def test_the_browser_has_two_numbers_for_each_word(reported: Reported, page: str) -> None:
    data = json.loads(re.search('id="browser-data">(.*?)</script>', page)[1])  # type: ignore[index]
    clean = {one.id: one for one in reported[1] if one.system == reported[0].systems[0].facts.name and one.words}
    assert data["levels"] == list(LEVELS)
    seen = 0
    for row in data["rows"]:
        first, _, last = row[-1]
        assert len(last) == 8
        if data["conditions"][row[1]] == "clean" and row[0] in clean:
            words = clean[row[0]].words or ()
            assert first[8][::2] == [round(word.start, 2) for word in words]
            assert first[8][1::2] == [min(round(100 * (word.probability or 0)), 99) for word in words]
            seen += 1
    assert seen == len(clean) == 30


def test_hostile_words_are_text() -> None:
    """In the page without JavaScript, too: escaped, each with its own confidence."""
    spoken = [f"w{n} {word}" for n, word in enumerate(HOSTILE.split())]
    words = tuple(Word(f" {word}", 1.0 * n, n + 1.0, 0.25) for n, word in enumerate(" ".join(spoken).split()))
    one = sample("a", "u", "other", " ".join(spoken), words=words)
    summary = dataclasses.replace(run_of([one], [scored("a", [one])]), comparisons=[])
    text = page_of(summary, [one])
    assert "<img" not in text and "<script>alert" not in text
    parsed = Page(text)
    shaded = [attributes for _, attributes in parsed.tags if (attributes.get("class") or "").startswith("sure sure-0")]
    assert len(shaded) > len(words)  # and the legend's
    assert html.escape("<script>alert(1)</script><img").replace("&#x27;", "&#39;") in text
