"""Numbers in a text as words, by language: finds them, and speaks them as number_forms.py says.

English and German have rules of their own here: years, ordinals, money, percent, times of day. docs/text.md has the
table of languages, and what is left out.
"""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from preprocessing.errors import UsageError
from preprocessing.text import number_fractions
from preprocessing.text.language_letters import base_language, has_no_sharp_s
from preprocessing.text.number_forms import DIGITS_STAY, FORMS, NumberForms, forms_of
from preprocessing.text.number_fractions import FRACTION
from preprocessing.text.number_words import by_num2words, indian_number
from preprocessing.text.steps import is_letter_or_digit, part_numbers

MAX_DIGITS = 12  # longer ones are account numbers: read digit by digit
# From so many on without a separator, sign, unit or zeros at the end: telephone numbers, read digit by digit.
TELEPHONE_DIGITS = 9
_ROUND = "000"
_YEARS = range(1100, 2100)
# German thousands with spaces; not after a letter (A4 100), a decimal, a time, or digits of a telephone number.
_SPACED_THOUSANDS = r"(?<![\w.,:/])(?<!\d )[1-9]\d{0,2}(?: \d{3})+"
_ENGLISH_MONEY = {
    "£": ("pound", "pounds", "penny", "pence"),
    "$": ("dollar", "dollars", "cent", "cents"),
    "€": ("euro", "euros", "cent", "cents"),
}
_ENGLISH_SCALES = {"k": "thousand"} | dict.fromkeys(("m", "mn"), "million") | dict.fromkeys(("b", "bn"), "billion")
_ENGLISH_SCALES |= {"tn": "trillion"}
_GERMAN_SCALES = {"tsd": "Tausend", "mio": "Millionen", "mrd": "Milliarden"}
_ONE_OF = {"Tausend": "eintausend", "Millionen": "eine Million", "Milliarden": "eine Milliarde"}
_GERMAN_MONEY = {"£": "Pfund", "$": "Dollar", "€": "Euro", "₣": "Franken"}
_GERMAN_CENTS = {"£": "Pence", "₣": "Rappen"}
# Switzerland: 5.50 beside 5,50, but not dates and times (3.5.2026, "am 3.5. um", 14.30 Uhr); Fr. and CHF; 5.– is 5.
_SWISS_POINT = re.compile(r"(?<![\d.,:])(\d{1,3}(?:\.\d{3})+|\d+)\.(\d{1,2})(?!\d|[.,:]\d|\.\s+[a-zäöü]|\sUhr\b)")
_SWISS_WHOLE = re.compile(r"(?<=\d)\.[-–—]{1,2}(?!\w)")
_FRANCS_BEFORE = re.compile(r"(?<!\w)(?:CHF|S?Fr\.)\s?(?=\d)(?!\d{1,2}\.(?:\s|\d{1,2}\.))")
_FRANCS_AFTER = re.compile(r"(?<=\d)\s?(?:CHF(?!\w)|S?Fr\.)(?!\s?\d)")
_MONTHS = "Januar|Jänner|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember"
# Units that follow a number as they are; other letters after plain digits (5-й, 2x) may be an ordinal's: these stay.
_UNITS = re.compile(r"[kcm]?m|[km]?g|[mc]?l|t|h|min|s|[kmg]w|[kmgt]b|[kmg]?hz", re.IGNORECASE)
# Letters of any script with their Indic vowel signs and the signs of Latin, Greek and Cyrillic.
_LETTERS = r"[^\W\d_](?:[^\W\d_]|[\u0300-\u036f\u0900-\u0903\u093a-\u094f])*"
_DIGIT = re.compile(r"\d")
_SWISS_THOUSANDS = re.compile(r"(?<![\d.,'])\d{1,3}(?:'\d{3})+(?!['\d])")
_SQUARED_CUBED = {"2": "squared", "3": "cubed"}

Rule = Callable[[str], str]
Spell = Callable[[re.Match[str]], str]


def languages() -> list[str]:
    """The codes of the languages that numbers are spelled out in, sorted; regions are added to them (en-GB, zh-TW)."""
    return sorted(["en", "de", *(code for code in FORMS if "_" not in code)])


def has_own_numbers(code: str) -> bool:
    """Whether a region is read otherwise than its language at large: es-MX, pt-BR, en-GB and de-CH, not de-AT."""
    full = code.replace("-", "_")
    if base_language(code) == "en":
        return full not in ("en", "en_US")
    return "_" in full and (full in FORMS or has_no_sharp_s(code))


def joins_at_spaces(code: str) -> bool:
    """Whether 10 000 with a plain space is one number in a language whose numbers are spelled out."""
    forms = forms_of(code)
    return base_language(code) == "de" if forms is None else " " in forms.group


def digits_stay(code: str) -> str | None:
    """Why numbers stay in digits in a language, or None where they are spelled out.

    Raises UsageError for a code that is neither.
    """
    base = base_language(code)
    if base in languages():
        return None
    if base in DIGITS_STAY:
        return DIGITS_STAY[base]
    raise UsageError(
        f"no number words for language {code!r}; expected one of {', '.join(languages())}, or one whose digits stay "
        f"({', '.join(sorted(DIGITS_STAY))}): take a profile without a language, which leaves all digits as they are"
    )


def _converter(code: str) -> str:
    """The name of num2words' converter: en_IN for en-IN, and en for en-GB."""
    from num2words import CONVERTER_CLASSES

    full = code.replace("-", "_")
    return full if full in CONVERTER_CLASSES else full.split("_")[0]


@functools.lru_cache(maxsize=65_536)
def _spell(code: str, digits: str, to: str) -> str:
    converter = _converter(code)
    if converter == "en_IN" and to != "year":
        return indian_number(int(digits), to)
    words = by_num2words(converter, int(digits), to)
    if code in ("en", "en-US", "en_US"):
        words = words.replace(" and ", " ")  # "two hundred seventy-five"; en-GB says "two hundred and seventy-five"
    if base_language(code) == "de":
        words = words.replace("einstausend", "eintausend").replace("eins Milli", "eine Milli")
    return words


@dataclass(frozen=True)
class NumberWords:
    """Spells the numbers of a text out in one language: called on a text, it returns it with words for numbers.

    >>> NumberWords("en")("the 3rd, 1,000 men, in 1963, for £5")
    'the third, one thousand men, in nineteen sixty-three, for five pounds'
    >>> NumberWords("de")("am 3. Mai 1963 um 9:30 Uhr, 1.000 Euro")
    'am dritten Mai neunzehnhundertdreiundsechzig um neun Uhr dreißig, eintausend Euro'

    In a language of DIGITS_STAY it returns the text as it is. Raises UsageError for an unknown language.
    """

    language: str
    _rules: tuple[Rule, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        forms = forms_of(self.language)
        rules: list[Rule] = []
        if digits_stay(self.language) is None:
            rules = self._english_or_german() if forms is None else self._of_forms(forms)
        object.__setattr__(self, "_rules", tuple(rules))

    def __call__(self, text: str) -> str:
        if "'" in text:
            text = part_numbers(_SWISS_THOUSANDS.sub(self._grouped, text))
        if has_no_sharp_s(self.language):
            text = _swiss(text)
        for rule in self._rules:
            if _DIGIT.search(text) is None:
                break
            text = rule(text)
        return text

    def _grouped(self, match: re.Match[str]) -> str:
        """1'000'000 with the language's own separator of thousands."""
        forms = forms_of(self.language)
        has_comma = base_language(self.language) == "en" if forms is None else "," in forms.group
        return match[0].replace("'", "," if has_comma else ".")

    def _of_forms(self, forms: NumberForms) -> list[Rule]:
        group, point = forms.group, forms.point
        integer = rf"(?:(?<!\d)\d{{1,3}}(?:{group}\d{{3}})+(?!\d)|\d+)"
        if forms.lakh:
            integer = rf"(?:\d{{1,2}}(?:,\d{{2}})+,\d{{3}}(?!\d)|{integer})"
        amount = rf"(?:(?<!\d{point}){integer}{point}\d+(?!{point}?\d)|{integer})"
        tail = rf"((?:{forms.joiner}){_LETTERS})?" if forms.spaced else "()"
        sign = r"(?<![^\s(])[-−](?=\d)" if forms.spaced else r"(?<![\dA-Za-z.,)])[-−](?=\d)"
        percent = rf"[%٪]\s?({amount})|({amount})\s?[%٪](?!\d)"
        stays, counted = (re.compile(one or "(?!)", re.IGNORECASE) for one in (forms.stays, forms.counted))
        return [
            *(_at_digits(pattern, _spaced(spell) if forms.spaced else spell) for pattern, spell in forms.rules),
            self._vulgar_fractions(forms),
            _beside("-−", sign, lambda match: forms.minus + (" " if forms.spaced else "")),
            _beside("%٪", percent, lambda match: self._percent(forms, match[1] or match[2])),
            _at_digits(rf"({amount}){tail}", lambda match: self._amount(forms, match, stays, counted)),
        ]

    def _vulgar_fractions(self, forms: NumberForms) -> Rule:
        def spell(match: re.Match[str]) -> str:
            words = forms.vulgar(
                lambda number: forms.cardinal(number),
                None if match[1] is None else int(match[1]),
                *(int(part) for part in match[2].split("⁄")),
            )
            if words is None:
                return match[0]
            is_percent = match[3] or match.string[: match.start()].rstrip().endswith(("%", "٪"))
            return forms.percent[0].format(words) if is_percent else words

        pattern = rf"(?<![\d.,/⁄])(?:(\d{{1,{MAX_DIGITS}}})\s)?({FRACTION})(\s?[%٪](?!\d))?"
        rule = _at_digits(pattern, _spaced(spell) if forms.spaced else spell)
        return lambda text: rule(text) if "⁄" in text else text

    def _percent(self, forms: NumberForms, amount: str) -> str:
        """The amount, still in digits, with the word for the sign in the form that it asks for."""
        one, *others = forms.percent
        plain = _ascii(amount)
        if not others:
            return one.format(amount)
        if len(others) == 1:
            return (one if plain == "1" else others[0]).format(amount)
        few, many, decimal = others
        if re.search(forms.point, amount):
            return decimal.format(amount)
        last = 0 if plain[-2:-1] == "1" else int(plain[-1])
        return (one if last == 1 else few if 2 <= last <= 4 else many).format(amount)

    def _amount(
        self, forms: NumberForms, match: re.Match[str], stays: re.Pattern[str], counted: re.Pattern[str]
    ) -> str:
        """The words of an amount and what they make of the letters after it, or both as they are."""
        amount, tail = match[1], match[2] or ""
        before, after = match.string[: match.start()][-1:], match.string[match.end() : match.end() + 1]
        is_plain = amount.isdecimal()
        if is_plain and not tail and int(amount) in _YEARS and stays.match(match.string, match.end()):
            return match[0]
        is_counted = bool(tail) or counted.match(match.string, match.end()) is not None
        words = self._words(forms, amount, is_counted=is_counted)
        if tail:
            ordinal = forms.ordinal(int(amount), tail) if is_plain else None
            if ordinal is not None:
                words = ordinal
            elif forms.suffix is not None and tail[0] == "'":
                words = forms.suffix(words, tail[1:])
            elif is_plain and _UNITS.fullmatch(letters := tail.lstrip("-‐.'")) is None:
                return amount + letters
            else:
                words = f"{words} {tail.lstrip('-‐.')}"
        if not forms.spaced:
            return words
        return f"{' ' if before and is_letter_or_digit(before) else ''}{words}{' ' if after.isalpha() else ''}"

    def _words(self, forms: NumberForms, amount: str, *, is_counted: bool) -> str:
        """The words of an amount; its digits without separators where they are not certain.

        is_counted: whether a unit follows, which makes it no telephone number.
        """
        whole, *fraction = re.split(forms.point, amount)
        digits = _ascii(whole)
        may_be_telephone = not fraction and not is_counted and whole.isdecimal()
        if _is_read_one_by_one(digits, forms.telephone_digits if may_be_telephone else MAX_DIGITS + 1):
            words = forms.one_by_one(digits)
        elif not fraction and whole.isdecimal() and int(digits) in _YEARS and (year := forms.year(int(digits))):
            words = year
        else:
            words = forms.cardinal(int(digits)) or digits
        if not fraction:
            return words
        space = " " if forms.spaced else ""
        decimals = forms.decimals(int(digits), _ascii(fraction[0]))
        return decimals or f"{words}{space}{forms.decimal}{space}{forms.fraction(forms, _ascii(fraction[0]))}"

    def _english_or_german(self) -> list[Rule]:
        is_english = base_language(self.language) == "en"
        group, decimal = (",", r"\.") if is_english else (r"\.", ",")
        spaced = "" if is_english else f"{_SPACED_THOUSANDS}(?! ?\\d)|"
        integer = rf"(?:{self._lakh}{spaced}(?<!\d)\d{{1,3}}(?:{group}\d{{3}})+(?!\d)|\d+)"
        amount = rf"{integer}(?:(?<!\d{decimal}\d){decimal}\d+(?!{decimal}?\d)|\s{FRACTION})?|{FRACTION}"
        if is_english:
            amount = rf"{amount}|(?<![\w.])\.\d+(?!\.?\d)"
        amount = f"(?:{FRACTION}|{amount})"
        percent = "percent" if is_english else "Prozent"
        rules: list[tuple[str, Spell]] = [
            (rf"(?<![^\s({'^' if is_english else ''}])[-−](?=[£$€₣]?\.?\d)", lambda match: "minus "),
            *(self._english(amount) if is_english else self._german(amount)),
            (rf"({amount})\s?%", lambda match: f"{self._one(match[1])} {percent}"),
            (amount, lambda match: self.number(match[0], bare=True)),
        ]
        return [functools.partial(re.compile(pattern, re.IGNORECASE).sub, _spaced(spell)) for pattern, spell in rules]

    def _one(self, written: str) -> str:
        """As `number`; a German 1 before the name of a unit is ein."""
        return "ein" if written == "1" and base_language(self.language) == "de" else self.number(written)

    def number(self, written: str, *, bare: bool = False) -> str:
        """The words of an English or German amount, or of its digits when it has a leading zero or over 12.

        bare: no unit is beside it; 1100 to 2099 are years, and long ones telephone numbers.
        """
        if "⁄" in written:
            return self._with_fraction(written)
        point, word = (".", "point") if base_language(self.language) == "en" else (",", "Komma")
        whole, _, fraction = written.partition(point)
        digits = _ascii(whole)
        if not digits:
            return f"{word} {self._one_by_one(fraction)}"
        is_bare = bare and not fraction and whole.isdecimal()
        if _is_read_one_by_one(digits, TELEPHONE_DIGITS if is_bare else MAX_DIGITS + 1):
            words = self._one_by_one(digits)
        elif is_bare and int(digits) in _YEARS:
            words = _spell(self.language, digits, "year")
        else:
            words = _spell(self.language, digits, "cardinal")
        return f"{words} {word} {self._one_by_one(fraction)}" if fraction else words

    def _with_fraction(self, written: str) -> str:
        """The words of 2 1⁄2, of 3⁄4, or of each number where a language has none for them."""
        *whole, fraction = written.split()
        n, d = (int(part) for part in fraction.split("⁄"))
        spell = number_fractions.english if base_language(self.language) == "en" else number_fractions.german
        words = spell(self.number(whole[0]) if whole else None, self.number(str(n)), n, d)
        return words or " ".join(self.number(part) for part in [*whole, str(n), str(d)])

    def _one_by_one(self, digits: str) -> str:
        return " ".join(_spell(self.language, str(int(digit)), "cardinal") for digit in digits)

    @property
    def _lakh(self) -> str:
        """The alternative 12,34,567 of a pattern, in English of India alone."""
        return r"\d{1,2}(?:,\d{2})+,\d{3}(?!,?\d)|" if _converter(self.language) == "en_IN" else ""

    def _english(self, amount: str) -> list[tuple[str, Spell]]:
        scale = r"(?:\s(hundred|thousand|million|billion|trillion)|(k|mn?|bn?|tn|million|billion))?(?!\w)"
        whole = rf"(?>{amount})"  # $1.5x is no dollar
        return [
            (rf"({amount})\^([23])(?!\d)", lambda m: f"{self.number(m[1])} {_SQUARED_CUBED[m[2]]}"),
            (rf"([£$€])\s?({whole}){scale}", lambda m: self._english_money(m[1], m[2], m[3] or m[4])),
            (rf"({whole}){scale}\s?([£$€])", lambda m: self._english_money(m[4], m[1], m[2] or m[3])),
            (
                r"(?<![\d:])([01]?\d|2[0-4]):([0-5]\d)(?![\d:])(\s?[ap]\.?m\b)?",
                lambda m: (
                    self.number(str(int(m[1])))
                    + self._minutes(m[2], exact="" if m[3] else " o'clock")
                    + (f" {m[3].lstrip()}" if m[3] else "")
                ),
            ),
            (
                rf"({self._lakh}\d{{1,3}}(?:,\d{{3}})+|\d{{1,12}})(?:st|nd|rd|th)\b",
                lambda m: _spell(self.language, str(int(m[1].replace(",", ""))), "ordinal"),
            ),
            (r"(?<!\d)((?:1[1-9]|20)\d0|[2-9]0)['’]?s\b", lambda m: _plural(self.number(m[1], bare=True))),
        ]

    def _english_money(self, sign: str, amount: str, scale: str | None) -> str:
        one, many, cent, cents = _ENGLISH_MONEY[sign]
        whole, _, hundredths = amount.partition(".")
        scale = scale and _ENGLISH_SCALES.get(scale.lower(), scale)
        if scale is not None or len(hundredths) not in (0, 2) or "⁄" in amount:
            return f"{self.number(amount)} {scale or ''} {many}".replace("  ", " ")
        parts = [f"{self.number(whole)} {one if whole == '1' else many}"] if int(_ascii(whole) or 0) else []
        if hundredths and int(hundredths):
            parts.append(f"{self.number(str(int(hundredths)))} {cent if int(hundredths) == 1 else cents}")
        return " and ".join(parts) or f"{self.number('0')} {many}"

    def _minutes(self, minutes: str, exact: str) -> str:
        if minutes == "00":
            return exact
        return f" {'oh ' if minutes[0] == '0' else ''}{self.number(str(int(minutes)))}"

    def _german(self, amount: str) -> list[tuple[str, Spell]]:
        scale = r"(?:\s?(Millionen|Milliarden|Tsd|Mio|Mrd)\.?)?(?!\w)"
        whole = rf"(?>{amount})"
        return [
            (
                rf"({amount})\^([-−]?)(\d+)",
                lambda m: f"{self.number(m[1])} hoch {'minus ' if m[2] else ''}{self.number(m[3])}",
            ),
            (rf"({whole}){scale}\s?([£$€₣])", lambda m: self._german_money(m[3], m[1], m[2])),
            (r"(?<![\d.,⁄])1\s(?=(?:Million|Milliarde|Billion|Billiarde|Trillion)\b)", lambda m: "eine"),
            (rf"([£$€₣])\s?({whole}){scale}", lambda m: self._german_money(m[1], m[2], m[3])),
            (
                r"(?<![\d:.])([01]?\d|2[0-4])(?:[:.]([0-5]\d)\sUhr|:([0-5]\d)(?![\d:])|\sUhr)\b",
                lambda m: self._german_time(m[1], m[2] or m[3]),
            ),
            (
                rf"(?:\b(am|vom|zum|dem|den|des|im|beim|bis|ab|seit|der|die|das)\s+)?(?<!\d)(\d{{1,2}})\."
                rf"(?=\s*(?:{_MONTHS}|(Jahrhundert))(?:e?s)?\b)",
                lambda m: self._german_ordinal(m[1], m[2], century=m[3] is not None),
            ),
            (
                rf"(?<![\d.,])({_SPACED_THOUSANDS}|\d{{1,3}}(?:\.\d{{3}})+|\d{{2,4}})(er[ns]?)\b",
                lambda m: self.number(m[1], bare=True) + m[2],
            ),
        ]

    def _german_money(self, sign: str, amount: str, scale: str | None) -> str:
        whole, _, hundredths = amount.partition(",")
        scale = scale and _GERMAN_SCALES.get(scale.lower(), scale)
        if amount == "1" and scale in _ONE_OF:
            return f"{_ONE_OF[scale]} {_GERMAN_MONEY[sign]}"
        if scale is not None or len(hundredths) not in (0, 2) or "⁄" in amount:
            return f"{self.number(amount)} {scale or ''} {_GERMAN_MONEY[sign]}".replace("  ", " ")
        if not int(re.sub(r"\D", "", whole)) and hundredths and int(hundredths):
            cents = "ein" if int(hundredths) == 1 else self.number(str(int(hundredths)))
            return f"{cents} {_GERMAN_CENTS.get(sign, 'Cent')}"
        words = f"{'ein' if whole == '1' else self.number(whole)} {_GERMAN_MONEY[sign]}"
        return words + (f" {self.number(str(int(hundredths)))}" if hundredths and int(hundredths) else "")

    def _german_time(self, hour: str, minutes: str | None) -> str:
        words = "ein Uhr" if int(hour) == 1 else f"{self.number(str(int(hour)))} Uhr"
        return words + (f" {self.number(str(int(minutes)))}" if minutes and int(minutes) else "")

    def _german_ordinal(self, before: str | None, digits: str, *, century: bool) -> str:
        """dritte after der, die, das; dritten after am, vom, im, ...; dritter Mai, drittes Jahrhundert alone."""
        ending = "n" if before else "s" if century else "r"
        if before and before.lower() in ("der", "die", "das"):
            ending = ""
        return f"{before + ' ' if before else ''}{_spell(self.language, str(int(digits)), 'ordinal')}{ending}"


def _is_read_one_by_one(digits: str, telephone_digits: int) -> bool:
    """Whether the digits are read one after the other: for a zero at their beginning, or for their number."""
    if len(digits) > MAX_DIGITS or (len(digits) > 1 and digits[0] == "0"):
        return True
    return len(digits) >= telephone_digits and not digits.endswith(_ROUND)


def _swiss(text: str) -> str:
    """The text with a comma for the decimal point, and a sign of the currency for Fr. and CHF.

    >>> _swiss("CHF 1.50, 20.– Fr., am 3.5. um 14.30 Uhr")
    '₣1,50, 20₣, am 3.5. um 14.30 Uhr'
    """
    if _DIGIT.search(text) is None:
        return text
    text = _SWISS_POINT.sub(r"\1,\2", _SWISS_WHOLE.sub("", text))
    return _FRANCS_AFTER.sub("₣", _FRANCS_BEFORE.sub("₣", text))


def _beside(signs: str, pattern: str, spell: Spell) -> Rule:
    """The substitution of a pattern in texts that have one of the signs."""
    substitute = functools.partial(re.compile(pattern, re.IGNORECASE).sub, spell)
    return lambda text: substitute(text) if any(sign in text for sign in signs) else text


def _at_digits(pattern: str, spell: Spell) -> Rule:
    """The substitution of a pattern that begins with a digit, tried there alone: several times faster than `sub`."""
    match_at = re.compile(pattern, re.IGNORECASE).match

    def rule(text: str) -> str:
        parts: list[str] = []
        done = start = 0
        while (digit := _DIGIT.search(text, start)) is not None:
            if (match := match_at(text, digit.start())) is not None:
                parts += text[done : match.start()], spell(match)
                done = start = match.end()
            else:
                start = digit.end()
        return "".join([*parts, text[done:]]) if parts else text

    return rule


def _ascii(amount: str) -> str:
    """The digits of an amount, of whatever script, as 0 to 9."""
    return "".join(str(int(character)) for character in amount if character.isdecimal())


def _plural(words: str) -> str:
    return f"{words[:-1]}ies" if words.endswith("y") else f"{words}s"


def _spaced(spell: Spell) -> Spell:
    """`spell` with a space between its words and letters that touch the number: S3, 5km."""

    def spaced(match: re.Match[str]) -> str:
        before, after = match.string[: match.start()][-1:], match.string[match.end() : match.end() + 1]
        return f"{' ' if before.isalpha() else ''}{spell(match)}{' ' if after.isalpha() else ''}"

    return spaced
