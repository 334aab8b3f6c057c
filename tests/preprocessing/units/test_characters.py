"""The character vocabulary: exact round trip, nothing silently unknown, and the same reading as transformers'."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import Wav2Vec2CTCTokenizer

from finetune.decoding.greedy import collapse
from preprocessing.errors import InputError
from preprocessing.units import Vocabulary

ENGLISH = Vocabulary.of_characters(["ABCDEFGHIJKLMNOPQRSTUVWXYZ' "])
WORDS = st.lists(st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ'", min_size=1, max_size=8), max_size=6)


@given(WORDS)
def test_decode_undoes_encode(words: list[str]) -> None:
    text = " ".join(words)
    assert ENGLISH.decode(ENGLISH.encode(text)) == text


def test_outside_counts_every_character() -> None:
    assert ENGLISH.outside(["ABC é", "ééß"]) == {"é": 3, "ß": 1}
    assert ENGLISH.outside(["lower"]).total() == 5


def test_a_vocabulary_without_blank_or_boundary_is_refused() -> None:
    with pytest.raises(ValueError, match=r"<pad>, \|"):
        Vocabulary(("a", "b"))
    with pytest.raises(ValueError, match="twice"):
        Vocabulary(("<pad>", "|", "a", "a"))


def test_saves_as_a_transformers_tokenizer(tmp_path: Path) -> None:
    ENGLISH.save(tmp_path)
    assert Vocabulary.load(str(tmp_path)) == ENGLISH
    tokenizer = Wav2Vec2CTCTokenizer.from_pretrained(tmp_path)
    assert tokenizer("HELLO WORLD").input_ids == ENGLISH.encode("HELLO WORLD")
    blank = ENGLISH.blank
    path = [blank, *(unit for label in ENGLISH.encode("HELLO WE") for unit in (label, label, blank))]
    assert tokenizer.decode(path) == "HELLO WE"
    assert ENGLISH.decode(collapse(path, blank)) == "HELLO WE"


def test_a_folder_without_vocabulary_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=str(tmp_path)):
        Vocabulary.load(str(tmp_path))
