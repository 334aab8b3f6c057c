"""All kinds of unit behind one interface: exact round trips, nothing silently unknown, and files that others decode."""

import json
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, Wav2Vec2CTCTokenizer

from finetune.decoding.greedy import collapse
from preprocessing.errors import InputError, UsageError
from preprocessing.units import KINDS, Vocabulary, build, frames_needed
from preprocessing.units.splitting import BytePairs
from tests.conftest import ROOT

TEXTS = [
    "THE CAT SAT ON THE MAT AND HAD HAD ENOUGH",
    "A BODY OF WATER UNDER THE OPEN DOOR",
    "DON'T UNDERSTAND THE NATURE OF COMFORTABLY HIDDEN JOYS",
    "QUICK ZEBRAS JUMP OVER MY LAZY VIXEN FOR WAXY GLYPHS",
] * 3
LETTERS = sorted(set("".join(TEXTS)) - {" "})
KNOWN = sorted({word for text in TEXTS for word in text.split()})
OPEN = ("characters", "syllables", "bpe")
VOCABULARIES = {
    kind: build(
        kind, TEXTS, size=60 if kind == "bpe" else None, language="en_US", syllable_counts={"open": 2, "body": 2}
    )
    for kind in KINDS
}
WORDS = st.lists(st.text(LETTERS, min_size=1, max_size=9), max_size=6)


def path_of(vocabulary: Vocabulary, labels: Sequence[int]) -> list[int]:
    """A frame path for the labels, each over two frames with a blank behind it."""
    return [vocabulary.blank, *(unit for label in labels for unit in (label, label, vocabulary.blank))]


@pytest.mark.parametrize("kind", OPEN)
@given(words=WORDS)
def test_any_text_of_the_alphabet_comes_back(kind: str, words: list[str]) -> None:
    text, vocabulary = " ".join(words), VOCABULARIES[kind]
    labels = vocabulary.encode(text)
    assert vocabulary.decode(labels) == text
    assert not vocabulary.silent.intersection(labels)
    assert vocabulary.outside([text]).total() == 0


@given(words=st.lists(st.sampled_from(KNOWN), max_size=8))
def test_known_words_come_back_one_label_each(words: list[str]) -> None:
    vocabulary = VOCABULARIES["words"]
    labels = vocabulary.encode(" ".join(words))
    assert vocabulary.decode(labels) == " ".join(words)
    assert len(labels) == len(words)


def test_an_unknown_word_shows_and_is_counted() -> None:
    vocabulary = VOCABULARIES["words"]
    labels = vocabulary.encode("THE DOG SAT ON DOG HILL")
    assert vocabulary.unknown is not None and labels.count(vocabulary.unknown) == 3
    assert vocabulary.decode(labels) == "THE <unk> SAT ON <unk> <unk>"
    assert vocabulary.outside(["THE DOG SAT ON DOG HILL"]) == {"DOG": 2, "HILL": 1}


@pytest.mark.parametrize("kind", OPEN)
@pytest.mark.parametrize("text", ["CAFÉ", "THE CAT É", "A|B", "THE |"])
def test_a_character_outside_is_refused_and_counted(kind: str, text: str) -> None:
    """The boundary's own sign would read as a space, so it is outside as well."""
    vocabulary = VOCABULARIES[kind]
    assert vocabulary.outside([text]).total() == 1
    with pytest.raises(KeyError):
        vocabulary.encode(text)


@pytest.mark.parametrize("kind", KINDS)
def test_word_beginnings_are_explicit(kind: str) -> None:
    """Splitting the labels where a word begins gives the words."""
    vocabulary, text = VOCABULARIES[kind], "THE OPEN DOOR AND MY BODY"
    words: list[list[int]] = [[]]
    for label in vocabulary.encode(text):
        if vocabulary.begins_word(label):
            words.append([])
        words[-1].append(label)
    assert [vocabulary.decode(word) for word in words if word] == text.split()


@pytest.mark.parametrize("kind", KINDS)
def test_equal_neighbours_need_a_blank(kind: str) -> None:
    """The labels of a text survive the shortest path that frames_needed counts, and no shorter one."""
    vocabulary = VOCABULARIES[kind]
    labels = vocabulary.encode("HAD HAD ENOUGH ZZOO DOOR" if kind != "words" else "HAD HAD ENOUGH DOOR DOOR")
    path: list[int] = []
    for label in labels:
        path += [vocabulary.blank, label] if path and path[-1] == label else [label]
    assert collapse(path, vocabulary.blank) == labels
    assert len(path) == frames_needed(labels)
    assert kind == "syllables" or frames_needed(labels) > len(labels)


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_it_is_the_same(kind: str, tmp_path: Path) -> None:
    """Over the files of another kind, too."""
    vocabulary = VOCABULARIES[kind]
    for other in KINDS:
        VOCABULARIES[other].save(tmp_path)
    vocabulary.save(tmp_path)
    loaded = Vocabulary.load(str(tmp_path))
    assert loaded == vocabulary and loaded.kind == kind
    unseen = "OPEN WATER UNDERNEATH BODIES" if kind != "words" else "OPEN WATER <unk> THE"
    assert loaded.encode(unseen) == vocabulary.encode(unseen)
    assert (tmp_path / "units.json").exists() == (kind != "characters")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loader", [AutoTokenizer, Wav2Vec2CTCTokenizer])
def test_plain_transformers_decodes_the_folder(kind: str, loader: type, tmp_path: Path) -> None:
    vocabulary = VOCABULARIES[kind]
    vocabulary.save(tmp_path)
    tokenizer = loader.from_pretrained(tmp_path)
    assert tokenizer.pad_token_id == vocabulary.blank
    for text in [*TEXTS[:4], "THE DOG HAD HAD DOOR"]:
        path = path_of(vocabulary, vocabulary.encode(text))
        assert tokenizer.decode(path) == vocabulary.decode(collapse(path, vocabulary.blank))
        assert vocabulary.decode(collapse(path, vocabulary.blank)) == (
            text.replace("DOG", "<unk>") if kind == "words" else text
        )


@pytest.mark.parametrize("kind", KINDS)
def test_plain_transformers_decodes_whatever_a_model_says(kind: str, tmp_path: Path) -> None:
    """Any order of units, boundaries doubled and at the ends."""
    vocabulary = VOCABULARIES[kind]
    vocabulary.save(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    said = [index for index in range(len(vocabulary.units)) if index not in vocabulary.silent] + [vocabulary.blank]

    @given(st.lists(st.sampled_from(said) | st.just(vocabulary.boundary), max_size=20))
    def check(path: list[int]) -> None:
        ours = vocabulary.decode(collapse(path, vocabulary.blank))
        assert " ".join(tokenizer.decode(path).split()) == ours

    check()


@pytest.mark.slow
def test_the_same_texts_give_the_same_units_in_any_process() -> None:
    code = (
        "from tests.preprocessing.units.test_vocabulary import VOCABULARIES as V; print([v.units for v in V.values()])"
    )
    for seed in ("1",):
        result = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), "PATH": ""},
        )  # fmt: skip
        assert result.stdout.strip() == str([vocabulary.units for vocabulary in VOCABULARIES.values()])


def test_sizes_cut_the_rarest_and_keep_the_alphabet() -> None:
    cut = build("syllables", TEXTS, size=len(LETTERS) + 3, language="en_US")
    assert cut.size == len(LETTERS) + 3 and cut.encode("ZQX")
    assert cut.units[-2:] == ("THE", "DER")  # 12 times; 6 times, before HAD in code-point order
    assert build("words", TEXTS, size=3).units[4:] == ("|", " THE", " HAD")
    assert build("bpe", TEXTS, size=50).size == 50


@pytest.mark.parametrize("reserved", ["<s>", "<pad>", "<unk>", "a|b"])
@pytest.mark.parametrize("kind", KINDS)
def test_text_that_holds_a_reserved_unit_is_not_taken_for_it(kind: str, reserved: str) -> None:
    vocabulary = build(kind, [f"the {reserved} cat"] * 20, size=40 if kind == "bpe" else None, language="en_US")
    if reserved != "a|b":
        assert vocabulary.decode(vocabulary.encode(f"the {reserved} cat")) == f"the {reserved} cat"
    else:
        assert vocabulary.outside([f"the {reserved} cat"]).total() == 1


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        ("syllabels", {}, "did you mean syllables"),
        ("xyz", {}, "characters, syllables, bpe, words"),
        ("bpe", {}, "size is not set"),
        ("bpe", {"size": 5}, "size is 5"),
        ("syllables", {"size": 5, "language": "en_US"}, "size is 5"),
        ("words", {"size": 1}, "size is 1"),
        ("syllables", {}, "language"),
        ("syllables", {"language": "xx_nowhere"}, "'xx_nowhere'"),
        ("syllables", {"language": "de_DD"}, "de"),
    ],
)
def test_what_cannot_be_built_is_said(kind: str, options: dict[str, object], expected: str) -> None:
    if options.get("language") == "de_DD":  # pyphen falls back to the language itself
        assert build(kind, TEXTS, **options).kind == kind  # type: ignore[arg-type]
        return
    with pytest.raises(UsageError, match=expected):
        build(kind, TEXTS, **options)  # type: ignore[arg-type]


def test_no_text_makes_no_units() -> None:
    with pytest.raises(UsageError, match="no text"):
        build("words", ["", " "])


@pytest.mark.parametrize("spoiled", ["kind", "merges", "not json"])
def test_spoiled_files_are_named(spoiled: str, tmp_path: Path) -> None:
    VOCABULARIES["bpe"].save(tmp_path)
    settings = json.loads((tmp_path / "units.json").read_text())
    if spoiled == "kind":
        settings["kind"] = "phones"
    settings["merges"] += [["Z", "Z"]] if spoiled == "merges" else []
    (tmp_path / "units.json").write_text("{" if spoiled == "not json" else json.dumps(settings))
    with pytest.raises(InputError, match=str(tmp_path)):
        Vocabulary.load(str(tmp_path))


def naive_pieces(word: str, merges: Sequence[tuple[str, str]]) -> list[str]:
    """Byte-pair encoding as published: of the pairs there are, the one that was learnt first, everywhere; again."""
    pieces = list(word)
    while True:
        pairs = [pair for pair in pairwise(pieces) if pair in merges]
        if not pairs:
            return pieces
        best = min(pairs, key=merges.index)
        joined: list[str] = []
        while pieces:
            if tuple(pieces[:2]) == best:
                joined.append("".join(pieces[:2]))
                del pieces[:2]
            else:
                joined.append(pieces.pop(0))
        pieces = joined


@given(words=WORDS)
def test_bpe_is_the_published_algorithm(words: list[str]) -> None:
    splitter = VOCABULARIES["bpe"].splitter
    assert isinstance(splitter, BytePairs) and len(splitter.merges) > 20
    for word in words:
        assert [" " if piece == "|" else piece for piece in splitter.pieces(word)] == naive_pieces(
            f" {word}", splitter.merges
        )


def test_an_id_without_a_unit_shifts_no_other(tmp_path: Path) -> None:
    """As of a vocab.json that a letter was taken out of, or an output layer with more rows than the tokenizer has."""
    whole = Vocabulary.of_characters(["ABCD"])
    whole.save(tmp_path)
    ids = json.loads((tmp_path / "vocab.json").read_text())
    del ids["B"]
    (tmp_path / "vocab.json").write_text(json.dumps(ids))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "wav2vec2", "vocab_size": len(whole.units) + 3}))
    found = Vocabulary.load(str(tmp_path))
    assert len(found.units) == len(whole.units) + 3 and found.size == whole.size - 1
    assert found.encode("CAD") == whole.encode("CAD") and "B" not in found
    assert found.decode([*whole.encode("ABBA"), len(whole.units) + 2]) == "AA"
    found.save(tmp_path)
    assert Vocabulary.load(str(tmp_path)) == found


@pytest.mark.parametrize("ids", [{"A": 5, "B": 5}, {"A": -1}, {"A": 10**6}])
def test_ids_that_cannot_be_are_refused(ids: dict[str, int], tmp_path: Path) -> None:
    Vocabulary.of_characters(["AB"]).save(tmp_path)
    known = json.loads((tmp_path / "vocab.json").read_text())
    (tmp_path / "vocab.json").write_text(json.dumps(known | ids))
    with pytest.raises(InputError, match="no CTC vocabulary"):
        Vocabulary.load(str(tmp_path))


def test_a_model_of_phonemes_is_refused_by_its_name(tmp_path: Path) -> None:
    """Its tokenizer needs a package of its own to be opened at all, and has no spaces between words."""
    (tmp_path / "vocab.json").write_text('{"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "n": 4, "s": 5, "tʃ": 6}')
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "Wav2Vec2PhonemeCTCTokenizer"}')
    with pytest.raises(InputError, match=r"no CTC vocabulary \(its tokenizer writes phonemes, not words\)"):
        Vocabulary.load(str(tmp_path))
