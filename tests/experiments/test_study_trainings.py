"""The trainings of a study: done once and again only where something changed, resumed after a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from experiments.harness import trainings
from experiments.harness.trainings import (
    CONFIGS,
    STATE,
    TINY_LSTM,
    State,
    Training,
    _watched,
    quick_options,
    run_trainings,
    write_state,
)
from preprocessing.errors import InputError, UsageError
from tests.conftest import ROOT, absolute, write_manifest


def trained_here(words: list[str], folder: Path) -> None:
    """Leaves what a training leaves that has ended."""
    steps = int(words[words.index("--max_steps") + 1])
    (folder / "model.safetensors").touch()
    (folder / "config.yaml").write_text(f"max_steps: {steps}\n")
    (folder / "log.jsonl").write_text(json.dumps({"kind": "validation", "step": steps, "wer": 0.5, "cer": 0.5}) + "\n")


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands of trainings, which take no time."""
    commands: list[list[str]] = []

    def train(words: list[str], folder: Path) -> None:
        commands.append(words)
        trained_here(words, folder)

    monkeypatch.setattr(trainings, "_train_here", train)
    return commands


RECIPE = Training("one", CONFIGS / "digits-lstm.yaml", quick_options() | {"model.scratch": TINY_LSTM}, 1)


def test_a_training_is_done_once_and_again_where_its_options_change(tmp_path: Path, begun: list[list[str]]) -> None:
    other = replace(RECIPE, name="two", seed=2)
    assert run_trainings([RECIPE, other], tmp_path, here=True) == {"one": tmp_path / "one", "two": tmp_path / "two"}
    run_trainings([RECIPE, other], tmp_path, here=True)
    assert [words[words.index("--output_dir") + 1] for words in begun] == [str(tmp_path / "one"), str(tmp_path / "two")]
    longer = replace(RECIPE, options={**RECIPE.options, "max_steps": 4})
    run_trainings([longer, other], tmp_path, here=True)
    assert len(begun) == 3 and begun[-1][begun[-1].index("--max_steps") + 1] == "4"


def test_a_changed_training_that_is_stopped_before_its_first_step_finds_nothing_of_the_former(
    tmp_path: Path, begun: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would be refused to resume the former's checkpoints with its own options."""
    run_trainings([RECIPE], tmp_path, here=True)
    (tmp_path / "one" / "checkpoints").mkdir()
    longer = replace(RECIPE, options={**RECIPE.options, "max_steps": 4})
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(trainings, "_train_here", lambda words, folder: None)
        run_trainings([longer], tmp_path, here=True)
    assert [path.name for path in (tmp_path / "one").iterdir()] == [STATE]
    run_trainings([longer], tmp_path, here=True)
    assert len(begun) == 2


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_quick_options_suit_every_recipe(path: Path, tmp_path: Path) -> None:
    assert Training(path.stem, path, quick_options()).resolved(tmp_path).max_steps == 3


@pytest.mark.parametrize("options", [{}, {"max_steps": 200}])
def test_a_recipe_in_epochs_is_refused(tmp_path: Path, options: dict[str, int]) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("data: {train: [a.jsonl], validation_share: 0.1}\nnum_train_epochs: 3\n")
    with pytest.raises(UsageError, match=r"mine\.yaml: num_train_epochs is 3; .* set max_steps in its place"):
        Training("mine", recipe, options).resolved(tmp_path / "run")


def test_the_log_of_a_training_before_is_no_progress(tmp_path: Path) -> None:
    log, seen = tmp_path / "log.jsonl", list[int]()
    log.write_text('{"kind": "train", "step": 9}\n', encoding="utf-8")
    os.utime(log, (1, 1))
    write_state(tmp_path / STATE, State([], {}))
    with _watched(tmp_path, 0, seen.append):
        pass
    assert seen == []
    with _watched(tmp_path, 0, seen.append):
        log.write_text('{"kind": "train", "step": 2}\n', encoding="utf-8")
    assert seen == [2]


def test_a_training_is_done_again_where_its_data_change(tmp_path: Path, begun: list[list[str]]) -> None:
    rows = absolute(ROOT / "demo" / "corpus" / "train.jsonl", 3)
    manifest = write_manifest(tmp_path / "train.jsonl", rows)
    own = replace(RECIPE, options={**RECIPE.options, "data.train": [str(manifest)]})
    run_trainings([own], tmp_path, here=True)
    write_manifest(manifest, rows[:2])
    run_trainings([own], tmp_path, here=True)
    assert len(begun) == 2


def test_a_training_that_saved_on_ctrl_c_ends_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainings, "_train_here", lambda words, folder: None)
    with pytest.raises(KeyboardInterrupt):
        run_trainings([RECIPE], tmp_path, here=True)


STUDY = """
import sys
from pathlib import Path
from experiments.harness import trainings
from experiments.harness.trainings import CONFIGS, Training, run_trainings
trainings.executable = lambda words: [sys.executable, TRAINER, *words]
run_trainings([Training(f"run-{n}", CONFIGS / "digits-lstm.yaml", {"max_steps": 40}, n) for n in (1, 2)], Path(OUT))
"""
TRAINER = """
import json, pathlib, sys, time
folder = pathlib.Path(sys.argv[sys.argv.index("--output_dir") + 1])
with (folder / "begun.txt").open("a") as file:
    file.write(" ".join(sys.argv[-2:]) + "\\n")
for step in range(1, 41):
    time.sleep(SECONDS)
    with (folder / "log.jsonl").open("a") as log:
        log.write(json.dumps({"kind": "validation", "step": step}) + "\\n")
(folder / "config.yaml").write_text("max_steps: 40")
(folder / "model.safetensors").touch()
"""


def test_killed_it_takes_its_training_along_and_goes_on(tmp_path: Path) -> None:
    """kill -9 of a study: no orphan goes on writing into a run that the next start resumes."""
    trainer, out = tmp_path / "trainer.py", tmp_path / "runs"
    trainer.write_text(TRAINER.replace("SECONDS", "0.2"))
    script = STUDY.replace("TRAINER", repr(str(trainer))).replace("OUT", repr(str(out)))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "ASR_DATA_DIR": str(tmp_path)}
    running = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (out / "run-1" / "log.jsonl").is_file():
        assert time.monotonic() < deadline and running.poll() is None
        time.sleep(0.05)
    (child,) = psutil.Process(running.pid).children()
    running.send_signal(signal.SIGKILL)
    running.wait()
    psutil.wait_procs([child], timeout=20)
    assert not child.is_running()
    trainer.write_text(TRAINER.replace("SECONDS", "0"))
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    begun = [(out / f"run-{n}" / "begun.txt").read_text().splitlines() for n in (1, 2)]
    assert [len(one) for one in begun] == [2, 1]  # gone on with, and new
    assert "80 steps" in ended.stderr or "training: " in ended.stderr


def test_a_training_that_fails_is_named_with_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails = [sys.executable, "-c", "print('no room left'); raise SystemExit(3)"]
    monkeypatch.setattr(trainings, "executable", lambda words: fails)
    with pytest.raises(InputError, match=r"one: training ended with exit code 3 \(no room left\)"):
        run_trainings([RECIPE], tmp_path)
