"""What single languages do with letters otherwise than all others: case, signs inside words, letters typed two ways.

Turkish and Azerbaijani have two letters i. Catalan writes l·l, Hebrew a gershayim before the last letter of an acronym:
each is one word. Arabic stretches words with tatweel. Persian and Urdu texts have their ی and ک as Arabic ones as well.
The vowel signs of Arabic and Hebrew are left out in most texts, and written in some. Switzerland writes ss for ß.
"""

import re
from collections.abc import Collection

from preprocessing.text import steps
from preprocessing.text.steps import Step, keep_words, nfkc

_TURKIC = ("tr", "az")
_STRETCHED = ("ar", "fa", "ps", "ug", "ur")  # not ckb, where heh with tatweel is typed for a letter of its own
_WITH_PERSIAN_LETTERS = ("fa", "ur")
_WITHOUT_HARAKAT = ("ar", "fa", "ur")
HARAKAT = "".join(map(chr, [*range(0x64B, 0x653), 0x670]))  # tanwin, vowels, shadda, sukun; dagger alif
_WITHOUT_SHARP_S = ("de_CH", "de_LI")
TATWEEL = "\u0640"
PERSIAN_LETTERS = {"\u064a": "\u06cc", "\u0649": "\u06cc", "\u0643": "\u06a9"}

NIQQUD = "".join(map(chr, [*range(0x591, 0x5BE), 0x5BF, 0x5C1, 0x5C2, 0x5C4, 0x5C5, 0x5C7]))  # points and accents
_VARIANTS = {TATWEEL: "tatweel removed"} | dict.fromkeys(PERSIAN_LETTERS, "Arabic yeh and kaf as Persian")
_VARIANTS |= dict.fromkeys(HARAKAT + NIQQUD, "vowel signs removed")

_TURKIC_LOWER = str.maketrans({"I": "ı", "İ": "i"})
_TURKIC_UPPER = str.maketrans({"i": "İ", "ı": "I"})
_DOTTED_I = re.compile("i\u0307+")  # what Python's lower() makes of İ

_MIDDLE_DOTS = re.compile("(?<=[lL])[\u00b7\u2022\u2027\u2219\u22c5](?=[lL])")
_HEBREW_MARKS = "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"
_HEBREW_LETTER = f"[\u05d0-\u05ea][{_HEBREW_MARKS}]*"
# A prefix of at most three letters before a quotation of two letters or more: ב"הארץ" is no acronym.
_IS_QUOTATION = re.compile(rf"(?:[משהוכלב][{_HEBREW_MARKS}]*){{1,3}}(?:[\"“”„]|'')(?:{_HEBREW_LETTER}){{2}}")
_GERSHAYIM = re.compile(rf"(?<![\u0590-\u05ff])(?:{_HEBREW_LETTER}|')+?(?:[\"“”„\u05f4]|'')(?={_HEBREW_LETTER})")
_INNER_SIGNS = {"ca": "\u00b7", "he": "\u05f4"}


def base_language(code: str | None) -> str:
    """The language of a code without its region: pt of pt-BR and pt_BR; empty for None."""
    return (code or "").replace("-", "_").split("_")[0]


def has_no_sharp_s(language: str | None) -> bool:
    """Whether it is the German of Switzerland or Liechtenstein, which writes ss for ß."""
    return (language or "").replace("-", "_") in _WITHOUT_SHARP_S


def is_turkic(language: str | None) -> bool:
    """Whether the language has ı and I apart from i and İ."""
    return base_language(language) in _TURKIC


def lower_turkic(text: str) -> str:
    """The text in the lower case of Turkish and Azerbaijani and NFKC: I is ı; İ, and i with a dot above, are i."""
    return nfkc(_DOTTED_I.sub("i", text.translate(_TURKIC_LOWER).lower()))


def upper_turkic(text: str) -> str:
    """The text in the upper case of Turkish and Azerbaijani and NFKC: i, with a dot above or not, is İ; ı is I."""
    return nfkc(_DOTTED_I.sub("i", text).translate(_TURKIC_UPPER).upper())


def swapcase(character: str, language: str | None) -> str:
    """The character in the other case, as the language has it."""
    turkic = _TURKIC_LOWER | _TURKIC_UPPER if is_turkic(language) else {}
    return turkic.get(ord(character)) or character.swapcase()


def letter_variants(language: str | None) -> dict[str, str]:
    """What stands for a letter of the same sound and look that another keyboard gives, or for a sign without sound."""
    base = base_language(language)
    stretched = {TATWEEL: ""} if base in _STRETCHED else {}
    signs = HARAKAT if base in _WITHOUT_HARAKAT else NIQQUD if base == "he" else ""
    return stretched | (PERSIAN_LETTERS if base in _WITH_PERSIAN_LETTERS else {}) | dict.fromkeys(signs, "")


def join_inner_signs(text: str, language: str | None) -> str:
    """The text with the language's one sign for all that are typed for it inside words: l·l and צה״ל.

    >>> join_inner_signs('צה"ל', "he")
    'צה״ל'
    """
    base = base_language(language)
    if base == "ca":
        return _MIDDLE_DOTS.sub(_INNER_SIGNS["ca"], text)
    if base == "he" and not text.isascii():
        return _GERSHAYIM.sub(_with_gershayim, text)
    return text


def _with_gershayim(match: re.Match[str]) -> str:
    sign = _INNER_SIGNS["he"]
    if match[0].endswith(sign) or _IS_QUOTATION.match(match.string, match.start()):
        return match[0]
    return re.sub("(?:[\"“”„]|'')$", sign, match[0])


def inner_sign_pattern(language: str | None) -> re.Pattern[str] | None:
    """The language's sign where it stands inside a word, or None where there is none."""
    match base_language(language):
        case "ca":
            return re.compile("(?<=[lL])\u00b7(?=[lL])")
        case "he":
            return re.compile(f"(?<=[\u05d0-\u05ea{_HEBREW_MARKS}])\u05f4(?=[\u05d0-\u05ea])")
    return None


def fold_letters(language: str | None, kept: Collection[str] = ()) -> tuple[Step, ...]:
    """The steps that give letters and inner signs of a language one form, where it has several.

    kept: letters that stay as they are.
    """
    base = base_language(language)
    found: list[Step] = []
    variants = {letter: to for letter, to in letter_variants(language).items() if letter not in kept}
    if variants:
        table = str.maketrans(variants)
        description = "; ".join(dict.fromkeys(_VARIANTS[letter] for letter in variants))
        example = "שָׁלוֹם" if base == "he" else "الـكِتاب"
        found.append(Step(f"{description} ({base})", lambda text: text.translate(table), (example,)))
    if base in _INNER_SIGNS:
        examples = {"ca": ("col·legi col•legi",), "he": ('צה"ל',)}[base]
        found.append(Step(f"one sign inside words ({base})", lambda text: join_inner_signs(text, base), examples))
    return tuple(found)


def fold_sharp_s(language: str | None, kept: Collection[str] = ()) -> tuple[Step, ...]:
    """The step that writes ss for ß, in number words as well, where a region has no ß; kept: as in `fold_letters`."""
    table = str.maketrans({letter: to for letter, to in {"ß": "ss", "ẞ": "SS"}.items() if letter not in kept})
    if not has_no_sharp_s(language) or not table:
        return ()
    return (Step(f"ss for ß ({language})", lambda text: text.translate(table), ("Straße",)),)


def keep_words_of(language: str | None) -> Step:
    """`steps.KEEP_WORDS`, which also keeps the language's sign inside words."""
    pattern = inner_sign_pattern(language)
    if pattern is None:
        return steps.KEEP_WORDS
    sign = _INNER_SIGNS[base_language(language)]
    outer = re.compile(rf"(?<![^\s']){sign}|{sign}(?!\w)")

    def rule(text: str) -> str:
        return outer.sub(" ", sign.join(map(keep_words, pattern.split(text))))

    return Step(f"{steps.KEEP_WORDS.description}; {sign} inside words stays", rule, steps.KEEP_WORDS.examples)


LOWER_TURKIC = Step("lower case, I to ı and İ to i", lower_turkic, ("Iğdır İzmir",))
