"""Systems that decode with a language model: better words, refusals, long recordings, and the command."""

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.config import BenchmarkConfig
from benchmark.inputs import resolve_inputs
from benchmark.results import read_samples, read_summary
from finetune.decoding.beam import BeamSettings
from finetune.decoding.language_model_folder import save_language_model
from finetune.language_model.build import LanguageModelConfig, build_language_model
from finetune.metrics.evaluate_metric import ErrorRates
from finetune.systems.base import LanguageModelOptions, LoadOptions
from finetune.systems.registry import check_language_model, load_system, parse_models
from finetune.systems.search_options import language_model_options
from preprocessing.cli.options import parse_command
from preprocessing.corpus import load_waveform, open_corpus
from preprocessing.errors import InputError, UsageError
from preprocessing.text import profile
from preprocessing.units import Vocabulary
from tests.benchmark.parsed_page import Page
from tests.commands import assert_one_sentence, run
from tests.conftest import DEMO

CHECKPOINT = str(DEMO / "wav2vec2")


@pytest.fixture(scope="module")
def commands_lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the demo's training texts."""
    path = tmp_path_factory.mktemp("lm") / "commands.arpa"
    build_language_model(LanguageModelConfig(str(DEMO / "corpus" / "train.jsonl"), path, order=3))
    return path


def test_a_language_model_of_the_domain_helps(commands_lm: Path) -> None:
    spoken = open_corpus(str(DEMO / "corpus" / "test.jsonl")).utterances[::3]
    waveforms = [load_waveform(utterance) for utterance in spoken]
    normalise = profile("librispeech")
    rates = {}
    for family, model in (("wav2vec2", None), ("wav2vec2+lm", LanguageModelOptions(commands_lm))):
        system = load_system(parse_models(f"{family}={CHECKPOINT}")[0], LoadOptions("cpu", None, language_model=model))
        heard = system.text(system.forward(system.features(waveforms)))
        rates[family] = ErrorRates().compute(
            predictions=[normalise(text) for text in heard], references=[normalise(one.text) for one in spoken]
        )["wer"]
        assert ("commands.arpa" in system.facts.settings["decoding"]) is (model is not None)
    assert rates["wav2vec2+lm"] < 0.8 * rates["wav2vec2"]


def test_long_recordings_too(commands_lm: Path) -> None:
    """One of 70 s, in chunks, and one without a frame, beside one that is heard whole."""
    spoken = open_corpus(str(DEMO / "corpus" / "test.jsonl")).utterances
    pieces = [load_waveform(utterance) for utterance in spoken[:40]]
    long = torch.cat(pieces * 3)[: 70 * 16_000]
    options = LoadOptions("cpu", None, language_model=LanguageModelOptions(commands_lm, BeamSettings(beam_width=8)))
    system = load_system(parse_models(f"wav2vec2+lm={CHECKPOINT}")[0], options)
    heard, short, nothing = system.text(system.forward(system.features([long, pieces[0], torch.zeros(10)])))
    assert len(heard.split()) > 40
    assert 0 < len(short.split()) < 20
    assert nothing == ""


def test_words_in_the_other_case_are_refused(tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("turn the lights on\nturn it off\n")
    build_language_model(LanguageModelConfig(str(texts), tmp_path / "lower.arpa", order=2, profile="basic"))
    options = LoadOptions("cpu", None, language_model=LanguageModelOptions(tmp_path / "lower.arpa"))
    with pytest.raises(InputError, match="in the other case"):
        load_system(parse_models(f"wav2vec2+lm={CHECKPOINT}")[0], options)


def test_the_two_belong_together(commands_lm: Path) -> None:
    with_lm, without = parse_models(f"wav2vec2+lm={CHECKPOINT},wav2vec2={CHECKPOINT}")
    check_language_model([with_lm, without], commands_lm)
    check_language_model([without], None)
    with pytest.raises(UsageError, match=r"python -m finetune\.language_model"):
        check_language_model([with_lm, without], None)
    with pytest.raises(UsageError, match="used by no system"):
        check_language_model([without], commands_lm)
    with pytest.raises(UsageError, match="no such file"):
        check_language_model([with_lm], Path("absent.arpa"))


def test_the_command_begins_with_the_search_as_it_is() -> None:
    assert language_model_options(BenchmarkConfig()).search == BeamSettings()
    given = language_model_options(BenchmarkConfig(alpha=0.3, hotwords=["LAMP"]))
    assert given.search == BeamSettings(alpha=0.3, hotwords=("LAMP",))
    assert given.as_stored == ("beta", "unk_score_offset")


def test_only_systems_that_search_make_its_options_part_of_a_run() -> None:
    """Not a path that has the letters of the suffix."""
    for models, searches in (
        ("wav2vec2=runs/a+lm,whisper", False),
        ("whisper, wav2vec2+lm=runs/a", True),
        ("mine=lstm+lm:runs/a", True),
    ):
        assert ("beam_width" in BenchmarkConfig(models=models).settings()) == searches


def test_a_checkpoint_carries_its_language_model(commands_lm: Path, tmp_path: Path) -> None:
    """With the values stored there, where none are given."""
    run = tmp_path / "run"
    shutil.copytree(CHECKPOINT, run)
    specs = parse_models(f"wav2vec2+lm={run}")
    with pytest.raises(UsageError, match=r"and .* has none; expected an ARPA file"):
        check_language_model(specs, None)
    save_language_model(run, commands_lm, Vocabulary.load(str(run)), BeamSettings(alpha=0.7, beta=2.0))
    check_language_model(specs, None)
    config = BenchmarkConfig(beta=1.25)
    system = load_system(specs[0], LoadOptions("cpu", None, language_model=language_model_options(config)))
    assert "words.arpa: beam_width 64, alpha 0.7, beta 1.25" in system.facts.settings["decoding"]


def test_a_bonus_for_unknown_words_is_refused() -> None:
    with pytest.raises(UsageError, match="--unk_score_offset is 1; expected 0 or less"):
        BenchmarkConfig(unk_score_offset=1.0).check()


@pytest.mark.parametrize(
    ("former", "now"),
    [
        ("lm_weight", "alpha"),
        ("word_bonus", "beta"),
        ("unknown_word", "unk_score_offset"),
        ("beam", "beam_width"),
        ("output", "output_dir"),
    ],
)
def test_a_former_flag_is_refused_with_its_new_name(former: str, now: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"--{former} is now --{now}"):
        parse_command(BenchmarkConfig, program="p", description="", arguments=[f"--{former}", "1"])
    (tmp_path / "old.yaml").write_text(f"{former}: 1\n")
    with pytest.raises(UsageError, match=f"old.yaml: '{former}' is now {now}:"):
        parse_command(BenchmarkConfig, program="p", description="", arguments=["--config", f"{tmp_path}/old.yaml"])


@pytest.mark.parametrize(
    ("family", "options", "expected"),
    [
        ("wav2vec2", {"alpha": 0.4}, "^--alpha is used by no system of --models"),
        ("wav2vec2", {"rescore": Path("x")}, "^--rescore is used by no system of --models"),
        ("wav2vec2", {"hotwords": ["A"]}, "^--hotwords is used by no system of --models"),
        ("wav2vec2", {"beam_width": 8}, "^--beam_width is used by no system of --models"),
        ("wav2vec2+lm", {"rescore": Path("x")}, r"^--rescore x: has no lstm\.json"),
        ("wav2vec2+lm", {"beta": math.nan}, "^--beta is nan; expected a number"),
        ("wav2vec2+lm", {"rescore_weight": -1.0}, "^--rescore_weight is -1; expected 0 or more"),
    ],
)
def test_options_of_a_search_without_effect_or_out_of_range_are_refused(
    family: str, options: dict[str, Any], expected: str, commands_lm: Path
) -> None:
    lm = commands_lm if family.endswith("+lm") else None
    with pytest.raises(UsageError, match=expected):
        resolve_inputs(BenchmarkConfig(models=f"{family}={CHECKPOINT}", lm=lm, **options))


@pytest.mark.slow
def test_by_the_command(commands_lm: Path, tmp_path: Path) -> None:
    """RTFx with the language model stands beside that without; both systems' words have confidences."""
    told = ["--data", DEMO / "corpus" / "test.jsonl", "--limit", "3", "--rounds", "1", "--conditions", "clean"]
    told += ["--word_timestamps", "true"]
    told += ["--output_dir", tmp_path / "out", "--models", f"wav2vec2={CHECKPOINT},wav2vec2+lm={CHECKPOINT}"]
    assert_one_sentence(run("benchmark/run.py", *told), 2, "--lm")
    ended = run("benchmark/run.py", *told, "--lm", commands_lm, "--alpha", "0.4")
    assert ended.returncode == 0, ended.stderr
    report = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "commands.arpa: beam_width 64, alpha 0.4" in report.replace("<wbr>", "")
    greedy, searched = read_summary(tmp_path / "out" / "summary.json").systems
    assert greedy.speed and searched.speed and greedy.words and searched.words
    assert [one.facts.family for one in (greedy, searched)] == ["wav2vec2", "wav2vec2+lm"]
    table = Page(report).table()
    for label, values in {
        "RTFx": [greedy.speed.rtfx, searched.speed.rtfx],
        "Throughput": [one.speed.throughput and one.speed.throughput.median for one in (greedy, searched) if one.speed],
        "ECE of confidence": [one.words.ece and one.words.ece.value for one in (greedy, searched) if one.words],
    }.items():
        (row,) = [cells for name, cells in table.items() if name.startswith(label)]
        assert [value for _, value in row] == values and None not in values
    samples = list(read_samples(tmp_path / "out" / "samples.jsonl"))
    spelled = ["".join(word.word for word in one.words or ()).strip() for one in samples]
    assert spelled == [one.hypothesis for one in samples], "the second pass writes what the first does"
    assert f"--lm {commands_lm} --alpha 0.4" in (tmp_path / "out" / "run.json").read_text(encoding="utf-8")
