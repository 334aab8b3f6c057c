"""rejects.jsonl: each utterance once, whoever found it, over epochs, processes, resumed runs and kills."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from accelerate import Accelerator

from finetune.data.rejects import Rejects
from finetune.training.log import read_log
from preprocessing.corpus import Reject
from tests.commands import run_ranks
from tests.conftest import DEMO, ROOT, absolute, write_manifest
from tests.finetune.runs import TINY

KNOWN = [Reject("corpus.jsonl:3", "no 'text'"), Reject("b", "lasts 0.01 s")]


@pytest.fixture
def alone() -> Accelerator:
    return Accelerator(cpu=True)


def told(path: Path) -> list[tuple[str, str]]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").removesuffix("\n").split("\n")]
    return [(row["where"], row["reason"]) for row in rows]


def note(rejects: Rejects, accelerator: Accelerator, *found: str) -> None:
    for where in found:
        rejects.add(Reject(where, "not audio\u2028at all"))
    rejects.gather(accelerator)


def test_an_utterance_is_listed_once_over_epochs_and_resumed_runs(tmp_path: Path, alone: Accelerator) -> None:
    path = tmp_path / "rejects.jsonl"
    path.write_text('{"where": "of another run", "reason": "x"}\n')
    rejects = Rejects(path)
    rejects.begin(KNOWN, resumed=False)
    assert told(path) == [(reject.where, reject.reason) for reject in KNOWN]
    for _ in range(3):
        note(rejects, alone, "c", "a", "c")
        rejects.add(KNOWN[1])  # as a stream tells again what was known of its beginning
    note(rejects, alone, "b")  # an id that one of another corpus has, which was set aside before
    wanted = [*((reject.where, reject.reason) for reject in KNOWN), *((w, "not audio\u2028at all") for w in "cab")]
    assert told(path) == wanted
    assert (len(rejects), rejects.n_in_training, rejects.n_pending) == (5, 3, 0)

    again = Rejects(path)
    again.begin(KNOWN, resumed=True)
    note(again, alone, "a", "c", "d")
    assert told(path) == [*wanted, ("d", "not audio\u2028at all")]
    assert (len(again), again.n_in_training) == (6, 4)


def test_what_an_earlier_version_left_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "rejects.jsonl"
    line = '{"where": "a", "reason": "not audio"}\n'
    path.write_text(line + line + '{"where": "b", "rea')
    rejects = Rejects(path)
    rejects.begin([], resumed=True)
    assert path.read_text() == line
    assert len(rejects) == 1


def test_many_are_written_together_and_all_before_a_checkpoint(tmp_path: Path, alone: Accelerator) -> None:
    path = tmp_path / "rejects.jsonl"
    rejects = Rejects(path)
    rejects.begin([], resumed=False)
    note(rejects, alone, *map(str, range(500)))
    note(rejects, alone, "one more")
    assert len(told(path)) == 500
    rejects.write()
    assert len(told(path)) == len(rejects) == 501


@pytest.mark.slow
def test_a_kill_leaves_whole_lines_each_once(tmp_path: Path) -> None:
    path = tmp_path / "rejects.jsonl"
    code = f"""
from pathlib import Path
from accelerate import Accelerator
from finetune.data.rejects import Rejects
from preprocessing.corpus import Reject
rejects, accelerator = Rejects(Path({str(path)!r})), Accelerator(cpu=True)
rejects.begin([], resumed=True)
for number in range(len(rejects), 100_000):
    rejects.add(Reject(str(number - 1), "x" * 5000))
    rejects.add(Reject(str(number), "x" * 5000))
    rejects.gather(accelerator)
"""
    before = 0
    for seconds in (0.0, 0.05, 0.13):
        with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE) as process:
            deadline = time.monotonic() + 120
            while process.poll() is None and time.monotonic() < deadline:
                if path.exists() and path.stat().st_size and len(told(path)) > before:
                    break
                time.sleep(0.01)
            time.sleep(seconds)
            assert process.poll() is None
            os.kill(process.pid, signal.SIGKILL)
        names = [where for where, _ in told(path)]  # raises at half a line
        assert names == ["-1", *map(str, range(len(names) - 1))]
        before = len(names)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_processes_train_on_what_there_is_and_list_the_rest_once(tmp_path: Path) -> None:
    """Three of four files are cut off behind their header, so that whole updates of a process fail."""
    rows = absolute(DEMO / "corpus" / "train.jsonl", 40)
    for number, row in enumerate(rows):
        if number % 4 != 3:
            cut = tmp_path / f"cut{number}.opus"
            cut.write_bytes(Path(row["audio"]).read_bytes()[:120])
            row["audio"] = str(cut)
    longest = max(row["duration"] for row in rows)
    options = {
        "output_dir": str(tmp_path / "run"),
        "report_to": "none",
        "model": {"scratch": TINY},
        "data": {
            "train": [str(write_manifest(tmp_path / "train.jsonl", rows))],
            "validation": str(
                write_manifest(tmp_path / "validation.jsonl", absolute(DEMO / "corpus" / "test.jsonl", 4))
            ),
            "profile": "librispeech",
            "max_batch_seconds": longest,  # an utterance or two
            "max_seconds": longest,
        },
        "max_steps": 24,
        "eval_steps": 12,
        "logging_steps": 4,
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(options))
    command = ("finetune/train.py", "--config", tmp_path / "config.yaml")
    first = run_ranks(*command, timeout=200)
    assert first.returncode == 0, first.stderr
    rejects = tmp_path / "run" / "rejects.jsonl"
    names = [where for where, _ in told(rejects)]
    assert sorted(names) == sorted(row["id"] for number, row in enumerate(rows) if number % 4 != 3)
    assert f"{len(names)} utterances rejected" in first.stdout
    log = read_log(tmp_path / "run")
    assert all(math.isfinite(line["loss"]) for line in log if line["kind"] == "train")
    assert [line for line in log if line["kind"] == "train"][-1]["audio_seconds"] > 0

    last = tmp_path / "run" / "checkpoints" / "step-00000024"
    last.rename(tmp_path / "last")
    second = run_ranks(*command, timeout=200)
    assert "resumed at step 12 of 24" in second.stdout, second.stderr
    assert [where for where, _ in told(rejects)] == names
    assert f"{len(names)} utterances rejected" in second.stdout
    weights = [(folder / "weights.safetensors").read_bytes() for folder in (last, tmp_path / "last")]
    assert weights[0] == weights[1]
