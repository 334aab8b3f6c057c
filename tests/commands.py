"""Running the project's commands as a user does, from the repository root, without a network."""

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def run(*arguments: str | Path, timeout: float = 280, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python ARGUMENTS` in a fresh process; the Hub counts as unreachable."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "COLUMNS": "200"} | environment,
    )


def assert_one_sentence(result: subprocess.CompletedProcess[str], exit_code: int, *expected: str) -> None:
    """It failed with that exit code and said why in one line, without a traceback."""
    assert result.returncode == exit_code, result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, result.stderr
    assert "Traceback" not in result.stderr
    for part in expected:
        assert part in errors[0]
