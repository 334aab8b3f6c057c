"""Profile and Step, and the steps that work on characters: Unicode forms, case, punctuation, white space."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One rule of a profile, with its description and texts that `python -m preprocessing.text` shows it on."""

    description: str
    rule: Callable[[str], str]
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Profile:
    """A text normalisation: called on a raw text, it returns the text after every step in order.

    `version` rises whenever any output changes. `note`: what its name may promise and it does not do, or nothing.

    >>> Profile("shout", 1, "upper case", (Step("upper case", str.upper),))("hey")
    'HEY'
    """

    name: str
    version: int
    description: str
    steps: tuple[Step, ...]
    note: str = ""

    def __call__(self, text: str) -> str:
        for step in self.steps:
            text = step.rule(text)
        return text


class CharacterTable(dict[int, str]):
    """A table for str.translate that calls `rule` once for each different character.

    >>> "a-b".translate(CharacterTable(lambda character: " " if character == "-" else character))
    'a b'
    """

    def __init__(self, rule: Callable[[str], str]) -> None:
        super().__init__()
        self._rule = rule

    def __missing__(self, code: int) -> str:
        self[code] = self._rule(chr(code))
        return self[code]


# [laughter], <unk>, {breath}, (inaudible), ((guess)), %uh and %hesitation, not the % of "100 %ige"; &-uh and &=laughs
# of CHAT; （笑）, ［笑］, ｛笑｝, 【笑】, 〔笑〕; ♪ what is sung ♪ of subtitles.
ANNOTATION = re.compile(
    r"[\[［][^\[\]［］]*[\]］]|</?[^\W\d][^<>]*>|[{｛][^{}｛｝]*[}｝]|\(\([^()]*\)\)|[(（][^()（）]*[)）]"
    r"|【[^【】]*】|〔[^〔〕]*〕|\u266a[^\u266a]*\u266a"
    r"|(?<!\S)%(?!ig(?:e[mnrs]?)?\b)[^\W\d]\w*|&[-=][^\W\d]\w*"
)


def without_annotations(text: str) -> str:
    """The text with a space for each annotation of a transcriber.

    >>> without_annotations("[noise] well <unk> (inaudible) [a [b] c]%uh 100 %ige").split()
    ['well', '100', '%ige']
    """
    shorter = ANNOTATION.sub(" ", text)
    while shorter != text:  # brackets in brackets
        text, shorter = shorter, ANNOTATION.sub(" ", shorter)
    return text


# Characters typed for an apostrophe: quotation marks, modifier letters, lone accents, Greek, Armenian and Hebrew signs.
# Folded before NFKC, which would turn a lone accent into a space with a combining mark.
APOSTROPHES = "’‘‛ʼʻ`´＇｀\u055a\u05f3\u1fbd\u1fbf\u1fef\u1ffd"
_APOSTROPHES = CharacterTable(
    lambda character: "'" if character in APOSTROPHES else "'n" if character == "ŉ" else character
)
_GRAPHEME_JOINER = "\u034f"
# Where only letters, digits, marks, apostrophes and white space are left, a mark is what is none of the others.
_LONE_MARKS = re.compile(r"(?<![^\s'])[^\w\s']+")
_OUTER_APOSTROPHES = re.compile(r"(?<![^\s'])'|'(?!\w)")
_OPENING_QUOTE = re.compile(r"(?<!\S)'+(?=[^\s'])")
_CLOSING_QUOTE = re.compile(r"(?<=[^\s'])'+(?!\S)")
_LONE_APOSTROPHE = re.compile(r"(?<!\S)'+(?!\S)")  # a closing one after punctuation, which is a space by then


def is_mark(character: str) -> bool:
    """Whether the character is a combining mark, which belongs to the letter before it."""
    return unicodedata.category(character).startswith("M")


def is_letter_or_digit(character: str) -> bool:
    """Whether the character is part of a word in any script: a letter, digit or combining mark."""
    return character.isalnum() or is_mark(character)


def _is_invisible(character: str) -> bool:
    """Whether it is a format character (soft hyphen, zero-width joiner, direction mark) or a variation selector."""
    return (
        unicodedata.category(character) == "Cf"
        or "VARIATION SELECTOR" in unicodedata.name(character, "")
        or character == _GRAPHEME_JOINER
    )


_WITHOUT_INVISIBLE = CharacterTable(lambda character: "" if _is_invisible(character) else character)
_DIGITS = CharacterTable(lambda character: str(unicodedata.decimal(character, character)))
_WORD_CHARACTERS = CharacterTable(
    lambda character: character if is_letter_or_digit(character) or character == "'" else " "
)
_APOSTROPHE_IN_NUMBER = re.compile(r"(?<=\d)'(?=\d)")
_NO_BREAK = re.compile("[\u00a0\u2007\u2009\u202f]")  # NFKC makes plain spaces of these
_SPACED_THOUSANDS = re.compile(rf"(?<![\d.,])[1-9]\d{{0,2}}(?:{_NO_BREAK.pattern}\d{{3}})+(?!\d)")
# Thai and Lao sara am, which NFKC takes apart: a circle above and sara aa, the mark of the tone before or between them.
_SARA_AM = re.compile("\u0e4d([\u0e48-\u0e4b]*)\u0e32|\u0ecd([\u0ec8-\u0ecb]*)\u0eb2")

# Single characters that NFKC turns into digits, which would join the digits beside them: 2½ is not 21⁄2.
_SUPERSCRIPTS = "⁰¹²³⁴-⁹"
_OTHER_NUMERALS = "①-⑳⒈-⒛⓪㉑-㉟㊱-㋋㍘-㍰㍸㍹㎟-㎦㎨㎯㏠-㏾🄀-🄊"
_NUMERALS = re.compile(
    rf"(?P<fraction>[¼-¾⅐-⅟↉]|[{_SUPERSCRIPTS}]+[⁄∕/][₀-₉]+)|(?P<power>[⁺⁻]?[{_SUPERSCRIPTS}]+)"
    rf"|[₀-₉]+|[{_OTHER_NUMERALS}]"
)
# What Unicode before 5.1 wrote a chillu of Malayalam with: its consonant, virama and zero-width joiner.
_CHILLUS = dict(zip("ണനരലളക", "ൺൻർൽൾൿ", strict=True))
_OLD_CHILLU = re.compile(f"([{''.join(_CHILLUS)}])\u0d4d\u200d")
_SYMBOL_LETTERS = 2  # m², km², x³: longer words have no powers, but footnotes


def one_chillu(text: str) -> str:
    """The text with one character for each final consonant of Malayalam that is written with a zero-width joiner."""
    return _OLD_CHILLU.sub(lambda match: _CHILLUS[match[1]], text) if "\u200d" in text else text


def join_thousands(text: str) -> str:
    """The text with a comma for each no-break, thin or figure space between the thousands of a number.

    >>> join_thousands("10\u202f000 of 1\u00a0000\u00a0000, and 5 000")
    '10,000 of 1,000,000, and 5 000'
    """
    return text if text.isascii() else _SPACED_THOUSANDS.sub(lambda match: _NO_BREAK.sub(",", match[0]), text)


def one_script_of_digits(text: str) -> str:
    """The text with 0 to 9 for the digits of all scripts.

    >>> one_script_of_digits("٣٫١٤ १२")
    '3٫14 12'
    """
    return text if text.isascii() else text.translate(_DIGITS)


def remove_invisible(text: str) -> str:
    r"""The text without invisible characters; their neighbours join.

    >>> remove_invisible("co\u00adoperate")
    'cooperate'
    """
    return text if text.isascii() else text.translate(_WITHOUT_INVISIBLE)


def compose(text: str) -> str:
    """The text in NFKC with one apostrophe for all: composed letters, no ligatures, no full-width forms.

    >>> compose("it’s ﬁne")
    "it's fine"
    """
    if text.isascii():
        return text.replace("`", "'")
    text = unicodedata.normalize("NFD", text).translate(_APOSTROPHES)
    if _NUMERALS.search(text) is not None:
        text = _NUMERALS.sub(_numeral, unicodedata.normalize("NFC", text))
    return nfkc(text)


def nfkc(text: str) -> str:
    """The text in NFKC, with sara am as Thai and Lao write it: one character after the mark of the tone.

    >>> nfkc("น้ำ") == nfkc("นํ้า") == "น้ำ"
    True
    """
    text = unicodedata.normalize("NFKC", text)
    if "\u0e4d" in text or "\u0ecd" in text:
        return _SARA_AM.sub(lambda match: f"{match[1]}\u0e33" if match[1] is not None else f"{match[2]}\u0eb3", text)
    return text


def _numeral(match: re.Match[str]) -> str:
    """A fraction, power, subscript or circled number in digits, which join no digit before or after them.

    A power of a number follows a circumflex: 10² is 10^2. After a symbol (km²) its digits follow as they are; after
    anything else it is the mark of a footnote, of which nothing stays.
    """
    before, after = match.string[: match.start()][-1:], match.string[match.end() : match.end() + 1]
    digits = unicodedata.normalize("NFKC", match[0]).replace("∕", "⁄" if match["fraction"] else "∕")
    if match["fraction"]:
        digits = digits.replace("/", "⁄")
    follows_number = before.isdecimal() or _NUMERALS.fullmatch(before) is not None
    if match["power"]:
        if follows_number:
            return f"^{digits}{' ' if after.isdecimal() else ''}"
        if not _has_power(match.string, match.start(), after):
            return " " if after.isalnum() else ""
    return f"{' ' if follows_number else ''}{digits}{' ' if after.isdecimal() else ''}"


def _has_power(text: str, start: int, after: str) -> bool:
    """Whether superscript digits at `start` belong to a symbol before them (km²), or to a letter after (¹⁴C)."""
    begin = start
    while begin and (is_letter_or_digit(text[begin - 1]) or text[begin - 1] == "'"):
        begin -= 1
    word = text[begin:start]
    if word:
        return sum(not is_mark(character) for character in word) <= _SYMBOL_LETTERS
    return after.isalpha() and (not begin or text[begin - 1].isspace() or text[begin - 1] == "(")


def lower(text: str) -> str:
    """The text in lower case and NFKC: ß stays ß, and İ becomes i with a dot above."""
    return nfkc(text.lower())


def upper(text: str) -> str:
    """The text in upper case and NFKC: ß becomes SS."""
    return nfkc(text.upper())


def part_numbers(text: str) -> str:
    """The text with a space for each apostrophe between digits, which makes no word of two numbers.

    >>> part_numbers("5'10")
    '5 10'
    """
    return _APOSTROPHE_IN_NUMBER.sub(" ", text) if "'" in text else text


def keep_words(text: str) -> str:
    """The text with a space for all but letters, digits, apostrophes (none between digits) and marks on a letter.

    >>> keep_words("well—it's no. 9!")
    "well it's no  9 "
    """
    return part_numbers(_LONE_MARKS.sub("", text.translate(_WORD_CHARACTERS)))


def remove_outer_apostrophes(text: str) -> str:
    """The text with a space for each apostrophe that is not inside a word.

    >>> remove_outer_apostrophes("'tis the smiths' o'clock")
    " tis the smiths  o'clock"
    """
    return _OUTER_APOSTROPHES.sub(" ", text) if "'" in text else text


def remove_quotation_marks(text: str) -> str:
    """The text with a space for an apostrophe before a word and for the next one after a word, which close it.

    Where an apostrophe stands alone, as after punctuation, that one closes. One that no other opens stays.

    >>> remove_quotation_marks("'come in' he said 'the boys' school ' nothin'")
    " come in  he said  the boys' school ' nothin'"
    """
    if "'" not in text:
        return text
    outside, *quoted = _OPENING_QUOTE.split(text)
    closed = (part if _LONE_APOSTROPHE.search(part) else _CLOSING_QUOTE.sub(" ", part, count=1) for part in quoted)
    return " ".join([outside, *closed])


def collapse_spaces(text: str) -> str:
    """The text with one space between words and none outside."""
    return " ".join(text.split())


def collapse_spaces_between_words(text: str) -> str:
    """As `collapse_spaces`, without words that are nothing but apostrophes."""
    if "'" not in text:
        return collapse_spaces(text)
    return " ".join(word for word in text.split() if word.strip("'"))


REMOVE_ANNOTATIONS = Step(
    "a transcriber's annotations removed: what is in brackets, %uh, &-uh",
    without_annotations,
    ("[laughter] well, <unk> (inaudible) %uh", "（笑）そうです"),
)
ONE_CHILLU = Step("Malayalam's final consonants as one character each", one_chillu, ("\u0d05\u0d35\u0d28\u0d4d\u200d",))
JOIN_THOUSANDS = Step("thousands with a no-break space to ones with a comma", join_thousands, ("10\u202f000",))
ONE_SCRIPT_OF_DIGITS = Step("digits of all scripts as 0 to 9", one_script_of_digits, ("٣ १२",))
REMOVE_INVISIBLE = Step(
    "invisible characters removed: soft hyphens, zero-width joiners, emoji selectors",
    remove_invisible,
    ("co\u00adop",),
)
COMPOSE = Step(
    "all apostrophes one, Unicode NFKC: composed letters, no ligatures; fractions and powers join no number",
    compose,
    ("it’s Ｅﬃcient, 2½ km², 10²",),
)
LOWER = Step("lower case", lower, ("Straße ÉTÉ",))
UPPER = Step("upper case", upper, ("Straße été",))
KEEP_WORDS = Step(
    "all but letters, digits, combining marks and apostrophes to a space", keep_words, ("“Well—no!” हिन्दी 🎉",)
)
REMOVE_OUTER_APOSTROPHES = Step(
    "apostrophes outside words to a space", remove_outer_apostrophes, ("the smiths' o'clock",)
)
REMOVE_QUOTATION_MARKS = Step(
    "single quotation marks to a space", remove_quotation_marks, ("he said 'come in' o'clock",)
)
COLLAPSE_SPACES = Step("white space collapsed to one space", collapse_spaces, (" a \t b ",))
COLLAPSE_SPACES_BETWEEN_WORDS = Step(
    "white space collapsed to one space, lone apostrophes dropped", collapse_spaces_between_words, (" a \t ' b ",)
)
