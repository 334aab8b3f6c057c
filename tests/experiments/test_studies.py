"""Studies: what they refuse, and what they measure."""

import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers.utils import logging

from benchmark.results import Sample
from experiments import hours, language_models, robustness, seeds, units
from experiments.harness import recipes, study
from experiments.harness.comparing import errors_of
from experiments.harness.decodings import DecodingErrors, Speech, search_grid
from experiments.harness.trainings import (
    CONFIGS,
    Training,
    base_options,
    length_options,
)
from experiments.harness.transcripts import CorpusUsed, corpus_name, metric_of, open_test, system_spec, transcribe
from experiments.study_pages import hours as hours_page
from experiments.study_pages import seeds as seeds_page
from finetune.metrics import RUN_SEEDS, rate, resample, run_deviation, run_margin
from preprocessing.corpus import Utterance, load_waveform
from preprocessing.errors import InputError, UsageError
from tests.conftest import ROOT, absolute, read_manifest, write_manifest
from tests.experiments.made_up import MINE, TESTED, drawn, written


@pytest.fixture
def threads() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("module", [hours, language_models, robustness, seeds, units])
def test_quick_answers_on_the_demo_and_goes_on_where_it_was(
    module: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], threads: None
) -> None:
    """In this process, which has imported everything. The second time nothing is trained or decoded again."""
    arguments = ["--quick", "true", "--output_dir", str(tmp_path), "--json", str(tmp_path / "found.json")]
    module.main([*arguments, "--plot", str(tmp_path / "found.png")])
    first = json.loads((tmp_path / "found.json").read_text())
    printed = capsys.readouterr()
    assert first["title"] in printed.out
    assert "\n- " in printed.out  # answers
    assert (tmp_path / "found.png").read_bytes().startswith(b"\x89PNG")
    module.main(arguments)
    again = capsys.readouterr()
    assert "training" not in again.err and "transcribing" not in again.err and "search" not in again.err
    second = json.loads((tmp_path / "found.json").read_text())
    assert second["results"] == first["results"]
    name = Path(module.__file__).stem
    pages = importlib.import_module(f"experiments.study_pages.{name}")
    about, content = study.read_results(tmp_path / "quick" / "results.json", name, pages.Results)
    assert pages.findings_of(content).answers and about.study == name


def test_quick_writes_no_page() -> None:
    with pytest.raises(UsageError, match="--docs and --quick are both true; expected real results"):
        seeds.main(["--quick", "true", "--docs", "true"])


@pytest.mark.parametrize(
    ("module", "words", "said"),
    [
        (hours, ["--data", "mine.jsonl", "--minutes", "1"], "--data, --minutes; .* try yours with --max_steps 20"),
        (seeds, ["--seeds", "4"], "in place of --seeds; expected it without these: leave out --seeds"),
        (robustness, ["--test", "mine.jsonl"], "in place of --test;"),
        (units, ["--units", "words"], "in place of --units;"),
        (language_models, ["--best", "runs/mine"], "in place of --best;"),
    ],
)
def test_quick_is_refused_with_what_it_replaces(module: Any, words: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        module.main(["--quick", "true", "--output_dir", str(tmp_path), *words])


def test_a_recipe_starts_from_the_whisper_that_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "base.pt").touch()
    monkeypatch.setenv("ASR_REAL_MODELS", str(tmp_path))
    found = base_options(CONFIGS / "german-whisper-ctc.yaml", tmp_path)
    assert found == {"model.base": str(tmp_path / "base.pt"), "model.feature_cache": str(tmp_path / "features")}
    monkeypatch.delenv("ASR_REAL_MODELS")
    assert base_options(CONFIGS / "german-whisper-ctc.yaml", tmp_path)["model.base"] == "base"  # downloaded
    assert base_options(CONFIGS / "librispeech-mini-lstm.yaml", tmp_path) == {}
    (tmp_path / "mine.yaml").write_text("model: {base: facebook/wav2vec2-base-960h}\n")  # of the default family
    assert base_options(tmp_path / "mine.yaml", tmp_path) == {}


def test_a_shorter_recipe_keeps_its_share_of_steps_of_the_head_alone(tmp_path: Path) -> None:
    options = length_options(CONFIGS / "yours.yaml", 20, 10)
    assert options == {"max_steps": 20, "eval_steps": 2, "head_only_steps": 3}  # 300 of 2000
    resolved = Training("mine", CONFIGS / "yours.yaml", options).resolved(tmp_path)
    assert (resolved.max_steps, resolved.head_only_steps) == (20, 3)
    assert length_options(CONFIGS / "digits-lstm.yaml", 20, 4) == {"max_steps": 20, "eval_steps": 5}
    assert length_options(CONFIGS / "yours.yaml", None, 4) == {}


@pytest.fixture
def no_whisper(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails where something is transcribed or trained."""
    monkeypatch.setattr("experiments.harness.transcripts.transcribe", lambda *_, **__: pytest.fail("transcribes"))
    monkeypatch.setattr(recipes, "run_trainings", lambda *_, **__: pytest.fail("trains"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, r"--recipes names .*mine\.yaml, which is no file; expected a YAML configuration of finetune/train\.py"),
        ("max_stepz: 3\n", "'max_stepz' is not an option; did you mean max_steps"),
        ("max_steps: 3\n", "--model.base is None and --model.scratch unset"),
    ],
)
def test_recipes_are_checked_before_anything_runs(
    text: str | None, said: str, tmp_path: Path, no_whisper: None
) -> None:
    good, recipe, demo = CONFIGS / "digits-lstm.yaml", tmp_path / "mine.yaml", ROOT / "demo" / "corpus"
    if text is not None:
        recipe.write_text(text)
    with pytest.raises(UsageError, match=said):
        hours.main(
            ["--data", str(demo / "train.jsonl"), "--test", str(demo / "test.jsonl"), "--minutes", "1",
             "--recipes", f"[{good},{recipe}]", "--output_dir", str(tmp_path)]
        )  # fmt: skip
    if text != "max_steps: 3\n":
        tests = f"{{{good}: {demo / 'test.jsonl'}, {recipe}: {demo / 'test.jsonl'}}}"
        with pytest.raises(UsageError, match=said):
            seeds.main(["--recipes", tests, "--max_steps", "2", "--output_dir", str(tmp_path)])


def test_what_cannot_be_used_is_refused_before_anything_is_trained(
    tmp_path: Path, no_whisper: None, monkeypatch: pytest.MonkeyPatch, threads: None
) -> None:
    for language, name in (("librispeech", "test-other"), ("german", "test")):
        (tmp_path / language).mkdir()
        demo = absolute(ROOT / "demo" / "corpus" / "test.jsonl", 1)
        write_manifest(tmp_path / language / f"{name}.jsonl", demo)
    own = ["--data_dir", str(tmp_path), "--output_dir", str(tmp_path)]
    with pytest.raises(UsageError, match="sylables"):
        units.main([*own, "--units", "[characters, sylables]"])
    (tmp_path / "german" / "test.jsonl").unlink()
    with pytest.raises(InputError, match=r"german/test\.jsonl"):
        units.main([*own, "--units", "characters"])
    for name in ("noise", "rir"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rain_1-1.wav").touch()
    test = str(tmp_path / "librispeech" / "test-other.jsonl")
    with pytest.raises(UsageError, match="nois:10"):
        robustness.main([*own, "--test", test, "--conditions", "clean,nois:10"])
    monkeypatch.setattr(language_models, "make_models", lambda *_, **__: pytest.fail("makes language models"))
    (tmp_path / "text.txt").write_text("turn the lamp on\n")
    own += ["--best", str(ROOT / "demo" / "wav2vec2"), "--text", str(tmp_path / "text.txt")]
    with pytest.raises(InputError, match=r"nowhere\.jsonl"):
        language_models.main([*own, "--test", test, "--other", test, "--validation", "nowhere.jsonl"])


def test_recipes_of_one_name_are_refused(tmp_path: Path, no_whisper: None) -> None:
    """Such as the config.yaml of two runs: each would be trained into the other's folder."""
    for run in ("a", "b"):
        (tmp_path / run).mkdir()
        (tmp_path / run / "config.yaml").write_text("max_steps: 3\n")
    first, second = tmp_path / "a" / "config.yaml", tmp_path / "b" / "config.yaml"
    said = "--recipes names 2 files config.yaml; expected different names"
    with pytest.raises(UsageError, match=said):
        hours.main(["--recipes", f"[{first},{second}]", "--output_dir", str(tmp_path)])
    with pytest.raises(UsageError, match=said):
        seeds.main(["--recipes", f"{{{first}: x.jsonl, {second}: x.jsonl}}", "--output_dir", str(tmp_path)])


@pytest.fixture
def whisper_of_japanese(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Utterance]:
    """A test set of three sentences in which `transcribe` finds 35 characters, each sentence with one error or none."""
    texts = ["今日は天気がとてもいいです", "明日は友達と映画を見に行く", "駅まで歩いて十分"]
    tested = [
        Utterance(str(place), ROOT / "demo" / "corpus" / "x.wav", text, 2.0, speaker="s", language="ja")
        for place, text in enumerate(texts)
    ]

    def transcribe(spec: Any, utterances: list[Utterance], *_: Any, **__: Any) -> list[Sample]:
        return [written(one.id, one.text, "駅 まで歩いて十文" if one.id == "2" else one.text) for one in utterances]

    monkeypatch.setattr("experiments.harness.transcripts.transcribe", transcribe)
    monkeypatch.setattr("experiments.harness.transcripts.open_test", lambda *_, **__: tested)
    monkeypatch.setattr(recipes, "run_trainings", lambda trainings, *_, **__: {one.name: tmp_path for one in trainings})
    return tested


def test_a_language_without_spaces_is_compared_by_characters(
    whisper_of_japanese: list[Utterance], tmp_path: Path
) -> None:
    """One of 34 characters is wrong, and a space is no error; by words, one of three sentences would be."""
    tested = whisper_of_japanese
    corpus = ROOT / "demo" / "corpus"
    config = hours.Config(
        data=str(corpus / "train.jsonl"), test=str(corpus / "test.jsonl"), language="ja", minutes=[1.0, 2.0],
        recipes=[str(CONFIGS / "digits-lstm.yaml")], whisper_models=["base"], output_dir=tmp_path,
    )  # fmt: skip
    results, _ = hours.measure(config)
    expected = 1 / sum(len(one.text) for one in tested)
    assert results.metric == "CER"
    assert results.whispers[0].wer.value == results.curves[0].points[0].wer.value == pytest.approx(expected)
    found = hours_page.findings_of(results)
    said = " ".join([found.title, found.settings, *found.tables[0].headings, *found.answers])
    assert "CER" in said and "WER" not in said
    assert "Training parts of corpus train" in said and "Tested on corpus test" in said
    assert metric_of(tested, "verbatim") == metric_of([replace(one, language=None) for one in tested], "basic") == "cer"
    assert metric_of(tested, "basic:de") == "wer"
    samples = [written("1", "駅まで", "駅 まで")]
    assert errors_of([samples], "verbatim", "cer").runs == [[0]]
    assert errors_of([samples], "verbatim", "cer", spaces=True).runs == [[1]]


def test_a_whisper_that_is_not_to_be_had_is_named_before_anything_is_trained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise InputError("Whisper base: no network; expected one: connect")

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("experiments.harness.transcripts.transcribe", refuse)
    monkeypatch.setattr(recipes, "run_trainings", stop)
    corpus = ROOT / "demo" / "corpus"
    config = hours.Config(
        data=str(corpus / "train.jsonl"), test=str(corpus / "test.jsonl"), minutes=[1.0], whisper_models=["base"],
        recipes=[str(CONFIGS / "digits-lstm.yaml")], output_dir=tmp_path,
    )  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        hours.measure(config)
    assert "Whisper base is missing: no network\n" in capsys.readouterr().err


def test_a_corpus_is_named_by_its_folder_where_its_file_is_a_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    names = [corpus_name(one) for one in ("train.jsonl", "../mine", "hf:a/b:c:test", "test-other.jsonl")]
    assert names == ["mine train", "mine", "hf:a/b:c:test", "test-other"]


def test_what_the_test_shares_with_training_is_said() -> None:
    def utterance(number: int, text: str, speaker: str) -> Utterance:
        return Utterance(str(number), Path(f"{number}.wav"), text, 1.0, speaker=speaker)

    from preprocessing.corpus import Corpus

    training = Corpus("mine", (utterance(1, "turn the lamp on now", "a"), utterance(2, "off", "b")), ())
    tested = [utterance(2, "off", "b"), utterance(4, "turn the lamp on now", "b"), utterance(5, "on", "c")]
    overlap = hours.overlap_of(tested, training, "verbatim")
    assert overlap == hours_page.Overlap(speakers=1, recordings=1, sentences=1)
    test = CorpusUsed("test", 3, 0.1, 2, "utterance")
    results = hours_page.Results(
        corpus="c", hours=1.0, test=test, profile="verbatim", run_spread=0.04, curves=[], whispers=[], missing={},
        overlap=overlap,
    )  # fmt: skip
    assert hours_page.findings_of(results).settings.endswith(
        ". 1 of 2 test speakers, 1 of 3 test utterances and 1 of 3 test sentences of 5 words or more are also in the "
        "training data"
    )
    apart = replace(results, metric="CER", overlap=hours_page.Overlap(0, 0, 0))
    assert hours_page.findings_of(apart).settings.endswith(
        ". No test speakers or test utterances are also in the training data"
    )
    assert "training data" not in hours_page.findings_of(replace(results, overlap=None)).settings


@pytest.mark.parametrize("language", units.LANGUAGES.values(), ids=list(units.LANGUAGES))
@pytest.mark.parametrize("recipe", ["librispeech-mini-lstm", "german-whisper-ctc-head"])
def test_any_recipe_writes_units_of_any_language(language: units.Language, recipe: str, tmp_path: Path) -> None:
    """One recipe names a validation corpus, the other one a share that is held out."""
    config = units.Config(recipe=str(CONFIGS / f"{recipe}.yaml"), max_steps=20, data_dir=tmp_path)
    resolved = units._training(config, language, "bpe-100", 1, tmp_path).resolved(tmp_path)
    assert (resolved.data.validation is None) == (resolved.data.validation_share > 0) == (language.validation is None)
    assert resolved.data.profile == language.profile and resolved.model.units == "bpe"


def test_parts_hold_the_smaller_ones(tmp_path: Path) -> None:
    from preprocessing.corpus import open_corpus

    corpus = open_corpus(str(ROOT / "demo" / "corpus" / "train.jsonl")).utterances
    parts = hours.write_parts(corpus, [1.0, 3.0, 600.0], tmp_path)
    ids = [{row["id"] for row in read_manifest(path)} for path in parts.values()]
    assert ids[0] < ids[1] < ids[2] and len(ids[2]) == len(corpus)
    for size, path in zip((1.0, 3.0), parts.values(), strict=False):
        seconds = sum(row["duration"] for row in read_manifest(path))
        assert 60 * size <= seconds < 60 * size + 10
    assert len(open_corpus(str(next(iter(parts.values())))).utterances) == len(ids[0])


def test_parts_are_of_the_same_audio(tmp_path: Path) -> None:
    """Two channels of a call, cut into parts; the last part has no stop."""
    import soundfile

    from preprocessing.corpus import open_corpus

    soundfile.write(tmp_path / "call.wav", np.random.default_rng(0).uniform(-0.5, 0.5, (5 * 16_000, 2)), 16_000)
    times: list[dict[str, float]] = [{"start": 0.0, "stop": 1.5}, {"start": 1.5, "stop": 4.0}, {"start": 4.0}]
    rows = [
        {"audio": "call.wav", "text": "x", "channel": channel, "language": "de", "speaker": f"s{channel}"} | time
        for time in times
        for channel in (0, 1)
    ]
    (tmp_path / "call.jsonl").write_text("\n".join(map(json.dumps, rows)))
    corpus = open_corpus(str(tmp_path / "call.jsonl")).utterances
    (path,) = hours.write_parts(corpus, [60.0], tmp_path / "parts").values()
    again = {one.id: one for one in open_corpus(str(path)).require_complete().utterances}
    assert len(again) == len(corpus) == 6
    for one in corpus:
        assert replace(again[one.id], audio=one.audio) == one
        assert torch.equal(load_waveform(again[one.id]), load_waveform(one))


class Moody:
    """A system that fails on the utterances whose number of samples is among `failing`."""

    def __init__(self) -> None:
        self.failing: set[int] = set()
        self.asked: list[int] = []

    def features(self, waveforms: list[torch.Tensor]) -> int:
        return len(waveforms[0])

    def forward(self, n_samples: int) -> int:
        self.asked.append(n_samples)
        if n_samples in self.failing:
            raise ValueError("too long")
        return n_samples

    def text(self, n_samples: int) -> list[str]:
        return [f"{n_samples} samples"]


def test_an_utterance_that_a_system_fails_on_counts_as_deleted_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moody = Moody()
    monkeypatch.setattr("finetune.systems.registry.load_system", lambda *_: moody)
    tested = open_test(str(ROOT / "demo" / "corpus" / "test.jsonl"), limit=3)
    lengths = [len(load_waveform(one)) for one in tested]
    spec = system_spec("moody", f"wav2vec2={ROOT / 'demo' / 'wav2vec2'}")
    moody.failing = set(lengths)
    logging.enable_progress_bar()
    with pytest.raises(InputError, match=r"moody fails on all of 3 utterances \(ValueError: too long\)"):
        transcribe(spec, tested, tmp_path)
    moody.failing = {lengths[1]}
    found = transcribe(spec, tested, tmp_path)
    assert [one.error for one in found] == [None, "ValueError: too long", None]
    assert errors_of([found], "librispeech").runs[0][1] == len(tested[1].text.split())
    assert "moody: 1 of 3 utterances failed and count as deleted; the first: ValueError" in capsys.readouterr().err
    moody.failing, moody.asked = set(), []
    again = transcribe(spec, tested, tmp_path)
    assert again[1].hypothesis == f"{lengths[1]} samples" and again[0] == found[0] and again[0].seconds.decode == 0
    assert moody.asked == [lengths[1]] * 2  # the first one warms up
    assert not logging.is_progress_bar_enabled()  # of a checkpoint that is loaded


def test_noises_and_room_of_the_test_are_those_of_the_present_data_folder(tmp_path: Path) -> None:
    for folder, names in (("before", ("2-1", "4-1", "5-1")), ("now", ("3-1", "4-1"))):
        (tmp_path / folder / "noise").mkdir(parents=True)
        for name in names:
            (tmp_path / folder / "noise" / f"rain_{name}.ogg").write_text(folder)
    for folder in ("before", "now"):
        config = robustness.Config(data_dir=tmp_path / folder)
        noises, rooms = robustness._held_out(tmp_path, config, tmp_path / folder / "room.wav")
    assert [(path.name, path.read_text()) for path in noises.iterdir()] == [("rain_4-1.ogg", "now")]
    assert [path.readlink() for path in rooms.iterdir()] == [tmp_path / "now" / "room.wav"]


def test_words_never_seen_in_training_are_counted_apart() -> None:
    samples = [written("1", "turn the lamp on", "turn a lamp"), written("2", "the lamp", "the camp")]
    found = units.unseen_errors([samples], "verbatim", {"turn", "the"})
    assert found.lengths == [2, 1]  # lamp and on, lamp
    assert found.runs == [[1, 1]]  # on is missing; camp


def test_the_spread_of_runs_is_that_of_their_rates() -> None:
    errors = drawn(5, 3, deviation=0.3)
    spread = seeds.spread_of(errors, MINE, TESTED, "verbatim")
    rates = [sum(run) / 1200 for run in errors.runs]
    assert spread.deviation.value == pytest.approx(np.std(rates, ddof=1))
    assert spread.deviation.low == pytest.approx(spread.deviation.value * (4 / 11.1433) ** 0.5, rel=1e-4)  # a table's
    assert spread.deviation.high == pytest.approx(spread.deviation.value * (4 / 0.484419) ** 0.5, rel=1e-4)
    assert spread.apart == pytest.approx(2.776445 * 2**0.5 * spread.deviation.value, rel=1e-5)
    assert spread.pairs == 10 and spread.called_different > 3
    resampling = resample(errors.speakers, seed=0)
    assert spread.wers[0] == rate(errors.runs[0], errors.lengths, resampling)


def test_the_report_assumes_the_variance_that_the_study_found() -> None:
    """A report's warning for the recipe of docs/studies/seeds.json has the study's own figures."""
    _, found = study.read_results(ROOT / "docs" / "studies" / "seeds.json", "seeds", seeds_page.Results)
    (spread,) = (one for one in found.spreads if one.recipe == "digits")
    assert len(spread.wers) == RUN_SEEDS
    assert run_deviation(spread.mean) == pytest.approx(spread.deviation.value, rel=0.01)
    assert run_margin(run_deviation(spread.mean), RUN_SEEDS) == pytest.approx(spread.apart, rel=0.01)
    assert run_margin(0.01, RUN_SEEDS, n_trained=1) == pytest.approx(2.776445 * 0.01)


def test_words_and_characters_are_compared_by_the_best_of_each_on_validation() -> None:
    def utterance(number: int) -> Utterance:
        return Utterance(str(number), Path(f"{number}.wav"), "A B C D", 1.0, speaker=f"s{number}")

    def decoded(validation_wer: float, errors: list[int]) -> DecodingErrors:
        return DecodingErrors({}, validation_wer, errors, [], 0.0)

    test = Speech([utterance(number) for number in range(4)], ["A B C D"] * 4, [torch.zeros(1, 2)] * 4)
    found = language_models._kinds(
        {
            "2-gram of words": decoded(0.2, [4, 4, 4, 4]),
            "3-gram of words": decoded(0.1, [1, 2, 1, 0]),
            "5-gram of characters": decoded(0.3, [0, 1, 1, 0]),
            "6-gram of characters": decoded(0.4, [0, 0, 0, 0]),
            "3-gram of words, rescoring": decoded(0.0, [0, 0, 0, 0]),
            "LSTM of words": decoded(0.0, [0, 0]),
        },
        test,
    )
    assert found is not None and (found.first, found.second) == ("3-gram of words", "5-gram of characters")
    assert found.difference.value == pytest.approx(2 / 16) and found.groups == 4
    assert language_models._kinds({"3-gram of words": decoded(0.1, [1, 2, 1, 0])}, test) is None


def test_a_grid_goes_on_while_its_best_point_lies_at_an_end() -> None:
    asked: list[tuple[float, float]] = []

    def errors_with(point: Any) -> int:
        asked.append((point["alpha"], point["beta"]))
        return round(100 * abs(point["alpha"] - 2.2) + 10 * abs(point["beta"] + 3))

    axes = {"alpha": [0.7, 1.0, 1.3], "beta": [-1.0, 0.0]}
    assert search_grid(axes, errors_with, 8) == (0, {"alpha": 2.2, "beta": -3.0}, [])
    assert len(asked) == len(set(asked)) and max(asked)[0] == 2.5
    assert search_grid(axes, errors_with, 2) == (30, {"alpha": 1.9, "beta": -3.0}, ["alpha", "beta"])
    assert search_grid(axes, errors_with, 0)[1:] == ({"alpha": 1.3, "beta": -1.0}, ["alpha", "beta"])
    assert axes == {"alpha": [0.7, 1.0, 1.3], "beta": [-1.0, 0.0]}
    # no weight at all is no end that could be moved; of equal points the one within the grid is taken
    assert search_grid({"weight": [0.2, 0.3]}, lambda point: round(10 * point["weight"]), 8) == (0, {"weight": 0.0}, [])
    assert search_grid({"weight": [0.1, 0.2, 0.3]}, lambda point: 5, 8) == (5, {"weight": 0.2}, [])
    assert search_grid({}, lambda point: 7, 8) == (7, {}, [])


def test_a_unit_is_ranked_by_the_model_that_its_run_saved(tmp_path: Path) -> None:
    """A mean of weights is better than any evaluation; the log of an earlier version has no line about it."""
    lines = [{"kind": "validation", "step": step, "wer": 0.1 * step, "cer": 0.05 * step} for step in (3, 2, 4)]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert units._validation_rates(tmp_path) == (0.2, 0.1)
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write(json.dumps({"kind": "best", "step": 4, "steps": [2, 3], "metric": "wer", "wer": 0.15, "cer": 0.2}))
        log.write("\n")
    assert units._validation_rates(tmp_path) == (0.15, 0.2)
