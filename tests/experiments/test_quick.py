"""Every experiment with --quick, from its command to its figures."""

import json
from pathlib import Path

import pytest

from experiments.__main__ import list_experiments
from tests.commands import run

# own tests run them: training_speed and the studies with --quick, in one process, results in parts
OWN_FIXTURES = ("training_speed", "results", "hours", "language_models", "robustness", "seeds", "units")
NAMES = [listed.name for listed in list_experiments() if listed.name not in OWN_FIXTURES]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.timeout(900)
def test_quick_ends_soon_and_writes_its_figures(name: str, tmp_path: Path, speech: Path) -> None:
    """A minute on 2 quiet cores; held to processor time, as other tests run meanwhile."""
    result = run(
        *("-m", f"experiments.{name}", "--quick", "true"),
        *("--json", tmp_path / "found.json", "--plot", tmp_path / "found.png"),
        timeout=880,
        ASR_DATA_DIR=str(speech),
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.cpu_seconds < 240
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["title"] and found["title"] in result.stdout
    assert all(figure["holds"] for figure in found["figures"])
    assert (tmp_path / "found.png").read_bytes().startswith(b"\x89PNG")
