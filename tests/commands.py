"""Running the project's commands as a user does, from the repository root, without a network."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

ENDS_WITHIN = 45  # seconds: a launcher gives its processes 30


def run(*arguments: str | Path, timeout: float = 580, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python ARGUMENTS` in a fresh process; the Hub counts as unreachable.

    Raises TimeoutExpired after `timeout` seconds; the process is asked to end before it is killed, so that a launcher
    takes those along that it has started.
    """
    command = [sys.executable, *map(str, arguments)]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "COLUMNS": "200"} | environment,
    )
    with process:
        try:
            told, errors = process.communicate(timeout=timeout)
        except BaseException:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(ENDS_WITHIN)
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, told, errors)


def assert_one_sentence(result: subprocess.CompletedProcess[str], exit_code: int, *expected: str) -> None:
    """It failed with that exit code and said why in one line, without a traceback."""
    assert result.returncode == exit_code, result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, result.stderr
    assert "Traceback" not in result.stderr
    for part in expected:
        assert part in errors[0]
