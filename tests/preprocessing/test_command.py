"""A command line that cannot be parsed is one sentence with the key, the file it is in and the nearest key."""

from pathlib import Path

import pytest

from finetune.config import TrainConfig
from preprocessing.cli.errors import UsageError
from preprocessing.cli.options import parse_command


def refused(*words: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse_command(TrainConfig, program="train", description="", arguments=["--output", "runs/x", *words])
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--optimization.updates", "1"], "--optimization.updates is no option; did you mean --optimisation.updates?"),
        (["--learning_rate=1"], "--learning_rate is no option; did you mean --optimisation.learning_rate?"),
        (["--model.bose", "x"], "--model.bose is no option; did you mean --model.base?"),
        (["--data.valdation", "x"], "did you mean --data.validation?"),
        (["--modle.famly", "x"], "did you mean --model.family?"),
        (["--data.max-seconds", "3"], "did you mean --data.max_seconds?"),
        (["--qqqqqqq", "x"], "--qqqqqqq is no option; see `train --help`"),
    ],
)
def test_an_unknown_flag_names_the_nearest(words: list[str], expected: str) -> None:
    assert expected in refused(*words)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model: {bose: x}", "'model.bose' is no option; did you mean model.base?"),
        ("modle: {base: x}", "'modle' is no option; did you mean model"),
        ("optimisation: {updates: many}", "optimisation.updates"),
        ("data: {train: 3}", "data.train"),
        ("output: [a\nb", "is no YAML"),
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
    file.write_text("optimisation: {updates: 3}")
    assert "mine.yaml" not in refused("--config", str(file), "--optimisation.updates", "many")


def test_keys_in_the_value_of_an_option_are_its_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("model: {scratch: {hidden_size: 8}}\nseed: x")
    assert "hidden_size" not in refused("--config", str(file))
