"""What writing does to scores: real digits of Whisper, scripts without spaces, combining marks."""

import dataclasses
import re
from collections.abc import Mapping, Sequence

import pytest

from benchmark.report.fairness import decoding_sentence
from benchmark.report.page import prepare
from benchmark.report.quantities import quantities
from benchmark.report.table import markdown
from benchmark.report.utterances import recount_warnings
from benchmark.report.verdict import verdict
from benchmark.results import Run, Sample, StageSeconds, Summary, SystemFacts, SystemRun
from benchmark.scoring import changes, summarise
from benchmark.scoring.profile_effects import MINIMUM_EFFECT, _fair_profile
from benchmark.scoring.scripts import torn_words
from finetune.metrics.error_rates import primary_metric
from preprocessing.corpus import Segment
from preprocessing.text import profile
from preprocessing.text.languages import common_language, is_unspaced
from tests.benchmark.parsed_page import Page, page_of

SECONDS = StageSeconds(0.0, 0.0, 0.1, 0.0)

# What faster-whisper base wrote of four people's digits (Free Spoken Digit Dataset, test; 2026-11-28).
WHISPER_BASE = {
    "four": ("4", "4", "4", "4"),
    "five": ("Fine.", "5", "Bye.", "Bye."),
    "six": ("six", "6", "6", "See."),
    "seven": ("I've been", "7", "7", "7"),
    "eight": ("Okay.", "8", "Eat.", "8"),
    "nine": ("9", "9", "9", "9"),
}
DIGITS = [word for word in WHISPER_BASE for _ in range(4)]
WHISPER_WROTE = [text for texts in WHISPER_BASE.values() for text in texts]


def scored(
    references: Sequence[str],
    hypotheses: Mapping[str, Sequence[str]],
    profiles: Sequence[str] = ("librispeech", "whisper-english"),
    language: str | None = None,
) -> tuple[Summary, list[Sample]]:
    samples = [
        Sample(name, f"u{index}", reference, own[index], 2.0, SECONDS, f"s{index % 12}", language=language)
        for name, own in hypotheses.items()
        for index, reference in enumerate(references)
    ]
    systems = [SystemRun(SystemFacts(name, "none", name, 1)) for name in hypotheses]
    run = Run("2026-01-01T00:00:00+00:00", "x", {}, "test", [], list(profiles), 0, [], {}, systems)
    return summarise(run, samples, [], []), samples


def words_wrong(n_wrong: int) -> list[str]:
    """A system that spells digits and has every third word wrong, `n_wrong` in all."""
    return ["oh" if index % 3 == 0 and index // 3 < n_wrong else word for index, word in enumerate(DIGITS)]


@pytest.mark.parametrize("profiles", [("librispeech", "whisper-english"), ("librispeech",), ("verbatim", "basic")])
def test_digits_that_the_references_spell_are_no_errors_of_recognition(profiles: Sequence[str]) -> None:
    """Under a profile that leaves numbers alone Whisper is worse; written one way, the two do not differ."""
    summary, _ = scored(DIGITS, {"whisper": WHISPER_WROTE, "spelled": words_wrong(7)}, profiles, language="en")
    [effect] = summary.profile_effects
    assert effect.profile == profiles[0]
    assert effect.fair == ("whisper-english" if "whisper-english" in profiles else "basic:en")
    n_fewer = 2 if effect.fair == "whisper-english" else 1  # "I've been" is one word more under whisper-english
    assert effect.difference.value == pytest.approx(17 / 24)
    assert effect.fair_difference.value == pytest.approx(n_fewer / 24)
    assert "whisper writes numbers differently from the references (digits or words) in 16 of 24" in effect.reason
    first, *_, why, last = verdict(summary)
    assert first.startswith("spelled is significantly better than whisper")
    fair = f"The fair text normalisation profile here is {effect.fair}, not {profiles[0]}"
    assert why.startswith(f"{fair}: whisper writes")
    assert last.startswith(f"Under {effect.fair}, whisper minus spelled is +{100 * n_fewer / 24:.1f} points of WER (")
    before = effect.difference
    assert last.endswith(f"), under {profiles[0]} +70.8 (+{100 * before.low:.1f} to +{100 * before.high:.1f}).")


def test_a_large_difference_does_not_hide_what_the_profile_adds() -> None:
    """Of 20 errors 8 are digits: less than half of the difference, and more than a third of the rate."""
    wrote = ["oh"] * 12 + ["".join(WHISPER_BASE["nine"][:1])] * 8 + ["nine"] * 4
    spoken = ["four"] * 12 + ["nine"] * 12
    summary, _ = scored(spoken, {"whisper": wrote, "spelled": spoken})
    (effect,) = summary.profile_effects
    assert effect.difference.value == pytest.approx(20 / 24) and effect.fair_difference.value == pytest.approx(12 / 24)
    assert verdict(summary)[1].startswith("The fair text normalisation profile here is whisper-english")


def test_words_that_whisper_english_joins_have_another_fair_profile() -> None:
    """It makes 493 of "four nine three"; basic:en spells digits that are written one by one."""
    spoken = ["four nine three one"] * 12 + ["nine three one four"] * 12
    wrote = [
        text.replace("four", "4").replace("nine", "9").replace("three", "3").replace("one", "1") for text in spoken
    ]
    summary, _ = scored(spoken, {"whisper": wrote, "spelled": spoken})
    (effect,) = summary.profile_effects
    assert (effect.fair, effect.fair_difference.value) == ("basic:en", 0.0)


def test_a_ranking_that_turns_is_said() -> None:
    bad = ["oh" if index % 2 else word for index, word in enumerate(DIGITS)]
    summary, _ = scored(DIGITS, {"whisper": WHISPER_WROTE, "spelled": bad}, language="en")
    [effect] = summary.profile_effects
    assert effect.difference.value > 0 > effect.fair_difference.value and verdict(summary)[-1].endswith(
        ": the ranking is reversed."
    )


@pytest.mark.parametrize(
    ("profiles", "language"),
    [(("whisper-english", "librispeech"), "en"), (("basic:en",), "en"), (("librispeech",), None), (("basic",), "xx")],
)
def test_no_effect_is_claimed_where_numbers_are_alike_or_no_profile_is_known(
    profiles: Sequence[str], language: str | None
) -> None:
    summary, _ = scored(DIGITS, {"whisper": WHISPER_WROTE, "spelled": words_wrong(7)}, profiles, language)
    assert not summary.profile_effects


def test_small_effects_are_not_spoken_of() -> None:
    texts = [f"the colour of word {index}" for index in range(300)]
    other = [text.replace("colour", "color") if index == 0 else text for index, text in enumerate(texts)]
    summary, _ = scored(texts, {"a": texts, "b": other}, language="en")
    [comparison] = summary.comparisons
    assert 0 < abs(comparison.difference.value) < MINIMUM_EFFECT and not summary.profile_effects


def test_spellings_alone_can_make_a_difference() -> None:
    texts = [f"the colour of word {index} isn't grey" for index in range(40)]
    other = [text.replace("colour", "color").replace("isn't", "is not") for text in texts]
    summary, _ = scored(texts, {"a": texts, "b": other}, language="en")
    [effect] = summary.profile_effects
    assert "contractions or spellings" in effect.reason and effect.fair_difference.value == 0.0


CHINESE = ["今天天气很好", "我们去公园吧", "请把灯打开", "他昨天没有来", "这本书很有意思", "明天会下雨吗"] * 3
SPACED = [" ".join(text) for text in CHINESE]
ONE_WRONG = [text[:-1] + "了" for text in CHINESE]


def test_chinese_is_scored_by_characters_first() -> None:
    summary, samples = scored(CHINESE, {"spaced": SPACED, "wrong": ONE_WRONG}, ("basic", "verbatim"), language="zh")
    assert summary.metric == "cer" and summary.profiles[0].signature.startswith("cer|profile:basic.v3|level:character|")
    spaced, wrong = summary.systems
    n_characters = sum(map(len, CHINESE))
    assert spaced.scores["basic"].cer.value == 0.0  # where spaces stand is no question of recognition
    assert spaced.scores["basic"].wer.value > 1.0 and wrong.scores["basic"].wer.value == 1.0
    assert wrong.scores["basic"].cer.value == pytest.approx(len(CHINESE) / n_characters)
    for system, substituted in ((spaced, 0), (wrong, len(CHINESE))):  # kinds of errors, MER and WIL: of characters
        scores = system.scores["basic"]
        edits = (scores.words, scores.hits, scores.substitutions, scores.deletions, scores.insertions)
        assert edits == (n_characters, n_characters - substituted, substituted, 0, 0)
        kept = 1 - substituted / n_characters
        assert scores.mer is not None and scores.mer.value == pytest.approx(1 - kept)
        assert scores.wil is not None and scores.wil.value == pytest.approx(1 - kept**2)
    assert [row.group for row in quantities(summary) if row.label == "Substitutions"] == ["Character errors"]
    assert not recount_warnings(summary, prepare(summary, samples, [], profile("basic")).utterances)
    [comparison] = summary.comparisons
    assert comparison.different is True and comparison.difference.value == pytest.approx(-len(CHINESE) / n_characters)
    assert verdict(summary)[0].startswith("spaced is significantly better than wrong: its CER is ")
    assert [row.label for row in quantities(summary)[:4]] == [
        "CER, basic",
        "CER, verbatim",
        "CER, verbatim − basic",
        "WER, basic",
    ]
    assert [line for line in markdown(summary).splitlines() if line.startswith("| CER")]
    content = prepare(summary, samples, [], profile("basic"))
    assert sum(one.by_system["wrong"].alignment.counts.errors for one in content.utterances) == len(CHINESE)
    page = page_of(summary, samples)
    text = " ".join(Page(page).text.split())
    assert "CER is computed on texts" in text and "Paired difference of CER" in text and "CER, %" in text
    assert "WER is computed" not in text and "Points of WER" not in text and "ord errors are" not in text


def test_what_is_written_without_spaces_is_counted_in_characters_everywhere() -> None:
    """Invented in silence, confused, and spoken a second: a "word" would be the whole sentence."""
    references = ["今天天气很好", "我们去公园", ""]
    summary, _ = scored(references, {"a": ["今天天汽很好", "我们去公园", "谢谢大家观看"]}, ("basic",), language="zh")
    (system,) = summary.systems
    assert system.hallucinated_words_per_minute == {"clean": 60 * 6 / 2.0}
    assert ("气", "汽", 1) in [(one.reference, one.hypothesis, one.count) for one in system.confusions]
    rates = [one for one in system.slices if one.by == "speaking rate"]
    assert all("characters/s" in one.value for one in rates) and sum(one.words for one in rates) == 6 + 5


def test_segments_of_chinese_are_aligned_by_characters() -> None:
    segments = tuple(Segment(10.0 * place, 10.0 * place + 9.0, text) for place, text in enumerate(CHINESE))
    heard = "".join(ONE_WRONG[:4] + CHINESE[4:])
    long = Sample("a", "r", "".join(CHINESE), heard, 10.0 * len(CHINESE), SECONDS, language="zh", segments=segments)
    run = Run(
        "2026-01-01T00:00:00+00:00", "x", {}, "t", [], ["basic"], 0, [], {}, [SystemRun(SystemFacts("a", "f", "c", 1))]
    )
    summary = summarise(run, [long], [], [])
    cer = summary.systems[0].scores["basic"].cer
    assert summary.metric == "cer" and cer.value == pytest.approx(4 / sum(map(len, CHINESE))) and cer.high < 1.0
    for scores in (summary.systems[0].scores["basic"], summary.systems[0].segments):
        assert scores is not None and (scores.words, scores.substitutions) == (sum(map(len, CHINESE)), 4)
    wrong = {one.id for one in summary.systems[0].influences if one.errors}
    assert wrong == {f"r, segment {number}" for number in (1, 2, 3, 4)}


def test_a_change_is_of_the_metric() -> None:
    before, _ = scored(CHINESE, {"a": ONE_WRONG}, ("basic",), language="zh")
    now, _ = scored(CHINESE, {"a": CHINESE}, ("basic",), language="zh")
    [change] = changes(before, now)
    assert change.figure == "CER, clean" and change.kind == "better" and "CER, clean was 16" in change.sentence
    assert changes(dataclasses.replace(before, metric="wer"), now) == []


@pytest.mark.parametrize(
    ("language", "references", "expected"),
    [
        ("th", ["x"], "cer"),
        ("yue", ["x"], "cer"),
        ("zh-TW", ["x"], "cer"),
        ("my", ["x"], "cer"),
        ("Japanese", ["x"], "cer"),
        ("Mandarin Chinese", ["x"], "cer"),
        ("Cantonese Chinese", ["x"], "cer"),
        ("Chinese (Taiwan)", ["x"], "cer"),
        ("thai", ["x"], "cer"),
        ("Burmese", ["x"], "cer"),
        ("jp", ["x"], "cer"),
        ("cmn_hans_cn", ["x"], "cer"),
        ("KHM", ["x"], "cer"),
        ("hak", ["x"], "cer"),
        ("German", CHINESE, "wer"),
        ("deu", CHINESE, "wer"),
        ("spoken at home", CHINESE, "cer"),
        ("xx", CHINESE, "cer"),
        ("xx", ["the weather"], "wer"),
        ("ko", ["오늘 날씨가 좋다"], "wer"),
        ("en", CHINESE, "wer"),
        (None, CHINESE, "cer"),
        (None, ["วันนี้อากาศดีมาก"], "cer"),
        (None, ["今日はとても天気がいい"], "cer"),
        (None, ["ថ្ងៃនេះអាកាសធាតុល្អ"], "cer"),
        (None, ["ມື້ນີ້ອາກາດດີ"], "cer"),
        (None, ["ဒီနေ့ရာသီဥတုကောင်းတယ်"], "cer"),
        (None, ["오늘 날씨가 좋다", "the weather", "आज मौसम अच्छा है", ""], "wer"),
        (None, ["今天", "today"], "wer"),
        (None, [*CHINESE[:2], "the weather", "is", "nice"], "wer"),
        (None, [], "wer"),
    ],
)
def test_the_language_chooses_the_metric_and_the_script_where_it_is_unknown(
    language: str | None, references: Sequence[str], expected: str
) -> None:
    assert primary_metric(language, references) == expected
    assert not is_unspaced("")


def test_the_language_is_that_of_the_run_its_profiles_or_all_utterances() -> None:
    assert common_language("th", ["basic:de"], ["en"]) == "th"
    assert common_language(None, ["librispeech", "basic:de"], [None, "en"]) == "de"
    assert common_language(None, ["librispeech"], ["en", "en"]) == "en"
    assert common_language(None, ["librispeech"], ["Japanese", "ja", "ja-JP", "jpn"]) == "ja"
    assert common_language("Thai", ["librispeech"], []) == "th"
    assert common_language("Klingon", ["librispeech"], []) == "Klingon"
    assert common_language(None, ["librispeech"], ["en", None]) is None
    assert common_language(None, ["basic:de", "basic:en"], ["en", "de"]) is None


@pytest.mark.parametrize(
    "reference",
    [
        "हिन्दी में बोलो",  # Devanagari
        "আমি বাংলায় বলি",  # Bengali
        "தமிழில் பேசு",  # Tamil
        "తెలుగులో చెప్పు",  # Telugu
        "ಕನ್ನಡದಲ್ಲಿ ಹೇಳಿ",  # Kannada
        "മലയാളത്തിൽ പറയൂ",  # Malayalam
        "ગુજરાતીમાં બોલો",  # Gujarati
        "ਪੰਜਾਬੀ ਵਿੱਚ ਬੋਲੋ",  # Gurmukhi
        "ଓଡ଼ିଆରେ କୁହ",  # Odia
        "සිංහලෙන් කියන්න",  # Sinhala
        "วันนี้ฝนตก",  # Thai
        "ថ្ងៃនេះ",  # Khmer
        "ဒီနေ့",  # Myanmar
        "ມື້ນີ້",  # Lao
    ],
)
def test_whispers_rules_tear_vowel_signs_off_and_the_notice_names_the_better_profile(reference: str) -> None:
    torn = profile("whisper-basic")
    assert len(torn(reference).split()) > len(reference.split())
    summary, _ = scored([reference] * 12, {"a": [reference] * 12, "b": [""] * 12}, ("whisper-basic", "basic"))
    [notice] = summary.notices
    assert "whisper-basic replaces combining marks by spaces" in notice and "--profiles basic" in notice
    assert len(profile("basic")(reference).split()) == len(reference.split())
    assert not scored([reference] * 12, {"a": [reference] * 12}, ("basic", "librispeech"))[0].notices


def test_composed_and_rare_marks_are_no_reason_to_warn() -> None:
    both = [profile("whisper-basic"), profile("whisper-english")]
    assert torn_words(both, ["Zoë's café naïve", "Tiếng Việt", "voila\u0300"]) == []  # composed before marks go
    assert torn_words(both, ["plain words"] * 200 + ["हिन्दी"]) == []
    assert len(torn_words(both, ["plain words", "हिन्दी"])) == 2


def test_settings_of_decoding_stand_beside_each_other_where_they_differ() -> None:
    texts = [f"word {index}" for index in range(12)]
    summary, samples = scored(texts, {"one": texts, "two": texts, "ctc": texts}, ("verbatim",))
    stated = (
        {"decoding": "greedy", "beam_size": "1", "temperature": "0, no fallback", "vad_filter": "false", "batch": "8"},
        {"decoding": "beam search", "beam_size": "5", "temperature": "0, no fallback", "vad_filter": "true"},
        {"decoding": "greedy, collapsed"},
    )
    systems = [
        dataclasses.replace(one, facts=dataclasses.replace(one.facts, settings=settings))
        for one, settings in zip(summary.systems, stated, strict=True)
    ]
    summary = dataclasses.replace(summary, systems=systems)
    page = page_of(summary, samples)
    rows = page[page.index('id="decoding-caption"') :].partition("<tbody>")[2].partition("</tbody>")[0]
    table = " ".join(re.sub("<[^>]*>", " ", rows).split())
    assert "beam_size 1 5 –" in table and "vad_filter false true –" in table and "decoding greedy beam search" in table
    assert "temperature" not in table and "batch" not in table
    sentence = "one and two decode with different settings (beam_size, vad_filter)"
    assert sentence in Page(page).text and sentence.replace("_", "\\_") in markdown(summary)
    alike = dataclasses.replace(summary, systems=[systems[0], systems[0], systems[2]])
    assert "decode with different settings" not in markdown(alike)


PLAIN = {"beam_size": "1", "initial_prompt": "none"}
PROMPTED, SEARCHING = PLAIN | {"initial_prompt": "Digits."}, PLAIN | {"beam_size": "5"}
OF_GROUPS = "; differences between systems whose settings differ come from these as well as from the models."


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            [PLAIN, PROMPTED, PLAIN, {}],
            "b decodes with another initial_prompt than a and c; its differences to them come from this as well as "
            "from the models.",
        ),
        (
            [PLAIN, PLAIN, *[PROMPTED | {"beam_size": "5"}] * 2],
            "c and d decode with another beam_size and initial_prompt than a and b; their differences to them come "
            "from these as well as from the models.",
        ),
        (
            [PLAIN, SEARCHING, PROMPTED, PLAIN],
            f"b decodes with another beam_size and c with another initial_prompt than a and d{OF_GROUPS}",
        ),
        (
            [PLAIN, SEARCHING, {"beam_size": "9"}, PLAIN],
            f"b and c each decode with another beam_size than a and d{OF_GROUPS}",
        ),
        (
            [PLAIN, PROMPTED, *[{"vad_filter": "true", "beam_size": "1"}] * 2, {"vad_filter": "false"}],
            f"a, b, c, d and e do not all decode with the same initial_prompt and vad_filter{OF_GROUPS}",
        ),
        (
            [PLAIN, SEARCHING, {}, PROMPTED | {"beam_size": "9"}],
            "a, b and d decode with different settings (beam_size, initial_prompt), so differences between them come "
            "from these settings as well as from the models.",
        ),
        ([PLAIN, PLAIN, {}], ""),
    ],
)
def test_of_systems_that_decode_differently_those_with_other_settings_are_named(
    settings: list[dict[str, str]], expected: str
) -> None:
    texts = [f"word {index}" for index in range(12)]
    summary, _ = scored(texts, dict.fromkeys("abcde"[: len(settings)], texts), ("verbatim",))
    systems = [
        dataclasses.replace(one, facts=dataclasses.replace(one.facts, settings=own))
        for one, own in zip(summary.systems, settings, strict=True)
    ]
    assert decoding_sentence(dataclasses.replace(summary, systems=systems)) == expected


def test_the_fair_profile_of_chinese_has_one_script() -> None:
    assert _fair_profile(["basic"], "zh", has_digits=True) == "basic:zh:simplified"
    assert _fair_profile(["basic"], "de", has_digits=True) == "basic:de"
