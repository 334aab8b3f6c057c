"""Changes beside an earlier result: chance is no change, a real one is, and paired samples see more than intervals."""

import dataclasses

import pytest
from scipy import stats

from benchmark.results import (
    Change,
    ConditionUsed,
    CorpusFacts,
    ProfileUsed,
    Sample,
    Scores,
    Speed,
    Spread,
    StageSeconds,
    Summary,
    SystemFacts,
    SystemSummary,
)
from benchmark.scoring import PairedChange, changes, incomparable, paired_changes, untested_rates
from benchmark.scoring.regression import _independent_change
from finetune.metrics import Rate
from preprocessing.corpus import Segment

STAGES = StageSeconds(0.0, 0.0, 0.1, 0.0)


def speed(p50: tuple[float, float, float], throughput: tuple[float, float, float]) -> Speed:
    """From least, median, greatest of the rounds."""
    low, median, high = p50
    slow, usual, fast = throughput
    latency = Spread(median, low, high)
    return Speed(
        *(1.0, 1.0, median, median, median, 10.0, STAGES),
        p50_spread=latency,
        p95_spread=latency,
        throughput=Spread(usual, slow, fast),
        batch_seconds=40.0,
    )


def result(wer: Rate, noisy: Rate | None = None, *, words: int = 1000, memory: int = 10**9, **rest: Speed) -> Summary:
    def scores(rate: Rate) -> dict[str, Scores]:
        return {"basic": Scores(rate, rate, words, words, 0, 0, 0)}

    system = SystemSummary(
        SystemFacts("a", "none", "a", 1),
        scores(wer),
        rest.get("speed"),
        *(memory, None, 0),
        conditions={"babble": scores(noisy)} if noisy else {},
    )
    return Summary(
        "", "", {}, CorpusFacts("c", 10, 1.0, 0, "utterance"), [ProfileUsed("basic", 1, "")], [system], [], [], {}
    )


def by_figure(before: Summary, now: Summary, **rest: dict[tuple[str, str], PairedChange]) -> dict[str, Change]:
    return {one.figure: one for one in changes(before, now, **rest)}


def test_error_rates_change_where_the_interval_of_the_difference_has_no_zero() -> None:
    before = result(Rate(0.10, 0.08, 0.12), Rate(0.30, 0.25, 0.35))
    found = by_figure(before, result(Rate(0.12, 0.10, 0.14), Rate(0.20, 0.16, 0.24)))
    clean, noisy = found["WER, clean"], found["WER, babble"]
    assert (clean.kind, clean.significant, clean.before, clean.now) == ("same", False, 0.10, 0.12)
    assert (noisy.kind, noisy.significant) == ("better", True)
    # Equal half-widths: square root of the sum of squares, 5 and 4 points around -10.
    assert "-16.4 to -3.6 points: better." in noisy.sentence
    worse = by_figure(before, result(Rate(0.15, 0.13, 0.17)))["WER, clean"]
    assert (worse.kind, worse.significant) == ("worse", True)
    # Zou & Donner's equation: below, what now may be lower with what before may be higher: 3 and 4 points; 12 and 5.
    skewed = result(Rate(0.20, 0.15, 0.24)), result(Rate(0.30, 0.27, 0.42))
    assert "+5.0 to +23.0 points: worse." in by_figure(*skewed)["WER, clean"].sentence


@pytest.mark.parametrize(("unit", "speakers", "freedom"), [("speaker", 6, 5), ("utterance", 6, 29)])
def test_the_p_value_of_independent_rates_is_students_with_the_end_towards_0(
    unit: str, speakers: int, freedom: int
) -> None:
    """From 30 to 20 % and back, where the ends towards 0 are five points away and the others thirteen."""
    corpus = CorpusFacts("c", 30, 1.0, speakers, unit)
    high, low = Rate(0.30, 0.27, 0.42), Rate(0.20, 0.15, 0.24)
    better, worse = _independent_change(high, low, corpus), _independent_change(low, high, corpus)
    assert (better.difference.high, worse.difference.low) == pytest.approx((-0.05, 0.05))
    assert better.difference.low == pytest.approx(-0.1 - (0.05**2 + 0.12**2) ** 0.5)
    expected = 2 * stats.t.sf(stats.t.ppf(0.975, freedom) * 0.10 / 0.05, freedom)
    assert (better.p_value, worse.p_value) == pytest.approx((expected, expected))


def test_another_test_set_or_profile_has_no_change_of_error_rate() -> None:
    before = result(Rate(0.1, 0.08, 0.12))
    assert list(by_figure(before, result(Rate(0.5, 0.4, 0.6), words=999))) == ["peak memory"]
    other = dataclasses.replace(result(Rate(0.5, 0.4, 0.6)), profiles=[ProfileUsed("basic", 2, "")])
    assert list(by_figure(before, other)) == ["peak memory"]
    by_characters = dataclasses.replace(result(Rate(0.5, 0.4, 0.6)), metric="cer")
    assert list(by_figure(before, by_characters)) == ["peak memory"]
    [failed] = result(Rate(0.5, 0.4, 0.6)).systems
    failed = dataclasses.replace(failed, failure="ended")
    assert by_figure(before, dataclasses.replace(before, systems=[failed])) == {}


@pytest.mark.parametrize(
    ("now", "kind"),
    [
        ((0.90, 1.00, 1.10), "same"),  # as before
        ((1.20, 1.30, 1.40), "worse"),  # no overlap
        ((1.05, 1.30, 1.40), "same"),  # overlap
        ((0.70, 0.80, 0.85), "better"),
    ],
)
def test_speed_changes_where_rounds_do_not_overlap(now: tuple[float, float, float], kind: str) -> None:
    rate = Rate(0.1, 0.08, 0.12)
    before = result(rate, speed=speed((0.9, 1.0, 1.1), (9, 10, 11)))
    found = by_figure(before, result(rate, speed=speed(now, (12, 13, 14))))
    assert found["latency p50"].kind == found["latency p95"].kind == kind
    assert found["latency p50"].significant == (kind != "same")
    assert found["throughput"].kind == "better"  # more is better


def test_a_small_steady_change_of_speed_is_none_and_memory_has_a_tenth() -> None:
    rate = Rate(0.1, 0.08, 0.12)
    before = result(rate, speed=speed((0.999, 1.0, 1.001), (9, 10, 11)))
    found = by_figure(before, result(rate, memory=1_090_000_000, speed=speed((1.039, 1.04, 1.041), (9, 10, 11))))
    assert found["latency p50"].kind == "same" and found["peak memory"].kind == "same"
    found = by_figure(before, result(rate, memory=1_110_000_000, speed=speed((1.059, 1.06, 1.061), (9, 10, 11))))
    assert found["latency p50"].kind == "worse" and found["peak memory"].kind == "worse"


def test_paired_samples_see_what_two_intervals_cannot() -> None:
    """Every utterance is hard or easy for both, and now always one word better."""

    def samples(extra: int) -> list[Sample]:
        return [
            Sample("a", f"u{i}", "w " * 20, "w " * (20 - 2 * (i % 9) - extra), 1.0, STAGES, condition="clean")
            for i in range(60)
        ]

    before, now = result(Rate(0.45, 0.38, 0.52)), result(Rate(0.40, 0.33, 0.47))
    assert by_figure(before, now)["WER, clean"].kind == "same"
    paired = paired_changes(samples(1), samples(0), "basic", seed=0)
    assert paired.keys() == {("a", "clean")} and paired["a", "clean"].difference.value == pytest.approx(-0.05)
    assert by_figure(before, now, paired=paired)["WER, clean"].kind == "better"
    renamed = [dataclasses.replace(one, reference="other words") for one in samples(0)]
    assert paired_changes(samples(1), renamed, "basic", seed=0) == {}


def test_pairs_are_compared_in_the_metric_and_over_segments_as_a_summary_is() -> None:
    """Chinese, of which systems set spaces as they like; and one long recording in ten segments and more."""
    references = [chr(0x4E00 + i) * 20 for i in range(60)]

    def chinese(extra: int) -> list[Sample]:
        return [
            Sample("a", f"u{i}", text, " ".join(text[: 20 - 2 * (i % 9) - extra]), 1.0, STAGES, condition="clean")
            for i, text in enumerate(references)
        ]

    paired = paired_changes(chinese(1), chinese(0), "basic", seed=0, metric="cer")["a", "clean"]
    assert paired.difference.value == pytest.approx(-0.05) and paired.difference.high < 0
    before, now = (
        dataclasses.replace(result(rate), metric="cer") for rate in (Rate(0.45, 0.38, 0.52), Rate(0.40, 0.33, 0.47))
    )
    assert by_figure(before, now)["CER, clean"].kind == "same"
    assert by_figure(before, now, paired={("a", "clean"): paired})["CER, clean"].kind == "better"

    words = [[f"s{i}w{j}" for j in range(20)] for i in range(12)]
    segments = tuple(Segment(10.0 * i, 10.0 * i + 9.0, " ".join(own)) for i, own in enumerate(words))

    def long(extra: int) -> list[Sample]:
        heard = " ".join(" ".join(own[: 20 - i % 9 - extra]) for i, own in enumerate(words))
        reference = " ".join(" ".join(own) for own in words)
        return [Sample("a", "r", reference, heard, 120.0, STAGES, condition="clean", segments=segments)]

    paired = paired_changes(long(1), long(0), "basic", seed=0)["a", "clean"]
    assert paired.difference.value == pytest.approx(-0.05) and paired.utterances == 12
    change = by_figure(result(Rate(0.2, 0, 1)), result(Rate(0.15, 0, 1)), paired={("a", "clean"): paired})["WER, clean"]
    assert change.kind == "better" and "of the 12 segments of both" in change.sentence
    cut = [dataclasses.replace(one, segments=segments[:6]) for one in long(0)]
    assert paired_changes(long(1), cut, "basic", seed=0) == {}


def test_rates_are_of_the_utterances_that_are_compared() -> None:
    """Of the old result's 40, ten are easier than the others; these ten became harder: that is worse, not better."""

    def samples(wrong: dict[int, int], count: int) -> list[Sample]:
        """wrong: of 20 words, by utterance."""
        return [
            Sample("a", f"u{i}", "w " * 20, "w " * (20 - wrong.get(i, 10)), 1.0, STAGES, condition="clean")
            for i in range(count)
        ]

    easy, harder = {i: i % 2 for i in range(10)}, {i: 3 + i % 2 for i in range(10)}
    paired = paired_changes(samples(easy, 40), samples(harder, 10), "basic", seed=0)
    found = by_figure(result(Rate(0.381, 0.3, 0.45)), result(Rate(0.175, 0.17, 0.18), words=200), paired=paired)
    change = found["WER, clean"]
    assert change.kind == "worse" and (change.before, change.now) == pytest.approx((0.025, 0.175))
    assert "of the 10 utterances of both, was 2.50%, is 17.50%" in change.sentence


def test_few_utterances_and_single_rounds_settle_nothing() -> None:
    few = [Sample("a", f"u{i}", "one two", "one two", 1.0, STAGES, condition="clean") for i in range(9)]
    wrong = [dataclasses.replace(one, hypothesis="one") for one in few]
    rate = Rate(0.1, 0.08, 0.12)
    found = by_figure(result(rate), result(rate), paired=paired_changes(few, wrong, "basic", seed=0))["WER, clean"]
    assert (found.kind, found.significant) == ("same", False) and "fewer than 10 utterances" in found.sentence
    single = result(rate, speed=speed((1.0, 1.0, 1.0), (10, 10, 10)))
    slower = result(rate, speed=speed((2.0, 2.0, 2.0), (5, 5, 5)))
    assert {one.kind for one in changes(single, slower)} == {"same"}
    rounds = result(rate, speed=speed((1.9, 2.0, 2.1), (4, 5, 6)))
    assert {one.kind for one in changes(single, rounds)} == {"same"}


def test_a_gate_is_not_passed_by_what_was_not_tested() -> None:
    """Another profile, other references or too few utterances: named, for whoever exits by it."""
    before, now = result(Rate(0.1, 0.08, 0.12)), result(Rate(0.1, 0.08, 0.12))
    assert untested_rates(before, now, changes(before, now)) == []
    other = dataclasses.replace(now, profiles=[ProfileUsed("librispeech", 3, "")])
    assert changes(before, other)[0].figure == "peak memory"
    (named,) = untested_rates(before, other, changes(before, other))
    assert named == (
        "a: its WER is not compared with the earlier result: it had the WER under basic, version 1, and this one has "
        "the WER under librispeech, version 3"
    )
    assert named.partition(": its ")[2].partition("result: ")[2] in incomparable(before, other)[0]
    longer = result(Rate(0.1, 0.08, 0.12), words=1001)
    assert "under 10" in untested_rates(before, longer, changes(before, longer))[0]
    one = PairedChange(*[Rate(0.1, 0.0, 0.3)] * 2, Rate(0.1, -0.1, 0.3), 9)
    assert untested_rates(before, now, changes(before, now, paired={("a", "clean"): one}))
    assert untested_rates(before, dataclasses.replace(now, systems=[]), []) == []


def test_a_corrected_comma_leaves_an_utterance_the_same() -> None:
    def sample(reference: str, hypothesis: str) -> Sample:
        return Sample("a", "u0", reference, hypothesis, 1.0, STAGES)

    before, now = sample("Yes, I do.", "yes i do"), sample("yes i do", "yes i")
    assert paired_changes([before], [now], "basic", seed=0)["a", "clean"].difference.value == pytest.approx(1 / 3)
    assert not paired_changes([before], [now], "verbatim", seed=0)


def test_several_rates_are_corrected_together() -> None:
    """One of four conditions is worse at p = 0.03 by itself: chance in four tries."""
    apart = Rate(0.02, 0.002, 0.038)
    conditions = {f"noise {number}": Rate(0.1, 0.08, 0.12) for number in range(3)}

    def of(rates: dict[str, Rate]) -> Summary:
        clean, *_ = (result(Rate(0.1, 0.08, 0.12)),)
        noisy = {name: {"basic": Scores(rate, rate, 1000, 1000, 0, 0, 0)} for name, rate in rates.items()}
        return dataclasses.replace(clean, systems=[dataclasses.replace(clean.systems[0], conditions=noisy)])

    one = PairedChange(Rate(0.1, 0.08, 0.12), Rate(0.12, 0.1, 0.14), apart, 50, 0.03)
    same = PairedChange(Rate(0.1, 0.08, 0.12), Rate(0.1, 0.08, 0.12), Rate(0.0, -0.02, 0.02), 50, 1.0)
    alone = by_figure(of({}), of({}), paired={("a", "clean"): one})["WER, clean"]
    assert alone.significant and alone.kind == "worse"
    paired = {("a", "clean"): one} | {("a", name): same for name in conditions}
    among = by_figure(of(conditions), of(conditions), paired=paired)["WER, clean"]
    assert not among.significant and among.tested
    assert among.sentence.endswith("no significant change after correction for 4 comparisons.")


def test_throughput_and_memory_are_compared_at_one_batch_size() -> None:
    rate, now = Rate(0.1, 0.08, 0.12), speed((0.9, 1.0, 1.1), (90, 100, 110))
    before = result(rate, speed=speed((0.9, 1.0, 1.1), (9, 10, 11)))
    assert by_figure(before, result(rate, speed=now))["throughput"].kind == "better"
    for batch_seconds, size in ((80.0, "80 s"), (None, "one at a time")):
        other = result(rate, memory=2 * 10**9, speed=dataclasses.replace(now, batch_seconds=batch_seconds))
        assert by_figure(before, other).keys() == {"WER, clean", "latency p50", "latency p95"}
        assert incomparable(before, other) == [
            "Throughput and memory of a are not compared with the earlier result: its batch size was 40 s and is now "
            f"{size}; --batch_seconds sets it."
        ]


def test_speed_is_compared_at_one_count_of_threads_and_memory_on_one_device() -> None:
    """The threads of an earlier version's results are behind torch's version."""
    before = result(Rate(0.1, 0.08, 0.12), speed=speed((0.9, 1.0, 1.1), (9, 10, 11)))
    two = dataclasses.replace(before, machine={"torch": "2.9.0, 2 threads"})
    also_two = dataclasses.replace(before, machine={"torch": "2.9.1", "threads": "2"})
    one = dataclasses.replace(before, machine={"torch": "2.9.1", "threads": "1"})
    assert incomparable(two, also_two) == [] and "latency p50" in by_figure(two, also_two)
    (said,) = incomparable(two, one)
    assert said == "Speed is not compared with the earlier result: its threads were 2 and are now 1."
    assert by_figure(two, one).keys() == {"WER, clean", "peak memory"}
    on_gpu = dataclasses.replace(before, machine={"device": "H200"})
    assert by_figure(before, on_gpu).keys() == {"WER, clean"}
    assert any(one.startswith("Memory is not compared") for one in incomparable(before, on_gpu))


def test_other_machines_test_sets_and_noises_are_not_compared_and_named() -> None:
    before = result(Rate(0.1, 0.08, 0.12), Rate(0.2, 0.19, 0.21), speed=speed((0.9, 1.0, 1.1), (9, 10, 11)))
    now = result(Rate(0.1, 0.08, 0.12), Rate(0.4, 0.39, 0.41), speed=speed((5.9, 6.0, 6.1), (1, 2, 3)))
    assert not incomparable(before, now)
    other_machine = dataclasses.replace(now, machine={"processor": "fast"})
    assert not {"latency p50", "latency p95", "throughput"} & by_figure(before, other_machine).keys()
    assert incomparable(before, other_machine) == [
        "Speed is not compared with the earlier result: its processor was none and is now fast."
    ]
    other_corpus = dataclasses.replace(now, corpus=dataclasses.replace(now.corpus, hours=2.0))
    assert by_figure(before, other_corpus).keys() == {"WER, clean", "WER, babble"}
    assert len(incomparable(before, other_corpus)) == 2
    pink, babble = (
        dataclasses.replace(one, conditions=[ConditionUsed("babble", text)])
        for one, text in ((before, "pink noise"), (now, "voices"))
    )
    assert "WER, babble" in by_figure(before, now) and "WER, babble" not in by_figure(pink, babble)
    assert "these conditions differently: babble" in incomparable(pink, babble)[0]
