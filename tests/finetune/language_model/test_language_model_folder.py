"""Language models in a run's folder and on the Hub, and the choice of alpha and beta."""

import json
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from finetune.decoding.beam import BeamSettings
from finetune.decoding.language_model_folder import (
    LanguageModelFiles,
    find_language_model,
    holds_another,
    load_language_model,
    pyctcdecode_labels,
    save_language_model,
)
from finetune.decoding.search import make_search
from finetune.hub.folder import open_run
from finetune.language_model.kenlm_binary import KenlmModel
from finetune.language_model.ngram import NgramModel, read_arpa, write_arpa
from preprocessing.cli import notes
from preprocessing.errors import InputError
from preprocessing.units import Vocabulary, build
from tests.finetune.runs import arpa, tiny_run

VOCABULARY = Vocabulary.of_characters(["THE CAT SAT"])


@pytest.fixture
def words(tmp_path: Path) -> Path:
    return arpa(tmp_path / "some.arpa", [["THE", "CAT", "SAT"]] * 4)


def test_what_is_saved_is_found(words: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert save_language_model(run, words, VOCABULARY, BeamSettings(alpha=0.25, beta=2.0)) == run / "language_model"
    for reference in (run, str(run), run / "language_model"):
        files = find_language_model(reference)
        assert files is not None
        assert files.path.read_text() == words.read_text()
        assert files.settings(BeamSettings(beta=9.0), ("alpha",)) == BeamSettings(alpha=0.25, beta=9.0)
        assert sorted(load_language_model("mine", files, VOCABULARY).words) == ["CAT", "SAT", "THE"]
    assert (run / "language_model" / "unigrams.txt").read_text().split() == ["CAT", "SAT", "THE"]
    assert json.loads((run / "alphabet.json").read_text()) == {
        "labels": ["", "<s>", "</s>", "⁇", " ", *"ACEHST"],
        "is_bpe": False,
    }
    save_language_model(run, run / "language_model" / "words.arpa", VOCABULARY, BeamSettings(alpha=0.5))
    again = find_language_model(run)
    assert again is not None
    assert again.attributes["alpha"] == 0.5
    assert again.path.read_text() == words.read_text()


def test_what_is_saved_replaces_a_file_of_any_name(words: Path, tmp_path: Path) -> None:
    """As of a repository that pyctcdecode has made: only one file of n-grams may be beside the others."""
    run = tmp_path / "run"
    folder = save_language_model(run, words, VOCABULARY, BeamSettings(alpha=0.25))
    (folder / "words.arpa").rename(folder / "5gram.arpa")
    save_language_model(run, folder / "5gram.arpa", VOCABULARY, BeamSettings(alpha=0.75))
    found = find_language_model(run)
    assert found is not None
    assert (found.path, found.attributes["alpha"]) == (folder / "5gram.arpa", 0.75)
    other = arpa(tmp_path / "other.arpa", [["CAT", "SAT"]] * 3)
    save_language_model(run, other, VOCABULARY, BeamSettings(alpha=0.5))
    assert sorted(path.name for path in folder.iterdir()) == ["attrs.json", "unigrams.txt", "words.arpa"]
    assert (folder / "words.arpa").read_text() == other.read_text()


def test_pyctcdecode_reads_the_folder(words: Path, tmp_path: Path) -> None:
    pytest.importorskip("kenlm", reason="pyctcdecode and kenlm are not installed")
    pyctcdecode = pytest.importorskip("pyctcdecode", reason="pyctcdecode and kenlm are not installed")
    save_language_model(tmp_path / "run", words, VOCABULARY, BeamSettings(alpha=0.25, beta=2.0))
    decoder = pyctcdecode.BeamSearchDecoderCTC.load_from_dir(str(tmp_path / "run"))
    units = VOCABULARY.encode("THE CAT SAT")
    logits = np.full((2 * len(units), len(VOCABULARY.units)), -20.0)
    for place, unit in enumerate(units):
        logits[2 * place, unit] = logits[2 * place + 1, VOCABULARY.blank] = 0.0
    assert decoder.decode(logits) == "THE CAT SAT"
    assert decoder._language_model.alpha == 0.25


def kenlm_file(path: Path) -> Path:
    """The beginning of a binary file."""
    path.write_bytes(b"mmap lm http://kheafield.com/code format version 5\n\0" + bytes(100))
    return path


def test_a_binary_file_of_kenlm_scores_as_its_arpa_file(words: Path, tmp_path: Path) -> None:
    pytest.importorskip("kenlm", reason="kenlm is not installed")
    folder = save_language_model(tmp_path / "run", words, VOCABULARY, BeamSettings())
    model, expected = KenlmModel(words, folder / "unigrams.txt"), read_arpa(words)  # KenLM reads both kinds of file
    assert set(model.words) == set(expected.words)
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        log_probs = (2.0 * torch.randn(30, len(VOCABULARY.units), generator=generator)).log_softmax(dim=1)
        found, ours = (make_search(VOCABULARY, one).decode(log_probs) for one in (model, expected))
        assert found.text == ours.text
        assert found.score == pytest.approx(ours.score, abs=1e-3)
    (folder / "unigrams.txt").write_text("")
    with pytest.raises(InputError, match=r"unigrams\.txt: has no word of some\.arpa"):
        KenlmModel(words, folder / "unigrams.txt")
    with pytest.raises(InputError, match="KenLM cannot read it"):
        KenlmModel(kenlm_file(tmp_path / "cut.bin"), folder / "unigrams.txt")


def test_a_binary_file_needs_kenlm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kenlm", None)
    with pytest.raises(InputError, match="package kenlm is not installed; expected it, or the ARPA file"):
        load_language_model("mine", LanguageModelFiles(kenlm_file(tmp_path / "a.bin"), {}), VOCABULARY)


@pytest.mark.parametrize(("units", "of_characters"), [("| A C T", True), ("THE CAT |", False), ("A B C", False)])
def test_a_binary_file_of_characters_is_one(
    units: str, of_characters: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kenlm", SimpleNamespace(Model=lambda path: units.split(), State=object))
    (tmp_path / "unigrams.txt").write_text("\n".join([*units.split(), "OTHER"]))
    model = KenlmModel(kenlm_file(tmp_path / "a.bin"), tmp_path / "unigrams.txt")
    assert model.is_of_characters == of_characters
    assert sorted(model.words) == sorted(units.split())


def test_where_there_is_none(tmp_path: Path) -> None:
    assert find_language_model(tmp_path) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "attrs.json").write_text("{"), "attrs.json: cannot be used"),
        (lambda folder: (folder / "attrs.json").write_text('{"alpha": -1}'), "alpha is -1; expected 0 or more"),
        (lambda folder: (folder / "attrs.json").write_text('{"score_boundary": false}'), "score_boundary is false"),
        (lambda folder: (folder / "words.arpa").unlink(), "has none beside attrs.json"),
        (lambda folder: (folder / "more.arpa").write_text(""), "has more.arpa, words.arpa beside"),
    ],
)
def test_a_folder_that_cannot_be_used_is_named(
    change: Callable[[Path], object], said: str, words: Path, tmp_path: Path
) -> None:
    change(save_language_model(tmp_path / "run", words, VOCABULARY, BeamSettings()))
    with pytest.raises(InputError, match=said):
        find_language_model(tmp_path / "run")


@pytest.mark.parametrize(
    ("sentences", "said"),
    [
        ([["the", "cat"]] * 4, "the letters are there in the other case"),
        ([["\u2581THE", "\u2581CA", "T"]] * 4, "its units cannot spell most words"),
        ([list("THECAT")] * 4, "all its words are single letters"),
    ],
)
def test_a_language_model_over_other_units_is_refused(sentences: list[list[str]], said: str, tmp_path: Path) -> None:
    files = LanguageModelFiles(arpa(tmp_path / "other.arpa", sentences), {})
    with pytest.raises(InputError, match=said):
        load_language_model("mine", files, VOCABULARY)


@pytest.mark.parametrize(
    ("n_outside", "said"), [(1, ""), (2, "2 % of the words of "), (40, "40 % of the words of "), (50, "50 % of the ")]
)
def test_words_that_units_cannot_spell_are_noted_once(
    n_outside: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notes, "_noted", set())
    spelled = ["".join(letters) for letters in product("THECAS", repeat=3)][: 100 - n_outside]
    path = arpa(tmp_path / "some.arpa", [[*spelled, *(str(1900 + number) for number in range(n_outside))]])
    for _ in range(2):
        load_language_model("mine", LanguageModelFiles(path, {}), VOCABULARY)
    noted = capsys.readouterr().err
    expected = f"{said}{path}, such as '19" if said == "2 % of the words of " else said
    assert expected in noted and noted.count("the search never outputs them") == (said != "")


def test_no_words_and_characters_are_refused_for_a_run(tmp_path: Path) -> None:
    empty = tmp_path / "empty.arpa"
    with empty.open("w") as file:
        write_arpa(NgramModel(({("<s>",): (-9.0, 0.0), ("</s>",): (-1.0, 0.0), ("<unk>",): (-1.0, 0.0)},)), file)
    with pytest.raises(InputError, match=r"empty\.arpa: has no words"):
        load_language_model("mine", LanguageModelFiles(empty, {}), VOCABULARY)
    characters = arpa(tmp_path / "c.arpa", [list("THE|CAT|SAT")], 3)
    load_language_model("mine", LanguageModelFiles(characters, {}), VOCABULARY)
    with pytest.raises(InputError, match="is a character language model; expected one of words"):
        save_language_model(tmp_path / "run", characters, VOCABULARY, BeamSettings())


def test_a_run_is_published_with_its_language_model(tmp_path: Path) -> None:
    run = tiny_run(tmp_path / "run")
    assert not any("language_model" in name for name in open_run(run).uploads())
    vocabulary = Vocabulary.load(str(run))
    lm = arpa(tmp_path / "some.arpa", [["TURN", "ON", "THE", "LIGHT"]] * 4)
    save_language_model(run, lm, vocabulary, BeamSettings())
    added = {name for name in open_run(run).uploads() if "language_model" in name or name == "alphabet.json"}
    assert added == {
        "alphabet.json",
        "language_model/words.arpa",
        "language_model/unigrams.txt",
        "language_model/attrs.json",
    }
    assert pyctcdecode_labels(vocabulary).count("") == 1


def test_units_that_begin_words_are_bpe_to_pyctcdecode(words: Path, tmp_path: Path) -> None:
    """Without is_bpe, pyctcdecode finds a new word only at a unit that is a space alone."""
    vocabulary = build("bpe", ["THE CAT SAT"] * 4, size=12)
    assert " T" in vocabulary.units
    save_language_model(tmp_path / "run", words, vocabulary, BeamSettings())
    alphabet = json.loads((tmp_path / "run" / "alphabet.json").read_text())
    assert alphabet["is_bpe"] is True
    assert alphabet["labels"][:5] == ["", "<s>", "</s>", "▁⁇▁", "▁"]
    assert [one.replace("▁", " ") for one in alphabet["labels"][5:]] == list(vocabulary.units[5:])


def test_other_n_grams_are_told_from_the_same(words: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert not holds_another(run, words)
    stored = save_language_model(run, words, VOCABULARY, BeamSettings())
    assert not holds_another(run, words)
    assert not holds_another(run, stored / "words.arpa")
    assert holds_another(run, arpa(tmp_path / "other.arpa", [["THE", "CAT"]] * 4))
