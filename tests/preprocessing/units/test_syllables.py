"""Written syllables: known words of two languages, CMUdict's counts met, and never a letter lost."""

import gzip
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.errors import InputError
from preprocessing.units.syllables import Syllables, fitted, hyphenation, parts, points, read_cmudict

COUNTS = {
    "about": 2,
    "body": 2,
    "poem": 2,
    "idea": 3,
    "comfortably": 4,
    "business": 2,
    "every": 2,
    "over": 2,
    "beyond": 2,
    "couldn't": 2,
    "haven't": 2,
    "tourism": 3,
    "mclean": 2,
    "coach's": 2,
}


@pytest.mark.parametrize(
    ("language", "word", "expected"),
    [
        ("en_US", "UNDERSTANDING", "UN-DER-STAND-ING"),
        ("en_US", "CHAPTER", "CHAP-TER"),
        ("en_US", "ABOUT", "ABOUT"),  # what hyphenation alone knows
        ("en_US", "STRENGTH", "STRENGTH"),
        ("de_DE", "BENACHBARTE", "BE-NACH-BAR-TE"),
        ("de_DE", "ABER", "A-BER"),
        ("de_DE", "ursprünglich", "ur-sprüng-lich"),
    ],
)
def test_hyphenation(language: str, word: str, expected: str) -> None:
    assert "-".join(Syllables(language).pieces(word)) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("ABOUT", "A-BOUT"),
        ("BODY", "BO-DY"),
        ("POEM", "PO-EM"),
        ("IDEA", "I-DE-A"),
        ("COMFORTABLY", "COM-FORT-A-BLY"),
        ("BUSINESS", "BUSI-NESS"),
        ("OVER", "O-VER"),
        ("BEYOND", "BE-YOND"),
        ("COULDN'T", "COULDN'T"),  # the second syllable has no vowel letter: no other two are parted for it
        ("HAVEN'T", "HA-VEN'T"),
        ("TOURISM", "TOU-RISM"),
        ("MCLEAN", "MCLEAN"),
        ("COACH'S", "COACH'S"),
    ],
)
def test_cmudict_says_how_many(word: str, expected: str) -> None:
    assert "-".join(Syllables.fitted_to([word], "en_US", COUNTS).pieces(word)) == expected


def test_too_many_points_lose_the_one_within_the_shortest_pair() -> None:
    assert parts("UNDERSTANDING", fitted("UNDERSTANDING", [2, 5, 10], 3)) == ("UNDER", "STAND", "ING")
    assert parts("UNDERSTANDING", fitted("UNDERSTANDING", [2, 5, 10], 1)) == ("UNDERSTANDING",)


@given(st.text("abcdeiouylmnrst'qu", min_size=1, max_size=14), st.integers(0, 8))
def test_parts_are_the_word_and_never_more_than_counted(word: str, count: int) -> None:
    at = points(word, hyphenation("en_US"))
    found = parts(word, fitted(word, at, count))
    assert "".join(found) == word
    assert len(found) <= max(count, 1)
    if any(letter in "aeiouy" for letter in word):
        assert all(re.search("[aeiouy]", part) for part in found)


@given(st.text(min_size=1, max_size=12).filter(lambda word: not any(c.isspace() for c in word)))
def test_any_writing_survives_any_language(word: str) -> None:
    for language in ("en_US", "de_DE", "hu_HU", "ru_RU"):
        assert "".join(Syllables(language).pieces(word)) == word


def test_cmudict_is_read_plain_and_packed(tmp_path: Path) -> None:
    content = "'em AH0 M\nbody B AA1 D IY0\nread R EH1 D\nread(2) R IY1 D\naalen AE1 L AH0 N # place, german\n"
    (tmp_path / "cmudict.dict").write_text(content)
    (tmp_path / "cmudict.dict.gz").write_bytes(gzip.compress(content.encode()))
    expected = {"'em": 1, "body": 2, "read": 1, "aalen": 2}
    assert read_cmudict(tmp_path / "cmudict.dict") == read_cmudict(tmp_path / "cmudict.dict.gz") == expected


@pytest.mark.parametrize("content", [None, b"", b"just some words\nhere\n", b"\xff\xfe\n", b"\n"])
def test_a_file_that_is_no_cmudict_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "words.dict"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"words\.dict.*CMUdict"):
        read_cmudict(path)


def test_real_words_meet_the_count(speech: Path) -> None:
    """By a count of its own of the vowels in CMUdict's lines: of running words, all but 2 in a thousand."""
    path = speech / "text" / "cmudict.dict.gz"
    vowels: dict[str, int] = {}
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        word, phones = line.split("#")[0].split(" ", 1)
        vowels.setdefault(word, len(re.findall(r"[012]\b", phones)))
    text = (
        gzip.decompress((speech / "text" / "librispeech-train-clean-100.txt.gz").read_bytes()).decode().split()[:50_000]
    )
    splitter = Syllables.fitted_to(text, "en_US", read_cmudict(path))
    known = [word for word in text if word.lower() in vowels]
    met = sum(len(splitter.pieces(word)) == vowels[word.lower()] for word in known)
    assert len(known) > 0.97 * len(text)
    assert met > 0.998 * len(known)
