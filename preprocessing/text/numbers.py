"""Numbers in a text as words, by language. num2words gives the words; this module finds the numbers.

Every language of num2words: integers, decimals, a minus sign, and the language's own separators (1,000.5 or 1.000,5).
English and German besides: years, ordinals, money, percent, times of day. docs/text.md lists what is left out.
"""

import difflib
import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from preprocessing.cli.errors import UsageError

# Languages that write 1,000.5; all others of num2words write 1.000,5 or 1 000,5.
POINT_LANGUAGES = frozenset(["am", "ar", "bn", "cy", "en", "fa", "he", "ja", "kn", "ko", "te", "th"])
PERCENT = {"en": "percent", "de": "Prozent", "fr": "pour cent", "es": "por ciento", "it": "per cento"}
MAX_DIGITS = 12  # longer ones are telephone and account numbers: read digit by digit
_BROKEN = frozenset({"am"})  # num2words 0.5.14 raises on its 1963
_YEARS = (range(1100, 2000), range(2000, 2100))
_ENGLISH_MONEY = {
    "£": ("pound", "pounds", "penny", "pence"),
    "$": ("dollar", "dollars", "cent", "cents"),
    "€": ("euro", "euros", "cent", "cents"),
}
_GERMAN_MONEY = {"£": "Pfund", "$": "Dollar", "€": "Euro"}
_MONTHS = "Januar|Jänner|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember"

Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]


def languages() -> list[str]:
    """The codes of the languages that numbers can be spelled out in, sorted."""
    from num2words import CONVERTER_CLASSES

    return sorted(set(CONVERTER_CLASSES) - _BROKEN)


def check_language(code: str) -> None:
    """Raises UsageError, naming the nearest, when numbers cannot be spelled out in the language of the code."""
    known = languages()
    if _converter(code) not in known:
        near = difflib.get_close_matches(code, known, n=1) or ["en"]
        raise UsageError(
            f"no number words for language {code!r}; expected one of {', '.join(known)}, or none to leave digits as "
            f"they are: try {near[0]!r}"
        )


def _converter(code: str) -> str:
    """The name of num2words' converter: en_IN for en-IN, and en for en-GB."""
    from num2words import CONVERTER_CLASSES

    full = code.replace("-", "_")
    return full if full in CONVERTER_CLASSES else full.split("_")[0]


@functools.lru_cache(maxsize=65_536)
def _spell(code: str, digits: str, to: str) -> str:
    from num2words import num2words

    number = Decimal(digits) if "." in digits else int(digits)
    words = num2words(number, lang=_converter(code), to=to).replace(",", " ")
    if code in ("en", "en-US", "en_US"):
        words = words.replace(" and ", " ")  # "two hundred seventy-five"; en-GB says "two hundred and seventy-five"
    return " ".join(words.split())


@dataclass(frozen=True)
class NumberWords:
    """Spells the numbers of a text out in one language: called on a text, it returns it with words for numbers.

    >>> NumberWords("en")("the 3rd, 1,000 men, in 1963, for £5")
    'the third, one thousand men, in nineteen sixty-three, for five pounds'
    >>> NumberWords("de")("am 3. Mai 1963 um 9:30 Uhr, 1.000 Euro")
    'am dritten Mai neunzehnhundertdreiundsechzig um neun Uhr dreißig, eintausend Euro'

    Raises UsageError for a language without number words.
    """

    language: str
    _rules: tuple[Rule, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_language(self.language)
        base = self._base
        point = base in POINT_LANGUAGES
        group, decimal = (",", r"\.") if point else (r"\." if base == "de" else "[. ]", ",")
        amount = rf"(?:\d{{1,3}}(?:{group}\d{{3}})+(?!\d)|\d+)(?:(?<!\d{decimal}\d){decimal}\d+(?!{decimal}?\d))?"
        rules: list[tuple[str, Callable[[re.Match[str]], str]]] = [(r"(?<![^\s(])[-−](?=[£$€]?\d)", _minus)]
        if base == "en":
            rules += self._english(amount)
        if base == "de":
            rules += self._german(amount)
        if base in PERCENT:
            rules.append((rf"({amount})\s?%", lambda m: f"{self.number(m[1])} {PERCENT[base]}"))
        rules.append((amount, lambda m: self.number(m[0], year=base in ("en", "de"))))
        object.__setattr__(
            self, "_rules", tuple((re.compile(pattern, re.IGNORECASE), _spaced(spell)) for pattern, spell in rules)
        )

    def __call__(self, text: str) -> str:
        for pattern, spell in self._rules:
            if not any(map(str.isdecimal, text)):
                break
            text = pattern.sub(spell, text)
        return text

    @property
    def _base(self) -> str:
        return self.language.replace("-", "_").split("_")[0]

    def number(self, written: str, *, year: bool = False) -> str:
        """The words of an amount as the language writes it, or of its digits when it has a leading zero or over 12.

        year: read 1100 to 2099 as a year.
        """
        point = "." if self._base in POINT_LANGUAGES else ","
        whole, _, fraction = written.partition(point)
        digits = str(int(bare)) if len(bare := re.sub(r"\D", "", whole)) == 1 else bare
        digits = "".join(str(int(digit)) for digit in digits)  # any script's digits
        if (len(digits) > 1 and digits[0] == "0") or len(digits) > MAX_DIGITS:
            words = self._one_by_one(digits)
        elif year and not fraction and whole == bare and any(int(digits) in span for span in _YEARS):
            words = _spell(self.language, digits, "year")
        else:
            words = _spell(self.language, digits, "cardinal")
        if fraction and self._base in ("en", "de"):
            return f"{words} {'point' if self._base == 'en' else 'Komma'} {self._one_by_one(fraction)}"
        if fraction:
            return _spell(self.language, f"{digits}.{''.join(str(int(digit)) for digit in fraction)}", "cardinal")
        return words

    def _one_by_one(self, digits: str) -> str:
        return " ".join(_spell(self.language, str(int(digit)), "cardinal") for digit in digits)

    def _english(self, amount: str) -> list[tuple[str, Callable[[re.Match[str]], str]]]:
        scale = r"(?:\s(hundred|thousand|million|billion|trillion))?\b"
        return [
            (rf"([£$€])\s?({amount}){scale}", lambda m: self._english_money(m[1], m[2], m[3])),
            (rf"({amount}){scale}\s?([£$€])", lambda m: self._english_money(m[3], m[1], m[2])),
            (
                r"(?<![\d:])([01]?\d|2[0-4]):([0-5]\d)(?![\d:])(\s?[ap]\.?m\b)?",
                lambda m: (
                    self.number(str(int(m[1]))) + self._minutes(m[2], exact="" if m[3] else " o'clock") + (m[3] or "")
                ),
            ),
            (
                r"(\d{1,3}(?:,\d{3})+|\d{1,12})(?:st|nd|rd|th)\b",
                lambda m: _spell(self.language, str(int(m[1].replace(",", ""))), "ordinal"),
            ),
            (r"(?<!\d)((?:1[1-9]|20)\d0|[2-9]0)['’]?s\b", lambda m: _plural(self.number(m[1], year=True))),
        ]

    def _english_money(self, sign: str, amount: str, scale: str | None) -> str:
        one, many, cent, cents = _ENGLISH_MONEY[sign]
        whole, _, hundredths = amount.partition(".")
        if scale is not None or len(hundredths) not in (0, 2):
            return f"{self.number(amount)} {scale or ''} {many}".replace("  ", " ")
        parts = [f"{self.number(whole)} {one if whole == '1' else many}"] if int(whole.replace(",", "")) else []
        if hundredths and int(hundredths):
            parts.append(f"{self.number(str(int(hundredths)))} {cent if int(hundredths) == 1 else cents}")
        return " and ".join(parts) or f"{self.number('0')} {many}"

    def _minutes(self, minutes: str, exact: str) -> str:
        if minutes == "00":
            return exact
        return f" {'oh ' if minutes[0] == '0' else ''}{self.number(str(int(minutes)))}"

    def _german(self, amount: str) -> list[tuple[str, Callable[[re.Match[str]], str]]]:
        scale = r"(?:\s(Millionen|Milliarden))?\b"
        return [
            (rf"({amount}){scale}\s?([£$€])", lambda m: self._german_money(m[3], m[1], m[2])),
            (rf"([£$€])\s?({amount}){scale}", lambda m: self._german_money(m[1], m[2], m[3])),
            (
                r"(?<![\d:.])([01]?\d|2[0-4])(?:[:.]([0-5]\d)\sUhr|:([0-5]\d)(?![\d:])|\sUhr)\b",
                lambda m: self._german_time(m[1], m[2] or m[3]),
            ),
            (
                rf"(?:\b(am|vom|zum|dem|den|des|im|beim|bis|ab|seit|der|die|das)\s+)?(?<!\d)(\d{{1,2}})\."
                rf"(?=\s*(?:{_MONTHS}|(Jahrhundert))(?:e?s)?\b)",
                lambda m: self._german_ordinal(m[1], m[2], century=m[3] is not None),
            ),
            (r"(?<!\d)(\d{2,4})(er[ns]?)\b", lambda m: self.number(m[1], year=True) + m[2]),
        ]

    def _german_money(self, sign: str, amount: str, scale: str | None) -> str:
        whole, _, hundredths = amount.partition(",")
        if scale is not None or len(hundredths) not in (0, 2):
            return f"{self.number(amount)} {scale or ''} {_GERMAN_MONEY[sign]}".replace("  ", " ")
        if not int(re.sub(r"\D", "", whole)) and hundredths and int(hundredths):
            cents = "ein" if int(hundredths) == 1 else self.number(str(int(hundredths)))
            return f"{cents} {'Pence' if sign == '£' else 'Cent'}"
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


def _minus(match: re.Match[str]) -> str:
    return "minus "


def _plural(words: str) -> str:
    return f"{words[:-1]}ies" if words.endswith("y") else f"{words}s"


def _spaced(spell: Callable[[re.Match[str]], str]) -> Callable[[re.Match[str]], str]:
    """`spell` with a space between its words and letters that touch the number: S3, 5km."""

    def spaced(match: re.Match[str]) -> str:
        before, after = match.string[: match.start()][-1:], match.string[match.end() : match.end() + 1]
        return f"{' ' if before.isalpha() else ''}{spell(match)}{' ' if after.isalpha() else ''}"

    return spaced
