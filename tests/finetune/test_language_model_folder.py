"""Language models in a run's folder and on the Hub, and the choice of alpha and beta."""

import json
import math
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
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
from finetune.decoding.rescoring import RescoringSearch
from finetune.decoding.search import make_search
from finetune.hub.folder import open_run
from finetune.language_model.build import TrainLstmConfig, train_language_model
from finetune.language_model.kenlm_binary import KenlmModel
from finetune.language_model.kneser_ney import estimate
from finetune.language_model.lstm import LstmModel, LstmShape
from finetune.language_model.ngram import NgramModel, read_arpa, write_arpa
from finetune.metrics.error_rates import utterance_errors
from finetune.systems.ctc_model import load_ctc
from finetune.tune_language_model import (
    TuneConfig,
    Tuned,
    _validation_utterances,
    at_edges,
    choose,
    choose_weight,
    draw,
    tune,
)
from preprocessing.cli.errors import InputError, UsageError
from preprocessing.corpus import load_waveform
from preprocessing.units import Vocabulary, build
from tests.conftest import DEMO, write_manifest
from tests.finetune.runs import tiny_run

VOCABULARY = Vocabulary.of_characters(["THE CAT SAT"])


def arpa(path: Path, sentences: list[list[str]], order: int = 2) -> Path:
    with path.open("w", encoding="utf-8") as file:
        write_arpa(estimate(sentences, order), file)
    return path


@pytest.fixture
def words(tmp_path: Path) -> Path:
    return arpa(tmp_path / "some.arpa", [["THE", "CAT", "SAT"]] * 4)


def test_a_limit_spans_the_corpus() -> None:
    corpus = str(DEMO / "corpus" / "test.jsonl")
    first, *_, last = _validation_utterances(TuneConfig("run", corpus))
    assert [one.id for one in _validation_utterances(TuneConfig("run", corpus, utterances=2))] == [first.id, last.id]


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


SPEAKERS = [f"s{i % 10}" for i in range(40)]
GREEDY = [3] * 40


def test_the_best_point_is_chosen_and_helps() -> None:
    better = [1 + (i % 3 == 0) for i in range(40)]
    errors = {(0.0, 0.0): [4] * 40, (0.0, 1.0): [4] * 40, (0.5, 0.0): better, (0.5, 1.0): [2] * 40}
    found = choose(errors, GREEDY, [10] * 40, SPEAKERS)
    assert (found.alpha, found.beta, found.best) == (0.5, 0.0, sum(better) / 400)
    assert found.helps
    assert "The language model helps" in found.sentence()
    assert found.held_out.value == pytest.approx((sum(better) - 120) / 400)


def test_chance_is_not_taken_for_help() -> None:
    """The best of many points that are as good as greedy decoding is better on what it was chosen on alone."""
    generator = np.random.default_rng(0)
    errors = {(round(0.1 * i, 1), 0.0): (3 + generator.integers(-2, 3, size=40)).tolist() for i in range(30)}
    found = choose(errors, GREEDY, [10] * 40, SPEAKERS)
    assert found.best < found.greedy
    assert not found.helps
    assert "Not shown to be better than no language model" in found.sentence()
    harmful = choose({(0.5, 0.0): [5 + i % 2 for i in range(40)]}, GREEDY, [10] * 40, SPEAKERS)
    assert "increases errors" in harmful.sentence()


def test_a_run_is_tuned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    shutil.copytree(DEMO / "wav2vec2", run)
    texts = [json.loads(line)["text"] for line in (DEMO / "corpus" / "train.jsonl").read_text().splitlines()]
    lm = arpa(tmp_path / "demo.arpa", [text.upper().split() for text in texts], 3)
    config = TuneConfig(
        str(run), str(DEMO / "corpus" / "test.jsonl"), str(lm), alphas=[0.0, 0.5], betas=[0.0, 1.0], utterances=20
    )
    found = tune(config)
    assert found.best < found.greedy
    assert "surface: " in capsys.readouterr().out
    files = find_language_model(run)
    assert files is not None
    assert files.attributes == {"alpha": found.alpha, "beta": found.beta, "unk_score_offset": -10.0}
    assert json.loads((run / "language_model_tuning.json").read_text())["alpha"] == found.alpha
    assert (run / "language_model_tuning.png").read_bytes().startswith(b"\x89PNG")
    few = replace(config, alphas=[0.5], betas=[0.0], utterances=6)
    tune(replace(few, unk_score_offset=-3.0))
    tune(replace(few, lm=None))  # the one in the run, with its offset
    files = find_language_model(run)
    assert files is not None and files.attributes["unk_score_offset"] == -3.0


def test_languages_without_spaces_are_tuned_by_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of two points with as many wrong "words", whole utterances, the one with fewer wrong characters is taken. Spaces
    are no characters."""
    run = tmp_path / "run"
    shutil.copytree(DEMO / "wav2vec2", run)
    Vocabulary.of_characters(["今天气很好坏错误的字"]).save(run)
    (run / "training_preprocessing.json").write_text(json.dumps({"profile": "basic"}))
    rows = [json.loads(line) for line in (DEMO / "corpus" / "test.jsonl").read_text().splitlines()[:4]]
    manifest = write_manifest(
        tmp_path / "zh.jsonl",
        [
            row | {"audio": str(DEMO / "corpus" / row["audio"]), "text": "今天 天气很好", "language": "zh"}
            for row in rows
        ],
    )
    texts = {0.0: "错误的字", 0.5: "今 天 天气 很坏"}

    class Search:
        def __init__(self, alpha: float) -> None:
            self.alpha = alpha

        def with_settings(self, settings: BeamSettings) -> "Search":
            return Search(settings.alpha)

        def decode_batch(self, log_probs: list[object]) -> list[SimpleNamespace]:
            return [SimpleNamespace(text=texts[self.alpha]) for _ in log_probs]

    monkeypatch.setattr("finetune.decoding.search.make_search", lambda *_: Search(0.0))
    lm = arpa(tmp_path / "zh.arpa", [["今天天气很好"]] * 4)
    found = tune(TuneConfig(str(run), str(manifest), str(lm), alphas=[0.0, 0.5], betas=[0.0]))
    assert (found.metric, found.alpha, found.rates) == ("cer", 0.5, [[1.0], [pytest.approx(1 / 6)]])
    assert "16.67 % character errors" in capsys.readouterr().out
    assert json.loads((run / "language_model_tuning.json").read_text())["metric"] == "cer"


HELPS = {(0.5, 1.0): [1 + (i % 3 == 0) for i in range(40)]}
ONE_LESS = {(0.5, 1.0): [2, *GREEDY[1:]]}  # may be by chance
NO_WEIGHT = {(0.0, 1.0): [1 + (i % 3 == 0) for i in range(40)], (0.5, 1.0): [4] * 40}


def tuned_from(
    errors: dict[tuple[float, float], list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **options: object
) -> Path:
    """A run that carries a language model with the files of its tuning, after `tune` has found these errors with
    another one.
    """
    run = tmp_path / "run"
    shutil.copytree(DEMO / "wav2vec2", run)
    vocabulary = Vocabulary.load(str(run))
    save_language_model(
        run, arpa(tmp_path / "good.arpa", [["TURN", "THE", "LAMP", "ON"]] * 4), vocabulary, BeamSettings()
    )
    for suffix in ("json", "png"):
        (run / f"language_model_tuning.{suffix}").write_text("of the good one")
    found = choose(errors, GREEDY, [10] * 40, SPEAKERS)
    monkeypatch.setattr("finetune.tune_language_model._try_grid", lambda *_: found)
    other = arpa(tmp_path / "other.arpa", [["THE", "LAMP"]] * 4)
    data = str(DEMO / "corpus" / "test.jsonl")
    tune(TuneConfig(str(run), data, str(other), utterances=2, **options))  # type: ignore[arg-type]
    return run


@pytest.mark.parametrize("errors", [{(0.5, 1.0): GREEDY}, NO_WEIGHT])
def test_a_stored_language_model_that_does_not_help_is_said_to_stay(
    errors: dict[tuple[float, float], list[int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tuned_from(errors, tmp_path, monkeypatch)
    capsys.readouterr()
    tune(TuneConfig(str(run), str(DEMO / "corpus" / "test.jsonl"), utterances=2))
    said = capsys.readouterr().out
    assert f"it stays in {run / 'language_model'} with its former alpha and beta: decode without +lm" in said
    assert "not put into" not in said
    assert json.loads((run / "language_model" / "attrs.json").read_text())["alpha"] == BeamSettings().alpha


@pytest.mark.parametrize(
    ("errors", "save", "said"),
    [
        (ONE_LESS, True, "contains another language model, which is replaced only by one that is shown to be better"),
        (NO_WEIGHT, True, "the fewest errors are at alpha 0"),
        ({(0.5, 1.0): GREEDY}, True, "no fewer errors"),
        (HELPS, False, ""),
    ],
)
def test_a_language_model_that_is_not_stored_leaves_the_stored_one_and_its_record(
    errors: dict[tuple[float, float], list[int]],
    save: bool,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tuned_from(errors, tmp_path, monkeypatch, save=save)
    out = capsys.readouterr().out
    assert said in out
    assert (run / "language_model" / "words.arpa").read_bytes() == (tmp_path / "good.arpa").read_bytes()
    files = find_language_model(run)
    assert files is not None and files.attributes["beta"] == BeamSettings().beta
    for suffix in ("json", "png"):
        assert (run / f"language_model_tuning.{suffix}").read_text() == "of the good one"
    assert f"surface: {run / 'language_model_tuning_not_stored.png'}" in out
    record = run / "language_model_tuning_not_stored.json"
    assert record.is_file() == save == (f"record: {record}" in out)
    if save:
        assert json.loads(record.read_text())["language_model"] == "other.arpa"


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_better_language_model_replaces_the_stored_one_with_its_record(
    elsewhere: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plot = {"plot": tmp_path / "my.png"} if elsewhere else {}
    run = tuned_from(HELPS, tmp_path, monkeypatch, **plot)
    assert (run / "language_model" / "words.arpa").read_bytes() == (tmp_path / "other.arpa").read_bytes()
    assert json.loads((run / "language_model_tuning.json").read_text())["language_model"] == "other.arpa"
    picture = run / "language_model_tuning.png"
    assert picture.exists() is not elsewhere  # that of the former one is gone
    assert (tmp_path / "my.png" if elsewhere else picture).read_bytes().startswith(b"\x89PNG")
    assert not list(run.glob("*not_stored*"))


def test_the_weight_of_rescoring_is_tuned_at_the_chosen_point(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The errors of each weight are those of a search that rescores with it."""
    run = tmp_path / "run"
    shutil.copytree(DEMO / "wav2vec2", run)
    texts = [json.loads(line)["text"] for line in (DEMO / "corpus" / "train.jsonl").read_text().splitlines()]
    lm = arpa(tmp_path / "demo.arpa", [text.upper().split() for text in texts], 2)
    torch.manual_seed(0)
    lstm = LstmModel(LstmShape(tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ'|"), True, 8, 1, 0.0))
    lstm.save(tmp_path / "lstm")
    corpus = DEMO / "corpus" / "test.jsonl"
    config = TuneConfig(
        str(run), str(corpus), str(lm), alphas=[0.1, 0.3], betas=[0.0], utterances=8,
        rescore=tmp_path / "lstm", rescore_weights=[0.0, 1.0, 4.0],
    )  # fmt: skip
    found = tune(config)
    assert found.rescoring is not None and found.rescoring.weights == [0.0, 1.0, 4.0]
    assert found.rescoring.without == found.best
    model = load_ctc(str(run))
    settings = BeamSettings(alpha=found.alpha, beta=found.beta)
    first = make_search(model.vocabulary, read_arpa(lm), settings)
    utterances = _validation_utterances(config)
    log_probs = [model.log_probs(load_waveform(one)) for one in utterances]
    references = [one.text.upper() for one in utterances]
    for weight, rate in zip(found.rescoring.weights, found.rescoring.rates, strict=True):
        hypotheses = [one.text for one in RescoringSearch(first, lstm, weight).decode_batch(log_probs)]
        errors = sum(one.errors for one in utterance_errors(references, hypotheses))
        assert rate == pytest.approx(errors / sum(len(one.split()) for one in references))
    assert len(set(found.rescoring.rates)) > 1
    assert f"word errors by weight of {tmp_path / 'lstm'}: 0: " in capsys.readouterr().out
    assert json.loads((run / "language_model_tuning.json").read_text())["rescoring"]["weight"] == found.rescoring.weight


@pytest.mark.parametrize(
    ("errors", "weight", "said"),
    [
        (
            {0.0: GREEDY, 0.5: [1] * 40, 1.0: [2] * 40},
            0.5,
            "decode with --rescore lstm --rescore_weight 0.5. Rescoring",
        ),
        ({0.0: GREEDY, 0.5: [*GREEDY[:-1], 0]}, 0.5, "--rescore_weight 0.5. Not shown to help: "),
        ({0.0: GREEDY, 0.5: GREEDY}, 0.0, "no fewer errors with --rescore: decode without it"),
    ],
)
def test_a_weight_of_rescoring_is_chosen_and_tested(errors: dict[float, list[int]], weight: float, said: str) -> None:
    found = choose({(0.5, 0.0): GREEDY}, GREEDY, [10] * 40, SPEAKERS)
    rescoring = choose_weight("lstm", errors, GREEDY, [10] * 40, SPEAKERS)
    assert rescoring.weight == weight
    assert said in rescoring.sentences(found)[1]
    at_end = ["0.5 is the largest of --rescore_weights: try larger ones, too"] * (weight == max(errors))
    assert at_edges(replace(found, rescoring=rescoring)) == at_end


def test_other_n_grams_are_told_from_the_same(words: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert not holds_another(run, words)
    stored = save_language_model(run, words, VOCABULARY, BeamSettings())
    assert not holds_another(run, words)
    assert not holds_another(run, stored / "words.arpa")
    assert holds_another(run, arpa(tmp_path / "other.arpa", [["THE", "CAT"]] * 4))


def test_a_gain_at_alpha_0_is_not_the_language_models() -> None:
    found = choose(NO_WEIGHT, GREEDY, [10] * 40, SPEAKERS)
    assert found.best < found.greedy and not found.helps
    assert "The beam search helps, with no weight of the language model" in found.sentence()


def test_tuning_on_a_gpu_that_is_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    lm = arpa(tmp_path / "demo.arpa", [["TURN", "THE", "LAMP", "ON"]], 2)
    config = TuneConfig(str(DEMO / "wav2vec2"), str(DEMO / "corpus" / "test.jsonl"), str(lm), device="cuda")
    with pytest.raises(UsageError, match="--device is cuda, but torch finds no GPU"):
        tune(config)


def test_tuning_an_lstm_leaves_the_run_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    shutil.copytree(DEMO / "wav2vec2", run)
    train_language_model(
        TrainLstmConfig(
            str(DEMO / "corpus" / "train.jsonl"), tmp_path / "lm", units="words", hidden_size=16, num_train_epochs=1,
            profile="ctc:" + str(run), device="cpu",
        )
    )  # fmt: skip
    data = str(DEMO / "corpus" / "test.jsonl")
    found = tune(TuneConfig(str(run), data, str(tmp_path / "lm"), [0.1], [0.0], beam_width=8, utterances=6))
    assert found.best < found.greedy
    assert f"decode with --lm {tmp_path / 'lm'} --alpha 0.1 --beta 0" in capsys.readouterr().out
    assert not (run / "language_model").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"alphas": [-1.0, 0.5]}, "--alphas has -1"),
        ({"betas": []}, r"--betas is \[\]"),
        ({"beam_width": 0}, "--beam_width is 0"),
        ({"unk_score_offset": math.nan}, "--unk_score_offset is nan"),
        ({"rescore_weights": [-0.1]}, "--rescore_weights has -0.1"),
        ({"rescore_weights": [0.5]}, "--rescore_weights has no effect alone; expected --rescore with it"),
        ({"rescore": Path("none")}, r"--rescore none: has no lstm\.json; expected the folder of an LSTM"),
    ],
)
def test_values_that_cannot_be_tried_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        TuneConfig("run", "data", **options).check()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("best", "said"),
    [
        ((0.0, 0.0), []),
        ((0.0, -1.0), ["-1 is the smallest of --betas: try smaller ones, too"]),
        ((0.5, 2.0), ["2 is the largest of --betas: try larger ones, too"]),
        (
            (1.0, -1.0),
            [
                "1 is the largest of --alphas: try larger ones, too",
                "-1 is the smallest of --betas: try smaller ones, too",
            ],
        ),
    ],
)
def test_an_optimum_at_an_end_of_the_grid_is_said(best: tuple[float, float], said: list[str]) -> None:
    grid = {(alpha, beta): [3] * 40 for alpha in (0.0, 0.5, 1.0) for beta in (-1.0, 0.0, 2.0)}
    assert at_edges(choose(grid | {best: [1] * 40}, GREEDY, [10] * 40, SPEAKERS)) == said
    above_zero = {(alpha, 0.0): [int(10 * alpha)] * 40 for alpha in (0.2, 0.4)}
    assert at_edges(choose(above_zero, GREEDY, [10] * 40, SPEAKERS)) == [
        "0.2 is the smallest of --alphas: try smaller ones, too"
    ]


def test_the_surface_of_one_point_is_drawn(tmp_path: Path) -> None:
    found = choose({(0.5, 1.0): [1] * 40}, GREEDY, [10] * 40, SPEAKERS)
    assert isinstance(found, Tuned)
    draw(found, tmp_path / "one.png", "one point")
    assert (tmp_path / "one.png").stat().st_size > 5000
