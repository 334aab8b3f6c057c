"""Recall and precision of keywords, by hand and in the files and pages of a report."""

import csv
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.report import write_reports
from benchmark.report.quantities import quantities
from benchmark.report.table import markdown
from benchmark.report.words import word_profile_sentence
from benchmark.results import KeywordCount, Run, Sample, StageSeconds, Summary, SystemFacts, SystemRun
from benchmark.scoring import summarise
from benchmark.scoring.keywords import Keywords, read_keywords
from finetune.metrics import resample
from preprocessing.errors import InputError, UserError
from tests.benchmark.parsed_page import page_of

SECONDS = StageSeconds(0.0, 0.0, 0.0, 0.0)
TEXTS = [
    ("call Saoirse in New York", "call Sersha in new york"),
    ("Saoirse and Saoirse", "Saoirse and Saoirse and Saoirse"),
    ("York is not New York", "New York is not York"),
    ("nothing here", "a Kubernetes cluster"),
]


def summary_of(texts: list[tuple[str, str]], keywords: list[str], language: str = "en") -> Summary:
    samples = [
        Sample("mine", f"u{place}", *pair, 1.0, SECONDS, speaker=f"s{place}", language=language)
        for place, pair in enumerate(texts)
    ]
    systems = [SystemRun(SystemFacts("mine", "wav2vec2", "runs/mine", 0))]
    run = Run("2026-01-01", "", {}, "corpus", [], ["basic"], 0, [], {}, systems, keywords=keywords)
    return summarise(run, samples, [], [])


def test_keywords_in_digits_are_recognised_and_so_are_words() -> None:
    """A system writes 7 for seven; strings of digits stay words, which whisper-english would join to one number."""
    texts = [("seven", "7"), ("nine", "nine"), ("one seven nine", "1 7 9"), ("seven", "heaven")]
    summary = summary_of(texts, ["seven", "nine"])
    scores = summary.systems[0].keywords
    assert summary.word_profile == "basic:en" and scores is not None
    assert scores.counts == [KeywordCount("seven", 3, 2, 0), KeywordCount("nine", 2, 2, 0)]
    sentence = "Keywords, confidences and rejection are counted under the text profile basic:en, not basic"
    assert sentence in word_profile_sentence(summary) and sentence in markdown(summary).replace("\\", "")
    in_words = summary_of([("seven", "seven"), ("nine", "wine")], ["seven"])
    assert in_words.word_profile is None and not word_profile_sentence(in_words)
    assert summary_of(texts, ["seven"], language="xx").word_profile is None


def test_recall_and_precision_by_hand(tmp_path: Path) -> None:
    summary = summary_of(TEXTS, ["Saoirse", "York", "new york", "Kubernetes", "Ætna"])
    scores = summary.systems[0].keywords
    assert scores is not None and scores.recall is not None and scores.precision is not None and scores.f1 is not None
    assert scores.counts == [
        KeywordCount("Saoirse", 3, 2, 1),
        KeywordCount("York", 1, 1, 0),
        KeywordCount("new york", 2, 2, 0),
        KeywordCount("Kubernetes", 0, 0, 1),
        KeywordCount("Ætna", 0, 0, 0),
    ]
    assert scores.recall.value == pytest.approx(5 / 6) and scores.precision.value == pytest.approx(5 / 7)
    assert scores.f1 == pytest.approx(2 * (5 / 6) * (5 / 7) / (5 / 6 + 5 / 7))
    assert {"Keyword recall", "Keyword precision", "Keyword F1"} <= {row.label for row in quantities(summary)}

    write_reports(tmp_path, summary, [Sample("mine", f"u{k}", *pair, 1.0, SECONDS) for k, pair in enumerate(TEXTS)])
    with (tmp_path / "keywords.csv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert rows[0] == {"system": "mine", "keyword": "Saoirse", "spoken": "3", "hits": "2", "false_alarms": "1"} | {
        "profile": "basic"
    }
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    (section,) = re.findall(r'<section id="keywords".*?</section>', page, flags=re.DOTALL)
    assert re.findall(r'<th scope="row" dir="auto"><bdi>(.*?)</bdi>', section) == [
        "Saoirse", "Kubernetes", "York", "new york",
    ]  # fmt: skip
    assert "4 keywords; never spoken here: 2." in section
    page = page_of(summary_of(TEXTS, ["Ætna"]), [])
    assert "Spoken here or recognised: none of 1 keyword." in page and 'id="keywords-caption"' not in page
    write_reports(tmp_path, summary_of(TEXTS, []), [Sample("mine", "u0", *TEXTS[0], 1.0, SECONDS)])
    assert not (tmp_path / "keywords.csv").exists()
    assert 'id="keywords"' not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_scripts_without_spaces_are_counted_by_characters() -> None:
    summary = summary_of([("我在北京工作", "我在北京公作"), ("去上海", "去商海")], ["北京", "上海"], language="zh")
    scores = summary.systems[0].keywords
    assert scores is not None
    assert [(one.spoken, one.hits) for one in scores.counts] == [(1, 1), (1, 0)]


def test_what_is_never_spoken_has_no_rate() -> None:
    scores = Keywords(["x"], str).score([("a", "b"), ("", "")], resample([None, None], seed=0))
    assert (scores.recall, scores.precision, scores.f1) == (None, None, None)


WORDS = st.lists(st.sampled_from("abc"), max_size=12).map(" ".join)


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=6))
def test_single_words_count_as_in_the_texts(pairs: list[tuple[str, str]]) -> None:
    """Of single words, occurrences are those of a split; hits are bounded by both sides."""
    scores = Keywords(["a", "b"], str).score(pairs, resample([None] * len(pairs), seed=0))
    for one in scores.counts:
        said = sum(reference.split().count(one.keyword) for reference, _ in pairs)
        heard = sum(hypothesis.split().count(one.keyword) for _, hypothesis in pairs)
        assert (one.spoken, one.hits + one.false_alarms) == (said, heard)
        assert one.hits <= min(said, heard)


def test_many_keywords_in_many_utterances_are_counted_at_once() -> None:
    """Once for each utterance, all that was counted before was copied: for 4,000 of them it took half a minute."""
    names = [f"name{number}" for number in range(4000)]
    resampling = resample([f"s{number % 50}" for number in range(len(names))], seed=0)
    began = time.process_time()
    scores = Keywords(names, str).score([(name, name) for name in names], resampling)
    assert scores.f1 == 1.0 and time.process_time() - began < 3.0


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"\n \n", "holds no keyword"), (b"ok\n\xff\n", r"words.txt:2: not UTF-8"), (None, "no such file")],
)
def test_a_file_that_is_none_is_refused(content: bytes | None, told: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "words.txt").write_bytes(content)
    with pytest.raises(UserError, match=told):
        read_keywords(tmp_path / "words.txt")


def test_a_keyword_that_normalisation_empties_is_refused() -> None:
    with pytest.raises(InputError, match=r"'!!' has no letter or digit"):
        summary_of(TEXTS, ["York", "!!"])
