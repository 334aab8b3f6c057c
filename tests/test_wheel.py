"""The installed package in an environment of its own, away from the checkout: all commands, and a demo benchmark.

`make wheel` builds the wheel, names it in ASR_WHEEL and runs this; installing takes minutes, so the checks of
`make test` skip it. What needs no installation is tested always: the names of the commands.
"""

import importlib
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from preprocessing.cli import console
from tests.conftest import ROOT

UV = Path(sys.executable).with_name("uv")


def says_its_name(command: str, shown: str) -> bool:
    """Whether the usage in the help of a command begins with the name that was typed."""
    return f"usage: {command} " in " ".join(shown.split())


def test_the_scripts_of_pyproject_are_the_commands() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == dict.fromkeys(console.COMMANDS, "preprocessing.cli.console:run")


@pytest.mark.parametrize(("command", "module"), console.COMMANDS.items())
def test_a_command_is_named_by_its_module_and_says_its_own_name(
    command: str, module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    last = module.removesuffix(".__main__").rpartition(".")[2].replace("_", "-")
    assert command == ("asr-benchmark" if module == "benchmark.run" else f"asr-{last}")
    assert callable(importlib.import_module(module).main)
    monkeypatch.setattr(sys, "argv", [f"/somewhere/bin/{command}", "--help"])
    try:
        console.run()
    except SystemExit as ended:
        assert ended.code == 0
    shown = capsys.readouterr().out
    assert says_its_name(command, shown)
    assert not [leak for leak in ("<class", "Literal[", "Optional[", "typing.", "default: null") if leak in shown]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of console commands of an environment that holds the wheel and what it requires."""
    wheel = os.environ.get("ASR_WHEEL")
    if not wheel:
        pytest.skip("installing a wheel takes minutes: `make wheel` does it")
    (path,) = Path(wheel).resolve().glob("*.whl") if Path(wheel).is_dir() else [Path(wheel).resolve()]
    names = zipfile.ZipFile(path).namelist()
    assert not [name for name in names if name.startswith("tests/") or "__pycache__" in name]
    environment = tmp_path_factory.mktemp("fresh") / "venv"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, environment], check=True)
    python = environment / "bin" / "python"
    subprocess.run([UV, "pip", "install", "--quiet", "--python", python, path], check=True, cwd=environment)
    return environment / "bin"


def run(folder: Path, command: Path, *words: str) -> subprocess.CompletedProcess[str]:
    left_out = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "ASR_DATA_DIR")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    return subprocess.run(
        [command, *words], cwd=folder, capture_output=True, text=True, env=environment | {"HF_HUB_OFFLINE": "1"}
    )


def test_every_installed_command_prints_its_help(installed: Path, tmp_path: Path) -> None:
    for name in console.COMMANDS:
        result = run(tmp_path, installed / name, "--help")
        assert result.returncode == 0 and says_its_name(name, result.stdout), (name, result.stderr)


@pytest.mark.timeout(900)
def test_the_installed_package_benchmarks_the_demo(installed: Path, tmp_path: Path) -> None:
    result = run(tmp_path, installed / "asr-doctor")
    assert result.returncode == 0 and "self-test" in result.stdout, result.stdout + result.stderr
    assert run(tmp_path, installed / "asr-fetch", "demo").returncode == 0
    words = ["--models", "wav2vec2=demo/wav2vec2,whisper=demo/whisper", "--data", "demo/corpus/test.jsonl"]
    words += ["--limit", "6", "--conditions", "clean", "--rounds", "1", "--output_dir", "out"]
    result = run(tmp_path, installed / "asr-benchmark", *words)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000
    result = run(tmp_path, installed / "asr-train", "--config", "configs/finetune/demo.yaml", "--max_steps", "2")
    assert result.returncode == 0 and (tmp_path / "runs" / "demo-finetuned" / "model.safetensors").is_file(), (
        result.stderr
    )
    result = run(tmp_path, installed / "asr-train", "--max_stepz", "2")
    assert result.returncode == 2 and "see `asr-train --help`" in result.stderr and "Traceback" not in result.stderr
