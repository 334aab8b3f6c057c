"""How languages speak numbers: one row of FORMS each, and in DIGITS_STAY the languages whose numbers stay digits.

Separators, decimals, percent and the sign are data here; cardinals and ordinals come from number_words.py. A number
whose form depends on the noun it counts (gender, case) has the form of counting: digits alone do not tell. English and
German have rules of their own in numbers.py. Sources: tests/preprocessing/number_words.py.
"""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from preprocessing.text import number_fractions
from preprocessing.text.number_words import (
    RUSSIAN_YEAR,
    basque_cardinal,
    basque_ordinal,
    by_cldr,
    by_num2words,
    catalan_ordinal,
    chinese_cardinal,
    dutch_cardinal,
    dutch_ordinal,
    dutch_year,
    esperanto_cardinal,
    esperanto_ordinal,
    french_ordinal,
    hindi_ordinal,
    hindi_year,
    italian_cardinal,
    romance_ordinal,
    russian_decimals,
    russian_year,
    spanish_ordinal,
    swahili_cardinal,
    turkish_ordinal,
    turkish_suffix,
    words_of,
)

Rule = tuple[str, Callable[[re.Match[str]], str]]
"""A pattern that begins with a digit, and what stands in its place."""


# The reason why digits stay, by the code of the language.
DIGITS_STAY = {
    "ar": "number words change with gender and case, and num2words and CLDR err",
    "bn": "hundreds and years have several spoken forms, of which num2words knows the bookish one",
    "ta": "number words join, which CLDR's do not, and num2words lacks the language",
    **dict.fromkeys(words_of("ba ckb kab lg mhr ps rw ug"), "no library spells its numbers"),
    **dict.fromkeys(
        words_of(
            "am az ce cs cy da el et fi gl he hr hu hy id is ka kk km kn ko ky kz lo lt lv mr ms my nb nn no "
            "ro sk sl sr sv te tet tg tt uk ur uz yue"
        ),
        "its number words have not been checked",
    ),
}


@dataclass(frozen=True)
class NumberForms:
    """How a language writes numbers in digits and speaks them.

    cardinal: the words of an integer, or None where they are not certain: its digits stay.
    decimal, minus: the words for the decimal separator and the sign.
    percent: templates of the amount: for all; or for 1 and all others; or, as in Slavic languages, for what ends on 1,
        on 2 to 4, on others, and for decimals.
    group, point: patterns of one separator of thousands, and of decimals. lakh: whether 12,34,567 is a number.
    fraction: the words of the digits after the separator. decimals: both parts at once, where it is not None.
    ordinal: the words of an integer and the letters after it (3rd), or None where these make no ordinal.
    joiner: a pattern of what may stand between a number and such letters, which are given with it.
    suffix: the words with the letters after an apostrophe joined to them, where the language writes them so (1963'te).
    stays: a pattern; a year before it stays in digits, as its case is not certain.
    vulgar: the words of a vulgar fraction and the number before it, or None where its digits are read one by one.
    year: the words of 1100 to 2099 written without separator, or None where they are the cardinal.
    telephone_digits: from how many digits on a number without separators is read digit by digit; counted: a pattern of
        the units that follow one that is not.
    rules: applied before all others. spaced: whether words have spaces between them.
    """

    cardinal: Callable[[int], str | None]
    decimal: str
    minus: str
    percent: tuple[str, ...]
    group: str = "[. ]"
    point: str = ","
    lakh: bool = False
    fraction: Callable[["NumberForms", str], str] = lambda forms, digits: as_one_number(forms, digits)
    decimals: Callable[[int, str], str | None] = lambda whole, fraction: None
    ordinal: Callable[[int, str], str | None] = lambda number, letters: None
    joiner: str = ""
    suffix: Callable[[str, str], str] | None = None
    stays: str = ""
    vulgar: Callable[[number_fractions.Cardinal, int | None, int, int], str | None] = number_fractions.no_fraction
    year: Callable[[int], str | None] = lambda number: None
    telephone_digits: int = 9
    counted: str = ""
    rules: tuple[Rule, ...] = ()
    spaced: bool = True

    def one_by_one(self, digits: str) -> str:
        """The words of each digit."""
        return (" " if self.spaced else "").join(self.cardinal(int(digit)) or digit for digit in digits)


def as_one_number(forms: NumberForms, fraction: str) -> str:
    """The words of 14 as fourteen and of 05 as zero five; of more than three digits one by one."""
    rest = fraction.lstrip("0")
    if len(fraction) > 3 or not rest:
        return forms.one_by_one(fraction)
    return f"{forms.one_by_one(fraction[: -len(rest)])} {forms.cardinal(int(rest))}".strip()


def _digit_by_digit(forms: NumberForms, fraction: str) -> str:
    return forms.one_by_one(fraction)


# Of languages that write 1,000.5 and read decimals digit by digit.
_with_point = functools.partial(NumberForms, group=",", point=r"\.", fraction=_digit_by_digit)


def _french(language: str) -> NumberForms:
    return NumberForms(
        cardinal=functools.partial(by_num2words, language),
        decimal="virgule",
        minus="moins",
        percent=("{} pour cent",),
        ordinal=functools.partial(french_ordinal, language),
    )


_MONTHS = {
    "es": "enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|octubre|noviembre|diciembre",
    "pt": "janeiro|fevereiro|março|abril|maio|junho|julho|agosto|setembro|outubro|novembro|dezembro",
    "it": "gennaio|febbraio|marzo|aprile|maggio|giugno|luglio|agosto|settembre|ottobre|novembre|dicembre",
}


def _first_of_the_month(language: str, word: str) -> tuple[Rule, ...]:
    """1° with the sign of degrees, before the name of a month."""
    return ((rf"(?<!\d)1\s?°(?=\s?(?:de\s)?(?:{_MONTHS[language]})\b)", lambda match: word),)


_SPANISH = NumberForms(
    cardinal=functools.partial(by_cldr, "es"),
    decimal="coma",
    minus="menos",
    percent=("{} por ciento",),
    ordinal=spanish_ordinal,
    joiner=r"(?:\.(?=(?:o|a|er)\b))?",
    rules=_first_of_the_month("es", "primero"),
)


def _portuguese(language: str) -> NumberForms:
    return NumberForms(
        cardinal=functools.partial(by_num2words, language),
        decimal="vírgula",
        minus="menos",
        percent=("{} por cento",),
        ordinal=functools.partial(romance_ordinal, language),
        joiner=r"(?:\.(?=(?:o|a)\b))?",
        rules=_first_of_the_month("pt", "primeiro"),
    )


_BEFORE_LETTERS = "[-‐]?"  # 1-a, 5-й; in Russian, Belarusian and Polish such ordinals stay digits

# Chinese, Japanese, Thai: no spaces between words

# 2点 is a time or a count of points; 2点5 may be a decimal. Not here: what may have 二 (元, 斤, 度, 层).
_CHINESE_MEASURES = (
    "[个個位次种種天岁歲只隻条條张張本件块塊家名人场場部辆輛座所倍万萬亿億千百米周週秒]"
    r"|年(?!级|級)|小时|小時|分钟|分鐘|公里|公斤|公尺|公分|厘米|毫米|[点點](?!\d)|[点點](?=[0-5]?\d分)"
)


def _chinese(script: str, point: str, minus: str, two: str) -> NumberForms:
    def cardinal(number: int) -> str:
        """二 alone, before 百 and before 千 after 万 or 亿; 两 before other 千, 万, 亿 (现代汉语词典)."""
        words = chinese_cardinal(script, number)
        return re.sub(rf"(?<=[万萬亿億]){two}(?=千)" + (f"|{two}(?=百)" if script == "zh" else ""), "二", words)

    digits = "零一二三四五六七八九"
    return _with_point(
        cardinal,
        point,
        minus,
        ("百分之{}",),
        rules=(
            (r"(?<![\d.,])(1[1-9]\d\d|20\d\d)(?=\s?年)", lambda match: "".join(digits[int(one)] for one in match[1])),
            (rf"(?<![\d.,第⁄])2(?=\s?(?:{_CHINESE_MEASURES}))", lambda match: two),
        ),
        telephone_digits=8,
        counted=rf"\s?(?:{_CHINESE_MEASURES}|[人元户戶吨噸兆%])",
        vulgar=number_fractions.chinese,
        spaced=False,
    )


def _vietnamese_fraction(forms: NumberForms, fraction: str) -> str:
    """Up to three digits as one number: 05 không năm, 032 không trăm ba mươi hai."""
    if len(fraction) == 3 and fraction[0] == "0" and fraction != "000":
        return by_cldr("vi", 1000 + int(fraction)).removeprefix("một nghìn ")
    return as_one_number(forms, fraction)


FORMS: dict[str, NumberForms] = {
    "be": NumberForms(
        functools.partial(by_num2words, "be"),
        "коска",
        "мінус",
        ("{} працэнт", "{} працэнты", "{} працэнтаў", "{} працэнта"),
        joiner=_BEFORE_LETTERS,
        stays=r"\s*(?:гг?|год|года|годзе|году|годам|гады|гадоў|гадах)\b",
        fraction=_digit_by_digit,
    ),
    "ca": NumberForms(
        functools.partial(by_num2words, "ca"),
        "coma",
        "menys",
        ("{} per cent",),
        ordinal=catalan_ordinal,
        joiner=r"(?:\.(?=[rntèa]\b))?",
    ),
    "eo": NumberForms(
        esperanto_cardinal,
        "komo",
        "minus",
        ("{} procento", "{} procentoj"),
        fraction=_digit_by_digit,
        ordinal=esperanto_ordinal,
        joiner=_BEFORE_LETTERS,
    ),
    "es": _SPANISH,
    **dict.fromkeys(
        (f"es_{region}" for region in words_of("DO GT HN MX NI PA PE PR SV US")),
        replace(_SPANISH, decimal="punto", group="[, ]", point=r"\."),
    ),
    "eu": NumberForms(
        basque_cardinal,
        "koma",
        "minus",
        ("ehuneko {}",),
        rules=((r"(?<![\d.,])([1-9]\d{0,2})\.(?=\s(?-i:[a-zñ]))", lambda match: basque_ordinal(match[1])),),
    ),
    "fa": NumberForms(
        functools.partial(by_num2words, "fa"),
        "ممیز",
        "منفی",
        ("{} درصد",),
        "[,٬]",
        "[.٫]",
        vulgar=number_fractions.persian,
    ),
    **{code: _french(code) for code in ("fr", "fr_BE", "fr_CH")},
    "hi": _with_point(
        functools.partial(by_cldr, "hi"),
        "दशमलव",
        "ऋण",
        ("{} प्रतिशत",),
        lakh=True,
        vulgar=number_fractions.hindi,
        ordinal=hindi_ordinal,
        year=hindi_year,
    ),
    "it": NumberForms(
        italian_cardinal,
        "virgola",
        "meno",
        ("{} per cento",),
        ordinal=functools.partial(romance_ordinal, "it"),
        rules=_first_of_the_month("it", "primo"),
    ),
    "ja": _with_point(
        functools.partial(by_num2words, "ja"),
        "点",
        "マイナス",
        ("{}パーセント",),
        counted=r"\s?[万億兆人円個件本台票]",
        vulgar=number_fractions.japanese,
        spaced=False,
    ),
    "nl": NumberForms(
        dutch_cardinal,
        "komma",
        "min",
        ("{} procent",),
        vulgar=number_fractions.dutch,
        ordinal=dutch_ordinal,
        year=dutch_year,
    ),
    "pl": NumberForms(
        functools.partial(by_num2words, "pl"),
        "przecinek",
        "minus",
        ("{} procent",),
        joiner=_BEFORE_LETTERS,
        stays=r"\s*(?:r|rok|roku|rokiem|rokowi|lata|latach)\b",
    ),
    "pt": _portuguese("pt"),
    "pt_BR": _portuguese("pt_BR"),
    "ru": NumberForms(
        functools.partial(by_num2words, "ru"),
        "запятая",
        "минус",
        ("{} процент", "{} процента", "{} процентов", "{} процента"),
        joiner=_BEFORE_LETTERS,
        decimals=russian_decimals,
        stays=r"\s*(?:гг?|годы|годов|годах|годам|годами)\b",
        rules=((RUSSIAN_YEAR, russian_year),),
    ),
    "sw": _with_point(swahili_cardinal, "nukta", "kasoro", ("asilimia {}",), vulgar=number_fractions.swahili),
    "th": _with_point(functools.partial(by_num2words, "th"), "จุด", "ลบ", ("{}เปอร์เซ็นต์",), spaced=False),
    "tr": NumberForms(
        functools.partial(by_cldr, "tr"),
        "virgül",
        "eksi",
        ("yüzde {}",),
        vulgar=number_fractions.turkish,
        ordinal=turkish_ordinal,
        joiner="'?",
        suffix=turkish_suffix,
        rules=(
            (
                r"(?<![\d.,])([1-9]\d{0,2})\.(?=\s(?-i:[a-zçğıöşü]))",
                lambda match: by_cldr("tr", int(match[1]), "spellout-ordinal"),
            ),
        ),
    ),
    "vi": NumberForms(
        functools.partial(by_cldr, "vi"),
        "phẩy",
        "âm",
        ("{} phần trăm",),
        fraction=_vietnamese_fraction,
        rules=(
            (r"(?:(?<=\bthứ\s)|(?<=\btháng\s))4(?!\d|[.,]\d)", lambda match: "tư"),
            (r"(?<=\bthứ\s)1(?!\d|[.,]\d)", lambda match: "nhất"),
        ),
    ),
    "zh": _chinese("zh", "点", "负", "两"),
    **dict.fromkeys(("zh_TW", "zh_HK"), _chinese("zh_Hant", "點", "負", "兩")),
}


def forms_of(code: str) -> NumberForms | None:
    """The row of FORMS for a language: of pt_BR for pt-BR, of es for es-CO; None where digits stay or it is unknown."""
    full = code.replace("-", "_")
    return FORMS.get(full) or FORMS.get(full.split("_")[0])
