"""Profiles against what they claim to be: LibriSpeech's own transcripts, openai-whisper's own normaliser."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from whisper.normalizers import EnglishTextNormalizer

from preprocessing.errors import UsageError
from preprocessing.text import PROFILES, profile


@pytest.mark.parametrize(
    ("raw", "normalised"),
    [
        ('Mr. Quilter\'s manner -- "pleasing"!', "MR QUILTER'S MANNER PLEASING"),
        ("rock ’n’ roll", "ROCK 'N' ROLL"),
        ("Straße, Café", "STRASSE CAFÉ"),
        ("  twenty-two  ", "TWENTY TWO"),
        ("' ''", ""),
        ("", ""),
    ],
)
def test_librispeech_by_hand(raw: str, normalised: str) -> None:
    assert profile("librispeech")(raw) == normalised


def test_librispeech_leaves_librispeech_alone(speech: Path) -> None:
    with gzip.open(speech / "text" / "librispeech-train-clean-100.txt.gz", "rt", encoding="utf-8") as lines:
        texts = [line.strip() for line in lines]
    assert [profile("librispeech")(text) for text in texts] == texts


def test_whisper_english_is_openai_whispers() -> None:
    reference = EnglishTextNormalizer()
    for text in ("Brown's dog can't come at twenty-one pounds 5!", "colour", "[noise] um, OK", ""):
        assert profile("whisper-english")(text) == reference(text)
    assert profile("whisper-english")("Brown's dog") == "brown is dog"


@pytest.mark.parametrize("name", ["verbatim", "librispeech"])
@given(text=st.text(max_size=60))
def test_profiles_are_idempotent(name: str, text: str) -> None:
    once = profile(name)(text)
    assert profile(name)(once) == once


def test_unknown_profile_lists_what_there_is() -> None:
    with pytest.raises(UsageError) as caught:
        profile("libri")
    assert all(name in str(caught.value) for name in PROFILES)
    json.dumps(str(caught.value))
