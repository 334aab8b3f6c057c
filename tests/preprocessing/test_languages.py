"""Codes of languages: Whisper's own table is what names mean, ISO 639 what codes mean."""

import pytest
from whisper.tokenizer import LANGUAGES, TO_LANGUAGE_CODE

from preprocessing.text.languages import _other_codes, language_code, regional_code


def test_whispers_names_and_codes_mean_what_they_mean_to_whisper() -> None:
    for code, name in LANGUAGES.items():
        for written in (code, code.upper(), f"{code}-XX", f"{code}_xx", name, name.title(), f" {name} "):
            assert language_code(written) == code, written
    for name, code in TO_LANGUAGE_CODE.items():
        assert language_code(name) == code


def test_every_language_of_whisper_has_its_code_of_three_letters() -> None:
    codes = _other_codes()
    assert {code for other, code in codes.items() if len(other) == 3} | {"haw", "yue"} == set(LANGUAGES)
    assert not codes.keys() & LANGUAGES.keys()


@pytest.mark.parametrize(
    ("name", "code"),
    [  # the registration authorities' tables of ISO 639-2 and 639-3
        ("deu", "de"), ("ger", "de"), ("fra", "fr"), ("fre", "fr"), ("zho", "zh"), ("chi", "zh"), ("cmn", "zh"),
        ("jpn", "ja"), ("tha", "th"), ("lao", "lo"), ("mya", "my"), ("bur", "my"), ("khm", "km"), ("nob", "no"),
        ("cmn_hans_cn", "zh"), ("yue_hant_hk", "yue"), ("nb_no", "no"), ("jv_id", "jw"), ("iw", "he"),
        # names and codes of FLEURS, Common Voice and people
        ("Mandarin Chinese", "zh"), ("Cantonese Chinese", "yue"), ("Chinese (China)", "zh"), ("Swiss German", "de"),
        ("Norwegian Nynorsk", "nn"), ("Haitian Creole", "ht"), ("jp", "ja"), ("cn", "zh"), ("JP", "ja"),
        ("German and English", None), ("Sorani-Kurdish", None), ("unknown", None), ("xx", None), ("", None),
        ("kr", None),  # Kanuri, not Korean
        ("se", None),  # Northern Sami, not Swedish
    ],
)  # fmt: skip
def test_other_names_and_codes(name: str, code: str | None) -> None:
    assert language_code(name) == code


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("es_mx", "es-MX"), ("deu-CH", "de-CH"), ("cmn_hans_cn", "zh-CN"), ("zh-Hant-HK", "zh-HK"),
        ("zh_hant", "zh-TW"), ("yue-Hant", "yue"), ("es-419", "es"), ("rm-sursilv", None), ("Mandarin Chinese", "zh"),
        ("xx-XX", None),
    ],
)  # fmt: skip
def test_regions(name: str, code: str | None) -> None:
    assert regional_code(name) == code
