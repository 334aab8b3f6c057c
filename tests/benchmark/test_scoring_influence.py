"""Loops and single utterances that make a rate: brute force, real loops and honest repetition, sentences as read."""

import dataclasses
import itertools
import json
import random
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.report.fairness import decisive_utterances
from benchmark.report.quantities import quantities
from benchmark.report.table import markdown
from benchmark.report.verdict import caveats, verdict
from benchmark.results import Run, Sample, StageSeconds, Summary, SystemFacts, SystemRun
from benchmark.scoring import summarise
from benchmark.scoring.influence import decisive, differences_without, influences, rates_without
from benchmark.scoring.loops import COMPRESSION_RATIO, LOOP_TIMES, LOOP_WORDS, Loop, compression_ratio, find_loop
from finetune.metrics import difference, resample, standard_error
from tests.benchmark.parsed_page import Page, page_of

SECONDS = StageSeconds(0.0, 0.0, 0.1, 0.0)
WORDS = st.lists(st.sampled_from("abc"), max_size=30)
COUNTS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(0, 20)), min_size=8, max_size=20)


def repeated(words: list[str]) -> dict[tuple[str, ...], int]:
    """Brute force over every start: how often n-grams stand in a row at most, one for all their rotations."""
    found: dict[tuple[str, ...], int] = {}
    for n_words, start in itertools.product(range(1, LOOP_WORDS + 1), range(len(words))):
        gram = tuple(words[start : start + n_words])
        if len(gram) < n_words or any(gram == gram[:part] * (n_words // part) for part in range(1, n_words)):
            continue
        times = 1
        while tuple(words[start + times * n_words : start + (times + 1) * n_words]) == gram:
            times += 1
        key = min(gram[turn:] + gram[:turn] for turn in range(n_words))
        found[key] = max(times, found.get(key, 0))
    return found


@given(WORDS, WORDS)
def test_repeated_words_are_those_of_a_search_at_every_word(reference: list[str], hypothesis: list[str]) -> None:
    honest = repeated(reference)
    expected = any(
        times >= LOOP_TIMES and times >= 2 * (honest.get(gram, 0) if honest.get(gram, 0) > 1 else 0)
        for gram, times in repeated(hypothesis).items()
    )
    assert (find_loop(" ".join(reference), " ".join(hypothesis)) is not None) == expected


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("", "so so so so", ("so", 4)),
        ("", "so so so", None),
        ("x", "a b c d " * 4, ("a b c d", 4)),
        ("x", "a b c d e " * 4, None),
        ("a b a b a b a b", "a b a b a b a b a b", None),
        ("no no no no no", "no " * 9, None),  # an honest repetition, miscounted
        ("no no no no no", "no " * 60, ("no", 60)),
        ("he was a mighty man", "he was " + "si " * 112, ("si", 112)),
        ("謝謝大家", "你好" * 40, ("你好", 40)),  # without spaces, characters repeat
        ("はい", "ご視聴ありがとうございました" * 4, ("ご視聴ありがとうございました", 4)),
        ("你好", "请不吝点赞订阅转发打赏支持明镜" * 6, ("请不吝点赞订阅转发打赏支持明镜", 6)),
        ("ご視聴ありがとうございました" * 4, "ご視聴ありがとうございました" * 5, None),
        ("hello", "ha" * 200, ("", 0)),  # within a word
        ("hello", "a" * 60, ("", 0)),
        ("haha" * 20, "haha" * 25, None),
        ("да", "тогда он сказал что больше туда не поедет " * 5, ("", 0)),  # two bytes a letter
        ("", "", None),
    ],
)
def test_what_repeats_is_named(reference: str, hypothesis: str, expected: tuple[str, int] | None) -> None:
    found = find_loop(reference, hypothesis)
    assert (found and (found.words, found.times)) == expected


def test_the_compression_ratio_is_openai_whispers_and_finds_longer_phrases() -> None:
    from whisper.utils import compression_ratio as published

    phrase = "and then the old man went down to the river to see whether the boat was still there "
    assert compression_ratio(phrase) == pytest.approx(published(phrase))
    found = find_loop(phrase, phrase * 5)
    assert found is not None and (found.words, found.times) == ("", 0)
    assert found.compression_ratio == pytest.approx(published(phrase * 5), abs=0.005) and published(phrase * 5) > 2.4
    assert find_loop(phrase * 5, phrase * 6) is None  # the reference repeats as well
    rest = " ".join(random.Random(0).choices([f"w{index}" for index in range(500)], k=3000))
    assert find_loop(rest, rest + phrase * 8) is not None  # at the end of a long recording


HINDI = (
    "भारत के संविधान के अनुसार सभी नागरिकों को समान अधिकार प्राप्त हैं और उन्हें अपने विचारों को प्रकट करने की "
    "स्वतंत्रता है परन्तु इसके "
    "साथ ही उन्हें अपने कर्तव्यों का भी पालन करना चाहिए ताकि समाज में शान्ति और व्यवस्था बनी रहे और देश की उन्नति हो "
    "सके"
)


def test_honest_text_is_no_loop_in_any_script() -> None:
    """openai-whisper's threshold alone would call honest Hindi a loop: a letter takes three bytes."""
    assert compression_ratio(HINDI) > COMPRESSION_RATIO and find_loop("", HINDI) is None
    assert find_loop("", " ".join(HINDI.split()[:9]) * 6) is not None


def test_no_transcript_of_real_speech_is_a_loop(speech: Path) -> None:
    texts = []
    for name in ("librispeech/train", "librispeech/test-other", "ljspeech/test", "german/train", "long-form/test"):
        lines = (speech / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        texts += [json.loads(line)["text"] for line in lines]
    assert len(texts) > 2000 and [text for text in texts if find_loop(text[: len(text) // 2], text)] == []


@given(COUNTS, st.integers(1, 9))
def test_leaving_one_out_is_scoring_the_others(counts: list[tuple[int, int, int]], n_speakers: int) -> None:
    first, second, lengths = (np.array(column) for column in zip(*counts, strict=True))
    speakers = [str(index % n_speakers) for index in range(len(counts))]
    resampling = resample(speakers, seed=0, draws=1)
    values, errors = differences_without(first - second, lengths, resampling)
    for out in range(len(counts)):
        rest = [row for row in range(len(counts)) if row != out]
        own = dataclasses.replace(
            resampling,
            groups=np.unique(resampling.groups[rest], return_inverse=True)[1],
            weights=resampling.weights[:, : len(set(resampling.groups[rest]))],
        )
        columns = [column[rest].tolist() for column in (first, second, lengths)]
        assert values[out] == pytest.approx(difference(*columns, own).value)
        expected = standard_error(*columns, own)
        assert errors.freedom[out] == pytest.approx(expected.freedom)
        if expected.freedom:
            assert errors.value[out] == pytest.approx(expected.value, abs=1e-7)
        assert rates_without(first, lengths)[out] == pytest.approx(first[rest].sum() / max(lengths[rest].sum(), 1))


def test_many_utterances_are_weighed_at_once() -> None:
    draw = np.random.default_rng(0)
    errors, lengths = draw.integers(0, 5, 200_000), draw.integers(1, 30, 200_000)
    errors[77] = 400_000
    found = influences([f"u{row}" for row in range(len(errors))], errors, lengths, {"u5": Loop("so", 9, 3.0)})
    assert found[0].id == "u77" and found[0].decisive and len(found) == 11
    assert [one.id for one in found if one.looped] == ["u5"] and found[-1].loop_times == 9
    assert decisive(errors, lengths) == [77]


def test_decisive_are_few_and_heavy() -> None:
    words = np.full(60, 10)
    even = np.full(60, 1)
    assert decisive(even, words) == []
    heavy = even.copy()
    heavy[[7, 3]] = 114, 30
    assert decisive(heavy, words) == [7, 3]
    equals = np.zeros(60, dtype=np.int64)
    equals[:4] = 9
    assert decisive(equals, words) == []  # none of four stands out
    assert decisive(np.array([0, 3]), np.array([10, 10])) == []  # of two, one weighs half by nature
    rare = np.zeros(60, dtype=np.int64)
    rare[0] = 1
    assert decisive(rare, words) == []  # all of the rate, but a fifth of a point
    many = np.full(1000, 4)
    many[0] = 100
    assert decisive(many, np.full(1000, 10)) == []  # a whole point, but of 41


@pytest.mark.parametrize(
    ("n_utterances", "others", "most"),
    [
        (100, [1], 5),  # half a point: 0.499 and 0.599
        (200, [1] * 199, 23),  # a tenth of the rate: 0.0994 and 0.1031
        (20, [1] * 19, 7),  # five times an average utterance's share: 4.62 and 5.19
        (60, [9] * 4, 17),  # twice as much as the next: 1.99 and 2.11
    ],
)
def test_what_is_decisive_begins_at_each_threshold_of_the_documentation(
    n_utterances: int, others: list[int], most: int
) -> None:
    """docs/statistics.md. In utterances of ten words, one with `most` errors is just not decisive beside the others."""
    lengths = np.full(n_utterances, 10)
    errors = np.zeros(n_utterances, dtype=np.int64)
    errors[1 : 1 + len(others)] = others
    for heaviest, expected in ((most, []), (most + 1, [0])):
        errors[0] = heaviest
        assert decisive(errors, lengths) == expected


def test_the_few_errors_of_a_command_set_are_ordinary() -> None:
    """One to three wrong commands are all errors there are; a loop among right commands is none of them."""
    for n_wrong in (1, 2, 3):
        errors = np.zeros(60, dtype=np.int64)
        errors[:n_wrong] = 1
        assert decisive(errors, np.ones(60, dtype=np.int64)) == []
    errors[:3] = 30, 0, 0
    assert decisive(errors, np.ones(60, dtype=np.int64)) == [0]
    errors[5] = 1
    assert decisive(errors, np.ones(60, dtype=np.int64)) == [0]


def test_a_loop_is_decisive_beside_ordinary_errors_that_are_all_others() -> None:
    for ordinary in ([7], [7, 7]):
        errors = np.zeros(60, dtype=np.int64)
        errors[: 1 + len(ordinary)] = 40, *ordinary
        assert decisive(errors, np.full(60, 10)) == [0]
    errors[:3] = 2, 1, 0
    assert decisive(errors, np.ones(60, dtype=np.int64)) == []  # two wrong commands, one with a word too many


def test_what_lowers_a_rate_weighs_as_much_as_what_raises_it() -> None:
    errors, lengths = np.full(40, 1), np.full(40, 10)
    errors[5], lengths[5], errors[9] = 0, 100, 4
    found = influences([f"u{row}" for row in range(40)], errors, lengths, {})
    assert [one.id for one in found[:2]] == ["u5", "u9"] and found[0].change < 0 < found[1].change


def samples_of(**hypotheses: Sequence[str]) -> list[Sample]:
    """Sixty utterances of ten words by sixty speakers; each system's hypotheses, the reference where it has fewer."""
    references = [" ".join(f"w{(7 * index + place) % 50}" for place in range(10)) for index in range(60)]
    return [
        Sample(name, f"u{index}", text, [*own, *references[len(own) :]][index], 4.0, SECONDS, f"s{index}")
        for name, own in hypotheses.items()
        for index, text in enumerate(references)
    ]


def benchmark_of(**hypotheses: Sequence[str]) -> Summary:
    """The summary of `samples_of`."""
    systems = [SystemRun(SystemFacts(name, "none", name, 1)) for name in hypotheses]
    run = Run("2026-01-01T00:00:00+00:00", "x", {}, "test", [], ["verbatim"], 0, [], {}, systems)
    return summarise(run, samples_of(**hypotheses), [], [])


def wrong(n_utterances: int) -> list[str]:
    """Utterances with every second word wrong."""
    rows = ([f"{'xw'[place % 2]}{(7 * index + place) % 50}" for place in range(10)] for index in range(n_utterances))
    return list(map(" ".join, rows))


def test_a_loop_that_makes_the_verdict_is_said_with_the_figures_without_it() -> None:
    """As faster-whisper base on test-other: one loop of 112 words is a third of all errors."""
    summary = benchmark_of(looping=["w0 " + "si " * 112], steady=wrong(16))
    looping, steady = summary.systems
    assert looping.loops == ["u0"] and looping.without_loops is not None
    assert looping.without_loops.value == 0.0 and looping.scores["verbatim"].wer.value == pytest.approx(112 / 600)
    assert steady.without_loops is None and steady.without_decisive is None and not steady.loops
    [comparison] = summary.comparisons
    assert comparison.different is False and comparison.different_without is True and comparison.left_out == ["u0"]
    text = " ".join(verdict(summary)).replace("\N{NO-BREAK SPACE}", " ")
    assert "No significant difference between looping and steady: " in text
    of_all = "1 utterance accounts for 18.7 of the 18.7 points of WER of looping"
    assert f"{of_all} (u0, repetition loop: “si” 112 times)" in text
    assert "Without u0, looping is significantly better than steady: " in text
    said = " ".join(caveats(summary))
    largest = summary.largest_detectable
    assert largest is not None and largest.without is not None
    assert largest.without < 0.3 * largest.value
    assert f"{100 * largest.value:.1f} points" in said and "u0" in said
    assert f"{100 * largest.without:.1f} points" in said


def test_of_many_comparisons_that_one_utterance_makes_three_are_said() -> None:
    summary = benchmark_of(looping=["w0 " + "si " * 112], steady=wrong(16))
    [changed] = summary.comparisons
    stays = dataclasses.replace(changed, different=True)
    for n_changed, n_staying, said in ((0, 9, 3), (1, 9, 3), (5, 9, 3), (1, 1, 2)):
        comparisons = [changed] * n_changed + [stays] * n_staying
        sentences = decisive_utterances(dataclasses.replace(summary, comparisons=comparisons))
        assert sum(sentence.startswith("Without u0") for sentence in sentences) == said


def test_without_is_said_first_of_comparisons_that_the_verdict_states() -> None:
    """A comparison of two rivals of the best system is of interest only where its verdict changes."""
    summary = benchmark_of(best=[], looping=["w0 " + "si " * 112], steady=wrong(16), worse=wrong(30))
    pairs = {(one.first, one.second): one for one in summary.comparisons}

    def said(*, changes: bool) -> list[str]:
        for pair in (("best", "looping"), ("looping", "steady"), ("looping", "worse")):
            pairs[pair] = dataclasses.replace(pairs.pop(pair), different=not changes, different_without=True)
        comparisons = list(reversed(pairs.values()))
        sentences = decisive_utterances(dataclasses.replace(summary, comparisons=comparisons))
        return [one for one in sentences if one.startswith("Without u0")]

    (moved,) = said(changes=False)
    assert moved.startswith("Without u0, best minus looping is ")
    first, *others = said(changes=True)
    assert "best" in first and len(others) == 2 and not any("best" in one for one in others)


def test_without_is_not_said_where_nothing_changes() -> None:
    summary = benchmark_of(looping=["w0 " + "si " * 112], steady=wrong(16))
    same = dataclasses.replace(summary.comparisons[0], different=True, without=summary.comparisons[0].difference)
    said = decisive_utterances(dataclasses.replace(summary, comparisons=[same]))
    assert said and not any("the verdict is the same" in one for one in said)


def test_of_many_systems_with_decisive_utterances_three_are_named() -> None:
    summary = benchmark_of(looping=["w0 " + "si " * 112])
    five = dataclasses.replace(summary, systems=summary.systems * 5)
    said = decisive_utterances(five)
    assert len(said) == 4 and said[-1] == "A few utterances account for much of the WER of 2 further systems."


def test_the_page_and_the_table_hold_the_rates_with_and_without_the_loop() -> None:
    hypotheses = {"looping": ["w0 " + "si " * 112], "steady": wrong(16)}
    summary, samples = benchmark_of(**hypotheses), samples_of(**hypotheses)
    row = next(one for one in quantities(summary) if one.label == "WER without loops")
    assert [row.read(system).value for system in summary.systems] == [
        0.0,
        summary.systems[1].scores["verbatim"].wer.value,
    ]
    assert "| WER without loops | 0.00" in markdown(summary)
    page = page_of(summary, samples)
    text = " ".join(Page(page).text.split())
    assert "Most influential utterances" in text and "repetition loop: “si” 112 times, compression ratio" in text
    assert "112 / 10" in text and "1 utterance left out" in text
    restored = msgspec.json.decode(msgspec.json.encode(summary), type=Summary)
    assert restored.systems[0].influences[0].loop == "si" and restored == summary
    assert "WER without loops" not in markdown(benchmark_of(steady=wrong(16)))


def test_a_difference_that_hangs_on_one_utterance_is_said() -> None:
    """Neither rate is made by the utterance, but without it nothing is significant."""
    summary = benchmark_of(a=wrong(7), b=[])
    [comparison] = summary.comparisons
    assert comparison.different is True and not comparison.left_out
    summary = benchmark_of(a=wrong(4), b=[])
    [comparison] = summary.comparisons
    assert comparison.different is True and len(comparison.left_out) == 1 and comparison.different_without is False
    assert "The verdict on a and b depends on 1 utterance: without u" in " ".join(verdict(summary))
    assert ", no significant difference between a and b: the WER" in " ".join(verdict(summary))
    turned = benchmark_of(b=[], a=wrong(4)).comparisons[0]
    assert turned.left_out == comparison.left_out and turned.different is True and turned.different_without is False


def test_two_utterances_settle_nothing() -> None:
    samples = [
        Sample(name, f"u{index}", "one two", text, 2.0, SECONDS, "s")
        for name, text in (("a", "x y"), ("b", "x y"), ("c", "one two"))
        for index in range(2)
    ]
    systems = [SystemRun(SystemFacts(name, "none", name, 1)) for name in "abc"]
    run = Run("2026-01-01T00:00:00+00:00", "x", {}, "test", [], ["verbatim"], 0, [], {}, systems)
    for chosen in (systems, systems[:2], systems[:1]):
        names = {one.facts.name for one in chosen}
        summary = summarise(dataclasses.replace(run, systems=chosen), [s for s in samples if s.system in names], [], [])
        assert summary.largest_detectable is None
        assert all(one.different is None and one.adjusted_p is None for one in summary.comparisons)
        said = " ".join([*verdict(summary), *caveats(summary)])
        assert "0.0 points" not in said and "significantly better" not in said
        assert said.count("2 utterances are too few for a significance test, which needs 10 or more") == 1


def test_systems_that_err_alike_show_no_detectable_difference() -> None:
    summary = benchmark_of(a=wrong(60), b=wrong(60))
    assert summary.largest_detectable is None
    said = " ".join(caveats(summary))
    assert "0.0 points" not in said and "cannot be estimated" in said
