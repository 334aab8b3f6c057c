"""Weights of a language model, chosen on validation speech and tested."""

import json
import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from finetune import tune_language_model
from finetune.decoding.beam import BeamSettings
from finetune.decoding.language_model_folder import (
    find_language_model,
    save_language_model,
)
from finetune.decoding.rescoring import RescoringSearch
from finetune.decoding.search import make_search
from finetune.language_model.lstm import LstmModel, LstmShape
from finetune.language_model.ngram import read_arpa
from finetune.language_model.train import TrainLstmConfig, train_language_model
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
from preprocessing.cli.progress import Steps
from preprocessing.corpus import load_waveform
from preprocessing.errors import UsageError
from preprocessing.units import Vocabulary
from tests.conftest import DEMO, write_manifest
from tests.finetune.runs import arpa

SPEAKERS = [f"s{i % 10}" for i in range(40)]
GREEDY = [3] * 40
HELPS = {(0.5, 1.0): [1 + (i % 3 == 0) for i in range(40)]}
ONE_LESS = {(0.5, 1.0): [2, *GREEDY[1:]]}  # may be by chance
NO_WEIGHT = {(0.0, 1.0): [1 + (i % 3 == 0) for i in range(40)], (0.5, 1.0): [4] * 40}


def test_a_limit_spans_the_corpus() -> None:
    corpus = str(DEMO / "corpus" / "test.jsonl")
    first, *_, last = _validation_utterances(TuneConfig("run", corpus))
    assert [one.id for one in _validation_utterances(TuneConfig("run", corpus, utterances=2))] == [first.id, last.id]


def test_the_best_point_is_chosen_and_helps() -> None:
    better = [1 + (i % 3 == 0) for i in range(40)]
    errors = {(0.0, 0.0): [4] * 40, (0.0, 1.0): [4] * 40, (0.5, 0.0): better, (0.5, 1.0): [2] * 40}
    found = choose(errors, GREEDY, [10] * 40, SPEAKERS)
    assert (found.alpha, found.beta, found.best) == (0.5, 0.0, sum(better) / 400)
    assert found.helps
    assert "The language model helps" in found.sentence()
    assert found.held_out.value == pytest.approx((sum(better) - 120) / 400)


def test_each_half_is_measured_at_the_point_that_is_best_on_the_other() -> None:
    half = [int(speaker[1]) % 2 for speaker in SPEAKERS]
    errors = {(0.3, 0.0): [5 * h for h in half], (0.6, 0.0): [5 * (1 - h) for h in half]}
    assert choose(errors, GREEDY, [10] * 40, SPEAKERS).held_out.value == pytest.approx(0.2)  # 5 of 10 words, not 3


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(0.6, 1.0), (0.3, -1.0), (0.3, 2.0)], (0.3, 2.0)),
        ([(0.3, beta) for beta in (-1.0, 0.0, 1.0, 2.0)], (0.3, 1.0)),
        ([(0.3, 2.0), (0.3, 0.0)], (0.3, 0.0)),
    ],
)
def test_of_points_with_as_few_errors_the_lowest_alpha_and_the_beta_nearest_the_default_are_taken(
    points: list[tuple[float, float]], expected: tuple[float, float]
) -> None:
    grid = {(alpha, beta): [3] * 40 for alpha in (0.0, 0.3, 0.6) for beta in (-1.0, 0.0, 1.0, 2.0)}
    found = choose(grid | dict.fromkeys(points, [1] * 40), GREEDY, [10] * 40, SPEAKERS)
    assert (found.alpha, found.beta) == expected


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
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The errors of each weight are those of a search that rescores with it; progress is shown meanwhile."""
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
    done: list[tuple[str, float]] = []
    step = Steps.step

    @contextmanager
    def recorded(self: Steps, title: str, count: int) -> Iterator[Callable[[float], None]]:
        with step(self, title, count):
            yield lambda more: done.append((title, more))

    monkeypatch.setattr(Steps, "step", recorded)
    monkeypatch.setattr(tune_language_model, "RESCORED_AT_ONCE", 3)
    found = tune(config)
    assert [more for title, more in done if title == "rescoring"] == [3, 3, 2]
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


@pytest.mark.parametrize("betas", [(0.0, 1.0), (1.0, 2.0)])
def test_nothing_is_said_of_an_end_where_the_next_value_is_as_good(betas: tuple[float, float]) -> None:
    found = choose({(alpha, beta): [1] * 40 for alpha in (0.3, 0.6) for beta in betas}, GREEDY, [10] * 40, SPEAKERS)
    rescoring = choose_weight("lstm", {0.5: [1] * 40, 1.0: [1] * 40}, GREEDY, [10] * 40, SPEAKERS)
    assert (found.alpha, found.beta, rescoring.weight) == (0.3, 1.0, 0.5)
    assert at_edges(replace(found, rescoring=rescoring)) == []


def test_the_surface_of_one_point_is_drawn(tmp_path: Path) -> None:
    found = choose({(0.5, 1.0): [1] * 40}, GREEDY, [10] * 40, SPEAKERS)
    assert isinstance(found, Tuned)
    draw(found, tmp_path / "one.png", "one point")
    assert (tmp_path / "one.png").stat().st_size > 5000
