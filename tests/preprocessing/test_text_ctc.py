"""The profile made from a vocabulary: nothing outside it but letters, which stay to be reported."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.errors import InputError, UsageError
from preprocessing.text import profile
from preprocessing.units import SPECIAL, Vocabulary
from tests.conftest import DEMO

UPPER = Vocabulary.of_characters(["ABCDEFGHIJKLMNOPQRSTUVWXYZ'"])
LOWER_GERMAN = Vocabulary.of_characters(["abcdefghijklmnopqrstuvwxyzäöüß"])
LOWER_TURKISH = Vocabulary.of_characters(["abcçdefgğhıijklmnoöprsştuüvyz"])
UPPER_TURKISH = Vocabulary.of_characters(["ABCÇDEFGĞHIİJKLMNOÖPRSŞTUÜVYZ"])
CASED = Vocabulary.of_characters(["ABCXYZabcdefghijklmnopqrstuvwxyz.,-0123456789’"])


@pytest.mark.parametrize(
    ("vocabulary", "options", "raw", "normalised"),
    [
        (UPPER, {}, "It’s “fine”—no?", "IT'S FINE NO"),
        (UPPER, {}, "Café № 5", "CAFÉ NO 5"),  # reported, not dropped
        (UPPER, {"language": "en"}, "the 3rd of 275", "THE THIRD OF TWO HUNDRED SEVENTY FIVE"),
        (UPPER, {"transliterate": True}, "Café Łódź Straße", "CAFE LODZ STRASSE"),
        (UPPER, {"transliterate": True, "language": "de"}, "Über Öl", "UEBER OEL"),
        (UPPER, {"transliterate": True}, "Москва", "МОСКВА"),
        (LOWER_GERMAN, {"language": "de"}, "Straße 12, GEHT’S?", "straße zwölf gehts"),
        (LOWER_GERMAN, {"transliterate": True, "language": "de"}, "Ärger Café", "ärger cafe"),
        (CASED, {}, "Abc-Xyz it's 5.", "Abc-Xyz it’s 5."),
        (CASED, {"language": "en"}, "5 Dogs – B", "5 dogs - B"),
        (CASED, {}, "5’10", "5 10"),
        (LOWER_TURKISH, {"language": "tr"}, "Iğdır İzmir DIYARBAKIR i\u0307", "ığdır izmir dıyarbakır i"),
        (LOWER_TURKISH, {"language": "az"}, "İki", "iki"),
        (UPPER_TURKISH, {"language": "tr"}, "istanbul ışık İ i\u0307", "İSTANBUL IŞIK İ İ"),
        (UPPER, {"language": "tr", "transliterate": True}, "istanbul", "ISTANBUL"),
        (LOWER_GERMAN, {"language": "ca"}, "Col·legi a·b", "collegi a b"),
        (Vocabulary.of_characters(["col·egi"]), {"language": "ca"}, "coŀlegi", "col·legi"),
        (Vocabulary.of_characters(["צהל"]), {"language": "he"}, 'צה"ל', "צהל"),
        (Vocabulary.of_characters(["צהל״"]), {"language": "he"}, 'צה"ל', "צה״ל"),
        (Vocabulary.of_characters(["کی"]), {"language": "fa"}, "كـي", "کی"),
        (Vocabulary.of_characters(["كي"]), {"language": "fa"}, "کی", "كي"),
        (Vocabulary.of_characters(["ท", "\u0e4d", "า"]), {"language": "th"}, "ทำ", "ท\u0e4dา"),
        (Vocabulary.of_characters(["ทำ"]), {"language": "th"}, "ทำ", "ทำ"),
        # Letters that composed forms take apart
        (Vocabulary.of_characters(["আমি হ\u09df"]), {}, "হ\u09df আমি হ\u09af\u09bc", "হ\u09df আমি হ\u09df"),
        (Vocabulary.of_characters(["ल\u095cका \u0958"]), {}, "ल\u095cका \u0915\u093cल", "ल\u095cका \u0958ल"),
        (Vocabulary.of_characters(["\u095cड\u093c"]), {}, "\u095c", "ड\u093c"),
        (Vocabulary.of_characters(["abrn№"]), {}, "Nob", "nob"),
        (Vocabulary.of_characters(["كتاب"]), {"language": "ar"}, "كِتَاب", "كتاب"),
        (Vocabulary.of_characters(["كِتاب"]), {"language": "ar"}, "كِتَاب", "كِتاب"),
        (LOWER_GERMAN, {"language": "de-CH"}, "Straße", "straße"),
        (Vocabulary.of_characters(["aerst"]), {"language": "de-CH"}, "Straße", "strasse"),
        (UPPER, {}, "അന\u0d4d\u200d", "അൻ"),
    ],
)
def test_by_hand(vocabulary: Vocabulary, options: dict[str, object], raw: str, normalised: str) -> None:
    normalise = profile("ctc", vocabulary=vocabulary, **options)  # type: ignore[arg-type]
    assert normalise(raw) == normalised


@pytest.mark.parametrize("vocabulary", [UPPER, LOWER_GERMAN, CASED])
@pytest.mark.parametrize("transliterate", [False, True])
@given(text=st.text(max_size=40))
def test_only_letters_are_ever_outside(vocabulary: Vocabulary, transliterate: bool, text: str) -> None:
    normalise = profile("ctc", vocabulary=vocabulary, language="de", transliterate=transliterate)
    once = normalise(text)
    assert normalise(once) == once
    assert all(unicodedata.category(character)[0] in "LMN" for character in vocabulary.outside([once]))


@given(text=st.text("abzABZäöüßÄÖÜ0123456789 .,!?'’„“–-%€", max_size=40))
def test_german_text_fits_a_german_vocabulary(text: str) -> None:
    assert not LOWER_GERMAN.outside([profile("ctc", vocabulary=LOWER_GERMAN, language="de")(text)])


def test_by_name_from_a_model(tmp_path: Path) -> None:
    named = profile(f"ctc:{DEMO / 'wav2vec2'}:en")
    assert named.name == f"ctc:{DEMO / 'wav2vec2'}:en"
    given_one = profile("ctc", vocabulary=Vocabulary.load(str(DEMO / "wav2vec2")), language="en")
    assert named("It’s 5!") == given_one("It’s 5!") == "IT'S FIVE"
    with pytest.raises(InputError, match="no CTC vocabulary"):
        profile(f"ctc:{tmp_path}")
    with pytest.raises(UsageError, match="takes no vocabulary"):
        profile("basic", vocabulary=UPPER)


def test_special_units_lend_no_characters() -> None:
    normalise = profile("ctc", vocabulary=Vocabulary((*SPECIAL, "|", "A", "B")))
    assert normalise("<pad> a|b") == "PAD A B"
