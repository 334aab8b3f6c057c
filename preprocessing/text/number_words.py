"""Number words by language: cardinals, ordinals and years that the table of number_forms.py is made of.

Cardinals come from num2words, or from the rules of Unicode CLDR (unicode-rbnf) where num2words lacks the language or
errs: "yirmibir" for "yirmi bir", "veintiuno mil" for "veintiún mil", "centodicotto". Ordinals take an integer and the
letters written after it (3rd), and return None where these make no ordinal.
Sources: tests/preprocessing/number_words.py.
"""

import functools
import re
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unicode_rbnf import RbnfEngine


def words_of(line: str) -> list[str]:
    """The words of a line, as a list."""
    return line.split()


@functools.lru_cache(maxsize=65_536)
def by_num2words(language: str, number: int | Decimal, to: str = "cardinal") -> str:
    """num2words' words without commas. language: as num2words names it."""
    from num2words import num2words

    return " ".join(num2words(number, lang=language, to=to).replace(",", " ").split())


@functools.lru_cache(maxsize=65_536)
def by_cldr(language: str, number: int, ruleset: str = "spellout-numbering") -> str:
    """CLDR's words under one of its rule sets. language: as CLDR names it."""
    return _cldr_rules(language).format_number(number, ruleset_names=[ruleset]).text


@functools.cache
def _cldr_rules(language: str) -> "RbnfEngine":
    from unicode_rbnf import RbnfEngine

    return RbnfEngine.for_language(language)


def _feminine(words: str) -> str:
    return " ".join(re.sub("o$", "a", word) for word in words.split())


# French

_FRENCH_ENDINGS = re.compile("(?:i?[eè]me|e)(s?)", re.IGNORECASE)
_FRENCH_SPECIAL = {
    (1, "er"): "premier",
    (1, "ers"): "premiers",
    **{(1, ending): "première" for ending in ("re", "ère", "ere")},
    **{(2, ending): "second" for ending in ("d", "nd")},
    **{(2, ending): "seconde" for ending in ("de", "nde")},
}


def french_ordinal(language: str, number: int, letters: str) -> str | None:
    """1er, 1re, 2e, 2ème, 2nd, 3es."""
    if (special := _FRENCH_SPECIAL.get((number, letters.lower()))) is not None:
        return special
    ending = _FRENCH_ENDINGS.fullmatch(letters)
    if number < 2 or ending is None:
        return None
    return re.sub("(vingt|cent)sième$", r"\1ième", by_num2words(language, number, "ordinal")) + ending[1]


# Spanish, Portuguese, Italian, Catalan

_SPANISH_UNITS = words_of("primero segundo tercero cuarto quinto sexto séptimo octavo noveno")
_SPANISH_TENS = words_of(
    "décimo vigésimo trigésimo cuadragésimo quincuagésimo sexagésimo septuagésimo octogésimo nonagésimo"
)
_SPANISH_TEENS = words_of(
    "undécimo duodécimo decimotercero decimocuarto decimoquinto decimosexto decimoséptimo decimoctavo"
)


def spanish_ordinal(number: int, letters: str) -> str | None:
    """1o, 1.a, 3er, up to 99; º and ª are o and a under NFKC."""
    tens, unit = divmod(number, 10)
    if not 1 <= number <= 99:
        return None
    letters = letters.lstrip(".").lower()
    if 11 <= number <= 18:
        words = _SPANISH_TEENS[number - 11]
    elif number == 19:
        words = "decimonoveno"
    else:
        words = " ".join(([_SPANISH_TENS[tens - 1]] if tens else []) + ([_SPANISH_UNITS[unit - 1]] if unit else []))
    match letters:
        case "o":
            return words
        case "a":
            return _feminine(words)
        case "er" if words.endswith(("primero", "tercero")):
            return words[:-1]
    return None


def romance_ordinal(language: str, number: int, letters: str) -> str | None:
    """Portuguese and Italian 1o, 1a, up to 99."""
    gender = letters.lstrip(".").lower()
    if not 1 <= number <= 99 or gender not in ("o", "a"):
        return None
    words = by_num2words(language, number, "ordinal")
    return _feminine(words) if gender == "a" else words


def italian_cardinal(number: int) -> str:
    """CLDR's, with the accent of -tré at the end of a compound and nowhere else, and centootto as Treccani has it."""
    words = (
        re.sub("centotto(?=$|mila)", "centootto", re.sub(r"tré(?=\w)", "tre", word))
        for word in by_cldr("it", number).split()
    )
    return " ".join(re.sub(r"(?<=\w)tre$", "tré", word) for word in words)


_CATALAN_FIRST = {1: "primer", 2: "segon", 3: "tercer", 4: "quart"}
_CATALAN_SHORT = {1: "r", 2: "n", 3: "r", 4: "t"}
_CATALAN_TO_19 = words_of(
    "cinquè sisè setè vuitè novè desè onzè dotzè tretzè catorzè quinzè setzè dissetè divuitè dinovè"
)
_CATALAN_UNITS = words_of("unè dosè tresè quatrè cinquè sisè setè vuitè novè")


def catalan_ordinal(number: int, letters: str) -> str | None:
    """1r, 2n, 3r, 4t, 5è, 1a, 5a, up to 99."""
    letters = letters.lstrip(".").lower()
    if number in _CATALAN_FIRST:
        word = _CATALAN_FIRST[number]
        return word if letters == _CATALAN_SHORT[number] else f"{word}a" if letters == "a" else None
    if not 5 <= number <= 99 or letters not in ("è", "é", "a"):
        return None
    unit = number % 10
    if number < 20:
        word = _CATALAN_TO_19[number - 5]
    elif unit:
        word = by_num2words("ca", number).rsplit("-", 1)[0] + "-" + _CATALAN_UNITS[unit - 1]
    else:
        word = re.sub("a?$", "è", by_num2words("ca", number), count=1)
    return f"{word[:-1]}ena" if letters == "a" else word


# Esperanto, Basque, Turkish, Swahili, Dutch


def esperanto_cardinal(number: int) -> str:
    """CLDR's, with nul for 0."""
    return "nul" if number == 0 else by_cldr("eo", number)


def esperanto_ordinal(number: int, letters: str) -> str | None:
    """1-a, 20-an, 60-aj."""
    ending = letters.lstrip("-‐").lower()
    is_ordinal = ending in ("a", "aj", "an", "ajn") and 0 < number < 1_000_000
    return f"{esperanto_cardinal(number)}{ending}" if is_ordinal else None


_BASQUE = words_of(
    "zero bat bi hiru lau bost sei zazpi zortzi bederatzi hamar hamaika hamabi hamahiru hamalau hamabost "
    "hamasei hamazazpi hemezortzi hemeretzi"
)
_BASQUE_TWENTIES = words_of("hogei berrogei hirurogei laurogei")
_BASQUE_HUNDREDS = words_of("ehun berrehun hirurehun laurehun bostehun seiehun zazpiehun zortziehun bederatziehun")


def basque_cardinal(number: int) -> str | None:
    """Euskaltzaindia's rule 7, up to 999,999: 1,200 is mila eta berrehun, 1,201 mila berrehun eta bat."""
    if number < 20:
        return _BASQUE[number]
    if number < 100:
        twenties, rest = divmod(number, 20)
        return _BASQUE_TWENTIES[twenties - 1] + (f"ta {_BASQUE[rest]}" if rest else "")
    if number < 1000:
        hundreds, rest = divmod(number, 100)
        return _BASQUE_HUNDREDS[hundreds - 1] + (f" eta {basque_cardinal(rest)}" if rest else "")
    if number >= 1_000_000:
        return None
    thousands, rest = divmod(number, 1000)
    words = "mila" if thousands == 1 else f"{basque_cardinal(thousands)} mila"
    if not rest:
        return words
    return f"{words} {'eta ' if rest < 100 or rest % 100 == 0 else ''}{basque_cardinal(rest)}"


def basque_ordinal(digits: str) -> str:
    """5. as bosgarren."""
    words = "lehen" if int(digits) == 1 else f"{basque_cardinal(int(digits))}garren"
    return words.replace("bostgarren", "bosgarren")


_TURKISH_ORDINAL = re.compile("'?[ıiuü]?nc[ıiuü](.*)", re.IGNORECASE)


def turkish_ordinal(number: int, letters: str) -> str | None:
    """3'üncü, 3üncü, with what follows."""
    ordinal = _TURKISH_ORDINAL.fullmatch(letters)
    return by_cldr("tr", number, "spellout-ordinal") + ordinal[1] if ordinal is not None else None


def turkish_suffix(words: str, letters: str) -> str:
    """1963'te as üçte, 4'ü as dördü: the t of dört is voiced before a vowel."""
    return re.sub("dört$", "dörd" if letters[0] in "aeıioöuü" else "dört", words) + letters


def swahili_cardinal(number: int) -> str:
    """CLDR's with na before the last place only: elfu moja mia tisa sitini na tatu, elfu moja na moja."""
    groups = by_cldr("sw", number).split(", ")
    *head, last = (
        group.replace(" na ", " ", group.count(" na ") - 1) if " na " in group else group for group in groups
    )
    is_last_place = bool(head) and 0 < number % 1000 < 100 and " na " not in last
    return " ".join([*head, f"na {last}" if is_last_place else last])


def dutch_cardinal(number: int) -> str:
    """In one word up to and including duizend, which a space follows, as on both sides of miljoen and miljard.

    Leidraad of the Taalunie, 6.N: tweeduizend zes, honderdeen. 1 alone is één.
    """
    if number == 1:
        return "één"
    words = []
    for scale, name in ((1_000_000_000, "miljard"), (1_000_000, "miljoen")):
        count, number = divmod(number, scale)
        words += [_dutch_below_thousand(count), name] if count else []
    thousands, rest = divmod(number, 1000)
    if thousands:
        words.append(("" if thousands == 1 else _dutch_below_thousand(thousands)) + "duizend")
    if rest or not words:
        words.append(_dutch_below_thousand(rest))
    return " ".join(words)


def _dutch_below_thousand(number: int) -> str:
    return by_num2words("nl", number).replace("één", "een")


def dutch_ordinal(number: int, letters: str) -> str | None:
    """1e, 2de, 20ste, up to 99."""
    is_ending = 1 <= number <= 99 and letters.lower() in ("e", "de", "ste")
    return by_num2words("nl", number, "ordinal") if is_ending else None


def dutch_year(number: int) -> str | None:
    """1963 as nineteen hundred sixty-three, in one word; from 2000 on the cardinal."""
    hundreds, rest = divmod(number, 100)
    if number >= 2000:
        return None
    return f"{_dutch_below_thousand(hundreds)}honderd" + (_dutch_below_thousand(rest) if rest else "")


RUSSIAN_YEAR = r"(?<![\d.,])(1[1-9]\d\d|20\d\d)(?=\s*(год|года|году|годом)\b)"
_RUSSIAN_ENDINGS = {"год": ("ый", "ий"), "года": ("ого", "ьего"), "году": ("ом", "ьем"), "годом": ("ым", "ьим")}


def russian_year(match: re.Match[str]) -> str:
    """в 1963 году: the ordinal in the case that год shows, the dative after к and по."""
    year = match[2].lower()
    hard, soft = _RUSSIAN_ENDINGS[year]
    if year == "году" and match.string[: match.start()].lower().split()[-1:] in (["к"], ["ко"], ["по"]):
        hard, soft = "ому", "ьему"
    words = by_num2words("ru", int(match[1]), "ordinal")
    if year != "год":
        words = re.sub("ий$", soft, words) if words.endswith("третий") else re.sub("(ый|ой)$", hard, words)
    return words


def russian_decimals(whole: int, fraction: str) -> str | None:
    """Up to three decimals as tenths, hundredths or thousandths."""
    return by_num2words("ru", Decimal(f"{whole}.{fraction}")) if len(fraction) <= 3 else None


# Chinese


def chinese_cardinal(script: str, number: int) -> str:
    """CLDR's, with 零 where a group of four digits below 万 or 亿 begins with zeros: 一亿零一万, 零一十三万.

    script: zh or zh_Hant.
    """
    if number == 2:
        return "二"
    for scale in (100_000_000, 10_000):
        if number >= scale:
            rest = number % scale
            words = by_cldr(script, number - rest, "spellout-cardinal-alternate2")
            if rest == 0:
                return words
            lower = chinese_cardinal(script, rest)
            if rest >= scale // 10:
                return words + lower
            return f"{words}零{'一' if lower[0] == '十' else ''}{lower}"
    return by_cldr(script, number, "spellout-cardinal-alternate2")


# English of India


def indian_number(number: int, to: str = "cardinal") -> str:
    """num2words' lakh and crore, which end at a thousand crore, and their multiples: one lakh crore."""
    crores, rest = divmod(number, 10_000_000)
    if crores < 1000:
        return by_num2words("en_IN", number, to)
    words = f"{indian_number(crores)} crore"
    if rest:
        return f"{words} {indian_number(rest, to)}"
    return words + ("th" if to == "ordinal" else "")


# Hindi

_HINDI_ORDINALS = {1: "पहल", 2: "दूसर", 3: "तीसर", 4: "चौथ", 6: "छठ"}
_HINDI_ENDINGS = {"वां": "ा", "वाँ": "ा", "वीं": "ी", "वें": "े"}


def hindi_year(number: int) -> str | None:
    """1963 as nineteen hundred sixty-three; from 2000 on the cardinal."""
    if number >= 2000:
        return None
    hundreds, rest = divmod(number, 100)
    return f"{by_cldr('hi', hundreds)} सौ" + (f" {by_cldr('hi', rest)}" if rest else "")


def hindi_ordinal(number: int, letters: str) -> str | None:
    """5वाँ, 6वीं, 2वें."""
    if letters not in _HINDI_ENDINGS or number == 0:
        return None
    if number in _HINDI_ORDINALS:
        return _HINDI_ORDINALS[number] + _HINDI_ENDINGS[letters]
    return by_cldr("hi", number) + letters.replace("वां", "वाँ")
