"""Number words: against LJSpeech's authors, tables by hand in 24 languages, and a second library."""

import functools
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from num2words import num2words
from unicode_rbnf import RbnfEngine

from preprocessing.cli import notes
from preprocessing.errors import UsageError
from preprocessing.text import Profile, profile
from preprocessing.text.number_forms import DIGITS_STAY, FORMS
from preprocessing.text.numbers import NumberWords, languages
from tests.conftest import read_manifest
from tests.preprocessing.number_words import SPOKEN

OF_FORMS = sorted(FORMS)
# The 20 largest languages of Common Voice 25.0 (2026-03-09) by recorded hours: locales' totalHrs in
# github.com/common-voice/cv-dataset, datasets/scripted-speech/cv-corpus-25.0-2026-03-09.json.
LARGEST = ["ps", "ca", "en", "rw", "es", "eo", "be", "de", "bn", "fr", "zh-CN", "sw", "ja", "eu", "kab", "lg", "ug"]
LARGEST += ["fa", "th", "ta"]
NAMED = ["vi", "tr", "ar", "th", "fr", "hi", "zh"]

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
        ("en", "9:30am, 12:30pm, 9:00AM", "nine thirty am, twelve thirty pm, nine AM"),
        (
            "en",
            "$1.5m, £2.5bn, $1,500k, $5M",
            "one point five million dollars, two point five billion pounds, "
            "one thousand five hundred thousand dollars, five million dollars",
        ),
        ("en", "$1.5x", "$one point five x"),
        (
            "de",
            "1,5 Mio. €, 2 Mrd €, 1 Million, 1 Mio €",
            "eins Komma fünf Millionen Euro, zwei Milliarden Euro, eine Million, eine Million Euro",
        ),
        ("de", "die 20.000er, die 90er", "die zwanzigtausender, die neunziger"),
        ("en", "007, S3, 5km", "zero zero seven, S three, five km"),
        ("en", "1.2.3", "one.two.three"),
        ("en", ".5, .22 caliber, -.5, .5%", "point five, point two two caliber, minus point five, point five percent"),
        ("en", "$.50, £.05, $.5 million", "fifty cents, five pence, point five million dollars"),
        ("en", "5'10\", 1'000", 'five ten", one thousand'),
        ("de", "275 und 1.000.000", "zweihundertfünfundsiebzig und eine Million"),
        ("de", "3,10 oder -5", "drei Komma eins null oder minus fünf"),
        ("de", "am 3. Mai, der 1. Januar, 3. Mai", "am dritten Mai, der erste Januar, dritter Mai"),
        ("de", "im 19. Jahrhundert, 20. Jahrhundert", "im neunzehnten Jahrhundert, zwanzigstes Jahrhundert"),
        ("de", "Es waren 3. Dann", "Es waren drei. Dann"),
        ("de", "1963, 2001, die 90er", "neunzehnhundertdreiundsechzig, zweitausendeins, die neunziger"),
        ("de", "5,30 €, 1 €, 0,50 €, 5 Millionen €", "fünf Euro dreißig, ein Euro, fünfzig Cent, fünf Millionen Euro"),
        ("de", "9:30 Uhr, 14.05 Uhr, 1 Uhr", "neun Uhr dreißig, vierzehn Uhr fünf, ein Uhr"),
        ("de", "20 %", "zwanzig Prozent"),
        ("de", "0,1234567890123", "null Komma " + " ".join([*GERMAN_DIGITS, "drei"])),
        ("it", "dal1°maggio", "dal primo maggio"),
        ("fr", "22.11.2026", "vingt-deux.onze.deux mille vingt-six"),
        ("fr", "B2, 007, le 5e, 12,5km", "B deux, zéro zéro sept, le cinquième, douze virgule cinq km"),
    ],
)
def test_by_hand(language: str, raw: str, spelled: str) -> None:
    assert NumberWords(language)(raw) == spelled


@given(number=st.integers(0, 10**12 - 1))
def test_grouped_integers_are_num2words_or_cldrs(number: int) -> None:
    """English by num2words; German by CLDR, as num2words says einhunderteinstausend."""
    if number >= 1000:
        assert NumberWords("en-GB")(f"{number:,}") == num2words(number, lang="en").replace(",", "")
        german = NumberWords("de")(f"{number:,}".replace(",", "."))
        assert german.replace(" ", "") == _cldr("de", number).replace("\u00ad", "").replace(" ", "")


@pytest.mark.parametrize("language", languages())
def test_no_language_leaves_a_digit(language: str) -> None:
    spelled = NumberWords(language)("7, 20, 101 and 1963: 123456")
    assert spelled.strip() and not any(character.isdecimal() for character in spelled)


@given(text=st.text("0123456789.,:%£€ -stUhr", max_size=20), language=st.sampled_from(["en", "de"]))
def test_every_digit_is_spelled(text: str, language: str) -> None:
    assert not any(character.isdecimal() for character in NumberWords(language)(text))


@functools.cache
def _basic(language: str) -> Profile:
    return profile(f"basic:{language}")


@pytest.mark.parametrize("language", sorted(SPOKEN))
def test_as_grammars_have_it(language: str) -> None:
    words = SPOKEN[language].words
    plain = profile("basic")
    assert {written: _basic(language)(written) for written in words} == {one: plain(words[one]) for one in words}


@pytest.mark.parametrize(
    ("language", "raw", "spelled"),
    [
        ("en", "call 555123456", "call five five five one two three four five six"),
        ("de", "176123456", "eins sieben sechs eins zwei drei vier fünf sechs"),
        ("fr", "612345678", "six un deux trois quatre cinq six sept huit"),
        ("zh", "13812345678", "一三八一二三四五六七八"),
        ("zh", "12345678", "一二三四五六七八"),
        # no telephone numbers
        ("en", "98765432", "ninety eight million seven hundred sixty five thousand four hundred thirty two"),
        ("en", "100000000", "one hundred million"),
        ("en", "$500123456", "five hundred million one hundred twenty three thousand four hundred fifty six dollars"),
        ("en", "500,123,456", "five hundred million one hundred twenty three thousand four hundred fifty six"),
        ("es", "200000002,5", "doscientos millones dos coma cinco"),
        ("zh", "21893095人", "两千一百八十九万三千零九十五人"),
        ("zh", "12345678万", "一千二百三十四万五千六百七十八万"),
        ("zh", "1234567", "一百二十三万四千五百六十七"),
    ],
)  # fmt: skip
def test_telephone_numbers_are_read_digit_by_digit(language: str, raw: str, spelled: str) -> None:
    assert _basic(language)(raw) == spelled


@pytest.mark.parametrize("space", ["\u00a0", "\u2009", "\u202f"])
@pytest.mark.parametrize(
    ("language", "raw", "with_plain_space", "with_no_break_space"),
    [
        ("de", "10 000 Menschen", "zehntausend menschen", None),
        ("de", "12 500 €, die 20 000er", "zwölftausendfünfhundert euro die zwanzigtausender", None),
        ("de", "1 234,5 %", "eintausendzweihundertvierunddreißig komma fünf prozent", None),
        ("de", "im Jahr 2020 100 %", "im jahr zweitausendzwanzig einhundert prozent", None),
        ("de-CH", "10 000.50 Fr.", "zehntausend franken fünfzig", None),
        ("fr", "en 2020 100 %", "en deux mille vingt cent pour cent", None),
        ("en", "1 000 000 men", "one zero zero zero zero zero zero men", "one million men"),
        ("en", "$12 500", "twelve dollars five hundred", "twelve thousand five hundred dollars"),
        ("en", "3.141 592", "three point one four one five hundred ninety two", None),
        ("en", "020 794", "zero two zero seven hundred ninety four", None),
        ("zh", "10 000人", "十 零零零人", "一万人"),
    ],
)  # fmt: skip
def test_thousands_with_a_space(
    language: str, raw: str, with_plain_space: str, with_no_break_space: str | None, space: str
) -> None:
    """Languages that write 1,000 join no plain space: "5 000" may be two numbers."""
    assert _basic(language)(raw) == with_plain_space
    expected = with_plain_space if with_no_break_space is None else with_no_break_space
    assert _basic(language)(raw.replace(" ", space)) == expected


@pytest.mark.parametrize(
    ("raw", "spelled"),
    [
        ("Tel. 0170 123 456", "tel null eins sieben null einhundertdreiundzwanzig vierhundertsechsundfünfzig"),
        ("Tel. 030 123", "tel null drei null einhundertdreiundzwanzig"),
        ("+49 170 4567", "neunundvierzig einhundertsiebzig viertausendfünfhundertsiebenundsechzig"),
        ("A4 100 Blatt, 1/2 100", "a vier einhundert blatt eins zwei einhundert"),
        ("1.000 200, 3,5 100", "eintausend zweihundert drei komma fünf einhundert"),
        ("0 100", "null einhundert"),
        ("2 020 000 und 10 20 30", "zwei millionen zwanzigtausend und zehn zwanzig dreißig"),
    ],
)
def test_german_numbers_beside_each_other_stay_apart(raw: str, spelled: str) -> None:
    assert _basic("de")(raw) == spelled


@pytest.mark.parametrize("language", ["de-CH", "de-LI"])
@pytest.mark.parametrize(
    ("raw", "spelled"),
    [
        ("5.50 und 5,50 und 0.5%", "fünf komma fünf null und fünf komma fünf null und null komma fünf prozent"),
        ("Fr. 5.50, CHF 5.50, 5.50 Fr.", "fünf franken fünfzig fünf franken fünfzig fünf franken fünfzig"),
        ("Fr. 1'250.50 oder 1.000", "eintausendzweihundertfünfzig franken fünfzig oder eintausend"),
        ("20.– Fr., SFr. 0.50", "zwanzig franken fünfzig rappen"),
        (
            "am 3.5. um 14.30 Uhr, 3.5.2026",
            "am drei fünf um vierzehn uhr dreissig drei fünf zweitausendsechsundzwanzig",
        ),
        ("Fr. 3. Mai", "fr dritter mai"),
    ],
)
def test_swiss_amounts(language: str, raw: str, spelled: str) -> None:
    assert _basic(language)(raw) == spelled
    assert _basic("de")("5.50") == "fünf fünfzig"


def test_the_largest_languages_are_spoken_or_say_that_they_are_not() -> None:
    for language in (*LARGEST, *NAMED):
        base = language.split("-")[0]
        assert (base in languages()) != (base in DIGITS_STAY), language
    assert {code for code in languages() if code != "en"} <= set(SPOKEN)


@pytest.mark.parametrize("language", ["ar", "ps", "sv"])
def test_where_digits_stay_the_profile_says_so(
    language: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notes, "_noted", set())
    used = profile(f"basic:{language}")
    assert used("12 x 3%") == "12 x 3" == profile("basic")("12 x 3%")
    assert f"digits stay digits in {language}: {DIGITS_STAY[language]}" in used.description and used.note
    assert not profile("basic:hi").note
    err = capsys.readouterr().err
    profile(f"basic:{language}")
    assert err == f"note: {used.note}\n" and capsys.readouterr().err == ""


def test_an_unknown_language_is_told_what_there_is() -> None:
    with pytest.raises(UsageError) as caught:
        NumberWords("xx")
    assert (
        "zh" in str(caught.value) and "whose digits stay" in str(caught.value) and "try 'en'" not in str(caught.value)
    )


# What num2words says where the words come from CLDR, or CLDR where they come from num2words, made what is right.
SECOND_LIBRARY = {
    "be": lambda number: re.sub("(пяць|шэсць)дзе", r"\1дзя", _cldr("be", number).replace("i", "і")),
    "eo": lambda number: num2words(number, lang="eo"),
    "es": lambda number: num2words(number, lang="es"),
    "fr": lambda number: _cldr("fr", number),
    "it": lambda number: _italian(num2words(number, lang="it")),
    "ja": lambda number: _cldr("ja", number).replace("〇", "零"),
    "nl": lambda number: "één" if number == 1 else _dutch(_cldr("nl", number)),
    "pl": lambda number: _cldr("pl", number),
    "pt_BR": lambda number: _cldr("pt", number),
    "ru": lambda number: _cldr("ru", number),
    "th": lambda number: re.sub("(ร้อย|พัน)หนึ่ง$", r"\1เอ็ด", _cldr("th", number)),
    "tr": lambda number: num2words(number, lang="tr"),
}


def _italian(words: str) -> str:
    words = re.sub("dicotto$", "diciotto", re.sub("centotto$", "centootto", words))
    return re.sub(r"(?<=\w)tre$", "tré", words)


def _dutch(words: str) -> str:
    return words.replace("\u00ad", "")


_rules = functools.cache(RbnfEngine.for_language)


def _cldr(language: str, number: int) -> str:
    return _rules(language).format_number(number).text.replace("\u200b", "")


@given(number=st.integers(0, 10**12 - 1))
def test_chinese_reads_back(number: int) -> None:
    """By a grammar of its own: every zero place between two others is 零, and the digits are the number's."""
    words = str(FORMS["zh"].cardinal(number)).replace("两", "二")
    total = part = digit = 0
    for character in words:
        if character in "零一二三四五六七八九":
            digit = "零一二三四五六七八九".index(character)
        elif character in "十百千":
            part += (digit or 1) * 10 ** ("十百千".index(character) + 1)
            digit = 0
        else:
            part, digit = (part + digit) * {"万": 10**4, "亿": 10**8}[character], 0
            total, part = total + part, 0
    assert total + part + digit == number
    inner = re.sub("0+$", "", f"{number:012d}").lstrip("0")
    assert number == 0 or ("零" in words) >= bool(re.search("[1-9]0+[1-9]$", inner) and "0" in inner[-2:-1])
    assert not re.search("零(?:十|$)|零零", words) or number == 0


@given(number=st.integers(0, 10**12 - 1))
def test_dutch_parts_at_thousands(number: int) -> None:
    """CLDR writes the same letters; spaces as in the Leidraad: after duizend, around miljoen and miljard."""
    words = str(FORMS["nl"].cardinal(number))
    if number != 1:
        assert words.replace(" ", "") == re.sub(r"[\s\u00ad]", "", _cldr("nl", number))
    assert all(
        re.fullmatch("[^ ]*duizend|miljoen|miljard|(?:(?!duizend|miljoen|miljard).)+", word) for word in words.split()
    )


@pytest.mark.parametrize("language", sorted(SECOND_LIBRARY))
def test_two_libraries_agree_on_cardinals(language: str) -> None:
    second = SECOND_LIBRARY[language]
    for number in [*range(130), *range(130, 2100, 47), 1_000]:
        ours = str(FORMS[language].cardinal(number))
        assert re.sub(r"[-\s]", "", ours) == re.sub(r"[-\s,]", "", second(number))


@settings(max_examples=200)
@given(
    language=st.sampled_from([code for code in OF_FORMS if code != "ru"]),
    whole=st.integers(0, 99_999),
    fraction=st.text("0123456789", min_size=1, max_size=3),
)
def test_decimals_read_back(language: str, whole: int, fraction: str) -> None:
    """The words are those of the integer, the decimal word, and those of each digit or of the number they make."""
    forms = FORMS[language]
    written = f"{whole}{'.' if '.' in forms.point else ','}{fraction}"
    integer, word, rest = NumberWords(language)(written).partition(forms.decimal)
    assert (integer.strip(), word) == (forms.cardinal(whole), forms.decimal)
    one_by_one = (" " if forms.spaced else "").join(str(forms.cardinal(int(digit))) for digit in fraction)
    zeros = [str(forms.cardinal(0))] * (len(fraction) - len(fraction.lstrip("0")))
    readings = [one_by_one, " ".join([*zeros, str(forms.cardinal(int(fraction)))])]
    if language == "vi":  # 032 as the end of 1032
        readings.append(str(forms.cardinal(1000 + int(fraction))).removeprefix("một nghìn "))
    assert rest.strip() in readings


@settings(max_examples=300)
@given(
    language=st.sampled_from(OF_FORMS),
    text=st.text("0123456789.,%٪- \n'()é年個वीं万mkgerгодxÖ5१۲\u0301", max_size=24) | st.text(max_size=24),
)
def test_never_raises_and_is_idempotent(language: str, text: str) -> None:
    once = _basic(language)(text)
    assert _basic(language)(once) == once


@pytest.mark.parametrize(
    ("language", "raw", "once"),
    [
        ("eo", "::5-g", "kvin g"),
        ("pl", "3-h", "trzy h"),
        ("fa", "4ـ,", "چهار"),
        ("ru", "485-s", "четыреста восемьдесят пять s"),
    ],
)
def test_letters_behind_a_joiner_are_read_at_once(language: str, raw: str, once: str) -> None:
    assert _basic(language)(raw) == _basic(language)(once) == once


@pytest.mark.parametrize(
    ("raw", "spelled"),
    [
        ("2½ hours", "two and a half hours"),
        ("1½ or 3⅛ or 2 ¾", "one and a half or three and an eighth or two and three quarters"),
        ("£2½, $1½ million, 2½%", "two and a half pounds one and a half million dollars two and a half percent"),
        ("½ mile, ¾-inch, -½, ⅔", "one half mile three quarters inch minus one half two thirds"),
        ("2¹⁄₂ and ³/₄", "two and a half and three quarters"),
        ("10², 5³, 10⁻³", "ten squared five cubed ten minus three"),
        ("war.³ war³ Smith's²", "war war smith's"),
        ("5 km², x², CO₂", "five km two x two co two"),
    ],
)
def test_fractions_and_powers_join_no_number(raw: str, spelled: str) -> None:
    assert _basic("en")(raw) == spelled


@settings(max_examples=150)
@given(
    language=st.sampled_from(OF_FORMS),
    numbers=st.lists(st.integers(0, 999_999), min_size=1, max_size=4),
    form=st.sampled_from(["{}", "{}%", "({})", "{}, ", "-{}", "xyz{}"]),
)
def test_a_number_alone_leaves_no_digit_and_joins_no_word(language: str, numbers: list[int], form: str) -> None:
    spelled = _basic(language)("qwx " + "; qwx ".join(form.format(number) for number in numbers))
    assert not any(character.isdecimal() for character in spelled)
    if FORMS[language].spaced:
        assert spelled.split().count("qwx") == len(numbers)
        assert spelled.split().count("xyz") == (len(numbers) if "xyz" in form else 0)
    if "%" in form:
        before, _, after = FORMS[language].percent[0].partition("{}")
        assert spelled.count((before or after).strip()) == len(numbers)
