"""Text-normalisation profiles by name and version: named steps in order, the same for training labels and scoring."""

import difflib
import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from preprocessing.cli.notes import note_once
from preprocessing.errors import UsageError
from preprocessing.text import steps
from preprocessing.text.chinese_script import one_chinese_script
from preprocessing.text.language_letters import (
    LOWER_TURKIC,
    base_language,
    fold_letters,
    fold_sharp_s,
    is_turkic,
    keep_words_of,
)
from preprocessing.text.languages import common_language, language_code, regional_code
from preprocessing.text.numbers import NumberWords, digits_stay, has_own_numbers, joins_at_spaces, languages
from preprocessing.text.steps import Profile, Step
from preprocessing.text.vocabulary_fit import VocabularyFit, case_of, characters_of

if TYPE_CHECKING:
    from preprocessing.units import Vocabulary

TRANSLITERATE, NO_ANNOTATIONS, SIMPLIFIED = "transliterate", "no-annotations", "simplified"
PARAMETRISED = {
    "basic:LANGUAGE": "basic with numbers spelled out, as basic:de; docs/text.md has the table of languages",
    "ctc:MODEL[:LANGUAGE][:transliterate]": "fitted to a model's vocabulary: ctc:runs/mine:de",
    "PROFILE:no-annotations": "any of these, annotations such as [noise] and <unk> removed first",
    "PROFILE:simplified": "any of these, traditional Chinese characters as simplified ones, for scoring: "
    "basic:zh:simplified",
}
_LANGUAGE = re.compile(r"[a-z]{2,3}([-_][A-Z]{2})?")
_CHINESE = ("zh", "yue")
_NUMBER_EXAMPLES = {
    "de": "am 3. Mai 2001 um 9:30 Uhr, 5,30 €, 20 %",
    "en": "the 3rd, in 1963, at 9:30, $5.30, 20%",
    "fr": "le 1er mai 1963, 12,5 %, -5",
    "es": "el 1.º de mayo de 1963, 12,5 %, -5",
}


def whisper_english(text: str) -> str:
    """The text under openai-whisper's EnglishTextNormalizer.

    Lower case, contractions spelled out, numbers as digits, US spelling. "Brown's dog" becomes "brown is dog": that is
    the published rule.
    """
    return _english_normalizer()(text)


def whisper_basic(text: str) -> str:
    """The text under openai-whisper's BasicTextNormalizer with its defaults, which keep diacritics.

    Combining marks become spaces, which splits Hindi and other scripts at their vowels, and outer spaces stay.
    """
    return _basic_normalizer()(text)


@functools.cache
def _english_normalizer() -> Callable[[str], str]:
    from whisper.normalizers import EnglishTextNormalizer

    return EnglishTextNormalizer()  # type: ignore[no-any-return]


@functools.cache
def _basic_normalizer() -> Callable[[str], str]:
    from whisper.normalizers import BasicTextNormalizer

    return BasicTextNormalizer()  # type: ignore[no-any-return]


def _numbers(language: str) -> tuple[Step, ...]:
    """The step that spells numbers out; none in a language whose digits stay. Raises UsageError for an unknown one."""
    if digits_stay(language) is not None:
        return ()
    example = _NUMBER_EXAMPLES.get(language[:2], "1963, 275")
    return (Step(f"numbers spelled out ({language})", NumberWords(language), (example,)),)


def _thousands(language: str | None) -> tuple[Step, ...]:
    """The step that marks thousands written with a no-break space, before it is a plain one; none in a language that
    joins at plain ones."""
    if language is None or digits_stay(language) is not None or joins_at_spaces(language):
        return ()
    return (steps.JOIN_THOUSANDS,)


def _about_numbers(language: str | None) -> tuple[int, str, str]:
    """The version, the end of the description, and the note of a profile for a language."""
    if language is None:
        return 3, "", ""
    reason = digits_stay(language)
    if reason is None:
        return 6 if language[:2] == "de" else 5, f"; numbers spelled out ({language})", ""
    stay = f"digits stay digits in {language}: {reason}"
    return 4, f"; {stay}", f"{stay}; numbers are spelled out in {', '.join(languages())}"


def _basic(language: str | None) -> Profile:
    """Lower-case words in any script, with numbers spelled out where there is a language."""
    version, about_numbers, note = _about_numbers(language)
    return Profile(
        "basic" if language is None else f"basic:{language}",
        version,
        "lower case; letters of all scripts, digits, inner apostrophes; other punctuation is a space" + about_numbers,
        (
            steps.ONE_CHILLU,
            steps.REMOVE_INVISIBLE,
            *_thousands(language),
            steps.COMPOSE,
            *fold_letters(language),
            *(() if language is None else _numbers(language)),
            *fold_sharp_s(language),
            steps.ONE_SCRIPT_OF_DIGITS,
            LOWER_TURKIC if is_turkic(language) else steps.LOWER,
            keep_words_of(language),
            steps.REMOVE_OUTER_APOSTROPHES,
            steps.COLLAPSE_SPACES,
        ),
        note,
    )


def _ctc(name: str, vocabulary: "Vocabulary", language: str | None, transliterate: bool) -> Profile:
    characters = characters_of(vocabulary.units)
    fit = VocabularyFit(characters, language=language, transliterate=transliterate)
    case = {"upper": "upper case", "lower": "lower case", "both": "case as it is"}[case_of(characters)]
    has_digits = any(character.isdecimal() for character in characters)
    version, about_numbers, note = _about_numbers(None if has_digits else language)
    return Profile(
        name,
        version,
        f"fitted to {len(characters)} characters of a vocabulary: {case}; other punctuation is a space; other letters "
        + ("transliterated where they can be, else" if transliterate else "stay, to be")
        + " reported"
        + about_numbers,
        (
            steps.ONE_CHILLU,
            steps.REMOVE_INVISIBLE,
            *_thousands(None if has_digits else language),
            steps.COMPOSE,
            *fold_letters(language, kept=characters),
            *(() if has_digits or language is None else _numbers(language)),
            *fold_sharp_s(language, kept=characters),
            Step(f"the vocabulary's case: {case}", fit.case, ("Straße été",)),
            Step("punctuation outside the vocabulary to a space, letters kept", fit, ("Well—no, it's Été!",)),
            steps.COLLAPSE_SPACES_BETWEEN_WORDS,
        ),
        note,
    )


_LIBRISPEECH = Profile(
    "librispeech",
    4,
    "upper case; letters, digits and apostrophes; other punctuation is a space",
    (
        steps.REMOVE_INVISIBLE,
        steps.COMPOSE,
        steps.UPPER,
        steps.KEEP_WORDS,
        steps.REMOVE_QUOTATION_MARKS,
        steps.COLLAPSE_SPACES_BETWEEN_WORDS,
    ),
)
_STRIP = Step("outer white space removed", str.strip, (" As  it is. ",))
_ENGLISH = Step(
    "EnglishTextNormalizer: brackets and fillers go, contractions out, numbers to digits, US spelling",
    whisper_english,
    ("[noise] um, Brown's dog can't", "twenty-one pounds of colour"),
)
_BASIC = Step(
    "BasicTextNormalizer: brackets go, lower case, punctuation, symbols and combining marks to a space",
    whisper_basic,
    ("[noise] Brown's Straße!", "हिन्दी"),
)

PROFILES = {
    one.name: one
    for one in (
        Profile("verbatim", 1, "the text as it is, outer white space removed", (_STRIP,)),
        _basic(None),
        _LIBRISPEECH,
        Profile("whisper-english", 1, "openai-whisper's EnglishTextNormalizer", (_ENGLISH,)),
        Profile("whisper-basic", 1, "openai-whisper's BasicTextNormalizer, diacritics kept", (_BASIC,)),
    )
}


def profile(
    name: str, *, vocabulary: "Vocabulary | None" = None, language: str | None = None, transliterate: bool = False
) -> Profile:
    """The profile of a name: one of PROFILES, `basic:LANGUAGE`, `ctc:MODEL[:LANGUAGE][:transliterate]`, or `ctc`.

    vocabulary: what `ctc` without a MODEL is fitted to.
    language: the language to spell numbers out in, as `:LANGUAGE` (`basic`; `ctc` where the vocabulary has no digits).
    transliterate: as `:transliterate`: under `ctc`, é becomes e where the vocabulary has no é.
    With `:no-annotations` at its end, annotations such as [noise] are removed before all other steps; with
    `:simplified`, traditional Chinese characters become simplified ones after them, which is for scoring: labels keep
    the script that the model is to write.
    Prints the profile's note, if it has one, once on stderr.
    Raises UsageError on an unknown name, suggesting the nearest, and InputError where MODEL has no CTC vocabulary.

    >>> profile("basic:en")("“It’s the 3rd of 275!”")
    "it's the third of two hundred seventy five"
    """
    made = _profile(name, vocabulary, language, transliterate)
    if made.note:
        note_once(made.note, made.note)
    return made


def profile_language(name: str) -> str | None:
    """The LANGUAGE of `basic:LANGUAGE` for a language however it is named: with its region where texts of that region
    are normalised otherwise (es-MX, de-CH), else without; None of a language that `language_code` has none of.

    >>> [profile_language(name) for name in ("es_mx", "es-ES", "German", "zh-Hant", "xx")]
    ['es-MX', 'es', 'de', 'zh-TW', None]
    """
    code = regional_code(name)
    return code if code is None or has_own_numbers(code) else base_language(code)


def scoring_profile(language: str) -> str:
    """The name of the profile that texts of a language are scored under: basic:LANGUAGE, and for Chinese with one
    script, as systems write either.

    >>> scoring_profile("de"), scoring_profile("zh-TW")
    ('basic:de', 'basic:zh-TW:simplified')
    """
    return f"basic:{language}" + (f":{SIMPLIFIED}" if base_language(language) in _CHINESE else "")


def corpus_profile(languages: Iterable[str | None], setting: str | None = None) -> str:
    """The name of the profile that texts of a corpus are counted and compared under, from the languages that its
    utterances name, or from the one that the user has set.

    It is the scoring profile of their one language, with its region where all name one; librispeech where that is
    English or none is named; basic of several languages, and where it is not known how numbers are read.

    >>> [corpus_profile(names) for names in (["de-CH", "de-CH"], ["de-CH", "German"], ["tr", "en"], [None], ["eng"])]
    ['basic:de-CH', 'basic:de', 'basic', 'librispeech', 'librispeech']
    """
    names = set(languages) if setting is None else {setting}
    if {language_code(name) for name in names if name is not None} <= {"en"}:
        return "librispeech"
    named = common_language(setting, (), names)
    language = named if setting is not None or named is None else language_code(named)
    regions = {name and profile_language(name) for name in names}
    language = (regions.pop() if len(regions) == 1 else None) or language
    if language is None:
        return "basic"
    try:
        profile(scoring_profile(language))
    except UsageError:
        return "basic"
    return scoring_profile(language)


def _profile(name: str, vocabulary: "Vocabulary | None", language: str | None, transliterate: bool) -> Profile:
    if name.endswith(f":{NO_ANNOTATIONS}"):
        whole = _profile(name.removesuffix(f":{NO_ANNOTATIONS}"), vocabulary, language, transliterate)
        return replace(
            whole,
            name=f"{whole.name}:{NO_ANNOTATIONS}",
            version=whole.version + 1,  # of the second set of annotations
            description=f"annotations removed; {whole.description}",
            steps=(steps.REMOVE_ANNOTATIONS, *whole.steps),
        )
    if name.endswith(f":{SIMPLIFIED}"):
        whole = _profile(name.removesuffix(f":{SIMPLIFIED}"), vocabulary, language, transliterate)
        return replace(
            whole,
            name=f"{whole.name}:{SIMPLIFIED}",
            description=f"{whole.description}; traditional Chinese characters as simplified ones",
            steps=(*whole.steps, one_chinese_script()),
        )
    kind, _, rest = name.partition(":")
    if kind == "ctc":
        words = rest.split(":") if rest else []
        if words and words[-1] == TRANSLITERATE:
            transliterate, words = True, words[:-1]
        if words and _LANGUAGE.fullmatch(words[-1]) and (len(words) > 1 or vocabulary is not None):
            language, words = words[-1], words[:-1]
        reference = ":".join(words)
        options = [reference, language or "", TRANSLITERATE if transliterate else ""]
        return _ctc(
            ":".join(["ctc", *filter(None, options)]), _vocabulary(reference, vocabulary), language, transliterate
        )
    if vocabulary is not None or transliterate:
        raise UsageError(f"text profile {name!r} takes no vocabulary; expected ctc: name that one")
    if kind == "basic" and (rest or language):
        return _basic(rest or language)
    if name not in PROFILES or language is not None:
        raise UsageError(_unknown(name, language))
    return PROFILES[name]


def _vocabulary(reference: str, given: "Vocabulary | None") -> "Vocabulary":
    if (given is None) == (not reference):
        raise UsageError(
            f"text profile 'ctc' with {'no vocabulary' if given is None else f'a vocabulary and {reference!r}'}; "
            "expected one: name a model, as in ctc:facebook/wav2vec2-base-960h"
        )
    if given is not None:
        return given
    from preprocessing.units import Vocabulary

    return Vocabulary.load(reference)


def _unknown(name: str, language: str | None) -> str:
    known = [*PROFILES, *PARAMETRISED]
    if name in PROFILES or name.partition(":")[0] in PROFILES:
        found = f"text profile {name!r}{f' with language {language!r}' if language else ''}"
        return f"{found}; expected no parameter: only basic and ctc take a language"
    near = difflib.get_close_matches(name, [*PROFILES, "ctc"], n=1, cutoff=0.5)
    return f"unknown text profile {name!r}; expected one of {', '.join(known)}: " + (
        f"did you mean {near[0]!r}?" if near else "choose one of them"
    )
