"""A command line that cannot be parsed is one sentence with the key, the file it is in and the nearest key."""

import ast
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import pytest

from benchmark.config import BenchmarkConfig
from finetune.config import TrainConfig
from preprocessing.cli.options import parse_command
from preprocessing.errors import UsageError
from preprocessing.storage.atomic_write import read_json_lines, write_json_lines
from tests.conftest import ROOT

PACKAGES = ("preprocessing", "finetune", "benchmark", "experiments")


def refused(*words: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse_command(TrainConfig, program="train", description="", arguments=["--output_dir", "runs/x", *words])
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--data.learning_rate", "1"], "--data.learning_rate is not an option; did you mean --learning_rate?"),
        (["--max_seconds=1"], "--max_seconds is not an option; did you mean --data.max_seconds?"),
        (["--model.bose", "x"], "--model.bose is not an option; did you mean --model.base?"),
        (["--data.valdation", "x"], "did you mean --data.validation?"),
        (["--modle.famly", "x"], "did you mean --model.family?"),
        (["--data.max-seconds", "3"], "did you mean --data.max_seconds?"),
        (["--qqqqqqq", "x"], "--qqqqqqq is not an option; see `train --help`"),
    ],
)
def test_an_unknown_flag_names_the_nearest(words: list[str], expected: str) -> None:
    assert expected in refused(*words)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model: {bose: x}", "'model.bose' is not an option; did you mean model.base?"),
        ("modle: {base: x}", "'modle' is not an option; did you mean model"),
        ("max_steps: many", "max_steps"),
        ("data: {train: 3}", "data.train"),
        ("output_dir: [a\nb", "is not valid YAML"),
        ("just text", "holds no keys"),
    ],
)
def test_what_is_wrong_in_a_file_names_the_file(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    for words in (["--config", str(file)], [f"--config={file}"]):
        assert refused(*words).startswith(f"{file}: ")
        assert expected in refused(*words)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert refused("--config", str(tmp_path / "no.yaml")).startswith(f"{tmp_path / 'no.yaml'}: no such file")


def test_a_wrong_value_on_the_command_line_is_not_laid_at_the_files_door(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("max_steps: 3")
    assert "mine.yaml" not in refused("--config", str(file), "--max_steps", "many")


def test_keys_in_the_value_of_an_option_are_its_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("model: {scratch: {hidden_size: 8}}\nseed: x")
    assert "hidden_size" not in refused("--config", str(file))


@dataclass(frozen=True)
class Data:
    max_seconds: float = 20.0

    renamed: ClassVar[Mapping[str, str]] = {"longest": "max_seconds"}


@dataclass(frozen=True)
class Model:
    family: str = "wav2vec2-ctc"
    base: str | None = None


@dataclass(frozen=True)
class Optimisation:
    learning_rate: float = 3e-4


@dataclass(frozen=True)
class NestedConfig:
    output: Path
    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    optimisation: Optimisation = field(default_factory=Optimisation)
    seed: int = 0

    renamed: ClassVar[Mapping[str, str]] = {
        "optimisation.rate": "optimisation.learning_rate",
        "hub.repo_id": "output",
        "network": "model",
        "network.start_from": "model.base",
    }


def parse_nested(*words: str) -> NestedConfig:
    return parse_command(NestedConfig, program="train", description="", arguments=["--output", "runs/x", *words])


def refused_by_nested(*words: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse_nested(*words)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--optimisation.rate", "1"], "--optimisation.rate is now --optimisation.learning_rate: rename it; see"),
        (["--optimisation.rate=1"], "--optimisation.rate is now --optimisation.learning_rate: rename it"),
        (["--hub.repo-id", "x"], "--hub.repo-id is now --output: rename it"),
        (["--network.family", "x"], "--network.family is now --model.family: rename it"),
        (["--network.start_from", "x"], "--network.start_from is now --model.base: rename it"),
        (["--data.longest", "9"], "--data.longest is now --data.max_seconds: rename it"),
        (
            ["--data.longest", "9", "--hub.repo_id", "x"],
            "--data.longest is now --data.max_seconds, --hub.repo_id is now --output: rename them",
        ),
        (["--rate", "9"], "--rate is not an option; did you mean --optimisation.learning_rate?"),
    ],
)
def test_a_renamed_flag_is_refused_with_its_new_name(words: list[str], expected: str) -> None:
    assert refused_by_nested(*words).startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("optimisation: {rate: 1}", "'optimisation.rate' is now optimisation.learning_rate: rename it"),
        ("optimisation.rate: 1", "'optimisation.rate' is now optimisation.learning_rate: rename it"),
        ("hub: {repo_id: x}", "'hub.repo_id' is now output: rename it"),
        ("hub: {repo: x}", "'hub' is not an option"),
        (
            "network: {family: x, start_from: y}\nseed: 1\nbatch: 3",
            "'network.family' is now model.family, 'network.start_from' is now model.base: rename them",
        ),
        ("data: {longest: 9}", "'data.longest' is now data.max_seconds: rename it"),
    ],
)
def test_a_renamed_key_of_a_file_is_refused_with_its_new_name(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    assert refused_by_nested("--config", str(file)).startswith(f"{file}: {expected}")


def test_present_keys_are_read_beside_the_renamed_ones() -> None:
    config = parse_nested("--optimisation.learning_rate", "1", "--data.max_seconds", "9")
    assert (config.optimisation.learning_rate, config.data.max_seconds) == (1.0, 9.0)


@dataclass(frozen=True)
class Corpora:
    train: list[str] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class ListsConfig:
    data: Corpora = field(default_factory=Corpora)
    seeds: list[int] | None = None
    names: list[str] = field(default_factory=list)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data: {train: a.jsonl, weights: 2}", ListsConfig(Corpora(["a.jsonl"], [2.0]))),
        (
            "data.train: 'hf:a:b, c d.jsonl'\ndata.weights: 1,0.5",
            ListsConfig(Corpora(["hf:a:b", "c d.jsonl"], [1, 0.5])),
        ),
        ("data:\n  train: [a.jsonl]\nseeds: 7\nnames: x", ListsConfig(Corpora(["a.jsonl"]), [7], ["x"])),
        ("names: ${HOME}, 12\nseeds: null", ListsConfig(names=["${HOME}", "12"])),
    ],
)
def test_a_list_in_a_file_may_be_one_word_as_on_the_command_line(
    tmp_path: Path, text: str, expected: ListsConfig
) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    words = ["--config", str(tmp_path / "mine.yaml")]
    assert parse_command(ListsConfig, program="p", description="", arguments=words) == expected


@dataclass(frozen=True)
class CountConfig:
    """What to count."""

    texts: list[str]
    """files to read"""
    sizes: list[int] = field(default_factory=lambda: [500])
    """sizes to count"""
    folders: list[Path] = field(default_factory=list)
    seed: int = 0


def counted(*words: str) -> CountConfig:
    return parse_command(
        CountConfig, program="count", description="", arguments=words, positional=True,
        short={"-s": "--sizes"}, several=("texts", "sizes", "folders"),
    )  # fmt: skip


@dataclass(frozen=True)
class Lists:
    """Options that are lists."""

    numbers: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)


@pytest.mark.parametrize("given", [("--numbers", "1,2"), ("--numbers=1,2",), ("--numbers", "[1, 2]")])
@pytest.mark.parametrize("names", ["a: b,c", '["a: b", c]'])
def test_a_list_is_written_with_commas_or_as_yaml(given: tuple[str, ...], names: str) -> None:
    found = parse_command(Lists, program="x", description="", arguments=[*given, "--names", names, "--words", "[u, v]"],
                          several=("words",))  # fmt: skip
    assert found == Lists([1, 2], ["a: b", "c"], ["u", "v"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--max_steps", "many"), "--max_steps is many; expected a whole number: change it"),
        (("--mixed_precision", "int8"), "--mixed_precision is int8; expected auto, no"),
        (("--overwrite", "perhaps"), "--overwrite is perhaps; expected true or false"),
    ],
)
def test_a_value_of_the_wrong_kind_is_said_in_plain_words(given: tuple[str, ...], said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        parse_command(TrainConfig, program="x", description="", arguments=given)
    assert str(caught.value).startswith(said)
    (tmp_path / "one.yaml").write_text("data: {augment: {name: gain}}")
    with pytest.raises(
        UsageError, match=r"one\.yaml: data\.augment is .*; expected a list: write \[\{'name': 'gain'\}\]"
    ):
        parse_command(TrainConfig, program="x", description="", arguments=["--config", str(tmp_path / "one.yaml")])


def test_lists_are_several_words_or_lists_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("texts: [q, r]\nsizes: [4, 5]")
    assert counted("a", "b", "-s", "1", "2", "--folders", "c", "--seed", "3") == CountConfig(
        ["a", "b"], [1, 2], [Path("c")], 3
    )
    assert counted("a b") == CountConfig(["a b"])
    assert counted("--seed", "3", "a", "b") == CountConfig(["a", "b"], seed=3)
    assert counted("--config", str(file)) == CountConfig(["q", "r"], [4, 5])
    assert counted("--config", str(file), "--sizes", "6") == CountConfig(["q", "r"], [6])


def test_a_wrong_value_in_a_list_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    for words, expected in ((["a", "--sizes", "1", "x"], "sizes"), ([], "texts"), (["a", "--size", "1"], "--sizes?")):
        with pytest.raises(UsageError) as caught:
            counted(*words)
        assert expected in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(SystemExit):
        counted("--help")
    printed = capsys.readouterr().out
    assert "files to read" in printed and "sizes to count" in printed


def shown_help(config_class: type, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit):
        parse_command(config_class, program="train", description="", arguments=["--help"])
    return capsys.readouterr().out


def test_the_usage_of_many_options_names_the_required_ones(capsys: pytest.CaptureFixture[str]) -> None:
    usage = "usage: train [--config CONFIG] --output_dir OUTPUT_DIR [options]\n\n"
    assert shown_help(TrainConfig, capsys).startswith(usage)
    with pytest.raises(SystemExit):
        counted("--help")
    printed = capsys.readouterr().out
    assert "[--seed SEED]" in printed and "[options]" not in printed, "few are shown whole"


def test_help_shows_no_option_that_the_parser_adds_by_itself(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    of_training, of_benchmark = shown_help(TrainConfig, capsys), shown_help(BenchmarkConfig, capsys)
    assert "--model.base BASE" in of_training and "--system_options SYSTEM_OPTIONS" in of_benchmark
    assert "Path to a configuration file" not in of_training and "--system_options.help" not in of_benchmark
    file = tmp_path / "model.yaml"
    file.write_text("family: lstm")
    words = ["--output_dir", "x", "--model", str(file)]
    assert parse_command(TrainConfig, program="x", description="", arguments=words).model.family == "lstm"


def test_options_are_documented_in_sentences() -> None:
    """Each begins with a capital, or with a value and a colon, and ends with a full stop."""
    found = 0
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ClassDef) or not node.name.endswith(("Config", "Options")):
                continue
            for option, after in pairwise(node.body):
                if isinstance(option, ast.AnnAssign) and isinstance(after, ast.Expr):
                    text = ast.literal_eval(after.value)
                    assert re.match(r"[A-Z`$]|[\w-]+: ", text) and text.endswith("."), f"{path}: {text}"
                    found += 1
    assert found > 200


@dataclass(frozen=True)
class InOrder:
    """Options without a flag, and a switch."""

    renamed: ClassVar[Mapping[str, str]] = {"output": "output_dir"}

    data: str
    output_dir: str
    overwrite: bool = False
    strict: bool | None = None


@pytest.mark.parametrize("words", [("--overwrite", "--strict", "true"), ("--strict", "--overwrite"), ("--strict",)])
def test_the_flag_of_a_bool_may_stand_alone(words: tuple[str, ...]) -> None:
    found = parse_command(InOrder, program="x", description="", arguments=["in", "out", *words], positional=True)
    assert found == InOrder("in", "out", "--overwrite" in words, True)


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        (
            "--output_dir",
            "--output_dir is a flag; expected its value alone, as in DATA OUTPUT_DIR: leave --output_dir out",
        ),
        ("--output", "--output is now --output_dir"),
    ],
)
def test_an_option_without_a_flag_is_said_where_one_is_given(flag: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_command(InOrder, program="x", description="", arguments=["in", flag, "out"], positional=True)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_command_whose_reader_ends_says_nothing(unbuffered: str) -> None:
    code = "from preprocessing.cli.options import run_command\n"
    code += "run_command(lambda: [print('line') for _ in range(100_000)])"
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    words = [sys.executable, "-c", code]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 128 + signal.SIGPIPE


def test_json_lines_are_read_as_they_were_written(tmp_path: Path) -> None:
    """A text may hold U+2028; a line without its end is one, unless a kill may have cut it off."""
    rows, path = [{"id": "a", "text": "one\u2028two"}, {"id": "b", "text": "ü"}], tmp_path / "rows.jsonl"
    assert read_json_lines(path, appended=True) == []
    write_json_lines(path, rows)
    assert read_json_lines(path) == read_json_lines(path, appended=True) == rows
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    assert read_json_lines(path) == rows
    assert read_json_lines(path, appended=True) == rows[:1]
    path.write_bytes('{"id": "ü"}\n{"id": "ü'.encode()[:-1])
    assert read_json_lines(path, appended=True) == [{"id": "ü"}]
    path.write_text('{"id": "a"}\n{"id"')
    assert read_json_lines(path, appended=True) == [{"id": "a"}]
    with pytest.raises(ValueError, match="line 1 column"):
        read_json_lines(path)
