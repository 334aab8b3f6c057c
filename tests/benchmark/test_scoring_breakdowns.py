"""Words, segments and slices: recounted by hand, by brute force and by jiwer."""

import itertools
import random
from collections import Counter

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.results import Confusion, Sample, StageSeconds
from benchmark.scoring.breakdowns import (
    DURATIONS,
    MAX_CONFUSIONS,
    MAX_VALUES,
    confusions,
    slices,
)
from benchmark.scoring.counts import Normaliser, count_errors
from benchmark.scoring.segments import errors_by_segment, score_segments
from finetune.metrics import rate, resample
from finetune.metrics.error_rates import ErrorCounts, word_errors
from preprocessing.corpus import Segment
from preprocessing.text import profile

SECONDS = StageSeconds(0.0, 0.0, 0.1, 0.0)
WORDS = st.lists(st.sampled_from("abc"), max_size=30)


def test_confusions_add_up_to_jiwers_errors() -> None:
    draw = random.Random(0)
    pairs = [(" ".join(draw.choices("abcdefg", k=12)), " ".join(draw.choices("abcdefg", k=11))) for _ in range(50)]
    found = confusions(pairs)
    kinds = Counter[str]()
    for one in found:
        assert one.reference != one.hypothesis
        kinds["insert" if not one.reference else "delete" if not one.hypothesis else "replace"] += one.count
    counted = jiwer.process_words([one for one, _ in pairs], [two for _, two in pairs])
    assert kinds == {"insert": counted.insertions, "delete": counted.deletions, "replace": counted.substitutions}
    assert [one.count for one in found] == sorted((one.count for one in found), reverse=True)


def test_of_each_kind_the_most_frequent_are_kept() -> None:
    pairs = [(f"r{index}", f"h{index}") for index in range(80)] + [("the cat", "cat")] * 3 + [("cat", "cat um")] * 2
    found = confusions(pairs)
    assert found[:2] == [Confusion("the", "", 3), Confusion("", "um", 2)]
    assert len(found) == MAX_CONFUSIONS + 2


@given(st.lists(WORDS, min_size=1, max_size=5), WORDS)
def test_errors_of_segments_are_those_of_the_whole(segments: list[list[str]], heard: list[str]) -> None:
    found = errors_by_segment([" ".join(words) for words in segments], " ".join(heard))
    counted = jiwer.process_words(" ".join(itertools.chain(*segments)), " ".join(heard))
    assert sum((one.words for one in found), ErrorCounts()) == ErrorCounts(
        counted.hits, counted.substitutions, counted.deletions, counted.insertions
    )
    for words, one in zip(segments, found, strict=True):
        assert one.words.reference_length == len(words)


def test_an_inserted_word_is_of_the_segment_that_was_just_spoken() -> None:
    found = errors_by_segment(["a b", "c d"], "a b x c d")
    assert [one.words for one in found] == [ErrorCounts(2, 0, 0, 1), ErrorCounts(2, 0, 0, 0)]


def test_a_lost_segment_is_its_own_loss() -> None:
    texts = ("one two three", "four five", "six seven eight")
    segments = tuple(Segment(float(index), index + 1.0, text) for index, text in enumerate(texts))
    long = Sample("a", "r", " ".join(texts), "one two three six seven eight um", 3.0, SECONDS, segments=segments)
    by_segment = errors_by_segment(texts, long.hypothesis)
    assert [one.words for one in by_segment] == [
        ErrorCounts(3, 0, 0, 0),
        ErrorCounts(0, 0, 2, 0),
        ErrorCounts(3, 0, 0, 1),
    ]
    characters = [(one.characters.errors, one.characters.reference_length) for one in by_segment]
    assert characters == [(0, 14), (10, 10), (3, 15)]  # the space after a word is its segment's
    found = score_segments([long], Normaliser(profile("verbatim")), seed=0)
    assert found is not None and found.wer.value == pytest.approx(3 / 8) and found.words == 8
    assert found.wer.low < found.wer.high
    assert score_segments([Sample("a", "r", "x", "x", 1.0, SECONDS)], Normaliser(profile("verbatim")), seed=0) is None


def test_slices_are_scored_alone_and_named_by_their_bounds() -> None:
    draw = random.Random(0)
    samples = [
        Sample(
            *("a", f"u{index}", " ".join(draw.choices("abcd", k=draw.randint(1, 9)))),
            *(" ".join(draw.choices("abcd", k=draw.randint(0, 9))), draw.choice([0.5, 5.0, 9.9, 29.0, 30.0, 99.0])),
            SECONDS,
            speaker=f"s{index % 70}",
            sex=("F", "M", None)[index % 3],
            domain="read",
            columns={"accent": "Bavarian" if index % 4 else "Saxon"} if index % 5 else {},
        )
        for index in range(300)
    ]
    normaliser = Normaliser(profile("verbatim"))
    found = slices(samples, count_errors(map(normaliser.pair, samples)), seed=0)
    by = {name: [one for one in found if one.by == name] for name in {one.by for one in found}}
    assert set(by) == {
        "speaker",
        "sex",
        "duration",
        "speaking rate",
        "accent",
    }  # one domain and no language tell nothing
    assert [(one.value, one.utterances) for one in by["accent"]] == [("Bavarian", 180), ("Saxon", 60)]
    assert [one.value for one in by["sex"]] == ["F", "M"]
    assert [one.value for one in by["duration"]] == [name for name in DURATIONS if name != "10-20 s"]
    lasting = Counter(sample.audio_seconds for sample in samples)
    assert [one.utterances for one in by["duration"]] == [
        lasting[0.5],
        lasting[5.0] + lasting[9.9],
        lasting[29.0],
        lasting[30.0] + lasting[99.0],
    ]
    assert [one.value.split()[0] for one in by["speaking rate"]][::2] == ["under", "over"]
    thirds = [one.utterances for one in by["speaking rate"]]
    assert sum(thirds) == 300 and max(thirds) < 130
    assert len(by["speaker"]) == MAX_VALUES
    assert [one.words for one in by["speaker"]] == sorted((one.words for one in by["speaker"]), reverse=True)
    for one in [*by["sex"], *by["speaker"][:5]]:
        own = [sample for sample in samples if getattr(sample, one.by) == one.value]
        assert one.wer.value == pytest.approx(jiwer.wer([s.reference for s in own], [s.hypothesis for s in own]))
        drawn = resample([sample.speaker for sample in own], seed=0)
        edits = [word_errors(sample.reference, sample.hypothesis) for sample in own]
        expected = rate([edit.errors for edit in edits], [edit.reference_length for edit in edits], drawn)
        assert one.wer == expected and expected.low < expected.value < expected.high
    over = [sample for sample in samples if sample.audio_seconds >= 30]
    assert by["duration"][-1].words == sum(len(sample.reference.split()) for sample in over)
