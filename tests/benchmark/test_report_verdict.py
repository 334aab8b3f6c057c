"""What a report says first: of few systems every comparison, of many a sentence over them."""

import dataclasses
import io
import math
from collections.abc import Sequence

import pytest
from rich.console import Console

from benchmark.report.fairness import detectable, run_to_run_variance
from benchmark.report.quantities import points
from benchmark.report.table import markdown, print_table
from benchmark.report.verdict import (
    above_and_below,
    caveats,
    differences_to_best,
    significance,
    title_names,
    verdict,
)
from benchmark.results import Change, Comparison, DetectableDifference, Summary
from finetune.metrics import Rate
from finetune.systems.facts import WeightsFile
from tests.benchmark.parsed_page import page_of
from tests.benchmark.reported import run


def of(names: Sequence[str], different: Sequence[bool | None]) -> Summary:
    """Systems whose WER rises in their order, the first compared with each of the others."""
    summary, _ = run()
    profile = summary.profiles[0].name
    systems = []
    for place, name in enumerate(names):
        row = summary.systems[0]
        scores = dataclasses.replace(row.scores[profile], wer=Rate(0.1 * (place + 1), 0.05, 0.9))
        facts = dataclasses.replace(row.facts, name=name)
        systems.append(dataclasses.replace(row, facts=facts, scores={profile: scores}))
    compared = [
        Comparison(names[0], other, Rate(-0.1, -0.2, 0.1), f"{names[0]} and {other}.", "clean", 0.1, 0.2, found)
        for other, found in zip(names[1:], different, strict=True)
    ]
    return dataclasses.replace(summary, systems=systems, comparisons=compared)


def test_of_few_systems_every_comparison_is_said() -> None:
    summary = of("abc", [True, False])
    assert title_names(summary) == ["a", "b", "c"]
    assert verdict(summary) == ["a and b.", "a and c."]


def test_the_verdict_is_that_of_clean_speech() -> None:
    summary = trained(of("ab", [True]), "ab", 0.04)
    [clean] = summary.comparisons
    noisy = dataclasses.replace(
        clean, condition="babble", sentence="babble: a and b.", difference=Rate(0.01, 0.0, 0.02)
    )
    both = dataclasses.replace(summary, comparisons=[noisy, clean])
    assert verdict(both) == verdict(summary) and len(run_to_run_variance(both)) == 1
    assert [rate for _, _, rate in differences_to_best(both)] == [Rate(0.04, 0.03, 0.05)]
    assert [rate for _, _, rate in differences_to_best(both, "babble")] == [Rate(-0.01, -0.02, -0.0)]


def test_what_is_called_significant_is_so_after_the_correction() -> None:
    summary = of("abc", [False, None])
    raw = dataclasses.replace(summary.comparisons[0], p_value=0.03, adjusted_p=0.06)
    assert [significance(one) for one in (raw, *summary.comparisons[1:])] == ["not significant", "–"]
    assert significance(dataclasses.replace(raw, different=True, p_value=0.2)) == "significant"
    assert "corrected for the 2 comparisons made here" in caveats(summary)[0]
    assert not any("corrected" in one for one in caveats(of("ab", [True])))


def test_where_the_correction_alone_hides_a_difference_the_reader_learns_what_to_do() -> None:
    summary = of("abcd", [False, False, True])
    hidden, other, found = (
        dataclasses.replace(one, p_value=p_value)
        for one, p_value in zip(summary.comparisons, (0.03, 0.4, 0.001), strict=True)
    )
    said = "1 further difference on clean speech would be significant: in the next run, --baseline_system NAME"

    def first_caveat(comparison: Comparison, baseline: str | None = None) -> str:
        return caveats(dataclasses.replace(summary, comparisons=[comparison, other, found], baseline_system=baseline))[
            0
        ]

    assert said in first_caveat(hidden)
    noisy = dataclasses.replace(hidden, condition="babble")
    for without in (first_caveat(other), first_caveat(noisy), first_caveat(hidden, baseline="a")):
        assert "corrected for the 3 comparisons" in without and "--baseline_system" not in without


@pytest.mark.parametrize(("speakers", "warned"), [(0, False), (1, True), (4, True), (5, False)])
def test_results_of_few_speakers_hold_for_no_others(speakers: int, warned: bool) -> None:
    summary = of("ab", [True])
    summary = dataclasses.replace(summary, corpus=dataclasses.replace(summary.corpus, utterances=50, speakers=speakers))
    assert any("do not generalise to other speakers" in one for one in detectable(summary)) == warned


@pytest.mark.parametrize(
    ("different", "said"),
    [
        ([True] * 4, "it is significantly better than all others."),
        (
            [True, True, False, False],
            "it is significantly better than two of the others and does not differ significantly from d and e.",
        ),
        ([False] * 4, "it does not differ significantly from four others."),
        ([True, True, True, None], "it is significantly better than three of the others."),
    ],
)
def test_of_many_systems_a_sentence_comes_first(different: list[bool | None], said: str) -> None:
    summary = of("abcde", different)
    first, *rest = verdict(summary)
    assert title_names(summary) == ["Five systems"]
    assert first == f"a has the lowest WER of five systems, 10.00\N{NO-BREAK SPACE}%: {said}"
    assert rest == ["a and b.", "a and c.", "a and d.", "a and e."]


def test_one_that_is_better_where_both_were_heard_is_not_beaten() -> None:
    """The lowest WER may be of fewer utterances: a difference the other way is no victory."""
    summary = of("abcde", [True] * 4)
    turned = dataclasses.replace(summary.comparisons[0], difference=Rate(0.1, 0.05, 0.2))
    found = verdict(dataclasses.replace(summary, comparisons=[turned, *summary.comparisons[1:]]))
    assert found[0].endswith("it is significantly better than three of the others.")


def test_a_system_that_gave_nothing_is_not_beaten() -> None:
    summary = of("abcde", [True] * 4)
    failed = dataclasses.replace(summary.systems[4], scores={}, failure="did not load")
    summary = dataclasses.replace(summary, systems=[*summary.systems[:4], failed], comparisons=summary.comparisons[:3])
    comparisons = [*summary.comparisons, dataclasses.replace(summary.comparisons[0], second="d")]
    found = verdict(dataclasses.replace(summary, comparisons=comparisons))[0]
    assert "of four systems" in found and found.endswith(
        "it is significantly better than all others. e gave no results."
    )


def test_nothing_compared_leaves_it_at_the_lowest() -> None:
    assert verdict(of("abcde", [None] * 4))[0].endswith("%.")


def test_detectable_differences_are_those_of_the_comparisons_above() -> None:
    """The pair that needs most, of two rivals, is not one of the verdict's."""
    summary = of("abcde", [True, False, False, False])
    pairs = [("a", "b", 0.04), ("a", "c", 0.2), ("a", "d", 0.1), ("d", "e", 1.0)]
    found = [DetectableDifference(*pair, comparisons=10) for pair in pairs]
    summary = dataclasses.replace(summary, detectable_differences=found)
    said = detectable(summary)[0]
    assert "is 4.0 (a and b) to 20.0 (a and c) points of WER" in said and "for 10 comparisons" in said
    assert "up to 100 points" not in said
    ruined = [found[0], dataclasses.replace(found[1], without=0.05, left_out=["x", "y"]), *found[2:]]
    segments = dataclasses.replace(summary.corpus, resampling_unit="segment")
    said = detectable(dataclasses.replace(summary, detectable_differences=ruined, corpus=segments))[0]
    assert said.endswith(" 2 segments make that of a and c so large (x; y): without them, 5.0 points.")
    one_lost = [*found, DetectableDifference("a", "e", 1.0, 10)]
    said = detectable(dataclasses.replace(summary, detectable_differences=one_lost))[0]
    assert "between a and e, no difference of up to 100 points is detected" in said and "4.0 (a and b)" in said
    two_lost = [*found, DetectableDifference("a", "d", 1.0, 10), DetectableDifference("a", "e", 1.0, 10)]
    said = detectable(dataclasses.replace(summary, detectable_differences=two_lost))[0]
    assert "between a and d, and for 1 further pair, no difference of up to 100 points is detected" in said
    all_lost = [dataclasses.replace(one, value=1.0) for one in found]
    alike = [dataclasses.replace(one, different=False) for one in summary.comparisons]
    said = detectable(dataclasses.replace(summary, detectable_differences=all_lost, comparisons=alike))[0]
    assert said.startswith("No difference of up to 100 points of WER is detected with 80 % statistical power between")


def test_what_is_significant_is_not_called_undetectable() -> None:
    """Of a WER far above 100 %; of fewer points, a significant difference was found by luck."""
    pair = [DetectableDifference("a", "b", 1.0, 1)]
    for names, difference, said in (
        ("ab", -1.7, "Only differences above 100 points of WER, as that between a and b, are detected with 80 % "),
        ("abc", -1.7, "Only differences above 100 points of WER, as that between a and b, are detected with 80 % "),
        ("ab", -0.6, "Only differences above 100 points of WER are detected with 80 % "),
    ):
        summary = of(names, [True, False][: len(names) - 1])
        compared = [dataclasses.replace(one, difference=Rate(difference, -2.0, -0.5)) for one in summary.comparisons]
        found = [*pair, DetectableDifference("a", "c", 1.0, 1)][: len(compared)]
        summary = dataclasses.replace(summary, comparisons=compared, detectable_differences=found)
        sentence = detectable(summary)[0]
        assert sentence.startswith(said)
        assert sentence.endswith(" That between a and b was detected with less power.") == (difference > -1.0)
        mixed = [*pair, DetectableDifference("a", "c", 0.1, 1)]
        sentence = detectable(dataclasses.replace(summary, detectable_differences=mixed))[0]
        assert "no difference of up to 100" not in sentence


def test_no_difference_has_no_minus_sign() -> None:
    summary = of("ab", [False])
    alike = dataclasses.replace(summary.comparisons[0], difference=Rate(0.0, -0.002, 0.002))
    summary = dataclasses.replace(summary, comparisons=[alike])
    ((_, _, rate),) = differences_to_best(summary)
    assert math.copysign(1.0, rate.value) == 1.0
    assert [points(end) for end in (rate.value, rate.low, rate.high)] == ["+0.00", "−0.20", "+0.20"]
    assert points(-0.0) == points(-0.00001) == points(0.00001) == "+0.00"


def test_the_verdict_begins_with_the_baseline() -> None:
    summary = of("abcde", [True, False, False, None])
    compared = summary.comparisons
    turned = Comparison("b", "c", Rate(0.2, 0.1, 0.3), "b and c.", "clean", 0.001, 0.004, True)
    own = [
        dataclasses.replace(one, family="baseline" if "c" in (one.first, one.second) else "other")
        for one in [*compared, turned]
    ]
    few = dataclasses.replace(summary, comparisons=own, baseline_system="c")
    first, second, third, *rest = verdict(few)
    assert (first, second) == ("a and c.", "b and c.") and third.startswith("a has the lowest WER of five systems")
    assert rest == ["a and b.", "a and d.", "a and e."]
    corrected = caveats(few)[0].replace("\N{NO-BREAK SPACE}", " ")
    families = "separately for the 2 comparisons with the baseline system c on clean speech and for the 3 others;"
    assert corrected.startswith(f"All p values are corrected (Holm), {families} this is valid only if")
    one_other = caveats(dataclasses.replace(few, comparisons=[own[1], own[0]]))[0]
    assert "for the comparison with the baseline system c on clean speech and for the other;" in one_other
    assert not any("corrected" in one for one in caveats(dataclasses.replace(few, comparisons=own[1:2])))
    many = [dataclasses.replace(turned, first=name, family="baseline") for name in "abde"]
    many[2] = dataclasses.replace(many[2], different=False)
    many[3] = dataclasses.replace(many[3], difference=Rate(-0.1, -0.15, -0.05), sentence="e and c.")
    assert verdict(dataclasses.replace(few, comparisons=many))[1] == "e and c.", "the best of them"
    text = verdict(dataclasses.replace(few, comparisons=many))[0].replace("\N{NO-BREAK SPACE}", " ")
    assert text == (
        "The baseline system c has a WER of 30.00 %: e is significantly better, a and b are significantly worse and d "
        "does not differ significantly from it."
    )
    worse = [dataclasses.replace(one, different=True, difference=turned.difference) for one in many]
    text = verdict(dataclasses.replace(few, comparisons=worse))[0]
    assert text.endswith("a, b, d and e are significantly worse.")


def test_a_baseline_without_results_is_missed_first() -> None:
    summary = dataclasses.replace(of("abcde", [True] * 4), baseline_system="e")
    failed = dataclasses.replace(summary.systems[4], scores={}, speed=None, failure="did not load")
    few = dataclasses.replace(summary, systems=[*summary.systems[:4], failed], comparisons=summary.comparisons[:3])
    first, second, *_ = verdict(few)
    assert first == "The baseline system e gave no results, so nothing was compared with it."
    assert second == "a and b."
    assert "corrected for the 3 comparisons made here" in caveats(few)[0]
    page = page_of(few, [], n_audio=0)
    assert "corrected p: for all comparisons in this table (Holm)" in page
    assert not any("gave no results" in one for one in verdict(dataclasses.replace(few, baseline_system="a")))


def changed(*significant: bool) -> Summary:
    summary = of("ab", [True])
    found = [
        Change("a", "WER, clean", 0.0067, 0.0467, "worse" if one else "same", f"a: WER {place} was 0.67 %.", one)
        for place, one in enumerate(significant)
    ]
    return dataclasses.replace(summary, changes=found)


def test_what_has_changed_stands_in_verdict_terminal_and_summary() -> None:
    summary = changed(False, True)
    sentence = "Since the earlier result: a: WER 1 was 0.67\N{NO-BREAK SPACE}%."
    assert verdict(summary) == ["a and b.", sentence]
    console = Console(file=io.StringIO(), width=200)
    print_table(summary, console)
    assert sentence in console.file.getvalue()  # type: ignore[attr-defined]
    text = markdown(summary)
    sentence = sentence.replace("\N{NO-BREAK SPACE}", " ")
    assert text.index(sentence) < text.index("| ---") < text.index("## Changes since the earlier result")
    assert "- a: WER 1 was 0.67 %.\n- a: WER 0 was 0.67 %." in text
    assert (
        verdict(changed(False))[1]
        == "None of the figures that are compared with the earlier result has changed significantly."
    )
    assert verdict(changed(*[True] * 5))[-1] == "2 further figures changed significantly since the earlier result."


def test_of_many_sentences_a_few_stand_above_the_table() -> None:
    summary = of("abcdefgh", [True] * 7)
    answer, limits, further = above_and_below(summary)
    assert answer == verdict(summary)[:5] and [*limits, *further] == [*caveats(summary), *verdict(summary)[5:]]
    assert further == ["a and f.", "a and g.", "a and h."]
    text = markdown(summary)
    assert text.index("a and e.") < text.index("| ---") < text.index("a and f.")


def test_a_part_of_the_corpus_is_called_one() -> None:
    summary = of("ab", [True])
    corpus = dataclasses.replace(summary.corpus, utterances=40, whole=60)
    part = dataclasses.replace(summary, corpus=corpus)
    assert markdown(part).startswith("# Benchmark on corpus (40 of 60 utterances)\n")
    assert markdown(summary).startswith("# Benchmark on corpus\n")


def trained(summary: Summary, names: str, difference: float, weights: Sequence[str] = ()) -> Summary:
    """The systems of these names come from a training; every difference is so large, and significant."""
    hashes = dict(zip(names, weights or names, strict=True))
    systems = [
        dataclasses.replace(
            one,
            facts=dataclasses.replace(
                one.facts, trained=True, weights=[WeightsFile("model.safetensors", 1, hashes[one.facts.name])]
            ),
        )
        if one.facts.name in hashes
        else one
        for one in summary.systems
    ]
    rate = Rate(-difference, -difference - 0.01, -difference + 0.01)
    compared = [dataclasses.replace(one, difference=rate) for one in summary.comparisons]
    return dataclasses.replace(summary, systems=systems, comparisons=compared)


def test_a_difference_that_two_seeds_may_make_is_warned_of() -> None:
    """a has 10 % and b 20 %: 95 of 100 pairs of runs are within 2.776 * sqrt(2) * 4.0 * sqrt(0.15 * 0.85) points."""
    near = of("ab", [True])
    (warning,) = run_to_run_variance(trained(near, "ab", 0.04))
    assert "may differ by 5.6 points of WER" in warning and "more than the 4.0 points here" in warning
    assert warning in verdict(trained(near, "ab", 0.04))
    assert run_to_run_variance(trained(near, "ab", 0.06)) == []


def test_a_difference_from_fixed_models_that_one_seed_may_make_is_warned_of() -> None:
    """a has 10 %: 95 of 100 runs are within 2.776 * 4.0 * sqrt(0.1 * 0.9) points of the mean of their recipe."""
    near = of("abc", [True, True])
    (warning,) = run_to_run_variance(trained(near, "a", 0.03))
    assert "a was trained here with one seed" in warning
    assert (
        "may be 3.3 points off the mean of its recipe, more than its difference from b (3.0 points) and c (3.0 points)"
        in warning
    )
    assert warning in verdict(trained(near, "a", 0.03))
    [other] = run_to_run_variance(trained(of("abc", [True, False]), "b", 0.03))
    assert "b was trained here" in other and "from a (3.0 points) (" in other, "it is the second, and c is no finding"
    assert run_to_run_variance(trained(near, "a", 0.034)) == []
    assert run_to_run_variance(trained(near, "", 0.001)) == [], "fixed models alone have no seeds"
    many = trained(of("abcde", [True] * 4), "bcde", 0.02)
    pair = dataclasses.replace(many.comparisons[0], first="b", second="c")
    found = run_to_run_variance(dataclasses.replace(many, comparisons=[*many.comparisons, pair]))
    assert [one[:9] for one in found] == ["b was tra", "c was tra", "d was tra", "b and c w"]


def test_no_run_to_run_variance_where_there_was_none() -> None:
    near = of("ab", [True])
    assert run_to_run_variance(trained(near, "ab", 0.04, ["same", "same"])) == []  # one model, decoded in two ways
    assert run_to_run_variance(trained(of("ab", [False]), "ab", 0.04)) == []  # nothing was claimed
