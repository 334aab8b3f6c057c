"""What no figure may rest on: one missing speaker label, recordings without a word, a profile that joins digits, the
edges of segments, or words that only look like a keyword.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from benchmark.report.fairness import detectable, too_few
from benchmark.report.verdict import verdict
from benchmark.results import Run, Sample, StageSeconds, Summary, SystemFacts, SystemRun
from benchmark.scoring import summarise
from benchmark.scoring.keywords import Keywords
from benchmark.scoring.scripts import keyword_tokens, words_and_characters
from finetune.metrics import rate, resample
from preprocessing.corpus import Segment

SECONDS = StageSeconds(0.0, 0.0, 0.1, 0.0)
Texts = Sequence[tuple[str, str]]  # of an utterance: reference and hypothesis


def summary_of(
    texts: Mapping[str, Texts],
    speakers: Sequence[str | None] | None = None,
    profiles: Sequence[str] = ("basic",),
    segments: Mapping[int, Sequence[str]] | None = None,
) -> Summary:
    """The summary of systems, by name, on the same utterances. segments: texts of an utterance's segments, by place."""
    samples = []
    for name, pairs in texts.items():
        for place, (reference, hypothesis) in enumerate(pairs):
            speaker = None if speakers is None else speakers[place]
            one = Sample(name, f"u{place}", reference, hypothesis, 3.0, SECONDS, speaker=speaker)
            parts = (segments or {}).get(place, ())
            samples.append(replace(one, segments=tuple(Segment(float(i), i + 1.0, t) for i, t in enumerate(parts))))
    systems = [SystemRun(SystemFacts(name, "none", name, 1)) for name in texts]
    return summarise(Run("", "", {}, "corpus", [], list(profiles), 0, [], {}, systems), samples, [], [])


def test_an_utterance_without_a_speaker_leaves_the_others_clustered() -> None:
    """Ten speakers, of whom each is heard well by one of two equal systems: no difference, labelled or nearly so."""
    texts: dict[str, list[tuple[str, str]]] = {"a": [], "b": []}
    speakers: list[str | None] = []
    for place in range(200):
        speaker = place % 10
        for index, name in enumerate("ab"):
            is_wrong = speaker != 0 and (speaker + index) % 2 and place % 3
            texts[name].append(("one two three four", "one two three five" if is_wrong else "one two three four"))
        speakers.append(f"s{speaker}")
    whole = summary_of(texts, speakers)
    one_missing = summary_of(texts, [*speakers[:7], None, *speakers[8:]])
    none = summary_of(texts, [None] * 200)
    (by_speaker,), (nearly,), (by_utterance,) = (one.comparisons for one in (whole, one_missing, none))
    assert by_speaker.p_value is not None and nearly.p_value is not None and by_utterance.p_value is not None
    assert nearly.p_value == pytest.approx(by_speaker.p_value, abs=0.05)
    assert by_utterance.p_value < 0.5 * by_speaker.p_value
    assert one_missing.corpus.resampling_unit == "speaker" and whole.corpus.resampling_unit == "speaker"
    assert [notice.split(":")[0] for notice in one_missing.notices] == [
        "1 of 200 utterances name no speaker (such as u7)"
    ]
    assert not whole.notices and not none.notices


def test_recordings_without_words_are_no_utterances_to_compare() -> None:
    """Two utterances among eight of noise settle as little as alone, and a keyword that was said twice as well."""
    noise = [("", "")] * 8
    texts = {"a": [("one two", "three four")] * 2 + noise, "b": [("one two", "one two")] * 2 + noise}
    found = summary_of(texts)
    (comparison,) = found.comparisons
    assert comparison.p_value is None and found.corpus.compared == 2
    assert verdict(found)[0] == (
        "2 utterances with reference words are too few for a significance test, which needs 10 or more."
    )
    for system, value in zip(found.systems, (1.0, 0.0), strict=True):
        interval = system.scores["basic"].wer
        assert (interval.value, interval.low, interval.high) == (value, 0.0, 1.0)
    counted = Keywords(["one"], str).score([("one", "one")] * 2 + [("two", "two")] * 98, resample([None] * 100, seed=0))
    assert counted.recall is not None and (counted.recall.low, counted.recall.high) == (0.0, 1.0)
    spoken = rate([1, 0, 1, 0, 1, *[0] * 95], [2] * 5 + [0] * 95, resample([None] * 100, seed=0))
    alone = rate([1, 0, 1, 0, 1], [2] * 5, resample([None] * 5, seed=0))
    assert spoken.value == alone.value and spoken.low <= alone.low and spoken.high >= alone.high


def test_few_segments_are_said_to_be_few_segments() -> None:
    parts = ["one two", "three four", "five six", "seven eight", "nine ten", "one one"]
    right, wrong = " ".join(parts), "one two x x x x x x x x one one"
    found = summary_of({"a": [(right, wrong)], "b": [(right, right)]}, segments={0: parts})
    assert too_few(found) == "6 segments are too few for a significance test, which needs 10 or more."
    assert found.comparisons[0].sentence == "a and b: fewer than 10 segments settle nothing, whatever their WER."
    assert not any("cannot be estimated" in one for one in detectable(found))


@pytest.mark.parametrize(
    ("hypothesis", "wer", "character_errors"),
    [
        ("the price is twenty one dollars and rising", 0.0, 0),
        ("the price is twentyone dollars and rising", None, 1),
    ],
)
@pytest.mark.parametrize("profile", ["whisper-english", "librispeech"])
def test_a_number_across_segments_is_one_number(
    hypothesis: str, wer: float | None, character_errors: int, profile: str
) -> None:
    """Rates by segment are those of the recordings, as jiwer counts them, however segments divide the text."""
    parts = ["the price is twenty", "one dollars and rising"]
    reference = " ".join(parts)
    few = summary_of({"a": [(reference, hypothesis)] * 4}, None, (profile,), dict.fromkeys(range(4), parts))
    many = summary_of({"a": [(reference, hypothesis)] * 5}, None, (profile,), dict.fromkeys(range(5), parts))
    assert (few.corpus.resampling_unit, many.corpus.resampling_unit) == ("segment", "utterance")
    by_segment, by_recording = (one.systems[0].scores[profile] for one in (few, many))
    assert by_segment.wer.value == by_recording.wer.value and by_segment.cer.value == by_recording.cer.value
    if wer is not None:
        assert by_segment.wer.value == wer
    if profile == "librispeech":
        assert by_segment.cer.value == pytest.approx(character_errors / len(reference))


def test_a_profile_that_joins_digits_is_not_called_fair() -> None:
    """Strings of spelled-out digits: whisper-english makes one number of each, so one wrong digit is the whole."""
    luck = np.random.default_rng(0)
    words = ["one", "two", "three", "four", "five", "six"]
    texts: dict[str, list[tuple[str, str]]] = {"a": [], "b": []}
    for _ in range(100):
        reference = [str(luck.choice(words)) for _ in range(6)]
        for name, share in (("a", 0.02), ("b", 0.08)):
            said = [str(luck.choice(words)) if luck.random() < share else word for word in reference]
            texts[name].append((" ".join(reference), " ".join(said)))
    speakers = [f"s{place % 10}" for place in range(100)]
    assert not summary_of(texts, speakers, ("librispeech", "whisper-english")).profile_effects
    spelled = {  # here it does: one system writes contractions out
        "a": [(f"i do not know {word}", f"i don't know {word}") for word in words * 10],
        "b": [(f"i do not know {word}", f"i do not know {word}") for word in words * 10],
    }
    (effect,) = summary_of(spelled, None, ("librispeech", "whisper-english")).profile_effects
    assert effect.reason.startswith("contractions or spellings")


def test_a_latin_keyword_among_chinese_is_a_word() -> None:
    normalise = keyword_tokens(str.lower, "cer")
    keywords = Keywords(["App", "空调"], normalise)
    assert keywords.count(words_and_characters("我想用app打开空调")) == {"App": 1, "空调": 1}
    assert not keywords.count(words_and_characters("今天天气很好happy"))


def test_of_equal_rates_none_is_the_lowest_alone() -> None:
    right, wrong = [("one two", "one two")] * 12, [("one two", "one")] * 12
    found = summary_of({"a": right, "b": right, "c": wrong, "d": wrong})
    assert verdict(found)[0].startswith("a and b have the lowest WER of four systems")
