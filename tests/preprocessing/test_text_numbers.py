"""Number words: against the spelling of LJSpeech's own authors, and by hand in English and German."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from num2words import num2words

from preprocessing.text import profile
from preprocessing.text.numbers import NumberWords, languages
from tests.conftest import read_manifest

GERMAN_DIGITS = ["eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "null", "eins", "zwei"]


def test_ljspeechs_own_spelling(speech: Path) -> None:
    """59 of 60; the other has "George II", which the corpus reads as "the second". Without numbers spelled: 50."""
    rows = read_manifest(speech / "ljspeech" / "test.jsonl")
    spelled, plain = profile("basic:en"), profile("basic")
    disagree = [row["id"] for row in rows if spelled(row["text"]) != plain(row["normalized_text"])]
    assert disagree == ["LJ002-0199"]
    assert sum(plain(row["text"]) == plain(row["normalized_text"]) for row in rows) == 50


@pytest.mark.parametrize(
    ("language", "raw", "spelled"),
    [
        ("en", "275 and 1,000,000", "two hundred seventy-five and one million"),
        ("en-GB", "275", "two hundred and seventy-five"),
        ("en", "3.10 or -5 or 0.05", "three point one zero or minus five or zero point zero five"),
        ("en", "the 22nd, the 101st", "the twenty-second, the one hundred first"),
        (
            "en",
            "1963, 1905, 2001, 2024, 1800s, 60s",
            "nineteen sixty-three, nineteen oh-five, two thousand one, twenty twenty-four, eighteen hundreds, sixties",
        ),
        ("en", "1,963 and 2500", "one thousand nine hundred sixty-three and two thousand five hundred"),
        (
            "en",
            "$5.30, £1, 5 €, $1.5 million, $0.01",
            "five dollars and thirty cents, one pound, five euros, one point five million dollars, one cent",
        ),
        ("en", "20%, 2.5 %", "twenty percent, two point five percent"),
        ("en", "9:30, 9:05, 9:00, 9:00 am", "nine thirty, nine oh five, nine o'clock, nine am"),
        ("en", "007, S3, 5km", "zero zero seven, S three, five km"),
        ("en", "1.2.3", "one.two.three"),
        ("de", "275 und 1.000.000", "zweihundertfünfundsiebzig und eine Million"),
        ("de", "3,10 oder -5", "drei Komma eins null oder minus fünf"),
        ("de", "am 3. Mai, der 1. Januar, 3. Mai", "am dritten Mai, der erste Januar, dritter Mai"),
        ("de", "im 19. Jahrhundert, 20. Jahrhundert", "im neunzehnten Jahrhundert, zwanzigstes Jahrhundert"),
        ("de", "Es waren 3. Dann", "Es waren drei. Dann"),
        ("de", "1963, 2001, die 90er", "neunzehnhundertdreiundsechzig, zweitausendeins, die neunziger"),
        ("de", "5,30 €, 1 €, 0,50 €, 5 Millionen €", "fünf Euro dreißig, ein Euro, fünfzig Cent, fünf Millionen Euro"),
        ("de", "9:30 Uhr, 14.05 Uhr, 1 Uhr", "neun Uhr dreißig, vierzehn Uhr fünf, ein Uhr"),
        ("de", "20 %", "zwanzig Prozent"),
        ("fr", "1 234,5", "mille deux cent trente-quatre virgule cinq"),
        ("es", "21", "veintiuno"),
        ("de", "0,1234567890123", "null Komma " + " ".join([*GERMAN_DIGITS, "drei"])),
        ("ja", "1,000", "千"),
    ],
)
def test_by_hand(language: str, raw: str, spelled: str) -> None:
    assert NumberWords(language)(raw) == spelled


@given(number=st.integers(0, 10**12 - 1), language=st.sampled_from(["en-GB", "de"]))
def test_grouped_integers_are_num2words(number: int, language: str) -> None:
    written = f"{number:,}".replace(",", "," if language == "en-GB" else ".")
    expected = num2words(number, lang=language[:2]).replace(",", "")
    if number >= 1000:
        assert NumberWords(language)(written) == expected


@pytest.mark.parametrize("language", languages())
def test_no_language_leaves_a_digit(language: str) -> None:
    spelled = NumberWords(language)("7, 20, 101 and 1963: 123456789")
    assert spelled.strip() and not any(character.isdecimal() for character in spelled)


@given(text=st.text("0123456789.,:%£€ -stUhr", max_size=20), language=st.sampled_from(["en", "de", "fr"]))
def test_every_digit_is_spelled(text: str, language: str) -> None:
    assert not any(character.isdecimal() for character in NumberWords(language)(text))
