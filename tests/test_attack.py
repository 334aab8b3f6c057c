"""What `python -m tests.attack` finds it also reports, and small ones of its attacks on texts and on full machines."""

import errno
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from safetensors import SafetensorError

from preprocessing.cli.options import run_command
from tests.attack import hub, jobs, texts
from tests.attack.jobs import Ended, torn_files
from tests.attack.trials import Setting, Trial, table


@pytest.mark.slow
def test_markup_runs_in_no_page_terminal_or_spreadsheet(tmp_path: Path) -> None:
    trials = list(texts.shown(Setting(1, 0, tmp_path, print)))
    assert len(trials) == 6
    assert [trial for trial in trials if trial.lost is not None] == []


def test_a_push_of_a_hub_that_is_gone_or_slow(tmp_path: Path) -> None:
    assert [trial.lost for trial in hub.gone(Setting(1, 0, tmp_path, print))] == [None, None]


def test_the_table_counts_and_names_what_was_lost() -> None:
    trials = [Trial("f", "a"), Trial("f", "a", "half a file"), Trial("f", "b", times=20), Trial("g", "a", skipped="no")]
    file = io.StringIO()
    Console(file=file, width=100).print(table(trials))
    rows = [line.split() for line in file.getvalue().splitlines()[3:] if line.strip()]
    assert rows == [
        ["f", "a", "2", "half", "a", "file"],
        ["f", "b", "20", "nothing"],
        ["g", "a", "0", "skipped:", "no"],
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", b'{"a": 1'),
        ("a.jsonl", b'{"a"\n{}\n'),
        ("a.safetensors", b"\x08\0\0\0\0\0\0\0{"),
        ("a.flac", b"fLaC"),
        ("a.png", b"\x89PNG"),
        ("a.html", b"<html>"),
    ],
)
def test_a_torn_file_is_found(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / f".x.partial.{name}").write_bytes(content)
    assert name in (torn_files(tmp_path) or "") and ".partial" not in (torn_files(tmp_path) or "")


def test_a_training_whose_log_has_other_figures_is_lost(tmp_path: Path) -> None:
    job, line = jobs.train(tmp_path), {"kind": "train", "step": 3, "loss": 0.1, "skipped_steps": 1, "stall_share": 0.5}
    found = []
    for place, other in enumerate(({}, {"stall_share": 0.6}, {"loss": 0.1000001}, {"skipped_steps": 0})):
        output = tmp_path / str(place)
        output.mkdir()
        (output / "log.jsonl").write_text(json.dumps(line | other) + "\n")
        found.append(jobs.differences(job.artefacts(tmp_path / "0"), job.artefacts(output)))
    lost = "other than undisturbed: figures of log.jsonl"
    assert found == [None, None, lost, lost]


UNSUPPORTED = "could not create a primitive descriptor for the matmul primitive"  # oneDNN: with no memory at all


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "out/a.json"),
            "out/a.json: cannot be written (No space left",
        ),
        (OSError(errno.EROFS, "Read-only file system", "out"), "out: cannot be written (Read-only file system)"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), "a file of the output: cannot"),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 57 vs 53"), "a file of the output:"),
        (MemoryError("Unable to allocate 3 GiB"), "out of memory (Unable to allocate 3 GiB)"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out of memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out of memory"),
        (RuntimeError("could not execute a primitive"), "out of memory (could not execute a primitive)"),
    ],
)
def test_a_full_machine_is_one_sentence(error: Exception, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        run_command(main)
    said = capsys.readouterr().err
    assert ended.value.code == 1 and said.startswith(f"error: {expected}") and said.count("\n") == 1


def test_a_defect_is_not_taken_for_a_full_machine() -> None:
    def fails(error: Exception) -> Callable[[], None]:
        def main() -> None:
            raise error

        return main

    for error in (OSError(errno.ENOENT, "gone"), RuntimeError("a defect"), RuntimeError(UNSUPPORTED)):
        with pytest.raises(type(error)):
            run_command(fails(error))


def test_of_several_processes_the_first_says_what_all_found(tmp_path: Path) -> None:
    """As under torch's launcher, which ends the others once one has failed."""
    code = "from preprocessing.cli.options import run_command\nfrom preprocessing.errors import UsageError\n"
    code += "def main(): raise UsageError('--x is wrong')\nrun_command(main)"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code], env=os.environ | {"LOCAL_RANK": rank}, stderr=subprocess.PIPE, text=True
        )
        for rank in "01"
    ]
    assert processes[0].communicate()[1] == "error: --x is wrong\n" and processes[0].returncode == 2
    processes[1].terminate()
    assert processes[1].communicate()[1] == ""


def test_a_traceback_is_found_but_for_the_launchers() -> None:
    launcher = 'Traceback (most recent call last):\n  File "accelerate/commands/launch.py", line 9\nFailed: 1\n'
    ours = 'Traceback (most recent call last):\n  File "finetune/train.py", line 9\n    x()\nValueError: no\n'
    assert Ended(1, f"error: no\n{launcher}").sentence is None
    for said in (f"{launcher}{ours}", f"{ours}{launcher}", f"error: no\n{ours}"):
        assert Ended(1, said).sentence == "a traceback: ValueError: no"
    assert Ended(1, launcher).sentence == "exit code 1 without a sentence"
